package store_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

// TestTheLogOfSQLiteIsGivenBack has it grow under one that reads for long, and looks at it when that one has ended.
func TestTheLogOfSQLiteIsGivenBack(t *testing.T) {
	db, file := storetest.Open(t, store.SQLite)
	reader, err := store.Open(store.SQLite, file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	end := reader.ReadFor(t.Context(), t)
	grow(t, db, 100)
	if size := walSize(t, file); size <= store.WALMost {
		t.Errorf("under a reader it has %d KiB: the test shows nothing", size>>10)
	}
	end()
	grow(t, db, 50)
	if size := walSize(t, file); size > store.WALMost {
		t.Errorf("it has %d KiB when the reader has gone", size>>10)
	}
}

// TestTheLogOfSQLiteIsBounded has readers without a gap: each has begun before the one before it ends.
func TestTheLogOfSQLiteIsBounded(t *testing.T) {
	db, file := storetest.Open(t, store.SQLite)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	readers.Go(func() {
		for end := db.ReadFor(t.Context(), t); ; {
			next := db.ReadFor(t.Context(), t)
			end()
			if end = next; ctx.Err() != nil {
				end()
				return
			}
		}
	})
	defer func() { stop(); readers.Wait() }()
	grow(t, db, 200)
	if size := walSize(t, file); size > 2*store.WALMost+1<<20 { // where the readers of a moment took longer than they are waited for
		t.Errorf("it has %d KiB", size>>10)
	}
}

// grow commits changes of 400 kB each.
func grow(t *testing.T, db *store.DB, commits int) {
	t.Helper()
	if err := db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS scratch (n INTEGER, text BLOB)"); err != nil {
		t.Fatal(err)
	}
	for range commits {
		if err := db.Write(t.Context(), "INSERT INTO scratch VALUES (1, zeroblob(400000))"); err != nil {
			t.Fatal(err)
		}
	}
}

func walSize(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
