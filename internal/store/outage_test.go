package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/workspace"
)

// answerWithin is how long a request may take whatever the database does.
const answerWithin = 10 * time.Second

// lines are what a store has told.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func through(t *testing.T) (*store.DB, *silencer, *lines) {
	t.Helper()
	at, err := url.Parse(storetest.CreateDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	s := silence(t, at.Host)
	at.Host = s.Addr().String()
	db := storetest.OpenAt(t, store.Postgres, at.String())
	told := &lines{}
	db.UseLog(slog.New(slog.NewTextHandler(told, nil)))
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, s, told
}

// ask reads, or changes, and gives what came of it.
func ask(ctx context.Context, db *store.DB, id string, n int) error {
	if n%2 == 0 {
		_, err := db.Workspace(ctx, id)
		return err
	}
	_, err := db.Update(ctx, id, func(d *workspace.Draft) error {
		d.Workspace.Recovery.Restarts++
		return nil
	})
	return err
}

// askMany asks many times at once, more than there are connections, and holds that each is answered in time with that code; empty: it succeeds.
func askMany(t *testing.T, db *store.DB, id string, want workspace.Code) {
	t.Helper()
	var asking sync.WaitGroup
	for n := range 60 {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
			defer cancel()
			switch err := ask(ctx, db, id, n); {
			case ctx.Err() != nil:
				t.Errorf("request %d has no answer within %s", n, answerWithin)
			case want == "" && err != nil, want != "" && workspace.CodeOf(err) != want:
				t.Errorf("request %d: %v", n, err)
			}
		})
	}
	asking.Wait()
}

// comesBack waits until a request succeeds.
func comesBack(t *testing.T, db *store.DB, id string) {
	t.Helper()
	late, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ask(late, db, id, 1) != nil {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late.Done():
			t.Fatal("it does not come back")
		}
	}
}

func TestTheLossOfTheDatabaseIsToldAndEnds(t *testing.T) {
	for name, lose := range map[string]func(*silencer, bool){
		"it is silent": func(s *silencer, lost bool) { s.silent.Store(lost) },
		"it is gone":   (*silencer).close,
		"it is silent, and connections were idle": func(s *silencer, lost bool) { s.silent.Store(lost) },
	} {
		t.Run(name, func(t *testing.T) {
			db, s, told := through(t)
			if strings.Contains(name, "idle") {
				db.TrustNoIdle()
			}
			id := add(t, db, "ann", "w").Workspace.ID
			askMany(t, db, id, "")
			for round := 1; round <= 2; round++ {
				lose(s, true)
				askMany(t, db, id, workspace.DatabaseLost)
				if err := db.Ready(t.Context()); err == nil {
					t.Error("it is said to be ready")
				}
				lose(s, false)
				comesBack(t, db, id)
				askMany(t, db, id, "")
				if err := db.Ready(t.Context()); err != nil {
					t.Error(err)
				}
				if away, back := told.count("the database is away"), told.count("the database is back"); away != round || back != round {
					t.Errorf("after round %d it was told as away %d times and as back %d times", round, away, back)
				}
			}
		})
	}
	t.Run("connections that are cut are no loss of it", func(t *testing.T) {
		db, s, told := through(t)
		db.WaitForSigns(time.Minute) // however busy this machine is
		id := add(t, db, "ann", "w").Workspace.ID
		askMany(t, db, id, "")
		s.cut()
		comesBack(t, db, id)
		if told.count("away") > 0 {
			t.Error("it was told as away")
		}
	})
}

func TestADatabaseThatCannotBeWrittenCanBeRead(t *testing.T) {
	fails := func(t *testing.T, db *store.DB, id string) {
		t.Helper()
		if err := ask(t.Context(), db, id, 1); workspace.CodeOf(err) != workspace.DatabaseLost {
			t.Errorf("a change: %v", err)
		}
		if err := ask(t.Context(), db, id, 0); err != nil {
			t.Errorf("a read: %v", err)
		}
		if err := db.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be written") {
			t.Errorf("ready: %v", err)
		}
	}
	mends := func(t *testing.T, db *store.DB, id string, told *lines) {
		t.Helper()
		comesBack(t, db, id)
		late := time.After(time.Minute)
		for db.Ready(t.Context()) != nil {
			select {
			case <-late:
				t.Fatal("it is not ready")
			case <-time.After(20 * time.Millisecond):
			}
		}
		if told.count("cannot be written") != 1 || told.count("can be written again") != 1 {
			t.Errorf("it told\n%s", told.text.String())
		}
	}
	t.Run("postgres is read only", func(t *testing.T) {
		db, dsn := storetest.Open(t, store.Postgres)
		told := &lines{}
		db.UseLog(slog.New(slog.NewTextHandler(told, nil)))
		id := add(t, db, "ann", "w").Workspace.ID
		admin, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
		const (
			turnOn  = "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END$$"
			turnOff = "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = off', current_database()); END$$"
		)
		for _, statement := range []string{turnOn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"} {
			if _, err := admin.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 { // those that were connected are found out one by one
			_ = ask(t.Context(), db, id, 0)
		}
		fails(t, db, id)
		if _, err := admin.Exec(t.Context(), turnOff); err != nil { // the connections that there are stay as they are
			t.Fatal(err)
		}
		mends(t, db, id, told)
	})
	t.Run("the disk of sqlite is full", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
			t.Fatalf("this test needs root, to have a small file system: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		db := storetest.OpenAt(t, store.SQLite, filepath.Join(dir, "test.db"))
		told := &lines{}
		db.UseLog(slog.New(slog.NewTextHandler(told, nil)))
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := add(t, db, "ann", "w").Workspace.ID
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err == nil {
			t.Fatal("it is not full")
		}
		for range 1000 { // there may be room left in what SQLite has
			if ask(t.Context(), db, id, 1) != nil {
				break
			}
		}
		fails(t, db, id)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		mends(t, db, id, told)
	})
}
