package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatDoesNotBelongIntoTheTreeIsRefused gives the script that looks at the tree a repository of its own.
func TestWhatDoesNotBelongIntoTheTreeIsRefused(t *testing.T) {
	script, err := filepath.Abs("scripts/lint-tree.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("git", "init", "-q"); err != nil {
		t.Fatal(out, err)
	}
	slash := func(path string) []byte { return []byte("cd " + strings.ReplaceAll(path, "|", "/") + "\n") } // the script reads this file too
	for name, c := range map[string]struct {
		content []byte
		refused string
	}{
		"a built program":                      {append([]byte("\x7fELF"), 0, 1, 2), "program that was built"},
		"a built program of another system":    {[]byte("\xcf\xfa\xed\xfe\x00"), "program that was built"},
		"a large file":                         {bytes.Repeat([]byte("x"), 1<<20+1), "larger than 1 MiB"},
		"a path of somebody's home":            {slash("|home|ann|project"), "path of a machine"},
		"a path of somebody's home on a Mac":   {slash("|Users|ann|project"), "path of a machine"},
		"a path of a checkout":                 {slash("|work|main|project"), "path of a machine"},
		"a path of root's":                     {slash("|root|project|x"), "path of a machine"},
		"a path of a build":                    {slash("|tmp|bash_jobs.0|x"), "path of a machine"},
		"a file of just under a MiB":           {bytes.Repeat([]byte("x"), 1<<20), ""},
		"a path in the tree":                   {slash("internal|work|main and ~|work|x and example.org|home|ann|x"), ""},
		"a path of a system":                   {slash("|usr|lib|x and |workspace|file and |tmp|x"), ""},
		"a file that only talks of ELF":        {[]byte("ELF\n"), ""},
		"a text that begins like an old magic": {[]byte("MIT\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "file"), c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := run(script); err != nil {
				t.Errorf("it is not tracked, and was refused: %s", out)
			}
			defer func() { _, _ = run("git", "rm", "-q", "--cached", "-f", "file") }()
			if out, err := run("git", "add", "file"); err != nil {
				t.Fatal(out, err)
			}
			out, err := run(script)
			if (err != nil) != (c.refused != "") || !strings.Contains(out, c.refused) {
				t.Errorf("it ends with %v and says %q", err, out)
			}
		})
	}
}
