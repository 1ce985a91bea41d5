package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/lifecycle"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// fairRuns are pools with so many workers and owners: how long a worker is at one task of each owner at most.
var fairRuns = []struct {
	workers int
	longest []time.Duration
}{
	{8, []time.Duration{10 * time.Second, 10 * time.Second, 200 * time.Millisecond, 50 * time.Millisecond}},
	{8, []time.Duration{10 * time.Second, 100 * time.Millisecond}},
	{3, []time.Duration{10 * time.Second, time.Second, 100 * time.Millisecond}},
}

// TestNobodyWaitsForWhatWaits holds for the real queue and pool, with owners whose tasks take long, wait long, or neither: a task begins within the time that its
// owner's own work ahead of it takes on a fair share of the workers, and what others have at work when it comes. Graces and pulls are no part of that. And no worker
// rests while a task waits. AICLI_STEPS is how many tasks come, begin, wait or end in all.
func TestNobodyWaitsForWhatWaits(t *testing.T) {
	n := 12 * steps
	if text := os.Getenv("AICLI_STEPS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		for _, run := range fairRuns {
			t.Run(fmt.Sprintf("%s %d workers %d owners", dialect, run.workers, len(run.longest)), func(t *testing.T) {
				seed := uint64(time.Now().UnixNano())
				t.Logf("seed %d", seed)
				synctest.Test(t, func(t *testing.T) {
					q := newQueueing(t, dialect, run.workers, run.longest, seed)
					defer q.end()
					q.live(n / len(fairRuns) / 2)
				})
			})
		}
	}
}

// queueing is a queue, its pool, and what is known of who waits.
type queueing struct {
	*testing.T
	chance
	*workspace.Service
	db      *store.DB
	pool    *task.Pool
	workers int
	longest []time.Duration // of each owner
	stop    context.CancelFunc
	ended   sync.WaitGroup

	mu      sync.Mutex
	steps   int
	idle    [][]string         // workspaces without a task, of each owner
	waiting map[string]arrival // tasks
	begun   []int              // runs of each owner
	busy    int
	slowest []float64 // of each owner, as a part of the bound
}

// arrival is when a task began to wait for a worker.
type arrival struct {
	at     time.Time
	begun  int // runs of its owner until then
	waited int // how often it has been parked
}

func ownerName(i int) string { return string(rune('a' + i)) }

// perOwner is how many workspaces each has: no more than may be parked.
const perOwner = 60

