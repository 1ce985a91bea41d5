package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/store"
)

// bare is a database without the server's code: one connection, one table, and transactions that wait for the disk as the server's do. What it takes is what
// the database and the machine take, by which our own time is measured.
type bare struct {
	db      *sql.DB
	dialect store.Dialect
	next    int
}

// rowsAtOnce is how many rows one statement inserts, as many as the server's.
const rowsAtOnce = 500

func openBare(ctx context.Context, made database) (*bare, error) {
	driver, dsn := "pgx", made.dsn
	if made.dialect == store.SQLite {
		driver, dsn = "sqlite", "file:"+made.dsn+".bare?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("open a bare database: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "CREATE TABLE bare (id TEXT PRIMARY KEY, of TEXT NOT NULL, position INTEGER NOT NULL, status TEXT NOT NULL)"); err != nil {
		return nil, errors.Join(fmt.Errorf("make a bare table: %w", err), db.Close())
	}
	return &bare{db: db, dialect: made.dialect}, nil
}

// commit inserts n rows in one transaction, and says how long that took.
func (b *bare) commit(ctx context.Context, n int) (time.Duration, error) {
	began := time.Now()
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	for left := n; left > 0; left -= rowsAtOnce {
		if err := b.insert(ctx, tx, min(left, rowsAtOnce)); err != nil {
			return 0, errors.Join(err, tx.Rollback())
		}
	}
	err = tx.Commit()
	return time.Since(began), err
}

func (b *bare) insert(ctx context.Context, tx *sql.Tx, n int) error {
	values, args := make([]string, n), make([]any, 0, 4*n)
	for i := range values {
		values[i] = "(?, ?, ?, ?)"
		if at := len(args); b.dialect == store.Postgres {
			values[i] = fmt.Sprintf("($%d, $%d, $%d, $%d)", at+1, at+2, at+3, at+4)
		}
		b.next++
		args = append(args, fmt.Sprintf("ws_%026d", b.next), "batch_00000000000000000000000000", i, "QUEUED")
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO bare (id, of, position, status) VALUES "+strings.Join(values, ", "), args...) //nolint:gosec // placeholders alone
	return err
}
