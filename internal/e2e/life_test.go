package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store/storetest"
)

// TestAWorkspaceLives goes through the whole life of one workspace, watched.
func TestAWorkspaceLives(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, h *home) {
		ann := h.start().as("ann")
		made := ann.must("create", map[string]any{
			"name": "busy", "command": []string{"sh", "-c", "echo made > /workspace/file; while :; do :; done"},
			"resources": map[string]any{"cpus": 0.5, "memoryBytes": 64 << 20, "pids": 32},
		})
		if made.Workspace.Status != "PENDING" || made.Task == nil || made.Task.Type != "CREATE" || made.Task.Status != "QUEUED" {
			t.Errorf("the answer is %+v, %+v: it must not wait for the engine", made.Workspace, made.Task)
		}
		id := made.Workspace.ID
		progress := ann.subscribe(`subscription($id: ID!) { taskProgress(id: $id) { id type status step attempt } }`, map[string]any{"id": made.Task.ID})
		status := ann.status(id)
		first := status.until("ACTIVE")
		if first.Container == nil || first.Container.State != "RUNNING" || len(first.Isolation.Warnings) > 0 {
			t.Errorf("got %+v", first)
		}
		var last struct{ TaskProgress taskNow }
		for progress.read(&last) {
		}
		if last.TaskProgress.Status != "SUCCEEDED" || last.TaskProgress.Attempt != 1 {
			t.Errorf("the task's stream ended with %+v", last.TaskProgress)
		}

		t.Run("its usage moves under load", func(t *testing.T) {
			usage := ann.subscribe(`subscription($id: ID!) { workspaceMetrics(id: $id) { cpuPercent memoryBytes memoryLimitBytes pids uptime at } }`, map[string]any{"id": id})
			var data struct {
				WorkspaceMetrics struct {
					CPUPercent                    float64
					MemoryBytes, MemoryLimitBytes int64
					Pids                          int
					Uptime                        string
					At                            time.Time
				}
			}
			for data.WorkspaceMetrics.CPUPercent < 10 {
				before := data.WorkspaceMetrics.At
				if !usage.read(&data) || !data.WorkspaceMetrics.At.After(before) {
					t.Fatalf("got %+v after %s", data, before)
				}
			}
			if m := data.WorkspaceMetrics; m.MemoryLimitBytes != 64<<20 || m.MemoryBytes <= 0 || m.Pids < 2 || !strings.HasPrefix(m.Uptime, "PT") {
				t.Errorf("got %+v", m)
			}
		})
		t.Run("its project directory is the owner's own, and what was written there is there", func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(h.data, "projects", "ann", id, "file"))
			if err != nil || string(text) != "made\n" {
				t.Errorf("got %q, %v", text, err)
			}
		})
		t.Run("the engine holds it to what was asked for", func(t *testing.T) {
			c, err := h.engine.Container(t.Context(), first.Container.ID)
			if err != nil {
				t.Fatal(err)
			}
			e := c.Enforced
			if e.Privileged || !e.NoNewPrivileges || e.Seccomp != "default" || e.RestartPolicy != "no" || !e.Init ||
				e.Limits.NanoCPUs != 5e8 || e.Limits.MemoryBytes != 64<<20 || e.Limits.Pids != 32 ||
				strings.Join(e.Capabilities, " ") != "CHOWN DAC_OVERRIDE FOWNER KILL NET_BIND_SERVICE SETGID SETUID" {
				t.Errorf("got %+v", e)
			}
			_, networks := h.left(id)
			if len(c.Networks) != 1 || len(networks) != 1 || networks[0].Subnet != first.Isolation.Subnet {
				t.Errorf("it is on %+v, and %+v is its own", c.Networks, networks)
			}
		})
		t.Run("new limits reach the container that runs", func(t *testing.T) {
			p := ann.must("update", map[string]any{"id": id, "name": "calm", "resources": map[string]any{"memoryBytes": 96 << 20}})
			task := ann.subscribe(`subscription($id: ID!) { taskProgress(id: $id) { id status } }`, map[string]any{"id": p.Task.ID})
			task.end()
			c, err := h.engine.Container(t.Context(), first.Container.ID)
			if err != nil || c.Enforced.Limits.MemoryBytes != 96<<20 || c.Enforced.Limits.Pids != 32 {
				t.Errorf("got %+v, %v", c.Enforced, err)
			}
			stale := ann.mutate("update", map[string]any{"id": id, "version": p.Workspace.Version - 1, "name": "lost"})
			if len(stale.UserErrors) != 1 || stale.UserErrors[0].Code != "CONFLICT" {
				t.Errorf("a lost update was answered with %+v", stale)
			}
		})
		t.Run("it restarts, stops and starts", func(t *testing.T) {
			restarted := ann.must("restart", map[string]any{"id": id, "grace": "PT0S", "wait": "PT30S"})
			if w := restarted.Workspace; restarted.Task.Status != "SUCCEEDED" || w.Container.ID != first.Container.ID || !w.Container.StartedAt.After(first.Container.StartedAt) {
				t.Errorf("got %+v, %+v", w, restarted.Task)
			}
			stopped := ann.must("stop", map[string]any{"id": id, "grace": "PT0S", "wait": "PT30S"})
			if w := stopped.Workspace; w.Status != "INACTIVE" || w.Container.State != "EXITED" || w.StatusReason != "" {
				t.Errorf("got %+v", w)
			}
			started := ann.must("start", map[string]any{"id": id, "wait": "PT30S"})
			if w := started.Workspace; w.Status != "ACTIVE" || w.Container.ID != first.Container.ID {
				t.Errorf("got %+v", w)
			}
			if again := ann.must("start", map[string]any{"id": id}); again.Task != nil {
				t.Errorf("a start of what runs began %+v", again.Task)
			}
		})
		t.Run("what ends by itself is told, with the reason, and does not wait for its next try when somebody asks", func(t *testing.T) {
			if err := h.engine.StopContainer(t.Context(), first.Container.ID, 0); err != nil {
				t.Fatal(err)
			}
			for w := ann.workspace(id); w.Status != "RECOVERING"; {
				var data struct{ WorkspaceStatus workspaceNow }
				if !status.read(&data) {
					t.Fatal("the stream ended")
				}
				w = &data.WorkspaceStatus
				if w.Status == "RECOVERING" && !strings.Contains(w.StatusReason, "exited with code 1") {
					t.Errorf("the reason is %q", w.StatusReason)
				}
			}
			if p := ann.must("sync", map[string]any{"id": id, "wait": "PT30S"}); p.Workspace.Status != "ACTIVE" {
				t.Errorf("after a sync it is %+v", p.Workspace)
			}
		})
		t.Run("deleted, it leaves nothing but what was written in its project", func(t *testing.T) {
			if p := ann.must("delete", map[string]any{"id": id}); p.Workspace.Status != "DELETING" {
				t.Errorf("got %+v", p.Workspace)
			}
			status.end()
			h.nothingLeft(id)
			if ann.workspace(id) != nil {
				t.Error("the row is still there")
			}
			if _, err := os.Stat(filepath.Join(h.data, "projects", "ann", id, "file")); err != nil {
				t.Error(err)
			}
			if p := ann.mutate("delete", map[string]any{"id": id}); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "NOT_FOUND" {
				t.Errorf("deleted again, it is %+v", p)
			}
		})
	})
}

