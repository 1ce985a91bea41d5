package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// pulls lets those who need the same image share one pull: each sees how far it is, and it is cut when nobody waits for it any more. Few run at once, and
// owners take turns: next is one of an owner who has the fewest under way.
type pulls struct {
	pause, floor, longest time.Duration // see pullPause, pullFloor and pullLongest
	atOnce, most          int           // see pullsAtOnce and pullsMost

	mu      sync.Mutex
	known   map[string]*pull // under way or pending, by the canonical name of the image
	pending []*pull          // in the order in which they were asked for
	running map[*pull]string // the owner each is counted for
}

const (
	// pullsAtOnce is how many pulls run at once: they share one line.
	pullsAtOnce = 4
	// pullsMost is how many run at once when each beyond pullsAtOnce is the only one of its owner: slow registries hold up nobody else.
	pullsMost = 16
	// pullLongest bounds one pull with its tries: a large image over a slow line.
	pullLongest = 15 * time.Minute
)

func newPulls() pulls {
	return pulls{pause: pullPause, floor: pullFloor, longest: pullLongest, atOnce: pullsAtOnce, most: pullsMost, known: make(map[string]*pull), running: make(map[*pull]string)}
}

// pull is one that is under way or pending. What is not said otherwise is guarded by pulls.mu.
type pull struct {
	name    string // of the image, canonical
	do      func() // runs it
	cut     context.CancelFunc
	done    chan struct{}
	err     error // once done is closed
	percent *float64
	waiters map[*puller]struct{}
}

// puller is somebody who waits for an image.
type puller struct {
	owner    string
	progress func(percent float64)
}

// wait pulls an image for an owner, or waits for who does. progress is told the per cent that have been pulled, where that can be known.
func (p *pulls) wait(ctx context.Context, e engine.Engine, owner, image string, progress func(percent float64)) error {
	me := &puller{owner, progress}
	shared := p.join(ctx, e, image, me)
	why := func() error { return context.Cause(ctx) }
	pending := time.NewTimer(p.longest)
	defer pending.Stop()
	for waits := true; waits; {
		select {
		case <-shared.done:
			return shared.err
		case <-pending.C: // its own time begins with it
			if waits = p.began(shared); !waits {
				why = func() error { return task.ErrFull }
			}
		case <-ctx.Done():
			waits = false
		}
	}
	if p.leave(shared, me) {
		shared.cut()
		<-shared.done
	}
	return why()
}

// began reports whether a pull runs.
func (p *pulls) began(shared *pull) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.Contains(p.pending, shared)
}

func (p *pulls) join(ctx context.Context, e engine.Engine, image string, me *puller) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := workspace.ImageName(image)
	shared := p.known[name]
	if shared == nil {
		ctx, cut := context.WithCancel(context.WithoutCancel(ctx)) // it is not the first one's alone
		shared = &pull{name: name, cut: cut, done: make(chan struct{}), waiters: make(map[*puller]struct{})}
		shared.do = func() { p.run(ctx, e, shared) }
		p.known[name] = shared
		p.pending = append(p.pending, shared)
	}
	shared.waiters[me] = struct{}{}
	if shared.percent != nil {
		me.progress(*shared.percent)
	}
	p.next()
	return shared
}

// next starts what may run. p.mu is held.
func (p *pulls) next() {
	for len(p.pending) > 0 {
		first, owner, has := 0, "", -1 // the pull, who it is counted for, and how many of that owner run
		for i, candidate := range p.pending {
			for w := range candidate.waiters {
				if n := p.of(w.owner); has < 0 || n < has {
					first, owner, has = i, w.owner, n
				}
			}
		}
		if now := len(p.running); now >= p.atOnce && (has > 0 || now >= p.most) {
			return
		}
		shared := p.pending[first]
		p.pending = slices.Delete(p.pending, first, first+1)
		p.running[shared] = owner
		go shared.do()
	}
}

// of is how many pulls of an owner run.
func (p *pulls) of(owner string) (n int) {
	for _, of := range p.running {
		if of == owner {
			n++
		}
	}
	return n
}

// leave reports whether nobody else waits for a pull that is under way. One that is pending goes with the last who waits.
func (p *pulls) leave(shared *pull, me *puller) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(shared.waiters, me); len(shared.waiters) > 0 {
		p.recount(shared)
		return false
	}
	p.forget(shared)
	if i := slices.Index(p.pending, shared); i >= 0 {
		p.pending = slices.Delete(p.pending, i, i+1)
		shared.cut()
		return false
	}
	return true
}

// recount has a pull counted for somebody else, where whom it was counted for does not wait for it any more. p.mu is held.
func (p *pulls) recount(shared *pull) {
	owner, runs := p.running[shared]
	if !runs {
		return
	}
	var other string
	for w := range shared.waiters {
		if w.owner == owner {
			return
		}
		other = w.owner
	}
	p.running[shared] = other
	p.next()
}

func (p *pulls) run(ctx context.Context, e engine.Engine, shared *pull) {
	defer shared.cut()
	ctx, end := context.WithTimeoutCause(ctx, p.longest, task.ErrTimeout)
	defer end()
	var err error
	defer func() {
		if r := recover(); r != nil { // those who wait fail, and nobody else
			err = fmt.Errorf("panic in a pull: %v", r)
		}
		p.close(shared, err)
	}()
	began := time.Now()
	for try := 1; ; try++ {
		err = e.Pull(ctx, shared.name, func(now engine.PullProgress) {
			p.tell(shared, now.Percent)
		})
		if err = late(ctx, err); errors.Is(err, task.ErrTimeout) || !ofRegistry(err) {
			return
		}
		wait := p.pause
		if try == pullTries {
			wait = p.floor - time.Since(began)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			err = late(ctx, err)
			return
		}
		if try == pullTries {
			return
		}
	}
}

// late is a failure that was due to the pull's own time being over.
func late(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), task.ErrTimeout) {
		return fmt.Errorf("%w: %w", task.ErrTimeout, err)
	}
	return err
}

// Images name hosts and ports, so who sees why a pull failed, or how soon, has a scanner of the engine's network. All failures of a registry look alike
// therefore: a few tries, the same words, and not before pullFloor. What it was is in the log.
const (
	pullTries = 3
	pullPause = time.Second // between two tries
	pullFloor = 5 * time.Second
)

// ofRegistry reports whether a pull failed for what a registry has said, or for its silence, rather than for the engine's state.
func ofRegistry(err error) bool {
	switch engine.KindOf(err) {
	case "", engine.KindUnavailable, engine.KindStorage, engine.KindCanceled:
		return false
	default:
		return true
	}
}

func (p *pulls) close(shared *pull, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(shared)
	delete(p.running, shared)
	p.next()
	shared.err = pullError(err)
	close(shared.done)
}

// forget lets the next one begin anew.
func (p *pulls) forget(shared *pull) {
	if p.known[shared.name] == shared {
		delete(p.known, shared.name)
	}
}

func (p *pulls) tell(shared *pull, percent float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	shared.percent = &percent
	for w := range shared.waiters {
		w.progress(percent)
	}
}

// pullError is a failed pull.
func pullError(err error) error {
	if !errors.Is(err, task.ErrTimeout) && ofRegistry(err) {
		return fmt.Errorf("%w: %w", errNotPulled, err)
	}
	return err
}
