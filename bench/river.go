package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/aicli/aicli-web/internal/store"
)

// connections is how many River may open: as many as the project's store.
const connections = 16

// riverVersion is the one that this program was built with.
func riverVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/riverqueue/river" {
			return d.Version
		}
	}
	return "unknown"
}

type noArgs struct{}

// Kind names the job.
func (noArgs) Kind() string { return "nothing" }

type noWorker struct{ river.WorkerDefaults[noArgs] }

// Work does nothing.
func (noWorker) Work(context.Context, *river.Job[noArgs]) error { return nil }

// riverPerSecond runs as many jobs of River as there are tasks of ours, with as many workers, and says how many ended in a second.
func riverPerSecond(ctx context.Context, d *databases, workers int) (float64, error) {
	made, err := d.create(ctx, store.Postgres)
	if err != nil {
		return 0, err
	}
	config, err := pgxpool.ParseConfig(made.dsn)
	if err != nil {
		return 0, err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	client, err := newRiver(ctx, pool, workers)
	if err != nil {
		return 0, err
	}
	if err := made.settle(ctx); err != nil {
		return 0, err
	}
	return runRiver(ctx, client)
}

// newRiver makes River's tables, fills them, and gives a client that has not been started.
func newRiver(ctx context.Context, pool *pgxpool.Pool, workers int) (*river.Client[pgx.Tx], error) {
	driver, quiet := riverpgxv5.New(pool), slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	kinds := river.NewWorkers()
	river.AddWorker(kinds, noWorker{})
	client, err := river.NewClient(driver, &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}}, Workers: kinds, Logger: quiet,
		FetchCooldown: time.Millisecond, FetchPollInterval: time.Millisecond, // by default it waits, and runs 80 a second
	})
	if err != nil {
		return nil, err
	}
	jobs := make([]river.InsertManyParams, tasks)
	for i := range jobs {
		jobs[i].Args = noArgs{}
	}
	if _, err = client.InsertMany(ctx, jobs); err != nil {
		return nil, fmt.Errorf("insert jobs of River: %w", err)
	}
	return client, nil
}

func runRiver(ctx context.Context, client *river.Client[pgx.Tx]) (float64, error) {
	ended, leave := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: tasks, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	defer leave()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	if err := client.Start(ctx); err != nil {
		return 0, fmt.Errorf("start River: %w", err)
	}
	var err error
	for n := 0; n < tasks && err == nil; {
		select {
		case <-ended: // its outcome is committed
			n++
		case <-bounded.Done():
			err = fmt.Errorf("%d jobs of River have not ended: %w", tasks-n, bounded.Err())
		}
	}
	took := time.Since(began)
	stopping, release := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer release()
	return tasks / took.Seconds(), errors.Join(err, client.Stop(stopping))
}
