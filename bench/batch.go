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
	batchRounds = 9
	// mostAnswer bounds the median of the answers, as a multiple of a bare transaction that inserts as many rows.
	mostAnswer = 6.0
)

// batch measures how long the start of the largest batch takes to be answered, which is when all of its items are committed.
func (b *bench) batch(ctx context.Context) (results []result, err error) {
	for _, dialect := range dialects {
		made, err := b.databases.create(ctx, dialect)
		if err != nil {
			return results, err
		}
		took, peer, err := batchesOn(ctx, made)
		if err != nil {
			return results, err
		}
		half, rows := median(took), median(peer)
		ratio := float64(half) / float64(rows)
		results = append(results, result{
			name: fmt.Sprintf("start of a batch of %d, answered", batchSize), database: dialect, ours: millis(half) + " ms",
			peer: fmt.Sprintf("bare insertion of %d rows, %s ms", batchSize, millis(rows)), ratio: fmt.Sprintf("%.2f", ratio),
			bound: fmt.Sprintf("≤ %g", mostAnswer), verdict: verdict(ratio <= mostAnswer),
		})
		b.progress.Info("batches", "database", dialect, "median", half)
	}
	return results, nil
}

// batchesOn measures batches and, by turns with them, bare transactions of as many rows.
func batchesOn(ctx context.Context, made database) (took, peer []time.Duration, err error) {
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
	ids := make([]string, batchSize)
	if err := each(ctx, batchSize, fillers, func(ctx context.Context, i int) (err error) {
		ids[i], err = without(ctx, db, fmt.Sprint("w", i))
		return err
	}); err != nil {
		return nil, nil, err
	}
	service := newService(db)
	defer service.Close()
	for range batchRounds {
		asked := time.Now()
		if _, err := service.StartBatch(ctx, workspace.Actor{ID: owner}, workspace.BatchInput{Operation: task.Sync, IDs: ids}); err != nil {
			return took, peer, fmt.Errorf("start a batch: %w", err)
		}
		took = append(took, time.Since(asked))
		rows, err := plain.commit(ctx, batchSize)
		if err != nil {
			return took, peer, fmt.Errorf("insert rows: %w", err)
		}
		peer = append(peer, rows)
	}
	return took, peer, nil
}
