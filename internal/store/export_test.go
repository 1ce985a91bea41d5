package store

import (
	"context"
	"database/sql"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
)

// Pass has time pass since the clock was last marked.
func (db *DB) Pass(d time.Duration) {
	db.clock.mu.Lock()
	defer db.clock.mu.Unlock()
	db.clock.passed = db.clock.passed.Add(-d)
}

// Now is the time that db goes by.
func (db *DB) Now(ctx context.Context) (time.Time, error) { return db.time(db.read.WithContext(ctx)) }

// Exec runs one statement.
func (db *DB) Exec(ctx context.Context, statement string) error {
	return db.write.WithContext(ctx).Exec(statement).Error
}

// ExplainTurn runs the query for a new task's turn and says how, on PostgreSQL.
func (db *DB) ExplainTurn(ctx context.Context, lane task.Lane, owner string) (plan []string, err error) {
	err = db.write.WithContext(ctx).Raw("EXPLAIN ANALYZE SELECT ?", db.nextTurn(lane, owner)).
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

// Occupy takes all connections, until the function that it gives is called.
func (db *DB) Occupy(t *testing.T) (free func()) {
	t.Helper()
	pool, err := db.write.DB()
	if err != nil {
		t.Fatal(err)
	}
	var taken []*sql.Conn
	for range connections {
		c, err := pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c)
	}
	return func() {
		for _, c := range taken {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// AwaitWaiting returns when n have had to wait for a connection.
func (db *DB) AwaitWaiting(n int64) {
	for pool, _ := db.write.DB(); pool.Stats().WaitCount < n; {
		runtime.Gosched()
	}
}

// Redirect has new connections go to another address, and wait there for a moment.
func (db *DB) Redirect(at *net.TCPAddr, most time.Duration) {
	db.server.Host, db.server.Port, db.server.ConnectTimeout = at.IP.String(), uint16(at.Port), most
	db.server.Fallbacks = nil
}

// ConnectMost is how long connecting may take.
func (db *DB) ConnectMost() time.Duration { return db.server.ConnectTimeout }

// Ping is how an idle connection is asked whether it lives.
var Ping = ping

// TrustNoIdle has every connection asked whether it lives before it is used again.
func (db *DB) TrustNoIdle() { db.outage.trusted = 0 }

// WaitForSigns has a sign of life take so long at most.
func (db *DB) WaitForSigns(most time.Duration) { db.outage.signMost = most }

// Columns are those of all tables, as table.column, sorted.
func (db *DB) Columns(ctx context.Context) ([]string, error) { return db.columns(ctx) }

// Tx is a transaction whose statements are sent together.
type Tx struct {
	db *DB
	tx *gorm.DB
}

// Transact runs a transaction.
func (db *DB) Transact(ctx context.Context, change func(tx Tx) error) error {
	return db.transact(ctx, func(tx *gorm.DB) error { return change(Tx{db, tx}) })
}

// Later has a statement sent with the next one.
func (t Tx) Later(statement string) error { return later(t.tx).Exec(statement).Error }

// Exactly is Later for one that must change n rows.
func (t Tx) Exactly(n int, otherwise error, statement string) error {
	return t.db.exactly(t.tx, n, otherwise, statement)
}

// Numbers are the answers of queries that are asked together.
func (t Tx) Numbers(queries ...string) ([]int, error) {
	answers, questions := make([]int, len(queries)), make([]question, len(queries))
	for i, q := range queries {
		questions[i] = question{into: &answers[i], query: q}
	}
	return answers, t.db.readTogether(t.tx, questions...)
}

// Wrap says what was attempted.
var Wrap = wrap

// ErrUncommitted is joined to an error where it is not known whether a transaction was committed.
var ErrUncommitted = errUncommitted

// Write runs one statement as the store's own transactions run.
func (db *DB) Write(ctx context.Context, statement string) error {
	return db.transact(ctx, func(tx *gorm.DB) error { return tx.Exec(statement).Error })
}

// WALMost is how long the log of SQLite may become.
const WALMost = walMost

// ReadFor begins to read, and goes on until the returned function is called.
func (db *DB) ReadFor(ctx context.Context, t *testing.T) (end func()) {
	t.Helper()
	tx := db.read.WithContext(ctx).Begin()
	var n int
	if err := tx.Raw("SELECT COUNT(*) FROM installation").Scan(&n).Error; err != nil {
		t.Error(err)
	}
	return func() { tx.Rollback() }
}
