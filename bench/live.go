package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// idlers is how many workspaces run while nobody watches and nothing is asked for.
	idlers = 300
	// allRows is how many workspaces the database has when the server is started on them; those beside the idlers are stopped.
	allRows = 1000
	// quiet is for how long the idle server is watched, and settling how long it is left alone before.
	quiet    = 2 * time.Minute
	settling = 10 * time.Second
	// Bounds of what it takes of a core and of the engine's time meanwhile, and until it is ready.
	mostOfCore = 0.02
	mostCalls  = 30 // a minute
	mostReady  = 2 * time.Second
	// turns is how often a container is started and ended by hand while a client of the server and one of the engine watch it.
	turns = 100
	// Bounds of how much later the server's client knows, as multiples of what the engine and the database take by themselves for what has to be done
	// between: a look at the container and its network, and a commit.
	mostLater     = 1.5
	mostLaterTail = 3.0
	// readyEvery is how often a server that starts is asked whether it is ready.
	readyEvery = 2 * time.Millisecond
	// clockTick is the unit of the processor times in /proc.
	clockTick = 10 * time.Millisecond
)

// live measures what many running workspaces cost when nothing happens, how fast what happens is known, and how long a server takes that is
// started on all of that.
func (b *bench) live(ctx context.Context) (results []result, err error) {
	calls, err := countCalls(b.path("engine.sock"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, calls.Close()) }()
	made, err := b.databases.create(ctx, store.Postgres)
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, b.server, b.dir, made, "DOCKER_HOST=unix://"+b.path("engine.sock"))
	if err != nil {
		return nil, err
	}
	id := s.installation
	running := true
	defer func() {
		if running {
			err = errors.Join(err, s.stop())
		}
		err = errors.Join(err, clearEngine(ctx, b.engine, id))
	}()
	cost, err := b.idle(ctx, s, calls)
	if err != nil {
		return nil, err
	}
	later, err := b.later(ctx, s, made)
	if err != nil {
		return cost, err
	}
	running = false
	if err := s.stop(); err != nil {
		return cost, err
	}
	ready, err := b.ready(ctx, made)
	return append(append(cost, later...), ready), err
}

// idle makes the workspaces and watches the server while it has nothing to do.
func (b *bench) idle(ctx context.Context, s *server, calls *counter) ([]result, error) {
	before, err := s.memory()
	if err != nil {
		return nil, err
	}
	took, err := s.make(ctx, idlers)
	if err != nil {
		return nil, err
	}
	b.progress.Info("idlers are there", "workspaces", idlers, "took", took)
	if err := pause(ctx, settling); err != nil {
		return nil, err
	}
	used, err := s.processorTime()
	if err != nil {
		return nil, err
	}
	began, asked := time.Now(), calls.n.Load()
	if err := pause(ctx, quiet); err != nil {
		return nil, err
	}
	still, err := s.processorTime()
	if err != nil {
		return nil, err
	}
	share := (still - used).Seconds() / time.Since(began).Seconds()
	perMinute := float64(calls.n.Load()-asked) / time.Since(began).Minutes()
	after, err := s.memory()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%d idle workspaces, nobody watching: ", idlers)
	return []result{
		{name: name + "processor", database: store.Postgres, ours: fmt.Sprintf("%.2f %% of a core", 100*share),
			bound: fmt.Sprintf("< %g %%", 100*mostOfCore), verdict: verdict(share < mostOfCore)},
		{name: name + "engine calls", database: store.Postgres, ours: fmt.Sprintf("%.0f a minute", perMinute),
			bound: fmt.Sprintf("≤ %d", mostCalls), verdict: verdict(perMinute <= mostCalls)},
		{name: name + "memory", database: store.Postgres,
			ours: fmt.Sprintf("%.0f MiB, %.0f kB each", float64(after)/(1<<20), float64(after-before)/idlers/1000)},
	}, nil
}

