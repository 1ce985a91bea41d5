// Package graph is the GraphQL edge: the schema, thin resolvers over the service, and the rules that hold for every operation
// (who asks, what it may cost, how errors are told). It decides nothing about workspaces and knows no engine and no database.
package graph

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vikstrous/dataloadgen"

	"github.com/aicli/aicli-web/graph/model"
	"github.com/aicli/aicli-web/internal/auth"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Metrics is where usage comes from.
type Metrics interface {
	// Sample is the usage of a workspace now; false when it does not run or cannot be asked.
	Sample(ctx context.Context, w workspace.Workspace) (workspace.Sample, bool)
	// Samples streams it, at most one each interval, until the workspace is gone or ctx ends.
	Samples(ctx context.Context, id string, interval time.Duration) <-chan workspace.Sample
}

// Pool is how busy the workers are.
type Pool interface {
	Workers() int
	Running() int
}

// Resolver answers the schema's root fields, and those of its types that are not simply read.
type Resolver struct {
	Service  *workspace.Service
	Metrics  Metrics
	Pool     Pool
	Version  string                                // the server's own
	Database func(context.Context) (string, error) // its name and version
}

// actorOf says who asks. Nobody gets here without having signed in: see guard.
func actorOf(ctx context.Context) workspace.Actor {
	p, _ := auth.FromContext(ctx)
	return workspace.Actor{ID: p.ID, Admin: p.Role == auth.Admin}
}

// request asks for a task on a workspace that exists.
func (r *Resolver) request(ctx context.Context, verb task.Type, ask workspace.Ask) (model.WorkspacePayload, error) {
	ask.Wait = clip(ctx, ask.Wait)
	return payload(r.Service.Request(ctx, actorOf(ctx), verb, ask))
}

// operationWait bounds the waits of one operation together: its mutations run one after another.
const operationWait = 30 * time.Second

// clip shortens a wait that is within bounds by itself to what its operation has left.
func clip(ctx context.Context, wait *time.Duration) *time.Duration {
	left := max(0, operationWait-time.Since(graphql.GetOperationContext(ctx).Stats.OperationStart))
	if wait == nil || *wait <= left || *wait > operationWait {
		return wait
	}
	return &left
}

// payload puts what the user can put right into userErrors.
func payload(result workspace.Result, err error) (model.WorkspacePayload, error) {
	if e := userError(err); e != nil {
		return model.WorkspacePayload{UserErrors: []*workspace.Error{e}}, nil //nolint:nilerr // it is in the payload
	}
	return model.WorkspacePayload{Workspace: result.Workspace, Task: result.Task}, err
}

// taskPayload is payload for a request about a task.
func taskPayload(t task.Task, err error) (model.TaskPayload, error) {
	if e := userError(err); e != nil {
		return model.TaskPayload{UserErrors: []*workspace.Error{e}}, nil //nolint:nilerr // it is in the payload
	}
	return model.TaskPayload{Task: &t}, err
}

// batchPayload is payload for a request about a batch.
func batchPayload(b workspace.Batch, err error) (model.BatchPayload, error) {
	if e := userError(err); e != nil {
		return model.BatchPayload{UserErrors: []*workspace.Error{e}}, nil //nolint:nilerr // it is in the payload
	}
	return model.BatchPayload{Batch: &b}, err
}

// found turns what does not exist into null.
func found[T any](value T, err error) (*T, error) {
	switch {
	case err == nil:
		return &value, nil
	case workspace.CodeOf(err) == workspace.NotFound:
		return nil, nil //nolint:nilnil // null is the answer
	default:
		return nil, err
	}
}

// optional is null for the empty text.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// loaded turns what a loader did not find into null.
func loaded[T any](value T, err error) (*T, error) {
	if errors.Is(err, dataloadgen.ErrNotFound) {
		return nil, nil //nolint:nilnil // null is the answer
	}
	return &value, err
}

// The intervals of a stream of samples.
const (
	intervalMin = time.Second // the engine gives one reading a second
	intervalMax = time.Hour
)

func intervalOf(asked *time.Duration) (time.Duration, error) {
	if asked == nil {
		return intervalMin, nil
	}
	if *asked < intervalMin || *asked > intervalMax {
		return 0, &workspace.Error{Code: workspace.BadUserInput, Message: "The interval must be between PT1S and PT1H.", Field: []string{"interval"}}
	}
	return *asked, nil
}

// nodes finds what exists of the ids for the caller, by kind, with one statement a kind.
func (r *Resolver) nodes(ctx context.Context, ids []string) ([]model.Node, error) {
	byKind := make(map[string][]string)
	for _, id := range ids {
		prefix, _, _ := strings.Cut(id, "_")
		byKind[prefix+"_"] = append(byKind[prefix+"_"], id)
	}
	workspaces, err := r.Service.WorkspacesByID(ctx, actorOf(ctx), byKind[workspace.WorkspacePrefix])
	if err != nil {
		return nil, err
	}
	tasks, err := r.Service.TasksByID(ctx, actorOf(ctx), byKind[workspace.TaskPrefix])
	if err != nil {
		return nil, err
	}
	batches, err := r.Service.BatchesByID(ctx, actorOf(ctx), byKind[workspace.BatchPrefix])
	if err != nil {
		return nil, err
	}
	nodes := make([]model.Node, len(ids))
	for i, id := range ids {
		if w, ok := workspaces[id]; ok {
			nodes[i] = w
		} else if t, ok := tasks[id]; ok {
			nodes[i] = t
		} else if b, ok := batches[id]; ok {
			nodes[i] = b
		}
	}
	return nodes, nil
}
