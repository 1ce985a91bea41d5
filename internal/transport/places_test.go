package transport

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

func TestAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "192.0.2.1:99": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[2001:db8:1:2::9]:1": "2001:db8:1:2::/64", "[2001:db8:1:3::9]:1": "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1": "fe80::/64", "pipe": "pipe", "": "",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

// bounded starts a server with bounds of its own, on pipes.
func bounded(t *testing.T, change func(*Bounds)) *rig {
	t.Helper()
	b := wide
	change(&b)
	return servePipe(t, func(o *Options, _ *limits) { o.Bounds = b })
}

// full expects that a WebSocket is refused before it is opened.
func (r *rig) full(what string) {
	r.t.Helper()
	_, resp, err := r.upgrade()
	if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		r.t.Fatalf("%v, %+v", err, resp)
	}
	if got := r.do("GET", "/graphql", "", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Protocol", subprotocol); !strings.Contains(got.body, what) || !strings.Contains(got.body, codeRateLimited) {
		r.t.Errorf("got %+v", got)
	}
}

func TestPlaces(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"who has not signed in leaves the places of others alone, and is closed after three seconds": func(t *testing.T) {
			r := bounded(t, func(b *Bounds) { b.Unsigned = 2 })
			signed := r.connect()
			first, second := r.open(), r.open()
			r.full("that have not signed in")
			began := time.Now()
			first.wantClose(closeInitTimeout)
			second.wantClose(closeInitTimeout)
			if took := time.Since(began); took != 3*time.Second {
				t.Errorf("closed after %v", took)
			}
			_ = first.ws.Close()
			_ = second.ws.Close()
			synctest.Wait()
			r.connect()
			signed.send(`{"type":"ping"}`)
			signed.want(`{"type":"pong"}`)
		},
		"a user may have so many, and others have theirs": func(t *testing.T) {
			r := bounded(t, func(b *Bounds) { b.SocketsPerUser = 2 })
			one := r.connect()
			r.connect()
			third := r.open()
			third.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + r.token + `"}}`)
			if got := third.wantClose(websocket.CloseTryAgainLater); !strings.Contains(got, "Your WebSockets are limited to 2") {
				t.Error(got)
			}
			bob := r.open()
			bob.init(r.issue("bob", time.Hour))
			_ = one.ws.Close()
			synctest.Wait()
			r.connect()
		},
		"an address may have so many": func(t *testing.T) {
			r := bounded(t, func(b *Bounds) { b.SocketsPerAddress = 2 })
			one := r.connect()
			r.connect()
			r.full("your address are limited to 2")
			_ = one.ws.Close()
			synctest.Wait()
			r.connect()
		},
		"a user runs so many operations, on all sockets together": func(t *testing.T) {
			r := bounded(t, func(b *Bounds) { b.OperationsPerUser = 3 })
			one, two := r.connect(), r.connect()
			for _, id := range []string{"1", "2"} {
				one.subscribe(id, "subscription{held}")
				<-r.held
			}
			two.subscribe("1", "subscription{held}")
			<-r.held
			two.subscribe("2", "subscription{held}")
			two.wantPart(`"type":"error"`, codeRateLimited, "limited to 3")
			bob := r.open()
			bob.init(r.issue("bob", time.Hour))
			bob.subscribe("1", "{who}")
			bob.wantPart(`"who":"bob"`)
			one.send(`{"id":"1","type":"complete"}`)
			<-r.ended
			synctest.Wait()
			two.subscribe("3", "{who}")
			two.wantPart(`"who":"alice"`)
		},
		"what has ended leaves nothing behind": func(t *testing.T) {
			r := servePipe(t)
			for range 3 {
				c := r.connect()
				c.subscribe("1", "subscription{held}")
				<-r.held
				_ = c.ws.Close()
				<-r.ended
			}
			_ = r.open().ws.Close()
			synctest.Wait()
			if p := r.handler.sockets.places; p.taken+p.unsigned+len(p.addresses)+len(p.users) > 0 {
				t.Errorf("left are %+v", p)
			}
		},
		"a flood of pings ends its connection": func(t *testing.T) {
			r := servePipe(t)
			c, other := r.connect(), r.connect()
			go func() {
				for err := error(nil); err == nil; {
					err = c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
				}
			}()
			if got := c.wantClose(closeTooMany); !strings.Contains(got, "Too many messages") {
				t.Error(got)
			}
			other.send(`{"type":"ping"}`)
			other.want(`{"type":"pong"}`)
		},
		"a flood of control frames too": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			go func() {
				for err := error(nil); err == nil; {
					err = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Hour))
				}
			}()
			c.wantClose(closeTooMany)
		},
		"a flood of subscribe and complete too": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			go func() {
				for i := 0; ; i++ {
					for _, m := range []string{fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"subscription{once}"}}`, i), fmt.Sprintf(`{"id":"%d","type":"complete"}`, i)} {
						if c.ws.WriteMessage(websocket.TextMessage, []byte(m)) != nil {
							return
						}
					}
				}
			}()
			c.wantClose(closeTooMany)
		},
		"a wall that opens and completes all that it may at once is served, again and again": func(t *testing.T) {
			r := servePipe(t)
			c := r.connect()
			for range 3 {
				for i := range 256 {
					c.subscribe(fmt.Sprint(i), "{who}")
				}
				for range 2 * 256 {
					c.wantPart(`"type"`)
				}
				<-time.After(5 * time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}
