package transport

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

func TestSocketTimes(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"4408 when connection_init does not come, and not before its time": func(t *testing.T) {
			r := servePipe(t)
			began, c := time.Now(), r.open()
			c.send(`{"type":"ping"}`)
			c.want(`{"type":"pong"}`)
			if got := c.wantClose(4408); got != "Connection initialisation timeout" {
				t.Error(got)
			}
			if took := time.Since(began); took != defaultLimits().initWait {
				t.Errorf("after %v", took)
			}
		},
		"4403 when the token ends, and its operations end with it": func(t *testing.T) {
			r := servePipe(t)
			c := r.open()
			_, ends, err := r.tokens.Verify(r.issue("alice", time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			c.init(r.issue("alice", time.Minute))
			c.subscribe("1", "subscription{held}")
			if got := c.wantClose(4403); !strings.Contains(got, "expired") {
				t.Error(got)
			}
			if now := time.Now(); !now.Equal(ends) {
				t.Errorf("closed at %v, want %v", now, ends)
			}
			<-r.ended
		},
		"a connection that answers pings lives on, and no timeout of requests ends it": func(t *testing.T) {
			r := servePipe(t)
			c := r.open()
			c.init(r.issue("alice", 48*time.Hour))
			c.subscribe("1", "subscription{ticks}")
			go func() {
				<-time.After(24 * time.Hour)
				r.ticks <- 7
			}()
			c.wantPart(`"ticks":7`)
		},
		"a connection that is silent, pings and all, is closed": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			c.subscribe("1", "subscription{held}")
			c.ws.SetPingHandler(func(string) error { return nil })
			began := time.Now()
			c.wantClose(websocket.CloseGoingAway)
			if took := time.Since(began); took != defaultLimits().pongWait {
				t.Errorf("after %v", took)
			}
			<-r.ended
		},
		"1013 when a reader was stuck and reads on": func(t *testing.T) {
			r := servePipe(t)
			stuck, other := r.connect(), r.connect()
			stuck.subscribe("1", "subscription{flood}")
			<-time.After(defaultLimits().writeWait - time.Second)
			other.send(`{"type":"ping"}`)
			other.want(`{"type":"pong"}`)
			<-time.After(time.Second + time.Millisecond)
			stuck.wantClose(websocket.CloseTryAgainLater)
			<-r.ended
			other.send(`{"type":"ping"}`)
			other.want(`{"type":"pong"}`)
		},
		"a reader that stays stuck is cut off, whatever its own messages": func(t *testing.T) {
			r := servePipe(t)
			stuck := r.connect()
			stuck.subscribe("1", "subscription{flood}")
			began := time.Now()
			<-r.ended
			if took := time.Since(began); took != defaultLimits().writeWait {
				t.Errorf("its operation ended after %v", took)
			}
			<-time.After(defaultLimits().closeWait)
			synctest.Wait()
			if err := stuck.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)); err == nil {
				t.Error("it can still send")
			}
			if err := r.handler.CloseSockets(t.Context()); err != nil { // that is: its handler has returned
				t.Error(err)
			}
		},
		"a slow reader that is not stuck loses nothing": func(t *testing.T) {
			r := servePipe(t)
			c := r.open()
			c.init(r.issue("alice", time.Hour))
			c.subscribe("1", "subscription{ticks}")
			go func() {
				for i := range 100 {
					r.ticks <- i
				}
			}()
			for i := range 100 {
				<-time.After(time.Second)
				c.want(fmt.Sprintf(`{"id":"1","type":"next","payload":{"data":{"ticks":%d}}}`, i))
			}
		},
		"a peer that does not answer the close is left after a moment": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			c.ws.SetCloseHandler(func(int, string) error { return nil })
			began := time.Now()
			c.send(`nonsense`)
			c.wantClose(4400)
			if err := r.handler.CloseSockets(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != defaultLimits().closeWait {
				t.Errorf("after %v", took)
			}
		},
		"what a client has completed is not sent, though it was queued": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			c.subscribe("1", "subscription{flood}")
			synctest.Wait() // the writer waits for us, the queue is full
			c.send(`{"id":"1","type":"complete"}`)
			<-r.ended
			c.subscribe("1", "{who}")
			c.wantPart(`"flood"`) // was being written
			c.want(`{"id":"1","type":"next","payload":{"data":{"who":"alice"}}}`)
		},
		"a shutdown cuts off a stuck reader too": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			c.subscribe("1", "subscription{flood}")
			synctest.Wait()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			<-r.ended
		},
		"a request under way is let end when the server stops, and cancelled when it does not": func(t *testing.T) {
			r := servePipe(t)
			answered := make(chan reply, 1)
			go func() { answered <- r.do("POST", "/graphql", `{"query":"{held}"}`) }()
			<-r.held
			began := time.Now()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < drainWait || took > drainWait+cutWait {
				t.Errorf("after %v", took)
			}
			if a := <-answered; a.status != 503 && a.status != 200 {
				t.Errorf("%+v", a)
			}
		},
		"a request whose body never comes is given up": func(t *testing.T) {
			r := servePipe(t)
			conn, err := r.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
				"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{", r.token); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4096)
			n, err := conn.Read(buf)
			if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 400 ") {
				t.Errorf("%s, %v", buf[:n], err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}
