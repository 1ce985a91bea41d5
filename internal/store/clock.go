package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// clock tells the time. Leases end by it and tasks fall due, so all servers on one database need the same: on PostgreSQL it is the
// database's, read now and then and carried on by the machine's.
type clock struct {
	machine func() time.Time // nil: time.Now
	alone   bool             // the machine's is all that counts
	ahead   atomic.Int64     // how far the database's clock is ahead of the machine's, in nanoseconds

	mu     sync.Mutex
	marked time.Time // what it said
	passed time.Time // and when, by the clock that only ever goes on
}

func (c *clock) read() time.Time {
	if c.machine != nil {
		return c.machine()
	}
	return time.Now()
}

// now is the time of all servers on this database.
func (db *DB) now() time.Time {
	return db.clock.read().Add(time.Duration(db.clock.ahead.Load())).UTC().Truncate(time.Microsecond)
}

// UseClock makes a clock the only one, nil the machine's: for a simulation, whose time is not the database's.
func (db *DB) UseClock(now func() time.Time) {
	db.clock.machine, db.clock.alone = now, true
	db.clock.ahead.Store(0)
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
// also of tasks that somebody works on; back, what waits would wait for that long, and the tasks of a server that was killed too.
func (db *DB) heedJump(ctx context.Context) error {
	now, passed := db.now(), time.Now()
	by, first := db.clock.jumped(now, passed)
	if first || by.Abs() >= leastJump {
		set := func(tx *gorm.DB, column string, to time.Time, where string, args ...any) error {
			return tx.Exec("UPDATE tasks SET "+column+" = ? WHERE id IN (SELECT id FROM tasks WHERE "+where+" ORDER BY id"+db.skipLocked("tasks")+")",
				append([]any{toMicros(to)}, args...)...).Error
		}
		if err := db.transact(ctx, func(tx *gorm.DB) error {
			last, least := now.Add(leaseMost), now.Add(afterJump)
			if err := set(tx, "lease_until", last, "status = 'RUNNING' AND lease_until > ?", toMicros(last)); err != nil {
				return err
			}
			if !first && by > 0 { // a server that begins makes no lease longer
				if err := set(tx, "lease_until", least, "status = 'RUNNING' AND lease_until < ?", toMicros(least)); err != nil {
					return err
				}
			}
			return set(tx, "run_at", now, waitingTasks+" AND (created_at > ? OR run_at > ? AND max_attempts > 1 OR run_at > ?)",
				toMicros(now.Add(leastJump)), toMicros(now.Add(retryMost)), toMicros(now.Add(recoveryMost)))
		}); err != nil {
			return err
		}
	}
	db.clock.mark(now, passed)
	return nil
}

// setClock reads the database's clock. It may be wrong by half of what the question takes.
func (db *DB) setClock(ctx context.Context, tx *gorm.DB) error {
	if db.dialect != Postgres || db.clock.alone {
		return nil // who shares a file shares a machine
	}
	var theirs micros
	asked := db.clock.read()
	if err := tx.WithContext(ctx).Raw("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT").Scan(&theirs).Error; err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	took := db.clock.read().Sub(asked)
	db.clock.ahead.Store(int64(theirs.time().Sub(asked.Add(took / 2))))
	return nil
}
