package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// post is GraphQL over HTTP POST. It takes application/json alone, which no page of another origin can send without asking
// first, and one operation a request.
type post struct {
	bodyMax int64
	log     *slog.Logger
}

// get is GraphQL over HTTP GET: queries only, since a GET may be repeated or followed without anybody's wish.
type get struct{ log *slog.Logger }

var (
	_ graphql.Transport = post{}
	_ graphql.Transport = get{}
)

// Supports is part of graphql.Transport. The content type is looked at in Do, which can say what is wrong with it.
func (post) Supports(r *http.Request) bool { return r.Method == http.MethodPost }

// Supports is part of graphql.Transport.
func (get) Supports(r *http.Request) bool { return r.Method == http.MethodGet }

// Do is part of graphql.Transport.
func (t post) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	if message := contentFault(r.Header); message != "" {
		w.Header().Set("Accept-Post", jsonType)
		refuse(w, r, http.StatusUnsupportedMediaType, badInput(message))
		return
	}
	began := graphql.Now()
	body, err := t.read(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		// What is left unread would be taken for the next request.
		w.Header().Set("Connection", "close")
		refuse(w, r, http.StatusRequestEntityTooLarge, badInput(fmt.Sprintf("The body is larger than %d bytes. Send a smaller operation.", t.bodyMax)))
		return
	case err != nil:
		w.Header().Set("Connection", "close")
		refuse(w, r, http.StatusBadRequest, badInput("The body ended early or came too slowly. Send it again."))
		return
	}
	params, err := decodeParams(body)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, badInput(sentence(err)))
		return
	}
	params.ReadTime = graphql.TraceTiming{Start: began, End: graphql.Now()}
	execute(w, r, exec, params, t.log)
}

// read does not begin with a body that says of itself that it is too large.
func (t post) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > t.bodyMax {
		return nil, &http.MaxBytesError{Limit: t.bodyMax}
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, t.bodyMax))
}

// contentFault says what is wrong with how the body is announced; empty when nothing is.
func contentFault(h http.Header) string {
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != jsonType {
		return "Send the operation as JSON, with Content-Type: application/json."
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "Send the operation in UTF-8, with Content-Type: application/json; charset=utf-8."
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return "Send the operation without a Content-Encoding."
	}
	return ""
}

// Do is part of graphql.Transport.
func (t get) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	params, err := decodeQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, badInput(sentence(err)))
		return
	}
	execute(w, r, exec, params, t.log)
}

// execute runs one query or mutation and answers in the form that the client takes.
func execute(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor, params *graphql.RawParams, log *slog.Logger) {
	mediaType, ok := negotiate(r.Header)
	if !ok {
		refuse(w, r, http.StatusNotAcceptable, badInput("Accept application/graphql-response+json or application/json."))
		return
	}
	ctx := r.Context()
	op, errs := exec.CreateOperationContext(ctx, params)
	if len(errs) > 0 {
		answer(w, r, mediaType, exec.DispatchError(graphql.WithOperationContext(ctx, op), errs), log)
		return
	}
	switch kind := op.Operation.Operation; {
	case kind == ast.Subscription:
		refuse(w, r, http.StatusBadRequest, badInput("Subscribe over a WebSocket to this address, with the subprotocol graphql-transport-ws."))
		return
	case kind == ast.Mutation && r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, r, http.StatusMethodNotAllowed, badInput("Send mutations with POST."))
		return
	case defers(op.Doc):
		refuse(w, r, http.StatusBadRequest, noDefer)
		return
	}
	next, ctx := exec.DispatchOperation(ctx, op)
	resp := next(ctx)
	if resp == nil { // the request's context ended before anything came of it
		refuse(w, r, http.StatusServiceUnavailable, cancelled)
		return
	}
	answer(w, r, mediaType, resp, log)
}

func answer(w http.ResponseWriter, r *http.Request, mediaType string, resp *graphql.Response, log *slog.Logger) {
	body, err := encodeResponse(resp)
	if err != nil {
		logEncode(r.Context(), log, err)
		refuse(w, r, http.StatusInternalServerError, internalFault)
		return
	}
	status, nothing := http.StatusOK, resp.Data == nil || string(resp.Data) == "null"
	switch lost := len(resp.Errors) > 0 && codeOf(resp.Errors[0]) == codeDatabaseLost; {
	case lost && nothing:
		w.Header().Set("Retry-After", retryAfter)
		if mediaType == graphqlType {
			status = http.StatusServiceUnavailable
		}
	case mediaType == graphqlType && resp.Data == nil:
		status = statusOf(resp.Errors)
	}
	respond(w, status, mediaType, body)
}

// statusOf is for operations that were not executed: where there is data, if only null, the status is 200.
func statusOf(errs gqlerror.List) int {
	if len(errs) == 0 {
		return http.StatusInternalServerError
	}
	switch codeOf(errs[0]) {
	case codeUnauthenticated:
		return http.StatusUnauthorized
	case codeForbidden:
		return http.StatusForbidden
	case codeRateLimited:
		return http.StatusTooManyRequests
	case codeCancelled, codeDatabaseLost:
		return http.StatusServiceUnavailable
	case codeInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

func codeOf(err *gqlerror.Error) string {
	code, _ := err.Extensions["code"].(string)
	return code
}

// retryAfter is when to ask again that failed because the database is away, in seconds: it is found to be back within one.
const retryAfter = "1"

// defers finds @defer anywhere in a document. The executor would split the answer and hand us its first piece.
func defers(doc *ast.QueryDocument) bool {
	for _, op := range doc.Operations {
		if defersIn(op.SelectionSet) {
			return true
		}
	}
	for _, f := range doc.Fragments {
		if defersIn(f.SelectionSet) {
			return true
		}
	}
	return false
}

func defersIn(set ast.SelectionSet) bool {
	for _, s := range set {
		var directives ast.DirectiveList
		var below ast.SelectionSet
		switch s := s.(type) {
		case *ast.Field:
			below = s.SelectionSet
		case *ast.InlineFragment:
			directives, below = s.Directives, s.SelectionSet
		case *ast.FragmentSpread:
			directives = s.Directives
		}
		if directives.ForName("defer") != nil || defersIn(below) {
			return true
		}
	}
	return false
}

func logEncode(ctx context.Context, log *slog.Logger, err error) {
	log.ErrorContext(ctx, "response cannot be encoded", "error", err, "request_id", RequestID(ctx))
}
