// Package project owns the directories that workspaces mount: one directory an owner below a common root, and the owner's
// projects below that. Nothing that it checks, makes or removes is outside the owner's directory, whatever links lie on the
// way. It never looks into a project, and knows neither workspaces nor engines.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// Others on the host cannot get into an owner's directory, so what is below it may be open.
	ownerMode fs.FileMode = 0o700
	// parentMode is that of directories on the way to a project.
	parentMode fs.FileMode = 0o755
	// projectMode lets the container's user write whatever its id is: it sees the project and nothing around it.
	projectMode fs.FileMode = 0o777
)

// PathError says why a path was refused, in a sentence that may be shown to its owner. It names no path of the host. Every
// other error of this package is a fault of the machine.
type PathError struct{ Reason string }

func (e *PathError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &PathError{Reason: fmt.Sprintf(format, args...)}
}

// Root is the directory that all owners' directories lie in. All methods may be called from many goroutines.
type Root struct {
	dir  *os.Root
	path string // absolute and free of links
}

// Open makes the directory if there is none. Close lets go of it.
func Open(root string) (*Root, error) {
	if err := os.MkdirAll(root, ownerMode); err != nil {
		return nil, fmt.Errorf("make the root of the projects: %w", err)
	}
	path, err := filepath.Abs(root)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, fmt.Errorf("find the root of the projects: %w", err)
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the root of the projects: %w", err)
	}
	return &Root{dir: dir, path: path}, nil
}

// Close lets go of the root. No call may be made after it.
func (r *Root) Close() error { return r.dir.Close() }

// Check says whether Make could make path for owner as things are now. It changes nothing.
func (r *Root) Check(owner, path string) error {
	if err := checkForm(path); err != nil {
		return err
	}
	own, err := r.open(owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }() // nothing was written
	return checkWay(own, path)
}

// Make makes the owner's directory path, with those on the way, unless it exists, and returns where it is on this host:
// absolute and free of links, for a container to mount.
func (r *Root) Make(owner, path string) (string, error) {
	if err := checkForm(path); err != nil {
		return "", err
	}
	name, err := dirName(owner)
	if err != nil {
		return "", err
	}
	if err := r.dir.MkdirAll(name, ownerMode); err != nil {
		return "", fmt.Errorf("make an owner's directory: %w", err)
	}
	own, err := r.open(owner)
	if err != nil {
		return "", err
	}
	defer func() { _ = own.Close() }() // a directory: nothing is waiting to be written
	if err := checkWay(own, path); err != nil {
		return "", err
	}
	opened, err := makeAndOpen(own, path)
	if err != nil {
		return "", err
	}
	defer func() { _ = opened.Close() }() // as above
	return locate(filepath.Join(r.path, name), path, opened)
}

// RemoveEmpty removes the owner's directory path if there is nothing in it. What is not there, not empty or not a directory
// is left as it is, without an error.
func (r *Root) RemoveEmpty(owner, path string) error {
	if err := checkForm(path); err != nil {
		return err
	}
	own, err := r.open(owner)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }() // the removal is done or not by then
	if err := checkWay(own, path); err != nil {
		return err
	}
	info, err := own.Lstat(path)
	if err == nil && info.IsDir() {
		err = own.Remove(path)
	}
	// A directory with something in it counts as one that exists.
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("remove an empty project directory: %w", err)
}

// open opens the owner's directory; fs.ErrNotExist when there is none yet.
func (r *Root) open(owner string) (*os.Root, error) {
	name, err := dirName(owner)
	if err != nil {
		return nil, err
	}
	own, err := r.dir.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open an owner's directory: %w", err)
	}
	return own, nil
}

// makeAndOpen sets the mode of what it makes itself, and leaves that of what exists to its owner.
func makeAndOpen(own *os.Root, path string) (*os.Root, error) {
	_, err := own.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err := own.MkdirAll(path, parentMode); err != nil {
		return nil, fmt.Errorf("make a project directory: %w", err)
	}
	if missing {
		// Not by MkdirAll: the umask takes bits from that.
		if err := own.Chmod(path, projectMode); err != nil {
			return nil, fmt.Errorf("open a project directory to its container: %w", err)
		}
	}
	opened, err := own.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open a project directory: %w", err)
	}
	return opened, nil
}

// locate finds where the opened directory really is, and makes sure that this is the very directory that was opened and that
// it lies below the owner's. The engine mounts by name: a name with a link in it could lead elsewhere by then.
func locate(owner, path string, opened *os.Root) (string, error) {
	base, err := filepath.EvalSymlinks(owner)
	if err != nil {
		return "", fmt.Errorf("find an owner's directory: %w", err)
	}
	found, err := filepath.EvalSymlinks(filepath.Join(base, filepath.FromSlash(path)))
	if err != nil {
		return "", fmt.Errorf("find a project directory: %w", err)
	}
	below, err := filepath.Rel(base, found)
	if err != nil || below == "." || !filepath.IsLocal(below) {
		return "", refuse("The path leads out of your projects: choose another one.")
	}
	have, err := opened.Stat(".")
	if err != nil {
		return "", fmt.Errorf("look at a project directory: %w", err)
	}
	want, err := os.Lstat(found)
	if err != nil {
		return "", fmt.Errorf("look at a project directory: %w", err)
	}
	if !os.SameFile(have, want) {
		return "", fmt.Errorf("a project directory was replaced while it was made: %w", syscall.ESTALE)
	}
	return found, nil
}
