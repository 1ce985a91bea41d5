package workspace

import (
	"context"
	"errors"
	"time"
)

// What is kept of what has ended: for a month, and no more than fit into a few dozen megabytes.
const (
	endedFor  = 30 * 24 * time.Hour
	endedMost = 100_000
	// batchesFor is how long batches are kept, of which an owner may start a bounded number a day.
	batchesFor = 7 * 24 * time.Hour
	// eventsFor and eventsMost are of the event log, which whoever starts the server may bound otherwise.
	eventsFor  = 7 * 24 * time.Hour
	eventsMost = 100_000
	// tidyEvery is how often the rest is deleted, tidyAtOnce how much in one transaction: others write between them.
	tidyEvery  = 10 * time.Minute
	tidyAtOnce = 1000
	// batchesAtOnce is fewer: each has up to a thousand items, which go with it.
	batchesAtOnce = 5
)

// KeepTidy prunes tasks and batches that have ended and idempotency keys that are no longer kept, now and then, until ctx ends.
func (s *Service) KeepTidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "prune what has ended", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) tidy(ctx context.Context) error {
	return errors.Join(
		inPieces(tidyAtOnce, func(n int) (int, error) { return s.store.Prune(ctx, endedFor, endedMost, n) }),
		inPieces(batchesAtOnce, func(n int) (int, error) { return s.store.PruneBatches(ctx, batchesFor, n) }),
		inPieces(tidyAtOnce, func(n int) (int, error) { return s.store.PruneKeys(ctx, KeysFor, n) }),
		inPieces(tidyAtOnce, func(n int) (int, error) { return s.store.PruneEvents(ctx, s.config.EventsFor, s.config.EventsMost, n) }),
	)
}

func inPieces(size int, prune func(limit int) (int, error)) error {
	for {
		n, err := prune(size)
		if err != nil || n < size {
			return err
		}
	}
}
