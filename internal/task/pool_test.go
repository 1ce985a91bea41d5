package task_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	reports  int
	doubted  []string
	unwanted []string
	cancel   []string
	away     bool          // Extend fails
	frozen   chan struct{} // holds up Extend until it is closed
	writing  chan struct{} // holds up Finish until it is closed
	most     int           // asked for by one claim
	claims   []claim       // those that gave something
}

// claim is the lane that one began with, and that of the last task that it gave.
type claim struct{ first, last task.Lane }

func newQueue(types ...task.Type) *queue {
	q := &queue{until: map[string]time.Time{}, outcomes: map[string][]task.Outcome{}}
	for i, typ := range types {
		id := fmt.Sprint("task_", i)
		q.tasks = append(q.tasks, task.Task{ID: id, WorkspaceID: fmt.Sprint("ws_", i), Type: typ, Status: task.Queued, MaxAttempts: 3, RunAt: time.Now(), Lease: task.Lease{TaskID: id, WorkspaceID: fmt.Sprint("ws_", i)}})
	}
	return q
}

func (q *queue) Claim(_ context.Context, holder string, slots task.Slots, lease time.Duration) (claimed []task.Task, _ error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most = max(q.most, slots.Free)
	slow := 0
	for i := range q.tasks {
		t := &q.tasks[i]
		if isSlow := t.Type.Lane() == task.Slow; len(claimed) < slots.Free && (!isSlow || slow < slots.Slow) && t.Status.Waiting() && !t.RunAt.After(time.Now()) {
			if isSlow {
				slow++
			}
			t.Status, t.Attempt = task.Running, t.Attempt+1
			t.Lease.Holder, t.Lease.Token = holder, t.Lease.Token+1
			q.until[t.ID] = time.Now().Add(lease)
			claimed = append(claimed, *t)
		}
	}
	if n := len(claimed); n > 0 {
		q.claims = append(q.claims, claim{slots.First, claimed[n-1].Type.Lane()})
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
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return v, errors.New("the database does not answer")
	}
	for _, l := range leases {
		if !slices.ContainsFunc(q.tasks, func(t task.Task) bool { return t.Lease == l }) {
			v.Lost = append(v.Lost, l)
		}
		q.until[l.TaskID] = time.Now().Add(lease)
	}
	v.Unwanted, v.Cancelled = q.unwanted, q.cancel
	return v, nil
}

func (q *queue) Report(context.Context, task.Lease, string, *float64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reports++
	return nil
}

