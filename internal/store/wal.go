package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"time"

	"gorm.io/gorm"
)

// The write-ahead log of SQLite is copied into the database from 4 MiB on, and begun anew once nobody reads what was before. Then its file is cut to walKept.
// Where one reader begins before the last has ended, that moment never comes by itself: from walMost on a writer waits for it.
const (
	walKept = 4 << 20
	walMost = 16 << 20
	// walPatience is how long the readers of that moment are waited for, at each walMost more. A read by the server takes milliseconds, but a copy of the whole
	// database may take minutes, and nobody can write meanwhile.
	walPatience = time.Second
	// walTurn is how long the one who tries that waits for the connection that writes. Whoever has it tries after its own commit.
	walTurn = 100 * time.Millisecond
)

// wal bounds the write-ahead log. Its zero value is ready.
type wal struct {
	mu   sync.Mutex // is not waited for: one at a time is enough
	next int64      // the size from which readers are waited for again: somebody reads for long
}

// bound is told of each commit, and cuts the log when it is too long. Nothing is lost where that fails: it is tried again.
func (l *wal) bound(ctx context.Context, file string, write *gorm.DB) {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	info, err := os.Stat(file + "-wal")
	if err != nil || info.Size() <= walMost {
		l.next = 0
		return
	}
	if info.Size() < l.next {
		return
	}
	conn, err := turn(ctx, write)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if busy, err := checkpoint(context.WithoutCancel(ctx), conn); err != nil || busy {
		l.next = info.Size() + walMost
	}
}

func turn(ctx context.Context, write *gorm.DB) (*sql.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, walTurn)
	defer cancel()
	pool, err := write.DB()
	if err != nil {
		return nil, err
	}
	return pool.Conn(ctx)
}

// checkpoint copies the whole log and cuts it, unless somebody reads for longer than is waited for.
func checkpoint(ctx context.Context, conn *sql.Conn) (busy bool, err error) {
	wait := func(d time.Duration) error {
		_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", d.Milliseconds()))
		return err
	}
	if err := wait(walPatience); err != nil {
		return false, err
	}
	defer func() { _ = wait(sqliteBusy) }()
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, new(int), new(int))
	return busy, err
}
