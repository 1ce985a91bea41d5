package workspace

import (
	"context"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// What is shown of a task or a batch is more than its row: how many stand before it, which of its items have begun. That changes with every
// step of the queue. Who watches one is told, but not more often than an eye follows, and by a few questions for all who watch.

// followGap is the least time between two looks at what is watched.
const followGap = 500 * time.Millisecond

// tellPlaces tells those who watch tasks and batches what has changed about them beside their rows, until ctx ends: whenever the event log tells that the queue has moved.
func (s *Service) tellPlaces(ctx context.Context) {
	f := follower{Service: s}
	for {
		select {
		case <-s.moved:
		case <-ctx.Done():
			return
		}
		err := inChunks(s.tasks.Keys(), func(ids []string) error { return f.tellTasks(ctx, ids) })
		if err == nil {
			err = inChunks(s.batches.Keys(), func(ids []string) error { return f.tellBatches(ctx, ids) })
		}
		if err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "follow what is watched", "error", err)
		}
		f.told, f.telling = f.telling, nil
		pause(ctx, followGap)
	}
}

// follower remembers what it has told, by id.
type follower struct {
	*Service

	told, telling map[string]int
}

// tells notes what is told of an id from now on, and reports whether it is new.
func (f *follower) tells(id string, n int) bool {
	if f.telling == nil {
		f.telling = make(map[string]int)
	}
	f.telling[id] = n
	before, known := f.told[id]
	return !known || before != n
}

func (f *follower) tellTasks(ctx context.Context, ids []string) error {
	positions, err := f.store.QueuePositions(ctx, ids)
	if err != nil {
		return err
	}
	var moved []string
	for id, before := range positions {
		if f.tells(id, before) {
			moved = append(moved, id)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	tasks, err := f.store.TasksByID(ctx, moved)
	for id, t := range tasks {
		if t.Status == task.Queued {
			t.Place = positions[id] + 1
			f.tasks.Publish(id, t)
		}
	}
	return err
}

func (f *follower) tellBatches(ctx context.Context, ids []string) error {
	begun, err := f.store.ItemsBegun(ctx, ids)
	if err != nil {
		return err
	}
	var moved []string
	for id, n := range begun {
		if f.tells(id, n) {
			moved = append(moved, id)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	batches, err := f.store.BatchesByID(ctx, moved)
	for id, b := range batches {
		b.Begun = begun[id]
		f.batches.Publish(id, b)
	}
	return err
}

// newerTask and newerBatch say whether next tells more than have does.
func newerTask(have, next task.Task) bool {
	return next.Revision > have.Revision || next.Revision == have.Revision && next.Place > 0 && next.Place != have.Place
}

func newerBatch(have, next Batch) bool {
	return next.Revision > have.Revision || next.Revision == have.Revision && next.Begun > have.Begun
}
