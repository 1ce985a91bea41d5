package workspace

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"work": "work", "My Project 2": "My Project 2", "a  b": "a  b", "B\u00fcro": "B\u00fcro", "Bu\u0308ro": "B\u00fcro", "\ud55c\uae00": "\ud55c\uae00",
		"\u1112\u1161\u11ab\u1100\u1173\u11af": "\ud55c\uae00", "\u0130stanbul": "\u0130stanbul", "\u65e5\u672c": "\u65e5\u672c", "\U0001f680 rocket": "\U0001f680 rocket", "\u2713": "\u2713",
		"\uff21": "\uff21", "a\u3000b": "a b", "<b>": "<b>", "Ann's (copy)": "Ann's (copy)",
		strings.Repeat("e\u0301", 100): strings.Repeat("\u00e9", 100),
	} {
		if got, err := checkName(name); err != nil || got != want {
			t.Errorf("%+q: got %+q, %v", name, got, err)
		}
	}
	for what, name := range map[string]string{
		"nothing": "", "a space": " ", "a zero-width space alone": "\u200b", "one in a name": "a\u200bb", "a zero-width joiner": "a\u200db", "a joined emoji": "\U0001f468\u200d\U0001f4bb",
		"a word joiner": "a\u2060", "a byte order mark": "\ufeffa", "a turn of the text": "a\u202eb", "an isolate": "\u2066a", "a soft hyphen": "a\u00adb", "a control": "a\x07", "a line": "a\nb",
		"a private character": "\ue000", "no character": "\ufdd0", "an unassigned one": "\U000e0080", "a tag": "\U000e0061", "broken text": "a\xff", "a space before": " a", "a space behind": "a ",
		"a wide space behind": "a\u3000", "a long one": strings.Repeat("x", 101), "a variation": "a\ufe0f", "a Hangul filler": "\u3164",
	} {
		if got, err := checkName(name); err == nil || strings.Join(err.(*Error).Field, ".") != "input.name" { //nolint:errorlint // it is never wrapped
			t.Errorf("%s: got %+q, %v", what, got, err)
		}
	}
}

func TestLabelsAndPathsAreText(t *testing.T) {
	labels, err := checkLabels([]Label{{Key: "a", Value: "Bu\u0308ro"}, {Key: "b", Value: ""}})
	if err != nil || labels[0].Value != "B\u00fcro" || labels[1].Value != "" {
		t.Errorf("got %+q, %v", labels, err)
	}
	if _, err := checkLabels([]Label{{Key: "a", Value: "a\u202e"}}); err == nil || strings.Join(err.(*Error).Field, ".") != "input.labels.0.value" { //nolint:errorlint // it is never wrapped
		t.Errorf("got %v", err)
	}
	for _, path := range []string{"team/work", "B\u00fcro/\u65e5\u672c", "a b/~c:d"} {
		if err := checkPath(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"a\u200b/b", "Bu\u0308ro", "a/\u202eb", "a\u3000b"} {
		if err := checkPath(path); err == nil || strings.Join(err.(*Error).Field, ".") != "input.projectPath" { //nolint:errorlint // it is never wrapped
			t.Errorf("%+q: %v", path, err)
		}
	}
}

func TestRecoveryCountsItsTries(t *testing.T) {
	for retries, want := range map[int]string{0: "after no tries:", 1: "after one try:", 2: "after 2 tries:"} {
		w := Workspace{Spec: Spec{Policy: RecoveryPolicy{Fallback: FallbackStop}}, Recovery: Recovery{Why: "The container exited.", Tries: retries, GaveUp: true}}
		if got := whyGivenUp(w); !strings.Contains(got, want) {
			t.Errorf("got %q", got)
		}
	}
}
