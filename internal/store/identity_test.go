package store_test

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/workspace"
)

// TestACopyOfADatabaseIsAnother: it has the installation's id and its home, which is the original, until somebody settles in the copy.
func TestACopyOfADatabaseIsAnother(t *testing.T) {
	copies := map[string]struct {
		dialect store.Dialect
		make    func(t *testing.T, dsn string) string
	}{
		"a backup of SQLite":           {store.SQLite, backUp},
		"a copy of SQLite's file":      {store.SQLite, copyFile},
		"a PostgreSQL made of another": {store.Postgres, copyDatabase},
	}
	for name, c := range copies {
		t.Run(name, func(t *testing.T) {
			first, dsn := storetest.OpenBare(t, c.dialect)
			if _, err := first.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			original := known(t, first)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			copied := storetest.OpenAt(t, c.dialect, c.make(t, dsn))
			got := known(t, copied)
			if got.installation != original.installation || got.identity == original.identity || got.home != original.identity || original.home != original.identity {
				t.Errorf("the copy is %+v, of %+v", got, original)
			}
			again := storetest.OpenAt(t, c.dialect, dsn)
			if got := known(t, again); got != original {
				t.Errorf("opened again it is %+v, was %+v", got, original)
			}
			if err := copied.Settle(t.Context(), got.identity); err != nil {
				t.Fatal(err)
			}
			if got := known(t, copied); got.home != got.identity {
				t.Error("the copy is not at home once it has settled")
			}
			if got := known(t, again); got != original {
				t.Errorf("the original is %+v after that, was %+v", got, original)
			}
		})
	}
}

// identity is what a database says of itself.
type identity struct {
	installation, identity, home string
}

func known(t *testing.T, db *store.DB) (i identity) {
	t.Helper()
	var err error
	if i.installation, err = db.Installation(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i.identity, err = db.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i.home, err = db.Home(t.Context()); err != nil {
		t.Fatal(err)
	}
	return i
}

func backUp(t *testing.T, dsn string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := storetest.OpenAt(t, store.SQLite, dsn).Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	return to
}

func copyFile(t *testing.T, dsn string) string {
	t.Helper()
	to := filepath.Join(filepath.Dir(dsn), "copy.db")
	text, err := os.ReadFile(dsn)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func copyDatabase(t *testing.T, dsn string) string {
	t.Helper()
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return storetest.CreateDatabase(t, "TEMPLATE", strings.TrimPrefix(at.Path, "/"))
}

// TestARenamedDatabaseIsTheSame: what moves its directory, or writes to it, does not make another one of it.
func TestARenamedDatabaseIsTheSame(t *testing.T) {
	db, dsn := storetest.OpenBare(t, store.SQLite)
	before, err := db.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "moved.db")
	if err := os.Rename(dsn, to); err != nil {
		t.Fatal(err)
	}
	if after, err := storetest.OpenAt(t, store.SQLite, to).Identity(t.Context()); err != nil || after != before {
		t.Errorf("it is %s, was %s: %v", after, before, err)
	}
}

// TestAPostgreSQLThatDoesNotTellItsCluster is told from a restored dump all the same, by an ordinary user.
func TestAPostgreSQLThatDoesNotTellItsCluster(t *testing.T) {
	migrated, dsn := storetest.Open(t, store.Postgres)
	open, err := migrated.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	role := strings.ToLower(workspace.NewID("r_"))
	exec := func(statement string) {
		t.Helper()
		if _, err := admin.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE ROLE " + role + " LOGIN")
	t.Cleanup(func() {
		exec("DROP OWNED BY " + role)
		exec("DROP ROLE " + role)
	})
	exec("GRANT SELECT ON installation TO " + role)
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	at.User = url.User(role)
	ordinary := storetest.OpenAt(t, store.Postgres, at.String())
	if got, err := ordinary.Identity(t.Context()); err != nil || got != open {
		t.Errorf("an ordinary user is told %q, want %q: %v", got, open, err)
	}
	exec("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
	hidden, err := ordinary.Identity(t.Context())
	if err != nil || hidden == "" || hidden == open {
		t.Errorf("without the right to ask it is told %q: %v", hidden, err)
	}
	if again, err := ordinary.Identity(t.Context()); err != nil || again != hidden {
		t.Errorf("asked again it is told %q, was %q: %v", again, hidden, err)
	}
}

// TestAnInstallationOfAnOlderVersionIsAtHome, where it is first asked for.
func TestAnInstallationOfAnOlderVersionIsAtHome(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		if err := db.Exec(t.Context(), "INSERT INTO installation (id) VALUES ('inst_old')"); err != nil {
			t.Fatal(err)
		}
		if home, err := db.Home(t.Context()); err != nil || home != "" {
			t.Errorf("before it is asked for: %q, %v", home, err)
		}
		if got := known(t, db); got.installation != "inst_old" || got.home != got.identity {
			t.Errorf("it is %+v", got)
		}
	})
}
