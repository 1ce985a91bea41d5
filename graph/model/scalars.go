package model

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/sosodev/duration"

	"github.com/aicli/aicli-web/internal/workspace"
)

// durationMax bounds what is read; what any field accepts is far below. The library counts in floats.
const durationMax = 10 * 365 * 24 * time.Hour

// durationLength bounds the text of one, in bytes: it has at most seven numbers.
const durationLength = 128

func refuse(message string) error {
	return &workspace.Error{Code: workspace.BadUserInput, Message: message}
}

// MarshalTime writes an instant in UTC.
func MarshalTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, strconv.Quote(t.UTC().Format(time.RFC3339Nano))) // into a buffer
	})
}

// UnmarshalTime reads an instant of any zone.
func UnmarshalTime(v any) (time.Time, error) {
	if s, ok := v.(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, refuse("A time must be written as in 2026-01-31T12:00:00.5Z (RFC 3339).")
}

// MarshalDuration writes a span in ISO 8601.
func MarshalDuration(d time.Duration) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, strconv.Quote(formatDuration(d))) // into a buffer
	})
}

// formatDuration is exact: the library counts in floats, and has 23.686150175999998 seconds of 23.686150176.
func formatDuration(d time.Duration) string {
	var b strings.Builder
	if d < 0 {
		b.WriteByte('-')
	}
	b.WriteString("PT")
	rest := d.Abs()
	for _, unit := range []struct {
		length time.Duration
		letter byte
	}{{time.Hour, 'H'}, {time.Minute, 'M'}} {
		if n := rest / unit.length; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, unit.letter)
			rest %= unit.length
		}
	}
	if rest > 0 || d == 0 {
		seconds := fmt.Sprintf("%d.%09d", rest/time.Second, rest%time.Second)
		b.WriteString(strings.TrimRight(strings.TrimRight(seconds, "0"), ".") + "S")
	}
	return b.String()
}

// UnmarshalDuration reads a span in ISO 8601. A year has 365 days and a month a twelfth of that.
func UnmarshalDuration(v any) (time.Duration, error) {
	s, ok := v.(string)
	if !ok || len(s) > durationLength || !strings.ContainsAny(s, "0123456789") {
		return 0, refuse("A duration must be written as in PT30S (ISO 8601).")
	}
	parsed, err := duration.Parse(s)
	if err != nil {
		return 0, refuse("A duration must be written as in PT30S (ISO 8601).")
	}
	const day, year = 24.0, 365 * 24.0
	hours := parsed.Years*year + parsed.Months*year/12 + parsed.Weeks*7*day + parsed.Days*day + parsed.Hours + parsed.Minutes/60 + parsed.Seconds/3600
	if !(hours <= durationMax.Hours()) { // NaN is none of it
		return 0, refuse("The duration is too long: ten years are the most.")
	}
	d := time.Duration(math.Round(hours * float64(time.Hour)))
	if parsed.Negative {
		d = -d
	}
	return d, nil
}

// MarshalInt64 writes a number.
func MarshalInt64(n int64) graphql.Marshaler { return graphql.MarshalInt64(n) }

// UnmarshalInt64 reads a whole number; text is none.
func UnmarshalInt64(v any) (int64, error) {
	switch n := v.(type) {
	case int64:
		return n, nil
	case int:
		return int64(n), nil
	case json.Number:
		if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
			return i, nil
		}
	}
	return 0, refuse("An Int64 must be a whole number of at most 64 bits, not text.")
}

// MarshalInt writes a number.
func MarshalInt(n int) graphql.Marshaler { return graphql.MarshalInt(n) }

// UnmarshalInt reads a whole number of 32 bits (GraphQL, "Int"); text is none.
func UnmarshalInt(v any) (int, error) {
	n, err := UnmarshalInt64(v)
	if err != nil || n < math.MinInt32 || n > math.MaxInt32 {
		return 0, refuse("An Int must be a whole number of at most 32 bits, not text.")
	}
	return int(n), nil
}

// MarshalLong writes an Int that the domain keeps in 64 bits.
func MarshalLong(n int64) graphql.Marshaler { return graphql.MarshalInt64(n) }

// UnmarshalLong reads an Int for the domain's 64 bits.
func UnmarshalLong(v any) (int64, error) {
	n, err := UnmarshalInt(v)
	return int64(n), err
}

// MarshalString writes text.
func MarshalString(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalString reads text that every database can keep: UTF-8 without the character NUL.
func UnmarshalString(v any) (string, error) {
	s, ok := v.(string)
	if !ok || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", refuse("A String must be text in UTF-8, without the character U+0000.")
	}
	return s, nil
}

// MarshalCursor writes a place in the event log.
func MarshalCursor(p workspace.Place) graphql.Marshaler { return graphql.MarshalString(p.Cursor()) }

// UnmarshalCursor reads one.
func UnmarshalCursor(v any) (workspace.Place, error) {
	if text, ok := v.(string); ok {
		if p, ok := workspace.ParsePlace(text); ok {
			return p, nil
		}
	}
	return workspace.Place{}, refuse("The cursor is not one that an event had. Leave it out to begin at the start.")
}

// MarshalID writes an id as text.
func MarshalID(id string) graphql.Marshaler { return graphql.MarshalString(id) }

// UnmarshalID reads an id, which may be written as a whole number (GraphQL, "ID").
func UnmarshalID(v any) (string, error) {
	if n, err := UnmarshalInt64(v); err == nil {
		return strconv.FormatInt(n, 10), nil
	}
	return UnmarshalString(v)
}
