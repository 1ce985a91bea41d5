// Package e2e drives the whole server as its users do: a process of its own, talked to over HTTP and WebSocket, with real
// databases and real containers. The process has the race detector in it.
package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/docker"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

const (
	image = "aicli-base:busybox"
	// patience bounds every wait for what a busy machine does late. Nothing here is a measurement.
	patience = 2 * time.Minute
)

var binary string // of the server

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "aicli-e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "aicli-web")
	build := exec.Command("go", "build", "-race", "-o", binary, "../..")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// home is what outlives one process of a server: its database, its data directory and its part of the address space.
type home struct {
	*testing.T
	env    []string
	shared bool // its database may have several servers
	data   string
	engine engine.Engine
	made   sync.Map // ids of workspaces, for the end
	marks  sync.Map // names of volumes, for the end
}

var pools atomic.Int32 // one for each home: they run beside one another

// onEachDatabase runs a test in a home on SQLite and in one on PostgreSQL.
func onEachDatabase(t *testing.T, test func(t *testing.T, h *home)) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			var env []string
			if dialect == "postgres" {
				env = append(env, "AICLI_DATABASE_URL="+storetest.CreateDatabase(t))
			}
			h := newHome(t, env...)
			h.shared = dialect == "postgres"
			test(t, h)
		})
	}
}

func newHome(t *testing.T, env ...string) *home {
	t.Helper()
	return newHomeOn(t, "", env...)
}

// newHomeOn makes a home on another engine than that of the environment.
func newHomeOn(t *testing.T, host string, env ...string) *home {
	t.Helper()
	e, err := docker.New(docker.Options{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		env = append(env, "DOCKER_HOST="+host)
	}
	h := &home{T: t, data: t.TempDir(), engine: e}
	h.env = append(os.Environ(), "AICLI_DATA_DIR="+h.data, "AICLI_ADDR=127.0.0.1:0", "AICLI_DEFAULT_IMAGE="+image, "AICLI_ALLOWED_IMAGES=docker.io/library/*,127.0.0.1:*",
		fmt.Sprintf("AICLI_NETWORK_POOL=10.%d.0.0/16", 217+pools.Add(1)%8), "AICLI_LOG_LEVEL=debug", "AICLI_SHUTDOWN_GRACE=2s",
		"GORACE=halt_on_error=1")
	h.env = append(h.env, env...)
	t.Cleanup(func() {
		h.clean()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// clean removes what a test that failed has left, and the mark, which a server leaves. An engine of the test's own may be gone by then.
func (h *home) clean() {
	h.made.Range(func(id, _ any) bool {
		containers, networks := h.left(id.(string))
		for _, c := range containers {
			h.Logf("removing %s, which was left", c.Name)
			_ = h.engine.RemoveContainer(context.Background(), c.ID)
		}
		for _, n := range networks {
			_ = h.engine.RemoveNetwork(context.Background(), n.ID)
		}
		return true
	})
	h.marks.Range(func(volume, _ any) bool {
		_ = h.engine.RemoveVolume(context.Background(), volume.(string))
		return true
	})
}

// left is what the engine has of a workspace.
func (h *home) left(id string) ([]engine.Summary, []engine.Network) {
	h.Helper()
	labels := engine.Labels{engine.LabelWorkspace: id}
	containers, err := h.engine.Containers(context.Background(), labels)
	if err != nil {
		h.Error(err)
	}
	networks, err := h.engine.Networks(context.Background(), labels)
	if err != nil {
		h.Error(err)
	}
	return containers, networks
}

func (h *home) nothingLeft(ids ...string) {
	h.Helper()
	for _, id := range ids {
		if containers, networks := h.left(id); len(containers)+len(networks) > 0 {
			h.Errorf("of %s the engine still has %v and %v", id, containers, networks)
		}
	}
}

// run runs one command of the binary to its end.
func (h *home) run(args ...string) (out string, code int) {
	h.Helper()
	cmd := exec.CommandContext(h.Context(), binary, args...)
	cmd.Env = h.env
	said, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(said), exit.ExitCode()
	}
	if err != nil {
		h.Fatal(err)
	}
	return string(said), 0
}

func (h *home) token(user string, more ...string) string {
	h.Helper()
	out, code := h.run(append([]string{"token", "--user", user}, more...)...)
	if code != 0 {
		h.Fatal(out)
	}
	return strings.TrimSpace(out)
}

// server is one running process.
type server struct {
	*home
	address string   // host:port
	said    *logFile // to its standard output
	cmd     *exec.Cmd
	log     *logFile
	ended   bool
}

// logFile keeps what a process writes, for a test that fails.
type logFile struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var linkLine = regexp.MustCompile(`https?://([^\s/]+)/explorer/`)

// start starts a process and waits until it takes requests. It is stopped with the test.
func (h *home) start() *server {
	h.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		h.Fatal(err)
	}
	return h.startIn(out, in)
}

// startIn is start with a standard output: in is the process's end of it, out the test's.
func (h *home) startIn(out, in *os.File) *server {
	h.Helper()
	s := &server{home: h, cmd: exec.Command(binary), log: &logFile{}, said: &logFile{}}
	s.cmd.Env, s.cmd.Stderr, s.cmd.Stdout = h.env, s.log, in
	if err := errors.Join(s.cmd.Start(), in.Close()); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = out.Close() })
	h.Cleanup(func() {
		if !s.ended {
			s.stop()
		}
		if volume := s.mark(); volume != "" {
			h.marks.Store(volume, true)
		}
		if h.Failed() {
			h.Logf("the server's log ends with\n%s", tail(s.log.String(), 60))
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		_, _ = s.said.Write(append(lines.Bytes(), '\n'))
		if found := linkLine.FindStringSubmatch(lines.Text()); found != nil {
			s.address = found[1]
		}
		if strings.Contains(lines.Text(), "Tokens") {
			return s
		}
	}
	h.Fatalf("the server ended before it served:\n%s", s.log)
	return nil
}

// terminal opens a pseudo terminal: our end of it, and that of whoever writes to it.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// volumeName is what the log names the mark by.
var volumeName = regexp.MustCompile(`aicli-inst_\w+`)

// mark is the name of the volume that a server has made its mark, or of the one that it has found.
func (s *server) mark() string { return volumeName.FindString(s.log.String()) }

// stop asks the process to end, and expects it to end well.
func (s *server) stop() {
	s.Helper()
	s.end(syscall.SIGTERM)
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.Errorf("told to stop, the server ended with %d", code)
	}
	if strings.Contains(s.log.String(), "DATA RACE") {
		s.Errorf("the server has a data race:\n%s", tail(s.log.String(), 100))
	}
}

// kill ends the process as a power cut does.
func (s *server) kill() { s.end(syscall.SIGKILL) }

func (s *server) end(signal os.Signal) {
	s.Helper()
	s.ended = true
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.Error(err)
	}
	late := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	if err := s.cmd.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			s.Error(err)
		}
	}
}
