package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store/storetest"
)

// toxiproxy is a Toxiproxy of the test's own. Its proxies stand in connections and do to them what a network does on a bad day.
type toxiproxy struct {
	*testing.T
	api string
}

func newToxiproxy(t *testing.T) *toxiproxy {
	t.Helper()
	program := os.Getenv("AICLI_TEST_TOXIPROXY")
	if program == "" {
		t.Fatal("AICLI_TEST_TOXIPROXY is not set: run the tests by make test, or set it to what scripts/ensure-toxiproxy.sh prints")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(free.Addr().String())
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	said := &logFile{}
	cmd := exec.Command(program, "-host", host, "-port", port)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, which is an error
		if t.Failed() {
			t.Logf("Toxiproxy's log ends with\n%s", tail(said.String(), 20))
		}
	})
	p := &toxiproxy{T: t, api: "http://" + net.JoinHostPort(host, port)}
	waitUntil(t, func() bool { return p.call(http.MethodGet, "/version", nil, nil) == nil })
	return p
}

func (p *toxiproxy) call(method, path string, input, into any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(p.Context(), method, p.api+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	connection := &http.Transport{DisableKeepAlives: true}
	defer connection.CloseIdleConnections()
	response, err := connection.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	return err
}

func (p *toxiproxy) must(method, path string, input, into any) {
	p.Helper()
	if err := p.call(method, path, input, into); err != nil {
		p.Fatal(err)
	}
}

// before puts a proxy before an address, and says where it listens.
func (p *toxiproxy) before(name, upstream string) string {
	p.Helper()
	var made struct{ Listen string }
	p.must(http.MethodPost, "/proxies", map[string]any{"name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true}, &made)
	return made.Listen
}

// fault is what is done to connections. One without a type cuts them all and refuses new ones.
type fault struct {
	what, typ, stream string
	attributes        map[string]any
	away              bool // what is behind it cannot be asked at all
}

// from the least to the worst.
var faults = []fault{
	{"slow", "latency", "downstream", map[string]any{"latency": 150, "jitter": 100}, false},
	{"slow to close", "slow_close", "downstream", map[string]any{"delay": 1000}, false},
	{"cut in the middle of answers", "limit_data", "downstream", map[string]any{"bytes": 5000}, false},
	{"reset after a moment", "reset_peer", "downstream", map[string]any{"timeout": 300}, false},
	{"cut", "", "", nil, true},
	{"half open", "timeout", "downstream", map[string]any{"timeout": 0}, true},
}

func (p *toxiproxy) begin(proxy string, f fault) {
	p.Helper()
	if f.typ == "" {
		p.must(http.MethodPost, "/proxies/"+proxy, map[string]any{"enabled": false}, nil)
		return
	}
	p.must(http.MethodPost, "/proxies/"+proxy+"/toxics", map[string]any{"name": "fault", "type": f.typ, "stream": f.stream, "attributes": f.attributes}, nil)
}

func (p *toxiproxy) end(proxy string, f fault) {
	p.Helper()
	if f.typ == "" {
		p.must(http.MethodPost, "/proxies/"+proxy, map[string]any{"enabled": true}, nil)
		return
	}
	p.must(http.MethodDelete, "/proxies/"+proxy+"/toxics/fault", nil, nil)
}

// engineSocket is where the engine listens.
func engineSocket(t *testing.T) string {
	t.Helper()
	socket, isSocket := strings.CutPrefix(cmp.Or(os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"), "unix://")
	if !isSocket {
		t.Fatal("The engine is not at a socket of this machine. Unset DOCKER_HOST.")
	}
	return socket
}

// reachable has the engine's socket answer at a TCP address too, since Toxiproxy knows no others.
func reachable(t *testing.T) string {
	t.Helper()
	socket := engineSocket(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			engine, err := net.Dial("unix", socket)
			if err != nil {
				_ = client.Close()
				continue
			}
			pass := func(to, from net.Conn) { // either end ends both
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			go pass(engine, client)
			go pass(client, engine)
		}
	}()
	return listener.Addr().String()
}

// TestConnectionsFail puts Toxiproxy between a server and its engine, and between it and its database, and makes faults while the server is
// asked for everything that there is. Once a fault is over everything is as it was asked to be, and rows, containers and networks agree.
func TestConnectionsFail(t *testing.T) { //nolint:tparallel // its subtests have one server, and one fault at a time
	t.Parallel()
	p := newToxiproxy(t)
	database := storetest.CreateDatabase(t)
	at, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	at.Host = p.before("database", at.Host)
	h := newHome(t, "AICLI_RESYNC_INTERVAL=2s", "AICLI_ORPHAN_GRACE=5s", "AICLI_DATABASE_URL="+at.String(), "DOCKER_HOST=tcp://"+p.before("engine", reachable(t)))
	s := h.start()
	ann := s.as("ann")
	r := &restless{T: t, home: h, draw: rand.New(rand.NewPCG(seedOf(t), 0)), asked: make(map[string]string), done: make(map[string]int)}
	watched := ann.must("create", map[string]any{"name": "watched"}).Workspace.ID
	status := ann.status(watched)
	status.until("ACTIVE")
	for _, proxy := range []string{"engine", "database"} {
		for _, f := range faults {
			t.Run(proxy+" "+f.what, func(t *testing.T) {
				p.begin(proxy, f)
				if f.away && proxy == "engine" {
					waitUntil(t, func() bool { return ann.engine() == "UNAVAILABLE" })
				}
				if f.away && proxy == "database" {
					ann.lost()
				}
				failed := r.asMuchAs(ann, 12)
				if f.away && proxy == "database" && failed == 0 {
					t.Error("a database that is away was not missed")
				}
				if proxy == "engine" && failed > 0 {
					t.Errorf("%d requests were not taken in while the engine was away", failed)
				}
				p.end(proxy, f)
				waitUntil(t, func() bool { // the first answers may still be for connections that are lost
					_, err := ann.ask(`{ viewer { id } workspaces(first: 1) { totalCount } }`, nil)
					return err == nil && ann.engine() == "HEALTHY"
				})
				ann.must("restart", map[string]any{"id": watched, "grace": "PT1S", "wait": "PT30S"})
				status.until("ACTIVE")
			})
		}
	}
	rows := r.settle(ann)
	waitUntil(t, func() bool { return r.agreed(rows) })
	r.compare(rows)
	t.Logf("asked for %v", r.done)
	ann.deleteAll(slices.Collect(maps.Keys(rows)))
	log := s.log.String()
	away, back := strings.Count(log, "the database is away"), strings.Count(log, "the database is back")
	if away == 0 || away != back || strings.Contains(log, "level=ERROR") {
		t.Errorf("it told %d times of the database as away and %d times as back; errors: %q", away, back, errorLine.FindString(log))
	}
}

// errorLine is an error in a log. A database that is away is none.
var errorLine = regexp.MustCompile(`.*level=ERROR.*`)

// asMuchAs asks for so many things, and says how many were not answered well.
func (r *restless) asMuchAs(c *client, most int) (failed int) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for range most {
		if err := r.ask(c); err != nil {
			r.Logf("not taken in: %.200v", err)
			if failed++; failed == 3 { // each may take as long as a lost connection is waited at
				return failed
			}
		}
		<-tick.C
	}
	return failed
}

// engine is what is told of the engine; empty when that cannot be asked.
func (c *client) engine() string {
	var data struct {
		Server struct{ Engine struct{ Status string } }
	}
	a, err := c.ask(`{ server { engine { status } } }`, nil)
	if err != nil || json.Unmarshal(a.Data, &data) != nil {
		return ""
	}
	return data.Server.Engine.Status
}
