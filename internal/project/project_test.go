package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const owner = "alice"

// open gives a root in a directory of its own, and where it really is.
func open(t *testing.T) (*Root, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "projects")
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, dir
}

// home gives a root, and the directory of owner in it.
func home(t *testing.T) (*Root, string) {
	t.Helper()
	r, dir := open(t)
	dir = filepath.Join(dir, owner)
	mkdir(t, dir)
	return r, dir
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// tree lists all that is below dir.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		b.WriteString(path + " " + entry.Type().String() + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// refused asks for a PathError that names no path of the host.
func refused(t *testing.T, err error, host string) {
	t.Helper()
	pathError, ok := errors.AsType[*PathError](err)
	if !ok {
		t.Fatalf("not refused as a path: %v", err)
	}
	if strings.Contains(pathError.Reason, host) || !strings.HasSuffix(pathError.Reason, ".") {
		t.Errorf("the reason names the host's path or is no sentence: %s", pathError.Reason)
	}
}

func TestForm(t *testing.T) {
	t.Run("plain relative paths are accepted", func(t *testing.T) {
		r, dir := open(t)
		for _, path := range []string{
			"a", "a/b/c", "..a", "a..", "...", ".hidden", "a b", "Büro/日本", "~", "-", "a:b", strings.Repeat("x", 255), strings.Repeat("x/", 127) + "x",
		} {
			if err := r.Check(owner, path); err != nil {
				t.Errorf("%q: %v", path, err)
			}
		}
		if got := tree(t, dir); strings.Count(got, "\n") != 1 {
			t.Errorf("a check made something:\n%s", got)
		}
	})
	for _, path := range []string{
		"", ".", "./", "..", "../", "../x", "a/../..", "a/../../x", "/", "/etc", "//a", "a/", "a//b", "./a", "a/.", "a/..", "a/../b", "a/./b",
		`a\b`, `..\x`, "a\x00b", "a\nb", "a\x7fb", "a\u0085b", "a\xffb", strings.Repeat("x", 256), strings.Repeat("é", 128), strings.Repeat("é/", 85) + "x",
	} {
		t.Run("refused: "+path[:min(len(path), 20)], func(t *testing.T) {
			r, dir := open(t)
			refused(t, r.Check(owner, path), dir)
			_, err := r.Make(owner, path)
			refused(t, err, dir)
			refused(t, r.RemoveEmpty(owner, path), dir)
			if got := tree(t, dir); strings.Count(got, "\n") != 1 {
				t.Errorf("something was made:\n%s", got)
			}
		})
	}
}

func TestMake(t *testing.T) {
	t.Run("a directory is made below the owner's own", func(t *testing.T) {
		r, dir := open(t)
		got, err := r.Make(owner, "team/work")
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(dir, "alice", "team", "work"); got != want {
			t.Errorf("it is at %s, not %s", got, want)
		}
		for path, want := range map[string]fs.FileMode{got: 0o777, filepath.Dir(filepath.Dir(got)): 0o700, dir: 0o700} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if !info.IsDir() || info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
			}
		}
	})
	t.Run("made twice, it is the same, with its content and mode", func(t *testing.T) {
		r, _ := open(t)
		first, err := r.Make(owner, "work")
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(first, "file"))
		if err := os.Chmod(first, 0o750); err != nil { // a directory that is looked at by its owner's group
			t.Fatal(err)
		}
		second, err := r.Make(owner, "work")
		if err != nil || second != first {
			t.Fatalf("it is at %s, then at %s: %v", first, second, err)
		}
		info, err := os.Stat(first)
		if err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if _, err := os.Stat(filepath.Join(first, "file")); err != nil {
			t.Error(err)
		}
	})
	t.Run("owners do not share", func(t *testing.T) {
		r, _ := open(t)
		mine, err := r.Make("alice", "work")
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := r.Make("bob", "work")
		if err != nil || mine == theirs {
			t.Errorf("both are at %s: %v", mine, err)
		}
	})
	t.Run("the root may be named by a relative path and lie behind a link", func(t *testing.T) {
		base, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		mkdir(t, filepath.Join(base, "real"))
		link(t, "real", filepath.Join(base, "linked"))
		t.Chdir(base)
		r, err := Open("linked/projects")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		got, err := r.Make(owner, "work")
		if want := filepath.Join(base, "real", "projects", owner, "work"); err != nil || got != want {
			t.Errorf("it is at %s, not %s: %v", got, want, err)
		}
	})
	t.Run("a root that cannot be made is a fault", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		write(t, file)
		if _, err := Open(filepath.Join(file, "projects")); err == nil {
			t.Error("it was opened")
		}
	})
}