// later starts and stops a container by hand, and compares when the server's client and when the engine's know of each.
func (b *bench) later(ctx context.Context, s *server, made database) (results []result, err error) {
	id, container, err := b.stopped(ctx, s)
	if err != nil {
		return nil, err
	}
	bare, err := b.engine.Events(ctx, isolation.Installation(s.installation), time.Time{})
	if err != nil {
		return nil, err
	}
	defer bare.Close()
	frames, err := s.watch(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, frames.Close()) }()
	plain, err := openBare(ctx, made)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.db.Close()) }()
	var alone []time.Duration
	changes := []struct {
		what, action, state string
		change              func(ctx context.Context, id string) error
		later               []time.Duration
	}{
		{what: "start", action: "start", state: "RUNNING", change: b.engine.StartContainer},
		{what: "end", action: "die", state: "EXITED", change: func(ctx context.Context, id string) error { return b.engine.StopContainer(ctx, id, 0) }},
	}
	for turn := range turns {
		before := frames.last.LastExit.At
		for i := range changes {
			c := &changes[i]
			known, told := make(chan knowledge, 1), make(chan knowledge, 1)
			go func() { known <- knows(bare, container, c.action) }()
			go func() { told <- frames.until(c.state) }()
			changeErr := c.change(ctx, container)
			k, t := <-known, <-told
			if err := errors.Join(changeErr, k.err, t.err); err != nil {
				return results, fmt.Errorf("%s %d of %d: %w", c.what, turn, turns, err)
			}
			c.later = append(c.later, t.at.Sub(k.at))
		}
		// The next turn begins when all is known of this one: else the engine still clears up while it is to start the container again.
		if err := frames.untilExit(before); err != nil {
			return results, fmt.Errorf("turn %d of %d: %w", turn, turns, err)
		}
		took, err := b.lookAndCommit(ctx, plain, id, container)
		if err != nil {
			return results, fmt.Errorf("turn %d of %d: %w", turn, turns, err)
		}
		alone = append(alone, took)
	}
	for _, c := range changes {
		half, tail := median(c.later), percentile(c.later, 99)
		peer, peerTail := median(alone), percentile(alone, 99)
		ratio, tailRatio := float64(half)/float64(peer), float64(tail)/float64(peerTail)
		results = append(results, result{
			name: "engine's event to the client's frame, " + c.what, database: made.dialect, ours: fmt.Sprintf("%s ms later, p99 %s ms", millis(half), millis(tail)),
			peer:  fmt.Sprintf("bare look and commit, %s ms, p99 %s ms", millis(peer), millis(peerTail)),
			ratio: fmt.Sprintf("%.2f, p99 %.2f", ratio, tailRatio), bound: fmt.Sprintf("≤ %g, p99 ≤ %g", mostLater, mostLaterTail),
			verdict: verdict(ratio <= mostLater && tailRatio <= mostLaterTail),
		})
	}
	return results, nil
}

// lookAndCommit asks the engine what a look at a workspace asks, by a bare client, and commits one row to a bare table. It says how long both took.
func (b *bench) lookAndCommit(ctx context.Context, plain *bare, id, container string) (time.Duration, error) {
	labels := engine.Labels{engine.LabelWorkspace: id}
	began := time.Now()
	_, networksErr := b.engine.Networks(ctx, labels)
	_, listErr := b.engine.Containers(ctx, labels)
	_, inspectErr := b.engine.Container(ctx, container)
	looked := time.Since(began)
	committed, commitErr := plain.commit(ctx, 1)
	return looked + committed, errors.Join(networksErr, listErr, inspectErr, commitErr)
}

// stopped is one of the idlers, stopped by its owner, and its container.
func (b *bench) stopped(ctx context.Context, s *server) (id, container string, err error) {
	list, err := b.engine.Containers(ctx, isolation.Installation(s.installation))
	if err != nil {
		return "", "", err
	}
	if len(list) == 0 {
		return "", "", errors.New("the engine has no containers")
	}
	id = list[0].Labels[engine.LabelWorkspace]
	if err := s.mutate(ctx, "stop", map[string]any{"id": id, "grace": "PT0S"}); err != nil {
		return "", "", err
	}
	return id, list[0].ID, s.until(ctx, "INACTIVE", 1)
}

// ready starts the server on many rows and containers, and says how long that takes until it answers at /readyz.
func (b *bench) ready(ctx context.Context, made database) (result, error) {
	if err := fillStopped(ctx, made, allRows-idlers); err != nil {
		return result{}, err
	}
	began := time.Now()
	s, err := startServer(ctx, b.server, b.dir, made)
	if err != nil {
		return result{}, err
	}
	err = s.ready(ctx)
	took := time.Since(began)
	return result{
		name: fmt.Sprintf("start with %d rows and %d containers, ready", allRows, idlers), database: made.dialect, ours: fmt.Sprintf("%.2f s", took.Seconds()),
		bound: fmt.Sprintf("< %v", mostReady), verdict: verdict(took < mostReady),
	}, errors.Join(err, s.stop())
}

func fillStopped(ctx context.Context, made database, n int) error {
	db, err := made.open(ctx)
	if err != nil {
		return err
	}
	err = each(ctx, n, fillers, func(ctx context.Context, i int) error {
		w := newWorkspace(owner, fmt.Sprint("stopped ", i))
		_, err := db.Create(ctx, w, netip.MustParsePrefix(serverPool), func(*workspace.Draft) {})
		return err
	})
	return errors.Join(err, db.Close())
}

