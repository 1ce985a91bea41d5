package store

import (
	"context"
	"fmt"
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

// UseMachineClock makes the machine's clock the only one: for a simulation, whose time is not the database's.
func (db *DB) UseMachineClock() {
	db.clock.alone = true
	db.clock.ahead.Store(0)
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
