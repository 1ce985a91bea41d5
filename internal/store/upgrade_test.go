package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// The steps from which on the tables of rowsOf are there, or are otherwise.
const (
	withKeys        = 4
	withBatches     = 5
	withPolicies    = 7
	withProjectKeys = 9
	withNameKeys    = 11
	withEnums       = 15 // values are those of the schema
)

// rowsOf are a row or two for every table of a database that was last used by a version of that step. What landed steps make never changes, so that this
// is what such a version has left.
func rowsOf(step int64) []string {
	folded, work := ", name_folded", ", 'work'"
	if step >= withNameKeys {
		folded = ", name_key"
	}
	if step >= withProjectKeys {
		folded, work = folded+", project_key", work+", 'ws_1'"
	}
	rows := []string{
		"INSERT INTO installation (id) VALUES ('inst_old')",
		`INSERT INTO workspaces (id, owner_id, name` + folded + `, project_path, image, command, environment, labels, cpus, memory_bytes, pids, desired_state, observed, status, status_since,
			active_task_count, created_at, updated_at, version)
			VALUES ('ws_1', 'ann', 'Work'` + work + `, 'ws_1', 'alpine', '["sleep","1"]', '[{"name":"A","value":"1","secret":true}]', '[{"key":"team","value":"red"}]', 0.5, 67108864, 64, 'RUNNING',
			'{"container":{"id":"c","name":"aicli-1","state":"EXITED","image":"alpine","exitCode":3,"enforced":{}}}', 'PENDING', 1, 1, 1, 2, 3)`,
		"INSERT INTO workspace_labels (workspace_id, key, value) VALUES ('ws_1', 'team', 'red')",
		"INSERT INTO subnets (slot, workspace_id) VALUES (11325440, 'ws_1')",
		"INSERT INTO subnets (slot, blocked_until) VALUES (11325441, 5)",
	}
	for id, status := range map[string]string{"task_00000000000000000000000001": "SUCCEEDED", "task_00000000000000000000000002": "QUEUED"} {
		finished := "NULL"
		if status == "SUCCEEDED" {
			finished = "4"
		}
		rows = append(rows, fmt.Sprintf(`INSERT INTO tasks (id, type, status, workspace_id, owner_id, requested_by, attempt, max_attempts, step, params, created_at, run_at, finished_at, revision,
			lease_holder, lease_token, lease_until) VALUES ('%s', 'START', '%s', 'ws_1', 'ann', 'ann', 0, 5, '', '{"grace":10000000000}', 1, 1, %s, 2, '', 0, 0)`, id, status, finished))
	}
	if step >= withKeys {
		rows = append(rows, fmt.Sprintf(`INSERT INTO idempotency_keys (caller, key, fingerprint, workspace_id, task_id, created_at) VALUES ('ann', 'k', 'f', 'ws_1', '', %d)`, time.Now().UnixMicro()))
	}
	if step >= withBatches {
		rows = append(rows, `INSERT INTO batches (id, owner_id, operation, status, dry_run, concurrency, stop_on_error, cancel, total, succeeded, failed, skipped, cancelled, created_at, finished_at, revision)
			VALUES ('batch_1', 'ann', 'START', 'SUCCEEDED', FALSE, 4, TRUE, FALSE, 1, 1, 0, 0, 0, 1, 2, 3)`,
			"INSERT INTO batch_items (batch_id, position, workspace_id, status, task_id, revision) VALUES ('batch_1', 0, 'ws_1', 'SUCCEEDED', 'task_00000000000000000000000001', 3)")
	}
	if step >= withPolicies && step < withEnums {
		rows = append(rows, `UPDATE workspaces SET policy = '{"maxRetries":5,"backoff":1000000000,"fallback":"stop"}'`, "UPDATE tasks SET type = 'start'", "UPDATE batches SET operation = 'Start'")
	}
	return rows
}

// TestOlderDatabasesAreUsed brings a database of each step up to date, and uses what was in it.
func TestOlderDatabasesAreUsed(t *testing.T) {
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		newest, _ := storetest.Open(t, dialect)
		_, known, err := newest.MigrationStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for step := int64(1); step <= known; step++ {
			t.Run(fmt.Sprint(dialect, " ", step), func(t *testing.T) {
				db, _ := storetest.OpenBare(t, dialect)
				if err := db.MigrateTo(t.Context(), step); err != nil {
					t.Fatal(err)
				}
				for _, statement := range rowsOf(step) {
					if err := db.Exec(t.Context(), statement); err != nil {
						t.Fatal(err)
					}
				}
				if steps, err := db.Migrate(t.Context()); err != nil || int64(steps) != known-step {
					t.Fatalf("%d steps, %v", steps, err)
				}
				useOld(t, db, step)
			})
		}
	}
}

func useOld(t *testing.T, db *store.DB, step int64) {
	t.Helper()
	check := func(what string, good bool, got any, err error) {
		t.Helper()
		if err != nil || !good {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	ctx := t.Context()
	id, err := db.Installation(ctx)
	check("installation", id == "inst_old", id, err)
	w, err := db.Workspace(ctx, "ws_1")
	check("workspace", w.Name == "Work" && w.Subnet == "10.205.0.0/28" && w.Environment[0].Secret && w.Observed.Container.ExitCode == 3 && w.Policy == workspace.DefaultRecovery && w.HealthCheck == nil && w.Version == 3, w, err)
	p, err := db.Workspaces(ctx, workspace.Query{NameContains: "WOR", Labels: []workspace.Label{{Key: "team", Value: "red"}}, Window: workspace.Window{First: 10}})
	check("workspaces", len(p.Items) == 1, p, err)
	if step >= withKeys {
		once, err := db.Once(ctx, "ann", "k")
		check("key", once.WorkspaceID == "ws_1", once, err)
	}
	if step >= withBatches {
		items, err := db.BatchItems(ctx, "batch_1", 3, workspace.Window{First: 10})
		b, batchErr := db.Batch(ctx, "batch_1")
		check("batch", b.Operation == task.Start, b, batchErr)
		check("items", len(items.Items) == 1 && items.Items[0].Status == workspace.ItemSucceeded, items, err)
	}
	if _, err := createAt(ctx, db, "ann", "ws_1/within"); workspace.CodeOf(err) != workspace.Conflict {
		t.Errorf("a project within an older one: %v", err)
	}
	claimed, err := db.Claim(ctx, "holder", task.Slots{Free: 4}, time.Minute)
	if err != nil || len(claimed) != 1 || claimed[0].ID != "task_00000000000000000000000002" || claimed[0].Type != task.Start {
		t.Fatalf("claimed %+v, %v", claimed, err)
	}
	ch, err := db.Finish(ctx, claimed[0].Lease, task.Outcome{Status: task.Succeeded})
	check("outcome", ch.Workspace.Version > w.Version, ch, err)
	ch, err = db.Update(ctx, "ws_1", func(d *workspace.Draft) error {
		d.Enqueue(task.Delete, "ann", task.Params{})
		d.Workspace.DesiredState = workspace.WantDeleted
		return nil
	})
	check("deletion", ch.Workspace.Status == workspace.Deleting, ch, err)
	all, err := db.Tasks(ctx, workspace.TaskQuery{WorkspaceID: "ws_1", Window: workspace.Window{First: 10}})
	check("tasks", len(all.Items) == 3 || len(all.Items) == 4, all.Items, err) // one may be recovery's
}
