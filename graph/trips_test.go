package graph

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

// TestRoundTrips counts what each request waits for on PostgreSQL, once its connection knows the statements. docs/benchmarks.md tells the same.
func TestRoundTrips(t *testing.T) {
	database := storetest.CreateDatabase(t)
	if _, err := storetest.OpenAt(t, store.Postgres, database).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	wire, dsn := storetest.NewWire(t, database)
	e := newEdgeOn(t, storetest.OpenAt(t, store.Postgres, dsn))
	doc, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	const one, payload = "query($id: ID!) { workspace(id: $id) { id name status } }", "{ workspace { id status } task { id status } userErrors { message } }"
	verb := func(verb string) string {
		return fmt.Sprintf("mutation($id: ID!) { %sWorkspace(input: { id: $id }) %s }", verb, payload)
	}
	n := 0
	for _, c := range []struct {
		what  string
		trips int
		ask   func(id string)
	}{
		{"a workspace", 1, func(id string) { e.get(ann, one, map[string]any{"id": id}) }},
		{"a list of workspaces", 1, func(string) { e.get(ann, "{ workspaces(first: 20) { nodes { id name status labels { key } } } }", nil) }},
		{"a list with totalCount", 2, func(string) { e.get(ann, "{ workspaces(first: 20) { totalCount nodes { id } } }", nil) }},
		{"a list of tasks with their workspaces", 2, func(string) { e.get(ann, "{ tasks(first: 20) { nodes { id workspace { name } } } }", nil) }},
		{"createWorkspace", 2, func(string) {
			n++
			e.create(ann, map[string]any{"name": fmt.Sprint("made-", n)})
		}},
		{"createWorkspace with a project path", 3, func(string) {
			n++
			e.create(ann, map[string]any{"name": fmt.Sprint("made-", n), "projectPath": fmt.Sprint("path-", n)})
		}},
		{"createWorkspace with an idempotency key", 3, func(string) {
			n++
			e.create(ann, map[string]any{"name": fmt.Sprint("made-", n), "idempotencyKey": fmt.Sprint("key-", n)})
		}},
		{"updateWorkspace", 2, func(id string) {
			n++
			e.get(ann, "mutation($id: ID!, $name: String!) { updateWorkspace(input: { id: $id, name: $name }) "+payload+" }", map[string]any{"id": id, "name": fmt.Sprint("named-", n)})
		}},
		{"stopWorkspace", 3, func(id string) { e.get(ann, verb("stop"), map[string]any{"id": id}) }},
		{"deleteWorkspace", 3, func(id string) { e.get(ann, verb("delete"), map[string]any{"id": id}) }},
		{"startBatch of ten", 3, func(string) {
			ids := make([]any, 10)
			for i := range ids {
				ids[i] = fmt.Sprint("ws_", i)
			}
			e.get(ann, "mutation($ids: [ID!]!) { startBatch(input: { operation: STOP, workspaceIds: $ids }) { batch { id } userErrors { message } } }", map[string]any{"ids": ids})
		}},
	} {
		n++
		id := e.create(ann, map[string]any{"name": fmt.Sprint("one-", n)})
		before := wire.Trips()
		c.ask(id)
		if got := wire.Trips() - before; got != c.trips {
			t.Errorf("%s takes %d round trips, want %d", c.what, got, c.trips)
		}
		if row := fmt.Sprintf("| %s | %d |", c.what, c.trips); !strings.Contains(string(doc), row) {
			t.Errorf("docs/benchmarks.md lacks %q", row)
		}
	}
}
