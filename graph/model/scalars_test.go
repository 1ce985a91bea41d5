package model

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func written(m graphql.Marshaler) string {
	var b strings.Builder
	m.MarshalGQL(&b)
	return b.String()
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT30S": 30 * time.Second, "PT0S": 0, "PT1.5S": 1500 * time.Millisecond, "PT1H30M": 90 * time.Minute, "P1D": 24 * time.Hour,
		"-PT5S": -5 * time.Second, "P1W": 7 * 24 * time.Hour,
	} {
		if got, err := UnmarshalDuration(text); err != nil || got != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, bad := range []any{"", "30s", "PT", "P", 30, json.Number("30"), nil, "P99999999999Y", "PT1e400S", strings.Repeat("PT1S", 100)} {
		if got, err := UnmarshalDuration(bad); workspace.CodeOf(err) != workspace.BadUserInput {
			t.Errorf("%v: got %s, %v", bad, got, err)
		}
	}
	for d, want := range map[time.Duration]string{90 * time.Second: `"PT1M30S"`, 0: `"PT0S"`, 1500 * time.Millisecond: `"PT1.5S"`,
		23686150176: `"PT23.686150176S"`, -90 * time.Minute: `"-PT1H30M"`, 10 * time.Second: `"PT10S"`, time.Hour + time.Nanosecond: `"PT1H0.000000001S"`} {
		if got := written(MarshalDuration(d)); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}

func TestIntegers(t *testing.T) {
	if n, err := UnmarshalInt64(json.Number("9223372036854775807")); err != nil || written(MarshalInt64(n)) != "9223372036854775807" {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []any{"5", 5.5, json.Number("5.5"), json.Number("9223372036854775808"), true, nil} {
		if n, err := UnmarshalInt64(bad); workspace.CodeOf(err) != workspace.BadUserInput {
			t.Errorf("%v: got %d, %v", bad, n, err)
		}
	}
	for _, bad := range []any{"5", int64(1 << 31), json.Number("-2147483649")} {
		if n, err := UnmarshalInt(bad); workspace.CodeOf(err) != workspace.BadUserInput {
			t.Errorf("%v: got %d, %v", bad, n, err)
		}
	}
}

func TestTime(t *testing.T) {
	at, err := UnmarshalTime("2026-01-31T13:00:00.25+01:00")
	if err != nil || written(MarshalTime(at)) != `"2026-01-31T12:00:00.25Z"` {
		t.Errorf("got %s, %v", at, err)
	}
	if _, err := UnmarshalTime("yesterday"); workspace.CodeOf(err) != workspace.BadUserInput {
		t.Errorf("got %v", err)
	}
}

func TestText(t *testing.T) {
	for _, bad := range []any{"a\x00", "\xff", 5, nil} {
		if _, err := UnmarshalString(bad); workspace.CodeOf(err) != workspace.BadUserInput {
			t.Errorf("%q is taken", bad)
		}
	}
	if id, err := UnmarshalID(json.Number("7")); id != "7" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"PT30S", "P1Y2M3W4DT5H6M7.8S", "-PT1S", "PT.S", "P", "PT1E9S", "PTS"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := UnmarshalDuration(text)
		if err != nil {
			return
		}
		if d > durationMax || d < -durationMax {
			t.Fatalf("%q: %s is beyond the bound", text, d)
		}
		var again string
		if err := json.Unmarshal([]byte(written(MarshalDuration(d))), &again); err != nil {
			t.Fatal(err)
		}
		back, err := UnmarshalDuration(again)
		if diff := back - d; err != nil || diff > time.Microsecond || diff < -time.Microsecond {
			t.Fatalf("%q: %s is written %s and read as %s, %v", text, d, again, back, err)
		}
	})
}
