package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestSocket(t *testing.T) {
	r := serve(t)
	t.Run("the one subprotocol is spoken", func(t *testing.T) {
		if got := r.open().ws.Subprotocol(); got != "graphql-transport-ws" {
			t.Error(got)
		}
	})
	t.Run("signing in works with either spelling of the name", func(t *testing.T) {
		for _, name := range []string{"Authorization", "authorization"} {
			c := r.open()
			c.send(`{"type":"connection_init","payload":{"` + name + `":"Bearer ` + r.token + `"}}`)
			c.want(`{"type":"connection_ack"}`)
		}
	})
	t.Run("signing in works with the header of the upgrade, whatever else the payload holds", func(t *testing.T) {
		for _, payload := range []string{``, `,"payload":null`, `,"payload":{}`, `,"payload":{"authorization":null,"x":[1]}`} {
			c := r.open("Authorization", "Bearer "+r.token)
			c.send(`{"type":"connection_init"` + payload + `}`)
			c.want(`{"type":"connection_ack"}`)
		}
	})
	t.Run("the payload's token counts before the header's", func(t *testing.T) {
		c := r.open("Authorization", "Bearer nonsense")
		c.init(r.issue("bob", time.Hour))
		c.subscribe("1", "{who}")
		c.want(`{"id":"1","type":"next","payload":{"data":{"who":"bob"}}}`)
	})
	t.Run("queries and mutations are answered and completed", func(t *testing.T) {
		c := r.connect()
		c.subscribe("1", "{who}")
		c.want(`{"id":"1","type":"next","payload":{"data":{"who":"alice"}}}`)
		c.want(`{"id":"1","type":"complete"}`)
		c.send(`{"id":"1","type":"subscribe","payload":{"query":"mutation($to:String!){rename(to:$to)}","variables":{"to":"b"},"operationName":null,"extensions":null}}`)
		c.want(`{"id":"1","type":"next","payload":{"data":{"rename":"b"}}}`)
		c.want(`{"id":"1","type":"complete"}`)
	})
	t.Run("an error beside data comes in next", func(t *testing.T) {
		c := r.connect()
		c.subscribe("1", "{fault}")
		c.wantPart(`"type":"next"`, `"errors":[`, `"data":{"fault":null}`)
		c.want(`{"id":"1","type":"complete"}`)
	})
	t.Run("a subscription goes on until its stream ends", func(t *testing.T) {
		r := serve(t)
		c := r.connect()
		c.subscribe("a \"b\"", "subscription{ticks}")
		for i := range 3 {
			r.ticks <- i
			c.want(fmt.Sprintf(`{"id":"a \"b\"","type":"next","payload":{"data":{"ticks":%d}}}`, i))
		}
		close(r.ticks)
		c.want(`{"id":"a \"b\"","type":"complete"}`)
	})
	t.Run("the client's complete ends the stream, without an answer", func(t *testing.T) {
		c := r.connect()
		c.subscribe("1", "subscription{held}")
		<-r.held
		c.send(`{"id":"1","type":"complete"}`)
		if got := <-r.ended; got != "held" {
			t.Error(got)
		}
		c.send(`{"type":"ping"}`)
		c.want(`{"type":"pong"}`)
	})
	t.Run("an id is free again after complete, from either side", func(t *testing.T) {
		c := r.connect()
		for range 50 {
			c.subscribe("1", "subscription{once}")
			c.wantPart(`"next"`)
			c.want(`{"id":"1","type":"complete"}`)
			<-r.ended
		}
		for range 50 {
			c.subscribe("1", "subscription{held}")
			c.send(`{"id":"1","type":"complete"}`)
		}
		c.subscribe("1", "{who}")
		c.want(`{"id":"1","type":"next","payload":{"data":{"who":"alice"}}}`)
	})
	t.Run("completing what is not there is ignored", func(t *testing.T) {
		c := r.connect()
		c.send(`{"id":"gone","type":"complete"}`)
		c.send(`{"type":"ping","payload":{"n":1}}`)
		c.want(`{"type":"pong","payload":{"n":1}}`)
	})
	t.Run("pongs are taken, pings answered before signing in as well", func(t *testing.T) {
		c := r.open()
		c.send(`{"type":"pong","payload":{}}`)
		c.send(`{"type":"ping","payload":null}`)
		c.want(`{"type":"pong"}`)
	})
	t.Run("pings of the WebSocket protocol are answered", func(t *testing.T) {
		c := r.connect()
		var got string
		c.ws.SetPongHandler(func(data string) error { got = data; return nil })
		if err := c.ws.WriteControl(websocket.PingMessage, []byte("hello"), time.Time{}); err != nil {
			t.Fatal(err)
		}
		c.send(`{"type":"ping"}`)
		c.want(`{"type":"pong"}`)
		if got != "hello" {
			t.Errorf("pong %q", got)
		}
	})
	t.Run("each operation has a request id below the connection's", func(t *testing.T) {
		c := r.open("X-Request-Id", "mine")
		c.init(r.token)
		c.subscribe("1", "{requestId}")
		c.wantPart(`"requestId":"mine.1"`)
	})
	t.Run("what the client closes is closed with its code", func(t *testing.T) {
		c := r.connect()
		c.subscribe("1", "subscription{held}")
		<-r.held
		if err := c.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
			t.Fatal(err)
		}
		c.wantClose(1000)
		<-r.ended
	})
	t.Run("a connection that breaks ends its operations", func(t *testing.T) {
		c := r.connect()
		c.subscribe("1", "subscription{held}")
		<-r.held
		_ = c.ws.NetConn().Close()
		<-r.ended
	})
}

