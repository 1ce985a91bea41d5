package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// running gives the container of a workspace that runs; nil when none does.
func (h *home) running(id string) *engine.Container {
	h.Helper()
	containers, _ := h.left(id)
	for _, one := range containers {
		if c, err := h.engine.Container(h.Context(), one.ID); err == nil && c.State == engine.Running {
			return &c
		}
	}
	return nil
}

// mounted is what a running container has at /workspace, seen from the host through the container's first process.
func (h *home) mounted(c *engine.Container) fs.FileInfo {
	h.Helper()
	seen, err := os.Lstat(fmt.Sprintf("/proc/%d/root/workspace", c.Pid))
	if err != nil {
		h.Fatal(err)
	}
	return seen
}

// swap puts a link in the place of a directory, and gives what puts the directory back.
func (h *home) swap(dir, target string) (back func()) {
	h.Helper()
	kept := dir + ".kept"
	if err := os.Rename(dir, kept); err != nil {
		h.Fatal(err)
	}
	if err := os.Symlink(target, dir); err != nil {
		h.Fatal(err)
	}
	return func() {
		h.Helper()
		if err := os.Remove(dir); err != nil {
			h.Fatal(err)
		}
		if err := os.Rename(kept, dir); err != nil {
			h.Fatal(err)
		}
	}
}

func TestProjectsOfOneOwnerDoNotContainOneAnother(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, h *home) {
		s := h.start()
		ann, bob := s.as("ann"), s.as("bob")
		create := func(c *client, name, path string) payload {
			t.Helper()
			return c.mutate("create", map[string]any{"name": name, "projectPath": path, "start": false, "wait": "PT30S"})
		}
		var made []string
		for name, path := range map[string]string{"outer": "team", "twin": "team", "beside": "teams", "deep": "lab/one/two"} {
			p := create(ann, name, path)
			if len(p.UserErrors) > 0 {
				t.Fatalf("%s: %+v", path, p.UserErrors)
			}
			made = append(made, p.Workspace.ID)
		}
		for _, path := range []string{"team/sub", "team/sub/deeper", "TEAM/sub", "lab", "lab/one", "Lab/One", "lab/one/two/three"} {
			p := create(ann, "refused", path)
			if len(p.UserErrors) != 1 || p.UserErrors[0].Code != "CONFLICT" || strings.Join(p.UserErrors[0].Field, ".") != "input.projectPath" {
				t.Errorf("%s: got %+v", path, p)
			}
		}
		other := create(bob, "his own", "team/sub")
		if len(other.UserErrors) > 0 {
			t.Errorf("somebody else's: %+v", other.UserErrors)
		}
		bob.must("delete", map[string]any{"id": other.Workspace.ID, "wait": "PT30S"})
		for _, id := range made {
			ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		}
	})
}

