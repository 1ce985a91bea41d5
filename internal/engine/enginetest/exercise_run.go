package enginetest

import (
	"fmt"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// grace is how long containers that may end by themselves are given. None of ours needs it; it is the bound of a hung run.
const grace = 30 * time.Second

func exerciseRuns(run runner) {
	run("a container that runs can be started again and goes on", func(b *bench) {
		id := b.started(b.spec("c"))
		first := b.inState(id, engine.Running)
		if first.StartedAt.IsZero() || !first.FinishedAt.IsZero() {
			b.Errorf("started %s, finished %s", first.StartedAt, first.FinishedAt)
		}
		if first.Pid <= 0 {
			b.Errorf("its first process is %d", first.Pid)
		}
		b.must(b.engine.StartContainer(b.ctx, id))
		if again := b.inState(id, engine.Running); !again.StartedAt.Equal(first.StartedAt) {
			b.Errorf("started at %s, then at %s", first.StartedAt, again.StartedAt)
		}
	})
	run("a container that ends by itself says how", func(b *bench) {
		spec := b.spec("c")
		spec.Entrypoint = []string{"sh", "-c", "exit 7"}
		stream := b.events()
		id := b.started(spec)
		died := b.until(stream, id, "die")
		c := b.inState(id, engine.Exited)
		if c.Pid != 0 {
			b.Errorf("it has ended, and its first process is %d", c.Pid)
		}
		if died.ExitCode == nil || *died.ExitCode != 7 || !died.At.After(c.StartedAt) {
			b.Errorf("started at %s, and got %+v", c.StartedAt, died)
		}
		if c.ExitCode != 7 || c.OOMKilled || c.FinishedAt.IsZero() || c.FinishedAt.Before(c.StartedAt) {
			b.Errorf("got %+v", c)
		}
	})
	run("a container's last lines are read when it has ended", func(b *bench) {
		spec := b.spec("c")
		spec.Entrypoint = []string{"sh", "-c", "echo one; echo two; echo three; exit 7"}
		stream := b.events()
		id := b.started(spec)
		b.until(stream, id, "die")
		for lines, want := range map[int]string{2: "[two three]", 20: "[one two three]"} {
			if got, err := b.engine.Tail(b.ctx, id, lines); err != nil || fmt.Sprint(got) != want {
				b.Errorf("got %v (%v), want %s", got, err, want)
			}
		}
		silent := b.create(b.spec("d"))
		if got, err := b.engine.Tail(b.ctx, silent, 2); err != nil || len(got) != 0 {
			b.Errorf("of one that was never started: %q, %v", got, err)
		}
		_, err := b.engine.Tail(b.ctx, b.prefix+"-none", 2)
		b.fails(err, engine.KindNotFound)
	})
	run("a container that ended runs anew", func(b *bench) {
		stream := b.events()
		id := b.started(b.spec("c"))
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		b.until(stream, id, "die")
		b.must(b.engine.StartContainer(b.ctx, id))
		if c := b.inState(id, engine.Running); c.StartedAt.Before(c.FinishedAt) {
			b.Errorf("started at %s, before it finished at %s", c.StartedAt, c.FinishedAt)
		}
	})
	run("a command that cannot be run is invalid", func(b *bench) {
		spec := b.spec("c")
		spec.Entrypoint, spec.Init = []string{Missing + "/command"}, false
		id := b.create(spec)
		b.fails(b.engine.StartContainer(b.ctx, id), engine.KindInvalid)
		if c := b.inspect(id); c.State == engine.Running {
			b.Errorf("state %s", c.State)
		}
	})
	run("why a command could not be run is kept with its container", func(b *bench) {
		spec := b.spec("c")
		spec.Entrypoint, spec.Init = []string{Missing + "/command"}, false
		id := b.create(spec)
		b.fails(b.engine.StartContainer(b.ctx, id), engine.KindInvalid)
		if c := b.inspect(id); c.Error == "" {
			b.Error("it is not")
		}
	})
	run("a command that cannot be run below an init is invalid or ends with code 127", func(b *bench) {
		spec := b.spec("c")
		spec.Entrypoint = []string{Missing + "/command"}
		stream := b.events()
		id := b.create(spec)
		if err := b.engine.StartContainer(b.ctx, id); err != nil {
			b.fails(err, engine.KindInvalid)
			return
		}
		b.until(stream, id, "die")
		if c := b.inState(id, engine.Exited); c.ExitCode != exitNotFound {
			b.Errorf("exit code %d, want %d", c.ExitCode, exitNotFound)
		}
	})
	run("a container that ends when asked is not killed", func(b *bench) {
		id := b.started(b.spec("c"))
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		if c := b.inState(id, engine.Exited); c.ExitCode != exitEnded || c.OOMKilled {
			b.Errorf("exit code %d, want %d", c.ExitCode, exitEnded)
		}
	})
	run("a container that does not end when asked is killed after the grace", func(b *bench) {
		id := b.started(b.stubborn())
		b.must(b.engine.StopContainer(b.ctx, id, time.Millisecond)) // rounded up to a second
		if c := b.inState(id, engine.Exited); c.ExitCode != exitKilled {
			b.Errorf("exit code %d, want %d", c.ExitCode, exitKilled)
		}
	})
	run("a container that does not run can be stopped", func(b *bench) {
		id := b.create(b.spec("c"))
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		b.must(b.engine.StartContainer(b.ctx, id))
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		b.must(b.engine.StopContainer(b.ctx, id, grace))
		b.inState(id, engine.Exited)
	})
	run("a container that is not paused can be unpaused", func(b *bench) {
		id := b.create(b.spec("c"))
		b.must(b.engine.UnpauseContainer(b.ctx, id))
		b.must(b.engine.StartContainer(b.ctx, id))
		b.must(b.engine.UnpauseContainer(b.ctx, id))
		b.inState(id, engine.Running)
	})
}

// stubborn is a container that no request ends. It traps the signal before it becomes the sleep, so that the sleep ignores it from
// its first instant on.
func (b *bench) stubborn() engine.ContainerSpec {
	spec := b.spec("stubborn")
	spec.Entrypoint, spec.Init = []string{"sh", "-c", "trap '' TERM; exec sleep 600"}, false // the first process ignores it even before
	return spec
}

func exerciseRemoval(run runner) {
	run("a container that runs is removed, and gone it can be removed again", func(b *bench) {
		id := b.started(b.spec("c"))
		b.must(b.engine.RemoveContainer(b.ctx, id))
		_, err := b.engine.Container(b.ctx, id)
		b.fails(err, engine.KindNotFound)
		b.must(b.engine.RemoveContainer(b.ctx, id))
	})
	run("a container that never ran is removed by name and the name is free", func(b *bench) {
		spec := b.spec("c")
		b.create(spec)
		b.must(b.engine.RemoveContainer(b.ctx, spec.Name))
		b.create(spec)
	})
}

func exercisePaused(run runner) {
	paused := func(b *bench) string {
		id := b.started(b.spec("c"))
		b.opts.Pause(b.T, b.engine, id)
		b.inState(id, engine.Paused)
		return id
	}
	run("a paused container goes on when it is unpaused", func(b *bench) {
		id := paused(b)
		b.must(b.engine.UnpauseContainer(b.ctx, id))
		b.inState(id, engine.Running)
	})
	run("a paused container is stopped", func(b *bench) {
		id := paused(b)
		b.must(b.engine.StopContainer(b.ctx, id, time.Second))
		b.inState(id, engine.Exited)
	})
	run("a paused container is removed", func(b *bench) {
		id := paused(b)
		b.must(b.engine.RemoveContainer(b.ctx, id))
		_, err := b.engine.Container(b.ctx, id)
		b.fails(err, engine.KindNotFound)
	})
}
