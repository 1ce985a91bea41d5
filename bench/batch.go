package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// batchSize is how many workspaces a batch may have.
	batchSize = 1000
	// batchRounds is how often one is started. Each is left as it is: nobody works on it.
	batchRounds = 5
	// mostAnswer bounds the median of the answers.
	mostAnswer = time.Second
)

// batch measures how long the start of the largest batch takes to be answered, which is when all of its items are committed.
func (b *bench) batch(ctx context.Context) (results []result, err error) {
	for _, dialect := range dialects {
		made, err := b.databases.create(ctx, dialect)
		if err != nil {
			return results, err
		}
		took, err := batchesOn(ctx, made)
		if err != nil {
			return results, err
		}
		half := median(took)
		results = append(results, result{
			name: fmt.Sprintf("start of a batch of %d, answered", batchSize), database: dialect, ours: millis(half) + " ms",
			bound: fmt.Sprintf("< %v", mostAnswer), verdict: verdict(half < mostAnswer),
		})
		b.progress.Info("batches", "database", dialect, "median", half)
	}
	return results, nil
}

func batchesOn(ctx context.Context, made database) (took []time.Duration, err error) {
	db, err := made.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }() // it is thrown away
	ids := make([]string, batchSize)
	if err := each(ctx, batchSize, fillers, func(ctx context.Context, i int) (err error) {
		ids[i], err = without(ctx, db, fmt.Sprint("w", i))
		return err
	}); err != nil {
		return nil, err
	}
	service := newService(db)
	defer service.Close()
	for range batchRounds {
		asked := time.Now()
		if _, err := service.StartBatch(ctx, workspace.Actor{ID: owner}, workspace.BatchInput{Operation: task.Sync, IDs: ids}); err != nil {
			return took, fmt.Errorf("start a batch: %w", err)
		}
		took = append(took, time.Since(asked))
	}
	return took, nil
}
