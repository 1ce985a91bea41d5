package workspace_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// witness is a store that notes what it is asked, and says that there are other servers.
type witness struct {
	*store.DB

	mu       sync.Mutex
	counts   int // pages that were counted
	pages    int
	notified int
}

func (w *witness) Shared() bool { return true }

func (w *witness) Notify(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notified++
	return nil
}

func (w *witness) Listen(ctx context.Context, _, _ func()) error {
	<-ctx.Done()
	return nil
}

func (w *witness) page(asked workspace.Window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages++
	if !asked.Uncounted {
		w.counts++
	}
}

func (w *witness) Workspaces(ctx context.Context, q workspace.Query) (workspace.Page[workspace.Workspace], error) {
	w.page(q.Window)
	return w.DB.Workspaces(ctx, q)
}

func (w *witness) Tasks(ctx context.Context, q workspace.TaskQuery) (workspace.Page[task.Task], error) {
	w.page(q.Window)
	return w.DB.Tasks(ctx, q)
}

func (w *witness) serve(t *testing.T) *workspace.Service {
	t.Helper()
	s := workspace.NewService(w, &paths{}, workspace.Config{DefaultImage: "alpine", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), Workers: 4, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	s.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	feed(t, s)
	return s
}

func TestWhatNobodyAsksForIsNotCounted(t *testing.T) {
	db, _ := storetest.Open(t, store.SQLite)
	w := &witness{DB: db}
	s := w.serve(t)
	var ids []string
	for i := range 3 {
		r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: fmt.Sprint(i), Start: new(false)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Workspace.ID)
	}
	visited := 0
	if err := s.Each(t.Context(), func(workspace.Workspace) error { visited++; return nil }); err != nil || visited != len(ids) {
		t.Errorf("visited %d, %v", visited, err)
	}
	b, err := s.StartBatch(t.Context(), ann, workspace.BatchInput{Operation: task.Restart, IDs: ids})
	if err == nil {
		_, err = s.CancelBatch(t.Context(), ann, b.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.RunBatches(ctx) }()
	seen, err := s.WatchBatch(t.Context(), ann, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range seen {
	}
	cancel()
	if err := <-ended; err != nil || w.pages == 0 || w.counts > 0 {
		t.Errorf("%d of %d pages were counted, %v", w.counts, w.pages, err)
	}
}

func TestAChangeThatChangesNothingIsToldToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := storetest.Open(t, store.SQLite)
		w := &witness{DB: db}
		s := w.serve(t)
		r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: "one", Start: new(false)})
		if err != nil {
			t.Fatal(err)
		}
		finish(t.Context(), t, s, task.Outcome{Status: task.Succeeded})
		id := r.Workspace.ID
		seen := workspace.Observed{Container: &workspace.Container{ID: "c", State: workspace.ContainerExited}}
		now, err := s.Record(t.Context(), id, seen)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		<-time.After(time.Second)
		watched, err := s.Watch(ctx, ann, id)
		if err != nil {
			t.Fatal(err)
		}
		<-watched
		w.mu.Lock()
		w.notified = 0
		w.mu.Unlock()
		for what, change := range map[string]func() error{
			"an observation of what is known": func() error { _, err := s.Record(t.Context(), id, now.Observed); return err },
			"an update without a difference": func() error {
				_, err := s.Update(t.Context(), ann, workspace.UpdateInput{ID: id, Name: new("one")})
				return err
			},
			"an end of another container": func() error {
				_, err := s.RecordEnd(t.Context(), id, workspace.End{ContainerID: "x"})
				return err
			},
		} {
			if err := change(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			<-time.After(time.Second)
			select {
			case got := <-watched:
				t.Errorf("%s was published: %+v", what, got)
			default:
			}
			w.mu.Lock()
			if w.notified > 0 {
				t.Errorf("%s was told to other servers", what)
			}
			w.notified = 0
			w.mu.Unlock()
		}
		cancel()
		for range watched {
		}
	})
}

