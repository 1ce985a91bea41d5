package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// midnight is when the clock of a bubble begins, and thus when its pool does.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// cuts notes when the first run of each task was cut because its lease had ended.
type cuts struct {
	mu    sync.Mutex
	after map[string]time.Duration
}

// handle is a handler that goes on until it is cut.
func (c *cuts) handle(ctx context.Context, tk task.Task, _ task.Report) error {
	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.after[tk.ID]; !ok && errors.Is(context.Cause(ctx), task.ErrLeaseLost) {
		if c.after == nil {
			c.after = map[string]time.Duration{}
		}
		c.after[tk.ID] = time.Since(midnight)
	}
	return ctx.Err()
}

// expect wants the task to have been cut so long after the pool's begin, or not at all when that is 0.
func (c *cuts) expect(t *testing.T, id string, want time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.after[id]; got != want {
		t.Errorf("%s was cut after %s, want %s", id, got, want)
	}
}

func TestLease(t *testing.T) {
	one, two := []task.Type{task.Stop}, []task.Type{task.Stop, task.Stop}

	t.Run("a lease counts from before it was asked for", func(t *testing.T) {
		var c cuts
		runOn(t, one, func(q *queue, _ *task.Options) { q.away, q.takes.claim = true, 3*time.Second }, c.handle,
			func(*queue, *task.Pool, context.CancelFunc) {
				advance(15 * time.Second)
				c.expect(t, "task_0", 6*time.Second)
			})
	})
	t.Run("a lease that is kept counts from before that was asked for", func(t *testing.T) {
		var c cuts
		runOn(t, one, func(q *queue, _ *task.Options) { q.takes.extend = time.Second }, c.handle,
			func(q *queue, _ *task.Pool, _ context.CancelFunc) {
				advance(3500 * time.Millisecond) // it was kept from the 2nd second to the 3rd
				q.setAway(true)
				advance(15 * time.Second)
				c.expect(t, "task_0", 8*time.Second)
			})
	})
	t.Run("a run is cut when the lease ends that was kept last before the database was lost", func(t *testing.T) {
		var c cuts
		run(t, one, c.handle, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(3 * time.Second)
			q.setAway(true)
			advance(4900 * time.Millisecond)
			c.expect(t, "task_0", 0)
			advance(15 * time.Second)
			c.expect(t, "task_0", 8*time.Second)
		})
	})
	t.Run("a lease that could not be kept for a while lives on when it is kept again before it ends", func(t *testing.T) {
		var c cuts
		run(t, one, c.handle, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(3 * time.Second)
			q.setAway(true)
			advance(2 * time.Second) // it was not kept in the 4th second
			q.setAway(false)
			advance(30 * time.Second)
			c.expect(t, "task_0", 0)
		})
	})
	t.Run("a run whose task is always being written by somebody else is cut when its lease ends, and no other is", func(t *testing.T) {
		var c cuts
		runOn(t, two, func(q *queue, _ *task.Options) { q.busy = []string{"task_0"} }, c.handle,
			func(*queue, *task.Pool, context.CancelFunc) {
				advance(30 * time.Second)
				c.expect(t, "task_0", 6*time.Second)
				c.expect(t, "task_1", 0)
			})
	})
	t.Run("a handler that stood still past its lease is cut when it reports what it does next", func(t *testing.T) {
		// Each reports in the very moment when its lease ends. Which of two timers of one moment goes first is left to chance in a
		// bubble, so that many are not cut by their own yet.
		const many = 20
		var on, began atomic.Int32
		runOn(t, slices.Repeat(one, many), func(q *queue, o *task.Options) { q.away, o.Workers = true, many },
			func(ctx context.Context, _ task.Task, report task.Report) error {
				began.Add(1)
				<-time.After(6*time.Second - time.Since(midnight))
				report("removing the container", nil)
				if !errors.Is(context.Cause(ctx), task.ErrLeaseLost) {
					on.Add(1)
				}
				return ctx.Err()
			}, func(*queue, *task.Pool, context.CancelFunc) {
				advance(7 * time.Second)
				if on.Load() != 0 || began.Load() != many {
					t.Errorf("%d of %d go on after their lease", on.Load(), began.Load())
				}
			})
	})
	t.Run("what others have let go of is given back when its lease ends, and begins at once", func(t *testing.T) {
		var mu sync.Mutex
		began := map[string]time.Duration{}
		runOn(t, two, func(q *queue, o *task.Options) {
			o.Poll = time.Hour
			for i := range q.tasks {
				q.tasks[i].Status, q.tasks[i].Lease.Holder = task.Running, "elsewhere"
			}
			q.until["task_0"], q.until["task_1"] = midnight.Add(-time.Second), midnight.Add(3*time.Second)
		}, func(_ context.Context, tk task.Task, _ task.Report) error {
			mu.Lock()
			defer mu.Unlock()
			began[tk.ID] = time.Since(midnight)
			return nil
		}, func(*queue, *task.Pool, context.CancelFunc) {
			advance(10 * time.Second)
			if at, ok := began["task_0"]; !ok || at > 10*time.Millisecond {
				t.Errorf("what had ended before began after %s, %t", at, ok)
			}
			if at := began["task_1"]; at < 4*time.Second || at > 4*time.Second+10*time.Millisecond {
				t.Errorf("what ended in the 3rd second began after %s, want the look in the 4th", at)
			}
		})
	})
	t.Run("a workspace is looked at once when a run on it had lost its lease, and never else", func(t *testing.T) {
		ends := map[string]error{"task_1": nil, "task_2": errors.New("no such image"), "task_3": errTransient, "task_4": errWait}
		runOn(t, slices.Repeat(one, 10), func(_ *queue, o *task.Options) { o.Workers = 10 },
			func(ctx context.Context, tk task.Task, _ task.Report) error {
				if err, ok := ends[tk.ID]; ok {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			}, func(q *queue, p *task.Pool, stop context.CancelFunc) {
				advance(time.Second)
				p.Interrupt("task_6", task.ErrSuperseded)
				p.Interrupt("task_7", task.ErrCancelled)
				q.takeOver()
				advance(3 * time.Second)
				stop()
				advance(6 * time.Second)
				for i, want := range map[int]task.Status{6: task.Superseded, 7: task.Cancelled, 8: task.Queued, 9: task.Queued} {
					expect(t, q.of(fmt.Sprint("task_", i)), want)
				}
				if !slices.Equal(q.doubted, []string{"ws_0"}) {
					t.Errorf("%v are looked at", q.doubted)
				}
			})
	})
	t.Run("a workspace is looked at although the database fails for a moment", func(t *testing.T) {
		var c cuts
		run(t, one, c.handle, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(time.Second)
			q.takeOver()
			q.mu.Lock()
			q.failing = 5
			q.mu.Unlock()
			advance(8 * time.Second)
			c.expect(t, "task_0", 2*time.Second)
			if !slices.Equal(q.doubted, []string{"ws_0"}) || q.failing != 0 {
				t.Errorf("%v are looked at, and %d failures are left", q.doubted, q.failing)
			}
		})
	})
}
