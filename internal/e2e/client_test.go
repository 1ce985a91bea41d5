package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client is somebody who has signed in.
type client struct {
	*testing.T
	server *server
	token  string
	socket *socket
}

func (s *server) as(user string, more ...string) *client {
	s.Helper()
	return &client{T: s.T, server: s, token: s.token(user, more...)}
}

// withToken is somebody who has a token already.
func (s *server) withToken(token string) *client {
	s.Helper()
	return &client{T: s.T, server: s, token: token}
}

type failure struct {
	Message    string
	Path       []any
	Extensions struct {
		Code      string
		RequestID string `json:"requestId"`
		Field     []string
	}
}

type answer struct {
	Data   json.RawMessage
	Errors []failure
}

// http sends a request to a path of the server.
func (c *client) http(method, path string, header http.Header, body io.Reader) (status int, text string, err error) {
	request, err := http.NewRequestWithContext(c.Context(), method, "http://"+c.server.address+path, body)
	if err != nil {
		return 0, "", err
	}
	request.Header = header
	connection := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: patience}
	defer connection.CloseIdleConnections()
	response, err := connection.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	return response.StatusCode, string(read), err
}

// ask runs one operation. It may be called from any goroutine.
func (c *client) ask(query string, variables any) (a answer, err error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return a, err
	}
	_, text, err := c.http(http.MethodPost, "/graphql", http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + c.token}}, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return a, fmt.Errorf("%w in %s", err, text)
	}
	if len(a.Errors) > 0 {
		return a, fmt.Errorf("%s: %+v", query, a.Errors)
	}
	return a, nil
}

// get is ask for what must succeed; into takes the data.
func (c *client) get(into any, query string, variables any) {
	c.Helper()
	a, err := c.ask(query, variables)
	if err == nil {
		err = json.Unmarshal(a.Data, into)
	}
	if err != nil {
		c.Fatal(err)
	}
}

// workspace is what tests look at.
type workspaceNow struct {
	ID           string
	Name         string
	Status       string
	StatusReason string
	Version      int
	Container    *struct {
		ID, State string
		StartedAt time.Time
		Uptime    string
		LastError string
	}
	Isolation struct {
		Subnet   string
		Warnings []string
	}
}

type taskNow struct {
	ID, Type, Status, Step string
	Attempt                int
	Error                  *struct{ Code, Message string }
}

type payload struct {
	Workspace  *workspaceNow
	Task       *taskNow
	UserErrors []struct {
		Code, Message string
		Field         []string
	}
}

const workspaceFields = `{ id name status statusReason version container { id state startedAt uptime lastError } isolation { subnet warnings } }`

const payloadFields = ` { workspace ` + workspaceFields + ` task { id type status step attempt error { code message } } userErrors { code message field } }`

// mutate runs a mutation on a workspace: verb is such as start, input such as {"id": …}.
func (c *client) mutate(verb string, input map[string]any) payload {
	c.Helper()
	p, err := c.try(verb, input)
	if err != nil {
		c.Fatal(err)
	}
	return p
}

// try is mutate for goroutines other than the test's.
func (c *client) try(verb string, input map[string]any) (payload, error) {
	var data struct{ Result payload }
	kind := map[string]string{"create": "Create", "update": "Update", "start": "Start", "stop": "Stop", "restart": "Restart", "delete": "Delete", "sync": "Sync"}[verb]
	a, err := c.ask(fmt.Sprintf("mutation($input: %sWorkspaceInput!) { result: %sWorkspace(input: $input) %s }", kind, verb, payloadFields), map[string]any{"input": input})
	if err == nil {
		err = json.Unmarshal(a.Data, &data)
	}
	if w := data.Result.Workspace; w != nil {
		c.server.made.Store(w.ID, true)
	}
	return data.Result, err
}

// must is mutate without anything to put right.
func (c *client) must(verb string, input map[string]any) payload {
	c.Helper()
	p := c.mutate(verb, input)
	if len(p.UserErrors) > 0 {
		c.Fatalf("%s %v: %+v", verb, input, p.UserErrors)
	}
	return p
}

func (c *client) workspace(id string) *workspaceNow {
	c.Helper()
	var data struct{ Workspace *workspaceNow }
	c.get(&data, `query($id: ID!) { workspace(id: $id) `+workspaceFields+` }`, map[string]any{"id": id})
	return data.Workspace
}

