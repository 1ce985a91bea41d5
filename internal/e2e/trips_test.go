package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store/storetest"
)

// besides is how many round trips a server makes in a second while one request waits for its task: three of its own, and the request asks twice.
const besides = 5

// TestRoundTripsOfATasksLife counts what is waited for on PostgreSQL from a request to the end of its task. What the server does besides goes by the seconds that
// the engine takes, so it is left out, and the least of some tries counts. docs/benchmarks.md tells the same bounds.
func TestRoundTripsOfATasksLife(t *testing.T) {
	t.Parallel()
	wire, dsn := storetest.NewWire(t, storetest.CreateDatabase(t))
	h := newHome(t, "AICLI_DATABASE_URL="+dsn)
	s := h.start()
	ann := s.as("ann")
	doc, err := os.ReadFile("../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	const tries = 4
	ids := make([]string, tries)
	for _, c := range []struct {
		verb string
		most int
	}{{"create", 42}, {"stop", 44}, {"start", 42}, {"restart", 48}} {
		least := 0
		for i := range ids {
			before, begun := wire.Trips(), time.Now()
			input := map[string]any{"id": ids[i], "wait": "PT30S"}
			switch c.verb {
			case "create":
				input = map[string]any{"name": fmt.Sprint("made-", i), "wait": "PT30S"}
			case "stop":
				input["grace"] = "PT0S"
			}
			ids[i] = ann.must(c.verb, input).Workspace.ID
			if took := wire.Trips() - before - besides*int(time.Since(begun)/time.Second); i == 0 || took < least {
				least = took
			}
		}
		t.Logf("%s: %d", c.verb, least)
		if least > c.most {
			t.Errorf("%s takes %d round trips to its end, want at most %d", c.verb, least, c.most)
		}
		if row := fmt.Sprintf("| %s, until its task has ended | %d |", c.verb, c.most); !strings.Contains(string(doc), row) {
			t.Errorf("docs/benchmarks.md lacks %q", row)
		}
	}
	ann.deleteAll(ids)
}
