package task_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue keeps tasks in memory. Its rules are those that the store's tests hold for the real one.
type queue struct {
	mu       sync.Mutex
	tasks    []task.Task
	until    map[string]time.Time
	outcomes map[string][]task.Outcome
	reports  []report
	doubted  []string
	unwanted []string
	cancel   []string
	busy     []string      // the ids of tasks that somebody else is just writing
	away     bool          // Extend fails
	failing  int           // so many calls of Finish and Doubt fail
	frozen   chan struct{} // holds up Extend until it is closed
	writing  chan struct{} // holds up Finish until it is closed
	giving   bool          // what Claim has given out is on its way until somebody gives up, or for a second
	takes    takes
	most     int          // asked for by one claim
	slots    []task.Slots // that were claimed for
}

// takes is how long calls take.
type takes struct{ claim, extend, finish time.Duration }

// wait makes a call take d. One that takes no time sets no timer: the race detector does not bear many of a bubble that end at once.
func wait(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// report is what a task was doing.
type report struct {
	step     string
	progress *float64
}

func newQueue(types ...task.Type) *queue {
	q := &queue{until: map[string]time.Time{}, outcomes: map[string][]task.Outcome{}}
	for i, typ := range types {
		id := fmt.Sprint("task_", i)
		q.tasks = append(q.tasks, task.Task{ID: id, WorkspaceID: fmt.Sprint("ws_", i), Type: typ, Status: task.Queued, MaxAttempts: 3, RunAt: time.Now(), Lease: task.Lease{TaskID: id, WorkspaceID: fmt.Sprint("ws_", i)}})
	}
	return q
}

func (q *queue) Claim(ctx context.Context, holder string, slots task.Slots, lease time.Duration) (claimed []task.Task, _ error) {
	wait(q.takes.claim)
	if q.giving {
		defer func() {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				panic("a claim was cut after it had given something out")
			}
		}()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most = max(q.most, slots.Free)
	q.slots = append(q.slots, slots)
	older := map[string]bool{} // the workspaces that have a live task before this one
	for i := range q.tasks {
		t := &q.tasks[i]
		if !t.Status.Live() || older[t.WorkspaceID] {
			continue
		}
		older[t.WorkspaceID] = true
		if len(claimed) < slots.Free && t.Status.Waiting() && !t.RunAt.After(time.Now()) {
			t.Status, t.Attempt = task.Running, t.Attempt+1
			t.Lease.Holder, t.Lease.Token = holder, t.Lease.Token+1
			q.until[t.ID] = time.Now().Add(lease)
			claimed = append(claimed, *t)
		}
	}
	return claimed, nil
}

func (q *queue) Extend(_ context.Context, leases []task.Lease, lease time.Duration) (v task.Verdict, _ error) {
	q.mu.Lock()
	frozen := q.frozen
	q.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	wait(q.takes.extend)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return v, errors.New("the database does not answer")
	}
	for _, l := range leases {
		switch {
		case slices.Contains(q.busy, l.TaskID):
			v.Busy = append(v.Busy, l)
		case !slices.ContainsFunc(q.tasks, func(t task.Task) bool { return t.Lease == l }):
			v.Lost = append(v.Lost, l)
		default:
			q.until[l.TaskID] = time.Now().Add(lease)
		}
	}
	v.Unwanted, v.Cancelled = q.unwanted, q.cancel
	return v, nil
}

func (q *queue) Report(_ context.Context, _ task.Lease, step string, progress *float64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reports = append(q.reports, report{step, progress})
	return nil
}

func (q *queue) Finish(ctx context.Context, lease task.Lease, o task.Outcome) error {
	if q.writing != nil {
		select {
		case <-q.writing:
		case <-ctx.Done():
		}
	}
	wait(q.takes.finish)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fail(ctx); err != nil {
		return err
	}
	for i := range q.tasks {
		t := &q.tasks[i]
		if t.Lease != lease {
			continue
		}
		t.Status, t.RunAt, t.Lease.Holder = o.Status, time.Now().Add(o.After), ""
		if o.Unburned {
			t.Attempt--
		}
		q.outcomes[t.ID] = append(q.outcomes[t.ID], o)
		return nil
	}
	return task.ErrLeaseLost
}

