package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestIdempotencyKeys(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		made := add(t, db, "ann", "w")
		use := func(caller, key string) error {
			_, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
				q := d.Enqueue(task.Sync, caller, task.Params{})
				d.Once = workspace.Once{Caller: caller, Key: key, Fingerprint: "f", WorkspaceID: made.Workspace.ID, TaskID: q.ID}
				return nil
			})
			return err
		}
		tasks := func() int {
			p, err := db.Tasks(t.Context(), workspace.TaskQuery{WorkspaceID: made.Workspace.ID, Window: workspace.Window{First: 1}})
			if err != nil {
				t.Fatal(err)
			}
			return p.Total
		}
		t.Run("a key is committed with its change, once for each caller", func(t *testing.T) {
			if err := errors.Join(use("ann", "k"), use("bob", "k")); err != nil {
				t.Fatal(err)
			}
			before := tasks()
			if err := use("ann", "k"); !errors.Is(err, workspace.ErrKeyUsed) || tasks() != before {
				t.Errorf("got %v, and %d tasks where there were %d", err, tasks(), before)
			}
			o, err := db.Once(t.Context(), "ann", "k")
			if err != nil || o.Fingerprint != "f" || o.WorkspaceID != made.Workspace.ID || o.TaskID == "" {
				t.Errorf("got %+v, %v", o, err)
			}
			if _, err := db.Once(t.Context(), "eve", "k"); workspace.CodeOf(err) != workspace.NotFound {
				t.Errorf("got %v", err)
			}
		})
		t.Run("of many at once one makes the change", func(t *testing.T) {
			before := tasks()
			var won atomic.Int32
			var askers sync.WaitGroup
			for range 10 {
				askers.Go(func() {
					switch err := use("ann", "race"); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, workspace.ErrKeyUsed):
						t.Error(err)
					}
				})
			}
			askers.Wait()
			if won.Load() != 1 || tasks() != before+1 {
				t.Errorf("%d made it, and %d tasks came of it", won.Load(), tasks()-before)
			}
		})
		t.Run("a change that is rolled back leaves no key", func(t *testing.T) {
			w := workspace.Workspace{ID: workspace.NewID(workspace.WorkspacePrefix), OwnerID: "ann", Spec: workspace.Spec{Name: "w"}}
			_, err := db.Create(t.Context(), w, pool, func(d *workspace.Draft) { d.Once = workspace.Once{Caller: "ann", Key: "lost", Fingerprint: "f"} })
			if workspace.CodeOf(err) != workspace.Conflict {
				t.Fatalf("got %v, want the name to be taken", err)
			}
			if _, err := db.Once(t.Context(), "ann", "lost"); workspace.CodeOf(err) != workspace.NotFound {
				t.Errorf("got %v", err)
			}
		})
		t.Run("keys are pruned by age", func(t *testing.T) {
			none, err := db.PruneKeys(t.Context(), time.Hour, 10)
			one, errOne := db.PruneKeys(t.Context(), -time.Hour, 1)
			rest, errRest := db.PruneKeys(t.Context(), -time.Hour, 10)
			if err := errors.Join(err, errOne, errRest); err != nil || fmt.Sprint(none, one, rest) != "0 1 2" {
				t.Errorf("pruned %d, %d, %d, %v", none, one, rest, err)
			}
		})
	})
}

// TestAKeyThatIsBeingUsedAgainIsNotPruned has another transaction write anew a key that is too old, while such keys are pruned.
func TestAKeyThatIsBeingUsedAgainIsNotPruned(t *testing.T) {
	db, dsn := storetest.Open(t, store.Postgres)
	made := add(t, db, "ann", "w")
	for _, key := range []string{"old", "again"} {
		if _, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
			d.Once = workspace.Once{Caller: "ann", Key: key, Fingerprint: "f", WorkspaceID: made.Workspace.ID}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	tx := elsewhere(t, dsn, "UPDATE idempotency_keys SET created_at = created_at + 86400000000 WHERE key = 'again'")
	if n, err := db.PruneKeys(t.Context(), -time.Hour, 10); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Once(t.Context(), "ann", "again"); err != nil {
		t.Error(err)
	}
	if _, err := db.Once(t.Context(), "ann", "old"); workspace.CodeOf(err) != workspace.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestAKeyIsKeptForADay(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		var later time.Duration
		db.UseClock(func() time.Time { return time.Now().Add(later) })
		made := add(t, db, "ann", "w")
		use := func() error {
			_, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
				d.Once = workspace.Once{Caller: "ann", Key: "k", Fingerprint: "f", WorkspaceID: made.Workspace.ID}
				return nil
			})
			return err
		}
		if err := use(); err != nil {
			t.Fatal(err)
		}
		later = 24*time.Hour - time.Minute
		if o, err := db.Once(t.Context(), "ann", "k"); err != nil || o.WorkspaceID != made.Workspace.ID {
			t.Errorf("got %+v, %v within the day", o, err)
		}
		if err := use(); !errors.Is(err, workspace.ErrKeyUsed) {
			t.Errorf("got %v: it was used within the day", err)
		}
		later = 24*time.Hour + time.Minute
		if o, err := db.Once(t.Context(), "ann", "k"); workspace.CodeOf(err) != workspace.NotFound {
			t.Errorf("got %+v, %v after the day", o, err)
		}
		if err := use(); err != nil {
			t.Errorf("got %v: it is free after the day", err)
		}
		if _, err := db.Once(t.Context(), "ann", "k"); err != nil {
			t.Errorf("got %v: it was used anew", err)
		}
	})
}
