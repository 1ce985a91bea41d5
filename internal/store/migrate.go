package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/aicli/aicli-web/migrations"
)

// Migrate brings the tables up to date and returns how many steps that took. On PostgreSQL servers that start together wait
// for each other; on SQLite the file's write lock makes them. A step may take long, so it has connections of its own, without deadlines.
func (db *DB) Migrate(ctx context.Context) (steps int, err error) {
	pool, err := db.write.DB()
	if db.dialect == Postgres && err == nil {
		if pool, err = sql.Open("pgx", db.dsn); err == nil {
			defer func() { err = errors.Join(err, pool.Close()) }()
		}
	}
	if err != nil {
		return 0, err
	}
	folder, err := fs.Sub(migrations.FS, string(db.dialect))
	if err != nil {
		return 0, err
	}
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption(nil)
	if db.dialect == Postgres {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return 0, err
		}
		dialect, options = goose.DialectPostgres, append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, pool, folder, options...)
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return len(done), fmt.Errorf("migrate the database: %w", err)
	}
	return len(done), nil
}
