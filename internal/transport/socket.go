package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/aicli/aicli-web/internal/auth"
)

// The closes of graphql-transport-ws, beside those of RFC 6455.
const (
	closeBadRequest   = 4400
	closeUnauthorized = 4401
	closeForbidden    = 4403
	closeInitTimeout  = 4408
	closeDuplicate    = 4409
	closeTooMany      = 4429
)

// closure is why a connection ends. Clients come back after 1001, 1012, 1013, 4403 and 4408, and give up after the others.
type closure struct {
	code   int    // 0: nobody is there to be told
	reason string // a sentence
	byPeer bool   // the peer said so first: it wants nothing more
}

var (
	restarting = closure{code: websocket.CloseServiceRestart, reason: "The server is restarting. Connect again."}
	tooSlow    = closure{code: websocket.CloseTryAgainLater, reason: "Messages were not taken in time. Connect again."}
	silent     = closure{code: websocket.CloseGoingAway, reason: "Pings were not answered. Connect again."}
	tooLarge   = closure{code: websocket.CloseMessageTooBig, reason: "The message is too large. Send a smaller one."}
	fault      = closure{code: websocket.CloseInternalServerErr, reason: "Something went wrong on the server. Connect again later."}
	initLate   = closure{code: closeInitTimeout, reason: "Connection initialisation timeout"}
	initTwice  = closure{code: closeTooMany, reason: "Too many initialisation requests"}
	tooFast    = closure{code: closeTooMany, reason: "Too many messages in a short time. Send fewer, and connect again."}
	initFirst  = closure{code: closeUnauthorized, reason: "Send connection_init and wait for connection_ack first."}
	expired    = closure{code: closeForbidden, reason: "The token has expired. Sign in again with a new one."}
)

// socket is one connection. Three kinds of goroutine work on it: the handler's, which reads and returns last; one that
// writes, and nobody else does; and one for each operation.
type socket struct {
	ws       *websocket.Conn
	exec     graphql.GraphExecutor
	verifier Verifier
	log      *slog.Logger
	limits   limits
	place    *place
	rate     *rate.Limiter // of what comes in

	out    chan frame // to the writer; never closed
	cancel context.CancelFunc

	once   sync.Once
	closed chan struct{} // closed once why is written
	why    closure

	expiry *time.Timer // the reader's: nil until somebody has signed in

	mu         sync.Mutex
	operations map[string]*operation // by id: those that the client regards as active
	running    int                   // goroutines, those of cancelled operations too
	started    int                   // since the connection began, for the log
	ended      sync.WaitGroup        // all operations' goroutines
}

// end begins the end: operations are cancelled, the writer sends the close and the reader waits for the peer's. The first
// reason counts. It does not block.
func (c *socket) end(why closure) {
	c.once.Do(func() {
		c.why = why
		close(c.closed)
		c.cancel()
	})
}

func (c *socket) isEnding() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// serve returns when everything of the connection has ended. ctx is the one that cancel ends.
func (c *socket) serve(ctx context.Context, header http.Header) {
	began := time.Now()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write(ctx)
	}()
	late := time.AfterFunc(c.limits.initWait, func() { c.end(initLate) })

	c.guard(ctx, func() { c.read(ctx, header, late) })

	late.Stop()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	<-written
	c.ended.Wait()
	_ = c.ws.Close() // gone already, or about to be
	c.log.InfoContext(ctx, "websocket closed", "code", c.why.code, "reason", c.why.reason, "by_peer", c.why.byPeer,
		"operations", c.started, "duration", time.Since(began), "request_id", RequestID(ctx))
}

// guard runs f; a panic in it ends this connection and nothing else.
func (c *socket) guard(ctx context.Context, f func()) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(ctx, c.log, v)
			c.end(fault)
		}
	}()
	f()
}

