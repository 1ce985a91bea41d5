package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerWait     = 10 * time.Second // for a request's header: a slow one holds a connection
	readWait       = 30 * time.Second // for header and body: 1 MiB at 35 kB/s
	answerWait     = 2 * time.Minute  // from the header's end to the answer's: 30 s of a mutation's wait, or 7 MB of explorer
	idleWait       = 2 * time.Minute  // between requests
	headerMax      = 64 << 10         // bytes: room for a query in the address
	drainWait      = 10 * time.Second // for requests under way when the server stops
	cutWait        = 2 * time.Second  // for those that were then cancelled
	socketStopWait = 5 * time.Second  // for sockets to be told, and to answer
)

// Server serves a Handler on a listener. Sockets live as long as they like: the timeouts hold for requests.
type Server struct {
	handler  *Handler
	listener net.Listener
}

// NewServer takes the listener over: Run closes it.
func NewServer(l net.Listener, h *Handler) *Server { return &Server{handler: h, listener: l} }

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, or the listener fails. It then takes no new connections, closes the WebSockets with 1012, lets
// requests that are under way end for a while, cancels those that do not, and returns when nothing of it runs any more; the
// error says what could not be brought to an end in time.
func (s *Server) Run(ctx context.Context) error {
	// Requests outlive ctx: they are let end.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerWait,
		ReadTimeout:       readWait,
		WriteTimeout:      answerWait,
		IdleTimeout:       idleWait,
		MaxHeaderBytes:    headerMax,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.handler.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.listener) }()

	var failed error
	select {
	case failed = <-served:
		failed = fmt.Errorf("serve on %s: %w", s.listener.Addr(), failed)
	case <-ctx.Done():
	}
	err := s.stop(srv, cancel)
	if failed == nil {
		<-served //nolint:errcheck // http.ErrServerClosed, since Shutdown was called
	}
	return errors.Join(failed, err)
}

func (s *Server) stop(srv *http.Server, cancel context.CancelFunc) error {
	var sockets error
	var wg sync.WaitGroup
	wg.Go(func() {
		ctx, done := context.WithTimeout(context.Background(), socketStopWait)
		defer done()
		sockets = s.handler.CloseSockets(ctx)
	})
	requests := shutdown(srv, drainWait)
	wg.Wait()
	if requests != nil || sockets != nil {
		cancel()
		requests = shutdown(srv, cutWait)
		_ = srv.Close() // what is still open is told below
	}
	if sockets != nil {
		ctx, done := context.WithTimeout(context.Background(), cutWait)
		defer done()
		sockets = s.handler.CloseSockets(ctx)
	}
	if requests != nil {
		requests = fmt.Errorf("requests did not end in time: %w", requests)
	}
	return errors.Join(requests, sockets)
}

func shutdown(srv *http.Server, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return srv.Shutdown(ctx)
}
