package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"github.com/aicli/aicli-web/internal/auth"
	"github.com/aicli/aicli-web/internal/workspace"
)

// worstDocuments are about as bad as the bounds let them be, each in a way of its own.
func worstDocuments() map[string]string {
	fragments := func(n int, body func(i int) string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " fragment f%d on Workspace { %s }", i, body(i))
		}
		return b.String()
	}
	spreads := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " ...f%d", i)
		}
		return b.String()
	}
	var names strings.Builder
	for i := range 30 {
		fmt.Fprintf(&names, " n%d: id", i)
	}
	return map[string]string{
		"one field again and again":           "{ workspaces { nodes {" + strings.Repeat(" id", 170) + " } } }",
		"fields with selections":              "{ workspaces { nodes {" + strings.Repeat(" container { id }", 120) + " } } }",
		"fields in fields":                    "{ workspaces {" + strings.Repeat(" nodes { container {"+strings.Repeat(" id", 10)+" } }", 16) + " } }",
		"many names":                          "{ workspaces { nodes {" + strings.Repeat(names.String(), 20) + " } } }",
		"fields with arguments":               "{" + strings.Repeat(` workspaces(first: 1, after: "x", filter: {nameContains: "y"}) { totalCount }`, 80) + " }",
		"inline fragments":                    "{ workspaces { nodes {" + strings.Repeat(" ... on Workspace { id }", 170) + " } } }",
		"fragments that have the same fields": "{ workspaces { nodes {" + spreads(50) + " } } }" + fragments(50, func(int) string { return strings.Repeat(" id", 3) }),
		"fragments in a chain": "{ workspaces { nodes { ...f0 } } }" + fragments(50, func(i int) string {
			if i == 49 {
				return "id"
			}
			return fmt.Sprintf("id container { id } ...f%d", i+1)
		}),
		"fragments in fragments": "{ workspaces { nodes { ...f0 } } }" + fragments(20, func(i int) string {
			var b strings.Builder
			b.WriteString("id name")
			for next := i + 1; next < 20; next++ {
				fmt.Fprintf(&b, " ...f%d", next)
			}
			return b.String()
		}),
		"operations that use all fragments": operations(20, " workspaces { nodes {"+spreads(10)+" } }") + fragments(10, func(int) string { return "id" }),
		"names that nobody knows":           "{" + unknown(600) + " }",
		"arguments that nobody knows":       "{ workspaces(" + unknownArguments(400) + ") { totalCount } }",
		"depth":                             "{ workspaces {" + strings.Repeat(" nodes { tasks { nodes { workspace { tasks { nodes { workspace { tasks { nodes { workspace { id } } } } } } } } } }", 30) + " } }",
	}
}

func operations(n int, body string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " query q%d {%s }", i, body)
	}
	return b.String()
}

func unknown(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %s%d", strings.Repeat("workspaces", 12), i)
	}
	return b.String()
}

func unknownArguments(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %s%d: 1", strings.Repeat("filter", 20), i)
	}
	return b.String()
}

func BenchmarkWorstDocuments(b *testing.B) {
	exec := NewExecutor(&Resolver{}, func(context.Context) string { return "" }, slog.New(slog.DiscardHandler))
	ctx := graphql.StartOperationTrace(auth.WithPrincipal(b.Context(), ann))
	for name, text := range worstDocuments() {
		b.Run(name, func(b *testing.B) {
			refused := ""
			for i := range b.N {
				_, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: text + fmt.Sprint(" #", i), OperationName: "q0"})
				if len(errs) > 0 && strings.Contains(errs[0].Error(), "too much") {
					refused = "refused"
				}
			}
			b.Log(len(text), refused)
		})
	}
}

func TestDocumentsThatTakeLongToValidateAreNot(t *testing.T) {
	e := newEdge(t)
	fragments := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " fragment f%d on Workspace { id }", i)
		}
		return b.String()
	}
	id := " id"
	for name, c := range map[string]struct {
		text    string
		refused bool
	}{
		"a thousand times one field":            {"{ viewer {" + strings.Repeat(id, 1000) + " } }", true},
		"the same in fragments":                 {"{ workspaces { nodes { ...f0 } } }" + fragments(1) + strings.Repeat(" fragment g on Workspace {"+strings.Repeat(id, 50)+" }", 5), true},
		"the same in inline fragments":          {"{ viewer {" + strings.Repeat(" ... { id }", 300) + " } }", true},
		"the same under one alias":              {"{ viewer {" + strings.Repeat(" a: id", 300) + " } }", true},
		"more fragments than anybody writes":    {"{ workspaces { nodes { id } } }" + fragments(60), true},
		"a fragment that is spread everywhere":  {"{ workspaces { nodes {" + strings.Repeat(" ...f0", 250) + " } } }" + fragments(1), true},
		"many operations":                       {operations(30, " viewer { id }"), true},
		"a selection that goes deep":            {strings.Repeat("{ a", 30) + strings.Repeat("}", 30), true},
		"a long name":                           {"{ viewer { " + strings.Repeat("x", 200) + " } }", true},
		"a wall of panels":                      {"{" + walls(60) + " }", false},
		"what an explorer asks of a schema":     {wholeSchema, false},
		"a few operations with their fragments": {operations(5, " workspaces { nodes { ...f0 ...f1 ...f2 } }") + fragments(3), false},
	} {
		t.Run(name, func(t *testing.T) {
			resp := e.respond(graphql.StartOperationTrace(auth.WithPrincipal(t.Context(), ann)), c.text, nil)
			refused := len(resp.Errors) > 0 && resp.Errors[0].Extensions["code"] == string(workspace.QueryTooComplex)
			if refused != c.refused {
				t.Errorf("refused %t: %v", refused, resp.Errors)
			}
		})
	}
}

