package task

import (
	"context"
	"errors"
	"time"
)

// What only waits, for a container to end by itself or for an image, needs no worker. Its task is parked meanwhile: it has its lease and is told as running,
// and another task runs in its place. When the wait is over it goes back to the queue with its turn, and the next run finds what was waited for.

// Awaited is what a task waits for.
type Awaited int

// What there is to wait for. Neither takes the other's place.
const (
	ForContainer Awaited = iota // to end by itself
	ForImage
)

const (
	// parkedMost bounds the tasks of a pool that are parked for one thing: each has a goroutine and a lease that is kept.
	parkedMost = 1000
	// parkedShare is how many of them one owner may have.
	parkedShare = 250
	// parkAgain is how soon one is tried again that found no place.
	parkAgain = 30 * time.Second
)

var (
	// ErrAgain is what Park gives when the wait is over. The handler returns it, and the task goes on with another run.
	ErrAgain = errors.New("what the task waited for is there")
	// ErrFull is what Park gives when too many are parked, and what a wait may give that has gone on for too long. A handler that returns it has its task given back to
	// the queue for a while.
	ErrFull = errors.New("too many tasks wait")
)

type parkKey struct{}

// Park gives the caller's worker to another task and calls wait, which does nothing but wait and has a bound of its own: the run's timeout is over with it. The handler returns what
// Park gives it and does nothing more. With ErrFull of its own wait was not called, and the worker is kept. Outside of a pool Park calls wait and no more.
func Park(ctx context.Context, what Awaited, wait func() error) error {
	p, ok := ctx.Value(parkKey{}).(*parking)
	if !ok {
		return wait()
	}
	if !p.pool.park(p.run, what) {
		return ErrFull
	}
	p.timeout.Stop()
	if err := wait(); err != nil {
		return err
	}
	return ErrAgain
}

// Parked reports whether a run has no worker any more.
func Parked(ctx context.Context) bool {
	p, ok := ctx.Value(parkKey{}).(*parking)
	return ok && p.pool.isParked(p.run)
}

// parking is a run that can be parked.
type parking struct {
	pool    *Pool
	run     *run
	timeout *time.Timer
}

// place is where runs are counted that are parked.
type place struct {
	what  Awaited
	owner string // empty: all
}

// park gives the worker of a run to another one; false when there is no place.
func (p *Pool) park(r *run, what Awaited) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parked[place{what: what}] >= parkedMost || p.parked[place{what, r.owner}] >= parkedShare {
		return false
	}
	p.parked[place{what: what}]++
	p.parked[place{what, r.owner}]++
	r.parked = &place{what, r.owner}
	p.rest(r.owner)
	p.Wake()
	return true
}

func (p *Pool) isParked(r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.parked != nil
}

// leave notes that the handler of a run has returned: it needs neither a worker nor a place any more. p.mu is held.
func (p *Pool) leave(r *run) {
	switch {
	case r.handled:
		return
	case r.parked == nil:
		p.rest(r.owner)
	default:
		p.parked[place{what: r.parked.what}]--
		if p.parked[*r.parked]--; p.parked[*r.parked] == 0 {
			delete(p.parked, *r.parked)
		}
	}
	r.handled = true
}

// rest notes that a worker has ended with a task of an owner. p.mu is held.
func (p *Pool) rest(owner string) {
	if p.busy[owner]--; p.busy[owner] == 0 {
		delete(p.busy, owner)
	}
}