// TestSixtyAtOnce makes twice as many workspaces at once as the engine's own address pools can serve, by a server that is ended like by a
// power cut half way through, and another one. The engine takes a second for each of them, so it is done on one database: what the other has to do
// with it, sixty subnets at once, is a test of the store.
func TestSixtyAtOnce(t *testing.T) {
	h := newHome(t, "AICLI_DATABASE_URL="+storetest.CreateDatabase(t))
	first := h.start()
	ann := first.as("ann")
	ids := ann.createMany(60)
	waitUntil(t, func() bool { return ann.active() >= 10 })
	if n := ann.active(); n >= len(ids) {
		t.Fatalf("all %d were made before the server could be killed", n)
	}
	first.kill()
	ann = h.start().as("ann")
	subnets := map[string]bool{}
	for _, w := range ann.allActive(ids) {
		subnets[w.Isolation.Subnet] = true
	}
	if len(subnets) != len(ids) {
		t.Errorf("%d workspaces have %d subnets", len(ids), len(subnets))
	}
	ann.oneEach(ids)
	ann.deleteAll(ids)
}

// active counts the caller's workspaces that run.
func (c *client) active() int {
	c.Helper()
	var data struct{ Workspaces struct{ TotalCount int } }
	c.get(&data, `{ workspaces(first: 1, filter: { status: [ACTIVE] }) { totalCount } }`, nil)
	return data.Workspaces.TotalCount
}

// createMany asks for n workspaces at once, and says how long the slowest answer took.
func (c *client) createMany(n int) []string {
	c.Helper()
	ids, took := make([]string, n), make([]time.Duration, n)
	var askers sync.WaitGroup
	for i := range n {
		askers.Go(func() {
			began := time.Now()
			p, err := c.try("create", map[string]any{"name": fmt.Sprint("crowd ", i)})
			if took[i] = time.Since(began); err != nil || p.Workspace == nil {
				c.Errorf("%+v, %v", p.UserErrors, err)
				return
			}
			ids[i] = p.Workspace.ID
		})
	}
	askers.Wait()
	c.Logf("%d creations at once were answered, the slowest after %s", n, slices.Max(took).Round(time.Millisecond))
	if c.Failed() {
		c.FailNow()
	}
	return ids
}

func (c *client) allActive(ids []string) (all []workspaceNow) {
	c.Helper()
	streams := make([]*stream, len(ids))
	for i, id := range ids {
		streams[i] = c.status(id)
	}
	for _, s := range streams {
		all = append(all, s.until("ACTIVE"))
	}
	return all
}

// oneEach expects one container and one network of each.
func (c *client) oneEach(ids []string) {
	c.Helper()
	for _, id := range ids {
		if containers, networks := c.server.left(id); len(containers) != 1 || len(networks) != 1 {
			c.Errorf("of %s there are %v and %v", id, containers, networks)
		}
	}
}

func (c *client) deleteAll(ids []string) {
	c.Helper()
	streams := make([]*stream, len(ids))
	for i, id := range ids {
		streams[i] = c.status(id)
		c.must("delete", map[string]any{"id": id})
	}
	for _, s := range streams {
		s.end()
	}
	c.server.nothingLeft(ids...)
	var data struct {
		Workspaces struct{ TotalCount int }
		Server     struct{ Queue struct{ Running, Queued int } }
	}
	if c.get(&data, `{ workspaces { totalCount } server { queue { running queued } } }`, nil); data.Workspaces.TotalCount != 0 || data.Server.Queue.Queued != 0 {
		c.Errorf("there are %+v", data)
	}
}
