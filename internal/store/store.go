// Package store keeps workspaces and tasks in PostgreSQL or SQLite. It is the only importer of GORM: its rows never leave it.
// Every change of a workspace goes through save, in one transaction with its tasks. It publishes nothing and decides nothing.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/libtnb/sqlite"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/aicli/aicli-web/internal/workspace"
)

// Dialect says which database it is.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
)

// DB is a store. SQLite has one connection that writes and some that read; for PostgreSQL both are one pool.
type DB struct {
	dialect Dialect
	server  *pgx.ConnConfig // of PostgreSQL, for every connection to it
	name    string          // of this server among those on the database
	write   *gorm.DB
	read    *gorm.DB
	clock   clock

	finishes *finishes
	outage   *outage

	settings []Setting                // that this server goes by
	joined   atomic.Pointer[pgx.Conn] // that says so, until Listen has it

	file  string   // of SQLite
	wal   wal      // beside it
	owned *os.File // the lock on it; nil: none was taken
}

var _ workspace.Store = (*DB)(nil)

const (
	// connections is the size of a pool of connections: a transaction is short, so a few serve many requests.
	connections = 16
	// sqliteBusy is how long a writer waits for another process.
	sqliteBusy = 5 * time.Second
)

// Open connects. It changes nothing but making SQLite's file; Migrate makes the tables.
func Open(dialect Dialect, dsn string) (*DB, error) {
	db := &DB{dialect: dialect, name: workspace.NewID("server_"), finishes: newFinishes(), outage: newOutage()}
	config := &gorm.Config{TranslateError: true, Logger: logger.Discard, SkipDefaultTransaction: true}
	var err error
	switch dialect {
	case Postgres:
		if db.server, err = bounded(dsn, db.outage); err != nil {
			return nil, err
		}
		conns := pool{openPostgres(*db.server, db.outage.reuse()...), db.outage}
		if db.write, err = open(postgres.New(postgres.Config{Conn: conns}), config, connections); err != nil {
			return nil, err
		}
		db.read, db.outage.sign = db.write, db.sign
	case SQLite:
		db.file = dsn
		if err := os.MkdirAll(filepath.Dir(dsn), 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of the database: %w", err)
		}
		// It holds secrets, so it is its owner's alone; what SQLite keeps beside it takes its mode from it.
		file, err := os.OpenFile(filepath.Clean(dsn), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("make the database's file: %w", err)
		}
		if db.write, err = open(sqlite.Open(sqliteDSN(dsn)+"&_txlock=immediate"), config, 1); err != nil {
			return nil, err
		}
		if db.read, err = open(sqlite.Open(sqliteDSN(dsn)+"&_pragma=query_only(1)"), config, connections); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	default:
		return nil, fmt.Errorf("no such database dialect: %s", dialect)
	}
	db.outage.write = db.tryWriting
	return db, nil
}

// sqliteDSN waits at each commit until it is on the disk: what was answered is there after a loss of power too.
func sqliteDSN(path string) string {
	return fmt.Sprintf("file:%s?_pragma=journal_mode(WAL)&_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(%d)",
		path, sqliteBusy.Milliseconds(), walKept)
}

// Hurry has SQLite not wait for the disk: for tests, whose database outlives no loss of power.
func (db *DB) Hurry(ctx context.Context) error {
	if db.dialect != SQLite {
		return nil
	}
	return wrap("set how much the disk is waited for", db.write.WithContext(ctx).Exec("PRAGMA synchronous = OFF").Error)
}

