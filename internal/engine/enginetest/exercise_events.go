package enginetest

import (
	"context"
	"maps"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// readingsWanted shows that readings go on coming.
const readingsWanted = 2

func exerciseEvents(run runner) {
	run("a stream is open when Events returns and tells a container's life", func(b *bench) {
		spec := b.spec("c")
		stream := b.events()
		id := b.started(spec)
		e := b.until(stream, id, "create")
		if e.At.IsZero() {
			b.Error("an event without a time")
		}
		for name, value := range spec.Labels {
			if e.Labels[name] != value {
				b.Errorf("label %s is %q, want %q", name, e.Labels[name], value)
			}
		}
		b.until(stream, id, "start")
		b.must(b.engine.RemoveContainer(b.ctx, id))
		b.until(stream, id, "die")
		b.until(stream, id, "destroy")
	})
	run("a stream tells of those that carry all of the labels only", func(b *bench) {
		other := b.spec("other")
		other.Labels = b.otherLabels()
		mine := b.spec("mine")
		stream := b.events()
		foreign := b.create(other)
		b.Cleanup(func() { b.check(b.engine.RemoveContainer(context.Background(), foreign)) })
		b.must(b.engine.RemoveContainer(b.ctx, foreign))
		id := b.create(mine)
		for {
			e, err := stream.Next()
			b.must(err)
			if e.ID == foreign {
				b.Fatalf("got %+v", e)
			}
			if e.ID == id {
				return
			}
		}
	})
	run("a stream names the networks that are made and removed", func(b *bench) {
		stream := b.events()
		id := b.network(0)
		b.must(b.engine.RemoveNetwork(b.ctx, id))
		for _, action := range []string{"create", "destroy"} {
			if e := b.until(stream, id, action); e.Name != b.networkSpec(0).Name {
				b.Errorf("%s: got %+v", action, e)
			}
		}
	})
	run("a stream tells again what happened since a time", func(b *bench) {
		first := b.events()
		id := b.started(b.spec("c"))
		created := b.until(first, id, "create")
		b.until(first, id, "start")
		first.Close()
		again, err := b.engine.Events(b.ctx, b.labels, created.At.Add(-time.Millisecond))
		b.must(err)
		b.Cleanup(again.Close)
		b.until(again, id, "create")
		b.until(again, id, "start")
		b.must(b.engine.RemoveContainer(b.ctx, id)) // and goes on
		b.until(again, id, "destroy")
	})
	run("a stream ends with the context it was opened with", func(b *bench) {
		ctx, cancel := context.WithCancel(b.ctx)
		stream, err := b.engine.Events(ctx, maps.Clone(b.labels), time.Time{})
		b.must(err)
		defer stream.Close()
		ended := make(chan error, 1) // the reader never waits for this test
		go func() {
			_, err := stream.Next()
			ended <- err
		}()
		cancel()
		b.fails(<-ended, engine.KindCanceled)
	})
	run("a stream can be closed twice", func(b *bench) {
		stream := b.events()
		stream.Close()
		stream.Close()
		if _, err := stream.Next(); err == nil {
			b.Error("a closed stream gave an event")
		}
	})
}

func exerciseStats(run runner) {
	run("a container that runs has counters", func(b *bench) {
		spec := b.spec("c")
		spec.Limits = engine.Limits{NanoCPUs: 500_000_000, MemoryBytes: 64 << 20, Pids: 64}
		b.sane(b.onceOf(b.started(spec)), spec.Limits)
	})
	run("a container that does not run has no counters", func(b *bench) {
		id := b.create(b.spec("c"))
		_, err := b.engine.Stats(b.ctx, id)
		b.fails(err, engine.KindNotRunning)
		b.must(b.engine.StartContainer(b.ctx, id))
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		_, err = b.engine.Stats(b.ctx, id)
		b.fails(err, engine.KindNotRunning)
	})
	run("counters are watched until the watcher has enough", func(b *bench) {
		spec := b.spec("c")
		spec.Limits = engine.Limits{MemoryBytes: 64 << 20}
		id := b.started(spec)
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		var readings []engine.Stats
		b.must(b.engine.WatchStats(ctx, id, func(s engine.Stats) {
			if readings = append(readings, s); len(readings) == readingsWanted {
				cancel()
			}
		}))
		if len(readings) < readingsWanted {
			b.Fatalf("got %d readings, want %d", len(readings), readingsWanted)
		}
		first, second := readings[0], readings[1]
		b.sane(first, spec.Limits)
		if !second.At.After(first.At) || second.CPUNanos < first.CPUNanos {
			b.Errorf("got %+v, then %+v", first, second)
		}
	})
	run("counters are watched until the container stops", func(b *bench) {
		id := b.started(b.spec("c"))
		seen, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			var once bool
			ended <- b.engine.WatchStats(b.ctx, id, func(engine.Stats) {
				if !once {
					once = true
					close(seen)
				}
			})
		}()
		select {
		case <-seen:
		case err := <-ended:
			b.Fatalf("ended before the first reading: %v", err)
		}
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		b.must(<-ended)
	})
}

func (b *bench) onceOf(id string) engine.Stats {
	b.Helper()
	s, err := b.engine.Stats(b.ctx, id)
	b.must(err)
	return s
}

func (b *bench) sane(s engine.Stats, limits engine.Limits) {
	b.Helper()
	if s.At.IsZero() || s.CPUNanos == 0 || s.MemoryBytes <= 0 || s.MemoryLimitBytes != limits.MemoryBytes || s.Pids < 1 {
		b.Errorf("got %+v with limits %+v", s, limits)
	}
}
