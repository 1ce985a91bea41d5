package store_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// TestServersOfOneDatabaseHaveOneClock has a server whose own clock is years behind: in a bubble it is the year 2000.
func TestServersOfOneDatabaseHaveOneClock(t *testing.T) {
	year := time.Now().Year()
	synctest.Test(t, func(t *testing.T) {
		db, _ := storetest.Open(t, store.Postgres)
		made := add(t, db, "ann", "w")
		now, err := db.Now(t.Context())
		if err != nil || now.Year() != year {
			t.Errorf("the time is %s, %v", now, err)
		}
		if at := made.Workspace.CreatedAt; at.After(now) || now.Sub(at) > time.Hour || made.Tasks[0].RunAt.After(now) {
			t.Errorf("created at %s, to run at %s, at %s", at, made.Tasks[0].RunAt, now)
		}
		if got := claim(t, db, 1); len(got) != 1 {
			t.Fatal("the task is not due")
		}
		changed, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
			d.Workspace.Name = "other"
			return nil
		})
		if err != nil || changed.Workspace.UpdatedAt.Before(made.Workspace.CreatedAt) {
			t.Errorf("changed at %s, %v", changed.Workspace.UpdatedAt, err)
		}
		if back := reclaim(t, db); len(back) > 0 {
			t.Errorf("a lease has ended that was just given: %+v", back)
		}
	})
}

// TestAWaitForAConnectionIsNoTime holds that a task which was queued while all connections were busy is due when the database says so.
func TestAWaitForAConnectionIsNoTime(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	free := db.Occupy(t)
	var made workspace.Change
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_, err := db.Reclaim(context.WithoutCancel(t.Context())) // which looks at the clock
		if err != nil {
			t.Error(err)
		}
	})
	waiting.Go(func() { made = add(t, db, "ann", "w") })
	db.AwaitWaiting(2)
	free()
	waiting.Wait()
	if now, err := db.Now(t.Context()); err != nil || made.Tasks[0].RunAt.After(now) || made.Tasks[0].CreatedAt.After(now) {
		t.Errorf("queued for %s at %s, %v", made.Tasks[0].RunAt, now, err)
	}
	if got := claim(t, db, 1); len(got) != 1 {
		t.Error("the task is not due")
	}
}

func TestAClockThatIsSetHoldsUpNothing(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		var by time.Duration
		db.UseClock(func() time.Time { return time.Now().Add(by) })
		add(t, db, "ann", "runs")
		add(t, db, "ann", "tried")
		got := claim(t, db, 2)
		finish(t, db, got[1], task.Outcome{Status: task.Retrying, After: time.Minute, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
		add(t, db, "ann", "waits")
		reclaim(t, db)
		kept := func(want bool) {
			t.Helper()
			if back := reclaim(t, db); (len(back) == 0) != want {
				t.Errorf("given back %+v", back)
			}
		}
		t.Run("ahead, leases outlast it, for who works to keep them", func(t *testing.T) {
			by = 3 * time.Hour
			kept(true)
			by += 5 * time.Second
			db.Pass(5 * time.Second)
			kept(true)
		})
		t.Run("back, what waits is due, and a lease that nobody keeps ends", func(t *testing.T) {
			by = -3 * time.Hour
			kept(true)
			if now := claim(t, db, 5); len(now) != 2 {
				t.Errorf("of the two that wait %d were claimed", len(now))
			}
			for _, after := range []time.Duration{50 * time.Second, 20 * time.Second} {
				by += after
				db.Pass(after)
				kept(after == 50*time.Second)
			}
		})
	})
}
