package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/store/storetest"
)

// TestRoundTripsOfATasksLife counts what is waited for on PostgreSQL from a request to the end of its task. What else the server does meanwhile is counted
// too, so it is the least of some tries that counts. docs/benchmarks.md tells the same bounds.
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
	}{{"create", 40}, {"stop", 35}, {"start", 35}, {"restart", 40}} {
		least := 0
		for i := range ids {
			before := wire.Trips()
			input := map[string]any{"id": ids[i], "wait": "PT30S"}
			switch c.verb {
			case "create":
				input = map[string]any{"name": fmt.Sprint("made-", i), "wait": "PT30S"}
			case "stop":
				input["grace"] = "PT0S"
			}
			ids[i] = ann.must(c.verb, input).Workspace.ID
			if took := wire.Trips() - before; i == 0 || took < least {
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