// TestAReplacedProjectIsNeverMounted puts a link in the place of a project, or of a directory on the way to it, and then has the container started in
// every way that there is.
func TestAReplacedProjectIsNeverMounted(t *testing.T) {
	h := newHome(t, "AICLI_RESYNC_INTERVAL=1s")
	s := h.start()
	ann := s.as("ann")
	root := filepath.Join(h.data, "projects")
	if err := os.MkdirAll(filepath.Join(root, "bob", "secret"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := func(id string) string { return "aicli-" + strings.TrimPrefix(id, "ws_") }
	failed := func(c *client, id string) {
		t.Helper()
		waitUntil(t, func() bool {
			now := c.workspace(id)
			return now.Status == "FAILED" && now.Container != nil == (h.running(id) != nil) || now.Status == "FAILED" && h.running(id) == nil
		})
		if now := c.workspace(id); !strings.Contains(now.StatusReason, "link") && !strings.Contains(now.StatusReason, "mounted") {
			t.Errorf("the reason is %q", now.StatusReason)
		}
	}
	batch := func(c *client, operation, id string) {
		t.Helper()
		var data struct {
			StartBatch struct{ Batch *struct{ ID string } }
		}
		c.get(&data, `mutation($o: BatchOperation!, $id: ID!) { startBatch(input: { operation: $o, workspaceIds: [$id] }) { batch { id } } }`, map[string]any{"o": operation, "id": id})
	}
	policy := map[string]any{"maxRetries": 1, "backoff": "PT0.1S"}

	// Each begins with a container that runs or does not, and is given a client of the server that runs at the end.
	for way, c := range map[string]struct {
		stopped bool
		do      func(id string) *client
	}{
		"a start":             {true, func(id string) *client { ann.must("start", map[string]any{"id": id}); return ann }},
		"a restart":           {false, func(id string) *client { ann.must("restart", map[string]any{"id": id, "grace": "PT0S"}); return ann }},
		"recovery":            {false, func(id string) *client { h.behind("kill", name(id)); return ann }},
		"a recreation":        {false, func(id string) *client { h.behind("rm", "-f", name(id)); return ann }},
		"a batch of starts":   {true, func(id string) *client { batch(ann, "START", id); return ann }},
		"a batch of restarts": {false, func(id string) *client { batch(ann, "RESTART", id); return ann }},
		"a start of what is gone, with new limits": {true, func(id string) *client {
			h.behind("rm", name(id))
			ann.must("update", map[string]any{"id": id, "resources": map[string]any{"pids": 99}})
			ann.must("start", map[string]any{"id": id})
			return ann
		}},
		"somebody else's start": {true, func(id string) *client { h.behind("start", name(id)); return ann }},
	} {
		t.Run("by "+way, func(t *testing.T) {
			id := ann.must("create", map[string]any{"name": way, "projectPath": "way/" + strings.ReplaceAll(way, " ", "-"), "recoveryPolicy": policy, "wait": "PT30S"}).Workspace.ID
			if c.stopped {
				ann.must("stop", map[string]any{"id": id, "grace": "PT0S", "wait": "PT30S"})
			}
			back := h.swap(filepath.Join(root, "ann", "way", strings.ReplaceAll(way, " ", "-")), "/")
			failed(c.do(id), id)
			back()
			ann.must("start", map[string]any{"id": id, "wait": "PT30S"})
			if c := h.running(id); c == nil {
				t.Error("put back, it does not start")
			}
			ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
			h.nothingLeft(id)
		})
	}
	if !strings.Contains(s.log.String(), "ALERT: a container has something else mounted than its project") {
		t.Error("that somebody else started it with the wrong mount is no alert in the log")
	}

	t.Run("whatever the link leads to, and wherever it is on the way", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "aims", "projectPath": "on/the/way", "start": false, "wait": "PT30S"}).Workspace.ID
		for _, target := range []string{"/", "/etc", "../../../..", "../../bob/secret", "/dev/null", "/var/run/docker.sock", "way.kept", "nowhere"} {
			for _, part := range []string{"on", "on/the", "on/the/way"} {
				back := h.swap(filepath.Join(root, "ann", part), target)
				p := ann.must("start", map[string]any{"id": id, "wait": "PT30S"})
				if p.Task == nil || p.Task.Status != "FAILED" || p.Workspace.Status != "FAILED" || h.running(id) != nil {
					t.Errorf("%s → %s: %+v, %+v", part, target, p.Workspace, p.Task)
				}
				back()
			}
		}
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
	})

	t.Run("by the start of the server, of what was lost while it was down", func(t *testing.T) {
		id := ann.must("create", map[string]any{"name": "down", "projectPath": "down/work", "recoveryPolicy": policy, "wait": "PT30S"}).Workspace.ID
		s.stop()
		h.behind("rm", "-f", name(id))
		back := h.swap(filepath.Join(root, "ann", "down"), "/")
		again := h.start().as("ann")
		failed(again, id)
		back()
		again.must("delete", map[string]any{"id": id, "wait": "PT30S"})
	})
}

