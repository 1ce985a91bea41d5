package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestPullsAreShared(t *testing.T) {
	// inBubble pulls an image that comes when the gate is closed.
	inBubble := func(name string, test func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{})) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, gate := enginetest.New(), make(chan struct{})
				fake.Pullable("tool", gate)
				made := newPulls()
				p := &made
				test(t, fake, p, gate)
				if len(p.known)+len(p.pending)+len(p.running) > 0 {
					t.Errorf("%v, %v and %v are left", p.known, p.pending, p.running)
				}
			})
		})
	}
	asked := func(fake *enginetest.Fake) (n int) {
		for _, call := range fake.Calls() {
			if call == "Pull tool:latest" {
				n++
			}
		}
		return n
	}
	inBubble("the engine is asked once, and each sees how far it is", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		var waiters sync.WaitGroup
		seen := make([][]float64, 3)
		for i := range seen {
			waiters.Go(func() {
				if err := p.wait(t.Context(), fake, "ann", "tool", func(percent float64) { seen[i] = append(seen[i], percent) }); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // one after another: who comes late is told where it is
		}
		close(gate)
		waiters.Wait()
		for i := range seen {
			if !slices.Equal(seen[i], []float64{0, 100}) {
				t.Errorf("%d has seen %v", i, seen[i])
			}
		}
		if n := asked(fake); n != 1 {
			t.Errorf("the engine was asked %d times", n)
		}
	})
	inBubble("all names of an image are one", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		var waiters sync.WaitGroup
		for _, name := range []string{"tool", "tool:latest", "library/tool", "docker.io/library/tool:latest"} {
			waiters.Go(func() {
				if err := p.wait(t.Context(), fake, "ann", name, func(float64) {}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(gate)
		waiters.Wait()
		if n := asked(fake); n != 1 {
			t.Errorf("the engine was asked %d times", n)
		}
	})
	inBubble("who leaves does not cut it for the others, and the last one does", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		first, leave := context.WithCancelCause(t.Context())
		second, leaveLast := context.WithCancelCause(t.Context())
		errs := make(chan error)
		for _, ctx := range []context.Context{first, second} {
			go func() { errs <- p.wait(ctx, fake, "ann", "tool", func(float64) {}) }()
			synctest.Wait()
		}
		bored := errors.New("bored")
		leave(bored)
		if err := <-errs; !errors.Is(err, bored) || len(p.known) != 1 {
			t.Errorf("got %v, %v under way", err, p.known)
		}
		leaveLast(bored)
		if err := <-errs; !errors.Is(err, bored) {
			t.Errorf("got %v", err)
		}
		go func() { errs <- p.wait(t.Context(), fake, "ann", "tool", func(float64) {}) }()
		synctest.Wait()
		close(gate)
		if err := <-errs; err != nil || asked(fake) != 2 {
			t.Errorf("got %v, asked %d times", err, asked(fake))
		}
	})
	inBubble("few run at once, owners take turns, and one who has none under way waits for nobody", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		p.atOnce, p.most = 2, 4
		var waiters sync.WaitGroup
		gates := make(map[string]chan struct{})
		begin := func(owner, image string) {
			gates[image] = make(chan struct{})
			fake.Pullable(image, gates[image])
			waiters.Go(func() {
				if err := p.wait(t.Context(), fake, owner, image, func(float64) {}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		running := func(want ...string) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			var got []string
			for shared := range p.running {
				name, _, _ := strings.Cut(shared.name, ":")
				got = append(got, name)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%v run, want %v", got, want)
			}
		}
		for _, image := range []string{"a1", "a2", "a3", "a4"} {
			begin("ann", image)
		}
		running("a1", "a2")
		begin("bob", "b1") // beyond the bound: it is the only one of bob's
		begin("bob", "b2")
		begin("cid", "c1")
		begin("dan", "d1") // no more than most
		running("a1", "a2", "b1", "c1")
		begin("eve", "a3") // one that ann waits for too
		close(gates["a1"])
		running("a2", "a3", "b1", "c1") // dan and eve have none, and a3 was asked for first; it is counted for eve
		close(gates["c1"])
		running("a2", "a3", "b1", "d1")
		close(gates["d1"])
		running("a2", "a3", "b1") // ann and bob have one, and there are as many as there are to be
		close(gates["a2"])
		running("a3", "a4", "b1")
		close(gates["b1"])
		running("a3", "a4", "b2")
		for _, image := range []string{"a3", "a4", "b2"} {
			close(gates[image])
		}
		waiters.Wait()
		close(gate)
	})
	inBubble("one that is pending goes with the last who waits for it", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		p.atOnce = 0
		p.most = 0
		ctx, leave := context.WithCancelCause(t.Context())
		errs := make(chan error)
		go func() { errs <- p.wait(ctx, fake, "ann", "tool", func(float64) {}) }()
		synctest.Wait()
		bored := errors.New("bored")
		leave(bored)
		if err := <-errs; !errors.Is(err, bored) || asked(fake) > 0 {
			t.Errorf("got %v, asked %d times", err, asked(fake))
		}
		close(gate)
	})
	inBubble("one that stays pending for long is given back to the queue", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		p.atOnce, p.most = 0, 0
		began := time.Now()
		if err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {}); !errors.Is(err, task.ErrFull) || time.Since(began) != pullLongest {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		close(gate)
	})
	inBubble("one whose owner has left is counted for who waits still", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		p.atOnce, p.most = 1, 2
		fake.Pullable("other", gate)
		ctx, leave := context.WithCancel(t.Context())
		var waiters sync.WaitGroup
		wait := func(ctx context.Context, owner, image string) {
			waiters.Go(func() { _ = p.wait(ctx, fake, owner, image, func(float64) {}) })
			synctest.Wait()
		}
		early, leaveEarly := context.WithCancel(t.Context())
		wait(ctx, "ann", "tool")
		wait(early, "ann", "tool")
		for range 9 {
			wait(t.Context(), "bob", "tool")
		}
		wait(t.Context(), "ann", "other")
		leaveEarly() // ann waits still
		synctest.Wait()
		for _, owner := range p.running {
			if owner != "ann" {
				t.Errorf("it is counted for %s", owner)
			}
		}
		if len(p.running) != 1 {
			t.Errorf("%d run", len(p.running))
		}
		leave()
		synctest.Wait()
		if len(p.running) != 2 {
			t.Errorf("%d run, and ann has none under way", len(p.running))
		}
		close(gate)
		waiters.Wait()
	})
	inBubble("one that takes too long is tried again by those who wait", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		began := time.Now()
		err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {})
		if failure, class := Classify(err); class != task.Transient || failure.Code != string(workspace.Timeout) || time.Since(began) != pullLongest {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		close(gate)
	})
	inBubble("a panic fails those who wait, and nobody else", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		close(gate)
		if err := p.wait(t.Context(), fake, "ann", "tool", func(float64) { panic("bad") }); err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("got %v", err)
		}
	})
	inBubble("a failure is everybody's, and the next one asks anew", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		close(gate)
		for range pullTries {
			fake.FailNext("Pull", enginetest.Fault(engine.KindNetwork))
		}
		if err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {}); workspace.CodeOf(err) != workspace.ImageNotFound {
			t.Errorf("got %v", err)
		}
		if err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {}); err != nil {
			t.Error(err)
		}
	})
	inBubble("a registry that fails once or twice is asked again", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		close(gate)
		for _, kind := range []engine.Kind{engine.KindNetwork, engine.KindInternal} {
			fake.FailNext("Pull", enginetest.Fault(kind))
		}
		if err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {}); err != nil || asked(fake) != 3 {
			t.Errorf("got %v, asked %d times", err, asked(fake))
		}
	})
	inBubble("all failures of a registry look alike, in their words and in how long they take", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		close(gate)
		for _, kind := range []engine.Kind{engine.KindNetwork, engine.KindNotFound, engine.KindDenied, engine.KindInvalid, engine.KindInternal, engine.KindTimeout} {
			for range pullTries {
				fake.FailNext("Pull", enginetest.Fault(kind))
			}
			began := time.Now()
			err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {})
			failure, class := Classify(err)
			if failure.Message != errNotPulled.Message || class != task.Permanent || time.Since(began) != pullFloor || !engine.Is(err, kind) {
				t.Errorf("%s: %+v, class %d, after %s", kind, failure, class, time.Since(began))
			}
		}
	})
	inBubble("what is the engine's own fault is told at once, and as what it is", func(t *testing.T, fake *enginetest.Fake, p *pulls, gate chan struct{}) {
		close(gate)
		for _, kind := range []engine.Kind{engine.KindUnavailable, engine.KindStorage} {
			fake.FailNext("Pull", enginetest.Fault(kind))
			began := time.Now()
			if err := p.wait(t.Context(), fake, "ann", "tool", func(float64) {}); !engine.Is(err, kind) || workspace.CodeOf(err) != workspace.Internal || time.Since(began) != 0 {
				t.Errorf("%s: %v after %s", kind, err, time.Since(began))
			}
		}
	})
}

func TestAnImageThatIsNotAllowedAnyMoreIsNotPulled(t *testing.T) {
	fake, d, l := rig()
	d.w.Image = "tool"
	d.refusedImage = &workspace.Error{Code: workspace.BadUserInput, Message: "It is not allowed.", Field: []string{"input", "image"}}
	err := l.Handlers()[task.Create](t.Context(), task.Task{Type: task.Create, WorkspaceID: "ws_1"}, func(string, *float64) {})
	if failure, class := Classify(err); class != task.Permanent || failure.Message != "It is not allowed." || slices.ContainsFunc(fake.Calls(), func(call string) bool { return strings.HasPrefix(call, "Pull") }) {
		t.Errorf("%v after %v", err, fake.Calls())
	}
}
