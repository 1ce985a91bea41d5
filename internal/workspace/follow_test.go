package workspace_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// gather reads a stream to its end, and says what has come so far.
func gather[T any](stream <-chan T, say func(T) string) (soFar func() string) {
	var mu sync.Mutex
	var words []string
	note := func(word string) {
		mu.Lock()
		defer mu.Unlock()
		words = append(words, word)
	}
	go func() {
		for v := range stream {
			note(say(v))
		}
		note("end")
	}()
	return func() string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(words, ", ")
	}
}

// asks wants something, and lets it come to rest.
func (p *plant) asks(verb task.Type, id string) (r workspace.Result) {
	p.Helper()
	r, err := p.Request(p.Context(), ann, verb, workspace.Ask{ID: id})
	if err != nil {
		p.Fatal(err)
	}
	p.settle()
	return r
}

func TestWhoWatchesIsToldWhatTheQueueDoes(t *testing.T) {
	onPlant(t, "a task, its place", 1, func(p *plant) {
		ids := p.make("ann", 5)
		p.hold()
		p.asks(task.Stop, ids[0]) // runs, and is held
		p.asks(task.Stop, ids[1])
		stream, err := p.WatchTask(p.Context(), ann, p.asks(task.Stop, ids[2]).Task.ID)
		if err != nil {
			p.Fatal(err)
		}
		seen := gather(stream, func(t task.Task) string { return fmt.Sprint(t.Status, " ", t.Place) })
		told := "QUEUED 0"
		for _, c := range []struct {
			what string
			do   func()
			more string
		}{
			{"its place", func() { p.asks(task.Stop, ids[3]) }, ", QUEUED 2"},
			{"nothing: another one has come behind it", func() { p.asks(task.Stop, ids[4]) }, ""},
			{"that one before it has begun", p.step, ", QUEUED 1"},
			{"that it has begun", p.step, ", RUNNING 0"},
			{"its end", p.step, ", SUCCEEDED 0, end"},
		} {
			c.do()
			if told += c.more; seen() != told {
				p.Errorf("%s: got  %s\nwant %s", c.what, seen(), told)
			}
		}
	})
	onPlant(t, "a batch, that its items begin", 1, func(p *plant) {
		ids := p.make("ann", 5)
		p.hold()
		p.asks(task.Stop, ids[0])
		b := p.batch(workspace.BatchInput{Operation: task.Stop, IDs: ids[1:3], Concurrency: new(1)})
		p.settle()
		stream, err := p.WatchBatch(p.Context(), ann, b.ID)
		if err != nil {
			p.Fatal(err)
		}
		seen := gather(stream, func(b workspace.Batch) string {
			return fmt.Sprint(b.Status, " ", b.Begun, " ", b.Succeeded, " ", b.Cancelled)
		})
		told := "RUNNING 0 0 0"
		for _, c := range []struct {
			what string
			do   func()
			more string
		}{
			{"that an item has a task", func() { p.asks(task.Stop, ids[3]) }, ", RUNNING 1 0 0"},
			{"that the task has begun", p.step, ", RUNNING 2 0 0"},
			{"its counts", func() {
				if _, err := p.CancelBatch(p.Context(), ann, b.ID); err != nil {
					p.Error(err)
				}
				p.settle()
			}, ", RUNNING 0 0 1"},
			{"nothing: no item has begun since", func() { p.asks(task.Stop, ids[4]) }, ""},
			{"its end", p.step, ", CANCELLED 0 1 1, end"},
		} {
			c.do()
			if told += c.more; seen() != told {
				p.Errorf("%s: got  %s\nwant %s", c.what, seen(), told)
			}
		}
	})
}

// onSeldom runs a test on a plant whose pool finds nothing by itself: it has to be told.
func onSeldom(t *testing.T, name string, test func(*plant)) {
	onPlant(t, name, 0, func(idle *plant) {
		p := &plant{T: idle.T, db: idle.db, seldom: time.Hour}
		stop := p.start(2)
		p.settle()
		test(p)
		stop()
	})
}

func TestThePoolIsTold(t *testing.T) {
	onSeldom(t, "what is asked for", func(p *plant) {
		r, err := p.Create(p.Context(), ann, workspace.CreateInput{Name: "w", Wait: new(time.Second)})
		if err != nil || r.Task.Status != task.Succeeded {
			p.Errorf("got %+v, %v", r.Task, err)
		}
	})
	onSeldom(t, "any change of a workspace whose task waits, which a claim may have passed by", func(p *plant) {
		id := p.make("ann", 1)[0]
		fill(p.T, p.db, id, 1) // and nobody is told
		p.settle()
		if w, err := p.Get(p.Context(), id); err != nil || w.ActiveTaskCount != 1 {
			p.Fatalf("got %d tasks, %v: the pool has looked around by itself", w.ActiveTaskCount, err)
		}
		if _, err := p.Update(p.Context(), ann, workspace.UpdateInput{ID: id, Name: new("renamed")}); err != nil {
			p.Fatal(err)
		}
		p.settle()
		p.desires(id, workspace.WantRunning)
	})
	onSeldom(t, "that a task which runs is cancelled", func(p *plant) {
		p.hold()
		r, err := p.Create(p.Context(), ann, workspace.CreateInput{Name: "w", Wait: new(time.Second)})
		if err != nil || r.Task.Status != task.Running {
			p.Fatalf("got %+v, %v", r.Task, err)
		}
		if _, err := p.CancelTask(p.Context(), ann, r.Task.ID); err != nil {
			p.Fatal(err)
		}
		p.settle()
		if now, err := p.Task(p.Context(), ann, r.Task.ID); err != nil || now.Status != task.Cancelled {
			p.Errorf("got %+v, %v", now, err)
		}
	})
}
