package store_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

func TestServersHearEachOther(t *testing.T) {
	one, dsn := storetest.Open(t, store.Postgres)
	other, err := store.Open(store.Postgres, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	heard := make(chan struct{}, 10)
	listen := func(ctx context.Context) (ended chan error) {
		ready := make(chan struct{})
		ended = make(chan error, 1)
		go func() {
			ended <- one.Listen(ctx, func() { close(ready) }, func() { heard <- struct{}{} })
		}()
		<-ready
		return ended
	}
	t.Run("each what the others say, and not itself", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := listen(ctx)
		for _, db := range []*store.DB{one, other} { // in this order: what it says itself would be heard first
			if err := db.Notify(ctx); err != nil {
				t.Fatal(err)
			}
		}
		<-heard
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("got %v: it was to end", err)
		}
		if len(heard) > 0 {
			t.Error("it heard itself")
		}
	})
	t.Run("until the connection is lost, which is told", func(t *testing.T) {
		ended := listen(t.Context())
		if err := other.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Error("the end of the connection was not told")
		}
	})
	t.Run("and a file is nobody else's", func(t *testing.T) {
		alone, _ := storetest.Open(t, store.SQLite)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := alone.Listen(ctx, nil, nil); err != nil || alone.Shared() || alone.Notify(t.Context()) != nil {
			t.Errorf("got %v", err)
		}
	})
}

// TestAPeerThatIsSilentIsNotListenedToForEver has what was a database take connections and say nothing.
func TestAPeerThatIsSilentIsNotListenedToForEver(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	if db.ConnectMost() <= 0 {
		t.Fatal("connecting has no bound")
	}
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	db.Redirect(silent.Addr().(*net.TCPAddr), 50*time.Millisecond)
	if err := db.Listen(t.Context(), func() { t.Error("it heard something") }, func() {}); err == nil {
		t.Error("no error")
	}
	if _, err := db.Migrate(t.Context()); err == nil {
		t.Error("migrated a database that says nothing")
	}
}
