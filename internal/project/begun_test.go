package project

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBegun has a shell stand for an init: its child is a copy of it until that becomes another program.
func TestBegun(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(script string) (p Process, end func()) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := false
		end = func() {
			if !ended {
				ended = true
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				_ = cmd.Wait()
			}
		}
		t.Cleanup(end)
		return Process{Container: "/", Pid: cmd.Process.Pid}, end
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		late := time.After(time.Minute)
		for !holds() {
			select {
			case <-late:
				t.Fatalf("%s: never", what)
			case <-time.After(time.Millisecond):
			}
		}
	}
	hasChild := func(p Process) bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.Pid, p.Pid))
		return err == nil && len(children) > 0
	}
	waits, end := start("(read -r line <" + gate + "; exec sleep 600) & wait")
	until("the child is there", func() bool { return hasChild(waits) })
	if begun, known := waits.Begun(); begun || !known {
		t.Errorf("while its child is a copy of it: begun %v, known %v", begun, known)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	until("it has begun", func() bool { begun, known := waits.Begun(); return begun && known })
	end()
	childless, end := start("read -r line <" + gate)
	until("the shell is one", func() bool { begun, known := childless.Begun(); return !begun && known })
	end()
	for name, p := range map[string]Process{
		"one that has ended": waits, "one of another container": {Container: "0123456789abcdef", Pid: os.Getpid()}, "none": {Container: "/"},
	} {
		if begun, known := p.Begun(); begun || known {
			t.Errorf("%s: begun %v, known %v", name, begun, known)
		}
	}
}

// TestBegunOfWhatBecomesAnotherProgram has a process become one program after another. Each time it has no command line for a moment, and has not ended.
func TestBegunOfWhatBecomesAnotherProgram(t *testing.T) {
	script := filepath.Join(t.TempDir(), "again")
	if err := os.WriteFile(script, []byte(`[ "$1" -gt 0 ] || { read -r line; exit 0; }; exec sh "$0" $(($1 - 1))`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", script, "50")
	ends, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := Process{Container: "/", Pid: cmd.Process.Pid}
	last := func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
		return err != nil || strings.HasSuffix(string(line), "\x000\x00")
	}
	for !last() {
		if begun, known := p.Begun(); begun || !known {
			t.Fatalf("while it becomes another program: begun %v, known %v", begun, known)
		}
	}
	if err := ends.Close(); err != nil {
		t.Error(err)
	}
	for late := time.Now().Add(time.Minute); !p.ended(); runtime.Gosched() { // it is not waited for yet
		if time.Now().After(late) {
			t.Fatal("it never ended")
		}
	}
	if begun, known := p.Begun(); begun || known {
		t.Errorf("when it has ended: begun %v, known %v", begun, known)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