// Each of these ends one operation with an error message; no complete follows, and the connection goes on.
func TestSocketErrors(t *testing.T) {
	r := serve(t)
	for name, tc := range map[string]struct{ query, has string }{
		"a document that does not parse":      {"{", `"message"`},
		"a document that is not valid":        {"{nothing}", `"message"`},
		"an empty document":                   {"", `"message"`},
		"a query that is refused":             {"{refused}", `"code":"RATE_LIMITED"`},
		"a subscription that is refused":      {"subscription{refused}", `"code":"FORBIDDEN"`},
		"a deferred fragment":                 {"{... @defer {who}}", `without @defer`},
		"a deferred fragment in a fragment":   {"{...f} fragment f on Query {... on Query {...g @defer}} fragment g on Query{who}", `without @defer`},
		"a panic in a resolver":               {"{panics}", `"code":"INTERNAL"`},
		"a panic in the middle of its stream": {"subscription{panics}", `"code":"INTERNAL"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := r.connect()
			c.subscribe("1", tc.query)
			if strings.HasPrefix(tc.query, "subscription{panics") {
				c.wantPart(`"next"`)
			}
			got := c.receive()
			var m struct {
				ID, Type string
				Payload  []struct{ Message string }
			}
			if err := json.Unmarshal([]byte(got), &m); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if m.ID != "1" || m.Type != "error" || len(m.Payload) == 0 || m.Payload[0].Message == "" ||
				!strings.Contains(got, tc.has) || strings.Contains(got, "secret") {
				t.Errorf("received %s", got)
			}
			c.subscribe("1", "{who}")
			c.want(`{"id":"1","type":"next","payload":{"data":{"who":"alice"}}}`)
		})
	}
}

func TestSocketCloses(t *testing.T) {
	r := serve(t)
	for name, tc := range map[string]struct {
		signedIn bool
		send     string
		code     int
	}{
		"connection_init without a token":             {false, `{"type":"connection_init"}`, 4401},
		"connection_init with an empty payload":       {false, `{"type":"connection_init","payload":{}}`, 4401},
		"subscribe before connection_init":            {false, `{"id":"1","type":"subscribe","payload":{"query":"{who}"}}`, 4401},
		"a bad token":                                 {false, `{"type":"connection_init","payload":{"Authorization":"Bearer x"}}`, 4403},
		"a token without its scheme":                  {false, `{"type":"connection_init","payload":{"Authorization":"x"}}`, 4403},
		"an empty token":                              {false, `{"type":"connection_init","payload":{"Authorization":""}}`, 4403},
		"a token that is no string":                   {false, `{"type":"connection_init","payload":{"authorization":7}}`, 4400},
		"a payload of connection_init that is a list": {false, `{"type":"connection_init","payload":[]}`, 4400},
		"a second connection_init":                    {true, `{"type":"connection_init"}`, 4429},
		"an unknown message":                          {true, `{"type":"start","id":"1"}`, 4400},
		"a message that only servers send":            {true, `{"type":"next","id":"1","payload":{}}`, 4400},
		"a message without a type":                    {true, `{"id":"1"}`, 4400},
		"a type that is no string":                    {true, `{"type":1}`, 4400},
		"no JSON":                                     {true, `hello`, 4400},
		"an empty message":                            {true, ``, 4400},
		"broken JSON":                                 {true, `{"type":`, 4400},
		"a list":                                      {true, `[{"type":"ping"}]`, 4400},
		"two messages in one":                         {true, `{"type":"ping"}{"type":"ping"}`, 4400},
		"broken text":                                 {true, "{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}", 4400},
		"a ping with a payload of text":               {true, `{"type":"ping","payload":"x"}`, 4400},
		"subscribe without an id":                     {true, `{"type":"subscribe","payload":{"query":"{who}"}}`, 4400},
		"subscribe with an id that is no string":      {true, `{"id":1,"type":"subscribe","payload":{"query":"{who}"}}`, 4400},
		"subscribe with too long an id":               {true, `{"id":"` + strings.Repeat("x", 129) + `","type":"subscribe","payload":{"query":"{who}"}}`, 4400},
		"subscribe without a payload":                 {true, `{"id":"1","type":"subscribe"}`, 4400},
		"subscribe with a payload of null":            {true, `{"id":"1","type":"subscribe","payload":null}`, 4400},
		"subscribe without a query":                   {true, `{"id":"1","type":"subscribe","payload":{}}`, 4400},
		"subscribe with variables that are a list":    {true, `{"id":"1","type":"subscribe","payload":{"query":"{who}","variables":[]}}`, 4400},
		"complete without an id":                      {true, `{"type":"complete"}`, 4400},
		"a huge message before signing in":            {false, `{"type":"ping","payload":{"x":"` + strings.Repeat("x", 17<<10) + `"}}`, 1009},
		"a huge message":                              {true, `{"type":"ping","payload":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`, 1009},
	} {
		t.Run(fmt.Sprintf("%d for %s", tc.code, name), func(t *testing.T) {
			c := r.open()
			if tc.signedIn {
				c.init(r.token)
			}
			c.send(tc.send)
			c.wantClose(tc.code)
		})
	}
	t.Run("4400 for binary", func(t *testing.T) {
		c := r.connect()
		if err := c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`)); err != nil {
			t.Fatal(err)
		}
		c.wantClose(4400)
	})
	t.Run("4403 for a bad token in the header of the upgrade", func(t *testing.T) {
		c := r.open("Authorization", "Bearer x")
		c.send(`{"type":"connection_init"}`)
		c.wantClose(4403)
	})
	t.Run("1002 for a broken frame", func(t *testing.T) {
		c := r.connect()
		if _, err := c.ws.NetConn().Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
		c.wantClose(1002)
	})
	t.Run("4409 for an id that is active, and its operation ends", func(t *testing.T) {
		c := r.connect()
		c.subscribe("one", "subscription{held}")
		<-r.held
		c.subscribe("one", "{who}")
		if got := c.wantClose(4409); got != "Subscriber for one already exists" {
			t.Error(got)
		}
		<-r.ended
	})
	t.Run("what was answered before the mistake arrives before the close", func(t *testing.T) {
		c := r.connect()
		for i := range 20 {
			c.send(fmt.Sprintf(`{"type":"ping","payload":{"n":%d}}`, i))
		}
		c.send(`nonsense`)
		for i := range 20 {
			c.want(fmt.Sprintf(`{"type":"pong","payload":{"n":%d}}`, i))
		}
		c.wantClose(4400)
	})
	t.Run("a reason is cut between characters", func(t *testing.T) {
		if got := cutReason(strings.Repeat("x", 122) + "…"); got != strings.Repeat("x", 122) {
			t.Errorf("%q", got)
		}
	})
}

