package docker

import (
	"context"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

func TestEvents(t *testing.T) {
	t.Run("a stream tells of containers and networks until its context ends", func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(r.ctx)
		defer cancel()
		stream, err := r.Events(ctx, r.labels, time.Time{})
		r.must(err)
		defer stream.Close()
		network, err := r.CreateNetwork(r.ctx, engine.NetworkSpec{Name: r.name, Subnet: "10.214.3.16/28", Labels: r.labels})
		r.must(err)
		await := func(kind engine.ObjectKind, id, action string) {
			t.Helper()
			for {
				e, err := stream.Next()
				r.must(err)
				if e.Kind == kind && e.ID == id && e.Action == action {
					if e.At.IsZero() || kind == engine.ContainerObject && e.Labels[engine.LabelWorkspace] != r.name || kind == engine.NetworkObject && e.Name != r.name {
						t.Errorf("got %+v", e)
					}
					return
				}
			}
		}
		await(engine.NetworkObject, network, "create")
		spec := r.spec()
		spec.Network = r.name
		id := r.started(spec)
		await(engine.ContainerObject, id, "create")
		await(engine.NetworkObject, network, "connect")
		await(engine.ContainerObject, id, "start")
		r.must(r.RemoveContainer(r.ctx, id))
		await(engine.ContainerObject, id, "destroy")
		r.must(r.RemoveNetwork(r.ctx, network))
		await(engine.NetworkObject, network, "destroy")
		cancel()
		_, err = stream.Next()
		r.fails(err, engine.KindCanceled)
		stream.Close()
		stream.Close()
	})
}

func TestStats(t *testing.T) {
	t.Run("counters are there while a container runs and end with it", func(t *testing.T) {
		r := newRig(t)
		spec := r.spec()
		id, err := r.CreateContainer(r.ctx, spec)
		r.must(err)
		_, err = r.Stats(r.ctx, id)
		r.fails(err, engine.KindNotRunning)
		r.must(r.StartContainer(r.ctx, id))
		s, err := r.Stats(r.ctx, id)
		r.must(err)
		if s.At.IsZero() || s.CPUNanos == 0 || s.MemoryBytes <= 0 || s.MemoryLimitBytes != spec.Limits.MemoryBytes || s.Pids < 1 {
			t.Errorf("got %+v", s)
		}
		var readings int
		r.must(r.WatchStats(r.ctx, id, func(engine.Stats) {
			if readings++; readings == 1 {
				r.must(r.StopContainer(r.ctx, id, time.Second))
			}
		}))
		if readings == 0 {
			t.Error("no reading")
		}
		r.must(r.StartContainer(r.ctx, id))
		r.must(r.WatchStats(r.ctx, id, func(engine.Stats) { r.must(r.RemoveContainer(r.ctx, id)) }))
	})
}
