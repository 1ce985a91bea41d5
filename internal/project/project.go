// Package project owns the directories that workspaces mount: one directory an owner below a common root, and the owner's
// projects below that. It follows no link below the root: a path with a link in it is refused, so a path names one directory,
// and nothing that is checked, made or removed is outside the owner's directory. It never looks into a project, and knows
// neither workspaces nor engines.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	dir, err := r.enter(owner, path, mustExist)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return dir.Close()
}

// Make makes the owner's directory path, with those on the way, unless it exists, and returns where it is on this host:
// absolute and free of links, for a container to mount.
func (r *Root) Make(owner, path string) (string, error) { return r.locate(owner, path, makeMissing) }

// Find is Make for a directory that was made before. It is refused when it is missing.
func (r *Root) Find(owner, path string) (string, error) {
	found, err := r.locate(owner, path, mustExist)
	if errors.Is(err, fs.ErrNotExist) {
		return "", refuse("The project directory is missing on the server. Put it back at %s, or delete the workspace and create another one.", path)
	}
	return found, err
}

// RemoveEmpty removes the owner's directory path if there is nothing in it. What is not there, not empty or not a directory
// is left as it is, without an error.
func (r *Root) RemoveEmpty(owner, path string) error {
	if err := checkForm(path); err != nil {
		return err
	}
	above, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		above, name = path[:i], path[i+1:]
	}
	dir, err := r.enterParts(owner, above, mustExist)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // the removal is done or not by then
	info, err := dir.Lstat(name)
	if err == nil && info.IsDir() {
		err = dir.Remove(name)
	}
	// A directory with something in it counts as one that exists.
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("remove an empty project directory: %w", err)
}

// locate opens the directory and says where it is. The engine mounts by name, so the name must lead to the very directory
// that was opened.
func (r *Root) locate(owner, path string, missing onMissing) (string, error) {
	dir, err := r.enter(owner, path, missing)
	if err != nil {
		return "", err
	}
	defer func() { _ = dir.Close() }() // a directory: nothing is waiting to be written
	name, err := dirName(owner)
	if err != nil {
		return "", err
	}
	found := filepath.Join(r.path, name, filepath.FromSlash(path))
	have, err := dir.Stat(".")
	if err != nil {
		return "", fmt.Errorf("look at a project directory: %w", err)
	}
	named, err := os.Lstat(found)
	if err != nil {
		return "", fmt.Errorf("look at a project directory: %w", err)
	}
	if !os.SameFile(have, named) {
		return "", errReplaced
	}
	return found, nil
}

// errReplaced is a fault of the moment: whoever tries again finds what is there now.
var errReplaced = fmt.Errorf("a project directory was replaced while it was looked at: %w", syscall.ESTALE)

// onMissing says what to do about a directory that is not there.
type onMissing bool

const (
	mustExist   onMissing = false // fs.ErrNotExist
	makeMissing onMissing = true
)

// enter opens the owner's directory path.
func (r *Root) enter(owner, path string, missing onMissing) (*os.Root, error) {
	if err := checkForm(path); err != nil {
		return nil, err
	}
	return r.enterParts(owner, path, missing)
}

// enterParts opens one directory after another, from the root on, and follows no link: each is opened in the one before, and must be
// the directory that was seen there.
func (r *Root) enterParts(owner, path string, missing onMissing) (*os.Root, error) {
	name, err := dirName(owner)
	if err != nil {
		return nil, err
	}
	if missing == makeMissing {
		if err := r.dir.Mkdir(name, ownerMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make an owner's directory: %w", err)
		}
	}
	at, err := enterPart(r.dir, name)
	if err != nil { // not the owner's to put right
		return nil, fmt.Errorf("open an owner's directory: %w", err)
	}
	for end := 0; end < len(path) && path != "."; end++ {
		begin := end
		if next := strings.IndexByte(path[end:], '/'); next >= 0 {
			end += next
		} else {
			end = len(path)
		}
		next, err := enterOrMake(at, path[begin:end], end == len(path), missing)
		_ = at.Close() // nothing was written
		if err != nil {
			return nil, explain(err, path[:end])
		}
		at = next
	}
	return at, nil
}

// enterOrMake sets the mode of what it makes itself, and leaves that of what exists to its owner.
func enterOrMake(at *os.Root, name string, last bool, missing onMissing) (*os.Root, error) {
	made := false
	if missing == makeMissing {
		err := at.Mkdir(name, parentMode)
		if made = err == nil; err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make a project directory: %w", err)
		}
	}
	next, err := enterPart(at, name)
	if err != nil || !made || !last {
		return next, err
	}
	if err := next.Chmod(".", projectMode); err != nil { // not by Mkdir: the umask takes bits from that
		_ = next.Close()
		return nil, fmt.Errorf("open a project directory to its container: %w", err)
	}
	return next, nil
}

// What enterPart refuses.
var (
	errLink = errors.New("it is a link")
	errFile = errors.New("it is a file")
)

// enterPart opens a directory that lies in another one: errLink or errFile when it is none, fs.ErrNotExist when it is not there.
func enterPart(at *os.Root, name string) (*os.Root, error) {
	seen, err := at.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case seen.Mode()&fs.ModeSymlink != 0:
		return nil, errLink
	case !seen.IsDir():
		return nil, errFile
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	have, err := next.Stat(".")
	if err == nil && !os.SameFile(seen, have) { // OpenRoot follows links
		err = errReplaced
	}
	if err != nil {
		_ = next.Close()
		return nil, err
	}
	return next, nil
}

// explain says what is wrong with a path up to a part of it.
func explain(err error, path string) error {
	switch {
	case errors.Is(err, errLink):
		return refuse("The path goes through %s, which is a link. Choose a path without links.", path)
	case errors.Is(err, errFile):
		return refuse("The path goes through %s, which is a file. Choose another path.", path)
	default:
		return fmt.Errorf("open a project directory: %w", err)
	}
}
