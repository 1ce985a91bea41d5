package simulation

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
)

// line is one server's connection to the engine that all have: its calls take time, and fail now and then, before or after they had an
// effect. When the server is killed, what it has asked for may still happen.
type line struct {
	engine.Engine
	chance *chance
	faults *atomic.Int32 // per cent of the calls that fail
	dead   atomic.Bool
	slow   time.Duration // that a call takes at most, before and after its effect
	now    atomic.Int32  // calls under way
	most   atomic.Int32  // of them at once
	stall  func()        // waits while the server stands still
	late   func(spec engine.NetworkSpec)
}

// kinds are the faults that are drawn. What cannot be asked is waited for, what is invalid fails for good, the others are tried again.
var kinds = []engine.Kind{
	engine.KindInternal, engine.KindConflict, engine.KindTimeout, engine.KindStorage, engine.KindNotFound, engine.KindUnavailable, engine.KindInvalid,
}

func (l *line) call(ctx context.Context, do func() error) error {
	defer l.now.Add(-1)
	for now := l.now.Add(1); ; {
		if most := l.most.Load(); now <= most || l.most.CompareAndSwap(most, now) {
			break
		}
	}
	fails := l.chance.n(100) < int(l.faults.Load())
	before := l.chance.n(2) == 0
	fault := enginetest.Fault(kinds[l.chance.n(len(kinds))])
	if err := pass(ctx, l.chance.between(time.Millisecond, l.slow)); err != nil {
		return err
	}
	if l.dead.Load() && before || fails && before {
		return fault
	}
	err := do()
	l.stall()
	if late := pass(ctx, l.chance.between(time.Millisecond, l.slow)); err == nil && late != nil {
		return late
	}
	if fails {
		return fault
	}
	return err
}

// Events lose one in ten, while there are faults.
func (l *line) Events(ctx context.Context, labels engine.Labels, since time.Time) (engine.EventStream, error) {
	s, err := l.Engine.Events(ctx, labels, since)
	if err != nil {
		return nil, err
	}
	return &lossy{s, l}, nil
}

type lossy struct {
	engine.EventStream

	line *line
}

func (s *lossy) Next() (engine.Event, error) {
	for {
		e, err := s.EventStream.Next()
		if s.line.stall(); err != nil || s.line.faults.Load() == 0 || s.line.chance.n(10) > 0 {
			return e, err
		}
	}
}

// pass lets time pass, unless ctx ends.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return &engine.Error{Kind: engine.KindCanceled, Err: ctx.Err()}
	}
}

// ask is call for what has an answer.
func ask[T any](ctx context.Context, l *line, do func() (T, error)) (answer T, err error) {
	err = l.call(ctx, func() (err error) {
		answer, err = do()
		return err
	})
	return answer, err
}

func (l *line) Image(ctx context.Context, ref string) (engine.Image, error) {
	return ask(ctx, l, func() (engine.Image, error) { return l.Engine.Image(ctx, ref) })
}

// lateMost is how long after the end of its server a network may appear that it had asked for.
const lateMost = 20 * time.Second

// CreateNetwork goes on when its server is killed, and has found its name free by then: the network appears beside one that was made since.
func (l *line) CreateNetwork(ctx context.Context, spec engine.NetworkSpec) (string, error) {
	if err := pass(ctx, l.chance.between(time.Millisecond, 100*time.Millisecond)); err != nil {
		return "", err
	}
	if l.dead.Load() {
		if err := pass(ctx, l.chance.between(0, lateMost)); err != nil {
			return "", err
		}
		l.late(spec)
		return "", enginetest.Fault(engine.KindUnavailable)
	}
	return ask(ctx, l, func() (string, error) { return l.Engine.CreateNetwork(ctx, spec) })
}

func (l *line) Networks(ctx context.Context, labels engine.Labels) ([]engine.Network, error) {
	return ask(ctx, l, func() ([]engine.Network, error) { return l.Engine.Networks(ctx, labels) })
}

func (l *line) ConnectNetwork(ctx context.Context, networkID, containerID string) error {
	return l.call(ctx, func() error { return l.Engine.ConnectNetwork(ctx, networkID, containerID) })
}

func (l *line) RemoveNetwork(ctx context.Context, id string) error {
	return l.call(ctx, func() error { return l.Engine.RemoveNetwork(ctx, id) })
}

func (l *line) CreateContainer(ctx context.Context, spec engine.ContainerSpec) (string, error) {
	return ask(ctx, l, func() (string, error) { return l.Engine.CreateContainer(ctx, spec) })
}

func (l *line) StartContainer(ctx context.Context, id string) error {
	return l.call(ctx, func() error { return l.Engine.StartContainer(ctx, id) })
}

func (l *line) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	return l.call(ctx, func() error { return l.Engine.StopContainer(ctx, id, grace) })
}

func (l *line) RemoveContainer(ctx context.Context, id string) error {
	return l.call(ctx, func() error { return l.Engine.RemoveContainer(ctx, id) })
}

func (l *line) UpdateContainer(ctx context.Context, id string, limits engine.Limits) error {
	return l.call(ctx, func() error { return l.Engine.UpdateContainer(ctx, id, limits) })
}

func (l *line) Container(ctx context.Context, id string) (engine.Container, error) {
	return ask(ctx, l, func() (engine.Container, error) { return l.Engine.Container(ctx, id) })
}

func (l *line) Tail(ctx context.Context, id string, lines int) ([]string, error) {
	return ask(ctx, l, func() ([]string, error) { return l.Engine.Tail(ctx, id, lines) })
}

func (l *line) Containers(ctx context.Context, labels engine.Labels) ([]engine.Summary, error) {
	return ask(ctx, l, func() ([]engine.Summary, error) { return l.Engine.Containers(ctx, labels) })
}

func (l *line) UnpauseContainer(ctx context.Context, id string) error {
	return l.call(ctx, func() error { return l.Engine.UnpauseContainer(ctx, id) })
}

// chance is a source of numbers that goroutines share.
type chance struct {
	mu   sync.Mutex
	next func(n int) int
}

func (c *chance) n(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next(n)
}

func (c *chance) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.n(int(most-least)))
}
