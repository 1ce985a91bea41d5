package workspace_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// plant is a service with a pool that works on containers which are words: a task that succeeds has them seen as it left them.
type plant struct {
	*testing.T
	*workspace.Service
	db     *store.DB
	seldom time.Duration // not 0: how seldom its pool looks around by itself

	mu       sync.Mutex
	fails    map[string]bool // workspaces on which tasks fail
	held     chan struct{}   // not nil: tasks wait until it is closed
	now, top int             // tasks that run, and the most that did at once
}

// onPlant runs a test in a bubble on each database, with that many workers.
func onPlant(t *testing.T, name string, workers int, test func(*plant)) {
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(fmt.Sprint(name, " ", dialect), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, _ := storetest.Open(t, dialect)
				db.UseClock(nil)
				p := &plant{T: t, db: db, fails: make(map[string]bool)}
				stop := p.start(workers)
				test(p)
				stop()
			})
		})
	}
}

// start has a server work on the database, until the function that it returns is called.
func (p *plant) start(workers int) (stop func()) {
	log := slog.New(slog.DiscardHandler)
	p.Service = workspace.NewService(storetest.Alone{DB: p.db}, &paths{}, workspace.Config{DefaultImage: "alpine", NetworkPool: subnets, Workers: workers, Log: log})
	handlers := make(map[task.Type]task.Handler)
	for _, typ := range task.Types() {
		handlers[typ] = p.handle
	}
	pool := task.New(p.Service, task.Options{
		Holder: workspace.NewID("pool_"), Workers: workers, Handlers: handlers, Log: log,
		Classify: func(err error) (task.Failure, task.Class) {
			return task.Failure{Code: "ENGINE_ERROR", Message: err.Error()}, task.Permanent
		},
		Timeout: func(task.Task) time.Duration { return time.Hour }, Lease: p.seldom, Poll: p.seldom,
	})
	p.Attach(pool)
	p.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{pool.Run, p.RunBatches, p.RunFeed} {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				p.Error(err)
			}
		})
	}
	service := p.Service
	return func() {
		cancel()
		parts.Wait()
		service.Close()
	}
}

func (p *plant) handle(ctx context.Context, t task.Task, _ task.Report) error {
	p.mu.Lock()
	held, fails := p.held, p.fails[t.WorkspaceID]
	p.now++
	p.top = max(p.top, p.now)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now--
	}()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if fails {
		return errors.New("the engine refuses")
	}
	state := workspace.ContainerRunning
	if t.Type == task.Stop {
		state = workspace.ContainerExited
	}
	now, err := p.Get(ctx, t.WorkspaceID)
	if err == nil {
		_, err = p.Record(ctx, t.WorkspaceID, workspace.Observed{
			Container: &workspace.Container{State: state}, Network: &workspace.Network{ID: "n"}, Serial: now.Observed.Serial,
		})
	}
	return err
}

// hold has tasks wait until the function that it returns is called.
func (p *plant) hold() (release func()) {
	held := make(chan struct{})
	p.mu.Lock()
	p.held, p.top = held, 0
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.held = nil
		p.mu.Unlock()
		close(held)
		p.settle()
	}
}

// step lets the tasks that are held go on, and holds those that come after them.
func (p *plant) step() {
	p.mu.Lock()
	held := p.held
	p.held = make(chan struct{})
	p.mu.Unlock()
	close(held)
	p.settle()
}

// settle lets everything come to rest.
func (p *plant) settle() {
	for range 5 {
		synctest.Wait()
		<-time.After(time.Second) // of the bubble's time: the polls
	}
	synctest.Wait()
}

// make makes workspaces of an owner that run.
func (p *plant) make(owner string, n int) (ids []string) {
	p.Helper()
	for i := range n {
		r, err := p.Create(p.Context(), workspace.Actor{ID: owner}, workspace.CreateInput{Name: fmt.Sprint(owner, i, time.Now().UnixNano())})
		if err != nil {
			p.Fatal(err)
		}
		ids = append(ids, r.Workspace.ID)
	}
	p.settle()
	return ids
}

