package enginetest

import (
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// checkEvery is the time between the health checks of the suite's containers.
const checkEvery = 200 * time.Millisecond

// checked is a container whose health check is the command.
func (b *bench) checked(command ...string) engine.ContainerSpec {
	b.Helper()
	spec := b.spec("checked")
	spec.HealthCheck = &engine.HealthCheck{Test: append([]string{"CMD"}, command...), Interval: checkEvery, Timeout: grace, Retries: 2}
	return spec
}

// listed is the health of a container as the list tells it.
func (b *bench) listed(id string) engine.HealthStatus {
	b.Helper()
	list, err := b.engine.Containers(b.ctx, b.labels)
	b.must(err)
	for _, c := range list {
		if c.ID == id {
			return c.Health
		}
	}
	b.Fatalf("%s is not listed", id)
	return ""
}

func exerciseHealth(run runner) {
	run("a container whose checks pass is healthy", func(b *bench) {
		stream := b.events()
		id := b.started(b.checked("true"))
		if c := b.inspect(id); c.Health != engine.HealthStarting && c.Health != engine.Healthy {
			b.Errorf("at first it is %q", c.Health)
		}
		b.until(stream, id, "health_status: healthy")
		c := b.inspect(id)
		if c.Health != engine.Healthy || c.Checked.FailingStreak != 0 || !c.Checked.At.After(c.StartedAt) {
			b.Errorf("it is %q, %+v", c.Health, c.Checked)
		}
		if got := b.listed(id); got != engine.Healthy {
			b.Errorf("it is listed as %q", got)
		}
	})
	run("a container whose checks fail is unhealthy and says why", func(b *bench) {
		stream := b.events()
		id := b.started(b.checked("sh", "-c", "echo broken; exit 3"))
		b.until(stream, id, "health_status: unhealthy")
		c := b.inspect(id)
		if c.State != engine.Running || c.Health != engine.Unhealthy || c.Checked.FailingStreak < 2 || strings.TrimSpace(c.Checked.Output) != "broken" {
			b.Errorf("it is %s, %q, %+v", c.State, c.Health, c.Checked)
		}
		if got := b.listed(id); got != engine.Unhealthy {
			b.Errorf("it is listed as %q", got)
		}
	})
	run("the output of a check is bounded", func(b *bench) {
		stream := b.events()
		id := b.started(b.checked("sh", "-c", "echo "+strings.Repeat("x", 2*engine.OutputMost)+"; exit 1"))
		b.until(stream, id, "health_status: unhealthy")
		if n := len(b.inspect(id).Checked.Output); n == 0 || n > engine.OutputMost {
			b.Errorf("it has %d bytes", n)
		}
	})
	run("a check ends with the run of its container and begins anew with the next", func(b *bench) {
		stream := b.events()
		id := b.started(b.checked("sh", "-c", "echo broken; exit 3"))
		b.until(stream, id, "health_status: unhealthy")
		b.must(b.engine.StopContainer(b.ctx, id, 0))
		if c := b.inspect(id); c.Health != "" || b.listed(id) != "" {
			b.Errorf("it has ended, and is %q, listed as %q", c.Health, b.listed(id))
		}
		b.must(b.engine.StartContainer(b.ctx, id))
		c := b.inspect(id)
		if c.Health == "" || !c.Checked.At.IsZero() && !c.Checked.At.After(c.StartedAt) || c.Checked.At.IsZero() && c.Checked.Output != "" {
			b.Errorf("started anew at %s it is %q, %+v", c.StartedAt, c.Health, c.Checked)
		}
		b.until(stream, id, "health_status: unhealthy")
	})
	run("a container without a check and one whose check is switched off have no health", func(b *bench) {
		off := b.checked("true")
		off.HealthCheck.Test = []string{"NONE"}
		for _, spec := range []engine.ContainerSpec{b.spec("c"), off} {
			id := b.started(spec)
			if c := b.inspect(id); c.Health != "" || b.listed(id) != "" {
				b.Errorf("it is %q, listed as %q", c.Health, b.listed(id))
			}
		}
	})
}

func exercisePausedHealth(run runner) {
	run("a container that was paused is not unhealthy before its checks have failed", func(b *bench) {
		stream := b.events()
		spec := b.checked("true")
		spec.HealthCheck.Interval = checkEvery * 10
		id := b.started(spec)
		b.until(stream, id, "health_status: healthy")
		b.opts.Pause(b.T, b.engine, id)
		if c := b.inState(id, engine.Paused); c.Health != "" {
			b.Errorf("paused it is %q", c.Health)
		}
		b.must(b.engine.UnpauseContainer(b.ctx, id))
		if c := b.inspect(id); c.Health != engine.HealthStarting && c.Health != engine.Healthy {
			b.Errorf("as soon as it goes on it is %q", c.Health)
		}
		b.until(stream, id, "health_status: healthy")
	})
}
