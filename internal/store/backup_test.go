package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestBackup(t *testing.T) {
	db, _ := storetest.Open(t, store.SQLite)
	id := add(t, db, "ann", "w").Workspace.ID
	dir := t.TempDir()
	var changing sync.WaitGroup
	stop := make(chan struct{})
	changing.Go(func() { // it is in use meanwhile
		for {
			select {
			case <-stop:
				return
			default:
				if err := ask(t.Context(), db, id, 1); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for n := range 5 {
		to := filepath.Join(dir, fmt.Sprint(n))
		if err := db.Backup(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		again := storetest.OpenAt(t, store.SQLite, to)
		if steps, err := again.Migrate(t.Context()); err != nil || steps != 0 {
			t.Errorf("it is not up to date: %d, %v", steps, err)
		}
		if err := ask(t.Context(), again, id, 1); err != nil {
			t.Errorf("it cannot be used: %v", err)
		}
	}
	close(stop)
	changing.Wait()
	if err := db.Backup(t.Context(), filepath.Join(dir, "0")); !errors.Is(err, os.ErrExist) {
		t.Errorf("over another file: %v", err)
	}
	to := filepath.Join(dir, "none", "file")
	if err := db.Backup(t.Context(), to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a directory that is not there: %v", err)
	}
	shared, _ := storetest.Open(t, store.Postgres)
	if err := shared.Backup(t.Context(), filepath.Join(dir, "pg")); !errors.Is(err, store.ErrNotOurs) || workspace.CodeOf(err) != workspace.Internal {
		t.Errorf("of PostgreSQL: %v", err)
	}
}
