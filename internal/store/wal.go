package store

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// The write-ahead log of SQLite is copied into the database at each 4 MiB, and begun anew once nobody reads what was before. Then its file is cut to walKept.
// Where one reader begins before the last has ended, that moment never comes by itself: from walMost on a writer waits for it.
const (
	walKept = 4 << 20
	walMost = 16 << 20
	// walPatience is how long the readers of that moment are waited for, at each walMost more. A read by the server takes milliseconds, but a copy of the whole
	// database may take minutes, and nobody can write meanwhile.
	walPatience = time.Second
)

// wal bounds the write-ahead log. Its zero value is ready.
type wal struct {
	next atomic.Int64 // the size from which readers are waited for again: somebody reads for long
}

// bound is told of each commit, and cuts the log when it is too long. Nothing is lost where that fails: it is tried again when the log has grown by as much again.
func (l *wal) bound(ctx context.Context, file string, write *gorm.DB) {
	info, err := os.Stat(file + "-wal")
	if err != nil || info.Size() <= walMost {
		l.next.Store(0)
		return
	}
	if info.Size() < l.next.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sqliteBusy)
	defer cancel()
	var busy bool
	err = write.WithContext(ctx).Connection(func(conn *gorm.DB) error {
		if err := conn.Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", walPatience.Milliseconds())).Error; err != nil {
			return err
		}
		defer conn.WithContext(context.WithoutCancel(ctx)).Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", sqliteBusy.Milliseconds()))
		return conn.Raw("PRAGMA wal_checkpoint(TRUNCATE)").Row().Scan(&busy, new(int), new(int))
	})
	if err != nil || busy {
		l.next.Store(info.Size() + walMost)
	}
}
