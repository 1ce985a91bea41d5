package docker

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aicli/aicli-web/internal/engine"
)

const pulled = `{"status":"Pulling from library/a","id":"latest"}
{"status":"Pulling fs layer","progressDetail":{},"id":"one"}
{"status":"Pulling fs layer","progressDetail":{},"id":"two"}
{"status":"Downloading","progressDetail":{"current":100,"total":100},"id":"one"}
{"status":"Download complete","progressDetail":{},"id":"one"}
{"status":"Downloading","progressDetail":{"current":5000,"total":10000},"id":"two"}
{"status":"Extracting","progressDetail":{"current":50,"total":100},"id":"one"}
{"status":"Pull complete","progressDetail":{},"id":"one"}
{"status":"Download complete","progressDetail":{},"id":"two"}
{"status":"Already exists","progressDetail":{},"id":"three"}
{"status":"Pull complete","progressDetail":{},"id":"two"}
{"status":"Status: Downloaded newer image for a"}
`

func TestReadPull(t *testing.T) {
	t.Run("all layers count, fetched and unpacked, and progress never goes back", func(t *testing.T) {
		var reports []engine.PullProgress
		if err := readPull(strings.NewReader(pulled), func(p engine.PullProgress) { reports = append(reports, p) }); err != nil {
			t.Fatal(err)
		}
		want := []engine.PullProgress{
			{Status: "Pulling from library/a", Percent: 0}, {Status: "Pulling fs layer", Percent: 0}, {Status: "Pulling fs layer", Percent: 0},
			{Status: "Downloading", Percent: 37.5}, {Status: "Download complete", Percent: 37.5}, {Status: "Downloading", Percent: 56.25},
			{Status: "Extracting", Percent: 62.5}, {Status: "Pull complete", Percent: 68.75}, {Status: "Download complete", Percent: 87.5},
			{Status: "Already exists", Percent: 275.0 / 3}, {Status: "Pull complete", Percent: 100}, {Status: "Status: Downloaded newer image for a", Percent: 100},
		}
		if len(reports) != len(want) {
			t.Fatalf("got %+v", reports)
		}
		for i := range want {
			if reports[i] != want[i] {
				t.Errorf("report %d: %+v, want %+v", i, reports[i], want[i])
			}
		}
	})
	t.Run("an error in the stream fails the pull", func(t *testing.T) {
		for _, line := range []string{
			`{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}`, `{"error":"manifest unknown"}`,
		} {
			err := readPull(strings.NewReader(pulled+line), func(engine.PullProgress) {})
			if got := engine.KindOf(translate(opPull, "a", err)); got != engine.KindNotFound {
				t.Errorf("%s: kind %q", line, got)
			}
		}
	})
	t.Run("an engine lost in the middle of a message is unavailable", func(t *testing.T) {
		cut := io.MultiReader(strings.NewReader(pulled[:len(pulled)-9]), iotest.ErrReader(io.ErrUnexpectedEOF))
		err := translate(opPull, "a", readPull(cut, func(engine.PullProgress) {}))
		if !engine.Is(err, engine.KindUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzReadPull(f *testing.F) {
	f.Add(pulled)
	f.Add(`{"status":"Downloading","progressDetail":{"current":9223372036854775807,"total":-1},"id":"one"}`)
	f.Add(`{"error":"no"}`)
	f.Fuzz(func(t *testing.T, stream string) {
		var last engine.PullProgress
		_ = readPull(strings.NewReader(stream), func(p engine.PullProgress) {
			if !(p.Percent >= last.Percent && p.Percent <= 100) { // NaN is neither
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		})
	})
}
