package workspace

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

const (
	// dispatchEvery is the safety net under wakeBatches, and how soon an item is tried again whose owner's queue was full.
	dispatchEvery = time.Second
	// dispatchAtOnce is how many items of one owner's batches begin, or are cancelled, before it is another owner's turn.
	dispatchAtOnce = 20
)

// dispatcher has the items of batches begin as there is room for them. Several servers may have one.
type dispatcher struct {
	*Service

	behind map[string]int      // by batch, the position behind which to go on: what is before it could not begin the last time
	full   map[string]struct{} // owners whose queue was full, until the next pause
}

// RunBatches has the items of batches begin, until ctx ends.
func (s *Service) RunBatches(ctx context.Context) error {
	d := dispatcher{Service: s, behind: make(map[string]int), full: make(map[string]struct{})}
	poll := time.NewTicker(dispatchEvery)
	defer poll.Stop()
	for ctx.Err() == nil {
		moved, err := d.round(ctx)
		if err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "begin the items of batches", "error", err)
		}
		if moved > 0 {
			continue
		}
		clear(d.full)
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

// round gives each owner a turn, which the owner's batches share, and says how many items have begun or ended by it.
func (d *dispatcher) round(ctx context.Context) (moved int, err error) {
	running, err := d.store.RunningBatches(ctx)
	if err != nil {
		return 0, err
	}
	of := make(map[string]int)
	for _, b := range running {
		of[b.OwnerID]++
	}
	var errs []error
	for _, b := range running {
		share := max(1, dispatchAtOnce/of[b.OwnerID])
		act := d.beginItems
		if b.Halted() {
			act = d.halt
		}
		n, err := act(ctx, b, share)
		moved += n
		errs = append(errs, err)
	}
	if len(running) == 0 {
		clear(d.behind)
	}
	return moved, errors.Join(errs...)
}

// beginItems goes on behind an item that cannot begin, and leaves out those of an owner whose queue is full: that does not hold up the others of
// an admin's batch. What it finds of that counts as a move, so that the others are tried at once.
func (d *dispatcher) beginItems(ctx context.Context, b Batch, limit int) (began int, err error) {
	after, skips := d.behind[b.ID]
	if !skips {
		after = -1
	}
	items, err := d.store.NextItems(ctx, b, after, limit, slices.Sorted(maps.Keys(d.full)))
	if err != nil {
		return 0, err
	}
	delete(d.behind, b.ID) // at the end it begins at the front again
	var errs []error
	for _, item := range items {
		owner, err := d.beginItem(ctx, b, item)
		switch {
		case err == nil:
			began++
		case errors.Is(err, ErrNotNow): // another server was first
			return began, errors.Join(errs...)
		case CodeOf(err) == QuotaExceeded:
			d.full[owner] = struct{}{}
			return began + 1, errors.Join(errs...)
		default:
			d.behind[b.ID] = item.Position
			errs = append(errs, err)
		}
	}
	return began, errors.Join(errs...)
}

// beginItem says whose workspace it is, where that exists.
func (s *Service) beginItem(ctx context.Context, b Batch, item BatchItem) (owner string, err error) {
	var cut []string
	_, err = s.update(ctx, item.WorkspaceID, func(d *Draft) error {
		owner, cut = d.Workspace.OwnerID, d.BeginItem(b, item)
		return nil
	})
	if CodeOf(err) == NotFound { // it was deleted since
		_, err := s.store.EndItem(ctx, missing(item))
		if err == nil {
			s.logged()
		}
		return "", err
	}
	if err == nil {
		s.interrupt(cut, task.ErrSuperseded)
	}
	return owner, err
}

// halt cancels what a batch alone has asked for and nobody has begun. What is being deleted stays so.
func (d *dispatcher) halt(ctx context.Context, b Batch, limit int) (cancelled int, err error) {
	q := TaskQuery{BatchID: b.ID, Status: []task.Status{task.Queued}, Window: Window{First: MaxBatch, Uncounted: true}}
	waiting, err := d.store.Tasks(ctx, q)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, t := range waiting.Items {
		if t.StartedAt != nil || t.Type == task.Delete {
			continue
		}
		_, err := d.update(ctx, t.WorkspaceID, func(draft *Draft) error {
			now := find(draft.Live, func(l task.Task) bool { return l.ID == t.ID })
			if now == nil || now.StartedAt != nil || now.BatchID != b.ID {
				return nil
			}
			return draft.Cancel(t.ID)
		})
		switch {
		case CodeOf(err) == NotFound: // the workspace, and with it its tasks
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		}
		if cancelled++; cancelled == limit {
			break
		}
	}
	return cancelled, errors.Join(errs...)
}
