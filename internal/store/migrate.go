package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/aicli/aicli-web/internal/workspace"
	"github.com/aicli/aicli-web/migrations"
)

// Migrate brings the tables up to date and returns how many steps that took. On PostgreSQL servers that start together wait
// for each other; on SQLite the file's write lock makes them.
func (db *DB) Migrate(ctx context.Context) (steps int, err error) {
	err = db.withMigrations(func(p *goose.Provider) error {
		if err := refuseNewer(ctx, p); err != nil {
			return err
		}
		done, err := p.Up(ctx)
		if steps = len(done); err != nil {
			return err
		}
		return refuseNewer(ctx, p) // another server may have been faster
	})
	if err == nil {
		err = db.checkColumns(ctx)
	}
	if err == nil {
		err = db.fillLog(ctx)
	}
	if err != nil {
		return steps, fmt.Errorf("migrate the database: %w", err)
	}
	return steps, nil
}

func refuseNewer(ctx context.Context, p *goose.Provider) error {
	at, known, err := p.GetVersions(ctx)
	if err == nil && at > known {
		err = fmt.Errorf("it is at step %d and this version of the server knows %d: a newer version has used it. Start that one, or put a backup from before back", at, known)
	}
	return err
}

// MigrationStatus says which step the tables are at, 0 where there are none, and which one this version knows.
func (db *DB) MigrationStatus(ctx context.Context) (at, known int64, err error) {
	err = db.withMigrations(func(p *goose.Provider) error {
		at, known, err = p.GetVersions(ctx)
		return err
	})
	return at, known, wrap("look at the steps of the database", err)
}

// checkColumns holds the tables to what this version was written for. Steps that were taken in another form than they have now leave others.
func (db *DB) checkColumns(ctx context.Context) error {
	have, err := db.columns(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for column := range strings.FieldsSeq(migrations.Columns) {
		if !slices.Contains(have, column) {
			missing = append(missing, column)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it has no column %s, though it has taken all steps that this version knows: another version has taken them in another form. "+
			"Start that version, or put a backup back whose steps are these", strings.Join(missing, ", "))
	}
	return nil
}

// columns are those of all tables but the migrations' own, as table.column, sorted.
func (db *DB) columns(ctx context.Context) (names []string, err error) {
	query := "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'goose_db_version'"
	if db.dialect == SQLite {
		query = "SELECT m.name || '.' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'"
	}
	if err := db.read.WithContext(ctx).Raw(query).Scan(&names).Error; err != nil {
		return nil, wrap("look at the tables", err)
	}
	slices.Sort(names)
	return names, nil
}

// withMigrations gives the migrations to do. A step may take long, so it has connections of its own, whose statements have no deadline.
func (db *DB) withMigrations(do func(*goose.Provider) error) (err error) {
	pool, err := db.write.DB()
	if db.dialect == Postgres && err == nil {
		patient := db.server.Copy()
		patient.Tracer = nil
		pool = stdlib.OpenDB(*patient)
		defer func() { err = errors.Join(err, pool.Close()) }()
	}
	if err != nil {
		return err
	}
	folder, err := fs.Sub(migrations.FS, string(db.dialect))
	if err != nil {
		return err
	}
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption{goose.WithGoMigrations(db.goMigrations()...)}
	if db.dialect == Postgres {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		dialect, options = goose.DialectPostgres, append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, pool, folder, options...)
	if err != nil {
		return err
	}
	return do(provider)
}

// goMigrations are the steps that SQL cannot take alike on both dialects. Their numbers are among those of the files in migrations.
func (db *DB) goMigrations() []*goose.Migration {
	fill := func(version int64, read, write string) *goose.Migration {
		if db.dialect == Postgres {
			write = strings.NewReplacer(":key", "$1", ":id", "$2").Replace(write)
		} else {
			write = strings.NewReplacer(":key", "?1", ":id", "?2").Replace(write)
		}
		return goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			return fillKeys(ctx, tx, read, write)
		}}, nil)
	}
	return []*goose.Migration{
		fill(10, "SELECT id, project_path FROM workspaces", "UPDATE workspaces SET project_key = :key WHERE id = :id"),
		fill(12, "SELECT id, name FROM workspaces", "UPDATE workspaces SET name_key = :key WHERE id = :id"),
	}
}

// fillKeys computes the keys of a column, for all workspaces, and writes them.
func fillKeys(ctx context.Context, tx *sql.Tx, read, write string) error {
	keys, err := keysOf(ctx, tx, read)
	if err != nil {
		return err
	}
	for id, k := range keys {
		if _, err := tx.ExecContext(ctx, write, k, id); err != nil {
			return err
		}
	}
	return nil
}

// keysOf computes the keys of a column, by the ids of workspaces.
func keysOf(ctx context.Context, tx *sql.Tx, read string) (map[string]string, error) {
	rows, err := tx.QueryContext(ctx, read)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what is wrong with it is said by Err
	keys := make(map[string]string)
	for rows.Next() {
		var id, text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, err
		}
		keys[id] = workspace.Key(text)
	}
	return keys, rows.Err()
}
