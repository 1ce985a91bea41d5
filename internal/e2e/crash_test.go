package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

const (
	kills = 13 // on each database
	// crowd is how many workspaces there are at once: few, so that requests meet.
	crowd = 6
	// lifeMost is how long a server lives at most before it is killed: less and more than its leases.
	lifeMost = 5 * time.Second
)

// TestKilledAtRandom kills the server at random moments while it is asked for everything that there is. On PostgreSQL there is another one beside it,
// which takes over each time. At the end every workspace is as it was last asked to be, without being looked after, and containers, networks
// and rows agree one to one. AICLI_SEED=n runs one seed.
func TestKilledAtRandom(t *testing.T) { //nolint:tparallel // its subtests do, in what onEachDatabase is given
	t.Parallel() // with TestTheEngineIsKilled: they wait for engines and for leases most of the time
	seed := seedOf(t)
	onEachDatabase(t, func(t *testing.T, h *home) {
		t.Parallel()
		h.env = append(h.env, "AICLI_RESYNC_INTERVAL=2s", "AICLI_ORPHAN_GRACE=5s")
		r := &restless{T: t, home: h, draw: rand.New(rand.NewPCG(seed, 0)), asked: make(map[string]string), done: make(map[string]int)}
		var beside []*client
		if h.shared {
			beside = append(beside, h.start().as("ann"))
		}
		for range kills {
			r.live(beside...)
		}
		ann := h.start().as("ann")
		rows := r.settle(ann)
		waitUntil(r.T, func() bool { return r.agreed(rows) }) // what a killed server had asked for may come late, and is removed after the grace
		r.compare(rows)
		t.Logf("asked for %v", r.done)
		ann.deleteAll(slices.Collect(maps.Keys(rows)))
	})
}

// seedOf is what AICLI_SEED says, or else a new one. It is told, so that a run can be had again.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("AICLI_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("AICLI_SEED=%d", seed)
	return seed
}

// restless asks for one thing after another and remembers what was answered.
type restless struct {
	*testing.T
	home  *home
	draw  *rand.Rand
	names int
	asked map[string]string // desired states by workspace; empty: it is not known whether the last request was taken in
	done  map[string]int    // answered requests
	// forgetful says that the engine is killed too, and may lose what it had made, or never start it again, so that it is removed. While its
	// workspace is to be stopped that is left as it is: the next start makes what is missing.
	forgetful bool
}

// live starts a server, asks it, and those beside it, for things, and kills it while it works.
func (r *restless) live(beside ...*client) {
	r.Helper()
	s := r.home.start()
	all := append([]*client{s.as("ann")}, beside...)
	var dead atomic.Bool
	killed := make(chan struct{})
	time.AfterFunc(time.Duration(r.draw.Int64N(int64(lifeMost))), func() {
		defer close(killed)
		dead.Store(true)
		s.kill()
	})
	for !dead.Load() {
		if err := r.ask(all[r.draw.IntN(len(all))]); err != nil && !dead.Load() {
			r.Errorf("a server that lives does not answer: %v", err)
			break
		}
	}
	<-killed
}

var verbOf = map[string]string{"start": "RUNNING", "restart": "RUNNING", "stop": "STOPPED", "delete": "DELETED", "sync": ""}

// ask asks for one thing. An error is an answer that did not come.
func (r *restless) ask(c *client) error {
	ids := slices.Sorted(maps.Keys(r.asked))
	ids = slices.DeleteFunc(ids, func(id string) bool { return r.asked[id] == "DELETED" })
	if len(ids) < crowd && (len(ids) < 2 || r.draw.IntN(3) == 0) {
		return r.create(c)
	}
	if r.draw.IntN(5) == 0 {
		return r.batch(c, ids)
	}
	verb := []string{"start", "stop", "restart", "sync", "stop", "start", "delete"}[r.draw.IntN(7)]
	id := ids[r.draw.IntN(len(ids))]
	input := map[string]any{"id": id}
	if verb == "stop" || verb == "restart" {
		input["grace"] = "PT1S"
	}
	before := r.asked[id]
	if verbOf[verb] != "" {
		r.asked[id] = "" // until it is answered
	}
	p, err := c.try(verb, input)
	if err != nil {
		return err
	}
	switch {
	case len(p.UserErrors) > 0:
		r.asked[id] = before
	case verbOf[verb] != "":
		r.asked[id] = verbOf[verb]
	}
	r.done[verb]++
	return nil
}

func (r *restless) create(c *client) error {
	r.names++
	start := r.draw.IntN(4) > 0
	p, err := c.try("create", map[string]any{"name": fmt.Sprint("restless ", r.names), "start": start})
	if err != nil {
		return err // it may be there: the rows will tell
	}
	if p.Workspace == nil {
		return fmt.Errorf("create: %+v", p.UserErrors)
	}
	r.asked[p.Workspace.ID] = map[bool]string{true: "RUNNING", false: "STOPPED"}[start]
	r.done["create"]++
	return nil
}

