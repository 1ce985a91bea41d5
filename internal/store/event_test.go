package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// replayed reads the whole log of a database, and holds that it tells the same as the rows.
func replayed(t *testing.T, db *store.DB) *storetest.Replay {
	t.Helper()
	r := storetest.NewReplay()
	if err := r.Read(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	differs, err := r.Differs(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range differs {
		t.Error(what)
	}
	return r
}

// TestEveryWriterLogs calls each method that changes a workspace, a task or a batch, and holds after each that the log tells what the rows do.
func TestEveryWriterLogs(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			before := t.Failed()
			if replayed(t, db); t.Failed() && !before {
				t.Fatalf("after %s", what)
			}
		}
		grows := func(what string, do func() error) {
			t.Helper()
			before, err := db.LogEnd(ctx)
			if err == nil {
				err = do()
			}
			must(what, err)
			if after, err := db.LogEnd(ctx); err != nil || after <= before {
				t.Fatalf("%s: no event, %v", what, err)
			}
		}
		var ids []string
		for i := range 4 {
			grows("Create", func() error {
				ids = append(ids, add(t, db, "ann", fmt.Sprint("w", i)).Workspace.ID)
				return nil
			})
		}
		grows("Update", func() error {
			_, err := db.Update(ctx, ids[0], func(d *workspace.Draft) error { d.Workspace.Name = "renamed"; return nil })
			return err
		})
		grows("MoveSubnet", func() error { _, err := db.MoveSubnet(ctx, ids[0], pool, nil, time.Hour); return err })
		var claimed []task.Task
		grows("Claim", func() error { claimed = claim(t, db, 4); return nil })
		grows("Report of a step", func() error { _, err := db.Report(ctx, claimed[0].Lease, task.StepPull, nil); return err })
		before, err := db.LogEnd(ctx)
		must("LogEnd", err)
		_, err = db.Report(ctx, claimed[0].Lease, task.StepPull, new(50.0))
		must("Report of per cent", err)
		if after, err := db.LogEnd(ctx); err != nil || after != before {
			t.Errorf("per cent are in the log, %v", err)
		}
		grows("Finish", func() error {
			_, err := db.Finish(ctx, claimed[0].Lease, task.Outcome{Status: task.Succeeded})
			return err
		})
		grows("Finish for another try", func() error {
			_, err := db.Finish(ctx, claimed[1].Lease, task.Outcome{Status: task.Retrying, After: time.Hour, Failure: &task.Failure{Code: "X", Message: "It failed."}})
			return err
		})
		must("the end of a lease", db.Exec(ctx, "UPDATE tasks SET lease_until = 0 WHERE status = 'RUNNING'"))
		grows("Reclaim", func() error { _, err := db.Reclaim(ctx); return err })
		b := workspace.Batch{ID: workspace.NewID(workspace.BatchPrefix), OwnerID: "ann", Operation: task.Stop, Status: workspace.BatchRunning, Concurrency: 2, Total: 3}
		items := make([]workspace.BatchItem, 3)
		for i := range items {
			items[i] = workspace.BatchItem{BatchID: b.ID, Position: i, WorkspaceID: ids[i], Status: workspace.ItemQueued}
		}
		grows("CreateBatch", func() error {
			_, err := db.CreateBatch(ctx, b, items, workspace.BatchBounds{Running: 10, Daily: 10}, workspace.Once{})
			return err
		})
		grows("BeginItem", func() error {
			_, err := db.Update(ctx, ids[0], func(d *workspace.Draft) error { d.BeginItem(b, items[0]); return nil })
			return err
		})
		grows("EndItem", func() error {
			item := items[1]
			item.Status = workspace.ItemSkipped
			_, err := db.EndItem(ctx, item)
			return err
		})
		grows("CancelBatch", func() error { _, err := db.CancelBatch(ctx, b.ID); return err })
		grows("the end of a workspace", func() error {
			_, err := db.Update(ctx, ids[3], func(d *workspace.Draft) error { d.Removed = true; return nil })
			return err
		})
		if r := replayed(t, db); len(r.Workspaces) != 3 || len(r.Batches) != 1 {
			t.Errorf("the log has %d workspaces and %d batches", len(r.Workspaces), len(r.Batches))
		}
	})
}

// TestTheLogHasNoSecrets has a workspace with a secret variable.
func TestTheLogHasNoSecrets(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "one")
		events, err := db.Events(t.Context(), "", 0, 10)
		if err != nil || len(events) != 1 || len(events[0].Workspace.Environment) != 1 || events[0].Workspace.Environment[0].Value != "" || events[0].Workspace.Subnet == "" {
			t.Errorf("got %+v, %v", events, err)
		}
	})
}

