package graph

import (
	"fmt"

	"github.com/aicli/aicli-web/graph/model"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	pageDefault = 20
	pageMax     = 100 // rows of up to 100 kB each
)

// windowOf reads the arguments of a connection.
func windowOf(first *int, after *string, last *int, before *string) (workspace.Window, error) {
	w := workspace.Window{First: orZero(first), After: orZero(after), Last: orZero(last), Before: orZero(before)}
	if first == nil && last == nil {
		w.First = pageDefault
	}
	for name, n := range map[string]*int{"first": first, "last": last} {
		if n != nil && (*n < 1 || *n > pageMax) {
			return w, &workspace.Error{Code: workspace.BadUserInput, Message: fmt.Sprintf("A page has 1 to %d items: ask for that many in %s.", pageMax, name), Field: []string{name}}
		}
	}
	if first != nil && last != nil {
		return w, &workspace.Error{Code: workspace.BadUserInput, Message: "Ask for a page from the front (first) or from the back (last), not both.", Field: []string{"last"}}
	}
	return w, nil
}

func pageInfo[T any](p workspace.Page[T]) model.PageInfo {
	info := model.PageInfo{HasNextPage: p.HasNext, HasPreviousPage: p.HasPrevious}
	if n := len(p.Cursors); n > 0 {
		info.StartCursor, info.EndCursor = &p.Cursors[0], &p.Cursors[n-1]
	}
	return info
}

func workspaceConnection(p workspace.Page[workspace.Workspace]) model.WorkspaceConnection {
	edges := make([]model.WorkspaceEdge, len(p.Items))
	for i, w := range p.Items {
		edges[i] = model.WorkspaceEdge{Cursor: p.Cursors[i], Node: w}
	}
	return model.WorkspaceConnection{Edges: edges, Nodes: p.Items, PageInfo: pageInfo(p), TotalCount: p.Total}
}

func taskConnection(p workspace.Page[task.Task]) model.TaskConnection {
	edges := make([]model.TaskEdge, len(p.Items))
	for i, t := range p.Items {
		edges[i] = model.TaskEdge{Cursor: p.Cursors[i], Node: t}
	}
	return model.TaskConnection{Edges: edges, Nodes: p.Items, PageInfo: pageInfo(p), TotalCount: p.Total}
}

func batchConnection(p workspace.Page[workspace.Batch]) model.BatchConnection {
	edges := make([]model.BatchEdge, len(p.Items))
	for i, b := range p.Items {
		edges[i] = model.BatchEdge{Cursor: p.Cursors[i], Node: b}
	}
	return model.BatchConnection{Edges: edges, Nodes: p.Items, PageInfo: pageInfo(p), TotalCount: p.Total}
}

func batchItemConnection(p workspace.Page[workspace.BatchItem]) model.BatchItemConnection {
	edges := make([]model.BatchItemEdge, len(p.Items))
	for i, item := range p.Items {
		edges[i] = model.BatchItemEdge{Cursor: p.Cursors[i], Node: item}
	}
	return model.BatchItemConnection{Edges: edges, Nodes: p.Items, PageInfo: pageInfo(p), TotalCount: p.Total}
}

func workspaceQuery(w workspace.Window, f *model.WorkspaceFilter, order *model.WorkspaceOrder) workspace.Query {
	q := workspace.Query{Window: w}
	if f != nil {
		q.IDs, q.Status, q.Labels = f.Ids, f.Status, f.Labels
		q.NameContains, q.OwnerID = orZero(f.NameContains), orZero(f.OwnerID)
	}
	if order != nil {
		q.OrderBy, q.Descending = order.Field, order.Direction == model.OrderDirectionDesc
	}
	return q
}

func batchInput(in model.StartBatchInput) workspace.BatchInput {
	b := workspace.BatchInput{
		Operation: in.Operation, IDs: in.WorkspaceIds, Concurrency: in.Concurrency, StopOnError: orZero(in.StopOnError), DryRun: orZero(in.DryRun),
		IdempotencyKey: in.IdempotencyKey,
	}
	if in.Filter != nil {
		b.Filter = new(workspaceQuery(workspace.Window{}, in.Filter, nil))
	}
	return b
}

func taskQuery(w workspace.Window, f *model.TaskFilter) workspace.TaskQuery {
	q := workspace.TaskQuery{Window: w}
	if f != nil {
		q.WorkspaceID, q.BatchID, q.Types, q.Status = orZero(f.WorkspaceID), orZero(f.BatchID), f.Type, f.Status
	}
	return q
}
