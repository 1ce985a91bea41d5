package graph

import (
	"context"
	"fmt"
	"slices"

	"github.com/99designs/gqlgen/graphql"

	"github.com/aicli/aicli-web/graph/model"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	pageDefault = 20
	pageMax     = 100 // rows of up to 100 kB each
)

// windowOf reads the arguments of a connection, and whether its totalCount is asked for.
func windowOf(ctx context.Context, first *int, after *string, last *int, before *string) (workspace.Window, error) {
	w := workspace.Window{First: orZero(first), After: orZero(after), Last: orZero(last), Before: orZero(before)}
	w.Uncounted = !slices.Contains(graphql.CollectAllFields(ctx), "totalCount")
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

func eventConnection(p workspace.Page[workspace.Event]) model.WorkspaceEventConnection {
	edges := make([]model.WorkspaceEventEdge, len(p.Items))
	for i, e := range p.Items {
		edges[i] = model.WorkspaceEventEdge{Cursor: e.Place(), Node: e}
	}
	return model.WorkspaceEventConnection{Edges: edges, Nodes: p.Items, PageInfo: pageInfo(p)}
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

func taskQuery(ctx context.Context, first *int, after *string, last *int, before *string, f *model.TaskFilter) (q workspace.TaskQuery, err error) {
	if q.Window, err = windowOf(ctx, first, after, last, before); err != nil {
		return q, err
	}
	if f != nil {
		for name, id := range map[string]*string{"workspaceId": f.WorkspaceID, "batchId": f.BatchID} {
			if id != nil && *id == "" { // a variable that was not set must not list everything
				return q, &workspace.Error{Code: workspace.BadUserInput, Message: "An id is never empty. Leave it out to list tasks whatever it is.", Field: []string{"filter", name}}
			}
		}
		q.WorkspaceID, q.BatchID, q.Types, q.Status = orZero(f.WorkspaceID), orZero(f.BatchID), f.Type, f.Status
	}
	return q, nil
}
