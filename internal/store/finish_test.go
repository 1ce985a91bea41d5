package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
)

func TestOutcomesThatComeAtOnceEachHaveTheirOwnEnd(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		const many = 24
		for i := range many {
			add(t, db, fmt.Sprint("owner", i%3), fmt.Sprint("w", i))
		}
		claimed, err := db.Claim(t.Context(), "p", task.Slots{Free: many}, time.Minute)
		if err != nil || len(claimed) != many {
			t.Fatalf("got %d, %v", len(claimed), err)
		}
		outcomes := []task.Outcome{
			{Status: task.Succeeded},
			{Status: task.Failed, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}},
			{Status: task.Retrying, After: time.Hour, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}},
		}
		var at sync.WaitGroup
		for i, c := range claimed {
			for _, lease := range []task.Lease{c.Lease, {TaskID: c.ID, WorkspaceID: c.WorkspaceID, Holder: "p", Token: c.Lease.Token - 1}} {
				at.Go(func() {
					ch, err := db.Finish(t.Context(), lease, outcomes[i%len(outcomes)])
					switch {
					case lease != c.Lease && !errors.Is(err, task.ErrLeaseLost):
						t.Errorf("with a lease that was lost: %v", err)
					case lease == c.Lease && (err != nil || ch.Workspace.ID != c.WorkspaceID || len(ch.Tasks) != 1):
						t.Errorf("got %+v, %v", ch, err)
					}
				})
			}
		}
		at.Wait()
		for i, c := range claimed {
			found, err := db.Task(t.Context(), c.ID)
			if err != nil || found.Status != outcomes[i%len(outcomes)].Status {
				t.Errorf("got %+v, %v", found, err)
			}
			w, err := db.Workspace(t.Context(), c.WorkspaceID)
			if err != nil || (w.Failure != nil) != (found.Status == task.Failed) || w.Version != 2 {
				t.Errorf("got %+v, %v", w, err)
			}
		}
	})
}

func TestAnOutcomeThatCannotBeWrittenHoldsUpNoOther(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	for i := range 8 {
		add(t, db, "ann", fmt.Sprint("w", i))
	}
	claimed := claim(t, db, 8)
	var at sync.WaitGroup
	for i, c := range claimed {
		at.Go(func() {
			o := task.Outcome{Status: task.Succeeded}
			if i == 3 { // PostgreSQL takes no such text for the reason of the status
				o = task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "INTERNAL", Message: "a\x00b"}}
			}
			if _, err := db.Finish(t.Context(), c.Lease, o); (err != nil) != (i == 3) {
				t.Errorf("outcome %d: %v", i, err)
			}
		})
	}
	at.Wait()
	for i, c := range claimed {
		if found, err := db.Task(t.Context(), c.ID); err != nil || (found.Status == task.Running) != (i == 3) {
			t.Errorf("task %d: %+v, %v", i, found, err)
		}
	}
}