var subnets = netip.MustParsePrefix("10.213.0.0/16")

// rows makes workspaces of an owner that are rows and no more: nobody has asked for anything yet.
func rows(t *testing.T, db *store.DB, owner string, n int) (ids []string) {
	t.Helper()
	for i := range n {
		w := workspace.Workspace{ID: workspace.NewID(workspace.WorkspacePrefix), OwnerID: owner, DesiredState: workspace.WantRunning, Spec: workspace.Spec{Name: fmt.Sprint(owner, i)}}
		if _, err := db.Create(t.Context(), w, subnets, func(*workspace.Draft) {}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, w.ID)
	}
	return ids
}

// fill queues tasks on one workspace.
func fill(t *testing.T, db *store.DB, id string, n int) {
	t.Helper()
	if _, err := db.Update(t.Context(), id, func(d *workspace.Draft) error {
		for range n {
			d.Enqueue(task.Sync, d.Workspace.OwnerID, task.Params{})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (p *plant) batch(in workspace.BatchInput) workspace.Batch {
	p.Helper()
	b, err := p.StartBatch(p.Context(), ann, in)
	if err != nil {
		p.Fatal(err)
	}
	return b
}

// tell says how a batch is: its status, and those of its items in their order. It holds that the counts are the sums of the items.
func (p *plant) tell(id string) string {
	p.Helper()
	b, err := p.Batch(p.Context(), ann, id)
	if err != nil {
		p.Fatal(err)
	}
	page, err := p.BatchItems(p.Context(), b, workspace.Window{First: 1000})
	if err != nil {
		p.Fatal(err)
	}
	var runs []string // of items of one status
	counts := make(map[workspace.ItemStatus]int)
	n := 0
	for i, item := range page.Items {
		counts[item.Status]++
		if n++; i+1 == len(page.Items) || page.Items[i+1].Status != item.Status {
			runs = append(runs, fmt.Sprint(n, " ", item.Status))
			n = 0
		}
	}
	if b.Total != page.Total || b.Succeeded != counts[workspace.ItemSucceeded] || b.Failed != counts[workspace.ItemFailed] ||
		b.Skipped != counts[workspace.ItemSkipped] || b.Cancelled != counts[workspace.ItemCancelled] {
		p.Errorf("the counts of %+v are not those of its items: %v", b, counts)
	}
	if len(runs) == 0 {
		runs = []string{"none"}
	}
	return fmt.Sprintf("%s: %s", b.Status, strings.Join(runs, ", "))
}

func (p *plant) want(id, want string) {
	p.Helper()
	if got := p.tell(id); got != want {
		p.Errorf("got  %s\nwant %s", got, want)
	}
}

func (p *plant) desires(id string, want workspace.DesiredState) {
	p.Helper()
	w, err := p.Get(p.Context(), id)
	if err != nil || w.DesiredState != want || w.ActiveTaskCount != 0 {
		p.Errorf("got %s, %d tasks, %v; want %s", w.DesiredState, w.ActiveTaskCount, err, want)
	}
}

func TestBatches(t *testing.T) {
	onPlant(t, "each item ends for itself", 4, func(p *plant) {
		mine, his := p.make("ann", 3), p.make("bob", 1)
		p.fails[mine[1]] = true
		if _, err := p.Request(p.Context(), ann, task.Stop, workspace.Ask{ID: mine[2]}); err != nil {
			p.Fatal(err)
		}
		p.settle()
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: []string{mine[0], his[0], mine[1], "ws_none", mine[2], mine[0]}})
		if b.Status != workspace.BatchRunning || b.Total != 5 || b.Skipped != 2 {
			p.Errorf("got %+v: one that is named twice is one item, and what is not the caller's is skipped", b)
		}
		p.settle()
		p.want(b.ID, "COMPLETED_WITH_ERRORS: 1 SUCCEEDED, 1 SKIPPED, 1 FAILED, 2 SKIPPED")
		p.desires(his[0], workspace.WantRunning)
		ended, err := p.Batch(p.Context(), ann, b.ID)
		if err != nil {
			p.Fatal(err)
		}
		page, err := p.BatchItems(p.Context(), ended, workspace.Window{First: 5})
		if err != nil {
			p.Fatal(err)
		}
		for i, want := range []string{"", "NOT_FOUND", "ENGINE_ERROR", "NOT_FOUND", ""} {
			if f := page.Items[i].Failure; (f == nil) != (want == "") || f != nil && f.Code != want {
				p.Errorf("item %d: got %+v, want %s", i, f, want)
			}
		}
		p.fails = nil
		again, err := p.RetryBatch(p.Context(), ann, b.ID)
		if err != nil {
			p.Fatal(err)
		}
		p.settle()
		p.want(again.ID, "SUCCEEDED: 1 SUCCEEDED")
		for id, what := range map[string]string{again.ID: "nothing failed", "batch_none": "there is none"} {
			if _, err := p.RetryBatch(p.Context(), ann, id); err == nil {
				p.Errorf("%s, and it was run again", what)
			}
		}
	})
	onPlant(t, "no more are under way than asked for", 4, func(p *plant) {
		ids := p.make("ann", 6)
		release := p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Restart, IDs: ids, Concurrency: new(2)})
		p.settle()
		p.want(b.ID, "RUNNING: 2 RUNNING, 4 QUEUED")
		release()
		p.want(b.ID, "SUCCEEDED: 6 SUCCEEDED")
		if p.top != 2 {
			p.Errorf("%d ran at once", p.top)
		}
	})
	onPlant(t, "one that fails stops what has not begun, if asked to", 1, func(p *plant) {
		ids := p.make("ann", 4)
		p.fails[ids[0]] = true
		release := p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids, Concurrency: new(3), StopOnError: true})
		p.settle()
		p.want(b.ID, "RUNNING: 1 RUNNING, 3 QUEUED") // two of them have a task
		release()
		p.want(b.ID, "FAILED: 1 FAILED, 3 CANCELLED")
		for _, id := range ids[1:] {
			p.desires(id, workspace.WantRunning)
		}
		now, err := p.Batch(p.Context(), ann, b.ID)
		if err != nil {
			p.Fatal(err)
		}
		page, err := p.BatchItems(p.Context(), now, workspace.Window{First: 4})
		if err != nil {
			p.Fatal(err)
		}
		for _, item := range page.Items {
			if item.Failure == nil {
				p.Errorf("%+v does not say why", item)
			}
		}
	})
	onPlant(t, "what others ask for too is not taken from them by the end of a batch", 1, func(p *plant) {
		ids := p.make("ann", 4)
		release := p.hold()
		in := workspace.BatchInput{Operation: task.Stop, IDs: ids, Concurrency: new(4), StopOnError: true}
		p.fails[ids[0]] = true
		b := p.batch(in)
		p.settle()
		if _, err := p.Request(p.Context(), ann, task.Stop, workspace.Ask{ID: ids[1]}); err != nil {
			p.Error(err)
		}
		other := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids[2:3]})
		p.settle()
		release()
		p.want(b.ID, "COMPLETED_WITH_ERRORS: 1 FAILED, 2 SUCCEEDED, 1 CANCELLED")
		p.want(other.ID, "SUCCEEDED: 1 SUCCEEDED")
		p.desires(ids[1], workspace.WantStopped)
		p.desires(ids[2], workspace.WantStopped)
		p.desires(ids[3], workspace.WantRunning)
	})
	onPlant(t, "cancelled, what is under way goes on, and nothing else begins", 1, func(p *plant) {
		ids := p.make("ann", 4)
		release := p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids, Concurrency: new(3)})
		p.settle()
		if now, err := p.CancelBatch(p.Context(), ann, b.ID); err != nil || now.Status != workspace.BatchRunning || now.Cancelled != 1 {
			p.Errorf("got %+v, %v: what has no task is cancelled at once", now, err)
		}
		p.settle() // and what has one right after
		p.want(b.ID, "RUNNING: 1 RUNNING, 3 CANCELLED")
		release()
		p.want(b.ID, "CANCELLED: 1 SUCCEEDED, 3 CANCELLED")
		p.desires(ids[0], workspace.WantStopped)
		for _, id := range ids[1:] {
			p.desires(id, workspace.WantRunning)
		}
		if _, err := p.CancelBatch(p.Context(), ann, b.ID); workspace.CodeOf(err) != workspace.Conflict {
			p.Errorf("got %v", err)
		}
	})
	onPlant(t, "a deletion that has its task is not cancelled with its batch", 1, func(p *plant) {
		ids := p.make("ann", 3)
		release := p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Delete, IDs: ids, Concurrency: new(2)})
		p.settle()
		if _, err := p.CancelBatch(p.Context(), ann, b.ID); err != nil {
			p.Error(err)
		}
		release()
		p.want(b.ID, "CANCELLED: 2 SUCCEEDED, 1 CANCELLED")
	})
	onPlant(t, "what is asked for after the batch counts", 1, func(p *plant) {
		ids := p.make("ann", 4)
		release := p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids, Concurrency: new(1)})
		p.settle()
		p.fails[ids[2]] = true // so that it is still being deleted when its turn comes
		for id, verb := range map[string]task.Type{ids[1]: task.Restart, ids[2]: task.Delete} {
			if _, err := p.Request(p.Context(), ann, verb, workspace.Ask{ID: id}); err != nil {
				p.Error(err)
			}
		}
		release()
		p.want(b.ID, "COMPLETED_WITH_ERRORS: 1 SUCCEEDED, 2 CANCELLED, 1 SUCCEEDED")
		p.desires(ids[1], workspace.WantRunning)
	})
	onPlant(t, "what a later batch found to be so already counts as well", 1, func(p *plant) {
		ids := p.make("ann", 2)
		release := p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids, Concurrency: new(1)})
		p.settle()
		later := p.batch(workspace.BatchInput{Operation: task.Start, IDs: ids[1:]})
		p.settle()
		p.want(later.ID, "SUCCEEDED: 1 SKIPPED")
		release()
		p.want(b.ID, "COMPLETED_WITH_ERRORS: 1 SUCCEEDED, 1 CANCELLED")
		p.desires(ids[1], workspace.WantRunning)
	})
	onPlant(t, "a pool that is larger than the window is kept busy", 26, func(p *plant) {
		p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Restart, IDs: rows(p.T, p.db, "ann", 110)})
		p.settle()
		tasks, err := p.Tasks(p.Context(), ann, workspace.TaskQuery{BatchID: b.ID, Window: workspace.Window{First: 1}})
		if err != nil || tasks.Total != 104 {
			p.Errorf("%d are under way, %v, want four for each worker", tasks.Total, err)
		}
	})
	onPlant(t, "an admin runs it again for its owner", 1, func(p *plant) {
		ids := p.make("ann", 1)
		p.fails[ids[0]] = true
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids})
		p.settle()
		p.fails = nil
		again, err := p.RetryBatch(p.Context(), root, b.ID)
		if err != nil || again.OwnerID != "ann" {
			p.Fatalf("got %+v, %v", again, err)
		}
		p.settle()
		p.want(again.ID, "SUCCEEDED: 1 SUCCEEDED") // which she sees
	})
	onPlant(t, "a task that is under way is joined, by several batches too", 1, func(p *plant) {
		ids := p.make("ann", 1)
		release := p.hold()
		r, err := p.Request(p.Context(), ann, task.Stop, workspace.Ask{ID: ids[0]})
		if err != nil {
			p.Fatal(err)
		}
		first := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids})
		second := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids})
		p.settle()
		release()
		for _, b := range []workspace.Batch{first, second} {
			p.want(b.ID, "SUCCEEDED: 1 SUCCEEDED")
			page, err := p.BatchItems(p.Context(), b, workspace.Window{First: 1})
			if err != nil || page.Items[0].TaskID != r.Task.ID {
				p.Errorf("got %+v, %v, want the task %s", page.Items, err, r.Task.ID)
			}
		}
	})
	onPlant(t, "a dry run says what would happen, and does nothing", 4, func(p *plant) {
		ids := p.make("ann", 3)
		for id, verb := range map[string]task.Type{ids[1]: task.Stop, ids[2]: task.Delete} {
			if verb == task.Delete {
				p.fails[id] = true // so that it is still being deleted
			}
			if _, err := p.Request(p.Context(), ann, verb, workspace.Ask{ID: id}); err != nil {
				p.Error(err)
			}
		}
		p.settle()
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: append(ids, "ws_none"), DryRun: true})
		if b.FinishedAt == nil {
			p.Errorf("got %+v: it has ended when it is answered", b)
		}
		p.settle()
		p.want(b.ID, "COMPLETED_WITH_ERRORS: 1 SUCCEEDED, 1 SKIPPED, 1 FAILED, 1 SKIPPED")
		p.desires(ids[0], workspace.WantRunning)
		if _, err := p.RetryBatch(p.Context(), ann, b.ID); workspace.CodeOf(err) != workspace.Conflict {
			p.Errorf("got %v", err)
		}
	})
	onPlant(t, "a dry run foretells what an error stops", 1, func(p *plant) {
		ids := p.make("ann", 4)
		p.fails[ids[1]] = true // so that it is still being deleted
		if _, err := p.Request(p.Context(), ann, task.Delete, workspace.Ask{ID: ids[1]}); err != nil {
			p.Fatal(err)
		}
		p.settle()
		in := workspace.BatchInput{Operation: task.Stop, IDs: ids, StopOnError: true, Concurrency: new(1), DryRun: true}
		foretold := p.batch(in)
		in.DryRun = false
		b := p.batch(in)
		p.settle()
		for _, id := range []string{foretold.ID, b.ID} {
			p.want(id, "COMPLETED_WITH_ERRORS: 1 SUCCEEDED, 1 FAILED, 2 CANCELLED")
		}
	})
	onPlant(t, "a filter selects from what the caller sees", 4, func(p *plant) {
		p.make("ann", 3)
		p.make("bob", 1)
		b := p.batch(workspace.BatchInput{Operation: task.Sync, Filter: &workspace.Query{Status: []workspace.Status{workspace.Active}}})
		none := p.batch(workspace.BatchInput{Operation: task.Sync, Filter: &workspace.Query{NameContains: "none"}})
		p.settle()
		p.want(b.ID, "SUCCEEDED: 3 SUCCEEDED")
		p.want(none.ID, "SUCCEEDED: none")
		if _, err := p.StartBatch(p.Context(), ann, workspace.BatchInput{Operation: task.Sync, Filter: &workspace.Query{OwnerID: "bob"}}); workspace.CodeOf(err) != workspace.Forbidden {
			p.Errorf("got %v", err)
		}
	})
	onPlant(t, "it goes on when its server has gone", 2, func(p *plant) {
		db := p.db
		ids := p.make("ann", 6)
		p.hold()
		b := p.batch(workspace.BatchInput{Operation: task.Restart, IDs: ids, Concurrency: new(3)})
		p.settle()
		other := &plant{T: p.T, db: db}
		stop := other.start(2)
		other.settle()
		other.want(b.ID, "RUNNING: 2 RUNNING, 4 SUCCEEDED") // it has taken what the first does not hold
		p.mu.Lock()
		close(p.held)
		p.held = nil
		p.mu.Unlock()
		other.settle()
		other.want(b.ID, "SUCCEEDED: 6 SUCCEEDED")
		stop()
	})
	onPlant(t, "who watches sees counts that add up, and the end", 2, func(p *plant) {
		ids := p.make("ann", 20)
		p.fails[ids[7]] = true
		b := p.batch(workspace.BatchInput{Operation: task.Restart, IDs: ids, Concurrency: new(2)})
		seen, err := p.WatchBatch(p.Context(), ann, b.ID)
		if err != nil {
			p.Fatal(err)
		}
		last := workspace.Batch{}
		for now := range seen {
			ended := now.Succeeded + now.Failed + now.Skipped + now.Cancelled
			if before := last.Succeeded + last.Failed + last.Skipped + last.Cancelled; ended < before || ended > now.Total || now.Total != 20 || (ended == now.Total) != (now.Status != workspace.BatchRunning) {
				p.Errorf("got %+v after %+v", now, last)
			}
			last = now
		}
		if last.Status != workspace.BatchCompletedWithErrors || last.Succeeded != 19 || last.Failed != 1 {
			p.Errorf("it ended with %+v", last)
		}
	})
	onPlant(t, "a key starts one batch", 2, func(p *plant) {
		ids := p.make("ann", 2)
		in := workspace.BatchInput{Operation: task.Restart, IDs: ids, IdempotencyKey: new("k")}
		if first, second := p.batch(in), p.batch(in); first.ID != second.ID {
			p.Errorf("got %s and %s", first.ID, second.ID)
		}
		in.StopOnError = true
		if _, err := p.StartBatch(p.Context(), ann, in); workspace.CodeOf(err) != workspace.Conflict {
			p.Errorf("got %v", err)
		}
		p.settle()
	})
	onPlant(t, "what cannot be is refused, and the field named", 1, func(p *plant) {
		ids := p.make("ann", 1)
		many := make([]string, 1001)
		for i := range many {
			many[i] = fmt.Sprint("ws_", i)
		}
		for _, c := range []struct {
			in    workspace.BatchInput
			field string
		}{
			{workspace.BatchInput{}, "workspaceIds"},
			{workspace.BatchInput{IDs: []string{}}, "workspaceIds"},
			{workspace.BatchInput{IDs: many}, "workspaceIds"},
			{workspace.BatchInput{IDs: []string{ids[0], ""}}, "workspaceIds 1"},
			{workspace.BatchInput{IDs: []string{strings.Repeat("x", 65)}}, "workspaceIds 0"},
			{workspace.BatchInput{IDs: ids, Filter: &workspace.Query{}}, "workspaceIds"},
			{workspace.BatchInput{IDs: ids, Concurrency: new(0)}, "concurrency"},
			{workspace.BatchInput{IDs: ids, Concurrency: new(1001)}, "concurrency"},
			{workspace.BatchInput{Filter: &workspace.Query{IDs: many}}, "filter ids"},
			{workspace.BatchInput{IDs: ids, IdempotencyKey: new("")}, "idempotencyKey"},
		} {
			c.in.Operation = task.Sync
			_, err := p.StartBatch(p.Context(), ann, c.in)
			if e, ok := errors.AsType[*workspace.Error](err); !ok || e.Code != workspace.BadUserInput || strings.Join(e.Field, " ") != "input "+c.field {
				p.Errorf("got %+v, want %s", err, c.field)
			}
		}
		most := append(slices.Clone(many[:1000]), many[:1000]...)
		if b := p.batch(workspace.BatchInput{Operation: task.Sync, IDs: most}); b.Total != 1000 || b.Skipped != 1000 {
			p.Errorf("a thousand, each named twice: got %+v", b)
		}
		p.hold()
		for range 10 {
			p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids})
		}
		if _, err := p.StartBatch(p.Context(), ann, workspace.BatchInput{Operation: task.Stop, IDs: ids}); workspace.CodeOf(err) != workspace.QuotaExceeded {
			p.Errorf("got %v: ten batches run", err)
		}
	})
}

