package graph

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// TestValuesOfVariables holds what each type takes of what JSON has. Source: https://spec.graphql.org/October2021/#sec-Scalars, sections on input coercion.
func TestValuesOfVariables(t *testing.T) {
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `
		scalar Int64
		scalar Time
		enum Color { RED BLUE }
		input In { color: Color, colors: [Color!], count: Int, in: In }
		type Query { q(int: Int, int64: Int64, float: Float, string: String, boolean: Boolean, id: ID, time: Time, color: Color, colors: [Color!], in: In, ins: [In!]): Int }`})
	const refused = "refused"
	for _, c := range []struct{ typ, value, want string }{
		{"Int", `1`, `1`},
		{"Int", `-1`, `-1`},
		{"Int", `2.0`, `2`},
		{"Int", `2e0`, `2`},
		{"Int", `1.5e1`, `15`},
		{"Int", `120e-1`, `12`},
		{"Int", `-0.0`, `0`},
		{"Int", `1.5`, refused},
		{"Int", `1e-1`, refused},
		{"Int", `1e999999999`, refused},
		{"Int", `1e-999999999`, refused},
		{"Int", `"1"`, refused},
		{"Int", `true`, refused},
		{"Int", `{}`, refused},
		{"Int", `null`, `null`},
		{"Int64", `1e9`, `1000000000`},
		{"Int64", `9.223372036854775807e18`, `9223372036854775807`},
		{"Int64", `9007199254740993.5`, refused},
		{"Int64", `"5"`, refused},
		{"Float", `0.5`, `0.5`},
		{"Float", `1`, `1`},
		{"Float", `1e3`, `1e3`},
		{"Float", `"0.5"`, refused},
		{"Float", `true`, refused},
		{"String", `"a"`, `"a"`},
		{"String", `1`, refused},
		{"String", `true`, refused},
		{"String", `["a"]`, refused},
		{"Boolean", `true`, `true`},
		{"Boolean", `0`, refused},
		{"Boolean", `"true"`, refused},
		{"ID", `"ws_1"`, `"ws_1"`},
		{"ID", `4`, `"4"`},
		{"ID", `4.5`, refused},
		{"ID", `true`, refused},
		{"Time", `"2026-01-01T00:00:00Z"`, `"2026-01-01T00:00:00Z"`},
		{"Time", `5`, refused},
		{"Color", `"RED"`, `"RED"`},
		{"Color", `"red"`, refused},
		{"Color", `"Red"`, refused},
		{"Color", `"GREEN"`, refused},
		{"Color", `1`, refused},
		{"Color", `true`, refused},
		{"[Color!]", `["RED", "BLUE"]`, `["RED","BLUE"]`},
		{"[Color!]", `["RED", "blue"]`, refused + " at x.1"},
		{"[Color!]", `"RED"`, `"RED"`},
		{"[Color!]", `"red"`, refused},
		{"In", `{"color": "BLUE", "count": 3.0}`, `{"color":"BLUE","count":3}`},
		{"In", `{"in": {"in": {"color": "blue"}}}`, refused + " at x.in.in.color"},
		{"In", `{"colors": ["RED", "red"]}`, refused + " at x.colors.1"},
		{"In", `{"unknown": "blue"}`, `{"unknown":"blue"}`}, // the validation names it
		{"In", `"RED"`, refused},
		{"In", `[]`, refused},
		{"[In!]", `[{"count": 1e1}, {"count": "1"}]`, refused + " at x.1.count"},
		{"[In!]", `{"count": 1e1}`, `{"count":10}`},
	} {
		doc, err := parser.ParseQuery(&ast.Source{Input: "query($x: " + c.typ + ") { q }"})
		if err != nil {
			t.Fatal(err)
		}
		var variables map[string]any
		decoder := json.NewDecoder(strings.NewReader(`{"x": ` + c.value + `}`))
		decoder.UseNumber()
		if err := decoder.Decode(&variables); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := coerceVariables(schema, doc.Operations[0].VariableDefinitions, variables); err != nil {
			got = refused
			if _, path, deep := strings.Cut(err.Message, "The variable x."); deep {
				path, _, _ = strings.Cut(path, " ")
				got += " at x." + path
			}
		} else {
			text, err := json.Marshal(variables["x"])
			if err != nil {
				t.Fatal(err)
			}
			got = string(text)
		}
		if got != c.want {
			t.Errorf("%s as %s: got %s, want %s", c.value, c.typ, got, c.want)
		}
	}
}

