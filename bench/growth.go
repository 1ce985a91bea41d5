package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// claims and enqueues are how often each is measured at each size. The median counts.
	claims   = 80
	enqueues = 80
	claimed  = 8 // tasks of one claim
	// mostGrowth bounds how much longer a claim may take at the last size than at the first.
	mostGrowth = 1.5
)

// sizes are how many ended tasks a database has, beside those that wait.
var sizes = []int{100, 10_000, 100_000}

// sized is an open database of one size.
type sized struct {
	db       *store.DB
	service  *workspace.Service
	claims   []time.Duration
	enqueues []time.Duration
	lists    []time.Duration
}

// growth measures how the time of a claim and of a request depends on how many tasks have ended.
func (b *bench) growth(ctx context.Context) (results []result, err error) {
	for _, dialect := range dialects {
		more, err := b.growthOn(ctx, dialect)
		if err != nil {
			return results, err
		}
		results = append(results, more...)
	}
	return results, nil
}

func (b *bench) growthOn(ctx context.Context, dialect store.Dialect) (results []result, err error) {
	base, idle, err := b.withIdle(ctx, dialect)
	if err != nil {
		return nil, err
	}
	var list []*sized
	defer func() {
		for _, s := range list {
			s.service.Close()
			err = errors.Join(err, s.db.Close())
		}
	}()
	for _, n := range sizes {
		s, err := b.sized(ctx, base, n)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	// One of each size after the other, so that what else the machine does meets all of them.
	for range claims {
		for _, s := range list {
			if err := s.claim(ctx); err != nil {
				return nil, err
			}
		}
	}
	for _, id := range idle {
		for _, s := range list {
			if err := errors.Join(s.enqueue(ctx, id), s.list(ctx)); err != nil {
				return nil, err
			}
		}
	}
	b.progress.Info("growth", "database", dialect)
	r := grown(dialect, fmt.Sprintf("claim of %d", claimed), list, func(s *sized) []time.Duration { return s.claims })
	growth := r.growth
	r.bound, r.verdict = fmt.Sprintf("growth < %g", mostGrowth), verdict(growth < mostGrowth)
	return []result{
		r.result, grown(dialect, "request", list, func(s *sized) []time.Duration { return s.enqueues }).result,
		grown(dialect, "page of 20 tasks", list, func(s *sized) []time.Duration { return s.lists }).result,
	}, nil
}

type grownResult struct {
	result

	growth float64
}

func grown(dialect store.Dialect, what string, list []*sized, of func(*sized) []time.Duration) (r grownResult) {
	medians := make([]string, len(list))
	for i, s := range list {
		medians[i] = millis(median(of(s)))
	}
	r.growth = float64(median(of(list[len(list)-1]))) / float64(median(of(list[0])))
	r.result = result{
		name: fmt.Sprintf("%s, %d, %d, %d ended", what, sizes[0], sizes[1], sizes[2]), database: dialect, ours: strings.Join(medians, ", ") + " ms",
		ratio: fmt.Sprintf("%.2f", r.growth),
	}
	return r
}

// withIdle is a closed database with the waiting tasks and with workspaces that have none, for requests.
func (b *bench) withIdle(ctx context.Context, dialect store.Dialect) (base database, idle []string, err error) {
	filled, err := b.filled(ctx, dialect)
	if err != nil {
		return base, nil, err
	}
	if base, err = b.databases.copy(ctx, filled); err != nil {
		return base, nil, err
	}
	db, err := base.open(ctx)
	if err != nil {
		return base, nil, err
	}
	for i := range enqueues {
		var id string
		if id, err = without(ctx, db, fmt.Sprint("idle", i)); err != nil {
			break
		}
		idle = append(idle, id)
	}
	return base, idle, errors.Join(err, db.Close())
}

// ended inserts n tasks that have ended, spread over all workspaces. The project has no code that makes as many at once.
const ended = `WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < %d),
	numbered AS (SELECT id, owner_id, ROW_NUMBER() OVER (ORDER BY id) AS n FROM workspaces)
	INSERT INTO tasks (id, type, status, workspace_id, owner_id, requested_by, attempt, max_attempts, step, params, created_at, run_at,
		started_at, finished_at, revision, lease_holder, lease_token, lease_until, lane, turn)
	SELECT 'task_0' || CAST(10000000 + i AS TEXT), 'SYNC', 'SUCCEEDED', id, owner_id, '', 1, 5, '', '{}', %[2]d + i, %[2]d + i,
		%[2]d + i, %[2]d + i, 3, '', 1, 0, 0, 0
	FROM numbers JOIN numbered ON n = 1 + i %% (SELECT COUNT(*) FROM workspaces)`

// sized is a copy of base with n ended tasks more, opened.
func (b *bench) sized(ctx context.Context, base database, n int) (*sized, error) {
	made, err := b.databases.copy(ctx, base)
	if err != nil {
		return nil, err
	}
	if err := made.exec(ctx, fmt.Sprintf(ended, n, time.Now().Add(-time.Hour).UnixMicro())); err != nil {
		return nil, err
	}
	if err := made.settle(ctx); err != nil {
		return nil, err
	}
	db, err := made.open(ctx)
	if err != nil {
		return nil, err
	}
	return &sized{db: db, service: newService(db)}, nil
}

// claim measures one claim, and gives back what was claimed, so that as many wait as before.
func (s *sized) claim(ctx context.Context) error {
	began := time.Now()
	list, err := s.db.Claim(ctx, "bench", task.Slots{Free: claimed}, time.Minute)
	s.claims = append(s.claims, time.Since(began))
	if err == nil && len(list) != claimed {
		err = fmt.Errorf("%d tasks were claimed, not %d", len(list), claimed)
	}
	for _, t := range list {
		if err == nil {
			err = s.service.Finish(ctx, t.Lease, task.Outcome{Status: task.Queued, Unburned: true})
		}
	}
	return err
}

// list measures one page of the newest tasks with how many stand before those that wait.
func (s *sized) list(ctx context.Context) error {
	const page = 20
	began := time.Now()
	p, err := s.service.Tasks(ctx, workspace.Actor{ID: owner, Admin: true}, workspace.TaskQuery{Window: workspace.Window{First: page, Uncounted: true}})
	if err == nil {
		ids := make([]string, len(p.Items))
		for i, t := range p.Items {
			ids[i] = t.ID
		}
		_, err = s.service.QueuePositions(ctx, ids)
	}
	s.lists = append(s.lists, time.Since(began))
	if err == nil && len(p.Items) != page {
		err = fmt.Errorf("%d tasks were listed, not %d", len(p.Items), page)
	}
	return err
}

// enqueue measures one request for a workspace that has no task.
func (s *sized) enqueue(ctx context.Context, id string) error {
	began := time.Now()
	r, err := s.service.Request(ctx, workspace.Actor{ID: owner}, task.Sync, workspace.Ask{ID: id})
	s.enqueues = append(s.enqueues, time.Since(began))
	if err == nil && (r.Task == nil || r.Task.Status != task.Queued) {
		err = fmt.Errorf("no task was queued for %s", id)
	}
	return err
}