func open(dialector gorm.Dialector, config *gorm.Config, most int) (*gorm.DB, error) {
	g, err := gorm.Open(dialector, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	pool, err := g.DB()
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	pool.SetMaxOpenConns(most)
	pool.SetMaxIdleConns(most)
	return g, nil
}

// Close lets go of the connections.
func (db *DB) Close() error {
	db.outage.close()
	var errs []error
	for _, g := range []*gorm.DB{db.write, db.read} {
		if g == nil {
			continue
		}
		pool, err := g.DB()
		if err == nil {
			err = pool.Close()
		}
		errs = append(errs, err)
	}
	if conn := db.joined.Swap(nil); conn != nil {
		errs = append(errs, conn.Close(context.Background()))
	}
	if db.owned != nil {
		errs = append(errs, db.owned.Close())
	}
	return errors.Join(errs...)
}

// UseLog has it told there when the database is away, cannot be written, and is back.
func (db *DB) UseLog(log *slog.Logger) {
	db.outage.mu.Lock()
	defer db.outage.mu.Unlock()
	db.outage.log = log
}

var errNoAnswer = errors.New("the database does not answer")

// Ready says why the database cannot be used, in words that anybody may read; nil when it can.
func (db *DB) Ready(ctx context.Context) error {
	if why := db.outage.state(); why != nil {
		return why
	}
	pool, err := db.read.DB()
	if err == nil {
		err = pool.PingContext(ctx)
	}
	if err != nil {
		db.outage.doubt()
		return errNoAnswer
	}
	return nil
}

// sign asks PostgreSQL for a sign of life, on a connection of its own.
func (db *DB) sign(ctx context.Context) error {
	at := db.server.Copy()
	at.Tracer = nil
	conn, err := pgx.ConnectConfig(ctx, at)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1")
	return errors.Join(err, conn.Close(ctx))
}

// tryWriting writes what is there.
func (db *DB) tryWriting(ctx context.Context) error {
	return db.transact(ctx, func(tx *gorm.DB) error { return tx.Exec("UPDATE installation SET id = id").Error })
}

// Describe names the database and its version, for example "PostgreSQL 15.18".
func (db *DB) Describe(ctx context.Context) (string, error) {
	query, name := "SHOW server_version", "PostgreSQL"
	if db.dialect == SQLite {
		query, name = "SELECT sqlite_version()", "SQLite"
	}
	var version string
	if err := db.read.WithContext(ctx).Raw(query).Scan(&version).Error; err != nil {
		return "", wrap("ask for the database's version", err)
	}
	version, _, _ = strings.Cut(version, " ")
	return name + " " + version, nil
}

// Advisory locks of PostgreSQL, held to the end of a transaction. SQLite has one writer anyway.
const (
	lockInstallation = 0x61696331
	lockSubnets      = 0x61696332
)

func (db *DB) lock(tx *gorm.DB, key int64) error {
	if db.dialect != Postgres {
		return nil
	}
	return later(tx).Exec("SELECT pg_advisory_xact_lock(?)", key).Error
}

// lockOwners is the class of the advisory locks of owners, held while what an owner has is counted and more is added. It is taken after the rows that are
// locked by their ids.
const lockOwners = 0x6169

func (db *DB) lockOwner(tx *gorm.DB, owner string) error {
	if db.dialect != Postgres {
		return nil
	}
	return later(tx).Exec("SELECT pg_advisory_xact_lock(?, hashtext(?))", lockOwners, owner).Error
}

func (db *DB) transact(ctx context.Context, fn func(tx *gorm.DB) error) error {
	if err := db.outage.gate(); err != nil {
		return err
	}
	ctx, w := db.outage.waits(ctx, true)
	defer w.end()
	done := false
	err := db.write.WithContext(together(ctx)).Transaction(func(tx *gorm.DB) error {
		w.over()
		err := fn(tx)
		done = err == nil
		return err
	}, &sql.TxOptions{})
	uncertain := done && lossOf(err) != noLoss && !refused(err)
	if err = w.why(err); uncertain {
		err = fmt.Errorf("%w: %w", errUncommitted, err)
	}
	if db.dialect == SQLite { // PostgreSQL's driver has told
		db.outage.heed(err)
		if err == nil {
			db.wal.bound(ctx, db.file, db.write)
		}
	}
	return err
}

// forUpdate is what makes a SELECT lock its rows of a table.
func (db *DB) forUpdate(table string) string {
	if db.dialect == Postgres {
		return " FOR UPDATE OF " + table
	}
	return ""
}

// skipLocked is what makes a SELECT lock the rows of a table, but for those that somebody else has locked.
func (db *DB) skipLocked(table string) string {
	if db.dialect == Postgres {
		return db.forUpdate(table) + " SKIP LOCKED"
	}
	return ""
}

// byLive has SQLite find the live tasks of a workspace by their own index, which knows no others. Left to itself it looks through all
// tasks that the workspace ever had.
func (db *DB) byLive() string {
	if db.dialect == SQLite {
		return " INDEXED BY tasks_live"
	}
	return ""
}

// among is the part of a condition behind a column that has it be one of several values. PostgreSQL gets them as one argument: it knows a statement by its
// text, which must not depend on how many there are.
func among[S ~string](db *DB, values []S) clause.Expr {
	if db.dialect == SQLite {
		return gorm.Expr("IN ?", values)
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return gorm.Expr("= ANY(?)", array{texts})
}

// array is one argument, which a slice would not be.
type array struct{ pgtype.FlatArray[string] }

// columnOf is one too, of whatever a column takes.
type columnOf struct{ elements []any }

// Dimensions is part of pgtype.ArrayGetter.
func (c columnOf) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(c.elements)), LowerBound: 1}} //nolint:gosec // of one statement
}

// Index is part of pgtype.ArrayGetter.
func (c columnOf) Index(i int) any { return c.elements[i] }

// IndexType is part of pgtype.ArrayGetter.
func (c columnOf) IndexType() any { return nil }