// TestProjectsAreSwappedFromInside gives two workspaces the same project, in which one of them swaps whatever it can reach while the other is started
// again and again, and has a process of the host swap the project of a third one, which is more than any container can do.
func TestProjectsAreSwappedFromInside(t *testing.T) {
	const rounds = 8
	h := newHome(t, "AICLI_RESYNC_INTERVAL=1s")
	ann := h.start().as("ann")
	name := func(id string) string { return "aicli-" + strings.TrimPrefix(id, "ws_") }
	attack := `mkdir -p /workspace/real; while :; do
		mv /workspace /elsewhere; rmdir /workspace; ln -sfn / /workspace; mv -T /workspace/real /workspace
		ln -s / /workspace/link; mv -T /workspace/link /workspace/real; rm -f /workspace/real; mkdir /workspace/real
	done 2>/dev/null`
	attacker := ann.must("create", map[string]any{"name": "attacker", "projectPath": "shared", "command": []string{"sh", "-c", attack}, "wait": "PT30S"}).Workspace.ID
	project, err := os.Lstat(filepath.Join(h.data, "projects", "ann", "shared"))
	if err != nil {
		t.Fatal(err)
	}
	id := ann.must("create", map[string]any{"name": "victim", "projectPath": "shared", "recoveryPolicy": map[string]any{"backoff": "PT0.1S", "maxRetries": 100}, "wait": "PT30S"}).Workspace.ID
	same := func() {
		t.Helper()
		if c := h.running(id); c == nil || !os.SameFile(h.mounted(c), project) {
			t.Fatalf("%+v has something else mounted than the project", c)
		}
	}
	for range rounds {
		same()
		ann.must("restart", map[string]any{"id": id, "grace": "PT0S", "wait": "PT30S"})
		same()
		ann.must("stop", map[string]any{"id": id, "grace": "PT0S", "wait": "PT30S"})
		ann.must("start", map[string]any{"id": id, "wait": "PT30S"})
		same()
		before := h.running(id)
		h.behind("kill", name(id))
		waitUntil(t, func() bool { c := h.running(id); return c != nil && c.StartedAt.After(before.StartedAt) })
	}
	same()
	for _, id := range []string{id, attacker} {
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
	}

	t.Run("and from the host", func(t *testing.T) {
		dir := filepath.Join(h.data, "projects", "ann", "host", "work")
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		project, err := os.Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			pause := time.NewTicker(3 * time.Millisecond)
			defer pause.Stop()
			for link := false; ; link = !link {
				select {
				case <-pause.C:
				case <-stop:
					if link {
						_ = os.Remove(dir)
						_ = os.Rename(dir+".kept", dir)
					}
					return
				}
				if link {
					_ = os.Remove(dir)
					_ = os.Rename(dir+".kept", dir)
				} else {
					_ = os.Rename(dir, dir+".kept")
					_ = os.Symlink("/", dir)
				}
			}
		}()
		active := 0
		for i := range 3 * rounds {
			p, err := ann.try("create", map[string]any{"name": fmt.Sprint("host ", i), "projectPath": "host/work", "wait": "PT30S"})
			if err != nil || p.Workspace == nil { // it was refused, or was undone
				continue
			}
			if c := h.running(p.Workspace.ID); c != nil && p.Workspace.Status == "ACTIVE" {
				active++
				if !os.SameFile(h.mounted(c), project) {
					t.Errorf("try %d is ACTIVE with something else mounted than the project", i)
				}
			}
			ann.must("delete", map[string]any{"id": p.Workspace.ID, "wait": "PT30S"})
		}
		close(stop)
		<-done
		t.Logf("%d of %d became active", active, 3*rounds)
	})
}

