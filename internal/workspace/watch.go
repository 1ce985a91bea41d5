package workspace

import (
	"context"

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

// WatchTask streams a task: as it is now, then each change. The channel is closed after the terminal status, or when ctx ends
// or the server stops.
func (s *Service) WatchTask(ctx context.Context, actor Actor, id string) (<-chan task.Task, error) {
	sub := s.tasks.Subscribe(id)
	t, err := s.Task(ctx, actor, id)
	if err != nil {
		sub.Close()
		return nil, err
	}
	out := make(chan task.Task)
	go func() {
		defer close(out)
		defer sub.Close()
		for {
			select {
			case out <- t:
			case <-ctx.Done():
				return
			}
			sent := t.Revision
			for t.Revision <= sent {
				if !t.Status.Live() {
					return
				}
				if t, err = sub.Next(ctx); err != nil {
					return
				}
			}
		}
	}()
	return out, nil
}
