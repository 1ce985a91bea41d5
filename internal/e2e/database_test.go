package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// cluster is a PostgreSQL server of a test's own, that can be stopped.
type cluster struct {
	*testing.T
	programs, dir string
	port          int
	as            *syscall.Credential // nil: whoever runs the test
}

// newCluster makes a server and starts it.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, lookErr := exec.LookPath("initdb"); len(found) == 0 && lookErr == nil {
		if path, lookErr = filepath.EvalSymlinks(path); lookErr == nil {
			found = []string{path}
		}
	}
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL's programs are not here: run the test by make test, or by scripts/with-postgres.sh go test ./...")
	}
	c.programs = filepath.Dir(found[len(found)-1])
	c.dir, err = os.MkdirTemp("/tmp", "aicli-pg-") //nolint:usetesting // a path that its user can reach
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := c.control("stop", "-m", "immediate"); err != nil && !strings.Contains(out, "no server running") && !strings.Contains(out, "PID file") {
			t.Errorf("%v: %s", err, out)
		}
		if err := os.RemoveAll(c.dir); err != nil {
			t.Error(err)
		}
	})
	if os.Geteuid() == 0 { // it refuses to run as root
		owner, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, uidErr := strconv.ParseUint(owner.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(owner.Gid, 10, 32)
		if uidErr != nil || gidErr != nil {
			t.Fatal(uidErr, gidErr)
		}
		c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(c.dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	if out, err := c.run("initdb", "-D", c.dir+"/data", "-U", "aicli", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.start()
	return c
}

func (c *cluster) address() string {
	return fmt.Sprintf("postgres://aicli@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

func (c *cluster) run(program string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(c.programs, program), args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) control(verb string, more ...string) (string, error) {
	return c.run("pg_ctl", append([]string{verb, "-w", "-D", c.dir + "/data", "-l", c.dir + "/log"}, more...)...)
}

func (c *cluster) start() {
	c.Helper()
	if out, err := c.control("start", "-o", fmt.Sprintf("-k '' -h 127.0.0.1 -p %d -c fsync=off", c.port)); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
}

// stop stops it: fast as its operator does, immediate as a crash does.
func (c *cluster) stop(mode string) {
	if out, err := c.control("stop", "-m", mode); err != nil {
		c.Errorf("%v: %s", err, out)
	}
}

// TestPostgreSQLIsStopped stops the database while the server is asked for everything that there is, and while a stream is open. It is told as lost, and the
// stream and all work go on when it is back.
func TestPostgreSQLIsStopped(t *testing.T) {
	t.Parallel()
	database := newCluster(t)
	h := newHome(t, "AICLI_RESYNC_INTERVAL=2s", "AICLI_ORPHAN_GRACE=5s", "AICLI_DATABASE_URL="+database.address())
	ann := h.start().as("ann")
	r := &restless{T: t, home: h, draw: rand.New(rand.NewPCG(seedOf(t), 0)), asked: make(map[string]string), done: make(map[string]int)}
	watched := ann.must("create", map[string]any{"name": "watched", "wait": "PT30S"}).Workspace.ID
	status := ann.status(watched)
	status.until("ACTIVE")
	for _, mode := range []string{"fast", "immediate", "fast"} {
		var stopping sync.WaitGroup
		stopping.Go(func() { database.stop(mode) })
		r.asMuchAs(ann, 8)
		stopping.Wait()
		ann.lost()
		database.start()
		waitUntil(t, func() bool {
			_, err := ann.ask(`{ workspaces(first: 1) { totalCount } }`, nil)
			return err == nil
		})
		ann.must("stop", map[string]any{"id": watched, "grace": "PT0S"})
		status.until("INACTIVE")
		ann.must("start", map[string]any{"id": watched})
		status.until("ACTIVE")
	}
	rows := r.settle(ann)
	waitUntil(t, func() bool { return r.agreed(rows) })
	r.compare(rows)
	ann.deleteAll(slices.Collect(maps.Keys(rows)))
	log := ann.server.log.String()
	away, back := strings.Count(log, "the database is away"), strings.Count(log, "the database is back")
	if away == 0 || away != back || strings.Contains(log, "level=ERROR") {
		t.Errorf("it told %d times of the database as away and %d times as back; errors: %q", away, back, errorLine.FindString(log))
	}
}

// TestTheDiskIsFull fills the file system of a server's data, and frees it.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	h := newHome(t, "AICLI_RESYNC_INTERVAL=1h") // what was seen is not left to the next look at everything
	if err := unix.Mount("tmpfs", h.data, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(h.data, unix.MNT_DETACH) })
	s := h.start()
	ann := s.as("ann")
	id := ann.must("create", map[string]any{"name": "one", "wait": "PT30S"}).Workspace.ID
	status := ann.status(id)
	status.until("ACTIVE")
	filler := filepath.Join(h.data, "filler")
	fill := func() {
		t.Helper()
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 4096)
		for err == nil {
			_, err = f.Write(piece)
		}
		_ = f.Close()
	}
	made := 0
	waitUntil(t, func() bool { // what SQLite has room for in its own files is written first
		fill()
		made++
		p, err := ann.try("create", map[string]any{"name": fmt.Sprint("more-", made), "start": false})
		return err != nil && p.Workspace == nil && strings.Contains(err.Error(), "DATABASE_UNAVAILABLE")
	})
	waitUntil(t, func() bool {
		code, text, err := ann.http(http.MethodGet, "/readyz", http.Header{}, nil)
		return err == nil && code == http.StatusServiceUnavailable && strings.Contains(text, "cannot be written")
	})
	if w := ann.workspace(id); w == nil || w.Name != "one" {
		t.Errorf("it cannot be read: %+v", w)
	}
	// What happens to a container meanwhile is seen, cannot be written, and is not told as if nothing had happened.
	h.behind("kill", h.running(id).ID)
	waitUntil(t, func() bool {
		w := ann.workspace(id)
		return w.Container != nil && w.Container.State == "UNKNOWN" && w.Container.LastError != ""
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	// It did not end by itself, so it is started again; the stream tells of both.
	status.until("RECOVERING")
	status.until("ACTIVE")
	waitUntil(t, func() bool {
		code, _, err := ann.http(http.MethodGet, "/readyz", http.Header{}, nil)
		return err == nil && code == http.StatusOK
	})
	var all struct {
		Workspaces struct{ Nodes []struct{ ID string } }
	}
	ann.get(&all, `{ workspaces(first: 100) { nodes { id } } }`, nil)
	var ids []string
	for _, n := range all.Workspaces.Nodes {
		ids = append(ids, n.ID)
	}
	if len(ids) > made { // the last creation at least was refused
		t.Errorf("there are %d workspaces of %d that were asked for", len(ids), made+1)
	}
	ann.deleteAll(ids)
}