func TestLinks(t *testing.T) {
	// Each lays out the owner's directory, beside which lie alice2 (a prefix in letters only), outside and a file.
	for name, c := range map[string]struct{ target, path string }{
		"an absolute link out":                         {"/usr", "link"},
		"an absolute link out, in the middle":          {"/usr", "link/share"},
		"a relative link out":                          {"../outside", "link"},
		"a relative link out, in the middle":           {"../outside", "link/sub"},
		"a link to a neighbour with a longer name":     {"../alice2", "link"},
		"a link to the root of all owners":             {"..", "link/bob"},
		"a link out to what is not there":              {"../nothing", "link"},
		"a link that goes out and comes back":          {"../alice/inside", "link"},
		"a link to itself":                             {"link", "link"},
		"a link to nothing":                            {"nothing", "link/sub"},
		"a link to a file":                             {"file", "link"},
		"a link through a file":                        {"file/x", "link"},
		"a file on the way":                            {"inside", "file/sub"},
		"a file at the end":                            {"inside", "file"},
		"a link through another link that leads out":   {"out/sub", "link"},
		"a link in a directory, which climbs too high": {"inside", "inside/climb/x"},
		"a link that stays inside":                     {"inside", "link"},
		"a link that stays inside, in the middle":      {"inside", "link/sub"},
		"a link to the owner's projects as a whole":    {".", "link"},
		"a link to a device":                           {"/dev/null", "link"},
		"a link to the engine's socket":                {"/var/run/docker.sock", "link"},
	} {
		t.Run(name+" is refused and nothing is made", func(t *testing.T) {
			r, dir := home(t)
			base := filepath.Dir(dir)
			mkdir(t, filepath.Join(base, "outside", "sub"))
			mkdir(t, filepath.Join(base, "alice2"))
			mkdir(t, filepath.Join(dir, "inside"))
			write(t, filepath.Join(dir, "file"))
			link(t, "../outside", filepath.Join(dir, "out"))
			link(t, "../../alice2", filepath.Join(dir, "inside", "climb"))
			link(t, c.target, filepath.Join(dir, "link"))
			before := tree(t, base)
			refused(t, r.Check(owner, c.path), base)
			_, err := r.Make(owner, c.path)
			refused(t, err, base)
			_, err = r.Find(owner, c.path)
			refused(t, err, base)
			if err := r.RemoveEmpty(owner, c.path); err != nil { // which does nothing to a link at the end
				refused(t, err, base)
			}
			if after := tree(t, base); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}

	t.Run("an owner's directory that leads out of the root is a fault, and is not followed", func(t *testing.T) {
		r, dir := open(t)
		outside := t.TempDir()
		link(t, outside, filepath.Join(dir, owner))
		_, err := r.Make(owner, "work")
		if _, ok := errors.AsType[*PathError](err); err == nil || ok {
			t.Errorf("it gave %v", err)
		}
		if err := r.Check(owner, "work"); err == nil {
			t.Error("it was accepted")
		}
		if got := tree(t, outside); strings.Count(got, "\n") != 1 {
			t.Errorf("something was made outside:\n%s", got)
		}
	})
}

// TestSwapped swaps a directory and a link while the path is used, as who may write to a project above it could.
func TestSwapped(t *testing.T) {
	r, dir := home(t)
	outside := t.TempDir()
	for _, path := range []string{"team", "real/sub"} {
		mkdir(t, filepath.Join(dir, path))
	}
	link(t, outside, filepath.Join(dir, "bait"))
	at := filepath.Join(dir, "team")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default: // directory, link, directory, …
				_ = os.Rename(at, filepath.Join(dir, "kept"))
				_ = os.Rename(filepath.Join(dir, "bait"), at)
				_ = os.Rename(at, filepath.Join(dir, "bait"))
				_ = os.Rename(filepath.Join(dir, "kept"), at)
			}
		}
	}()
	for range 2000 {
		made, err := r.enter(owner, "team/sub", makeMissing)
		if err != nil {
			continue
		}
		if err := made.Mkdir("mark", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		_ = made.Close()
	}
	close(stop)
	<-done
	if got := tree(t, outside); strings.Count(got, "\n") != 1 {
		t.Errorf("something was made outside:\n%s", got)
	}
}