func TestSocketBounds(t *testing.T) {
	t.Run("an operation beyond the bound gets an error and the others go on", func(t *testing.T) {
		r := serve(t, func(_ *Options, l *limits) { l.operations = 3 })
		c := r.connect()
		for i := range 3 {
			c.subscribe(fmt.Sprint(i), "subscription{held}")
			<-r.held
		}
		c.subscribe("more", "{who}")
		c.wantPart(`"id":"more","type":"error"`, `"code":"RATE_LIMITED"`, `"retryable":true`)
		c.send(`{"id":"0","type":"complete"}`)
		<-r.ended
		c.subscribe("more", "{who}")
		c.wantPart(`"id":"more","type":"next"`)
	})
	t.Run("many operations run side by side", func(t *testing.T) {
		r := serve(t)
		c := r.connect()
		for i := range 200 {
			c.subscribe(fmt.Sprint(i), "subscription{ticks}")
		}
		for i := range 1000 {
			r.ticks <- i
			c.wantPart(fmt.Sprintf(`{"ticks":%d}`, i))
		}
	})
	t.Run("a connection beyond the bound is refused, and let in when one has gone", func(t *testing.T) {
		r := serve(t, func(o *Options, _ *limits) { o.Bounds.Sockets = 2 })
		a, _ := r.connect(), r.connect()
		_, resp, err := r.upgrade()
		if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = a.ws.Close()
		for { // until the server has seen it
			if ws, _, err := r.upgrade(); err == nil {
				_ = ws.Close()
				return
			}
		}
	})
	t.Run("another subprotocol is refused", func(t *testing.T) {
		r := serve(t)
		for _, name := range []string{"graphql-ws", ""} {
			_, resp, err := r.upgrade("Sec-WebSocket-Protocol", name)
			if err == nil || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%q: %v, %v", name, resp, err)
			}
		}
	})
	t.Run("a malformed handshake is refused", func(t *testing.T) {
		a := serve(t).do("GET", "/graphql", "", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Protocol", subprotocol, "Sec-WebSocket-Version", "8", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		if a.status != 400 || !strings.Contains(a.body, "handshake is malformed") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a reader that is stuck is cut off and the others go on", func(t *testing.T) {
		r := serve(t, func(_ *Options, l *limits) { l.writeWait, l.closeWait = time.Second, time.Second })
		stuck, other := r.connect(), r.connect()
		stuck.subscribe("1", "subscription{flood}")
		other.subscribe("1", "subscription{ticks}")
		for i, cut := 0, false; !cut; i++ {
			select {
			case r.ticks <- i:
				other.want(fmt.Sprintf(`{"id":"1","type":"next","payload":{"data":{"ticks":%d}}}`, i))
			case <-r.ended:
				cut = true
			}
		}
		r.ticks <- -1
		other.wantPart(`"ticks":-1`)
		for { // what its system had taken in, then a close if there was room for one, else the end
			_, _, err := stuck.ws.ReadMessage()
			if err == nil {
				continue
			}
			var closed *websocket.CloseError
			if errors.As(err, &closed) && closed.Code != websocket.CloseTryAgainLater && closed.Code != websocket.CloseAbnormalClosure {
				t.Errorf("closed with %v", err)
			}
			return
		}
	})
}

func TestShutdown(t *testing.T) {
	t.Run("every socket is closed with 1012, its operations end without complete, and Run returns", func(t *testing.T) {
		r := serve(t)
		clients := make([]*client, 20)
		for i := range clients {
			clients[i] = r.connect()
			clients[i].subscribe("1", "subscription{held}")
			<-r.held
		}
		waiting := r.open() // has not signed in
		stopped := make(chan error, 1)
		go func() { stopped <- r.stop() }()
		for _, c := range append(clients, waiting) {
			_, data, err := c.ws.ReadMessage()
			if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
				t.Errorf("%s, %v; want 1012", data, err)
			}
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		for range clients {
			if got := <-r.ended; got != "held" {
				t.Error(got)
			}
		}
	})
	t.Run("a server that is closing its sockets is not ready and takes no more", func(t *testing.T) {
		r := serve(t)
		c := r.connect()
		done := make(chan error, 1)
		go func() { done <- r.handler.CloseSockets(t.Context()) }()
		c.wantClose(1012)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, resp, err := r.upgrade(); err == nil || resp.StatusCode != 503 {
			t.Errorf("%v, %v", resp, err)
		}
		if a := r.do("GET", "/readyz", ""); a.status != 503 || !strings.Contains(a.body, "shutting down") {
			t.Errorf("%+v", a)
		}
		if a := r.do("POST", "/graphql", `{"query":"{who}"}`); a.status != 200 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a listener that fails ends Run", func(t *testing.T) {
		r := serve(t)
		c := r.connect()
		_ = r.server.listener.Close()
		c.wantClose(1012)
		r2 := r.stop()
		if r2 == nil || !strings.Contains(r2.Error(), "serve on 127.0.0.1:") {
			t.Errorf("Run = %v", r2)
		}
		r.stop = func() error { return nil }
	})
}