func (r *restless) batch(c *client, ids []string) error {
	verb := []string{"start", "stop", "restart", "sync"}[r.draw.IntN(4)]
	of := ids[:1+r.draw.IntN(len(ids))]
	known := slices.DeleteFunc(slices.Clone(of), func(id string) bool { return r.asked[id] == "" }) // the others may be deleted
	if verbOf[verb] != "" {
		for _, id := range of {
			r.asked[id] = ""
		}
	}
	a, err := c.ask(`mutation($input: StartBatchInput!) { startBatch(input: $input) { batch { id } userErrors { message } } }`,
		map[string]any{"input": map[string]any{"operation": map[string]string{"start": "START", "stop": "STOP", "restart": "RESTART", "sync": "SYNC"}[verb], "workspaceIds": of, "concurrency": 2}})
	if err != nil {
		return err
	}
	var data struct {
		StartBatch struct{ Batch *struct{ ID string } }
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		return err
	}
	if data.StartBatch.Batch == nil { // as many as may be are running: nothing was asked for, and what was before is forgotten
		r.done["refused batch"]++
		return nil
	}
	if verbOf[verb] != "" {
		for _, id := range known {
			r.asked[id] = verbOf[verb]
		}
	}
	r.done["batch "+verb]++
	return nil
}

// row is a workspace as it is at the end.
type row struct {
	ID, Status, StatusReason, DesiredState string
	ActiveTaskCount                        int
}

// settle waits until nothing is under way and every workspace is as it is to be, and says how all of them are. What an engine that was killed has lost
// may have been given up meanwhile: all are looked at once more then.
func (r *restless) settle(c *client) map[string]row {
	r.Helper()
	var rows map[string]row
	quiet := func() bool {
		rows = make(map[string]row)
		var data struct {
			Workspaces struct{ Nodes []row }
			Batches    struct{ Nodes []struct{ Status string } }
		}
		c.get(&data, `{ workspaces(first: 100) { nodes { id status statusReason desiredState activeTaskCount } } batches(first: 20) { nodes { status } } }`, nil)
		still := true
		for _, w := range data.Workspaces.Nodes {
			rows[w.ID] = w
			r.home.made.Store(w.ID, true)
			still = still && w.ActiveTaskCount == 0
		}
		for _, b := range data.Batches.Nodes {
			still = still && b.Status != "RUNNING"
		}
		return still
	}
	if !r.forgetful {
		waitUntil(r.T, func() bool {
			return quiet() && !slices.ContainsFunc(slices.Collect(maps.Values(rows)), func(w row) bool { return w.Status != goodStatus[w.DesiredState] })
		})
		return rows
	}
	waitUntil(r.T, quiet)
	for id := range rows {
		if p := c.mutate("sync", map[string]any{"id": id}); len(p.UserErrors) > 0 {
			r.Errorf("sync %s: %+v", id, p.UserErrors)
		}
	}
	waitUntil(r.T, quiet)
	return rows
}

var goodStatus = map[string]string{"RUNNING": "ACTIVE", "STOPPED": "INACTIVE"}

// compare holds that rows, containers and networks agree one to one, and with what was asked for.
func (r *restless) compare(rows map[string]row) {
	r.Helper()
	for id, want := range r.asked {
		if w, exists := rows[id]; want == "DELETED" && exists || want != "" && want != "DELETED" && w.DesiredState != want {
			r.Errorf("%s was last asked to be %s, and is to be %+v", id, want, w)
		}
	}
	for id, w := range rows {
		if w.Status != goodStatus[w.DesiredState] {
			r.Errorf("%+v is not as it is to be", w)
		}
		containers, networks := r.home.left(id)
		lacks := (len(containers) == 0 || len(networks) == 0) && !r.mayLack(w)
		runs := len(containers) == 1 && containers[0].State == engine.Running
		if lacks || len(containers) > 1 || len(networks) > 1 || runs != (w.DesiredState == "RUNNING") {
			r.Errorf("of %+v the engine has %+v and %d networks", w, containers, len(networks))
		}
	}
	for id := range r.asked {
		if _, exists := rows[id]; !exists {
			r.home.nothingLeft(id)
		}
	}
}

// installation is all that the engine has of this home, whoever knows of it.
func (r *restless) installation(rows map[string]row) engine.Labels {
	r.Helper()
	for id := range rows {
		if containers, _ := r.home.left(id); len(containers) > 0 {
			return engine.Labels{engine.LabelManaged: "true", engine.LabelInstallation: containers[0].Labels[engine.LabelInstallation]}
		}
	}
	r.Fatal("nothing is left to tell the installation by")
	return nil
}

// mayLack reports whether a workspace may have no container or no network.
func (r *restless) mayLack(w row) bool { return r.forgetful && w.DesiredState == "STOPPED" }

// agreed reports whether every container and network has a row, and every row those that it is to have.
func (r *restless) agreed(rows map[string]row) bool {
	r.Helper()
	labels := r.installation(rows)
	containers, err := r.home.engine.Containers(r.Context(), labels)
	networks, networksErr := r.home.engine.Networks(r.Context(), labels)
	var withContainer, withNetwork []string
	for _, c := range containers {
		withContainer = append(withContainer, c.Labels[engine.LabelWorkspace])
	}
	for _, n := range networks {
		withNetwork = append(withNetwork, n.Labels[engine.LabelWorkspace])
	}
	return err == nil && networksErr == nil && r.oneEach(withContainer, rows) && r.oneEach(withNetwork, rows)
}

// oneEach reports whether the workspaces of some things are rows, each once, and no row lacks one that is to have it.
func (r *restless) oneEach(of []string, rows map[string]row) bool {
	slices.Sort(of)
	if len(slices.Compact(slices.Clone(of))) != len(of) || slices.ContainsFunc(of, func(id string) bool { return rows[id].ID == "" }) {
		return false
	}
	for id, w := range rows {
		if _, has := slices.BinarySearch(of, id); !has && !r.mayLack(w) {
			return false
		}
	}
	return true
}
