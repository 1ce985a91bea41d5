package task_test

import (
	"context"
	"errors"
	"fmt"
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

func (q *queue) endsOf(id string) []task.Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.outcomes[id]
}

func TestPark(t *testing.T) {
	pause := func(d time.Duration) func() error {
		return func() error { <-time.After(d); return nil }
	}
	t.Run("what only waits has no worker, and goes on in its turn when the wait is over", func(t *testing.T) {
		var working, waiting count
		var mu sync.Mutex
		waited := make(map[string]bool)
		runOn(t, stops(40), func(*queue, *task.Options) {}, func(ctx context.Context, tk task.Task, _ task.Report) error {
			working.add(1)
			<-time.After(time.Second)
			working.add(-1)
			mu.Lock()
			before := waited[tk.ID]
			waited[tk.ID] = true
			mu.Unlock()
			if before {
				return nil
			}
			return task.Park(ctx, task.ForContainer, func() error {
				waiting.add(1)
				defer waiting.add(-1)
				return pause(25 * time.Second)()
			})
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			advance(22 * time.Second)
			if now, _ := waiting.get(); now != 40 || p.Running() != 40 {
				t.Errorf("%d of 40 wait, %d run", now, p.Running())
			}
			advance(30 * time.Second)
			if _, most := working.get(); most != 2 {
				t.Errorf("%d worked at once", most)
			}
			for i := range 40 {
				expect(t, q.of(fmt.Sprint("task_", i)), task.Queued, task.Succeeded)
				if first := q.endsOf(fmt.Sprint("task_", i))[0]; !first.Unburned || first.After != 0 {
					t.Errorf("a wait ended with %+v", first)
				}
			}
		})
	})
	t.Run("the timeout of a run is for its work alone, and one whose wait fails has failed", func(t *testing.T) {
		run(t, stops(2), func(ctx context.Context, tk task.Task, _ task.Report) error {
			<-time.After(30 * time.Second)
			if tk.ID == "task_0" {
				return task.Park(ctx, task.ForImage, func() error {
					<-time.After(10 * time.Minute)
					return fmt.Errorf("the image: %w", errTransient)
				})
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, func(q *queue, _ *task.Pool, _ context.CancelFunc) {
			advance(11 * time.Minute)
			expect(t, q.of("task_0"), task.Retrying)
			expect(t, q.of("task_1"), task.Failed)
		})
	})
	t.Run("a run that is cut while it waits ends", func(t *testing.T) {
		runOn(t, stops(2), func(_ *queue, o *task.Options) { o.Workers = 1 }, func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.ID == "task_0" {
				return task.Park(ctx, task.ForImage, func() error { <-ctx.Done(); return context.Cause(ctx) })
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
	t.Run("what waits when the pool is stopped is given back at once, and what works has its grace", func(t *testing.T) {
		run(t, stops(2), func(ctx context.Context, tk task.Task, _ task.Report) error {
			if tk.ID == "task_0" {
				return task.Park(ctx, task.ForContainer, func() error { <-ctx.Done(); return context.Cause(ctx) })
			}
			<-time.After(3 * time.Second)
			return nil
		}, func(q *queue, _ *task.Pool, cancel context.CancelFunc) {
			advance(time.Second)
			cancel()
			advance(time.Second)
			expect(t, q.of("task_0"), task.Queued)
			expect(t, q.of("task_1"))
			advance(2 * time.Second)
			expect(t, q.of("task_1"), task.Succeeded)
		})
	})
	t.Run("the successor of a run that waits and has lost its lease begins when that has ended", func(t *testing.T) {
		var both count
		runOn(t, stops(2), func(_ *queue, o *task.Options) { o.Workers = 1 }, func(ctx context.Context, tk task.Task, _ task.Report) error {
			both.add(1)
			defer both.add(-1)
			if tk.ID == "task_1" {
				return nil
			}
			return task.Park(ctx, task.ForContainer, func() error {
				<-ctx.Done()
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
	t.Run("an owner has a share of the places, what finds none is given back for a while, and no try is burned", func(t *testing.T) {
		const share = 250
		runOn(t, stops(share+2), func(q *queue, _ *task.Options) {
			for i := range q.tasks {
				q.tasks[i].OwnerID = "ann"
			}
			q.tasks[share+1].OwnerID = "bob"
		}, func(ctx context.Context, _ task.Task, _ task.Report) error {
			return task.Park(ctx, task.ForImage, pause(20*time.Second))
		}, func(q *queue, p *task.Pool, _ context.CancelFunc) {
			advance(10 * time.Second)
			if p.Running() != share+1 {
				t.Errorf("%d run", p.Running())
			}
			expect(t, q.of(fmt.Sprint("task_", share+1))) // bob's
			full := q.endsOf(fmt.Sprint("task_", share))
			if len(full) != 1 || full[0].Status != task.Queued || !full[0].Unburned || full[0].After < 10*time.Second {
				t.Errorf("got %+v", full)
			}
		})
	})
	t.Run("outside of a pool it waits and no more", func(t *testing.T) {
		failed := errors.New("failed")
		if err := task.Park(t.Context(), task.ForImage, func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
		if err := task.Park(t.Context(), task.ForImage, func() error { return nil }); err != nil || task.Parked(t.Context()) {
			t.Errorf("got %v", err)
		}
	})
}
