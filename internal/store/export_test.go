package store

import (
	"context"
	"time"
)

// SetMachineClock gives a server a clock of its own, and lets it read the database's.
func (db *DB) SetMachineClock(ctx context.Context, now func() time.Time) error {
	db.clock.machine = now
	return db.setClock(ctx, db.write)
}

// Now is the time that db goes by.
func (db *DB) Now() time.Time { return db.now() }

// Exec runs one statement.
func (db *DB) Exec(ctx context.Context, statement string) error {
	return db.write.WithContext(ctx).Exec(statement).Error
}