// read takes messages until the connection is gone. Once it is ending, what comes is thrown away: closing with unread bytes
// would make the peer's system discard the close that it has not read yet.
func (c *socket) read(ctx context.Context, header http.Header, late *time.Timer) {
	c.ws.SetReadLimit(c.limits.initMessage)
	c.ws.SetPongHandler(func(string) error { c.count(); c.heard(); return nil })
	c.ws.SetPingHandler(func(data string) error {
		if c.count(); c.isEnding() {
			return nil
		}
		c.heard()
		c.send(ctx, frame{kind: websocket.PongMessage, data: []byte(data)})
		return nil
	})
	c.ws.SetCloseHandler(func(int, string) error { return nil }) // the writer answers
	c.heard()
	s := session{ctx: ctx, header: header, late: late}
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			c.lost(err)
			return
		}
		if c.count(); c.isEnding() {
			continue
		}
		c.heard()
		if kind != websocket.TextMessage {
			c.end(closure{code: closeBadRequest, reason: "Send messages as text, not binary."})
			continue
		}
		c.handle(&s, data)
	}
}

// count ends a connection on which more comes in than any client sends.
func (c *socket) count() {
	if !c.isEnding() && !c.rate.Allow() {
		c.end(tooFast)
	}
}

// heard puts off the moment at which the peer counts as gone, but never the one that an ending connection waits for.
func (c *socket) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isEnding() {
		_ = c.ws.SetReadDeadline(time.Now().Add(c.limits.pongWait)) // fails on a dead connection only, as the next read does
	}
}

// lost ends the connection for the error that ended the reading.
func (c *socket) lost(err error) {
	var byPeer *websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &byPeer):
		why := closure{code: byPeer.Code, reason: byPeer.Text, byPeer: true}
		switch byPeer.Code {
		case websocket.CloseAbnormalClosure: // made up by gorilla: no close came
			why.code = 0
		case websocket.CloseNoStatusReceived:
			why.code = websocket.CloseNormalClosure
		}
		c.end(why)
	case errors.Is(err, websocket.ErrReadLimit):
		c.end(tooLarge)
		c.linger()
	case errors.As(err, &network) && network.Timeout():
		c.end(silent)
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		c.end(closure{})
	default: // a broken frame, for which gorilla has sent 1002
		c.end(closure{code: websocket.CloseProtocolError, reason: "The WebSocket frame is malformed."})
		c.linger()
	}
}

// linger throws away what a peer still sends after a frame that could not be read on, so that the close reaches it.
func (c *socket) linger() {
	_ = c.ws.SetReadDeadline(time.Now().Add(c.limits.closeWait))
	_, _ = io.Copy(io.Discard, c.ws.NetConn()) // until the peer or the deadline ends it
}

// session is what the reader knows of who is there. It belongs to the reader.
type session struct {
	ctx    context.Context //nolint:containedctx // of the connection; carries the principal after signing in
	header http.Header     // of the upgrade
	late   *time.Timer
	init   bool // connection_init has come
	ack    bool
}

// signIn answers connection_init. A token in its payload counts, else the one of the upgrade's header.
func (c *socket) signIn(s *session, payload []byte) {
	s.late.Stop()
	token, err := initToken(payload)
	if errors.Is(err, errNoToken) {
		token, err = bearer(s.header)
	}
	var p auth.Principal
	var ends time.Time
	if err == nil {
		p, ends, err = c.verifier.Verify(token)
	}
	switch {
	case errors.Is(err, errNoToken):
		c.end(closure{code: closeUnauthorized, reason: `Sign in: send {"Authorization":"Bearer …"} as the payload of connection_init.`})
		return
	case errors.Is(err, errBadInit):
		c.end(closure{code: closeBadRequest, reason: sentence(err)})
		return
	case err != nil:
		c.end(closure{code: closeForbidden, reason: sentence(err)})
		return
	}
	if full := c.place.signIn(p.ID); full != nil {
		c.end(closure{code: websocket.CloseTryAgainLater, reason: full.message})
		return
	}
	s.ack = true
	setPrincipal(s.ctx, p)
	s.ctx = auth.WithPrincipal(s.ctx, p)
	c.expiry = time.AfterFunc(time.Until(ends), func() { c.end(expired) })
	c.ws.SetReadLimit(c.limits.message)
	c.send(s.ctx, frame{kind: websocket.TextMessage, data: []byte(`{"type":"connection_ack"}`)})
}
