// Package simulation lets servers, whose service, queue, pool, dispatcher and lifecycle are the real ones, live through months of requests, faults and kills in
// the time of a bubble, and holds after each step what must always be so. It has tests only.
package simulation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	image        = enginetest.BaseImage
	installation = "inst_simulated"
	// convergeEvery is after how many steps there are no faults for a while.
	convergeEvery = 200
)

// world is all that there is, and what is known of it.
type world struct {
	*testing.T
	chance
	dialect store.Dialect
	dsn     string
	eyes    *store.DB         // that nobody cuts off
	replay  *storetest.Replay // of the event log, through them
	fake    *enginetest.Fake
	faults  atomic.Int32
	slow    time.Duration // half of what a call of the engine takes at most
	servers []*server
	gone    []*server
	told    []string // the newest steps

	mu          sync.Mutex
	skew        atomic.Int64        // of the database's clock, in nanoseconds
	started     map[string]struct{} // by meddle
	visits      map[string]map[*visit]struct{}
	faultsFound []string
	late        map[string]struct{} // workspaces with a network that came after the end of the server that had asked for it

	untimed map[string]struct{}        // workspaces whose times do not tell what came first: the clock was set while a task of theirs lived
	owners  map[string]workspace.Actor // of each workspace that may exist
	deleted map[string]workspace.Actor // of each that is known to be gone
	live    map[string]struct{}        // tasks that lived when they were last seen
	ended   map[string]task.Status
	batches map[string]workspace.Batch // as last seen
	owner   map[string]workspace.Actor // of each batch
}

// TestSimulation prints the seeds of what it draws; AICLI_SEED=n runs one again, as far as the scheduler does the same.
func TestSimulation(t *testing.T) {
	first, n := uint64(time.Now().UnixNano()), runs
	if text := os.Getenv("AICLI_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, n = seed, 1
	}
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		for i := range n {
			seed := first + uint64(i)
			t.Run(fmt.Sprint(dialect, " ", i), func(t *testing.T) {
				t.Logf("AICLI_SEED=%d", seed)
				synctest.Test(t, func(t *testing.T) { simulate(t, dialect, seed) })
			})
		}
	}
}

func newWorld(t *testing.T, dialect store.Dialect, seed uint64) *world {
	t.Helper()
	eyes, dsn := storetest.Open(t, dialect)
	w := &world{
		T: t, dialect: dialect, dsn: dsn, eyes: eyes, fake: enginetest.New(), chance: chance{next: rand.New(rand.NewPCG(seed, 0)).IntN}, slow: 1500 * time.Millisecond,
		late:    make(map[string]struct{}),
		untimed: make(map[string]struct{}),
		started: make(map[string]struct{}),
		visits:  make(map[string]map[*visit]struct{}), owners: make(map[string]workspace.Actor), deleted: make(map[string]workspace.Actor), live: make(map[string]struct{}),
		ended: make(map[string]task.Status), batches: make(map[string]workspace.Batch), owner: make(map[string]workspace.Actor),
	}
	eyes.UseClock(w.now)
	return w
}

func simulate(t *testing.T, dialect store.Dialect, seed uint64) {
	w := newWorld(t, dialect, seed)
	defer w.end()
	w.faults.Store(5)
	for len(w.servers) < w.most() {
		w.servers = append(w.servers, w.serve())
	}
	for i := range steps {
		w.step()
		if w.check(); t.Failed() {
			t.Fatalf("after step %d of seed %d; the last were %v", i, seed, w.told)
		}
		if (i+1)%convergeEvery != 0 {
			continue
		}
		if w.converge(); t.Failed() {
			t.Fatalf("when the faults had ended after step %d of seed %d; the last were %v", i, seed, w.told)
		}
	}
	tasks, batches := make(map[task.Status]int), make(map[workspace.BatchStatus]int)
	for _, status := range w.ended {
		tasks[status]++
	}
	for _, b := range w.batches {
		batches[b.Status]++
	}
	t.Logf("%d workspaces and %d that were deleted, tasks %v, batches %v, %d servers killed", len(w.owners), len(w.deleted), tasks, batches, len(w.gone))
}

// most is how many servers there are: SQLite has one.
func (w *world) most() int {
	if w.dialect == store.SQLite {
		return 1
	}
	return 2
}

func (w *world) end() {
	for _, s := range w.servers {
		if err := s.kill(); err != nil {
			w.Error(err)
		}
	}
	for _, s := range append(w.servers, w.gone...) {
		s.ended.Wait()
		s.Close()
	}
}

// settle lets everything run that can without time passing.
func (w *world) settle() { synctest.Wait() }

func (w *world) advance(d time.Duration) {
	<-time.After(d)
	w.settle()
}

// now is what the clock of the database says.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

func (w *world) any() *server { return w.servers[w.n(len(w.servers))] }

// pick draws one of a map's keys; false when there are none.
func pick[V any](w *world, from map[string]V) (string, bool) {
	keys := slices.Sorted(maps.Keys(from))
	if len(keys) == 0 {
		return "", false
	}
	return keys[w.n(len(keys))], true
}
