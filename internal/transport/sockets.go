package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// subprotocol is the only one spoken. Its text: PROTOCOL.md of the npm package graphql-ws.
const subprotocol = "graphql-transport-ws"

// sockets is GraphQL over WebSocket: it upgrades, and knows every connection that is open.
type sockets struct {
	verifier Verifier
	origins  origins
	log      *slog.Logger
	limits   limits
	upgrader websocket.Upgrader

	places *places

	mu   sync.Mutex
	open map[*socket]struct{}
}

var _ graphql.Transport = (*sockets)(nil)

func newSockets(v Verifier, o origins, log *slog.Logger, l limits, b Bounds) *sockets {
	return &sockets{
		verifier: v, origins: o, log: log, limits: l,
		open: make(map[*socket]struct{}), places: newPlaces(b),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: l.writeWait,
			WriteBufferSize:  4 << 10,      // bytes; a frame is written at once whatever its size
			WriteBufferPool:  &sync.Pool{}, // a connection with nothing to say holds none
			Subprotocols:     []string{subprotocol},
			CheckOrigin:      func(*http.Request) bool { return true }, // Do has done it, with a message
			Error: func(w http.ResponseWriter, r *http.Request, status int, _ error) {
				w.Header().Set("Sec-Websocket-Version", "13")
				refuse(w, r, status, badInput("The WebSocket handshake is malformed. Use a WebSocket client of version 13."))
			},
		},
	}
}

// Supports is part of graphql.Transport.
func (s *sockets) Supports(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// Do is part of graphql.Transport. It returns when the connection and all its operations have ended.
func (s *sockets) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	switch {
	case !s.origins.allow(r):
		refuse(w, r, http.StatusForbidden, foreignOrigin)
		return
	case !slices.Contains(websocket.Subprotocols(r), subprotocol):
		refuse(w, r, http.StatusBadRequest, badInput("Offer graphql-transport-ws in Sec-WebSocket-Protocol: no other subprotocol is spoken here."))
		return
	}
	place, full := s.places.take(r.RemoteAddr)
	if full != nil {
		w.Header().Set("Retry-After", "5")
		refuse(w, r, http.StatusServiceUnavailable, *full)
		return
	}
	defer place.leave()
	ws, err := s.upgrader.Upgrade(w, r, http.Header{requestIDHeader: {RequestID(r.Context())}})
	if err != nil { // the client has been told, or is gone
		s.log.DebugContext(r.Context(), "websocket handshake failed", "error", err, "request_id", RequestID(r.Context()))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	c := &socket{
		cancel: cancel, place: place, rate: rate.NewLimiter(s.limits.rate, s.limits.burst),
		ws: ws, exec: exec, verifier: s.verifier, log: s.log, limits: s.limits,
		out: make(chan frame, s.limits.queue), closed: make(chan struct{}), operations: make(map[string]*operation),
	}
	s.add(c)
	defer s.remove(c)
	c.serve(ctx, r.Header)
}

func (s *sockets) add(c *socket) {
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.mu.Unlock()
	if s.places.closed() { // it began while the others were being closed
		c.end(restarting)
	}
}

func (s *sockets) remove(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *sockets) closing() bool { return s.places.closed() }

// shutdown may be called more than once.
func (s *sockets) shutdown(ctx context.Context) error {
	s.places.close()
	s.mu.Lock()
	open := make([]*socket, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.end(restarting)
	}
	select {
	case <-s.places.idle:
		return nil
	case <-ctx.Done():
	}
	for _, c := range open {
		_ = c.ws.Close() // asked for politely before
	}
	if left := s.places.open(); left > 0 {
		return fmt.Errorf("%d WebSockets did not end in time: %w", left, context.Cause(ctx))
	}
	return nil
}
