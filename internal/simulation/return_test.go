package simulation

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// atOnceMost is how many calls of the engine a server makes at once: one for each of its three workers, four to look at what differs, and
// one to compare.
const atOnceMost = 3 + 4 + 1

// TestTheEngineReturns has an engine be away for a minute. Meanwhile half of its containers end, and the others are to be restarted. Within two
// seconds of its return all is compared and the work goes on, and it is never asked more than a few things at once.
func TestTheEngineReturns(t *testing.T) {
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { engineReturns(t, newWorld(t, dialect, 1)) })
		})
	}
}

func engineReturns(t *testing.T, w *world) {
	defer w.end()
	w.slow = 20 * time.Millisecond
	s := w.serve()
	w.servers = append(w.servers, s)
	ann := workspace.Actor{ID: "ann"}
	const many = 40
	ids := make([]string, many)
	for i := range ids {
		r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: workspace.NewID("name"), Start: new(true)})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = r.Workspace.ID
	}
	w.rest()

	w.fake.SetDown(true)
	w.advance(2 * time.Second)
	if h := s.Engine(); h.Status != workspace.EngineUnavailable {
		t.Fatalf("two seconds after its loss the engine is %+v", h)
	}
	s.line.most.Store(0)
	var asked []string // tasks
	for i, id := range ids {
		if i%2 == 0 {
			w.fake.Exit(isolation.Name(id), 1)
			continue
		}
		r, err := s.Request(t.Context(), ann, task.Restart, workspace.Ask{ID: id, Grace: new(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, r.Task.ID)
	}
	w.advance(time.Minute)
	if n := s.line.most.Load(); n > 0 {
		t.Errorf("an engine that is away is asked for work, %d calls at once", n)
	}

	w.fake.SetDown(false)
	w.advance(2 * time.Second)
	if live := w.liveTasks(); !slices.ContainsFunc(live, func(t task.Task) bool { return t.StartedAt != nil }) && len(live) >= len(asked) {
		t.Errorf("two seconds after the engine's return none of %d tasks has begun", len(live))
	}
	for i, id := range ids {
		now, err := w.eyes.Workspace(t.Context(), id)
		if err != nil || i%2 == 0 && now.LastExit == nil {
			t.Errorf("two seconds after the engine's return %s is %s, %v: its end is not known", id, now.Status, err)
		}
	}
	w.rest()
	if n := s.line.most.Load(); n > atOnceMost || n < 2 {
		t.Errorf("%d calls of the engine at once, want at most %d", n, atOnceMost)
	}
	ended, err := w.eyes.TasksByID(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range ended {
		if each.Status != task.Succeeded || each.Attempt != 1 {
			t.Errorf("%s is %s after %d tries: while the engine is away none is burned", each.ID, each.Status, each.Attempt)
		}
	}
	for _, id := range ids {
		if now, err := w.eyes.Workspace(t.Context(), id); err != nil || now.Status != workspace.Active {
			t.Errorf("%s is %s, %v", id, now.Status, err)
		}
	}
}