// TestACancelledTaskHearsOfItOnAnotherServer has servers that look at their leases once in twenty minutes.
func TestACancelledTaskHearsOfItOnAnotherServer(t *testing.T) {
	_, dsn := storetest.Open(t, store.Postgres)
	begun, causes := make(chan string, 1), make(chan error, 1)
	serve := func(name string, workers int) *workspace.Service {
		db := storetest.OpenAt(t, store.Postgres, dsn)
		log := slog.New(slog.DiscardHandler)
		s := workspace.NewService(db, &paths{}, workspace.Config{DefaultImage: "alpine", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), Log: log})
		handlers := make(map[task.Type]task.Handler)
		for _, typ := range task.Types() {
			handlers[typ] = func(ctx context.Context, t task.Task, _ task.Report) error {
				if t.Type != task.Create {
					return nil
				}
				begun <- t.ID
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			}
		}
		pool := task.New(s, task.Options{
			Holder: name, Workers: workers, Handlers: handlers, Log: log, Lease: time.Hour, Timeout: func(task.Task) time.Duration { return time.Hour },
			Classify: func(err error) (task.Failure, task.Class) {
				return task.Failure{Code: "INTERNAL", Message: err.Error()}, task.Permanent
			},
		})
		s.Attach(pool)
		ctx, cancel := context.WithCancel(context.Background())
		var parts sync.WaitGroup
		for _, run := range []func(context.Context) error{pool.Run, s.RunFeed} {
			parts.Go(func() { _ = run(ctx) })
		}
		t.Cleanup(func() { cancel(); parts.Wait(); s.Close() })
		return s
	}
	works, asks := serve("works", 1), serve("asks", 1)
	works.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy}) // the other one runs nothing
	for what, stop := range map[string]func(r workspace.Result) error{
		"cancelled": func(r workspace.Result) error { _, err := asks.CancelTask(t.Context(), ann, r.Task.ID); return err },
		"overtaken by a deletion": func(r workspace.Result) error {
			_, err := asks.Request(t.Context(), ann, task.Delete, workspace.Ask{ID: r.Workspace.ID})
			return err
		},
	} {
		r, err := works.Create(t.Context(), ann, workspace.CreateInput{Name: what})
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		if err := stop(r); err != nil {
			t.Fatal(err)
		}
		if cause := <-causes; cause == nil {
			t.Errorf("%s: it ended without a cause", what)
		}
	}
}

func TestAnAnswerIsGivenAgainToWhoMaySeeIt(t *testing.T) {
	s, _, _ := service(t)
	r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: "hers"})
	if err != nil {
		t.Fatal(err)
	}
	id, key := r.Workspace.ID, func(k string) *string { return &k }
	admin, former := workspace.Actor{ID: "eve", Admin: true}, workspace.Actor{ID: "eve"}
	requests := map[string]func(a workspace.Actor) (workspace.Result, error){
		"update": func(a workspace.Actor) (workspace.Result, error) {
			return s.Update(t.Context(), a, workspace.UpdateInput{ID: id, Name: new("other"), IdempotencyKey: key("update")})
		},
	}
	for _, verb := range []task.Type{task.Sync, task.Restart, task.Start, task.Stop, task.Delete} {
		requests[string(verb)] = func(a workspace.Actor) (workspace.Result, error) {
			return s.Request(t.Context(), a, verb, workspace.Ask{ID: id, IdempotencyKey: key(string(verb))})
		}
	}
	for _, what := range []string{"update", "SYNC", "RESTART", "START", "STOP", "DELETE"} {
		if got, err := requests[what](admin); err != nil || got.Workspace == nil {
			t.Errorf("%s by an admin: %+v, %v", what, got, err)
		}
		if got, err := requests[what](admin); err != nil || got.Workspace == nil {
			t.Errorf("%s by an admin, again: %+v, %v", what, got, err)
		}
		if got, err := requests[what](former); workspace.CodeOf(err) != workspace.NotFound || got.Workspace != nil || got.Task != nil {
			t.Errorf("%s by who was an admin, again: %+v, %v", what, got, err)
		}
	}
}
