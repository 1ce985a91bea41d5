package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Process is the first process of a container, as its engine names it.
type Process struct {
	Container string // the container's id, which is part of the name of its control group
	Pid       int    // on the engine's host
}

// Mounted says whether a process has exactly the owner's directory path mounted at target: the same device and inode, seen through the
// process's own root. known is false where that cannot be told: the engine is on another machine, the server may not look into its
// processes, or the process has ended. It is fs.ErrNotExist when there is no such directory.
func (r *Root) Mounted(owner, path, target string, p Process) (same, known bool, err error) {
	dir, err := r.enter(owner, path, mustExist)
	if _, refused := errors.AsType[*PathError](err); refused {
		return false, p.Visible(), nil // there is something else by now
	}
	if err != nil {
		return false, false, err
	}
	defer func() { _ = dir.Close() }() // a directory: nothing is waiting to be written
	want, err := dir.Stat(".")
	if err != nil {
		return false, false, fmt.Errorf("look at a project directory: %w", err)
	}
	if !p.Visible() {
		return false, false, nil
	}
	have, err := os.Lstat(fmt.Sprintf("/proc/%d/root%s", p.Pid, target))
	if !p.Visible() { // it has ended, and the number may be another process's
		return false, false, nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, true, nil
	case err != nil: // it may not be looked into
		return false, false, nil
	default:
		return os.SameFile(want, have), true, nil
	}
}

// Visible reports whether the process is one of this machine, of that container, and may be looked into.
func (p Process) Visible() bool {
	if p.Pid <= 0 || p.Container == "" {
		return false
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.Pid))
	if err != nil || !strings.Contains(string(groups), p.Container) {
		return false
	}
	_, err = os.Lstat(fmt.Sprintf("/proc/%d/root/", p.Pid))
	return err == nil
}
