package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/lifecycle"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// workers is how many tasks run at once, here and in River; many is how many more is measured too, without a bound.
	workers = 8
	many    = 32
	// rounds is how often tasks are run, here and in River by turns. The median counts.
	rounds = 3
	// Bounds: a share of what River does, and a number of tasks a second that no round may be under.
	leastShare = 0.4
	leastRate  = 1000
	// patience bounds every wait for what should come.
	patience = 2 * time.Minute
)

// pool compares how many tasks that do nothing are run in a second. On PostgreSQL River does the same beside it.
func (b *bench) pool(ctx context.Context) (results []result, err error) {
	for _, dialect := range dialects {
		filled, err := b.filled(ctx, dialect)
		if err != nil {
			return results, err
		}
		for _, workers := range []int{workers, many} {
			r, err := b.poolOn(ctx, dialect, filled, workers)
			if err != nil {
				return results, err
			}
			results = append(results, r)
		}
	}
	return results, nil
}

func (b *bench) poolOn(ctx context.Context, dialect store.Dialect, filled database, workers int) (r result, err error) {
	var ours, peers []float64
	run := func() error {
		made, err := b.databases.copy(ctx, filled)
		if err != nil {
			return err
		}
		rate, err := oursPerSecond(ctx, made, workers)
		ours = append(ours, rate)
		return err
	}
	runPeer := func() error {
		rate, err := riverPerSecond(ctx, b.databases, workers)
		peers = append(peers, rate)
		return err
	}
	for i := range rounds {
		turn := []func() error{run, runPeer}
		if dialect != store.Postgres {
			turn = turn[:1]
		} else if i%2 == 1 {
			slices.Reverse(turn)
		}
		for _, one := range turn {
			if err := one(); err != nil {
				return r, err
			}
		}
		b.progress.Info("a round of the pool", "database", dialect, "workers", workers, "ours", ours, "river", peers)
	}
	rate := middle(ours)
	r = result{name: fmt.Sprintf("%d empty tasks, %d workers", tasks, workers), database: dialect, ours: fmt.Sprintf("%.0f/s", rate)}
	if len(peers) > 0 {
		share := rate / middle(peers)
		r.peer, r.ratio = fmt.Sprintf("River %.0f/s", middle(peers)), fmt.Sprintf("%.2f", share)
		if workers == many {
			return r, nil
		}
		r.bound, r.verdict = fmt.Sprintf("≥ %g, ≥ %d/s", leastShare, leastRate), verdict(share >= leastShare && slices.Min(ours) >= leastRate)
	}
	return r, nil
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

// anywhere accepts every project directory.
type anywhere struct{}

func (anywhere) Check(_, _ string) error { return nil }

// newService is a service for which the engine can be asked, so that it gives out tasks.
func newService(db *store.DB) *workspace.Service {
	s := workspace.NewService(db, anywhere{}, workspace.Config{DefaultImage: image, NetworkPool: subnets, Log: slog.New(slog.DiscardHandler)})
	s.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	return s
}

// working is the project's pool at work, and what tells other servers of that, as in the server.
type working struct {
	pool  *task.Pool
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// work starts a pool whose SYNC tasks go to handler in place of the engine. With no poll it is the pool's own default.
func work(ctx context.Context, service *workspace.Service, queue task.Queue, handler task.Handler, workers int, poll time.Duration) *working {
	w := &working{pool: task.New(queue, task.Options{
		Holder: workspace.NewID("pool_"), Workers: workers, Handlers: map[task.Type]task.Handler{task.Sync: handler},
		Classify: lifecycle.Classify, Timeout: lifecycle.Timeout, Grace: time.Second, Log: slog.New(slog.DiscardHandler), Poll: poll,
	})}
	service.Attach(w.pool)
	ctx, w.stop = context.WithCancel(ctx)
	w.ended.Go(func() { _ = w.pool.Run(ctx) }) // neither has an error to give
	w.ended.Go(func() { _ = service.RunFeed(ctx) })
	return w
}

func (w *working) end() {
	w.stop()
	w.ended.Wait()
}

// counted tells when so many tasks have succeeded, which is when that is committed.
type counted struct {
	task.Queue

	left atomic.Int64
	done chan struct{}
}

// Finish counts.
func (c *counted) Finish(ctx context.Context, lease task.Lease, o task.Outcome) error {
	err := c.Queue.Finish(ctx, lease, o)
	if err == nil && o.Status == task.Succeeded && c.left.Add(-1) == 0 {
		close(c.done)
	}
	return err
}

// oursPerSecond runs all waiting tasks of a database and says how many ended in a second.
func oursPerSecond(ctx context.Context, filled database, workers int) (float64, error) {
	db, err := filled.open(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }() // it is thrown away
	service := newService(db)
	defer service.Close()
	queue := &counted{Queue: service, done: make(chan struct{})}
	queue.left.Store(tasks)
	nothing := func(context.Context, task.Task, task.Report) error { return nil }

	began := time.Now()
	w := work(ctx, service, queue, nothing, workers, 0)
	err = await(ctx, queue.done)
	took := time.Since(began)
	w.end()
	if err != nil {
		return 0, fmt.Errorf("%d tasks have not ended: %w", queue.left.Load(), err)
	}
	return tasks / took.Seconds(), nil
}

// await waits for what comes within patience.
func await(ctx context.Context, done <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
