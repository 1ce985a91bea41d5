package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// operation is one query, mutation or subscription on a connection.
type operation struct {
	id      string
	cancel  context.CancelFunc
	dropped atomic.Bool // the client has completed it: what is queued for it is thrown away, since its id may be another's now
}

// handle acts on one message of the client.
func (c *socket) handle(s *session, data []byte) {
	m, err := decodeMessage(data)
	if err != nil {
		c.end(closure{code: closeBadRequest, reason: sentence(err)})
		return
	}
	switch m.Type {
	case "connection_init":
		if s.init {
			c.end(initTwice)
			return
		}
		s.init = true
		c.signIn(s, m.Payload)
	case "ping":
		c.send(s.ctx, frame{kind: websocket.TextMessage, data: encodePong(m.Payload)})
	case "subscribe":
		if !s.ack {
			c.end(initFirst)
			return
		}
		params, err := decodeParams(m.Payload)
		if err != nil {
			c.end(closure{code: closeBadRequest, reason: sentence(err)})
			return
		}
		c.begin(s.ctx, m.ID, params)
	case "complete":
		c.drop(m.ID)
	}
}

// begin starts an operation. Only the reader calls it, so that ended is not waited for at the same time.
func (c *socket) begin(ctx context.Context, id string, params *graphql.RawParams) {
	c.mu.Lock()
	_, duplicate := c.operations[id]
	// Cancelled operations take a moment to end: they are given as much room again, and no more.
	var full *problem
	switch {
	case duplicate:
	case len(c.operations) >= c.limits.operations || c.running >= 2*c.limits.operations:
		full = busy("This connection may run %d operations at once. Complete one first.", c.limits.operations)
	default:
		full = c.place.begin()
	}
	c.started++
	scoped := withScope(ctx, fmt.Sprintf("%s.%d", RequestID(ctx), c.started))
	switch {
	case duplicate:
		c.mu.Unlock()
		c.end(closure{code: closeDuplicate, reason: "Subscriber for " + id + " already exists"})
	case full != nil:
		c.mu.Unlock()
		payload, _ := json.Marshal(full.list(scoped)) // strings and a bool always encode
		c.send(ctx, frame{kind: websocket.TextMessage, data: encodeMessage("error", id, payload)})
	default:
		opCtx, cancel := context.WithCancel(scoped)
		op := &operation{id: id, cancel: cancel}
		c.operations[id] = op
		c.running++
		c.mu.Unlock()
		c.ended.Go(func() { c.run(opCtx, op, params) })
	}
}

// drop is the client's complete. An id that is not active is one that ended while the message was on its way.
func (c *socket) drop(id string) {
	c.mu.Lock()
	op := c.operations[id]
	delete(c.operations, id)
	c.mu.Unlock()
	if op != nil {
		op.dropped.Store(true)
		op.cancel()
	}
}

// forget makes the id of an operation that has ended free again. The writer calls it right before the client can know.
func (c *socket) forget(op *operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.operations[op.id] == op {
		delete(c.operations, op.id)
	}
}

// run is an operation's goroutine. It says next any number of times and then, unless it was cancelled, either error or
// complete once.
func (c *socket) run(ctx context.Context, op *operation, params *graphql.RawParams) {
	defer func() {
		op.cancel()
		c.place.end()
		c.mu.Lock()
		c.running--
		c.mu.Unlock()
	}()
	defer func() {
		if v := recover(); v != nil {
			logPanic(ctx, c.log, v)
			c.fail(ctx, op, internalFault.list(ctx))
		}
	}()
	traced := graphql.StartOperationTrace(ctx)
	params.ReadTime = graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}
	oc, errs := c.exec.CreateOperationContext(traced, params)
	if len(errs) > 0 {
		c.fail(ctx, op, c.exec.DispatchError(graphql.WithOperationContext(traced, oc), errs).Errors)
		return
	}
	if defers(oc.Doc) {
		c.fail(ctx, op, noDefer.list(ctx))
		return
	}
	next, inner := c.exec.DispatchOperation(traced, oc)
	for {
		resp := next(inner)
		switch {
		case ctx.Err() != nil: // whoever cancelled it wants no more
			return
		case resp == nil:
			c.sendOf(ctx, op, "complete", nil, true)
			return
		case resp.Data == nil && len(resp.Errors) > 0: // refused before it was executed
			c.fail(ctx, op, resp.Errors)
			return
		}
		payload, err := encodeResponse(resp)
		if err != nil {
			logEncode(ctx, c.log, err)
			c.fail(ctx, op, internalFault.list(ctx))
			return
		}
		if !c.sendOf(ctx, op, "next", payload, false) {
			return
		}
		if oc.Operation.Operation != ast.Subscription { // they have one answer; some interceptors never say nil
			c.sendOf(ctx, op, "complete", nil, true)
			return
		}
	}
}

// fail ends an operation with an error message, after which there is no complete.
func (c *socket) fail(ctx context.Context, op *operation, errs gqlerror.List) {
	if len(errs) == 0 {
		errs = internalFault.list(ctx)
	}
	payload, err := json.Marshal(errs)
	if err != nil {
		logEncode(ctx, c.log, err)
		payload, _ = json.Marshal(internalFault.list(ctx)) // strings and a bool always encode
	}
	c.sendOf(ctx, op, "error", payload, true)
}

func (c *socket) sendOf(ctx context.Context, op *operation, kind string, payload []byte, final bool) bool {
	return c.send(ctx, frame{
		kind: websocket.TextMessage, data: encodeMessage(kind, op.id, payload), op: op, final: final,
	})
}
