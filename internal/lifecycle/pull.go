package lifecycle

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/workspace"
)

// pulls lets those who need the same image share one pull: each sees how far it is, and it is cut when nobody waits for it any more.
type pulls struct {
	pause, floor time.Duration // see pullPause and pullFloor

	mu    sync.Mutex
	under map[string]*pull // way, by the canonical name of the image
}

// pull is one that is under way. What is not said otherwise is guarded by pulls.mu.
type pull struct {
	name    string // of the image, canonical
	cut     context.CancelFunc
	done    chan struct{}
	err     error // once done is closed
	percent *float64
	waiters map[*func(float64)]struct{}
}

// wait pulls an image, or waits for who does. progress is told the per cent that have been pulled, where that can be known.
func (p *pulls) wait(ctx context.Context, e engine.Engine, image string, progress func(percent float64)) error {
	shared := p.join(ctx, e, image, &progress)
	select {
	case <-shared.done:
		return shared.err
	case <-ctx.Done():
	}
	if p.leave(shared, &progress) {
		shared.cut()
		<-shared.done
	}
	return context.Cause(ctx)
}

func (p *pulls) join(ctx context.Context, e engine.Engine, image string, progress *func(float64)) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := workspace.ImageName(image)
	shared := p.under[name]
	if shared == nil {
		ctx, cut := context.WithCancel(context.WithoutCancel(ctx)) // it is not the first one's alone
		shared = &pull{name: name, cut: cut, done: make(chan struct{}), waiters: make(map[*func(float64)]struct{})}
		if p.under == nil {
			p.under = make(map[string]*pull)
		}
		p.under[name] = shared
		go p.run(ctx, e, shared)
	}
	shared.waiters[progress] = struct{}{}
	if shared.percent != nil {
		(*progress)(*shared.percent)
	}
	return shared
}

// leave reports whether nobody else waits.
func (p *pulls) leave(shared *pull, progress *func(float64)) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if delete(shared.waiters, progress); len(shared.waiters) > 0 {
		return false
	}
	p.forget(shared)
	return true
}

func (p *pulls) run(ctx context.Context, e engine.Engine, shared *pull) {
	defer shared.cut()
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
		if !ofRegistry(err) {
			return
		}
		wait := p.pause
		if try == pullTries {
			wait = p.floor - time.Since(began)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if try == pullTries {
			return
		}
	}
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
	shared.err = pullError(err)
	close(shared.done)
}

// forget lets the next one begin anew.
func (p *pulls) forget(shared *pull) {
	if p.under[shared.name] == shared {
		delete(p.under, shared.name)
	}
}

func (p *pulls) tell(shared *pull, percent float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	shared.percent = &percent
	for progress := range shared.waiters {
		(*progress)(percent)
	}
}

// pullError is a failed pull.
func pullError(err error) error {
	if ofRegistry(err) {
		return fmt.Errorf("%w: %w", errNotPulled, err)
	}
	return err
}
