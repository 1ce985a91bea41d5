package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// starts is how many requests are measured on each database, each with nothing else to do.
	starts = 250
	// mostCommits bounds the median from the request to the start of its task, as a multiple of a bare commit of one row: there are two commits, of some
	// statements each.
	mostCommits = 8.0
	// rarely is how often the pool looks by itself: a start that is not due to the request's wake shows.
	rarely = time.Hour
	// rest lets the pool look once more after a task, and find nothing, before the next request.
	rest = 5 * time.Millisecond
)

// start measures how long it takes on an idle server from a request to the first line of the task's handler.
func (b *bench) start(ctx context.Context) (results []result, err error) {
	for _, dialect := range dialects {
		made, err := b.databases.create(ctx, dialect)
		if err != nil {
			return results, err
		}
		took, peer, err := startOn(ctx, made)
		if err != nil {
			return results, err
		}
		half, commit := median(took), median(peer)
		ratio := float64(half) / float64(commit)
		results = append(results, result{
			name: "request to start, idle", database: dialect, ours: fmt.Sprintf("%s ms, p99 %s ms", millis(half), millis(percentile(took, 99))),
			peer: fmt.Sprintf("bare commit, %s ms", millis(commit)), ratio: fmt.Sprintf("%.2f", ratio),
			bound: fmt.Sprintf("median ≤ %g", mostCommits), verdict: verdict(ratio <= mostCommits),
		})
		b.progress.Info("starts", "database", dialect, "median", half)
	}
	return results, nil
}

// startOn measures requests and, by turns with them, bare commits.
func startOn(ctx context.Context, made database) (took, peer []time.Duration, err error) {
	db, err := made.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = db.Close() }() // it is thrown away
	plain, err := openBare(ctx, made)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = plain.db.Close() }() // as above
	id, err := without(ctx, db, "w")
	if err != nil {
		return nil, nil, err
	}
	service := newService(db)
	defer service.Close()
	began := make(chan time.Time, 1)
	w := work(ctx, service, service, func(context.Context, task.Task, task.Report) error {
		began <- time.Now()
		return nil
	}, workers, rarely)
	defer w.end()
	for range starts {
		one, err := startOne(ctx, service, id, began)
		if err != nil {
			return took, peer, fmt.Errorf("%d: %w", len(took), err)
		}
		took = append(took, one)
		if err := idle(ctx, w.pool); err != nil {
			return took, peer, fmt.Errorf("%d: %w", len(took), err)
		}
		commit, err := plain.commit(ctx, 1)
		if err != nil {
			return took, peer, fmt.Errorf("bare commit %d: %w", len(peer), err)
		}
		peer = append(peer, commit)
	}
	return took, peer, nil
}

func startOne(ctx context.Context, service *workspace.Service, id string, began <-chan time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asked := time.Now()
	if _, err := service.Request(ctx, workspace.Actor{ID: owner}, task.Sync, workspace.Ask{ID: id}); err != nil {
		return 0, err
	}
	select {
	case at := <-began:
		return at.Sub(asked), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("the task of a request does not start: %w", ctx.Err())
	}
}

// idle waits until nothing runs.
func idle(ctx context.Context, pool *task.Pool) error {
	for {
		if err := pause(ctx, rest); err != nil || pool.Running() == 0 {
			return err
		}
	}
}