func (q *queue) Reclaim(context.Context) (n int, _ error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.tasks {
		if t := &q.tasks[i]; t.Status == task.Running && time.Now().After(q.until[t.ID]) {
			t.Status, t.Lease.Holder = task.Queued, ""
			n++
		}
	}
	return n, nil
}

func (q *queue) Doubt(ctx context.Context, workspaceID string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fail(ctx); err != nil {
		return err
	}
	q.doubted = append(q.doubted, workspaceID)
	return nil
}

// fail is the error of a write that cannot be done. q is locked.
func (q *queue) fail(ctx context.Context) error {
	if q.failing > 0 {
		q.failing--
		return errors.New("the database does not answer")
	}
	return ctx.Err()
}

// takeOver gives the lease of the first task to somebody else.
func (q *queue) takeOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks[0].Lease = task.Lease{TaskID: "task_0", WorkspaceID: "ws_0", Holder: "elsewhere", Token: 7}
	q.until["task_0"] = time.Now().Add(time.Hour)
}

// setAway makes Extend fail from now on, or no longer.
func (q *queue) setAway(away bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = away
}

// handOver ends the first task behind the pool's back, and has the second follow it on its workspace.
func (q *queue) handOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks[0].Status, q.tasks[0].Lease.Holder = task.Superseded, ""
	q.tasks[1].WorkspaceID, q.tasks[1].RunAt = q.tasks[0].WorkspaceID, time.Now()
}

func (q *queue) of(id string) (statuses []task.Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range q.outcomes[id] {
		statuses = append(statuses, o.Status)
	}
	return statuses
}

var (
	errTransient = errors.New("transient")
	errWait      = errors.New("wait")
)

func classify(err error) (task.Failure, task.Class) {
	switch {
	case errors.Is(err, task.ErrTimeout):
		return task.Failure{Code: "TIMEOUT", Message: err.Error()}, task.Permanent
	case errors.Is(err, errTransient):
		return task.Failure{Code: "NETWORK", Message: err.Error()}, task.Transient
	case errors.Is(err, errWait):
		return task.Failure{Code: "ENGINE_UNAVAILABLE", Message: err.Error()}, task.Wait
	default:
		return task.Failure{Code: "INTERNAL", Message: err.Error()}, task.Permanent
	}
}

// run lets a pool of two workers work on q in a bubble, calls during (which may wait on the bubble's clock), and stops it.
func run(t *testing.T, types []task.Type, handler task.Handler, during func(*queue, *task.Pool, context.CancelFunc)) {
	t.Helper()
	runOn(t, types, func(*queue, *task.Options) {}, handler, during)
}

// runOn is run on a queue that is prepared in the bubble, with options that are too.
func runOn(t *testing.T, types []task.Type, prepare func(*queue, *task.Options), handler task.Handler, during func(*queue, *task.Pool, context.CancelFunc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(types...)
		handlers := map[task.Type]task.Handler{}
		for _, typ := range task.Types() {
			handlers[typ] = handler
		}
		opts := task.Options{
			Holder: "here", Workers: 2, Handlers: handlers, Classify: classify, Grace: 5 * time.Second,
			Timeout: func(task.Task) time.Duration { return time.Minute }, Log: slog.New(slog.DiscardHandler),
		}
		prepare(q, &opts)
		p := task.New(q, opts)
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		during(q, p, cancel)
		cancel()
		ended.Wait()
		if n := p.Running(); n != 0 {
			t.Errorf("%d tasks run after the end", n)
		}
	})
}