func (q *queue) Finish(_ context.Context, lease task.Lease, o task.Outcome) error {
	if q.writing != nil {
		<-q.writing
	}
	q.mu.Lock()
	defer q.mu.Unlock()
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

func (q *queue) Reclaim(context.Context) (int, error) { return 0, nil }

func (q *queue) Doubt(_ context.Context, workspaceID string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.doubted = append(q.doubted, workspaceID)
	return nil
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
	runOn(t, types, func(*queue) {}, handler, during)
}

// runOn is run on a queue that is prepared in the bubble.
func runOn(t *testing.T, types []task.Type, prepare func(*queue), handler task.Handler, during func(*queue, *task.Pool, context.CancelFunc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(types...)
		prepare(q)
		handlers := map[task.Type]task.Handler{}
		for _, typ := range task.Types() {
			handlers[typ] = handler
		}
		p := task.New(q, task.Options{
			Holder: "here", Workers: 2, Handlers: handlers, Classify: classify, Grace: 5 * time.Second,
			Timeout: func(task.Task) time.Duration { return time.Minute }, Log: slog.New(slog.DiscardHandler),
		})
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
	t.Run("a worker goes on while an outcome is being written, up to a bound", func(t *testing.T) {
		var begun atomic.Int32
		types := make([]task.Type, 20)
		for i := range types {
			types[i] = task.Stop
		}
		var writing chan struct{}
		runOn(t, types, func(q *queue) {
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
	t.Run("what may pull an image leaves a worker to what is quick", func(t *testing.T) {
		var mu sync.Mutex
		var order []task.Type
		run(t, []task.Type{task.Create, task.Start, task.Restart, task.Stop, task.Delete}, func(_ context.Context, tk task.Task, _ task.Report) error {
			if tk.Type.Lane() == task.Slow {
				<-time.After(time.Minute - time.Second)
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, tk.Type)
			return nil
		}, func(_ *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(5 * time.Minute)
			if want := []task.Type{task.Stop, task.Delete, task.Create, task.Start, task.Restart}; !slices.Equal(order, want) {
				t.Errorf("they ended in the order %v, want %v", order, want)
			}
		})
	})
	t.Run("lanes take turns from claim to claim", func(t *testing.T) {
		types := []task.Type{task.Create, task.Stop, task.Create, task.Create, task.Stop, task.Create, task.Stop, task.Stop}
		run(t, types, func(context.Context, task.Task, task.Report) error { <-time.After(time.Second); return nil },
			func(q *queue, _ *task.Pool, _ context.CancelFunc) {
				advance(time.Minute)
				if len(q.claims) < 4 || q.claims[0].first != task.Quick {
					t.Fatalf("got %v", q.claims)
				}
				for i, c := range q.claims[1:] {
					if c.first == q.claims[i].last {
						t.Errorf("claim %d began with the lane that the one before ended with: %v", i+1, q.claims)
					}
				}
			})
	})
	t.Run("what is transient is tried again with growing waits, then fails", func(t *testing.T) {
		run(t, one, func(context.Context, task.Task, task.Report) error { return errTransient },
			func(q *queue, _ *task.Pool, _ context.CancelFunc) {
				advance(30 * time.Second)
				expect(t, q.of("task_0"), task.Retrying, task.Retrying, task.Failed)
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
	t.Run("a task past its timeout is cancelled and classified", func(t *testing.T) {
		run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error { <-ctx.Done(); return ctx.Err() },
			func(q *queue, _ *task.Pool, _ context.CancelFunc) {
				advance(61 * time.Second)
				expect(t, q.of("task_0"), task.Failed)
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
		run(t, five[:3], func(ctx context.Context, _ task.Task, _ task.Report) error {
			ran.Add(1)
			<-ctx.Done()
			return ctx.Err()
		},
			func(q *queue, p *task.Pool, _ context.CancelFunc) {
				q.mu.Lock()
				q.tasks[2].Cancel = true
				q.mu.Unlock()
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
			q.mu.Lock()
			q.tasks[0].Lease = task.Lease{TaskID: "task_0", WorkspaceID: "ws_0", Holder: "elsewhere", Token: 7}
			q.mu.Unlock()
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
		run(t, []task.Type{task.Create, task.Delete}, func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.Type == task.Delete {
				note("delete")
				return nil
			}
			<-ctx.Done()
			<-time.After(10 * time.Second) // what it has begun cannot be cut
			note("create has ended")
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			q.mu.Lock() // before the pool's first claim: the second task is not there yet
			q.tasks[1].RunAt = time.Now().Add(time.Hour)
			q.mu.Unlock()
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
		run(t, []task.Type{task.Create, task.Delete}, func(ctx context.Context, tk task.Task, _ task.Report) error {
			began = append(began, tk.Type)
			<-ctx.Done()
			<-time.After(10 * time.Second)
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			frozen := make(chan struct{})
			q.mu.Lock()
			q.tasks[1].RunAt, q.frozen = time.Now().Add(time.Hour), frozen // the pool does not learn that leases are lost
			q.mu.Unlock()
			advance(2 * time.Second)
			q.handOver()
			advance(20 * time.Second)
			close(frozen)
			if !slices.Equal(began, []task.Type{task.Create}) {
				t.Errorf("%v began", began)
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
		var stopped time.Duration
		began := time.Time{}
		run(t, one, func(ctx context.Context, _ task.Task, _ task.Report) error {
			began = time.Now()
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), task.ErrLeaseLost) {
				stopped = time.Since(began)
			}
			return ctx.Err()
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			synctest.Wait()
			q.mu.Lock()
			q.away = true
			q.mu.Unlock()
			advance(20 * time.Second)
			if stopped < 5*time.Second || stopped > 8*time.Second {
				t.Errorf("it stopped after %s, want the lease's 6s and no more than one tick", stopped)
			}
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
			<-time.After(time.Second)
			return nil
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(3 * time.Second)
			if q.reports < 3 || q.reports > 6 {
				t.Errorf("%d reports in a second", q.reports)
			}
		})
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
}
