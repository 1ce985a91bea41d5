package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/aicli/aicli-web/internal/workspace"
)

// shownError is the error that may be shown as it is; nil when err is none.
func shownError(err error) *workspace.Error {
	if e, ok := errors.AsType[*workspace.Error](err); ok && e.Code != workspace.Internal {
		return e
	}
	return nil
}

// userError is the error that a user can put right; nil when err is none. The loss of the database stops the whole operation.
func userError(err error) *workspace.Error {
	if e := shownError(err); e != nil && e.Code != workspace.DatabaseLost {
		return e
	}
	return nil
}

var errPanic = errors.New("a resolver panicked")

// presenter tells errors to clients: with a code and the request's id, and nothing of the server's inside.
type presenter struct {
	requestID func(context.Context) string
	log       *slog.Logger
}

func (p presenter) present(ctx context.Context, err error) *gqlerror.Error {
	out := graphql.DefaultErrorPresenter(ctx, err)
	e := p.classify(err, out)
	if e.Code == workspace.Internal && !errors.Is(err, errPanic) {
		p.log.ErrorContext(ctx, "a field failed", "path", out.Path.String(), "error", err, "request_id", p.requestID(ctx))
	}
	extensions := map[string]any{"code": string(e.Code), "retryable": e.Retryable, "requestId": p.requestID(ctx)}
	if e.Field != nil {
		extensions["field"] = e.Field
	}
	return &gqlerror.Error{Message: e.Message, Path: out.Path, Locations: out.Locations, Extensions: extensions}
}

// classify finds out what kind of error it is: the domain's, the GraphQL library's about the document, or a fault.
func (presenter) classify(err error, shown *gqlerror.Error) workspace.Error {
	if e := shownError(err); e != nil {
		return *e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return workspace.Error{Code: workspace.Cancelled, Retryable: true,
			Message: "The request was given up before it was done. Look at what came of it, then try again."}
	}
	switch shown.Extensions["code"] {
	case errcode.ParseFailed:
		if strings.Contains(shown.Message, "token limit") {
			return errTooComplex
		}
		return workspace.Error{Code: workspace.BadUserInput, Message: shown.Message}
	case errcode.ValidationFailed:
		return workspace.Error{Code: workspace.BadUserInput, Message: reworded(shown.Message)}
	}
	return workspace.Error{Code: workspace.Internal, Retryable: true,
		Message: "Something went wrong on the server. Try again, and report the request id if it goes on."}
}

// reworded says in other words what the library says badly.
func reworded(message string) string {
	if message == "no operation provided" {
		return "The document has no operation. Write a query, a mutation or a subscription."
	}
	name, about := strings.CutPrefix(message, "operation ")
	if name, is := strings.CutSuffix(name, " not found"); about && is {
		if name == "" {
			return "The document has several operations. Say by operationName which one to run."
		}
		return fmt.Sprintf("The document has no operation named %.*q. Check operationName.", nameMax, name)
	}
	return message
}

func (p presenter) recover(ctx context.Context, v any) error {
	p.log.ErrorContext(ctx, "panic in a resolver", "value", v, "request_id", p.requestID(ctx), "stack", string(debug.Stack()))
	return errPanic
}
