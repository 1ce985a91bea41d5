package graph

import (
	"context"
	"io"
	"log/slog"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/aicli/aicli-web/internal/auth"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// documentsMax is how many parsed documents are kept: those of a few applications.
	documentsMax = 100
	// documentMax bounds the text of one that is kept, in bytes; a longer one is parsed each time. Parsed, it is many times as large.
	documentMax = 8 << 10
)

// PrintSchema writes the schema in its own language.
func PrintSchema(w io.Writer) error {
	text := &failing{Writer: w}
	formatter.NewFormatter(text, formatter.WithIndent("  ")).FormatSchema(NewExecutableSchema(Config{}).Schema())
	return text.err
}

// failing keeps the first error of a writer, which the formatter does not heed.
type failing struct {
	io.Writer

	err error
}

// Write is part of io.Writer.
func (f *failing) Write(p []byte) (n int, err error) {
	if f.err == nil {
		n, f.err = f.Writer.Write(p)
	}
	return n, f.err
}

// NewExecutor makes what runs operations. requestID finds the id of the request that a context belongs to.
func NewExecutor(r *Resolver, requestID func(context.Context) string, log *slog.Logger) graphql.GraphExecutor {
	schema := NewExecutableSchema(Config{Resolvers: r})
	exec := executor.New(schema)
	p := presenter{requestID: requestID, log: log}
	exec.SetErrorPresenter(p.present)
	exec.SetRecoverFunc(p.recover)
	exec.SetParserTokenLimit(tokensMax)
	exec.SetQueryCache(documents{lru.New[*ast.QueryDocument](documentsMax)})
	exec.Use(extension.Introspection{})
	exec.Use(newPersisted())
	exec.Use(newDocumentLimit(schema.Schema()))
	exec.Use(costLimit{})
	exec.AroundOperations(p.guard)
	exec.AroundResponses(r.withLoaders)
	return exec
}

// guard lets nobody pass who has not signed in, whatever the transport did.
func (p presenter) guard(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	if _, ok := auth.FromContext(ctx); ok {
		return next(ctx)
	}
	refusal := &workspace.Error{Code: workspace.Unauthenticated, Message: "Sign in: send a bearer token."}
	return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{p.present(ctx, refusal)}})
}

// documents keeps parsed documents that are short.
type documents struct {
	graphql.Cache[*ast.QueryDocument]
}

// Add is part of graphql.Cache.
func (d documents) Add(ctx context.Context, text string, doc *ast.QueryDocument) {
	if len(text) <= documentMax {
		d.Cache.Add(ctx, text, doc)
	}
}
