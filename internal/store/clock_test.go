package store_test

import (
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

func TestAPoolThatIsWokenFindsTheTask(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "w")
		// Meanwhile the database's clock was read anew, and the server's goes back by what the last reading was wrong by.
		now := time.Now().Add(-10 * time.Millisecond)
		if err := db.SetMachineClock(t.Context(), func() time.Time { return now }); err != nil {
			t.Fatal(err)
		}
		db.UseMachineClock()
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
