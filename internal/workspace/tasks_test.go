package workspace_test

import (
	"slices"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestWhatHasFailedIsRunAgain(t *testing.T) {
	s, db, _ := service(t)
	// fails has a task run and fail for good.
	fails := func(name string, typ task.Type, params task.Params) task.Task {
		t.Helper()
		r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Update(t.Context(), r.Workspace.ID, func(d *workspace.Draft) error {
			d.Supersede(d.Live[0])
			d.Enqueue(typ, "", params)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		claimed, err := db.Claim(t.Context(), "pool", task.Slots{Free: 9}, time.Minute)
		mine := slices.IndexFunc(claimed, func(c task.Task) bool { return c.WorkspaceID == r.Workspace.ID })
		if err != nil || mine < 0 {
			t.Fatal(claimed, err)
		}
		if err := s.Finish(t.Context(), claimed[mine].Lease, task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}}); err != nil {
			t.Fatal(err)
		}
		return claimed[mine]
	}
	start := fails("start", task.Start, task.Params{Grace: time.Minute})
	again, err := s.RetryTask(t.Context(), ann, start.ID)
	if err != nil || again.ID == start.ID || again.Type != task.Start || again.Params.Grace != time.Minute || again.RequestedBy != ann.ID {
		t.Errorf("got %+v, %v", again, err)
	}
	if same, err := s.RetryTask(t.Context(), ann, start.ID); err != nil || same.ID != again.ID {
		t.Errorf("once more: got %+v, %v", same, err)
	}
	undo := fails("undo", task.Sync, task.Params{Undo: true})
	if again, err := s.RetryTask(t.Context(), ann, undo.ID); err != nil || again.Params.Undo {
		t.Errorf("what took back: got %+v, %v", again, err)
	}
	cleared := fails("cleared", task.Sync, task.Params{Clear: true})
	if again, err := s.RetryTask(t.Context(), ann, cleared.ID); workspace.CodeOf(err) != workspace.Conflict {
		t.Errorf("what removed the container for recovery: got %+v, %v", again, err)
	}
	if _, err := s.RetryTask(t.Context(), ann, again.ID); workspace.CodeOf(err) != workspace.Conflict {
		t.Errorf("what has not failed: got %v", err)
	}
}
