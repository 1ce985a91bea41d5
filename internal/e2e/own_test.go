package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOneServerADataDirectory: a second server on one SQLite file would hear of the first one's changes late.
func TestOneServerADataDirectory(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	s := h.start()
	refused := func(what string, args ...string) {
		t.Helper()
		out, code := h.run(args...)
		if code != 1 || !strings.Contains(out, fmt.Sprintf("Process %d has the database in %s", s.cmd.Process.Pid, h.data)) {
			t.Errorf("%s: code %d\n%s", what, code, out)
		}
	}
	refused("a second server", "serve")
	refused("a migration", "migrate")
	if out, code := h.run("migrate", "--status"); code != 0 || !strings.Contains(out, "The database is at step ") {
		t.Errorf("the status: code %d\n%s", code, out)
	}
	copied := h.data + "/copy.db"
	if out, code := h.run("backup", copied); code != 0 || !strings.Contains(out, "is copied to "+copied) {
		t.Errorf("a backup: code %d\n%s", code, out)
	}
	if err := unix.Kill(s.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	refused("a second server beside one that stands still", "serve")
	s.kill()
	again := h.start()
	if id := again.as("ann").must("create", map[string]any{"name": "w", "start": false, "wait": "PT30S"}).Workspace.ID; id == "" {
		t.Error("it does not serve")
	} else {
		again.as("ann").must("delete", map[string]any{"id": id, "wait": "PT30S"})
	}
}
