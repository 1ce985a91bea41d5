package workspace_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// paths refuses project directories when it is told to.
type paths struct{ refuse bool }

func (p *paths) Check(string, string) error {
	if p.refuse {
		return &workspace.Error{Code: workspace.BadUserInput, Message: "It is a file.", Field: []string{"input", "projectPath"}}
	}
	return nil
}

var ann, root = workspace.Actor{ID: "ann"}, workspace.Actor{ID: "root", Admin: true}

// service is one over a real store, whose tasks are run by hand.
func service(t *testing.T) (*workspace.Service, *store.DB, *paths) {
	t.Helper()
	db, _ := storetest.Open(t, store.SQLite)
	p := &paths{}
	s := workspace.NewService(db, p, workspace.Config{DefaultImage: "alpine", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	s.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	feed(t, s)
	return s, db, p
}

// feed has a service read its event log until the end of the test.
func feed(t *testing.T, s *workspace.Service) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.RunFeed(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// finish runs the one task that is due, to an outcome.
func finish(ctx context.Context, t *testing.T, s *workspace.Service, o task.Outcome) {
	t.Helper()
	claimed, err := s.Claim(ctx, "pool", task.Slots{Free: 1}, time.Minute)
	if err == nil && len(claimed) == 1 {
		err = s.Finish(ctx, claimed[0].Lease, o)
	}
	if err != nil || len(claimed) != 1 {
		t.Errorf("got %+v, %v", claimed, err)
	}
}

var noSuchImage = task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "IMAGE_NOT_FOUND", Message: "There is no such image."}}

func TestAFailedCreationIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		go func() {
			synctest.Wait()
			finish(t.Context(), t, s, noSuchImage) // and nobody runs the deletion that follows
		}()
		began := time.Now()
		_, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: "w", Wait: new(30 * time.Second), IdempotencyKey: new("k")})
		if workspace.CodeOf(err) != workspace.ImageNotFound {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("the answer waited %s for the deletion, want 15 s", took)
		}
	})
}

func TestAKeyGivesTheAnswerOfThen(t *testing.T) {
	s, db, p := service(t)
	in := workspace.CreateInput{Name: "w", ProjectPath: new("src"), IdempotencyKey: new("k")}
	first, err := s.Create(t.Context(), ann, in)
	if err != nil {
		t.Fatal(err)
	}
	again := func() workspace.Result {
		t.Helper()
		r, err := s.Create(t.Context(), ann, in)
		if err != nil || r.Workspace == nil || r.Workspace.ID != first.Workspace.ID {
			t.Fatalf("got %+v, %v", r, err)
		}
		return r
	}
	t.Run("although its input would be refused by now", func(t *testing.T) {
		p.refuse = true
		if r := again(); r.Task.ID != first.Task.ID {
			t.Errorf("got %+v", r.Task)
		}
	})
	t.Run("without its task, once that was pruned", func(t *testing.T) {
		finish(t.Context(), t, s, task.Outcome{Status: task.Succeeded})
		if n, err := db.Prune(t.Context(), -time.Hour, 10, 10); n != 1 || err != nil {
			t.Fatalf("pruned %d, %v", n, err)
		}
		if r := again(); r.Task != nil {
			t.Errorf("got %+v", r.Task)
		}
	})
}

func TestLimitsReachTheContainerByASyncOfTheirOwn(t *testing.T) {
	s, _, _ := service(t)
	r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: "w"})
	if err != nil {
		t.Fatal(err)
	}
	claimed, err := s.Claim(t.Context(), "pool", task.Slots{Free: 1}, time.Minute)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("got %+v, %v", claimed, err)
	}
	if _, err := s.CancelTask(t.Context(), ann, r.Task.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(t.Context(), claimed[0].Lease, task.Outcome{Status: task.Cancelled}); err != nil { // what takes it back waits now
		t.Fatal(err)
	}
	changed, err := s.Update(t.Context(), ann, workspace.UpdateInput{ID: r.Workspace.ID, Resources: workspace.ResourcesInput{Pids: new(77)}})
	if err != nil || changed.Task == nil || changed.Task.Params.Undo {
		t.Fatalf("got %+v, %v: what takes back applies no limits", changed.Task, err)
	}
	again, err := s.Update(t.Context(), ann, workspace.UpdateInput{ID: r.Workspace.ID, Resources: workspace.ResourcesInput{Pids: new(78)}})
	if err != nil || again.Task == nil || again.Task.ID != changed.Task.ID {
		t.Errorf("got %+v, %v: the sync that waits applies these limits too, and is told of", again.Task, err)
	}
}

func TestAFailureThatWasUndoneIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		go func() {
			synctest.Wait()
			finish(t.Context(), t, s, noSuchImage)
			finish(t.Context(), t, s, task.Outcome{Status: task.Succeeded}) // the deletion
		}()
		in := workspace.CreateInput{Name: "w", IdempotencyKey: new("k"), Wait: new(30 * time.Second)}
		for range 2 { // the second does not wait at all
			if _, err := s.Create(t.Context(), ann, in); workspace.CodeOf(err) != workspace.ImageNotFound {
				t.Errorf("got %v", err)
			}
			in.Wait = nil
		}
	})
}

func TestACreationThatIsAskedForAgainIsUndoneWithinTheLongestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		in := workspace.CreateInput{Name: "w", IdempotencyKey: new("k"), Wait: new(time.Second)}
		first, err := s.Create(t.Context(), ann, in)
		if err != nil || !first.Task.Status.Live() {
			t.Fatalf("got %+v, %v", first.Task, err)
		}
		go func() {
			<-time.After(2 * time.Second)
			finish(t.Context(), t, s, noSuchImage)
			finish(t.Context(), t, s, task.Outcome{Status: task.Succeeded}) // the deletion
		}()
		in.Wait = new(30 * time.Second)
		r, err := s.Create(t.Context(), ann, in)
		if e, ok := errors.AsType[*workspace.Error](err); !ok || e.Code != workspace.ImageNotFound || strings.Join(e.Field, " ") != "input image" {
			t.Errorf("got %+v, %v", r.Task, err)
		}
		if _, err := s.Get(t.Context(), first.Workspace.ID); workspace.CodeOf(err) != workspace.NotFound {
			t.Errorf("got %v: it is left", err)
		}
	})
}

func TestWhoHasGoneIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if r, err := s.Create(ctx, ann, workspace.CreateInput{Name: "w", Wait: new(30 * time.Second)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v", r, err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("the request went on for %s", took)
		}
	})
}
