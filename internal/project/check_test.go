package project

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirName(t *testing.T) {
	t.Run("names are readable, safe and documented", func(t *testing.T) {
		for owner, want := range map[string]string{
			"alice": "alice", "a.b-c_d@e.org": "a.b-c_d@e.org", "Ann-Lee": "%41nn-%4Cee", ".": "%2E", "..": "%2E.", "-rf": "%2Drf", "a/b": "a%2Fb",
			"../x": "%2E.%2Fx", "%41": "%2541", "+x": "%2Bx", "é": "%C3%A9", "a b": "a%20b", `a\b`: "a%5Cb",
		} {
			if got, err := dirName(owner); err != nil || got != want {
				t.Errorf("%q: %q, %v; want %q", owner, got, err, want)
			}
		}
	})
	t.Run("long owners are told apart by a hash", func(t *testing.T) {
		seen := map[string]string{}
		for _, owner := range []string{
			strings.Repeat("日", 128), strings.Repeat("日", 127) + "本", strings.Repeat("A", 128), strings.Repeat("a", 128), strings.Repeat("A", 50), strings.Repeat("A", 51),
		} {
			name, err := dirName(owner)
			if err != nil || len(name) > plainMax {
				t.Fatalf("%q: %q, %v", owner, name, err)
			}
			if other, taken := seen[strings.ToLower(name)]; taken {
				t.Errorf("%q and %q share %q", owner, other, name)
			}
			seen[strings.ToLower(name)] = owner
		}
	})
	t.Run("what is not printable has no directory, and that is no fault of the path", func(t *testing.T) {
		r, _ := open(t)
		for _, owner := range []string{"", "a\nb", "a\x00", "\xff", strings.Repeat("a", 129)} {
			err := r.Check(owner, "work")
			if _, ok := errors.AsType[*PathError](err); err == nil || ok {
				t.Errorf("%q: %v", owner, err)
			}
		}
	})
}

func FuzzDirName(f *testing.F) {
	for _, seed := range [][2]string{{"alice", "Alice"}, {"a/b", "a%2Fb"}, {".", ".."}, {"+", strings.Repeat("é", 100)}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		nameA, errA := dirName(a)
		nameB, errB := dirName(b)
		if errA != nil || errB != nil {
			return
		}
		if (a == b) != strings.EqualFold(nameA, nameB) {
			t.Errorf("%q has %q, %q has %q", a, nameA, b, nameB)
		}
		if filepath.Base(nameA) != nameA || !filepath.IsLocal(nameA) || nameA == "." || len(nameA) > 255 {
			t.Errorf("%q is no name of a directory", nameA)
		}
	})
}

func FuzzCheck(f *testing.F) {
	dir := f.TempDir()
	r, err := Open(filepath.Join(dir, "projects"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = r.Close() })
	own, err := r.Make(owner, "inside/deep")
	if err != nil {
		f.Fatal(err)
	}
	own = filepath.Dir(filepath.Dir(own))
	for _, seed := range []string{"a", "inside/deep", "..", "a/../..", "/etc", `a\b`, "a\x00", "./a", "a//b", strings.Repeat("é/", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if err := r.Check(owner, path); err != nil {
			if _, ok := errors.AsType[*PathError](err); !ok {
				t.Errorf("%q is a fault: %v", path, err)
			}
			return
		}
		below, err := filepath.Rel(own, filepath.Join(own, path))
		if err != nil || below != path || !filepath.IsLocal(path) || path == "." {
			t.Errorf("%q is accepted and is %q below the owner's directory: %v", path, below, err)
		}
	})
}
