package workspace_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestWhatHasEndedIsPruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := storetest.Open(t, store.SQLite)
		s := bare(t, db) // a month is too long for who reads the event log each ten seconds
		id := rows(t, db, "ann", 1)[0]
		used := 0
		leave := func(tasks, batches int) { // each batch with a key
			t.Helper()
			if _, err := db.Update(t.Context(), id, func(d *workspace.Draft) error {
				for range tasks {
					d.Finish(d.Enqueue(task.Sync, "", task.Params{}).ID, task.Outcome{Status: task.Succeeded})
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for range batches {
				used++
				in := workspace.BatchInput{Operation: task.Sync, IDs: []string{id}, DryRun: true, IdempotencyKey: new(fmt.Sprint(used))}
				if _, err := s.StartBatch(t.Context(), ann, in); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := func(wantTasks, wantBatches, wantKeys int) {
			t.Helper()
			synctest.Wait()
			tasks, err := db.Tasks(t.Context(), workspace.TaskQuery{Window: workspace.Window{First: 1}})
			batches, batchesErr := db.Batches(t.Context(), "", workspace.Window{First: 1})
			if err != nil || batchesErr != nil || tasks.Total != wantTasks || batches.Total != wantBatches {
				t.Errorf("left %d tasks, %v, and %d batches, %v, want %d and %d", tasks.Total, err, batches.Total, batchesErr, wantTasks, wantBatches)
			}
			keys := 0
			for i := range used {
				if _, err := db.Once(t.Context(), "ann", fmt.Sprint(i+1)); err == nil {
					keys++
				}
			}
			if keys != wantKeys {
				t.Errorf("left %d keys, want %d", keys, wantKeys)
			}
		}
		leave(3, 11) // batches that two pieces do not hold
		<-time.After(31 * 24 * time.Hour)
		leave(2, 3)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			if err := s.KeepTidy(ctx); err != nil {
				t.Error(err)
			}
		}()
		want(2, 3, 3)
		if n, err := db.PruneKeys(t.Context(), workspace.KeysFor, 100); n != 0 || err != nil {
			t.Errorf("%d keys were left that are too old, %v", n, err)
		}
		<-time.After(25 * time.Hour) // and it goes on
		if n, err := db.PruneKeys(t.Context(), workspace.KeysFor, 100); n != 0 || err != nil {
			t.Errorf("%d keys were left that have become too old, %v", n, err)
		}
		want(2, 3, 0)
	})
}
