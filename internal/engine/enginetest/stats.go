package enginetest

import (
	"context"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// statsEvery is the time between two readings of WatchStats.
const statsEvery = time.Second

// SetUsage sets what every further reading of a container's present run says, but for the time and the memory limit, and reports whether
// the container runs. Without it a container uses a tenth of a core, 1 MiB and one process.
func (f *Fake) SetUsage(id string, usage engine.Stats) bool {
	return f.behind(id, func(c *container) { c.usage = &usage })
}

// Stats implements engine.Engine.
func (f *Fake) Stats(ctx context.Context, id string) (engine.Stats, error) {
	var out engine.Stats
	err := f.doOn(ctx, "Stats", id, func(c *container) error {
		if !c.alive() {
			return refuse(engine.KindNotRunning, "the container is not running")
		}
		out = c.reading()
		return nil
	})
	return result(out, err)
}

// WatchStats implements engine.Engine. The first reading comes at once.
func (f *Fake) WatchStats(ctx context.Context, id string, each func(engine.Stats)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(context.WithoutCancel(ctx), "WatchStats", id); err != nil {
		return err
	}
	c, err := f.mustFind(id)
	if err == nil && !c.alive() {
		err = refuse(engine.KindNotRunning, "the container is not running")
	}
	if err != nil {
		return named(err, "WatchStats", id)
	}
	return named(f.watch(ctx, c, each), "WatchStats", id)
}

// watch gives readings while the run lasts. f.mu is held, but not while each runs.
func (f *Fake) watch(ctx context.Context, c *container, each func(engine.Stats)) error {
	ticker := time.NewTicker(statsEvery)
	defer ticker.Stop()
	for run, due := c.runs, true; ctx.Err() == nil && c.alive() && c.runs == run; {
		if f.down {
			return errDown()
		}
		if due {
			f.give(each, c.reading())
			if err := f.leave("WatchStats", c.id); err != nil {
				return err
			}
			due = false
			continue // the world may have changed while each ran
		}
		due, _ = f.await(ctx, ticker.C) // the loop sees the end of ctx
	}
	return nil
}

func (f *Fake) give(each func(engine.Stats), reading engine.Stats) {
	f.mu.Unlock()
	defer f.mu.Lock()
	each(reading)
}

func (c *container) reading() engine.Stats {
	out := engine.Stats{
		CPUNanos:    uint64(1 + time.Since(c.started)/10), // time does not run backwards
		MemoryBytes: 1 << 20,
		Pids:        1,
	}
	if c.usage != nil {
		out = *c.usage
	}
	out.At = time.Now()
	if out.MemoryLimitBytes = c.enforced.Limits.MemoryBytes; out.MemoryLimitBytes == 0 {
		out.MemoryLimitBytes = fakeMemory
	}
	return out
}