// bare is a service over a database, with nothing that runs.
func bare(t *testing.T, db workspace.Store) *workspace.Service {
	t.Helper()
	s := workspace.NewService(db, &paths{}, workspace.Config{DefaultImage: "alpine", NetworkPool: subnets, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	return s
}

// atOnce asks many times at once, and counts what is granted; the rest must be refused by a bound.
func atOnce(t *testing.T, n int, ask func(i int) error) (granted int) {
	t.Helper()
	var mu sync.Mutex
	var askers sync.WaitGroup
	for i := range n {
		askers.Go(func() {
			err := ask(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				granted++
			} else if workspace.CodeOf(err) != workspace.QuotaExceeded {
				t.Error(err)
			}
		})
	}
	askers.Wait()
	return granted
}

func TestBoundsOfAnOwnerHoldForManyAtOnce(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		s, ids := bare(t, db), rows(t, db, "ann", 41)
		t.Run("of live tasks", func(t *testing.T) {
			ask := func(verb task.Type) func(int) error {
				return func(i int) error {
					_, err := s.Request(t.Context(), ann, verb, workspace.Ask{ID: ids[i]})
					return err
				}
			}
			if n := atOnce(t, 40, ask(task.Sync)); n != 40 {
				t.Errorf("%d were added where there was room for all", n)
			}
			fill(t, db, ids[40], 1950)
			if n := atOnce(t, 40, ask(task.Restart)); n != 10 {
				t.Errorf("%d were added to 1990", n)
			}
		})
		t.Run("of batches that run", func(t *testing.T) {
			if n := atOnce(t, 40, func(int) error {
				_, err := s.StartBatch(t.Context(), ann, workspace.BatchInput{Operation: task.Sync, IDs: ids})
				return err
			}); n != 10 {
				t.Errorf("%d run", n)
			}
		})
	})
}