func newQueueing(t *testing.T, dialect store.Dialect, workers int, longest []time.Duration, seed uint64) *queueing {
	t.Helper()
	db, _ := storetest.Open(t, dialect)
	db.UseClock(time.Now)
	log := slog.New(slog.DiscardHandler)
	q := &queueing{
		T: t, chance: chance{next: rand.New(rand.NewPCG(seed, 0)).IntN}, db: db, workers: workers, longest: longest, idle: make([][]string, len(longest)),
		waiting: make(map[string]arrival), begun: make([]int, len(longest)), slowest: make([]float64, len(longest)),
	}
	q.Service = workspace.NewService(db, projects{}, workspace.Config{DefaultImage: image, NetworkPool: netip.MustParsePrefix("10.213.0.0/20"), Log: log})
	q.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	handlers := make(map[task.Type]task.Handler)
	for _, typ := range task.Types() {
		handlers[typ] = q.handle
	}
	q.pool = task.New(q, task.Options{Holder: "pool", Workers: workers, Handlers: handlers, Classify: lifecycle.Classify, Timeout: lifecycle.Timeout, Log: log})
	for owner := range longest {
		for i := range perOwner {
			r, err := q.Create(t.Context(), workspace.Actor{ID: ownerName(owner)}, workspace.CreateInput{Name: fmt.Sprint("w", i), Start: new(false)})
			if err != nil {
				t.Fatal(err)
			}
			q.wait(owner, r.Task.ID, 0)
		}
	}
	q.Attach(q.pool)
	ctx, stop := context.WithCancel(context.Background())
	q.stop = stop
	q.ended.Go(func() {
		if err := q.pool.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return q
}

func (q *queueing) end() {
	q.stop()
	q.ended.Wait()
	q.Close()
}

// live lets tasks come, one or many at once, until there were n steps.
func (q *queueing) live(n int) {
	for {
		q.mu.Lock()
		over := q.steps >= n
		q.mu.Unlock()
		if over || q.Failed() {
			break
		}
		for range []int{1, 1, 5, perOwner}[q.n(4)] {
			q.come(q.n(len(q.longest)))
		}
		<-time.After(q.between(time.Millisecond, 2*time.Second))
		q.checkBusy()
	}
	q.Logf("%d steps; the longest waits of the owners were %.2f of the bound", q.steps, q.slowest)
}

// come queues a task for a workspace that has none.
func (q *queueing) come(owner int) {
	q.mu.Lock()
	n := len(q.idle[owner])
	if n == 0 {
		q.mu.Unlock()
		return
	}
	i := q.n(n)
	id := q.idle[owner][i]
	q.idle[owner][i] = q.idle[owner][n-1]
	q.idle[owner] = q.idle[owner][:n-1]
	q.mu.Unlock()
	typ := []task.Type{task.Start, task.Restart, task.Stop, task.Sync}[q.n(4)]
	ch, err := q.db.Update(q.Context(), id, func(d *workspace.Draft) error {
		d.Enqueue(typ, ownerName(owner), task.Params{})
		return nil
	})
	if err != nil {
		q.Fatal(err)
	}
	q.wait(owner, ch.Tasks[0].ID, 0)
	q.pool.Wake()
}

// wait notes that a task waits for a worker.
func (q *queueing) wait(owner int, id string, waited int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.steps++
	q.waiting[id] = arrival{time.Now(), q.begun[owner], waited}
}

// begin holds the bound: within longest what runs has ended once, and the owner has its share; then each share of the owner's own work ahead takes as long as the
// longest of it.
func (q *queueing) begin(owner int, t task.Task) arrival {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.steps++
	came := q.waiting[t.ID]
	delete(q.waiting, t.ID)
	ahead, share := q.begun[owner]-came.begun, q.workers/len(q.longest)
	q.begun[owner]++
	q.busy++
	const claims = 5 * time.Millisecond // each waits for what else ends in that time
	bound := q.longest[0] + time.Duration(2+ahead/share)*q.longest[owner] + time.Duration(ahead+q.workers+1)*claims
	waited := time.Since(came.at)
	if waited > bound {
		q.Errorf("a %s of owner %s waited %s, and %d of its own have begun meanwhile: want at most %s", t.Type, t.OwnerID, waited, ahead, bound)
	}
	q.slowest[owner] = max(q.slowest[owner], float64(waited)/float64(bound))
	return came
}

// handle is at work for a while, and may then wait for something, twice at most.
func (q *queueing) handle(ctx context.Context, t task.Task, _ task.Report) error {
	owner := int(t.OwnerID[0] - 'a')
	came := q.begin(owner, t)
	<-time.After(q.between(q.longest[owner]/10, q.longest[owner]))
	q.mu.Lock()
	q.steps++
	q.busy--
	q.mu.Unlock()
	var err error
	switch {
	case came.waited == 2 || q.n(3) > 0:
	case t.Type == task.Stop:
		err = q.park(ctx, task.ForContainer, 5*time.Minute)
	case t.Type == task.Sync:
		err = q.park(ctx, task.ForImage, 15*time.Minute)
	}
	if err != nil {
		q.wait(owner, t.ID, came.waited+1)
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.idle[owner] = append(q.idle[owner], t.WorkspaceID)
	return nil
}

func (q *queueing) park(ctx context.Context, what task.Awaited, most time.Duration) error {
	return task.Park(ctx, what, func() error {
		<-time.After(q.between(time.Second, most))
		return nil
	})
}

// checkBusy holds that all workers are at work while tasks wait. What has just ended is claimed for a moment later.
func (q *queueing) checkBusy() {
	idle := func() (bool, int) {
		synctest.Wait()
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.busy < q.workers && len(q.waiting) > 0, q.steps
	}
	if resting, before := idle(); resting {
		<-time.After(20 * time.Millisecond)
		if still, after := idle(); still && after == before {
			q.Errorf("%d of %d workers are busy while %d tasks wait", q.busy, q.workers, len(q.waiting))
		}
	}
}
