package workspace

import (
	"context"
	"fmt"

	"github.com/aicli/aicli-web/internal/task"
)

// CancelTask ends a task that waits, at once, and asks for the end of one that runs, which comes as soon as that is safe. What it
// had half made is taken back, and what was desired before is so again; see Draft.Cancel for what cannot be cancelled.
func (s *Service) CancelTask(ctx context.Context, actor Actor, id string) (task.Task, error) {
	t, err := s.ownTask(ctx, actor, id)
	if err != nil {
		return task.Task{}, err
	}
	ch, err := s.update(ctx, t.WorkspaceID, func(d *Draft) error {
		if now := find(d.Live, func(live task.Task) bool { return live.ID == id }); now != nil {
			t = *now
		}
		d.CausedBy(actor.ID)
		return d.Cancel(id)
	})
	if err != nil {
		if CodeOf(err) == NotFound { // the workspace, and with it all that was live
			err = conflict("The task has ended already.")
		}
		return task.Task{}, err
	}
	s.interrupt([]string{id}, task.ErrCancelled)
	return *result(ch, &t).Task, nil
}

// RetryTask asks once more for what a task that failed was asked for, and returns the task that does it now.
func (s *Service) RetryTask(ctx context.Context, actor Actor, id string) (task.Task, error) {
	t, err := s.ownTask(ctx, actor, id)
	switch {
	case err != nil:
		return task.Task{}, err
	case t.Status != task.Failed:
		return task.Task{}, conflict(fmt.Sprintf("Only a task that failed can be run again, and this one is %s.", t.Status))
	}
	if t.Params.FallsBack() {
		return task.Task{}, conflict("The task is what recovery fell back to when it gave up, and cannot be run again by itself. Start, sync or delete the workspace.")
	}
	params := task.Params{Grace: t.Params.Grace} // not Undo: by now it could take back what was asked for since
	again, err := s.request(ctx, actor, t.WorkspaceID, t.Type, params, Once{})
	switch {
	case CodeOf(err) == NotFound:
		return task.Task{}, conflict("The workspace of this task has been deleted.")
	case err != nil:
		return task.Task{}, err
	case again.Task == nil:
		return task.Task{}, conflict("What the task was asked for is so by now.")
	}
	return *again.Task, nil
}

// ownTask is Task for requests, whose errors name the field.
func (s *Service) ownTask(ctx context.Context, actor Actor, id string) (task.Task, error) {
	t, err := s.Task(ctx, actor, id)
	if CodeOf(err) == NotFound {
		return t, errNotFound("task", "input", "id")
	}
	return t, err
}

func conflict(message string) *Error {
	return &Error{Code: Conflict, Message: message, Field: []string{"input", "id"}}
}
