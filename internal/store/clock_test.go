package store_test

import (
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
)

func TestAPoolThatIsWokenFindsTheTask(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "w")
		// Meanwhile the database's clock was read anew, and the server's goes back by what the last reading was wrong by.
		now := time.Now().Add(-10 * time.Millisecond)
		db.UseClock(func() time.Time { return now })
		if got := claim(t, db, 1); len(got) != 1 {
			t.Error("it was not found")
		}
	})
}

func TestServersOfOneDatabaseHaveOneClock(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			db, _ := storetest.Open(t, store.Postgres)
			if err := db.SetMachineClock(t.Context(), func() time.Time { return time.Now().Add(skew) }); err != nil {
				t.Fatal(err)
			}
			if off := time.Since(db.Now()); off.Abs() > time.Minute { // the database is on this machine
				t.Errorf("a machine whose clock is wrong by %s tells the time with an error of %s", skew, off)
			}
		})
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
