package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// batchOf makes a batch of syncs of n new workspaces of ann's, which wait to be created.
func batchOf(t *testing.T, db *store.DB, n int, b workspace.Batch) (workspace.Batch, []workspace.BatchItem) {
	t.Helper()
	b.ID, b.OwnerID, b.Operation, b.Total = workspace.NewID(workspace.BatchPrefix), "ann", task.Sync, n
	var items []workspace.BatchItem
	for i := range n {
		made := add(t, db, "ann", fmt.Sprint(b.ID, i))
		items = append(items, workspace.BatchItem{BatchID: b.ID, Position: i, WorkspaceID: made.Workspace.ID, Status: workspace.ItemQueued})
	}
	b, err := db.CreateBatch(t.Context(), b, items, workspace.BatchBounds{Running: 10, Daily: 10}, workspace.Once{})
	if err != nil {
		t.Fatal(err)
	}
	return b, items
}

func begin(t *testing.T, db *store.DB, b workspace.Batch, item workspace.BatchItem) error {
	t.Helper()
	_, err := db.Update(t.Context(), item.WorkspaceID, func(d *workspace.Draft) error {
		d.BeginItem(b, item)
		return nil
	})
	return err
}

func TestItemsOfABatchBegin(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		t.Run("by many at once, each once, and no more than may be under way", func(t *testing.T) {
			b, items := batchOf(t, db, 12, workspace.Batch{Concurrency: 5})
			var askers sync.WaitGroup
			var mu sync.Mutex
			began := 0
			for range 3 {
				askers.Go(func() {
					for _, item := range items {
						switch err := begin(t, db, b, item); {
						case err == nil:
							mu.Lock()
							began++
							mu.Unlock()
						case !errors.Is(err, workspace.ErrNotNow):
							t.Error(err)
						}
					}
				})
			}
			askers.Wait()
			p, err := db.Tasks(t.Context(), workspace.TaskQuery{BatchID: b.ID, Window: workspace.Window{First: 20}})
			if err != nil || began != 5 || p.Total != 5 {
				t.Errorf("%d have begun with %d tasks, %v", began, p.Total, err)
			}
			if next, err := db.NextItems(t.Context(), b, -1, 10, nil); err != nil || len(next) != 0 {
				t.Errorf("there is room for %d, %v", len(next), err)
			}
		})
		t.Run("or end without a task, once", func(t *testing.T) {
			b, items := batchOf(t, db, 2, workspace.Batch{Concurrency: 5})
			items[0].Status, items[0].Failure = workspace.ItemSkipped, &task.Failure{Code: "NOT_FOUND", Message: "gone"}
			now, err := db.EndItem(t.Context(), items[0])
			if err != nil || now.Skipped != 1 || now.Status != workspace.BatchRunning || now.Revision <= b.Revision {
				t.Errorf("got %+v, %v", now, err)
			}
			if _, err := db.EndItem(t.Context(), items[0]); !errors.Is(err, workspace.ErrNotNow) {
				t.Errorf("got %v", err)
			}
			next, err := db.NextItems(t.Context(), b, -1, 10, nil)
			if err != nil || len(next) != 1 || next[0] != items[1] {
				t.Errorf("got %+v, %v", next, err)
			}
			p, err := db.BatchItems(t.Context(), b.ID, now.Revision, workspace.Window{First: 1})
			if err != nil || p.Total != 2 || !p.HasNext || p.Items[0].Failure == nil || p.Items[0].Failure.Message != "gone" {
				t.Errorf("got %+v, %v", p, err)
			}
			if then, err := db.BatchItems(t.Context(), b.ID, b.Revision, workspace.Window{First: 1}); err != nil || then.Items[0].Status != workspace.ItemQueued || then.Items[0].Failure != nil {
				t.Errorf("got %+v, %v: when the batch was as it was then, the item lived", then, err)
			}
			if behind, err := db.NextItems(t.Context(), b, 1, 10, nil); err != nil || len(behind) != 0 {
				t.Errorf("got %+v, %v", behind, err)
			}
			if p, err = db.BatchItems(t.Context(), b.ID, now.Revision, workspace.Window{First: 5, After: p.Cursors[0]}); err != nil || len(p.Items) != 1 || p.Items[0] != items[1] {
				t.Errorf("got %+v, %v", p, err)
			}
		})
		t.Run("not once it is halted, and what waits is not claimed", func(t *testing.T) {
			b, items := batchOf(t, db, 3, workspace.Batch{Concurrency: 5, StopOnError: true})
			if err := begin(t, db, b, items[0]); err != nil {
				t.Fatal(err)
			}
			served(t, db, 30) // until what is left is nothing that may be claimed: the syncs of before, and this one
			if err := begin(t, db, b, items[1]); err != nil {
				t.Fatal(err)
			}
			items[2].Status = workspace.ItemFailed
			now, err := db.EndItem(t.Context(), items[2])
			if err != nil || now.Failed != 1 || !now.Halted() {
				t.Errorf("got %+v, %v", now, err)
			}
			if got := claim(t, db, 5); len(got) != 0 {
				t.Errorf("got %+v", got)
			}
		})
	})
}

func TestBatchesArePruned(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		var ids []string
		for range 3 {
			b, items := batchOf(t, db, 1, workspace.Batch{Concurrency: 1})
			items[0].Status = workspace.ItemSkipped
			if _, err := db.EndItem(t.Context(), items[0]); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, b.ID)
		}
		running, _ := batchOf(t, db, 1, workspace.Batch{Concurrency: 1})
		left := func() (left []string) {
			t.Helper()
			p, err := db.Batches(t.Context(), "ann", workspace.Window{First: 10})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range p.Items {
				left = append(left, b.ID)
			}
			return left
		}
		if n, err := db.PruneBatches(t.Context(), time.Hour, 10); n != 0 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if n, err := db.PruneBatches(t.Context(), -time.Hour, 1); n != 1 || err != nil || !slices.Equal(left(), []string{running.ID, ids[2], ids[1]}) {
			t.Errorf("pruned %d, %v, left %v", n, err, left())
		}
		if n, err := db.PruneBatches(t.Context(), -time.Hour, 10); n != 2 || err != nil || !slices.Equal(left(), []string{running.ID}) {
			t.Errorf("pruned %d, %v, left %v", n, err, left())
		}
		if p, err := db.BatchItems(t.Context(), ids[0], 9, workspace.Window{First: 1}); err != nil || p.Total != 0 {
			t.Errorf("its items stayed: %+v, %v", p, err)
		}
		if p, err := db.Batches(t.Context(), "bob", workspace.Window{First: 1}); err != nil || p.Total != 0 {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}
