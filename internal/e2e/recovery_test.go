package e2e

import (
	"database/sql"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
)

// behind runs the Docker CLI, as somebody does who does not ask the server.
func (h *home) behind(args ...string) string {
	h.Helper()
	out, err := exec.CommandContext(h.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		h.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// health is what a workspace tells of its recovery.
type health struct {
	Status, StatusReason string
	RestartCount         int
	LastExit             *struct {
		Code      int
		OomKilled bool
		Signal    string
		LogTail   []string
	}
	Tasks struct {
		Nodes []struct{ Type, Status, RequestedBy string }
	}
}

func (c *client) health(id string) health {
	c.Helper()
	var data struct{ Workspace health }
	c.get(&data, `query($id: ID!) { workspace(id: $id) { status statusReason restartCount lastExit { code oomKilled signal logTail }
		tasks(first: 50) { nodes { type status requestedBy } } } }`, map[string]any{"id": id})
	return data.Workspace
}

func (h health) tasks() (types []string) {
	for _, t := range slices.Backward(h.Tasks.Nodes) {
		types = append(types, t.Type)
	}
	return types
}

// TestRecovery changes things behind the server's back, and waits for what it does about that.
func TestRecovery(t *testing.T) {
	h := newHome(t, "AICLI_RESYNC_INTERVAL=1s", "AICLI_ORPHAN_GRACE=1s")
	ann := h.start().as("ann")
	name := func(id string) string { return "aicli-" + strings.TrimPrefix(id, "ws_") }
	// What is done here goes on until it holds, and may cross a repair, which then fails. Nothing else makes a try fail.
	const crossing = "robbed of its network"
	for _, c := range []struct {
		what   string
		do     func(id string)
		reason string   // that is told meanwhile; empty: it is ACTIVE throughout
		tasks  []string // all that the workspace has had at the end
		exit   int      // how it has ended last; 0: it has not
	}{
		{"killed", func(id string) { h.behind("kill", name(id)) }, "exited with code 137", []string{"CREATE", "RESTART"}, 137},
		{"stopped", func(id string) { h.behind("stop", "-t", "5", name(id)) }, "exited with code 143", []string{"CREATE", "RESTART"}, 143},
		{"paused", func(id string) { h.behind("pause", name(id)) }, "paused outside", []string{"CREATE", "SYNC"}, 0},
		{"removed", func(id string) { h.behind("rm", "-f", name(id)) }, "is gone", []string{"CREATE", "RECREATE"}, 0},
		{"taken off its network", func(id string) { h.behind("network", "disconnect", "-f", name(id), name(id)) }, "", []string{"CREATE", "SYNC"}, 0},
		{crossing, func(id string) {
			waitUntil(t, func() bool { // it may be connected again in between
				_ = exec.CommandContext(t.Context(), "docker", "network", "disconnect", "-f", name(id), name(id)).Run()
				return exec.CommandContext(t.Context(), "docker", "network", "rm", name(id)).Run() == nil
			})
		}, "", []string{"CREATE", "SYNC"}, 0},
	} {
		t.Run("a container that is "+c.what+" comes back", func(t *testing.T) {
			id := ann.must("create", map[string]any{"name": c.what}).Workspace.ID
			status := ann.status(id)
			status.until("ACTIVE")
			c.do(id)
			if c.reason != "" {
				for why := ""; !strings.Contains(why, c.reason) || !strings.Contains(why, "Try 1 of 5"); { // a removal takes a while, and is told of before
					why = status.until("RECOVERING").StatusReason
				}
				status.until("ACTIVE")
			}
			waitUntil(t, func() bool {
				now := ann.health(id)
				containers, networks := h.left(id)
				failed := slices.ContainsFunc(now.Tasks.Nodes, func(t struct{ Type, Status, RequestedBy string }) bool { return t.Status != "SUCCEEDED" })
				return now.Status == "ACTIVE" && len(now.Tasks.Nodes) >= len(c.tasks) && now.Tasks.Nodes[0].Status == "SUCCEEDED" &&
					(!failed || c.what == crossing) && len(containers) == 1 && len(networks) == 1 && containers[0].On(networks[0])
			})
			now := ann.health(id)
			if !slices.Equal(slices.Compact(now.tasks()), c.tasks) || now.Tasks.Nodes[0].RequestedBy != "" || (now.LastExit != nil) != (c.exit != 0) || now.LastExit != nil && now.LastExit.Code != c.exit {
				t.Errorf("got %+v", now)
			}
			containers, networks := h.left(id)
			if len(containers) != 1 || containers[0].State != engine.Running || len(networks) != 1 || !containers[0].On(networks[0]) {
				t.Errorf("the engine has %+v on %+v", containers, networks)
			}
			ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
			h.nothingLeft(id)
		})
	}
	t.Run("a command that ends again and again is given up, with its last words, and removed if that is wanted", func(t *testing.T) {
		id := ann.must("create", map[string]any{
			"name": "loop", "command": []string{"sh", "-c", "echo one; echo two; exit 3"},
			"recoveryPolicy": map[string]any{"maxRetries": 2, "backoff": "PT0.1S", "fallback": "REMOVE"},
		}).Workspace.ID
		w := ann.status(id).until("FAILED")
		if !strings.Contains(w.StatusReason, "exited with code 3") || !strings.Contains(w.StatusReason, "gave up after 2 tries") {
			t.Errorf("it says %q", w.StatusReason)
		}
		waitUntil(t, func() bool {
			containers, networks := h.left(id)
			return len(containers)+len(networks) == 0
		})
		waitUntil(t, func() bool {
			return !slices.ContainsFunc(ann.health(id).Tasks.Nodes, func(t struct{ Type, Status, RequestedBy string }) bool { return t.Status != "SUCCEEDED" })
		})
		now := ann.health(id)
		if !slices.Equal(now.tasks(), []string{"CREATE", "RESTART", "RESTART", "SYNC"}) || now.Status != "FAILED" || now.RestartCount != 2 || now.LastExit == nil || now.LastExit.Code != 3 || len(now.LastExit.LogTail) < 2 {
			t.Errorf("got %+v", now)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		h.nothingLeft(id)
	})
	t.Run("a command that needs more memory than it may have is said to have run out of it", func(t *testing.T) {
		id := ann.must("create", map[string]any{
			"name": "greedy", "command": []string{"sh", "-c", "sleep 1; echo eating; tail /dev/zero"}, "resources": map[string]any{"memoryBytes": 16 << 20},
			"recoveryPolicy": map[string]any{"maxRetries": 1, "backoff": "PT0.1S", "fallback": "IGNORE"},
		}).Workspace.ID
		var now health
		waitUntil(t, func() bool { now = ann.health(id); return now.Status == "FAILED" })
		if e := now.LastExit; e == nil || !e.OomKilled || e.Code != 137 || !slices.ContainsFunc(e.LogTail, func(line string) bool { return strings.Contains(line, "eating") }) ||
			!strings.Contains(now.StatusReason, "out of memory") || now.RestartCount != 1 {
			t.Errorf("got %+v, and %+v", now, now.LastExit)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		h.nothingLeft(id)
	})
	t.Run("the engine's health is told", func(t *testing.T) {
		var data struct {
			EngineHealth struct{ Status, Name, LastError string }
		}
		if stream := ann.subscribe(`subscription { engineHealth { status name version since lastError } }`, nil); !stream.read(&data) || data.EngineHealth.Status != "HEALTHY" || data.EngineHealth.Name == "" {
			t.Errorf("got %+v", data)
		}
	})
	t.Run("a container that was renamed stays what it is, and is deleted", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "renamed"}).Workspace.ID
		ann.status(id).until("ACTIVE")
		h.behind("rename", name(id), name(id)+"-other")
		ann.must("sync", map[string]any{"id": id, "wait": "PT30S"})
		if now := ann.health(id); now.Status != "ACTIVE" || fmt.Sprint(now.tasks()) != "[CREATE SYNC]" {
			t.Errorf("got %+v", now)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		h.nothingLeft(id)
	})
	t.Run("a container that was restarted by somebody is left to run", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "restarted"}).Workspace.ID
		ann.status(id).until("ACTIVE")
		h.behind("restart", "-t", "5", name(id))
		begun, err := h.engine.Container(t.Context(), name(id))
		if err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool {
			now, tasks := ann.workspace(id), ann.health(id).Tasks.Nodes
			return now.Status == "ACTIVE" && now.StatusReason == "" && now.Container.StartedAt.Equal(begun.StartedAt) && tasks[0].Status == "SUCCEEDED"
		})
		ann.must("sync", map[string]any{"id": id, "wait": "PT30S"})
		if now := ann.workspace(id); now.Container.ID != begun.ID || !now.Container.StartedAt.Equal(begun.StartedAt) {
			t.Errorf("it was started once more: %+v", now.Container)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		h.nothingLeft(id)
	})
	t.Run("what a user stopped and somebody else starts is told of, and stopped when its owner says so", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "woken", "start": false, "wait": "PT30S"}).Workspace.ID
		h.behind("start", name(id))
		if now := ann.status(id).until("ACTIVE"); !strings.Contains(now.StatusReason, "although it was stopped") {
			t.Errorf("it says %q", now.StatusReason)
		}
		if now := ann.must("sync", map[string]any{"id": id, "wait": "PT30S"}).Workspace; now.Status != "INACTIVE" {
			t.Errorf("got %+v", now)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		h.nothingLeft(id)
	})
	t.Run("what a user stopped is left alone", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "stopped by its owner"}).Workspace.ID
		ann.status(id).until("ACTIVE")
		ann.must("stop", map[string]any{"id": id, "grace": "PT1S", "wait": "PT30S"})
		h.behind("rm", "-f", name(id))
		waitUntil(t, func() bool { return ann.workspace(id).Container == nil })
		if now := ann.health(id); now.Status != "INACTIVE" || fmt.Sprint(now.tasks()) != "[CREATE STOP]" {
			t.Errorf("got %+v", now)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		h.nothingLeft(id)
	})
	t.Run("what a workspace had whose row was lost is removed after the grace", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "lost"}).Workspace.ID
		ann.status(id).until("ACTIVE")
		db, err := sql.Open("sqlite", filepath.Join(h.data, "aicli.db")+"?_pragma=busy_timeout(10000)") // and with no regard to foreign keys
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), "DELETE FROM workspaces WHERE id = ?", id); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool {
			containers, networks := h.left(id)
			var kept int
			err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM subnets WHERE workspace_id = ?", id).Scan(&kept)
			return err == nil && len(containers)+len(networks)+kept == 0
		})
	})
	t.Run("what no workspace knows of is removed after the grace, and what others have made is not", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "with labels"}).Workspace.ID
		ann.status(id).until("ACTIVE")
		containers, _ := h.left(id)
		installation := containers[0].Labels[engine.LabelInstallation]
		run := func(name, workspace, installation string) {
			h.behind("run", "-d", "--name", name, "--label", engine.LabelManaged+"=true", "--label", engine.LabelInstallation+"="+installation,
				"--label", engine.LabelWorkspace+"="+workspace, image, "sleep", "600")
			t.Cleanup(func() { _ = h.engine.RemoveContainer(t.Context(), name) })
		}
		orphan, copied, theirs := name(id)+"0", name(id)+"-copy", name(id)+"1"
		run(orphan, id+"0", installation)
		run(copied, id, installation)
		run(theirs, id+"1", "inst_of_somebody_else")
		defer h.behind("rm", "-f", copied, theirs)
		waitUntil(t, func() bool {
			_, err := h.engine.Container(t.Context(), orphan)
			return engine.Is(err, engine.KindNotFound)
		})
		for _, kept := range []string{copied, theirs} {
			if _, err := h.engine.Container(t.Context(), kept); err != nil {
				t.Errorf("%s: %v", kept, err)
			}
		}
		if out, code := h.run("doctor", "--orphans"); code != 0 || !strings.Contains(out, "nothing that no workspace knows of") {
			t.Errorf("doctor ends with %d:\n%s", code, out)
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
	})
}
