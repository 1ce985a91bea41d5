package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	engineKills = 20
	// engineLifeMost is how long an engine lives at most before it is killed.
	engineLifeMost = 2 * time.Second
	// askEvery is how often something is asked for meanwhile.
	askEvery = 100 * time.Millisecond
)

// daemons counts them: they run beside one another.
var daemons atomic.Int32

// daemon is a Docker daemon of the test's own, beside that of the machine: with data and a socket of its own, and in a network namespace, with
// which all bridges end that it has forgotten.
type daemon struct {
	*testing.T
	dir, space, socket string
	cmd                *exec.Cmd
	log                *logFile
}

// bridge is the daemon's own in its namespace, where nobody makes another.
const bridge = "own"

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("A Docker daemon of the test's own can only be started by root. Run the tests as root, as CI does.")
	}
	dir := t.TempDir()
	d := &daemon{T: t, dir: dir, space: fmt.Sprintf("aicli-test-%d-%d", os.Getpid(), daemons.Add(1)), socket: filepath.Join(dir, "d.sock"), log: &logFile{}}
	t.Cleanup(d.clean)
	d.must("ip", "netns", "add", d.space)
	d.must("ip", "-n", d.space, "link", "set", "lo", "up")
	d.must("ip", "-n", d.space, "link", "add", bridge, "type", "bridge")
	d.must("ip", "-n", d.space, "address", "add", "10.209.255.1/24", "dev", bridge)
	d.must("ip", "-n", d.space, "link", "set", bridge, "up")
	d.start()
	d.loadImage()
	return d
}

func (d *daemon) loadImage() {
	d.Helper()
	d.must("sh", "-c", "docker save "+image+" | docker -H "+d.host()+" load")
}

func (d *daemon) host() string { return "unix://" + d.socket }

