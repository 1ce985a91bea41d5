package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"gorm.io/gorm"
)

// All servers on one database go by its clock, since leases end and tasks fall due by it. PostgreSQL reads its own in the very statements that need the
// time. Whoever shares SQLite's file shares its machine, and with it the clock.

// databaseNow is the time of PostgreSQL in microseconds: when it was given the statement. It is the same throughout a statement, so that it is compared
// with what stands in an index.
const databaseNow = "(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000)::BIGINT"

// clock is what a store knows of the time. What is not said otherwise is guarded by mu.
type clock struct {
	machine func() time.Time // nil: that of the database; not guarded, set before anything runs

	mu     sync.Mutex
	marked time.Time // what the clock said when it was last looked at
	passed time.Time // and when that was, by the machine's monotonic clock
}

// UseClock makes a clock of this process the only one, nil the machine's: for tests whose time is not the database's.
func (db *DB) UseClock(now func() time.Time) {
	if now == nil {
		now = time.Now
	}
	db.clock.machine = now
}

// now is the time after a while from now, as an argument of a statement.
func (db *DB) now(after time.Duration) any {
	if local, ok := db.localNow(); ok {
		return toMicros(local.Add(after))
	}
	return gorm.Expr("(" + databaseNow + " + " + strconv.FormatInt(after.Microseconds(), 10) + ")")
}

// nowIn is the time as a column of what a statement selects.
func (db *DB) nowIn() string {
	if local, ok := db.localNow(); ok {
		return strconv.FormatInt(int64(toMicros(local)), 10)
	}
	return databaseNow
}

// localNow is the time where that is this process's to tell.
func (db *DB) localNow() (time.Time, bool) {
	switch {
	case db.clock.machine != nil:
		return db.clock.machine(), true
	case db.dialect == SQLite:
		return time.Now(), true
	default:
		return time.Time{}, false
	}
}

// time asks what time it is, for what reads no row that it could come with.
func (db *DB) time(tx *gorm.DB) (time.Time, error) {
	var now micros
	if local, ok := db.localNow(); ok {
		return toMicros(local).time(), nil
	}
	if err := tx.Raw("SELECT " + databaseNow).Scan(&now).Error; err != nil {
		return time.Time{}, fmt.Errorf("ask the database for the time: %w", err)
	}
	return now.time(), nil
}

const (
	// leastJump is how much the clock and the time that passes may differ from one look to the next.
	leastJump = time.Second
	// afterJump is how long leases last at least once the clock has jumped: their holders keep them several times meanwhile.
	afterJump = 6 * time.Second
	// leaseMost is longer than any lease lasts, retryMost longer than any wait for a next try, but for those of recovery, which may take hours.
	leaseMost    = time.Minute
	retryMost    = 2 * time.Minute
	recoveryMost = 2 * time.Hour
)

// jumped says how far the clock has moved since the last mark beside the time that has passed; first, that there was none.
func (c *clock) jumped(now, passed time.Time) (by time.Duration, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.marked) - passed.Sub(c.passed), c.marked.IsZero()
}

func (c *clock) mark(now, passed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marked, c.passed = now, passed
}

// heedJump puts right what a clock that was set, or a machine that has slept, would do to the queue. Ahead, all leases would have ended at once,
// also of tasks that somebody works on; back, what waits would wait for that long, and the tasks of a server that was killed too. Where only the answer
// came late nothing is harmed: what is changed then is out of bounds by itself.
func (db *DB) heedJump(ctx context.Context) error {
	now, err := db.time(db.read.WithContext(ctx))
	if err != nil {
		return err
	}
	passed := time.Now()
	by, first := db.clock.jumped(now, passed)
	if first || by.Abs() >= leastJump {
		set := func(tx *gorm.DB, column string, to any, where string, args ...any) error {
			return tx.Exec("UPDATE tasks SET "+column+" = ? WHERE id IN (SELECT id FROM tasks WHERE "+where+" ORDER BY id"+db.skipLocked("tasks")+")",
				append([]any{to}, args...)...).Error
		}
		if err := db.transact(ctx, func(tx *gorm.DB) error {
			if err := set(tx, "lease_until", db.now(leaseMost), "status = 'RUNNING' AND lease_until > ?", db.now(leaseMost)); err != nil {
				return err
			}
			if !first && by > 0 { // a server that begins makes no lease longer
				if err := set(tx, "lease_until", db.now(afterJump), "status = 'RUNNING' AND lease_until < ?", db.now(afterJump)); err != nil {
					return err
				}
			}
			return set(tx, "run_at", db.now(0), waitingTasks+" AND (created_at > ? OR run_at > ? AND max_attempts > 1 OR run_at > ?)",
				db.now(leastJump), db.now(retryMost), db.now(recoveryMost))
		}); err != nil {
			return err
		}
	}
	db.clock.mark(now, passed)
	return nil
}