// TestIsolationIsReadBack attaches what was not asked for behind the server's back.
func TestIsolationIsReadBack(t *testing.T) {
	h := newHome(t, "AICLI_RESYNC_INTERVAL=1s")
	ann := h.start().as("ann")
	id := ann.must("create", map[string]any{"name": "one", "wait": "PT30S"}).Workspace.ID
	container, second := "aicli-"+strings.TrimPrefix(id, "ws_"), fmt.Sprint("aicli-e2e-second-", os.Getpid())
	h.behind("network", "create", "--subnet", "10.209.255.0/28", second)
	defer h.behind("network", "rm", second)
	if got := ann.workspace(id).Isolation.Warnings; len(got) > 0 {
		t.Errorf("before: %q", got)
	}
	h.behind("network", "connect", second, container)
	waitUntil(t, func() bool {
		got := ann.workspace(id).Isolation.Warnings
		return len(got) == 1 && strings.Contains(got[0], second)
	})
	h.behind("network", "disconnect", second, container)
	waitUntil(t, func() bool { return len(ann.workspace(id).Isolation.Warnings) == 0 })
	h.behind("update", "--restart", "always", "--memory-swap", "-1", container)
	h.behind("rename", container, "mine"+container)
	waitUntil(t, func() bool {
		got := strings.Join(ann.workspace(id).Isolation.Warnings, "\n")
		return strings.Contains(got, "always") && strings.Contains(got, "swap") && strings.Contains(got, "mine"+container)
	})
	ann.must("sync", map[string]any{"id": id, "wait": "PT30S"})
	if got := ann.workspace(id).Isolation.Warnings; len(got) != 1 || !strings.Contains(got[0], "mine"+container) {
		t.Errorf("after a sync: %q, want its name alone", got)
	}
	ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
	h.nothingLeft(id)
}

// TestASharedDirectoryGoesWithItsLastUser deletes the workspace that a directory was made for while another one runs on it.
func TestASharedDirectoryGoesWithItsLastUser(t *testing.T) {
	h := newHome(t)
	s := h.start()
	ann := s.as("ann")
	first := ann.must("create", map[string]any{"name": "first", "start": false, "wait": "PT30S"}).Workspace.ID
	second := ann.must("create", map[string]any{"name": "second", "projectPath": first, "wait": "PT30S"}).Workspace.ID
	dir := filepath.Join(h.data, "projects", "ann", first)
	ann.must("delete", map[string]any{"id": first, "wait": "PT30S"})
	seen, err := os.Lstat(dir)
	if err != nil || !os.SameFile(seen, h.mounted(h.running(second))) {
		t.Fatalf("%v: the directory went under the workspace that runs on it", err)
	}
	ann.must("delete", map[string]any{"id": second, "wait": "PT30S"})
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("%v: it is left behind the last one", err)
	}
}

// TestAProjectThatIsMissing takes a project's directory away, as a disk that is not mounted would, and puts another one in its place under a container that runs.
func TestAProjectThatIsMissing(t *testing.T) {
	h := newHome(t)
	s := h.start()
	ann := s.as("ann")
	id := ann.must("create", map[string]any{"name": "w", "recoveryPolicy": map[string]any{"maxRetries": 0}, "wait": "PT30S"}).Workspace.ID
	dir := filepath.Join(h.data, "projects", "ann", id)
	warnings := func(verb, want string) {
		t.Helper()
		ann.must(verb, map[string]any{"id": id, "wait": "PT30S"})
		if got := strings.Join(ann.workspace(id).Isolation.Warnings, "\n"); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("after a %s: %q, want %q", verb, got, want)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(dir, dir+".kept")
	warnings("sync", "replaced or removed")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	warnings("sync", "replaced or removed")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"restart", "start", "sync"} {
		p := ann.must(verb, map[string]any{"id": id, "wait": "PT30S"})
		if p.Task == nil || p.Task.Status != "FAILED" || !strings.Contains(p.Workspace.StatusReason, "The project directory is missing") {
			t.Errorf("a %s: %+v, %+v", verb, p.Workspace, p.Task)
		}
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("a %s has made an empty one in its place: %v", verb, err)
		}
	}
	h.behind("rm", "-f", "aicli-"+strings.TrimPrefix(id, "ws_"))
	p := ann.must("start", map[string]any{"id": id, "wait": "PT30S"})
	if p.Task == nil || p.Task.Status != "FAILED" {
		t.Errorf("a new container was made on nothing: %+v, %+v", p.Workspace, p.Task)
	}
	rename(dir+".kept", dir)
	warnings("start", "")
	ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
	h.nothingLeft(id)
}