// TestVariablesAreCheckedAtTheEdge asks for what stood in rows and answers before: values that the schema does not have.
func TestVariablesAreCheckedAtTheEdge(t *testing.T) {
	e := newEdge(t)
	id := e.create(ann, map[string]any{"name": "one", "resources": map[string]any{"memoryBytes": json.Number("1e9"), "cpus": json.Number("1")}})
	e.want(e.get(ann, "query($id: ID!) { workspace(id: $id) { resources { memoryBytes } } }", map[string]any{"id": id}, "workspace", "resources", "memoryBytes"), "1e+09")
	for _, first := range []string{"2", "2.0", "2e0"} {
		e.want(e.get(ann, "query($n: Int) { workspaces(first: $n) { nodes { name } } }", map[string]any{"n": json.Number(first)}, "workspaces", "nodes"), "[map[name:one]]")
	}
	for _, c := range []struct {
		query, field string
		variables    map[string]any
	}{
		{"mutation($in: StartBatchInput!) { startBatch(input: $in) { batch { id } userErrors { code } } }", "in.operation", map[string]any{"in": map[string]any{"operation": "delete", "workspaceIds": []any{id}}}},
		{"mutation($op: BatchOperation!, $id: ID!) { startBatch(input: { operation: $op, workspaceIds: [$id] }) { batch { id } userErrors { code } } }", "op", map[string]any{"op": "Delete", "id": id}},
		{"mutation($in: CreateWorkspaceInput!) { createWorkspace(input: $in) { workspace { id } } }", "in.recoveryPolicy.fallback", map[string]any{"in": map[string]any{"name": "two", "recoveryPolicy": map[string]any{"fallback": "remove"}}}},
		{"query($s: [WorkspaceStatus!]) { workspaces(filter: { status: $s }) { totalCount } }", "s.0", map[string]any{"s": []any{"active"}}},
		{"query($f: TaskFilter) { tasks(filter: $f) { totalCount } }", "f.status.0", map[string]any{"f": map[string]any{"status": []any{"queued"}}}},
		{"query($o: WorkspaceOrder) { workspaces(orderBy: $o) { totalCount } }", "o.direction", map[string]any{"o": map[string]any{"field": "NAME", "direction": "asc"}}},
		{"mutation($in: CreateWorkspaceInput!) { createWorkspace(input: $in) { workspace { id } } }", "in.resources.cpus", map[string]any{"in": map[string]any{"name": "two", "resources": map[string]any{"cpus": "0.5"}}}},
	} {
		data, errs := e.ask(ann, c.query, c.variables)
		if data != "" && data != "null" || !strings.Contains(errs, `"code":"BAD_USER_INPUT"`) || !strings.Contains(errs, fmt.Sprintf("The variable %s ", c.field)) {
			t.Errorf("%v: got %s %s", c.variables, data, errs)
		}
	}
	e.want(e.get(ann, "{ workspaces { totalCount } batches { totalCount } }", nil), "map[batches:map[totalCount:0] workspaces:map[totalCount:1]]")
}

// TestVariablesOfTheEnvironmentHaveTheNamesThatEnginesTake: = alone separates a name from its value.
func TestVariablesOfTheEnvironmentHaveTheNamesThatEnginesTake(t *testing.T) {
	e := newEdge(t)
	names := []string{"discovery.type", "FOO-BAR", "1X", "a:b", "~"}
	var environment []any
	for _, name := range names {
		environment = append(environment, map[string]any{"name": name, "value": "x"})
	}
	id := e.create(ann, map[string]any{"name": "named", "environment": environment})
	for i, name := range names {
		e.want(e.get(ann, "query($id: ID!) { workspace(id: $id) { environment { name } } }", map[string]any{"id": id}, "workspace", "environment", i, "name"), name)
	}
}
