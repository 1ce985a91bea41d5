package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Servers that share a PostgreSQL must agree on some settings: what one makes, the others must find. Each holds an advisory lock for each of its settings,
// shared by those who have the same value, on the connection that it also hears notices on. The database lets go of them with the connection, however
// that ends.

// Setting is one that servers on a database must agree on.
type Setting struct {
	Name  string // for people
	Value string // never leaves this process: 32 bits of its hash do
}

// lockSettings is the class of the lock for the first setting; the others follow.
const lockSettings = 0x61696340

// key is what the lock of a value is known by.
func (s Setting) key() int32 {
	sum := sha256.Sum256([]byte(s.Name + "\x00" + s.Value))
	return int32(binary.BigEndian.Uint32(sum[:])) //nolint:gosec // all 32 bits, whatever they stand for
}

// Join says by which settings this server goes, and refuses where another one on the database goes by others. It is called before anything listens.
// A SQLite has one server.
func (db *DB) Join(ctx context.Context, settings []Setting) error {
	if !db.Shared() {
		return nil
	}
	db.settings = settings
	conn, err := db.connect(ctx)
	if err != nil {
		return wrap("join the other servers", err)
	}
	for i, s := range settings {
		var others bool
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid::BIGINT = $1 AND objid::BIGINT <> $2
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`, lockSettings+i, int64(uint32(s.key()))).Scan(&others); err != nil { //nolint:gosec // as the table has it
			return errors.Join(wrap("join the other servers", err), conn.Close(ctx))
		}
		if others {
			return errors.Join(fmt.Errorf("another server on this database has another %s. Servers that share a database must have the same: set it alike, or stop the others first", s.Name),
				conn.Close(ctx))
		}
	}
	db.joined.Store(conn)
	return nil
}

// connect makes the connection that stands for this server.
func (db *DB) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, db.server.Copy())
	if err != nil {
		return nil, err
	}
	for i, s := range db.settings {
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared($1, $2)", int32(lockSettings+i), s.key()); err != nil {
			return nil, errors.Join(err, conn.Close(ctx))
		}
	}
	return conn, nil
}