func (d *daemon) must(name string, args ...string) {
	d.Helper()
	if out, err := exec.CommandContext(d.Context(), name, args...).CombinedOutput(); err != nil {
		d.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// start starts the daemon and waits until it answers.
func (d *daemon) start() {
	d.Helper()
	d.cmd = exec.Command("nsenter", "--net=/run/netns/"+d.space, "dockerd", "-b", bridge, "--iptables=false", "--ip6tables=false", "--data-root", filepath.Join(d.dir, "data"),
		"--exec-root", filepath.Join(d.dir, "exec"), "--pidfile", filepath.Join(d.dir, "pid"), "-H", d.host())
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts outlives it as it would elsewhere
	d.cmd.WaitDelay = time.Second                           // and keeps its output open
	if err := d.cmd.Start(); err != nil {
		d.Fatal(err)
	}
	waitUntil(d.T, func() bool {
		return exec.CommandContext(d.Context(), "docker", "-H", d.host(), "version").Run() == nil
	})
}

// stop ends the daemon as its operator does, and kills it when it does not end.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	late := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	defer late.Stop()
	return d.cmd.Wait()
}

// kill ends the daemon as a power cut does; what it started lives on.
func (d *daemon) kill() {
	d.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.Error(err)
	}
	_ = d.cmd.Wait() // killed, which is an error
	// Its containerd ends with it. The next one takes a number that is still in a file for one that runs, and waits for it.
	for _, file := range []string{"pid", "exec/containerd/containerd.pid"} {
		path := filepath.Join(d.dir, file)
		pid, err := os.ReadFile(path)
		if err != nil {
			d.Error(err)
			continue
		}
		waitUntil(d.T, func() bool {
			stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
		if err := os.Remove(path); err != nil {
			d.Error(err)
		}
	}
}

// clean ends the daemon with all that it started, and leaves nothing of it.
func (d *daemon) clean() {
	if d.cmd != nil && d.cmd.ProcessState == nil {
		_ = d.stop()
	}
	if d.Failed() {
		d.Logf("the engine's log ends with\n%s", tail(d.log.String(), 40))
	}
	if n := d.killForgotten(); n > 0 {
		d.Logf("%d processes that the engine had forgotten when it was killed were ended", n)
	}
	d.unmount()
	if out, err := exec.Command("ip", "netns", "delete", d.space).CombinedOutput(); err != nil {
		d.Errorf("%v: %s", err, out)
	}
}

// killForgotten ends what a killed daemon has left running and its successor knows nothing of: shims, and what runs in their containers.
func (d *daemon) killForgotten() (killed int) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		d.Error(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		d.Error(err)
	}
	for _, p := range processes {
		command, _ := os.ReadFile(p + "/cmdline") // it may end meanwhile, here and below
		space, _ := os.Readlink(p + "/ns/mnt")
		mounts, _ := os.ReadFile(p + "/mountinfo")
		if !strings.Contains(string(command), d.dir) && (space == own || !strings.Contains(string(mounts), "upperdir="+d.dir)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(p)); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

// wipe stops the daemon and removes all that it has kept.
func (d *daemon) wipe() {
	d.Helper()
	if err := d.stop(); err != nil {
		d.Error(err)
	}
	d.unmount()
	if err := os.RemoveAll(filepath.Join(d.dir, "data")); err != nil {
		d.Fatal(err)
	}
}

// TestTheEnginesDataIsLost has an engine forget all that it had. What should run is made again, what was stopped by its next start.
func TestTheEnginesDataIsLost(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	h := newHomeOn(t, d.host(), "AICLI_RESYNC_INTERVAL=1s")
	ann := h.start().as("ann")
	runs := ann.must("create", map[string]any{"name": "runs", "wait": "PT30S"}).Workspace
	stopped := ann.must("create", map[string]any{"name": "stopped", "start": false, "wait": "PT30S"}).Workspace
	d.wipe()
	d.start()
	d.loadImage()
	waitUntil(t, func() bool {
		now, was := ann.workspace(runs.ID), ann.workspace(stopped.ID)
		return now.Status == "ACTIVE" && now.Container != nil && now.Container.ID != runs.Container.ID && was.Status == "INACTIVE" && was.Container == nil
	})
	if now := ann.must("start", map[string]any{"id": stopped.ID, "wait": "PT30S"}).Workspace; now.Status != "ACTIVE" {
		t.Errorf("got %+v", now)
	}
	ids := []string{runs.ID, stopped.ID}
	for _, id := range ids {
		if containers, networks := h.left(id); len(containers) != 1 || len(networks) != 1 || !containers[0].On(networks[0]) {
			t.Errorf("of %s the engine has %+v on %+v", id, containers, networks)
		}
	}
	ann.deleteAll(ids)
}

// TestTheEngineIsKilled kills the engine and starts it again, time after time, while a server that lives is asked for everything that there
// is. At the end every workspace is as it was last asked to be, and containers, networks and rows agree one to one, but for what the
// engine has lost of workspaces that are stopped. AICLI_SEED=n runs one seed.
func TestTheEngineIsKilled(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	h := newHomeOn(t, d.host(), "AICLI_RESYNC_INTERVAL=2s", "AICLI_ORPHAN_GRACE=5s")
	r := &restless{T: t, home: h, draw: rand.New(rand.NewPCG(seedOf(t), 0)), asked: make(map[string]string), done: make(map[string]int), forgetful: true}
	ann := h.start().as("ann")
	for range engineKills {
		r.whileAsking(ann, time.Duration(r.draw.Int64N(int64(engineLifeMost))))
		d.kill()
		r.whileAsking(ann, time.Duration(r.draw.Int64N(int64(engineLifeMost/4))))
		d.start()
	}
	rows := r.settle(ann)
	waitUntil(t, func() bool { return r.agreed(rows) })
	r.compare(rows)
	t.Logf("asked for %v", r.done)
	ann.deleteAll(slices.Collect(maps.Keys(rows)))
}

// whileAsking asks for one thing after another, at a bounded rate, for so long.
func (r *restless) whileAsking(c *client, d time.Duration) {
	r.Helper()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		if err := r.ask(c); err != nil {
			r.Fatalf("a server whose engine is away does not answer: %v", err)
		}
	}
}

// unmount lets go of what an engine that has ended has left mounted.
func (d *daemon) unmount() {
	d.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		d.Error(err)
	}
	for _, line := range slices.Backward(strings.Split(string(mounts), "\n")) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], d.dir) {
			_ = unix.Unmount(fields[4], unix.MNT_DETACH)
		}
	}
}
