package lifecycle

import (
	"context"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/workspace"
)

// An engine says that a container runs as soon as its init does, which may then find that it cannot run the command. So that nobody is told of a
// container that runs when it never did, each new run is recorded only once its init has begun the command or has ended.

const (
	// beginsWithin bounds the wait for an init to begin its command, or for the engine to notice its end. Each takes milliseconds on an idle machine.
	beginsWithin = 2 * time.Second
	beginsPoll   = 2 * time.Millisecond
)

// observeBegun observes until no container is in between.
func (l *Lifecycle) observeBegun(ctx context.Context, w workspace.Workspace, h handles, whole bool) (s seen, err error) {
	deadline := time.Now().Add(beginsWithin)
	for wait := beginsPoll; ; wait *= 2 {
		if s, err = l.observe(ctx, w, h, whole); err != nil || !l.between(ctx, w, s.container, deadline) {
			return s, err
		}
		pause(ctx, wait)
	}
}

// between waits while the init of a running container has not begun its command, once a run, and reports whether the container may have ended since it was
// observed.
func (l *Lifecycle) between(ctx context.Context, w workspace.Workspace, c *engine.Container, deadline time.Time) bool {
	if c == nil || c.State != engine.Running || sameRun(w, *c) {
		return false
	}
	for {
		begun, known := l.projects.Begun(*c)
		late := ctx.Err() != nil || !time.Now().Before(deadline)
		switch {
		case known && (begun || late):
			l.blind.Store(false)
			return false
		case known:
			pause(ctx, beginsPoll)
		case late: // the engine goes on saying that it runs, which therefore is so
			l.blind.Store(true)
			return false
		default:
			return !l.blind.Load()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
