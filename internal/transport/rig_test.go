package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSchema = gqlparser.MustLoadSchema(&ast.Source{Input: `
	type Query {
		who: String!
		requestId: String!
		count(by: Int!): Int!
		fault: String
		refused: String
		held: String
		panics: String
	}
	type Mutation { rename(to: String!): String! }
	type Subscription {
		ticks: Int!
		once: Int!
		held: Int!
		refused: Int!
		panics: Int!
		flood: String!
	}
`})

// schema is a small executable schema whose one root field decides what happens.
type schema struct {
	ticks chan int      // what ticks sends; closing it ends the stream
	held  chan struct{} // gets a value when something held begins
	ended chan string   // gets the field's name when a subscription's stream has ended
}

func (s *schema) executor() *executor.Executor {
	return executor.New(&graphql.ExecutableSchemaMock{
		SchemaFunc:     func() *ast.Schema { return testSchema },
		ComplexityFunc: func(context.Context, string, string, int, map[string]any) (int, bool) { return 0, false },
		ExecFunc: func(ctx context.Context) graphql.ResponseHandler {
			op := graphql.GetOperationContext(ctx)
			field := op.Operation.SelectionSet[0].(*ast.Field)
			if op.Operation.Operation == ast.Subscription {
				return s.subscribe(ctx, field.Name)
			}
			return graphql.OneShot(s.resolve(ctx, op, field))
		},
	})
}

func (s *schema) resolve(ctx context.Context, op *graphql.OperationContext, field *ast.Field) *graphql.Response {
	var value any
	switch field.Name {
	case "__typename":
		value = op.Operation.SelectionSet[0].(*ast.Field).ObjectDefinition.Name
	case "who":
		p, _ := auth.FromContext(ctx)
		value = p.ID
	case "requestId":
		value = RequestID(ctx)
	case "count":
		value = field.ArgumentMap(op.Variables)["by"]
	case "rename":
		value = field.ArgumentMap(op.Variables)["to"]
	case "fault":
		errs := internalFault.list(ctx)
		errs[0].Path = ast.Path{ast.PathName("fault")}
		return &graphql.Response{Errors: errs, Data: []byte(`{"fault":null}`)}
	case "refused":
		return &graphql.Response{Errors: problem{code: codeRateLimited, message: "Slow down."}.list(ctx)}
	case "held":
		s.held <- struct{}{}
		<-ctx.Done()
	case "panics":
		panic("secret of a resolver")
	}
	data, err := json.Marshal(map[string]any{field.Alias: value})
	if err != nil {
		panic(err)
	}
	return &graphql.Response{Data: data}
}

func (s *schema) subscribe(ctx context.Context, field string) graphql.ResponseHandler {
	n := 0
	end := func() *graphql.Response {
		s.ended <- field
		return nil
	}
	return func(context.Context) *graphql.Response {
		n++
		switch field {
		case "once":
			if n > 1 {
				return end()
			}
			return &graphql.Response{Data: []byte(`{"once":1}`)}
		case "held":
			s.held <- struct{}{}
			<-ctx.Done()
			return end()
		case "refused":
			return &graphql.Response{Errors: problem{code: codeForbidden, message: "Not for you."}.list(ctx)}
		case "panics":
			if n > 1 {
				panic("secret of a stream")
			}
			return &graphql.Response{Data: []byte(`{"panics":1}`)}
		case "flood":
			if n == 1 { // it is held up in sending, and not asked again once it is cancelled
				context.AfterFunc(ctx, func() { s.ended <- field })
			}
			return &graphql.Response{Data: []byte(`{"flood":"` + strings.Repeat("x", 256<<10) + `"}`)}
		}
		select {
		case v, ok := <-s.ticks:
			if !ok {
				return end()
			}
			return &graphql.Response{Data: fmt.Appendf(nil, `{"ticks":%d}`, v)}
		case <-ctx.Done():
			return end()
		}
	}
}

// rig is a running server and what is needed to talk to it.
type rig struct {
	*schema
	t       testing.TB
	server  *Server
	handler *Handler
	tokens  *auth.Tokens
	token   string // alice's, good for an hour
	log     *logBuffer
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	stop    func() error // ends Run and returns what it said; called at the end in any case
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wide bounds are met by no test that does not set its own.
var wide = Bounds{Sockets: 1000, Unsigned: 1000, SocketsPerUser: 1000, SocketsPerAddress: 1000, OperationsPerUser: 10_000}

type setup func(*Options, *limits)

// serve starts a server on a free port of loopback.
func serve(t testing.TB, with ...setup) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, (&net.Dialer{}).DialContext, with...)
}

