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
	// batchesMost is how many batches are kept, each of which has up to a thousand items.
	batchesMost = 1000
	// tidyEvery is how often the rest is deleted, tidyAtOnce how much in one transaction: others write between them.
	tidyEvery  = 10 * time.Minute
	tidyAtOnce = 1000
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
		inPieces(func() (int, error) { return s.store.Prune(ctx, time.Now().Add(-endedFor), endedMost, tidyAtOnce) }),
		inPieces(func() (int, error) {
			return s.store.PruneBatches(ctx, time.Now().Add(-endedFor), batchesMost, tidyAtOnce)
		}),
		inPieces(func() (int, error) { return s.store.PruneKeys(ctx, time.Now().Add(-KeysFor), tidyAtOnce) }),
	)
}

func inPieces(prune func() (int, error)) error {
	for {
		n, err := prune()
		if err != nil || n < tidyAtOnce {
			return err
		}
	}
}
