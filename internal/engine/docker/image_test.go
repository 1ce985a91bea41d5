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
{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"one"}
{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"two"}
{"status":"Download complete","progressDetail":{},"id":"two"}
{"status":"Extracting","progressDetail":{"current":1,"total":50},"id":"two"}
{"status":"Pull complete","progressDetail":{},"id":"one"}
`

func TestReadPull(t *testing.T) {
	t.Run("progress is summed over the layers and never goes back", func(t *testing.T) {
		var reports []engine.PullProgress
		if err := readPull(strings.NewReader(pulled), func(p engine.PullProgress) { reports = append(reports, p) }); err != nil {
			t.Fatal(err)
		}
		want := []engine.PullProgress{
			{Status: "Pulling from library/a"}, {Status: "Pulling fs layer"},
			{Status: "Downloading", Current: 10, Total: 100}, {Status: "Downloading", Current: 15, Total: 150},
			{Status: "Download complete", Current: 60, Total: 150}, {Status: "Extracting", Current: 60, Total: 150},
			{Status: "Pull complete", Current: 150, Total: 150},
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
			if p.Current < last.Current || p.Total < last.Total || p.Current > p.Total {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		})
	})
}
