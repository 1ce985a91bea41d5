package e2e

import (
	"maps"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

// told is what a server says of its engine.
func (c *client) told() (status, lastError string) {
	c.Helper()
	var data struct {
		Server struct {
			Engine struct{ Status, LastError string }
		}
	}
	c.get(&data, `{ server { engine { status lastError } } }`, nil)
	return data.Server.Engine.Status, data.Server.Engine.LastError
}

// refused waits until a server says that the engine's things are another database's.
func (c *client) refused() {
	c.Helper()
	waitUntil(c.T, func() bool {
		status, why := c.told()
		return status == "UNAVAILABLE" && strings.Contains(why, "aicli-web adopt")
	})
}

// copied is a home whose database is a copy of another's, in which a server may run.
func (h *home) copied(s *server, env ...string) (copied *home, again *server) {
	h.Helper()
	env = append(env, "AICLI_PROJECTS_ROOT="+filepath.Join(h.data, "projects"))
	if !h.shared {
		copied = newHome(h.T, env...)
		if out, code := h.run("backup", filepath.Join(copied.data, "aicli.db")); code != 0 {
			h.Fatal(out)
		}
		return copied, s
	}
	s.stop() // PostgreSQL makes no copy of a database that is in use
	at, err := url.Parse(h.database())
	if err != nil {
		h.Fatal(err)
	}
	dsn := storetest.CreateDatabase(h.T, "TEMPLATE", strings.TrimPrefix(at.Path, "/"))
	return newHome(h.T, append(env, "AICLI_DATABASE_URL="+dsn)...), h.start()
}

// database is the address of a home's own.
func (h *home) database() (address string) {
	for _, v := range h.env {
		if value, ok := strings.CutPrefix(v, "AICLI_DATABASE_URL="); ok {
			address = value
		}
	}
	return address
}

func (h *home) has(what string, ids ...string) {
	h.Helper()
	for _, id := range ids {
		containers, networks := h.left(id)
		if len(containers) != 1 || containers[0].State != engine.Running || len(networks) != 1 {
			h.Errorf("%s the engine has %+v and %+v of %s", what, containers, networks, id)
		}
	}
}

// TestACopyOfTheDatabaseTouchesNothing until it adopts what the original has made, which then touches nothing.
func TestACopyOfTheDatabaseTouchesNothing(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, h *home) {
		h.env = append(h.env, "AICLI_RESYNC_INTERVAL=1s", "AICLI_ORPHAN_GRACE=5s")
		s := h.start()
		ann := s.as("ann")
		first := ann.running("first")
		copied, s := h.copied(s, "AICLI_RESYNC_INTERVAL=1s", "AICLI_ORPHAN_GRACE=1s")
		ann = s.as("ann")
		later := ann.running("later") // which the copy does not know of

		beside := copied.start()
		bob := beside.as("ann")
		bob.refused()
		deleted := bob.must("delete", map[string]any{"id": first}).Task
		if w := bob.workspace(first); w.Container == nil || w.Container.State != "UNKNOWN" || !strings.Contains(w.Container.LastError, "aicli-web adopt") {
			t.Errorf("the copy says of it %+v, %+v", w, w.Container)
		}
		// The original needs five seconds to remove an orphan, and its mark is made again within them: the copy would have needed one second.
		labels := h.marked(s)
		orphan := "aicli-" + strings.TrimPrefix(first, "ws_") + "0"
		h.behind("run", "-d", "--name", orphan, "--label", engine.LabelManaged+"=true", "--label", engine.LabelInstallation+"="+labels[engine.LabelInstallation],
			"--label", engine.LabelWorkspace+"="+first+"0", image, "sleep", "600")
		t.Cleanup(func() { _ = h.engine.RemoveContainer(t.Context(), orphan) })
		if err := h.engine.RemoveVolume(t.Context(), s.mark()); err != nil {
			t.Error(err)
		}
		waitUntil(t, func() bool {
			_, err := h.engine.Container(t.Context(), orphan)
			return engine.Is(err, engine.KindNotFound)
		})
		if again := h.marked(s); again[engine.LabelDatabase] != labels[engine.LabelDatabase] {
			t.Errorf("the mark is %v, was %v", again, labels)
		}
		h.has("beside a copy", first, later)
		if got := bob.task(deleted.ID); got.Status != "QUEUED" || got.Attempt != 0 {
			t.Errorf("the deletion that the copy was asked for is %+v", got)
		}
		bob.refused()
		if said := strings.Count(beside.log.String(), "the engine is left alone"); said != 1 {
			t.Errorf("the copy logs %d times that it is refused", said)
		}
		h.expect(0, "belongs to this database", "doctor")
		copied.expect(1, "belongs to another database", "doctor")

		s.stop()
		copied.expect(0, "(2 containers, 2 networks) belonged to another database", "adopt")
		copied.expect(0, "belonged to this database already", "adopt")
		bob.done(first)
		copied.nothingLeft(first)
		copied.expect(0, "belongs to this database", "doctor")
		waitUntil(t, func() bool { // it is told as an orphan by now, and was announced
			containers, networks := h.left(later)
			return len(containers)+len(networks) == 0
		})
		ours := bob.running("ours")

		back := h.start()
		back.as("ann").refused()
		copied.has("beside the original", ours)
		bob.must("delete", map[string]any{"id": ours})
		bob.done(ours)
		copied.nothingLeft(ours)
		back.as("ann").refused()
	})
}

