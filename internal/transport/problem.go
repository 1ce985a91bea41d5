package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// The codes, of the schema's ErrorCode, that the transports use themselves.
const (
	codeUnauthenticated = "UNAUTHENTICATED"
	codeForbidden       = "FORBIDDEN"
	codeBadUserInput    = "BAD_USER_INPUT"
	codeRateLimited     = "RATE_LIMITED"
	codeCancelled       = "CANCELLED"
	codeDatabaseLost    = "DATABASE_UNAVAILABLE"
	codeInternal        = "INTERNAL"
)

// problem is what a transport itself has to say against a request. It becomes a GraphQL error.
type problem struct {
	code      string
	message   string // a sentence for the client, which says what to do
	retryable bool
}

func badInput(message string) problem { return problem{code: codeBadUserInput, message: message} }

func unauthenticated(err error) problem {
	return problem{code: codeUnauthenticated, message: sentence(err)}
}

var (
	internalFault = problem{code: codeInternal, retryable: true,
		message: "Something went wrong on the server. Try again, and report the request id if it goes on."}
	cancelled = problem{code: codeCancelled, retryable: true,
		message: "The request was cancelled before it was done. Look at what came of it, then try again."}
	noDefer = badInput("This server answers in one piece: send the operation without @defer.")
)

func (p problem) list(ctx context.Context) gqlerror.List {
	return gqlerror.List{{Message: p.message, Extensions: map[string]any{
		"code":      p.code,
		"retryable": p.retryable,
		"requestId": RequestID(ctx),
	}}}
}

// refuse answers a request that never reached the executor.
func refuse(w http.ResponseWriter, r *http.Request, status int, p problem) {
	mediaType, ok := negotiate(r.Header)
	if !ok {
		mediaType = jsonType
	}
	body, err := encodeResponse(&graphql.Response{Errors: p.list(r.Context())})
	if err != nil { // strings and a bool: cannot happen, and net/http's recovery would hide it
		http.Error(w, p.message, status)
		return
	}
	respond(w, status, mediaType, body)
}

func respond(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType+"; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // G705: it is JSON and says so. When it fails, the peer is gone: nobody is left to be told
}

// encodeResponse differs from json.Marshal in two things: a request that was never executed has no data entry
// (GraphQL, "Response Format"), and data, which the executor has written as JSON, is not parsed and copied again.
func encodeResponse(resp *graphql.Response) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(resp.Data) + 64)
	b.WriteByte('{')
	field := func(name string, value any) error {
		encoded, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(name)
		b.Write(encoded)
		return nil
	}
	if len(resp.Errors) > 0 {
		if err := field(`"errors":`, resp.Errors); err != nil {
			return nil, err
		}
	}
	if resp.Data != nil {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"data":`)
		b.Write(resp.Data)
	}
	if len(resp.Extensions) > 0 {
		if err := field(`"extensions":`, resp.Extensions); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// sentence turns a Go error, which begins in lower case and has no full stop, into one.
func sentence(err error) string {
	s := err.Error()
	if s == "" {
		return internalFault.message
	}
	first, size := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(first)) + s[size:]
	if last := s[len(s)-1]; last != '.' && last != '?' && last != '!' {
		s += "."
	}
	return s
}
