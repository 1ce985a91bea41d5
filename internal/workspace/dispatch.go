package workspace

import (
	"context"
	"errors"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

const (
	// dispatchEvery is the safety net under wakeBatches, and how soon an item is tried again whose owner's queue was full.
	dispatchEvery = time.Second
	// dispatchAtOnce is how many items of one batch begin before it is another one's turn.
	dispatchAtOnce = 20
)

// RunBatches has the items of batches begin as there is room for them, until ctx ends. Several servers may do so at once.
func (s *Service) RunBatches(ctx context.Context) error {
	poll := time.NewTicker(dispatchEvery)
	defer poll.Stop()
	for ctx.Err() == nil {
		began, err := s.dispatch(ctx)
		if err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "begin the items of batches", "error", err)
		}
		if began > 0 && err == nil {
			continue
		}
		select {
		case <-s.batchWake:
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (s *Service) wakeBatches() {
	select {
	case s.batchWake <- struct{}{}:
	default: // a wake is pending already
	}
}

// dispatch gives each batch that runs one turn, and says how many items have begun or ended by it.
func (s *Service) dispatch(ctx context.Context) (began int, err error) {
	running, err := s.store.RunningBatches(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, b := range running {
		if b.Halted() {
			errs = append(errs, s.halt(ctx, b))
			continue
		}
		n, err := s.beginItems(ctx, b)
		began += n
		errs = append(errs, err)
	}
	return began, errors.Join(errs...)
}

func (s *Service) beginItems(ctx context.Context, b Batch) (began int, err error) {
	items, err := s.store.NextItems(ctx, b, dispatchAtOnce)
	if err != nil {
		return 0, err
	}
	for _, item := range items {
		switch err := s.beginItem(ctx, b, item); {
		case err == nil:
			began++
		case errors.Is(err, ErrNotNow), CodeOf(err) == QuotaExceeded: // another server was first, or the owner's queue is full
			return began, nil
		default:
			return began, err
		}
	}
	return began, nil
}

func (s *Service) beginItem(ctx context.Context, b Batch, item BatchItem) error {
	var cut []string
	_, err := s.update(ctx, item.WorkspaceID, func(d *Draft) error {
		cut = d.BeginItem(b, item)
		return nil
	})
	if CodeOf(err) == NotFound { // it was deleted since
		now, err := s.store.EndItem(ctx, missing(item))
		if err == nil {
			s.publishBatches(now)
		}
		return err
	}
	if err == nil {
		s.interrupt(cut, task.ErrSuperseded)
	}
	return err
}

// halt cancels what a batch has asked for and nobody has begun. What is being deleted stays so.
func (s *Service) halt(ctx context.Context, b Batch) error {
	q := TaskQuery{BatchID: b.ID, Status: []task.Status{task.Queued}, Window: Window{First: MaxBatch}}
	waiting, err := s.store.Tasks(ctx, q)
	if err != nil {
		return err
	}
	for _, t := range waiting.Items {
		if t.StartedAt != nil || t.Type == task.Delete {
			continue
		}
		_, err := s.update(ctx, t.WorkspaceID, func(d *Draft) error {
			if now := find(d.Live, func(l task.Task) bool { return l.ID == t.ID }); now != nil && now.StartedAt == nil {
				return d.Cancel(t.ID)
			}
			return nil
		})
		if err != nil && CodeOf(err) != NotFound {
			return err
		}
	}
	return nil
}