func TestFind(t *testing.T) {
	r, dir := home(t)
	made, err := r.Make(owner, "team/work")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a directory that was made is found", func(t *testing.T) {
		if got, err := r.Find(owner, "team/work"); err != nil || got != made {
			t.Errorf("got %s, %v", got, err)
		}
	})
	t.Run("one that is missing is refused, and not made", func(t *testing.T) {
		for _, who := range []string{owner, "nobody"} {
			_, err := r.Find(who, "team/gone")
			refused(t, err, dir)
		}
		if _, err := os.Lstat(filepath.Join(dir, "team", "gone")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// TestMounted looks through the root of this very process, whose control group's name has a slash in it.
func TestMounted(t *testing.T) {
	r, dir := home(t)
	made, err := r.Make(owner, "team/work")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	mkdir(t, other)
	link(t, made, filepath.Join(dir, "link"))
	link(t, "other", filepath.Join(dir, "swapped"))
	self := Process{Container: "/", Pid: os.Getpid()}
	for name, c := range map[string]struct {
		path, target string
		process      Process
		same, known  bool
	}{
		"the directory itself":                {"team/work", made, self, true, true},
		"another directory":                   {"team/work", other, self, false, true},
		"a link to the directory":             {"team/work", filepath.Join(dir, "link"), self, false, true},
		"the root":                            {"team/work", "/", self, false, true},
		"nothing":                             {"team/work", filepath.Join(dir, "nothing"), self, false, true},
		"a path that leads elsewhere by now":  {"swapped", other, self, false, true},
		"a process of another container":      {"team/work", made, Process{Container: strings.Repeat("0", 64), Pid: os.Getpid()}, false, false},
		"a process that is not there":         {"team/work", made, Process{Container: "/", Pid: 1 << 30}, false, false},
		"a container that does not run":       {"team/work", made, Process{Container: "/"}, false, false},
		"a process of nobody knows what":      {"team/work", made, Process{Pid: os.Getpid()}, false, false},
		"a swapped path, and nothing visible": {"swapped", other, Process{Container: "/", Pid: 1 << 30}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if same, known, err := r.Mounted(owner, c.path, c.target, c.process); err != nil || same != c.same || known != c.known {
				t.Errorf("same %v, known %v, %v", same, known, err)
			}
		})
	}
	if _, known, err := r.Mounted(owner, "team/gone", made, self); known || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is gone: known %v, %v", known, err)
	}
}

func TestRemoveEmpty(t *testing.T) {
	r, dir := home(t)
	made, err := r.Make(owner, "team/work")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("one with something in it stays", func(t *testing.T) {
		if err := r.RemoveEmpty(owner, "team"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(made); err != nil {
			t.Error(err)
		}
	})
	t.Run("an empty one goes, and only that", func(t *testing.T) {
		for range 2 {
			if err := r.RemoveEmpty(owner, "team/work"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(made); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
		if _, err := os.Stat(filepath.Dir(made)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a link stays, and so does what it leads to", func(t *testing.T) {
		mkdir(t, filepath.Join(dir, "real"))
		link(t, "real", filepath.Join(dir, "near"))
		before := tree(t, dir)
		if err := r.RemoveEmpty(owner, "near"); err != nil {
			t.Fatal(err)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
	t.Run("an owner who has nothing is no error", func(t *testing.T) {
		if err := r.RemoveEmpty("nobody", "work"); err != nil {
			t.Error(err)
		}
	})
}
