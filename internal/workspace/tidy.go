package workspace

import (
	"context"
	"time"
)

// What is kept of tasks that have ended: for a month, and no more than fit into a few dozen megabytes.
const (
	endedFor  = 30 * 24 * time.Hour
	endedMost = 100_000
	// tidyEvery is how often the rest is deleted, tidyAtOnce how much in one transaction: others write between them.
	tidyEvery  = 10 * time.Minute
	tidyAtOnce = 1000
)

// KeepTidy prunes the tasks that have ended, now and then, until ctx ends.
func (s *Service) KeepTidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "prune tasks that have ended", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) tidy(ctx context.Context) error {
	for {
		n, err := s.store.Prune(ctx, time.Now().Add(-endedFor), endedMost, tidyAtOnce)
		if err != nil || n < tidyAtOnce {
			return err
		}
	}
}