// socket is a connection that speaks graphql-transport-ws.
type socket struct {
	ws *websocket.Conn

	mu      sync.Mutex
	next    int
	streams map[string]chan json.RawMessage // closed by complete or with the connection
	failed  map[string]string
	closed  chan struct{}
	reason  *websocket.CloseError
}

// dial opens a connection without a word.
func (c *client) dial() *websocket.Conn {
	c.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
	ws, response, err := dialer.DialContext(c.Context(), "ws://"+c.server.address+"/graphql", nil)
	if err != nil {
		c.Fatal(err)
	}
	_ = response.Body.Close()
	return ws
}

// connect opens the client's connection, once.
func (c *client) connect() *socket {
	c.Helper()
	if c.socket != nil {
		return c.socket
	}
	s := &socket{ws: c.dial(), streams: map[string]chan json.RawMessage{}, failed: map[string]string{}, closed: make(chan struct{})}
	if err := s.ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]any{"Authorization": "Bearer " + c.token}}); err != nil {
		c.Fatal(err)
	}
	var ack struct{ Type string }
	if err := s.ws.ReadJSON(&ack); err != nil || ack.Type != "connection_ack" {
		c.Fatalf("got %+v, %v", ack, err)
	}
	go s.read()
	c.socket = s
	c.Cleanup(func() { _ = s.ws.Close(); <-s.closed })
	return s
}

func (s *socket) read() {
	defer close(s.closed)
	for {
		var m struct {
			ID, Type string
			Payload  json.RawMessage
		}
		err := s.ws.ReadJSON(&m)
		s.mu.Lock()
		if err != nil {
			s.reason, _ = err.(*websocket.CloseError) //nolint:errorlint // it is never wrapped
			for _, stream := range s.streams {
				close(stream)
			}
			s.streams = nil
			s.mu.Unlock()
			return
		}
		stream := s.streams[m.ID]
		switch {
		case stream == nil:
		case m.Type == "next":
			stream <- m.Payload
		default:
			if m.Type == "error" {
				s.failed[m.ID] = string(m.Payload)
			}
			close(stream)
			delete(s.streams, m.ID)
		}
		s.mu.Unlock()
	}
}

// stream is one subscription.
type stream struct {
	*client
	socket *socket
	id     string
	values <-chan json.RawMessage
}

const unread = 10_000 // messages that a test may leave unread

func (c *client) subscribe(query string, variables any) *stream {
	c.Helper()
	s := c.connect()
	values := make(chan json.RawMessage, unread)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := strconv.Itoa(s.next)
	s.streams[id] = values
	if err := s.ws.WriteJSON(map[string]any{"type": "subscribe", "id": id, "payload": map[string]any{"query": query, "variables": variables}}); err != nil {
		c.Fatal(err)
	}
	return &stream{client: c, socket: s, id: id, values: values}
}

// read takes the next value; false at the end of the stream.
func (s *stream) read(into any) bool {
	s.Helper()
	late, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	select {
	case value, open := <-s.values:
		if !open {
			return false
		}
		var a answer
		if err := json.Unmarshal(value, &a); err != nil || len(a.Errors) > 0 {
			s.Fatalf("got %s, %v", value, err)
		}
		if err := json.Unmarshal(a.Data, into); err != nil {
			s.Fatal(err)
		}
		return true
	case <-late.Done():
		s.Fatal("nothing came")
		return false
	}
}

// status opens a stream of a workspace.
func (c *client) status(id string) *stream {
	c.Helper()
	return c.subscribe(`subscription($id: ID!) { workspaceStatus(id: $id) `+workspaceFields+` }`, map[string]any{"id": id})
}

// until reads a stream of a workspace until it has the status, and gives it as it is then.
func (s *stream) until(status string) workspaceNow {
	s.Helper()
	var last workspaceNow
	for {
		var data struct{ WorkspaceStatus workspaceNow }
		if !s.read(&data) {
			s.Fatalf("the stream of %s ended at %+v before it was %s", last.ID, last, status)
		}
		w := data.WorkspaceStatus
		if w.Version < last.Version {
			s.Fatalf("version %d came after %d", w.Version, last.Version)
		}
		if last = w; w.Status == status {
			return w
		}
		if w.Status == "FAILED" {
			s.Fatalf("%s failed: %s", w.Name, w.StatusReason)
		}
	}
}

// end reads a stream to its end.
func (s *stream) end() {
	s.Helper()
	var data json.RawMessage
	for s.read(&data) {
	}
}