// walls asks for n workspaces by aliases.
func walls(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` w%d: workspace(id: "ws_%d") { id name status container { state } }`, i, i)
	}
	return b.String()
}

func TestNumbersThatNothingHoldsAreNamed(t *testing.T) {
	e := newEdge(t)
	const big, huge = "99999999999999999999", "1e999"
	create := func(input string) string {
		return "mutation { createWorkspace(input: {name: \"a\", " + input + "}) { workspace { id } } }"
	}
	for name, c := range map[string]struct {
		text, variable, where string
	}{
		"an Int64":                      {create("resources: {memoryBytes: " + big + "}"), "", "createWorkspace: input.resources.memoryBytes"},
		"a negative one":                {create("resources: {memoryBytes: -" + big + "}"), "", "createWorkspace: input.resources.memoryBytes"},
		"an Int":                        {create("resources: {pids: " + big + "}"), "", "createWorkspace: input.resources.pids"},
		"a Float":                       {create("resources: {cpus: " + huge + "}"), "", "createWorkspace: input.resources.cpus"},
		"one in a list":                 {create("labels: [{key: \"a\", value: \"b\"}, {key: \"a\", value: " + big + "}]"), "", "createWorkspace: input.labels.1.value"},
		"one of a page":                 {"{ workspaces(first: " + big + ") { totalCount } }", "", "workspaces: first"},
		"a default":                     {"query($n: Int = " + big + ") { workspaces(first: $n) { totalCount } }", "", "the default of $n: n"},
		"one in a fragment":             {"{ ...f } fragment f on Query { workspaces(first: " + big + ") { totalCount } }", "", "workspaces: first"},
		"a variable":                    {"query($v: Int) { workspaces(first: $v) { totalCount } }", big, "the variable v"},
		"one in a variable":             {"mutation($v: CreateWorkspaceInput!) { createWorkspace(input: $v) { workspace { id } } }", `{"name": "a", "resources": {"memoryBytes": ` + big + `}}`, "the variable v.resources.memoryBytes"},
		"a Float in a variable":         {"mutation($v: CreateWorkspaceInput!) { createWorkspace(input: $v) { workspace { id } } }", `{"name": "a", "resources": {"cpus": ` + huge + `}}`, "the variable v.resources.cpus"},
		"one in a list in a variable":   {"mutation($v: CreateWorkspaceInput!) { createWorkspace(input: $v) { workspace { id } } }", `{"name": "a", "command": ["x", ` + big + `]}`, "the variable v.command.1"},
		"the largest, which is no page": {"{ workspaces(first: 9223372036854775807) { totalCount } }", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var variables map[string]any
			if c.variable != "" {
				d := json.NewDecoder(strings.NewReader(`{"v": ` + c.variable + `}`))
				d.UseNumber()
				if err := d.Decode(&variables); err != nil {
					t.Fatal(err)
				}
			}
			_, errs := e.ask(ann, c.text, variables)
			if named := strings.Contains(errs, "is too large") && strings.Contains(errs, c.where+" is"); named != (c.where != "") || !strings.Contains(errs, "BAD_USER_INPUT") {
				t.Errorf("got %s", errs)
			}
		})
	}
}

func TestTheOperationToRunIsAskedFor(t *testing.T) {
	e := newEdge(t)
	for text, want := range map[string]string{
		"query a { viewer { id } } query b { viewer { id } }": "has several operations. Say by operationName",
		"":                            "has no operation. Write a query",
		"fragment f on Viewer { id }": "has no operation. Write a query",
	} {
		if _, errs := e.ask(ann, text, nil); !strings.Contains(errs, want) || !strings.Contains(errs, "BAD_USER_INPUT") {
			t.Errorf("%q: got %s", text, errs)
		}
	}
	ctx := graphql.StartOperationTrace(auth.WithPrincipal(t.Context(), ann))
	op, errs := e.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: "query a { viewer { id } }", OperationName: "b"})
	resp := e.exec.DispatchError(graphql.WithOperationContext(ctx, op), errs)
	if len(resp.Errors) != 1 || resp.Errors[0].Message != `The document has no operation named "b". Check operationName.` {
		t.Errorf("got %v", resp.Errors)
	}
}
