package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// signOfLife is what a server asks its engine every signEvery, whatever else it does.
	signOfLife = "GET /info"
	signEvery  = 5 * time.Second
)

// calls stands before the engine, passes on what a server asks, and notes it.
type calls struct {
	*testing.T

	mu    sync.Mutex
	noted []string // such as POST /containers/create

	quiet   int       // how many there were at the last quiet point
	quietAt time.Time // when that was
}

// versionOrID is what is left out of a path or cut short: the version of the API, and most of an id.
var versionOrID = regexp.MustCompile(`^/v[0-9.]+|([0-9a-f]{12})[0-9a-f]{52}`)

// noteCalls gives calls to the engine, until the end of the test, and the address at which the engine is reached through them.
func noteCalls(t *testing.T) (c *calls, host string) {
	t.Helper()
	c = &calls{T: t}
	socket := engineSocket(t)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	engine := &url.URL{Scheme: "http", Host: "engine"}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(engine) }, Transport: transport,
		FlushInterval: -1, // streams are passed on as they come
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.noted = append(c.noted, r.Method+" "+versionOrID.ReplaceAllString(r.URL.Path, "$1"))
		c.mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		before.Close()
		transport.CloseIdleConnections()
	})
	return c, "tcp://" + before.Listener.Addr().String()
}

// since are the calls after the first n.
func (c *calls) since(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.noted[n:])
}

// untilQuiet waits until the second sign of life from now on: whatever events there were has come long before, and been looked at.
func (c *calls) untilQuiet() {
	c.Helper()
	from := len(c.since(0))
	waitUntil(c.T, func() bool {
		signs := 0
		for i, call := range c.since(from) {
			if call == signOfLife {
				signs++
			}
			if signs == 2 {
				c.quiet, c.quietAt = from+i+1, time.Now()
				return true
			}
		}
		return false
	})
}

// during gives the calls from one quiet point, which was the last, to the next, between which f is run. Of the signs of life those are left out that the clock
// explains.
func (c *calls) during(f func()) []string {
	c.Helper()
	if c.quiet == 0 {
		c.untilQuiet()
	}
	before, began := c.quiet, c.quietAt
	f()
	c.untilQuiet()
	between := c.since(before)[:c.quiet-before]
	for range c.quietAt.Sub(began).Round(signEvery) / signEvery {
		if i := slices.Index(between, signOfLife); i >= 0 {
			between = slices.Delete(between, i, i+1)
		}
	}
	return between
}

// TestCallsOfAnOperation counts what an idle server asks of the real engine for each operation on a workspace, with what it asks because of the events that the
// operation causes. It compares everything only at its start here, and follows events by one stream, so that between two quiet points there is nothing else.
// What is not as expected costs more: addresses that another test's server has, a sign of life that a busy engine holds up. So the least of some lives of a
// workspace counts; where nothing is over its bound the first is the last.
func TestCallsOfAnOperation(t *testing.T) {
	t.Parallel()
	c, host := noteCalls(t)
	ann := newHome(t, "AICLI_RESYNC_INTERVAL=1h", "DOCKER_HOST="+host).start().as("ann")
	operations := []struct {
		verb, status string
		most         int
		least        []string
	}{{verb: "create", status: "ACTIVE", most: 5}, {verb: "stop", status: "INACTIVE", most: 3}, {verb: "start", status: "ACTIVE", most: 3},
		{verb: "restart", status: "ACTIVE", most: 4}, {verb: "delete", most: 4}}
	const lives = 4
	for life, over := 0, true; over && life < lives; life++ {
		over = false
		var id string
		for i := range operations {
			o := &operations[i]
			made := c.during(func() {
				if o.verb == "create" {
					id = ann.must(o.verb, map[string]any{"name": "counted", "wait": "PT30S"}).Workspace.ID
				} else {
					ann.must(o.verb, map[string]any{"id": id, "wait": "PT30S"})
				}
				waitUntil(t, func() bool { // a busy engine may take longer than a request may wait
					w := ann.workspace(id)
					return w == nil && o.status == "" || w != nil && w.Status == o.status
				})
			})
			t.Logf("%s makes %d calls: %q", o.verb, len(made), made)
			if life == 0 || len(made) < len(o.least) {
				o.least = made
			}
			over = over || len(o.least) > o.most
		}
	}
	for _, o := range operations {
		if len(o.least) > o.most {
			t.Errorf("%s makes %d calls, want at most %d: %q", o.verb, len(o.least), o.most, o.least)
		}
	}
}
