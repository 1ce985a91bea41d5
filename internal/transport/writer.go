package transport

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/websocket"
)

// frame is one thing to write. Its bytes belong to the writer once it is queued.
type frame struct {
	kind  int // websocket.TextMessage or PongMessage
	data  []byte
	op    *operation // nil: of the connection itself
	final bool       // op ends with it
}

// send queues a frame and waits while the queue is full, which holds back whoever produces them; false when ctx ended first.
func (c *socket) send(ctx context.Context, f frame) bool {
	select {
	case c.out <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// write is the writer's goroutine: nobody else writes but gorilla's own answer to a broken frame. It ends when the connection
// does, having sent what was queued and the close, as far as the peer takes them.
func (c *socket) write(ctx context.Context) {
	told := false
	c.guard(ctx, func() { told = c.writeFrames() && c.writeClose() })
	if !told {
		_ = c.ws.Close() // ends the reader too
	}
}

// writeFrames returns true when the connection is ending, and false when it can be written to no more.
func (c *socket) writeFrames() bool {
	ping := time.NewTicker(c.limits.pingEvery)
	defer ping.Stop()
	// A write that takes too long condemns the connection, but goes on for a moment: should the peer take it after all,
	// the close can follow, which in the middle of a frame it could not.
	stuck := time.AfterFunc(c.limits.writeWait, func() { c.end(tooSlow) })
	defer stuck.Stop()
	for {
		stuck.Stop()
		if c.isEnding() { // before anything that is queued
			return true
		}
		var err error
		select {
		case <-c.closed:
			return true
		case <-ping.C:
			stuck.Reset(c.limits.writeWait)
			err = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.limits.writeWait+c.limits.closeWait))
		case f := <-c.out:
			stuck.Reset(c.limits.writeWait)
			err = c.put(f, time.Now().Add(c.limits.writeWait+c.limits.closeWait))
		}
		if err != nil {
			c.end(closure{})
			return false
		}
	}
}

func (c *socket) put(f frame, deadline time.Time) error {
	if f.kind == websocket.PongMessage {
		return c.ws.WriteControl(f.kind, f.data, deadline)
	}
	if f.op != nil && f.op.dropped.Load() {
		return nil
	}
	if f.final {
		c.forget(f.op)
	}
	if err := c.ws.SetWriteDeadline(deadline); err != nil {
		return err
	}
	return c.ws.WriteMessage(f.kind, f.data)
}

// writeClose sends what is queued, then the close, and gives the peer a moment to answer; false when the peer cannot be told.
func (c *socket) writeClose() bool {
	if c.why.code == 0 {
		return false
	}
	deadline := time.Now().Add(c.limits.closeWait)
	for flush := !c.why.byPeer && c.why != tooSlow; flush; {
		select {
		case f := <-c.out:
			if err := c.put(f, deadline); err != nil {
				return false
			}
		default:
			flush = false
		}
	}
	text := websocket.FormatCloseMessage(c.why.code, cutReason(c.why.reason))
	err := c.ws.WriteControl(websocket.CloseMessage, text, deadline)
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.SetReadDeadline(deadline) // fails on a dead connection only
	return err == nil || errors.Is(err, websocket.ErrCloseSent)
}
