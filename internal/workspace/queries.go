package workspace

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

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
	if err == nil {
		q, err = checkFilter(q)
	}
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
	if len(q.Types) > maxFilterStatus || len(q.Status) > maxFilterStatus {
		return Page[task.Task]{}, badInput("Name each type and each status once.", "filter")
	}
	q.OwnerID = actor.scope()
	return s.store.Tasks(ctx, q)
}

// TasksOf lists the tasks of one workspace for somebody, newest first. A filter for another workspace leaves nothing.
func (s *Service) TasksOf(ctx context.Context, actor Actor, id string, q TaskQuery) (Page[task.Task], error) {
	if q.WorkspaceID != "" && q.WorkspaceID != id {
		return Page[task.Task]{}, nil
	}
	q.WorkspaceID = id
	return s.Tasks(ctx, actor, q)
}

// QueuePositions counts what stands before waiting tasks.
func (s *Service) QueuePositions(ctx context.Context, ids []string) (map[string]int, error) {
	return s.store.QueuePositions(ctx, ids)
}

// QueueDepth is how full the queue is.
func (s *Service) QueueDepth(ctx context.Context) (QueueDepth, error) { return s.store.QueueDepth(ctx) }

// ContainerNow is the container of w as it is known now; nil when there is none. While the engine cannot be asked, or what it was seen to have
// cannot be written, its state is ContainerUnknown, its health is not known, and Error says why.
func (s *Service) ContainerNow(w Workspace) *Container {
	c := w.Observed.Container
	if c == nil {
		return nil
	}
	why := ""
	if h := s.Engine(); h.Status != EngineHealthy {
		why = h.LastError
	} else if _, waits := s.unwritten.Load(w.ID); waits {
		why = "What the engine was last seen to have waits to be written. It is shown as soon as the database can be written again."
	}
	if why == "" {
		return c
	}
	unknown := *c
	unknown.State, unknown.Error, unknown.Health = ContainerUnknown, why, nil
	return &unknown
}

// Bounds of a filter: what is given goes into one statement.
const (
	maxFilterIDs    = 1000
	maxFilterStatus = 100 // each of them many times over
)

// checkFilter gives the filter with the values of its labels in their one form, as they are stored.
func checkFilter(q Query) (Query, error) {
	switch {
	case len(q.IDs) > maxFilterIDs:
		return q, badInput(fmt.Sprintf("At most %d ids may be asked for at once.", maxFilterIDs), "filter", "ids")
	case len(q.Status) > maxFilterStatus:
		return q, badInput("Name each status once.", "filter", "status")
	case utf8.RuneCountInString(q.NameContains) > maxName:
		return q, badInput(fmt.Sprintf("A part of a name has at most %d characters.", maxName), "filter", "nameContains")
	case len(q.Labels) > maxLabels:
		return q, badInput(fmt.Sprintf("There may be at most %d labels.", maxLabels), "filter", "labels")
	}
	q.Labels = slices.Clone(q.Labels)
	for i, l := range q.Labels {
		if form, ok := plain(l.Value); ok { // what no label has finds nothing
			q.Labels[i].Value = form
		}
	}
	return q, nil
}

func ownerFor(actor Actor, asked string) (string, error) {
	if asked == "" || asked == actor.ID || actor.Admin {
		if asked == "" {
			return actor.scope(), nil
		}
		return asked, nil
	}
	return "", &Error{Code: Forbidden, Message: "Only an admin may list somebody else's workspaces. Leave ownerId out.", Field: []string{"filter", "ownerId"}}
}
