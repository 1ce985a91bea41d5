package store_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/workspace"
	"github.com/aicli/aicli-web/migrations"
)

// TestKeysOfOlderRows has workspaces from before their keys were stored.
func TestKeysOfOlderRows(t *testing.T) {
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			db, _ := storetest.OpenBare(t, dialect)
			if err := db.MigrateTo(t.Context(), 8); err != nil {
				t.Fatal(err)
			}
			for id, path := range map[string]string{"ws_outer": "Team", "ws_inner": "team/sub", "ws_alone": "ws_alone"} {
				if err := db.Exec(t.Context(), strings.NewReplacer("ID", id, "PATH", path).Replace(`INSERT INTO workspaces (id, owner_id, name, name_folded, project_path, image, command,
					environment, labels, cpus, memory_bytes, pids, desired_state, observed, status, status_since, active_task_count, created_at, updated_at, version)
					VALUES ('ID', 'ann', 'Name of ID', 'name of ID', 'PATH', 'alpine', '[]', '[]', '[]', 1, 1, 1, 'STOPPED', '{}', 'INACTIVE', 1, 0, 1, 1, 1)`)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			for id, want := range map[string]string{"ws_outer": "", "ws_inner": "Name of ws_outer", "ws_alone": ""} {
				w, err := db.Workspace(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := db.Enclosing(t.Context(), w); err != nil || got != want {
					t.Errorf("around %s there is %q, %v, want %q", id, got, err, want)
				}
			}
			p, err := db.Workspaces(t.Context(), workspace.Query{NameContains: "OF WS_IN", Window: workspace.Window{First: 10}})
			if err != nil || len(p.Items) != 1 || p.Items[0].ID != "ws_inner" {
				t.Errorf("found %+v, %v", p.Items, err)
			}
			if _, err := createAt(t.Context(), db, "ann", "team/other"); workspace.CodeOf(err) != workspace.Conflict {
				t.Errorf("a project within an older one: %v", err)
			}
		})
	}
}

// TestLandedMigrationsDoNotChange: a database that has taken a step is not taken through it again. What is to be otherwise is a step of its own.
func TestLandedMigrationsDoNotChange(t *testing.T) {
	sums, err := os.ReadFile(filepath.Join("testdata", "migrations.sum"))
	if err != nil {
		t.Fatal(err)
	}
	landed := make(map[string]string)
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		landed[name] = sum
	}
	seen := 0
	if err := fs.WalkDir(migrations.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			return err
		}
		seen++
		switch sum := fmt.Sprintf("%x", sha256.Sum256(text)); landed[name] {
		case "":
			t.Errorf("%s is new: add the line\n%s  %s", name, sum, name)
		case sum:
		default:
			t.Errorf("%s has landed and has changed: put it back, and write another step", name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if seen != len(landed) {
		t.Errorf("%d of %d steps are there", seen, len(landed))
	}
}

func TestTheTablesAreAsTheyAreWrittenDown(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		have, err := db.Columns(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(have, "\n") + "\n"; got != migrations.Columns {
			t.Errorf("migrations/columns.txt has to be\n%s", got)
		}
	})
}

func TestADatabaseOfAnotherVersionIsRefused(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		at, known, err := db.MigrationStatus(t.Context())
		if err != nil || at != known || at == 0 {
			t.Errorf("at %d of %d, %v", at, known, err)
		}
		if err := db.Exec(t.Context(), fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, TRUE)", known+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at step %d and this version of the server knows %d", known+1, known)) {
			t.Errorf("a newer one: %v", err)
		}
		if at, _, err := db.MigrationStatus(t.Context()); err != nil || at != known+1 {
			t.Errorf("at %d, %v", at, err)
		}
		if err := db.Exec(t.Context(), fmt.Sprintf("DELETE FROM goose_db_version WHERE version_id = %d", known+1)); err != nil {
			t.Fatal(err)
		}
		if err := db.Exec(t.Context(), "ALTER TABLE workspaces RENAME COLUMN name_key TO name_lower"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "no column workspaces.name_key") {
			t.Errorf("one whose steps were others: %v", err)
		}
	})
}