// TestTheLogIsInTheOrderOfTheCommits has many write at once, one of them slowly, and one read as they do: it finds nothing before what it has read.
func TestTheLogIsInTheOrderOfTheCommits(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		const writers, changes = 6, 15
		var ids []string
		for i := range writers {
			ids = append(ids, add(t, db, fmt.Sprint("owner", i%3), fmt.Sprint("w", i)).Workspace.ID)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var seen []int64
		var reading sync.WaitGroup
		last := storetest.NewReplay()
		reading.Go(func() {
			for done := false; !done; {
				done = ctx.Err() != nil // once more after the last write
				events, err := db.Events(t.Context(), "", last.Seq, 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					seen, last.Seq, done = append(seen, e.Seq), e.Seq, false
				}
			}
		})
		var writing sync.WaitGroup
		for i := range writers {
			writing.Go(func() {
				for n := range changes {
					_, err := db.Update(t.Context(), ids[(i+n)%writers], func(d *workspace.Draft) error {
						if i == 0 { // it has its transaction, and locks, for longer than others
							for range 3 {
								if _, err := db.LogEnd(t.Context()); err != nil {
									return err
								}
							}
						}
						d.Workspace.Name = fmt.Sprint("w", i, " ", n)
						return nil
					})
					if err == nil && i == 1 {
						_, err = create(t.Context(), db, "bob", fmt.Sprint("new", n), pool)
					}
					if err == nil && i == 2 {
						_, err = db.Claim(t.Context(), "pool", task.Slots{Free: 2}, lease)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		cancel()
		reading.Wait()
		var all []int64
		for at := int64(0); ; {
			events, err := db.Events(t.Context(), "", at, 500)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				all, at = append(all, e.Seq), e.Seq
			}
			if len(events) < 500 {
				break
			}
		}
		if !slices.Equal(seen, all) {
			t.Errorf("it has read %d events on the way, and there are %d", len(seen), len(all))
		}
		replayed(t, db)
	})
}

func TestEventsArePruned(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		stays, goes := add(t, db, "ann", "stays").Workspace.ID, add(t, db, "bob", "goes").Workspace.ID
		for i := range 10 {
			if _, err := db.Update(ctx, goes, func(d *workspace.Draft) error { d.Workspace.Name = fmt.Sprint("goes", i); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Update(ctx, goes, func(d *workspace.Draft) error { d.Removed = true; return nil }); err != nil {
			t.Fatal(err)
		}
		end, err := db.LogEnd(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pruned := 0
		for { // in pieces
			n, err := db.PruneEvents(ctx, time.Hour, 0, 3)
			if err != nil {
				t.Fatal(err)
			}
			if pruned += n; n < 3 {
				break
			}
		}
		if pruned != 12 { // all but the one that has the workspace which is there
			t.Errorf("%d were pruned", pruned)
		}
		if _, err := db.Events(ctx, "", end-1, 10); !errors.Is(err, workspace.ErrPruned) {
			t.Errorf("got %v behind what is gone", err)
		}
		if events, err := db.Events(ctx, "", end, 10); err != nil || len(events) > 0 {
			t.Errorf("got %v, %v at the end", events, err)
		}
		if now, err := db.LogEnd(ctx); err != nil || now != end {
			t.Errorf("the log ends at %d, and did at %d, %v", now, end, err)
		}
		claim(t, db, 1)
		events, err := db.Events(ctx, "ann", end, 10)
		if err != nil || len(events) != 1 || events[0].Type != workspace.EventTaskChanged || events[0].Workspace == nil || events[0].Workspace.ID != stays {
			t.Errorf("after it: %+v, %v", events, err)
		}
		if mine, err := db.WorkspaceEvents(ctx, stays, 0, 10); err != nil || len(mine) != 1 {
			t.Errorf("of the workspace: %+v, %v", mine, err)
		}
		// By age: none is older than a second ago before the clock goes on.
		if n, err := db.PruneEvents(ctx, time.Hour, 1000, 100); err != nil || n != 0 {
			t.Errorf("pruned %d, %v", n, err)
		}
		db.UseClock(func() time.Time { return time.Now().Add(2 * time.Hour) })
		if n, err := db.PruneEvents(ctx, time.Hour, 1000, 100); err != nil || n != 1 {
			t.Errorf("pruned %d of what is old, %v", n, err)
		}
	})
}

// TestAnOlderDatabaseGetsItsWorkspacesIntoTheLog has the log taken away, as in a database from before there was one.
func TestAnOlderDatabaseGetsItsWorkspacesIntoTheLog(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		id := add(t, db, "ann", "one").Workspace.ID
		if err := db.Exec(ctx, "DELETE FROM events"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := db.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if events, err := db.Events(ctx, "", 0, 10); err != nil || len(events) > 0 {
			t.Errorf("that is no event: %+v, %v", events, err)
		}
		claim(t, db, 1)
		if events, err := db.Events(ctx, "", 0, 10); err != nil || len(events) != 1 || events[0].Workspace == nil || events[0].Workspace.ID != id {
			t.Errorf("got %+v, %v", events, err)
		}
	})
}

// TestASnapshotAndTheEventsAfterItAreAll reads snapshots while others write.
func TestASnapshotAndTheEventsAfterItAreAll(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		var writing sync.WaitGroup
		for i := range 4 {
			writing.Go(func() {
				for n := range 20 {
					ch, err := create(t.Context(), db, "ann", strings.Repeat("x", i+1)+fmt.Sprint(n), pool)
					if err == nil && n%2 == 0 {
						_, err = db.Update(t.Context(), ch.Workspace.ID, func(d *workspace.Draft) error { d.Removed = true; return nil })
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		type snapshot struct {
			list []workspace.Workspace
			end  int64
		}
		var taken []snapshot
		for range 30 {
			list, end, err := db.Snapshot(t.Context(), workspace.Query{OwnerID: "ann"})
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, snapshot{list, end})
		}
		writing.Wait()
		want, _, err := db.Snapshot(t.Context(), workspace.Query{OwnerID: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range taken {
			r := storetest.NewReplay()
			r.Seq = s.end
			for _, w := range s.list {
				r.Workspaces[w.ID] = w
			}
			if err := r.Read(t.Context(), db); err != nil {
				t.Fatalf("from %d workspaces at %d: %v", len(s.list), s.end, err)
			}
			if len(r.Workspaces) != len(want) {
				t.Errorf("from %d workspaces at %d it comes to %d, want %d", len(s.list), s.end, len(r.Workspaces), len(want))
			}
		}
	})
}
