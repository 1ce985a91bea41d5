package task_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// stops are so many tasks that are alike.
func stops(n int) []task.Type {
	types := make([]task.Type, n)
	for i := range types {
		types[i] = task.Stop
	}
	return types
}

// count is how many are at something at once.
type count struct {
	mu        sync.Mutex
	now, most int
}

func (c *count) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

func (c *count) get() (now, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.most
}

func TestPark(t *testing.T) {
	t.Run("what only waits has no worker, and goes on with one before anything new begins", func(t *testing.T) {
		var working, waiting count
		runOn(t, stops(40), func(*queue, *task.Options) {}, func(ctx context.Context, _ task.Task, _ task.Report) error {
			work := func() {
				working.add(1)
				<-time.After(time.Second)
				working.add(-1)
			}
			work()
			err := task.Park(ctx, func() error {
				waiting.add(1)
				<-time.After(25 * time.Second)
				waiting.add(-1)
				return nil
			})
			work()
			return err
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			advance(22 * time.Second)
			if now, _ := waiting.get(); now != 40 || p.Running() != 40 {
				t.Errorf("%d of 40 wait, %d run", now, p.Running())
			}
			advance(25 * time.Second) // two at a time go on
			if _, most := working.get(); most != 2 || len(q.outcomes) != 40 {
				t.Errorf("%d worked at once, %d of 40 have ended", most, len(q.outcomes))
			}
		})
	})
	t.Run("those whose wait is over come before what is queued", func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		runOn(t, stops(6), func(_ *queue, o *task.Options) { o.Workers = 1 }, func(ctx context.Context, tk task.Task, _ task.Report) error {
			var err error
			if tk.ID == "task_0" {
				err = task.Park(ctx, func() error { <-time.After(1500 * time.Millisecond); return nil })
			}
			mu.Lock()
			order = append(order, tk.ID)
			mu.Unlock()
			<-time.After(time.Second)
			return err
		}, func(*queue, *task.Pool, context.CancelFunc) {
			advance(10 * time.Second)
			if len(order) != 6 || order[2] != "task_0" {
				t.Errorf("they went on as %v", order)
			}
		})
	})
	t.Run("the timeout of a run stands still while it waits", func(t *testing.T) {
		run(t, stops(2), func(ctx context.Context, tk task.Task, _ task.Report) error {
			<-time.After(30 * time.Second)
			if err := task.Park(ctx, func() error { <-time.After(10 * time.Minute); return nil }); err != nil {
				return err
			}
			if tk.ID == "task_0" {
				<-time.After(29 * time.Second)
				return ctx.Err()
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(12 * time.Minute)
			expect(t, q.of("task_0"), task.Succeeded)
			expect(t, q.of("task_1"), task.Failed)
			if f := q.outcomes["task_1"][0].Failure; f == nil || f.Code != "TIMEOUT" {
				t.Errorf("it failed for %v", f)
			}
		})
	})
	t.Run("a run that is cut while it waits ends, also when there is no worker", func(t *testing.T) {
		runOn(t, stops(2), func(_ *queue, o *task.Options) { o.Workers = 1 }, func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.ID == "task_0" {
				return task.Park(ctx, func() error { <-ctx.Done(); return context.Cause(ctx) })
			}
			<-time.After(time.Second) // the only worker
			return nil
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			advance(500 * time.Millisecond)
			p.Interrupt("task_0", task.ErrSuperseded)
			advance(100 * time.Millisecond)
			expect(t, q.of("task_0"), task.Superseded)
			expect(t, q.of("task_1"))
			advance(time.Second)
			expect(t, q.of("task_1"), task.Succeeded)
		})
	})
	t.Run("the successor of a run that waits and has lost its lease begins when that has ended", func(t *testing.T) {
		var both count
		runOn(t, stops(2), func(_ *queue, o *task.Options) { o.Workers = 1 }, func(ctx context.Context, _ task.Task, _ task.Report) error {
			both.add(1)
			defer both.add(-1)
			return task.Park(ctx, func() error {
				select {
				case <-time.After(4 * time.Second):
				case <-ctx.Done():
				}
				<-time.After(time.Second)
				return context.Cause(ctx)
			})
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			q.mu.Lock()
			q.tasks[1].RunAt = time.Now().Add(time.Hour)
			q.mu.Unlock()
			advance(500 * time.Millisecond)
			q.handOver()
			p.Wake()
			advance(20 * time.Second)
			if _, most := both.get(); most != 1 {
				t.Errorf("%d worked on one workspace", most)
			}
			expect(t, q.of("task_1"), task.Succeeded)
		})
	})
	t.Run("what waits beyond a bound is given back to the queue, and no try is burned", func(t *testing.T) {
		const most = 1000
		runOn(t, stops(most+1), func(*queue, *task.Options) {}, func(ctx context.Context, _ task.Task, _ task.Report) error {
			return task.Park(ctx, func() error { <-time.After(20 * time.Second); return nil })
		}, func(q *queue, p *task.Pool, cancel context.CancelFunc) {
			advance(10 * time.Second)
			q.mu.Lock()
			outcomes := q.outcomes["task_1000"]
			q.mu.Unlock()
			if len(outcomes) == 0 || p.Running() != most {
				t.Fatalf("%d run, and the last ended %d times", p.Running(), len(outcomes))
			}
			for _, o := range outcomes {
				if o.Status != task.Queued || !o.Unburned || o.After <= 0 {
					t.Errorf("got %+v", o)
				}
			}
		})
	})
	t.Run("outside of a pool it waits and no more", func(t *testing.T) {
		failed := errors.New("failed")
		if err := task.Park(t.Context(), func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
	})
}
