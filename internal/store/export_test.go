package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/aicli/aicli-web/internal/task"
)

// SetMachineClock gives a server a clock of its own, and lets it read the database's.
func (db *DB) SetMachineClock(ctx context.Context, now func() time.Time) error {
	db.clock.machine = now
	return db.setClock(ctx, db.write)
}

// Pass has time pass since the clock was last marked.
func (db *DB) Pass(d time.Duration) {
	db.clock.mu.Lock()
	defer db.clock.mu.Unlock()
	db.clock.passed = db.clock.passed.Add(-d)
}

// Now is the time that db goes by.
func (db *DB) Now() time.Time { return db.now() }

// Exec runs one statement.
func (db *DB) Exec(ctx context.Context, statement string) error {
	return db.write.WithContext(ctx).Exec(statement).Error
}

// ExplainTurn runs the query for a new task's turn and says how, on PostgreSQL.
func (db *DB) ExplainTurn(ctx context.Context, lane task.Lane, owner string) (plan []string, err error) {
	err = db.write.WithContext(ctx).Raw("EXPLAIN ANALYZE "+newTurn, sql.Named("lane", lane), sql.Named("owner", owner), sql.Named("now", toMicros(db.now()))).
		Scan(&plan).Error
	return plan, err
}

// IdleInTransaction is how long PostgreSQL waits in the middle of a transaction.
func (db *DB) IdleInTransaction(ctx context.Context) (most string, err error) {
	err = db.write.WithContext(ctx).Raw("SHOW idle_in_transaction_session_timeout").Scan(&most).Error
	return most, err
}

// Synchronous is how much SQLite waits for the disk.
func (db *DB) Synchronous(ctx context.Context) (level int, err error) {
	err = db.write.WithContext(ctx).Raw("PRAGMA synchronous").Scan(&level).Error
	return level, err
}

// MigrateTo takes the steps up to a version.
func (db *DB) MigrateTo(ctx context.Context, version int64) error {
	return db.withMigrations(func(p *goose.Provider) error {
		_, err := p.UpTo(ctx, version)
		return err
	})
}
