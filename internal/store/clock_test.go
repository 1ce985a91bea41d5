package store_test

import (
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

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
