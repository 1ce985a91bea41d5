package lifecycle

import (
	"context"
	"fmt"
	"sync"

	"github.com/distribution/reference"

	"github.com/aicli/aicli-web/internal/engine"
)

// pulls lets those who need the same image share one pull: each sees how far it is, and it is cut when nobody waits for it any more.
type pulls struct {
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

// canonical is one name for all that name the same image.
func canonical(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image // the engine says what is wrong with it
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

func (p *pulls) join(ctx context.Context, e engine.Engine, image string, progress *func(float64)) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := canonical(image)
	shared := p.under[name]
	if shared == nil {
		ctx, cut := context.WithCancel(context.WithoutCancel(ctx)) // it is not the first one's alone
		shared = &pull{name: name, cut: cut, done: make(chan struct{}), waiters: make(map[*func(float64)]struct{})}
		if p.under == nil {
			p.under = make(map[string]*pull)
		}
		p.under[name] = shared
		go p.run(ctx, e, image, shared)
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

func (p *pulls) run(ctx context.Context, e engine.Engine, image string, shared *pull) {
	defer shared.cut()
	var err error
	defer func() {
		if r := recover(); r != nil { // those who wait fail, and nobody else
			err = fmt.Errorf("panic in a pull: %v", r)
		}
		p.close(shared, err)
	}()
	err = e.Pull(ctx, image, func(now engine.PullProgress) {
		p.tell(shared, now.Percent)
	})
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

// pullError is a failed pull: only there does what is not found, or refused, mean the image.
func pullError(err error) error {
	switch {
	case engine.Is(err, engine.KindNotFound):
		return errImageNotFound
	case engine.Is(err, engine.KindInvalid):
		return errImageUnusable
	default:
		return err
	}
}
