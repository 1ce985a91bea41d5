package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

func TestServersOnOneDatabaseAgree(t *testing.T) {
	first, dsn := storetest.Open(t, store.Postgres)
	open := func() *store.DB {
		t.Helper()
		db, err := store.Open(store.Postgres, dsn)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	same := []store.Setting{{Name: "AICLI_PROJECTS_ROOT", Value: "/a"}, {Name: "AICLI_NETWORK_POOL", Value: "10.0.0.0/16"}}
	other := []store.Setting{same[0], {Name: "AICLI_NETWORK_POOL", Value: "10.1.0.0/16"}}
	joins := func(settings []store.Setting, refused string) {
		t.Helper()
		db := open()
		err := db.Join(t.Context(), settings)
		if (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%v: %v", settings, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := first.Join(t.Context(), same); err != nil {
		t.Fatal(err)
	}
	joins(same, "")
	joins(other, "another AICLI_NETWORK_POOL")
	joins([]store.Setting{{Name: "AICLI_PROJECTS_ROOT", Value: "/b"}, other[1]}, "another AICLI_PROJECTS_ROOT")

	// Whoever listens holds it, also on a connection that was made again.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ready := make(chan struct{}, 2)
	listen := func() { ended <- first.Listen(ctx, func() { ready <- struct{}{} }, func() {}) }
	go listen()
	<-ready
	joins(other, "another AICLI_NETWORK_POOL")
	if err := first.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("it was cut, and says nothing")
	}
	go listen()
	<-ready
	joins(other, "another AICLI_NETWORK_POOL")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// Once it has gone others may go by what they like. The database may take a moment to see that.
	late, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for {
		db := open()
		err := db.Join(late, other)
		if closeErr := db.Close(); closeErr != nil {
			t.Error(closeErr)
		}
		if err == nil {
			return
		}
		if late.Err() != nil {
			t.Fatal(err)
		}
	}
}
