package transport

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/aicli/aicli-web/internal/auth"
)

const requestIDHeader = "X-Request-Id"

type scopeKey struct{}

// scope is what belongs to one request or to one operation on a socket. The principal is written by authentication, deeper
// in the same goroutine, for the access log.
type scope struct {
	id        string
	principal auth.Principal
}

// RequestID is the id under which this request, or this operation on a socket, is found in the log; empty outside of both.
func RequestID(ctx context.Context) string {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.id
	}
	return ""
}

func withScope(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, scopeKey{}, &scope{id: id})
}

func setPrincipal(ctx context.Context, p auth.Principal) {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		s.principal = p
	}
}

// withRequestID keeps the id that a proxy or client gave, if it is safe to write into a log, or makes one.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !saneRequestID(id) {
			id = rand.Text()
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(withScope(r.Context(), id)))
	})
}

func saneRequestID(id string) bool {
	return id != "" && len(id) <= requestIDMax && !strings.ContainsFunc(id, func(r rune) bool {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return false
		}
		return true
	})
}
