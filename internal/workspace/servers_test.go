package workspace_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// work is what the workers of several servers do, and what went wrong with it.
type work struct {
	mu    sync.Mutex
	at    map[string]string // workspaces that a task is at, and whose
	runs  map[string]int    // of each server
	twice []string
}

func (w *work) handle(server string, s *workspace.Service) task.Handler {
	return func(ctx context.Context, t task.Task, _ task.Report) error {
		w.mu.Lock()
		if other, busy := w.at[t.WorkspaceID]; busy {
			w.twice = append(w.twice, fmt.Sprint(server, " and ", other, " at ", t.WorkspaceID))
		}
		w.at[t.WorkspaceID] = server
		w.runs[server]++
		w.mu.Unlock()
		state := workspace.ContainerRunning
		if t.Type == task.Stop {
			state = workspace.ContainerExited
		}
		now, err := s.Get(ctx, t.WorkspaceID)
		if err == nil {
			_, err = s.Record(ctx, t.WorkspaceID, workspace.Observed{Container: &workspace.Container{State: state}, Serial: now.Observed.Serial})
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.at, t.WorkspaceID)
		return err
	}
}

// serve runs a server on a database until the end of the test.
func (w *work) serve(t *testing.T, name, dsn string) *workspace.Service {
	t.Helper()
	db, err := store.Open(store.Postgres, dsn)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := workspace.NewService(db, &paths{}, workspace.Config{DefaultImage: "alpine", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), Log: log})
	handlers := make(map[task.Type]task.Handler)
	for _, typ := range task.Types() {
		handlers[typ] = w.handle(name, s)
	}
	pool := task.New(s, task.Options{
		Holder: name, Workers: 4, Handlers: handlers, Log: log, Timeout: func(task.Task) time.Duration { return time.Hour },
		Classify: func(err error) (task.Failure, task.Class) {
			return task.Failure{Code: "INTERNAL", Message: err.Error()}, task.Permanent
		},
	})
	s.Attach(pool)
	s.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{pool.Run, s.RunBatches, s.RunFeed} {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		parts.Wait()
		s.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServersShareAQueue(t *testing.T) {
	_, dsn := storetest.Open(t, store.Postgres)
	w := &work{at: make(map[string]string), runs: make(map[string]int)}
	one, other := w.serve(t, "one", dsn), w.serve(t, "other", dsn)
	var ids []string
	for i := range 40 {
		r, err := one.Create(t.Context(), ann, workspace.CreateInput{Name: fmt.Sprint("w", i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Workspace.ID)
	}
	for round, verb := range []task.Type{task.Restart, task.Stop, task.Start, task.Sync} {
		b, err := one.StartBatch(t.Context(), ann, workspace.BatchInput{Operation: verb, IDs: ids})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := other.WatchBatch(t.Context(), ann, b.ID) // from the server that did not start it
		if err != nil {
			t.Fatal(err)
		}
		var last workspace.Batch
		for last = range seen {
			if ended := last.Succeeded + last.Failed + last.Skipped + last.Cancelled; (ended == last.Total) != (last.Status != workspace.BatchRunning) {
				t.Errorf("round %d: got %+v", round, last)
			}
		}
		if last.Succeeded != len(ids) {
			t.Errorf("round %d ended with %+v", round, last)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.twice) > 0 || w.runs["one"] == 0 || w.runs["other"] == 0 {
		t.Errorf("they have run %v, and at once %v", w.runs, w.twice)
	}
}

func TestServersTellEachOther(t *testing.T) {
	_, dsn := storetest.Open(t, store.Postgres)
	idle := &work{at: make(map[string]string), runs: make(map[string]int)}
	one, other := idle.serve(t, "one", dsn), idle.serve(t, "other", dsn)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // less than what is watched takes to be read anew by itself
	defer cancel()
	r, err := one.Create(ctx, ann, workspace.CreateInput{Name: "w", Wait: new(8 * time.Second)})
	if err != nil || r.Task.Status != task.Succeeded {
		t.Fatalf("got %+v, %v", r.Task, err)
	}
	seen, err := other.Watch(ctx, ann, r.Workspace.ID)
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, holds func(workspace.Workspace) bool) {
		t.Helper()
		for w := range seen {
			if holds(w) {
				return
			}
		}
		t.Fatalf("the other server never saw it %s", what)
	}
	if _, err := one.Update(ctx, ann, workspace.UpdateInput{ID: r.Workspace.ID, Name: new("renamed")}); err != nil {
		t.Fatal(err)
	}
	until("renamed", func(w workspace.Workspace) bool { return w.Name == "renamed" })
	if _, err := one.Request(ctx, ann, task.Stop, workspace.Ask{ID: r.Workspace.ID}); err != nil {
		t.Fatal(err)
	}
	until("stopped", func(w workspace.Workspace) bool { return w.Status == workspace.Inactive })
	if r, err := other.Request(ctx, ann, task.Delete, workspace.Ask{ID: r.Workspace.ID, Wait: new(8 * time.Second)}); err != nil || r.Workspace != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	for range seen { // up to its end
	}
	if ctx.Err() != nil {
		t.Error("the stream did not end with the workspace")
	}
}

func TestServersShareKeys(t *testing.T) {
	_, dsn := storetest.Open(t, store.Postgres)
	w := &work{at: make(map[string]string), runs: make(map[string]int)}
	one, other := w.serve(t, "one", dsn), w.serve(t, "other", dsn)
	const rounds = 10
	for i := range rounds {
		var made, batches [2]string
		var askers sync.WaitGroup
		for at, s := range []*workspace.Service{one, other} {
			askers.Go(func() {
				r, err := s.Create(t.Context(), ann, workspace.CreateInput{Name: fmt.Sprint("w", i), IdempotencyKey: new(fmt.Sprint("create ", i))})
				if err != nil {
					t.Error(err)
					return
				}
				made[at] = r.Workspace.ID
				b, err := s.StartBatch(t.Context(), ann, workspace.BatchInput{Operation: task.Sync, IDs: []string{r.Workspace.ID}, DryRun: true, IdempotencyKey: new(fmt.Sprint("batch ", i))})
				if err != nil {
					t.Error(err)
				}
				batches[at] = b.ID
			})
		}
		askers.Wait()
		if made[0] != made[1] || batches[0] != batches[1] {
			t.Errorf("round %d: got the workspaces %q and the batches %q", i, made, batches)
		}
	}
	workspaces, err := one.Workspaces(t.Context(), ann, workspace.Query{Window: workspace.Window{First: 1}, OrderBy: workspace.ByName})
	batches, batchesErr := one.Batches(t.Context(), ann, workspace.Window{First: 1})
	if err != nil || batchesErr != nil || workspaces.Total != rounds || batches.Total != rounds {
		t.Errorf("there are %d workspaces, %v, and %d batches, %v", workspaces.Total, err, batches.Total, batchesErr)
	}
}
