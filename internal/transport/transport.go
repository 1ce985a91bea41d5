// Package transport is the server's edge: routes, and GraphQL over HTTP and over WebSocket (graphql-transport-ws). It owns
// who may connect, how much a peer may send, keep open or leave unread, and the words of the protocols; it is the only
// importer of gorilla/websocket. It never looks into a schema: a graphql.GraphExecutor that it is given runs what it decodes.
package transport

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/aicli/aicli-web/internal/auth"
)

// A Verifier says who a bearer token speaks for and when it ends. Its errors are shown to the client: one sentence, nothing secret.
type Verifier interface {
	Verify(token string) (auth.Principal, time.Time, error)
}

var _ Verifier = (*auth.Tokens)(nil)

// Options are the parts that a Handler is made of.
type Options struct {
	Executor graphql.GraphExecutor // required
	Verifier Verifier              // required

	// Explorer serves /explorer and all below it, with the path as it came. It may set a Content-Security-Policy of its own
	// in place of ours, which lets scripts, styles, workers and connections of the same origin only. Nil: 404.
	Explorer http.Handler
	// Redeem gives a bearer token for the code of a link, once; false for any other code. Nil: there are no links.
	Redeem func(code string) (token string, ok bool)
	// Ready answers /readyz: nil when the server can do its work. The error's text is shown to anybody. Nil: always ready.
	Ready func(context.Context) error
	// AllowedOrigins are the origins, as in https://app.example.com, whose pages may call /graphql besides our own.
	AllowedOrigins []string
	// Bounds are those of WebSockets. All are required.
	Bounds Bounds
	// Logger is where requests and faults are written. Nil: slog.Default.
	Logger *slog.Logger
}

// Handler is the whole HTTP surface of the server. Close the sockets before the server that it is mounted in ends.
type Handler struct {
	http    http.Handler
	sockets *sockets
	ready   func(context.Context) error
	log     *slog.Logger
}

// New checks the options and builds the Handler. It starts nothing.
func New(o Options) (*Handler, error) { return newHandler(o, defaultLimits()) }

func newHandler(o Options, l limits) (*Handler, error) {
	if o.Executor == nil || o.Verifier == nil {
		return nil, errors.New("transport: an executor and a verifier are required")
	}
	if !o.Bounds.valid() {
		return nil, errors.New("transport: all bounds are required")
	}
	origins, err := parseOrigins(o.AllowedOrigins)
	if err != nil {
		return nil, err
	}
	h := &Handler{ready: o.Ready, log: o.Logger}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.sockets = newSockets(o.Verifier, origins, h.log, l, o.Bounds)

	api := &graphqlHandler{
		exec:       o.Executor,
		socket:     h.sockets,
		transports: []graphql.Transport{post{bodyMax: l.body, log: h.log}, get{log: h.log}},
		verifier:   o.Verifier,
	}
	mux := http.NewServeMux()
	mux.Handle("/graphql", secure(apiPolicy, origins.cors(api)))
	if o.Explorer != nil {
		mux.Handle("/explorer", secure(pagePolicy, o.Explorer))
		mux.Handle("/explorer/", secure(pagePolicy, o.Explorer))
	}
	if o.Redeem != nil {
		mux.Handle("GET "+LinkPath+"{code}", secure(apiPolicy, link(o.Redeem)))
	}
	mux.Handle("GET /{$}", secure(apiPolicy, http.RedirectHandler("/explorer", http.StatusFound)))
	mux.Handle("GET /healthz", secure(apiPolicy, http.HandlerFunc(healthz)))
	mux.Handle("GET /readyz", secure(apiPolicy, http.HandlerFunc(h.readyz)))
	h.http = withRequestID(accessLog(h.log, recoverPanics(h.log, mux)))
	return h, nil
}

// ServeHTTP serves one request. For a WebSocket it returns when the connection and all that ran on it have ended.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.http.ServeHTTP(w, r) }

// CloseSockets refuses new WebSockets from now on, closes all that are open with 1012, which makes clients come back, and
// waits until they and their operations have ended, or ctx has. Call it before the streams that feed subscriptions end: a
// stream that ends first is told to its client as complete, and the client does not come back.
func (h *Handler) CloseSockets(ctx context.Context) error { return h.sockets.shutdown(ctx) }

// graphqlHandler serves /graphql: it picks the transport, and lets nobody but a WebSocket, which signs in for itself, pass
// without a token.
type graphqlHandler struct {
	exec       graphql.GraphExecutor
	socket     *sockets
	transports []graphql.Transport
	verifier   Verifier
}

func (h *graphqlHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept, Authorization, Origin")
	if h.socket.Supports(r) {
		h.socket.Do(w, r, h.exec)
		return
	}
	for _, t := range h.transports {
		if !t.Supports(r) {
			continue
		}
		ctx, ok := h.authenticate(w, r)
		if !ok {
			return
		}
		t.Do(w, r.WithContext(graphql.StartOperationTrace(ctx)), h.exec)
		return
	}
	w.Header().Set("Allow", "GET, POST, OPTIONS")
	refuse(w, r, http.StatusMethodNotAllowed, badInput("Send the operation with POST, or a query with GET."))
}

// authenticate answers 401 itself when it returns false.
func (h *graphqlHandler) authenticate(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
	token, err := bearer(r.Header)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, r, http.StatusUnauthorized, unauthenticated(err))
		return nil, false
	}
	p, _, err := h.verifier.Verify(token)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		refuse(w, r, http.StatusUnauthorized, unauthenticated(err))
		return nil, false
	}
	setPrincipal(r.Context(), p)
	return auth.WithPrincipal(r.Context(), p), true
}
