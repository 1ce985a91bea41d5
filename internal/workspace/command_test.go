package workspace

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aicli/aicli-web/internal/task"
)

func TestCannotRun(t *testing.T) {
	const tini = "[FATAL tini (7)] exec /no/such failed: No such file or directory"
	for name, c := range map[string]struct {
		command []string
		code    int
		tail    []string
		want    string
	}{
		"a command that is not there":        {[]string{"/no/such"}, 127, []string{tini}, "exec /no/such failed: No such file or directory. Check"},
		"one that may not be executed":       {[]string{"/etc/passwd"}, 126, []string{"[FATAL tini (12)] exec /etc/passwd failed: Permission denied"}, "Permission denied"},
		"one that was run before":            {[]string{"/x"}, 127, []string{"it ran", tini}, "cannot be run"},
		"Podman's init":                      {[]string{"/x"}, 127, []string{"ERROR (catatonit:2): failed to exec pid1: No such file or directory"}, "failed to exec pid1: No such file"},
		"no command of the owner's":          {keepAlive, 127, []string{"[FATAL tini (7)] exec sleep failed: No such file or directory"}, "The image has no sleep"},
		"a shell that does not find it":      {[]string{"sh", "-c", "x"}, 127, []string{"sh: x: not found"}, ""},
		"the same words and another code":    {[]string{"sh"}, 1, []string{tini}, ""},
		"the same words, and others after":   {[]string{"sh"}, 127, []string{tini, "more"}, ""},
		"no words":                           {[]string{"sh"}, 127, nil, ""},
		"words that only contain those":      {[]string{"sh"}, 127, []string{"x " + tini}, ""},
		"words that turn the text and go on": {[]string{"sh"}, 127, []string{"[FATAL tini (7)] exec \u202ex\x1b[31m" + strings.Repeat("y", 999) + " failed: no"}, "exec \ufffdx\ufffd[31m"},
		"words that are no text":             {[]string{"sh"}, 127, []string{"[FATAL tini (7)] exec \xff failed: no"}, "exec  failed: no"},
	} {
		t.Run(name, func(t *testing.T) {
			got := CannotRun(c.command, Exit{Code: c.code, LogTail: c.tail})
			switch {
			case c.want == "":
				if got != nil {
					t.Errorf("got %v", got)
				}
			case got == nil || !strings.Contains(got.Message, c.want) || strings.Join(got.Field, ".") != "input.command" || len(got.Message) > 3*saidMost+100 || !utf8.ValidString(got.Message):
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestACommandThatCannotBeRunIsNotTriedAgain(t *testing.T) {
	p := newPatient(t, DefaultRecovery)
	p.w.Command = []string{"/no/such"}
	p.exit(time.Second, 127, "[FATAL tini (7)] exec /no/such failed: No such file or directory")
	if p.w.Status != Failing || len(p.live) > 0 || p.w.StatusReason == nil || !strings.Contains(*p.w.StatusReason, "cannot be run") {
		t.Errorf("%s (%v), %+v", p.w.Status, p.w.StatusReason, p.live)
	}
	p = newPatient(t, DefaultRecovery)
	p.exit(time.Second, 127, "sh: x: not found")
	if p.w.Status != Recovering || len(p.live) != 1 || p.live[0].Type != task.Restart {
		t.Errorf("%s, %+v", p.w.Status, p.live)
	}
}
