package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vikstrous/dataloadgen"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// loaders gather what the fields of one answer ask for one by one. They live for one answer: the next event of a subscription
// must not see what the last one saw.
type loaders struct {
	workspaces *dataloadgen.Loader[string, workspace.Workspace]
	tasks      *dataloadgen.Loader[string, task.Task]
	positions  *dataloadgen.Loader[string, int]
}

type loadersKey struct{}

func (r *Resolver) withLoaders(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	actor := actorOf(ctx)
	var options []dataloadgen.Option
	if op := graphql.GetOperationContext(ctx).Operation; op != nil && op.Operation == ast.Mutation {
		options = append(options, dataloadgen.WithoutCache()) // each of its fields changes what the next one sees
	}
	return next(context.WithValue(ctx, loadersKey{}, &loaders{
		workspaces: dataloadgen.NewMappedLoader(func(ctx context.Context, ids []string) (map[string]workspace.Workspace, error) {
			return r.Service.WorkspacesByID(ctx, actor, ids)
		}, options...),
		tasks: dataloadgen.NewMappedLoader(func(ctx context.Context, ids []string) (map[string]task.Task, error) {
			return r.Service.TasksByID(ctx, actor, ids)
		}, options...),
		positions: dataloadgen.NewMappedLoader(r.Service.QueuePositions, options...),
	}))
}

func loadersOf(ctx context.Context) *loaders {
	return ctx.Value(loadersKey{}).(*loaders) //nolint:errcheck,forcetypeassert // withLoaders is around every answer
}
