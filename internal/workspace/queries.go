package workspace

import (
	"context"

	"github.com/aicli/aicli-web/internal/task"
)

// Workspace finds one workspace for somebody.
func (s *Service) Workspace(ctx context.Context, actor Actor, id string) (Workspace, error) {
	w, err := s.store.Workspace(ctx, id)
	if err == nil && !actor.sees(w.OwnerID) {
		return Workspace{}, errNotFound("workspace")
	}
	return w, err
}

// WorkspacesByID finds those of the ids that exist for the actor.
func (s *Service) WorkspacesByID(ctx context.Context, actor Actor, ids []string) (map[string]Workspace, error) {
	found, err := s.store.WorkspacesByID(ctx, ids)
	for id, w := range found {
		if !actor.sees(w.OwnerID) {
			delete(found, id)
		}
	}
	return found, err
}

// Workspaces lists workspaces for somebody. Only an admin may ask for somebody else's.
func (s *Service) Workspaces(ctx context.Context, actor Actor, q Query) (Page[Workspace], error) {
	owner, err := ownerFor(actor, q.OwnerID)
	if err != nil {
		return Page[Workspace]{}, err
	}
	q.OwnerID = owner
	return s.store.Workspaces(ctx, q)
}

// Task finds one task for somebody.
func (s *Service) Task(ctx context.Context, actor Actor, id string) (task.Task, error) {
	t, err := s.store.Task(ctx, id)
	if err == nil && !actor.sees(t.OwnerID) {
		return task.Task{}, errNotFound("task")
	}
	return t, err
}

// TasksByID finds those of the ids that exist for the actor.
func (s *Service) TasksByID(ctx context.Context, actor Actor, ids []string) (map[string]task.Task, error) {
	found, err := s.store.TasksByID(ctx, ids)
	for id, t := range found {
		if !actor.sees(t.OwnerID) {
			delete(found, id)
		}
	}
	return found, err
}

// Tasks lists tasks for somebody, newest first.
func (s *Service) Tasks(ctx context.Context, actor Actor, q TaskQuery) (Page[task.Task], error) {
	q.OwnerID = actor.scope()
	return s.store.Tasks(ctx, q)
}

// QueuePositions counts what stands before waiting tasks.
func (s *Service) QueuePositions(ctx context.Context, ids []string) (map[string]int, error) {
	return s.store.QueuePositions(ctx, ids)
}

// QueueDepth is how full the queue is.
func (s *Service) QueueDepth(ctx context.Context) (QueueDepth, error) { return s.store.QueueDepth(ctx) }

func ownerFor(actor Actor, asked string) (string, error) {
	if asked == "" || asked == actor.ID || actor.Admin {
		if asked == "" {
			return actor.scope(), nil
		}
		return asked, nil
	}
	return "", &Error{Code: Forbidden, Message: "Only an admin may list somebody else's workspaces. Leave ownerId out.", Field: []string{"filter", "ownerId"}}
}
