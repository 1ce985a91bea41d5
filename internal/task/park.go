package task

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// What only waits, for a container to end by itself or for an image, needs no worker. Its task is parked meanwhile: it has its lease and is told as running,
// and another task runs in its place. When the wait is over it goes on with the next worker that is free, before anything new begins.

// parkedMost bounds the tasks of a pool that are parked: each has a goroutine and a lease that is kept.
const parkedMost = 1000

// ErrFull is what Park gives when too many are parked already, and a handler returns to have its task given back to the queue for a while.
var ErrFull = errors.New("too many tasks wait")

type parkKey struct{}

// Park calls wait, which does nothing but wait, without a worker. The run's timeout stands still meanwhile, so wait must have a bound of its own. Outside of a pool it calls
// wait and no more.
func Park(ctx context.Context, wait func() error) error {
	r, ok := ctx.Value(parkKey{}).(*parking)
	if !ok {
		return wait()
	}
	if !r.pool.park(r.run) {
		return ErrFull
	}
	r.clock.stop()
	defer r.clock.start()
	defer r.pool.unpark(ctx, r.run)
	return wait()
}

// parking is a run that can be parked.
type parking struct {
	pool  *Pool
	run   *run
	clock *stopwatch
}

// park gives the worker of a run to another one; false when too many are parked.
func (p *Pool) park(r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parked >= parkedMost {
		return false
	}
	r.parked = true
	p.parked++
	p.busy[r.lane]--
	p.handOver()
	p.Wake()
	return true
}

// unpark waits for a worker. A run that was cut does not wait: what comes after it on its workspace may have the last one.
func (p *Pool) unpark(ctx context.Context, r *run) {
	p.mu.Lock()
	waiting := &resumed{r, make(chan struct{})}
	p.resuming = append(p.resuming, waiting)
	p.handOver()
	p.mu.Unlock()
	select {
	case <-waiting.turn:
		return
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.resuming, waiting); i >= 0 {
		p.resuming = slices.Delete(p.resuming, i, i+1)
		p.resume(r)
	}
}

// resumed is a run whose wait is over.
type resumed struct {
	run  *run
	turn chan struct{}
}

// handOver gives workers that are free to those whose wait is over, in the order in which it was. p.mu is held.
func (p *Pool) handOver() {
	for len(p.resuming) > 0 && p.working()+p.claiming < p.opts.Workers {
		next := p.resuming[0]
		p.resuming = p.resuming[1:]
		p.resume(next.run)
		close(next.turn)
	}
}

func (p *Pool) resume(r *run) {
	r.parked = false
	p.parked--
	p.busy[r.lane]++
}

// working is how many workers are busy. p.mu is held.
func (p *Pool) working() int { return p.busy[Quick] + p.busy[Slow] }

// stopwatch calls what it was given once a time has passed, not counting that between stop and start.
type stopwatch struct {
	mu    sync.Mutex
	timer *time.Timer
	began time.Time
	left  time.Duration
	over  bool
}

func newStopwatch(most time.Duration, call func()) *stopwatch {
	s := &stopwatch{left: most, began: time.Now()}
	s.timer = time.AfterFunc(most, call)
	return s
}

func (s *stopwatch) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.left -= time.Since(s.began)
}

func (s *stopwatch) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began = time.Now(); !s.over {
		s.timer.Reset(max(0, s.left))
	}
}

// end stops it for good.
func (s *stopwatch) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.over = true
}