// advance moves the bubble's clock.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func expect(t *testing.T, got []task.Status, want ...task.Status) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPool(t *testing.T) {
	five := []task.Type{task.Stop, task.Stop, task.Stop, task.Stop, task.Stop}
	one := five[:1]

	t.Run("no more run at once than there are workers, and none waits while one is free", func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		run(t, five, func(context.Context, task.Task, task.Report) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(3*time.Second + time.Millisecond) // five in pairs
			if len(q.outcomes) != 5 || most != 2 || q.most > 2 {
				t.Errorf("%d ended, %d at once, %d claimed", len(q.outcomes), most, q.most)
			}
		})
	})
	t.Run("what a claim has just given out when the pool is stopped goes back, and does not wait for its lease to end", func(t *testing.T) {
		runOn(t, one, func(q *queue, _ *task.Options) { q.giving = true }, func(context.Context, task.Task, task.Report) error {
			t.Error("it was begun")
			return nil
		}, func(q *queue, _ *task.Pool, cancel context.CancelFunc) {
			advance(time.Millisecond)
			cancel()
			advance(2 * time.Second)
			q.mu.Lock()
			defer q.mu.Unlock()
			if got := q.tasks[0]; got.Status != task.Queued || got.Attempt > 1 || !q.outcomes["task_0"][0].Unburned {
				t.Errorf("got %+v, %+v", got, q.outcomes)
			}
		})
	})
	t.Run("a task that somebody else has cancelled is looked at as soon as that is heard", func(t *testing.T) {
		for _, heard := range []string{"task_0", "ws_0"} {
			var cause error
			run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return ctx.Err()
			}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
				advance(time.Millisecond)
				q.mu.Lock()
				q.cancel = []string{"task_0"}
				q.mu.Unlock()
				p.Recheck([]string{"task_9", "ws_9"})
				synctest.Wait()
				if cause != nil {
					t.Errorf("it was looked at because of others: %v", cause)
				}
				p.Recheck([]string{"ws_9", heard})
				synctest.Wait()
				if !errors.Is(cause, task.ErrCancelled) {
					t.Errorf("after %s was heard: %v", heard, cause)
				}
			})
		}
	})
	t.Run("a worker goes on while an outcome is being written, up to a bound", func(t *testing.T) {
		var begun atomic.Int32
		types := slices.Repeat(one, 20)
		var writing chan struct{}
		runOn(t, types, func(q *queue, _ *task.Options) {
			writing = make(chan struct{})
			q.writing = writing
		}, func(context.Context, task.Task, task.Report) error {
			begun.Add(1)
			return nil
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			advance(2 * time.Second)
			if n := begun.Load(); n != 8 || p.Running() != 0 { // two workers, and three each that are being written
				t.Errorf("%d have begun and %d run, while no outcome can be written", n, p.Running())
			}
			close(writing)
			advance(2 * time.Second)
			if n := len(q.outcomes); n != 20 {
				t.Errorf("%d have ended", n)
			}
		})
	})
	t.Run("a claim is told how many workers each owner has busy, without what only waits or has ended", func(t *testing.T) {
		runOn(t, five, func(q *queue, o *task.Options) {
			o.Workers = 5
			for i, owner := range []string{"ann", "ann", "bob", "ann", "eve"} {
				q.tasks[i].OwnerID = owner
			}
		}, func(ctx context.Context, tk task.Task, _ task.Report) error {
			switch tk.ID {
			case "task_3":
				return task.Park(ctx, task.ForImage, func() error { <-ctx.Done(); return ctx.Err() })
			case "task_4":
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(5 * time.Second)
			if last := q.slots[len(q.slots)-1]; last.Free != 2 || !maps.Equal(last.Busy, map[string]int{"ann": 2, "bob": 1}) {
				t.Errorf("got %+v", last)
			}
		})
	})
	t.Run("another task begins at once when a handler has returned, while its outcome is being written", func(t *testing.T) {
		var begun atomic.Int32
		var writing chan struct{}
		runOn(t, five, func(q *queue, o *task.Options) {
			writing = make(chan struct{})
			q.writing, o.Poll = writing, time.Hour
		}, func(context.Context, task.Task, task.Report) error {
			begun.Add(1)
			return nil
		}, func(*queue, *task.Pool, context.CancelFunc) {
			advance(10 * time.Millisecond)
			if n := begun.Load(); n != 5 {
				t.Errorf("%d have begun", n)
			}
			close(writing)
		})
	})
	t.Run("the next task of a workspace begins at once when the outcome of the one before is written", func(t *testing.T) {
		var began []time.Duration
		runOn(t, five[:3], func(q *queue, o *task.Options) {
			for i := range q.tasks {
				q.tasks[i].WorkspaceID = "ws_0"
			}
			q.takes.finish, o.Poll = 100*time.Millisecond, time.Hour
		}, func(context.Context, task.Task, task.Report) error {
			began = append(began, time.Since(midnight))
			return nil
		}, func(*queue, *task.Pool, context.CancelFunc) {
			advance(time.Second)
			if len(began) != 3 || began[2] < 200*time.Millisecond || began[2] > 210*time.Millisecond {
				t.Errorf("they began after %v", began)
			}
		})
	})
	t.Run("what is transient is tried again with growing waits, then fails", func(t *testing.T) {
		var began []time.Time
		runOn(t, one, func(q *queue, _ *task.Options) { q.tasks[0].MaxAttempts = 6 }, func(context.Context, task.Task, task.Report) error {
			began = append(began, time.Now())
			return errTransient
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(time.Minute)
			expect(t, q.of("task_0"), task.Retrying, task.Retrying, task.Retrying, task.Retrying, task.Retrying, task.Failed)
			for i, o := range q.outcomes["task_0"][:5] {
				if most := time.Second << i; o.After < most/2 || o.After > most || o.Unburned {
					t.Errorf("after try %d it waits for %s, unburned %t; want %s to %s", i+1, o.After, o.Unburned, most/2, most)
				}
				if late := began[i+1].Sub(began[i]) - o.After; late < 0 || late > time.Second+2*time.Millisecond {
					t.Errorf("try %d begins %s late", i+2, late)
				}
				if o.Failure == nil || o.Failure.Code != "NETWORK" {
					t.Errorf("try %d failed for %v", i+1, o.Failure)
				}
			}
		})
	})
	t.Run("what is permanent fails at once, and so does a panic", func(t *testing.T) {
		run(t, five[:2], func(_ context.Context, tk task.Task, _ task.Report) error {
			if tk.ID == "task_1" {
				panic("bad")
			}
			return errors.New("no such image")
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(time.Second)
			expect(t, q.of("task_0"), task.Failed)
			expect(t, q.of("task_1"), task.Failed)
		})
	})
	t.Run("a panic fails its task, and the others go on", func(t *testing.T) {
		run(t, five, func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.ID == "task_0" || tk.ID == "task_3" {
				panic("bad")
			}
			<-time.After(2 * time.Second)
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(10 * time.Second)
			for id, want := range map[string]task.Status{
				"task_0": task.Failed, "task_1": task.Succeeded, "task_2": task.Succeeded, "task_3": task.Failed, "task_4": task.Succeeded,
			} {
				expect(t, q.of(id), want)
			}
			if f := q.outcomes["task_0"][0].Failure; f == nil || f.Message != "panic: bad" {
				t.Errorf("it failed for %v", f)
			}
		})
	})
	t.Run("while the engine cannot be asked no try is burned", func(t *testing.T) {
		tries := 0
		run(t, one, func(context.Context, task.Task, task.Report) error {
			if tries++; tries < 10 {
				return errWait
			}
			return nil
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(time.Minute)
			if got := q.of("task_0"); len(got) != 10 || got[9] != task.Succeeded || q.tasks[0].Attempt != 1 {
				t.Errorf("got %v, attempt %d", got, q.tasks[0].Attempt)
			}
		})
	})
	t.Run("a task that the engine cannot be asked about is given back with what failed, for as long as a first wait", func(t *testing.T) {
		var began []time.Time
		runOn(t, one, func(_ *queue, o *task.Options) {
			o.Retry = task.Backoff{First: 3 * time.Second, Most: time.Minute}
		}, func(context.Context, task.Task, task.Report) error {
			began = append(began, time.Now())
			return errWait
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(10 * time.Second)
			for i, o := range q.outcomes["task_0"] {
				if o.Status != task.Queued || !o.Unburned || o.After != 3*time.Second {
					t.Errorf("run %d ended as %+v", i+1, o)
				}
				if f := o.Failure; f == nil || f.Code != "ENGINE_UNAVAILABLE" || f.Message != "wait" {
					t.Errorf("run %d failed for %v", i+1, o.Failure)
				}
			}
			if len(began) < 2 || began[1].Sub(began[0]) < 3*time.Second {
				t.Errorf("it was begun at %v", began)
			}
		})
	})
	t.Run("a task past its timeout is cancelled, and classified apart from what its handler says", func(t *testing.T) {
		run(t, five[:2], func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.ID == "task_1" {
				return ctx.Err()
			}
			<-ctx.Done()
			return fmt.Errorf("wait for the container: %w", errTransient)
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(59 * time.Second)
			expect(t, q.of("task_0"))
			expect(t, q.of("task_1"), task.Succeeded)
			advance(2 * time.Second)
			expect(t, q.of("task_0"), task.Failed)
			for _, o := range q.outcomes["task_0"] {
				if o.Failure == nil || o.Failure.Code != "TIMEOUT" || !strings.Contains(o.Failure.Message, "wait for the container") {
					t.Errorf("it failed for %v", o.Failure)
				}
			}
		})
	})
	t.Run("a task that says by itself that it was cut is not taken for one past its timeout", func(t *testing.T) {
		run(t, one, func(context.Context, task.Task, task.Report) error { return context.DeadlineExceeded },
			func(q *queue, _ *task.Pool, _ context.CancelFunc) {
				advance(time.Second)
				expect(t, q.of("task_0"), task.Failed)
				if f := q.outcomes["task_0"][0].Failure; f == nil || f.Code != "INTERNAL" {
					t.Errorf("it failed for %v", f)
				}
			})
	})
	t.Run("a task that its handler finds overtaken ends as superseded", func(t *testing.T) {
		run(t, one, func(context.Context, task.Task, task.Report) error {
			return fmt.Errorf("the workspace is to be deleted: %w", task.ErrSuperseded)
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(2 * time.Second)
			expect(t, q.of("task_0"), task.Superseded)
		})
	})
	t.Run("a task cut by shutdown returns to the queue after its grace, unburned", func(t *testing.T) {
		run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error { <-ctx.Done(); return ctx.Err() },
			func(q *queue, _ *task.Pool, stop context.CancelFunc) {
				advance(time.Second)
				stop()
				advance(4 * time.Second)
				expect(t, q.of("task_0"))
				advance(2 * time.Second)
				expect(t, q.of("task_0"), task.Queued)
				if q.tasks[0].Attempt != 0 {
					t.Errorf("attempt %d", q.tasks[0].Attempt)
				}
			})
	})
	t.Run("a superseded task is cancelled, told here or by the queue", func(t *testing.T) {
		run(t, five[:2], func(ctx context.Context, _ task.Task, _ task.Report) error { <-ctx.Done(); return ctx.Err() },
			func(q *queue, p *task.Pool, _ context.CancelFunc) {
				advance(time.Second)
				p.Interrupt("task_0", task.ErrSuperseded)
				p.Interrupt("task_9", task.ErrSuperseded)
				synctest.Wait()
				expect(t, q.of("task_0"), task.Superseded)
				q.mu.Lock()
				q.unwanted = []string{"task_1"}
				q.mu.Unlock()
				advance(6 * time.Second)
				expect(t, q.of("task_1"), task.Superseded)
			})
	})
	t.Run("a task is cancelled, told here, by the queue, or by what whoever ran it before did not live to see", func(t *testing.T) {
		var ran atomic.Int32
		runOn(t, five[:3], func(q *queue, _ *task.Options) { q.tasks[2].Cancel = true },
			func(ctx context.Context, _ task.Task, _ task.Report) error {
				ran.Add(1)
				<-ctx.Done()
				return ctx.Err()
			},
			func(q *queue, p *task.Pool, _ context.CancelFunc) {
				advance(time.Second)
				p.Interrupt("task_0", task.ErrCancelled)
				synctest.Wait()
				q.mu.Lock()
				q.cancel = []string{"task_1"}
				q.mu.Unlock()
				advance(6 * time.Second)
				for i := range 3 {
					expect(t, q.of(fmt.Sprint("task_", i)), task.Cancelled)
				}
				if n := ran.Load(); n != 2 {
					t.Errorf("%d handlers ran: what is to be cancelled is not begun", n)
				}
			})
	})
	t.Run("a task whose lease is lost stops and writes nothing", func(t *testing.T) {
		stopped := false
		run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error {
			<-ctx.Done()
			stopped = errors.Is(context.Cause(ctx), task.ErrLeaseLost)
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(time.Second)
			q.takeOver()
			advance(6 * time.Second)
			if expect(t, q.of("task_0")); !stopped {
				t.Error("it goes on")
			}
		})
	})
	t.Run("a task that is lost and claimed again here never runs twice at once", func(t *testing.T) {
		var mu sync.Mutex
		now, most, runs := 0, 0, 0
		run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error {
			mu.Lock()
			now, runs = now+1, runs+1
			most = max(most, now)
			mu.Unlock()
			<-ctx.Done()
			<-time.After(10 * time.Second) // it is slow to let go
			mu.Lock()
			now--
			mu.Unlock()
			return ctx.Err()
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			advance(500 * time.Millisecond)
			q.mu.Lock()
			q.tasks[0].Status = task.Queued // its lease ended, and it was given back
			q.mu.Unlock()
			advance(30 * time.Second)
			if most != 1 || runs != 2 || p.Running() != 1 {
				t.Errorf("%d runs, %d at once, %d now; want 2, 1, 1", runs, most, p.Running())
			}
		})
	})
	t.Run("a task waits for what still works on its workspace under a lease that was lost", func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
		runOn(t, []task.Type{task.Create, task.Delete}, func(q *queue, _ *task.Options) {
			q.tasks[1].RunAt = midnight.Add(time.Hour) // it is not there yet
		}, func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.Type == task.Delete {
				note("delete")
				return nil
			}
			<-ctx.Done()
			<-time.After(10 * time.Second) // what it has begun cannot be cut
			note("create has ended")
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(2 * time.Second)
			q.handOver()
			advance(30 * time.Second)
			if !slices.Equal(order, []string{"create has ended", "delete"}) {
				t.Errorf("got %v", order)
			}
		})
	})
	t.Run("a task whose lease ends while it waits for its workspace does not begin", func(t *testing.T) {
		var began []task.Type
		var frozen chan struct{}
		runOn(t, []task.Type{task.Create, task.Delete}, func(q *queue, _ *task.Options) {
			frozen = make(chan struct{})
			q.tasks[1].RunAt, q.frozen = midnight.Add(time.Hour), frozen // the pool does not learn that leases are lost
		}, func(ctx context.Context, tk task.Task, _ task.Report) error {
			began = append(began, tk.Type)
			<-ctx.Done()
			<-time.After(10 * time.Second)
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(2 * time.Second)
			q.handOver()
			advance(20 * time.Second)
			close(frozen)
			if !slices.Equal(began, []task.Type{task.Create}) {
				t.Errorf("%v began", began)
			}
			if !slices.Equal(q.doubted, []string{"ws_0"}) {
				t.Errorf("%v are looked at: what did not begin has done nothing", q.doubted)
			}
		})
	})
	t.Run("a lease is kept while a task that was cut by shutdown lets go", func(t *testing.T) {
		run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error {
			<-ctx.Done()
			<-time.After(time.Minute)
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, stop context.CancelFunc) {
			advance(time.Second)
			stop()
			advance(40 * time.Second)
			q.mu.Lock()
			defer q.mu.Unlock()
			if until := q.until["task_0"]; !until.After(time.Now()) {
				t.Errorf("its lease ended %s ago", time.Since(until))
			}
		})
	})
	t.Run("a task whose lease cannot be kept alive stops when it ends", func(t *testing.T) {
		var c cuts
		run(t, one, c.handle, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			synctest.Wait()
			q.setAway(true)
			advance(20 * time.Second)
			c.expect(t, "task_0", 6*time.Second)
			expect(t, q.of("task_0"))
		})
	})
	t.Run("progress is written at a bounded rate, and the last word is written", func(t *testing.T) {
		run(t, one, func(_ context.Context, _ task.Task, report task.Report) error {
			for i := range 1000 {
				done := float64(i) / 10
				report("pulling the image", &done)
				<-time.After(time.Millisecond)
			}
			report("starting", nil)
			<-time.After(time.Second)
			return nil
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(3 * time.Second)
			if n := len(q.reports); n < 3 || n > 6 {
				t.Fatalf("%d reports in a second", n)
			}
			last := q.reports[len(q.reports)-1]
			if last.step != "starting" || last.progress != nil {
				t.Errorf("the last is %q, %v", last.step, last.progress)
			}
			for i, r := range q.reports[:len(q.reports)-1] { // one each quarter of a second, and what was new then
				if want := 25 * float64(i); r.step != "pulling the image" || r.progress == nil || *r.progress < want-0.2 || *r.progress > want {
					t.Errorf("report %d is %q, %v; want progress %v", i, r.step, r.progress, want)
				}
			}
		})
	})
	t.Run("an outcome is written although the database fails for a moment", func(t *testing.T) {
		runs := 0
		runOn(t, one, func(q *queue, _ *task.Options) { q.failing = 5 }, func(context.Context, task.Task, task.Report) error { runs++; return nil },
			func(q *queue, _ *task.Pool, _ context.CancelFunc) {
				advance(5 * time.Second)
				if expect(t, q.of("task_0"), task.Succeeded); runs != 1 || q.failing != 0 {
					t.Errorf("it ran %d times, and %d failures are left", runs, q.failing)
				}
			})
	})
	t.Run("an outcome that cannot be written for long is given up, and the task runs again", func(t *testing.T) {
		for name, prepare := range map[string]func(*queue){
			"it fails":  func(q *queue) { q.failing = 1000 },
			"it stands": func(q *queue) { q.writing = make(chan struct{}) },
		} {
			var began []time.Duration
			runOn(t, one, func(q *queue, _ *task.Options) { prepare(q) }, func(context.Context, task.Task, task.Report) error {
				began = append(began, time.Since(midnight))
				return nil
			}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
				advance(9 * time.Second)
				q.mu.Lock()
				tried := 1000 - q.failing
				q.mu.Unlock()
				if name == "it fails" && tried < 9 {
					t.Errorf("%s: %d attempts in 9s", name, tried)
				}
				advance(3 * time.Second)
				q.mu.Lock()
				q.failing = 0
				if q.writing != nil {
					close(q.writing)
				}
				q.mu.Unlock()
				advance(13 * time.Second)
				expect(t, q.of("task_0"), task.Succeeded)
				if len(began) != 2 || began[1] < 14*time.Second { // it was kept to the 8th second at least
					t.Errorf("%s: it began after %v, want twice", name, began)
				}
			})
		}
	})
}

func TestBackoff(t *testing.T) {
	b := task.Backoff{First: time.Second, Most: 10 * time.Second}
	for try, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 100: 10 * time.Second} {
		for range 100 {
			if got := b.After(try); got < most/2 || got > most {
				t.Fatalf("try %d: got %s, want %s to %s", try, got, most/2, most)
			}
		}
	}
	low, high := 0, 0
	for range 100 {
		if b.After(4) < 6*time.Second {
			low++
		} else {
			high++
		}
	}
	if low == 0 || high == 0 {
		t.Errorf("of 100 waits of 4s to 8s %d are in the lower half and %d in the upper one: what failed together comes back together", low, high)
	}
}
