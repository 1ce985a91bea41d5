package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotOurs says how PostgreSQL is backed up.
var ErrNotOurs = errors.New("PostgreSQL is backed up by its own means: pg_dump --format=custom --file=FILE, with the address of AICLI_DATABASE_URL. SQLite alone is backed up by this command")

// Backup writes a copy of a SQLite database as it is at one moment, also while a server uses it. The file must not exist. Like the database, it
// holds secrets and is its owner's alone.
func (db *DB) Backup(ctx context.Context, to string) (err error) {
	if db.dialect != SQLite {
		return ErrNotOurs
	}
	file, err := os.OpenFile(filepath.Clean(to), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	defer func() {
		if err != nil { // half a backup is none
			err = errors.Join(err, os.Remove(to))
		}
	}()
	if err := file.Close(); err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	return wrap("make the backup", db.write.WithContext(ctx).Exec("VACUUM INTO ?", to).Error)
}