func TestABatchHasAtMostAThousand(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	s, ids := bare(t, db), rows(t, db, "ann", 1001)
	for name, in := range map[string]workspace.BatchInput{
		"by ids": {IDs: ids[:1000]}, "by a filter": {Filter: &workspace.Query{IDs: ids[:1000]}},
	} {
		in.Operation, in.DryRun = task.Sync, true
		if b, err := s.StartBatch(t.Context(), ann, in); err != nil || b.Total != 1000 || b.Succeeded != 1000 {
			t.Errorf("%s: got %+v, %v", name, b, err)
		}
	}
	b, err := s.StartBatch(t.Context(), ann, workspace.BatchInput{Operation: task.Sync, Filter: &workspace.Query{NameContains: "ann"}, DryRun: true})
	if e, ok := errors.AsType[*workspace.Error](err); !ok || e.Code != workspace.BadUserInput || strings.Join(e.Field, " ") != "input filter" {
		t.Errorf("a filter that selects one more: got %+v, %v", b, err)
	}
}

// rounds is a store that ends the dispatch of batches after so many rounds.
type rounds struct {
	*store.DB

	left int
	end  context.CancelFunc
}

func (r *rounds) RunningBatches(ctx context.Context) ([]workspace.Batch, error) {
	if r.left--; r.left < 0 {
		r.end()
		return nil, ctx.Err()
	}
	return r.DB.RunningBatches(ctx)
}

func TestAFullQueueHoldsUpNobodyElse(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := bare(t, &rounds{DB: db, left: 2, end: cancel}) // one finds that bob's queue is full, the other goes on without him
	bobs, anns := rows(t, db, "bob", 31), rows(t, db, "ann", 2)
	fill(t, db, bobs[30], 2000)
	b, err := s.StartBatch(t.Context(), root, workspace.BatchInput{Operation: task.Restart, IDs: append(bobs[:30:30], anns...)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RunBatches(ctx); err != nil {
		t.Fatal(err)
	}
	page, err := s.BatchItems(t.Context(), b, workspace.Window{First: 100})
	if err != nil || page.Total != 32 {
		t.Fatalf("got %+v, %v", page, err)
	}
	for i, item := range page.Items {
		if hers := i >= 30; (item.TaskID != "") != hers || item.Status != workspace.ItemQueued {
			t.Errorf("item %d: got %+v", i, item)
		}
	}
}