// ready waits until the server says that it is.
func (c *client) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		response, err := c.http.Do(request)
		if err == nil {
			err = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return err
			}
		}
		if err := pause(ctx, readyEvery); err != nil {
			return fmt.Errorf("the server is not ready: %w", err)
		}
	}
}

// proc is the path of what the kernel says of the server.
func (s *server) proc(what string) string { return fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, what) }

// processorTime is what the server has used of the processors.
func (s *server) processorTime() (time.Duration, error) {
	text, err := os.ReadFile(s.proc("stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name of the program may have blanks in it
	fields := strings.Fields(rest)
	const user, system = 11, 12 // fields 14 and 15 of the whole line
	if len(fields) <= system {
		return 0, fmt.Errorf("processor times in %q", text)
	}
	u, err := strconv.Atoi(fields[user])
	if err != nil {
		return 0, err
	}
	k, err := strconv.Atoi(fields[system])
	return time.Duration(u+k) * clockTick, err
}

// memory is how much of the machine's memory the server has, in bytes.
func (s *server) memory() (int, error) {
	text, err := os.ReadFile(s.proc("statm"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("sizes in %q", text)
	}
	pages, err := strconv.Atoi(fields[1])
	return pages * os.Getpagesize(), err
}

// knowledge is when something was known.
type knowledge struct {
	at  time.Time
	err error
}

// knows reads events until one of a container.
func knows(bare engine.EventStream, container, action string) knowledge {
	for {
		e, err := bare.Next()
		if err != nil || e.ID == container && e.Action == action {
			return knowledge{time.Now(), err}
		}
	}
}

// frames are what a client of the server reads of one workspace's status.
type frames struct {
	*websocket.Conn

	last status
}

func (c *client) watch(ctx context.Context, id string) (*frames, error) {
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
	ws, response, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(c.address, "http")+"/graphql", nil)
	if err != nil {
		return nil, err
	}
	f := &frames{Conn: ws}
	err = errors.Join(response.Body.Close(), ws.SetReadDeadline(time.Now().Add(2*patience)),
		ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]any{"Authorization": "Bearer " + c.token}}),
		ws.WriteJSON(map[string]any{"type": "subscribe", "id": "status", "payload": map[string]any{
			"query": `subscription($id: ID!) { workspaceStatus(id: $id) { status restartCount container { state } lastExit { at } } }`, "variables": map[string]any{"id": id},
		}}))
	if err == nil {
		_, err = f.read()
	}
	if err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	return f, nil
}

// status is what a frame says of its workspace.
type status struct {
	Status       string
	RestartCount int
	Container    struct{ State string }
	LastExit     struct{ At string } // when the container last ended, as far as it is known how
}

// frame is one of them.
type frame struct {
	Type    string
	Payload struct {
		Data   struct{ WorkspaceStatus status }
		Errors []struct{ Message string }
	}
}

func (f *frames) read() (m frame, err error) {
	for m.Type != "next" {
		if err = f.ReadJSON(&m); err == nil && (slices.Contains([]string{"error", "complete"}, m.Type) || len(m.Payload.Errors) > 0) {
			err = fmt.Errorf("the stream of a status ended: %+v", m)
		}
		if err != nil {
			return m, err
		}
	}
	f.last = m.Payload.Data.WorkspaceStatus
	return m, nil
}

// until reads until the container has a state.
func (f *frames) until(state string) knowledge {
	for {
		m, err := f.read()
		if err != nil || m.Payload.Data.WorkspaceStatus.Container.State == state {
			return knowledge{time.Now(), err}
		}
	}
}

// untilExit reads until it is known how the container has ended since before.
func (f *frames) untilExit(before string) (err error) {
	for err == nil && f.last.LastExit.At == before {
		_, err = f.read()
	}
	return err
}

// counter passes calls on to the engine and counts them.
type counter struct {
	*http.Server

	n atomic.Int64
}

// countCalls listens at a socket of its own.
func countCalls(at string) (*counter, error) {
	socket := "/var/run/docker.sock"
	if host, set := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); set {
		socket = host
	}
	listener, err := net.Listen("unix", at) //nolint:noctx // it is closed with the server
	if err != nil {
		return nil, fmt.Errorf("listen for calls of the engine: %w", err)
	}
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	pass.FlushInterval = -1 // streams are passed on as they come
	pass.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	c := &counter{}
	c.Server = &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.n.Add(1)
		pass.ServeHTTP(w, r)
	})}
	go func() { _ = c.Serve(listener) }() // until it is closed
	return c, nil
}
