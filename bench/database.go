package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers by which databases are made, copied and filled
	_ "modernc.org/sqlite"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/workspace"
)

// databases makes databases of both dialects and removes them all in the end: those of PostgreSQL in the cluster at server, those
// of SQLite in a directory.
type databases struct {
	server *url.URL
	admin  *sql.DB // of the cluster
	dir    string
	made   []database // on PostgreSQL
}

// database is one database, open or not.
type database struct {
	dialect store.Dialect
	dsn     string
	name    string // on PostgreSQL
}

func newDatabases(server, dir string) (*databases, error) {
	at, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("read the address of the PostgreSQL cluster: %w", err)
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL cluster: %w", err)
	}
	return &databases{server: at, admin: admin, dir: dir}, nil
}

// close drops what was made on PostgreSQL, also after ctx has ended. The files of SQLite go with their directory.
func (d *databases) close(ctx context.Context) error {
	var errs []error
	for _, made := range d.made {
		_, err := d.admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE IF EXISTS "+made.name+" WITH (FORCE)")
		errs = append(errs, err)
	}
	return errors.Join(append(errs, d.admin.Close())...)
}

// create makes an empty database without tables.
func (d *databases) create(ctx context.Context, dialect store.Dialect) (database, error) {
	name := workspace.NewID("bench_")
	if dialect == store.SQLite {
		return database{dialect: dialect, dsn: filepath.Join(d.dir, name+".db")}, nil
	}
	return d.createPostgres(ctx, name, "CREATE DATABASE "+name)
}

// copy makes a database like one that nobody has open.
func (d *databases) copy(ctx context.Context, of database) (database, error) {
	name := workspace.NewID("bench_")
	if of.dialect == store.Postgres {
		return d.createPostgres(ctx, name, "CREATE DATABASE "+name+" TEMPLATE "+of.name)
	}
	made := database{dialect: of.dialect, dsn: filepath.Join(d.dir, name+".db")}
	err := of.exec(ctx, "VACUUM INTO '"+made.dsn+"'")
	if err == nil {
		err = made.exec(ctx, "PRAGMA journal_mode = WAL")
	}
	return made, err
}

func (d *databases) createPostgres(ctx context.Context, name, statement string) (database, error) {
	if _, err := d.admin.ExecContext(ctx, statement); err != nil {
		return database{}, fmt.Errorf("make a PostgreSQL database: %w", err)
	}
	at := *d.server
	at.Path = "/" + name
	made := database{dialect: store.Postgres, dsn: at.String(), name: name}
	d.made = append(d.made, made)
	return made, nil
}

// open opens a database as the server does, with its tables up to date.
func (d database) open(ctx context.Context) (*store.DB, error) {
	db, err := store.Open(d.dialect, d.dsn)
	if err != nil {
		return nil, err
	}
	if _, err := db.Migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// exec runs statements that the project has no code for, one after another.
func (d database) exec(ctx context.Context, statements ...string) error {
	driver := "pgx"
	if d.dialect == store.SQLite {
		driver = "sqlite"
	}
	db, err := sql.Open(driver, d.dsn)
	if err != nil {
		return fmt.Errorf("open a database of the benchmark: %w", err)
	}
	for _, s := range statements {
		if _, err = db.ExecContext(ctx, s); err != nil {
			err = fmt.Errorf("%s: %w", s, err)
			break
		}
	}
	return errors.Join(err, db.Close())
}

// settle lets PostgreSQL do now what it would begin by itself while something is measured: clear up, and learn how its tables look.
// SQLite does neither by itself, and the server does not ask for it.
func (d database) settle(ctx context.Context) error {
	if d.dialect == store.SQLite {
		return nil
	}
	return d.exec(ctx, "VACUUM (ANALYZE)")
}