// servePipe starts one on pipes inside the process, where time can be made to pass.
func servePipe(t testing.TB, with ...setup) *rig {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	return serveOn(t, l, l.dial, with...)
}

func serveOn(t testing.TB, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), with ...setup) *rig {
	t.Helper()
	r := &rig{t: t, dial: dial, log: &logBuffer{}, schema: &schema{
		ticks: make(chan int), held: make(chan struct{}, 1000), ended: make(chan string, 1000),
	}}
	var err error
	if r.tokens, err = auth.New([]byte("a key of thirty-two bytes or more")); err != nil {
		t.Fatal(err)
	}
	r.token = r.issue("alice", time.Hour)
	o := Options{Executor: r.executor(), Verifier: r.tokens, Bounds: wide, Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	limits := defaultLimits()
	for _, f := range with {
		f(&o, &limits)
	}
	if r.handler, err = newHandler(o, limits); err != nil {
		t.Fatal(err)
	}
	r.server = NewServer(l, r.handler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return r
}

func (r *rig) issue(name string, ttl time.Duration) string {
	r.t.Helper()
	token, err := r.tokens.Issue(auth.Principal{ID: name, Role: auth.User}, ttl, time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

func (r *rig) url(path string) string { return "http://" + r.host() + path }

func (r *rig) host() string {
	if a := r.server.Addr(); a.Network() == "tcp" {
		return a.String()
	}
	return "server.test"
}

// reply is what came back over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
	close  bool // the server closes the connection
}

// do sends a request on a connection of its own. A header named "-" removes what is set by default: token, Accept
// and content type.
func (r *rig) do(method, path, body string, header ...string) reply {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url(path), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Accept", graphqlType)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "-" {
			req.Header.Del(header[i+1])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	client := http.Client{
		Transport:     &http.Transport{DialContext: r.dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text), resp.Close}
}

// pipeListener accepts ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { a, _ := net.Pipe(); return a.LocalAddr() }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client is a WebSocket client that speaks the protocol by hand.
type client struct {
	t  testing.TB
	ws *websocket.Conn
}

// open upgrades and says nothing yet.
func (r *rig) open(header ...string) *client {
	r.t.Helper()
	ws, resp, err := r.upgrade(header...)
	if err != nil {
		r.t.Fatalf("upgrade: %v, %v", err, resp)
	}
	r.t.Cleanup(func() { _ = ws.Close() })
	return &client{r.t, ws}
}

func (r *rig) upgrade(header ...string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{NetDialContext: r.dial, Subprotocols: []string{subprotocol}}
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Sec-WebSocket-Protocol" {
			d.Subprotocols = []string{header[i+1]}
			continue
		}
		h.Add(header[i], header[i+1])
	}
	ws, resp, err := d.Dial("ws://"+r.host()+"/graphql", h)
	if resp != nil {
		_ = resp.Body.Close()
	}
	return ws, resp, err
}

// connect upgrades and signs in.
func (r *rig) connect() *client {
	r.t.Helper()
	c := r.open()
	c.init(r.token)
	return c
}

func (c *client) init(token string) {
	c.t.Helper()
	c.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`)
	c.want(`{"type":"connection_ack"}`)
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) subscribe(id, query string) {
	c.t.Helper()
	payload, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(string(encodeMessage("subscribe", id, payload)))
}

func (c *client) receive() string {
	c.t.Helper()
	_, data, err := c.ws.ReadMessage()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return string(data)
}

func (c *client) want(text string) {
	c.t.Helper()
	if got := c.receive(); got != text {
		c.t.Fatalf("received %s, want %s", got, text)
	}
}

func (c *client) wantPart(parts ...string) {
	c.t.Helper()
	got := c.receive()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			c.t.Fatalf("received %s, want %s in it", got, part)
		}
	}
}

// wantClose reads on to the close, over what messages may still come, and returns its reason.
func (c *client) wantClose(code int) string {
	c.t.Helper()
	for {
		_, data, err := c.ws.ReadMessage()
		if err == nil {
			c.t.Logf("before the close: %.200s", data)
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			c.t.Fatalf("closed with %v, want %d", err, code)
		}
		return closed.Text
	}
}
