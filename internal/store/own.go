package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Own takes a SQLite file for this process alone, among those that ask: servers would hear of each other's changes late. The lock is on a file beside
// it, and the kernel's: it goes with the process, however that ends. PostgreSQL is shared.
func (db *DB) Own() error {
	if db.dialect != SQLite {
		return nil
	}
	file, err := os.OpenFile(filepath.Clean(db.file+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the database: %w", err)
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock)
	if err == nil {
		db.owned = file
		return nil
	}
	defer func() { _ = file.Close() }() // nothing was written to it
	if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("lock the database: %w", err)
	}
	who := "Another process"
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err == nil && lock.Type != syscall.F_UNLCK && lock.Pid > 0 {
		who = fmt.Sprintf("Process %d", lock.Pid)
	}
	return fmt.Errorf("%s has the database in %s. Stop it first; several servers can share a PostgreSQL only", who, filepath.Dir(db.file))
}
