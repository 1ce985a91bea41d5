package store

import (
	"slices"
	"testing"

	"github.com/aicli/aicli-web/internal/workspace"
)

func FuzzCursor(f *testing.F) {
	const mark = "here"
	for _, seed := range []string{"", "x", "e30", "eyJ2IjoxLCJpIjoid3NfMSJ9", encodeCursor(mark, "name", "ws_1"), encodeCursor(mark, micros(5), "ws_1"), encodeCursor("there", micros(5), "ws_1"), "bnVsbA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		if value, id, err := decodeCursor[int64](cursor, mark, "after"); err == nil {
			if again, sameID, err := decodeCursor[int64](encodeCursor(mark, value, id), mark, "after"); err != nil || again != value || sameID != id {
				t.Fatalf("%q: %d and %q became %d and %q, %v", cursor, value, id, again, sameID, err)
			}
			if _, _, err := decodeCursor[int64](cursor, "elsewhere", "after"); workspace.CodeOf(err) != workspace.BadUserInput {
				t.Fatalf("%q is taken elsewhere: %v", cursor, err)
			}
		} else if workspace.CodeOf(err) != workspace.BadUserInput {
			t.Fatalf("%q: %v", cursor, err)
		}
		if _, _, err := decodeCursor[nameKey](cursor, mark, "after"); err != nil && workspace.CodeOf(err) != workspace.BadUserInput {
			t.Fatalf("%q: %v", cursor, err)
		}
	})
}

// TestACursorIsOfOneListing has a page's cursor taken by the same listing alone.
func TestACursorIsOfOneListing(t *testing.T) {
	workspaces := func(change func(*workspace.Query)) listing {
		q := workspace.Query{OwnerID: "ann", NameContains: "ab", Status: []workspace.Status{workspace.Active, workspace.Failing}, Labels: []workspace.Label{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}}}
		if change != nil {
			change(&q)
		}
		return listing{"workspaces", "created_at", q.Descending, workspaceFilter(q)}
	}
	own := workspaces(nil)
	for name, same := range map[string]listing{
		"another page":         workspaces(func(q *workspace.Query) { q.Window = workspace.Window{First: 5, After: "x"} }),
		"a search in capitals": workspaces(func(q *workspace.Query) { q.NameContains = "AB" }),
		"twice the same": workspaces(func(q *workspace.Query) {
			q.Status = append(q.Status, q.Status...)
			q.Labels = append(q.Labels, q.Labels...)
		}),
		"sets turned round": workspaces(func(q *workspace.Query) { slices.Reverse(q.Status); slices.Reverse(q.Labels) }),
	} {
		if same.mark() != own.mark() {
			t.Errorf("%s is taken for another listing", name)
		}
	}
	none, empty := workspaceFilter(workspace.Query{}), workspaceFilter(workspace.Query{Labels: []workspace.Label{}})
	if (listing{filter: none}).mark() != (listing{filter: empty}).mark() {
		t.Error("no labels are taken for another filter than none given")
	}
	for name, other := range map[string]listing{
		"another owner":     workspaces(func(q *workspace.Query) { q.OwnerID = "bob" }),
		"everybody's":       workspaces(func(q *workspace.Query) { q.OwnerID = "" }),
		"another status":    workspaces(func(q *workspace.Query) { q.Status = q.Status[:1] }),
		"no status at all":  workspaces(func(q *workspace.Query) { q.Status = []workspace.Status{} }),
		"any status":        workspaces(func(q *workspace.Query) { q.Status = nil }),
		"another search":    workspaces(func(q *workspace.Query) { q.NameContains = "a" }),
		"other labels":      workspaces(func(q *workspace.Query) { q.Labels = q.Labels[:1] }),
		"some ids":          workspaces(func(q *workspace.Query) { q.IDs = []string{"ws_1"} }),
		"another direction": workspaces(func(q *workspace.Query) { q.Descending = true }),
		"another order":     {"workspaces", "updated_at", false, own.filter},
		"another list":      {"tasks", "created_at", false, own.filter},
	} {
		if other.mark() == own.mark() {
			t.Errorf("%s is taken for the same listing", name)
		}
	}
}
