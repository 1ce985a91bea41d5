package workspace

import (
	"context"

	"github.com/aicli/aicli-web/internal/hub"
	"github.com/aicli/aicli-web/internal/task"
)

// Watch streams a workspace: as it is now, then each change, also when the engine is lost or found, because that changes what
// is known of the container. The channel is closed when the workspace is gone, ctx ends or the server stops.
func (s *Service) Watch(ctx context.Context, actor Actor, id string) (<-chan Workspace, error) {
	sub, health := s.workspaces.Subscribe(id), s.engines.Subscribe(struct{}{})
	w, err := s.Workspace(ctx, actor, id)
	if err != nil {
		sub.Close()
		health.Close()
		return nil, err
	}
	out := make(chan Workspace)
	go func() {
		defer close(out)
		defer sub.Close()
		defer health.Close()
		for {
			select {
			case out <- w:
			case <-ctx.Done():
				return
			}
			for {
				select {
				case <-sub.Ready():
				case <-health.Ready():
				case <-sub.Done():
					return
				case <-ctx.Done():
					return
				}
				_, moved := health.Take()
				if ch, ok := sub.Take(); ok && ch.Removed {
					return
				} else if ok && ch.Workspace.Version > w.Version {
					w, moved = ch.Workspace, true
				}
				if moved {
					break
				}
			}
		}
	}()
	return out, nil
}

// WatchEngine streams the engine's health: as it is now, then each change.
func (s *Service) WatchEngine(ctx context.Context) <-chan EngineHealth {
	sub := s.engines.Subscribe(struct{}{})
	out := make(chan EngineHealth)
	go func() {
		defer close(out)
		defer sub.Close()
		for h := s.Engine(); ; {
			select {
			case out <- h:
			case <-ctx.Done():
				return
			}
			var err error
			if h, err = sub.Next(ctx); err != nil {
				return
			}
		}
	}()
	return out
}

// WatchTask streams a task: as it is now, then each change. The channel is closed after the terminal status, or when ctx ends
// or the server stops.
func (s *Service) WatchTask(ctx context.Context, actor Actor, id string) (<-chan task.Task, error) {
	sub := s.tasks.Subscribe(id)
	t, err := s.Task(ctx, actor, id)
	if err != nil {
		sub.Close()
		return nil, err
	}
	return untilItEnds(ctx, sub, t, newerTask, func(t task.Task) bool { return t.Status.Live() }), nil
}

// WatchBatch streams a batch, as WatchTask does a task.
func (s *Service) WatchBatch(ctx context.Context, actor Actor, id string) (<-chan Batch, error) {
	sub := s.batches.Subscribe(id)
	b, err := s.Batch(ctx, actor, id)
	if err != nil {
		sub.Close()
		return nil, err
	}
	return untilItEnds(ctx, sub, b, newerBatch, func(b Batch) bool { return b.Status == BatchRunning }), nil
}

// untilItEnds streams now and what a subscription gives that is newer, up to the first that no longer lives.
func untilItEnds[T any](ctx context.Context, sub *hub.Subscription[T], now T, newer func(have, next T) bool, lives func(T) bool) <-chan T {
	out := make(chan T)
	go func() {
		defer close(out)
		defer sub.Close()
		for {
			select {
			case out <- now:
			case <-ctx.Done():
				return
			}
			if !lives(now) {
				return
			}
			for sent := now; !newer(sent, now); {
				var err error
				if now, err = sub.Next(ctx); err != nil {
					return
				}
			}
		}
	}()
	return out
}
