// Package storetest gives tests a migrated database of their own, of both dialects.
package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver by which databases are made and dropped

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Alone is a database that listens to no other servers. In a bubble of synctest that would keep time from passing: it waits for the network.
type Alone struct{ *store.DB }

// Shared is part of workspace.Store.
func (Alone) Shared() bool { return false }

// EachDialect runs a test on a database of each dialect.
func EachDialect(t *testing.T, test func(t *testing.T, db *store.DB)) {
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			db, _ := Open(t, dialect)
			test(t, db)
		})
	}
}

// Open makes an empty, migrated database that goes away with the test, and says how to open it again.
func Open(t *testing.T, dialect store.Dialect) (db *store.DB, dsn string) {
	t.Helper()
	db, dsn = OpenBare(t, dialect)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, dsn
}

// OpenBare is Open without tables.
func OpenBare(t *testing.T, dialect store.Dialect) (db *store.DB, dsn string) {
	t.Helper()
	dsn = filepath.Join(t.TempDir(), "test.db")
	if dialect == store.Postgres {
		dsn = CreateDatabase(t)
	}
	return OpenAt(t, dialect, dsn), dsn
}

// OpenAt opens a database that is there, until the end of the test. SQLite does not wait for the disk in it.
func OpenAt(t *testing.T, dialect store.Dialect, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(dialect, dsn)
	if err == nil {
		err = db.Hurry(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// CreateDatabase makes an empty database, that goes away with the test, in the PostgreSQL cluster that AICLI_TEST_POSTGRES names. options are those
// of CREATE DATABASE.
func CreateDatabase(t *testing.T, options ...string) string {
	t.Helper()
	server := os.Getenv("AICLI_TEST_POSTGRES")
	if server == "" {
		t.Fatal("AICLI_TEST_POSTGRES is not set: run the tests by make test, or by scripts/with-postgres.sh go test ./...")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ToLower(workspace.NewID("t_"))
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name+" "+strings.Join(options, " ")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := admin.ExecContext(context.Background(), fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name))
		if err != nil {
			t.Error(err)
		}
		if err := admin.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