// expect holds that a command ends with a code and says something.
func (h *home) expect(code int, part string, args ...string) {
	h.Helper()
	if out, got := h.run(args...); got != code || !strings.Contains(out, part) {
		h.Errorf("%v ends with %d, want %d, and %q:\n%s", args, got, code, part, out)
	}
}

// marked are the labels of the mark, once it is there.
func (h *home) marked(s *server) (labels engine.Labels) {
	h.Helper()
	waitUntil(h.T, func() bool {
		volumes, err := h.engine.Volumes(h.Context(), nil)
		for _, v := range volumes {
			if v.Name == s.mark() {
				labels = v.Labels
			}
		}
		return err == nil && labels != nil
	})
	return labels
}

func (c *client) task(id string) (t taskNow) {
	c.Helper()
	var data struct{ Task taskNow }
	c.get(&data, `query($id: ID!) { task(id: $id) { id type status step attempt error { code message } } }`, map[string]any{"id": id})
	return data.Task
}

// running makes a workspace and waits until it runs.
func (c *client) running(name string) (id string) {
	c.Helper()
	id = c.must("create", map[string]any{"name": name}).Workspace.ID
	c.status(id).until("ACTIVE")
	return id
}

// done waits until a workspace is gone.
func (c *client) done(id string) {
	c.Helper()
	waitUntil(c.T, func() bool { return c.workspace(id) == nil })
}

// TestTheMarkOutlivesTheEngine: engines may tell the labels of what they have made in another way once they were started again.
func TestTheMarkOutlivesTheEngine(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	h := newHomeOn(t, d.host(), "AICLI_RESYNC_INTERVAL=1s")
	s := h.start()
	ann := s.as("ann")
	id := ann.running("kept")
	before := h.marked(s)
	d.kill()
	d.start()
	waitUntil(t, func() bool {
		w := ann.workspace(id)
		return w.Status == "ACTIVE" && w.Container != nil && w.Container.State == "RUNNING"
	})
	if after := h.marked(s); !maps.Equal(after, before) {
		t.Errorf("the mark is %v, was %v", after, before)
	}
	h.expect(0, "belongs to this database", "doctor")
	ann.must("delete", map[string]any{"id": id})
	ann.done(id)
	if strings.Contains(s.log.String(), "the engine is left alone") {
		t.Error("the server was refused")
	}
}
