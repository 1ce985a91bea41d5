package store_test

import (
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/workspace"
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
