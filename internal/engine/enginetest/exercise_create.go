package enginetest

import (
	"maps"
	"slices"
	"strings"

	"github.com/aicli/aicli-web/internal/engine"
)

func exerciseCreation(run runner) {
	run("a container that was made is there and does not run", func(b *bench) {
		spec := b.spec("c")
		id := b.create(spec)
		c := b.inState(id, engine.Created)
		if c.ID != id || c.Name != spec.Name || !strings.HasSuffix(c.Image, spec.Image) || c.ImageID == "" || !maps.Equal(c.Labels, spec.Labels) {
			b.Errorf("got %+v", c)
		}
		if !c.StartedAt.IsZero() || !c.FinishedAt.IsZero() {
			b.Errorf("started %s, finished %s, want neither", c.StartedAt, c.FinishedAt)
		}
		if named := b.inspect(spec.Name); named.ID != id {
			b.Errorf("by name: %s, want %s", named.ID, id)
		}
	})
	run("containers are listed in every state by all of the labels", func(b *bench) {
		created, running := b.create(b.spec("created")), b.started(b.spec("running"))
		list, err := b.engine.Containers(b.ctx, b.labels)
		b.must(err)
		states := make(map[string]engine.State)
		for _, c := range list {
			states[c.ID] = c.State
			if !maps.Equal(c.Labels, b.labels) || c.Name == "" || c.Name[0] == '/' {
				b.Errorf("got %+v", c)
			}
		}
		if want := map[string]engine.State{created: engine.Created, running: engine.Running}; !maps.Equal(states, want) {
			b.Errorf("got %v, want %v", states, want)
		}
		list, err = b.engine.Containers(b.ctx, b.otherLabels())
		b.must(err)
		if len(list) != 0 {
			b.Errorf("with other labels: %+v", list)
		}
	})
	run("of many who ask for the same container at once one gets it", func(b *bench) {
		spec := b.spec("c")
		b.oneWins(func() error {
			_, err := b.engine.CreateContainer(b.ctx, spec)
			return err
		}, engine.KindConflict)
	})
	run("the isolation that was asked for is read back", func(b *bench) { exerciseIsolation(b) })
	run("names, networks and limits are read back to the letter", func(b *bench) {
		spec := b.spec("c")
		c := b.inspect(b.started(spec))
		if c.Image != spec.Image || c.Enforced.Limits != (engine.Limits{}) {
			b.Errorf("image %q, limits %+v, want %q and none", c.Image, c.Enforced.Limits, spec.Image)
		}
		if len(c.Networks) != 1 || c.Networks[0].NetworkID != b.network(0) {
			b.Errorf("it is on %+v, want %s", c.Networks, b.network(0))
		}
	})
	run("limits change on a container that was made and on one that runs", func(b *bench) {
		spec := b.spec("c")
		spec.Limits = engine.Limits{NanoCPUs: 250_000_000, MemoryBytes: 32 << 20, Pids: 50}
		id := b.create(spec)
		b.limit(id, engine.Limits{NanoCPUs: 500_000_000, MemoryBytes: 64 << 20, Pids: 64})
		b.must(b.engine.StartContainer(b.ctx, id))
		b.limit(id, engine.Limits{NanoCPUs: 750_000_000, MemoryBytes: 96 << 20, Pids: 96})
		b.limit(id, engine.Limits{NanoCPUs: 250_000_000, MemoryBytes: 48 << 20, Pids: 32})
		b.inState(id, engine.Running)
	})
	exerciseRefusals(run)
}

// limit changes a container's limits and reads them back.
func (b *bench) limit(id string, limits engine.Limits) {
	b.Helper()
	b.must(b.engine.UpdateContainer(b.ctx, id, limits))
	if got := b.inspect(id).Enforced.Limits; got != limits {
		b.Errorf("limits %+v, want %+v", got, limits)
	}
}

func exerciseIsolation(b *bench) {
	spec := b.spec("c")
	spec.Hostname, spec.WorkingDir, spec.User = "box", "/workspace", "1000:1000"
	spec.Env = []string{"ONE=1"}
	spec.Mounts = []engine.Mount{{Source: b.TempDir(), Target: "/workspace"}}
	spec.Limits = engine.Limits{NanoCPUs: 500_000_000, MemoryBytes: 64 << 20, Pids: 64}
	spec.Capabilities = []string{"SETUID", "CHOWN", "KILL"}
	spec.NoNewPrivileges, spec.ReadOnlyRoot = true, true
	spec.LogMaxSize, spec.LogMaxFiles = "1m", 2

	id := b.started(spec)
	c := b.inState(id, engine.Running)
	got := c.Enforced
	if want := []string{"CHOWN", "KILL", "SETUID"}; !slices.Equal(got.Capabilities, want) {
		b.Errorf("capabilities %q, want %q", got.Capabilities, want)
	}
	if got.Limits != spec.Limits {
		b.Errorf("limits %+v, want %+v", got.Limits, spec.Limits)
	}
	if !got.NoNewPrivileges || !got.ReadOnlyRoot || !got.Init || got.Privileged {
		b.Errorf("got %+v", got)
	}
	if got.Seccomp != "default" || got.User != spec.User || got.RestartPolicy != engine.NoRestart {
		b.Errorf("seccomp %q, user %q, restart policy %q", got.Seccomp, got.User, got.RestartPolicy)
	}
	if !slices.Equal(got.Mounts, spec.Mounts) || len(got.Besides) != 0 || got.SwapBytes != 0 {
		b.Errorf("mounts %+v, besides %q, swap %d: want %+v and nothing else", got.Mounts, got.Besides, got.SwapBytes, spec.Mounts)
	}
	if len(c.Networks) != 1 || !c.On(engine.Network{ID: b.network(0), Name: b.networkSpec(0).Name}) ||
		c.Networks[0].NetworkName != b.networkSpec(0).Name || c.Networks[0].Address == "" {
		b.Errorf("networks %+v, want only %s with an address", c.Networks, b.networkSpec(0).Name)
	}

	plain := b.inspect(b.create(b.spec("plain"))).Enforced
	if len(plain.Mounts) != 0 || len(plain.Besides) != 0 {
		b.Errorf("asked for nothing, got %+v", plain)
	}
	if len(plain.Capabilities) != 0 || plain.NoNewPrivileges || plain.ReadOnlyRoot || plain.Privileged || plain.Limits.NanoCPUs != 0 || plain.Limits.MemoryBytes != 0 {
		b.Errorf("asked for nothing, got %+v", plain)
	}
}

func exerciseRefusals(run runner) {
	refused := func(name string, kind engine.Kind, change func(*bench, *engine.ContainerSpec)) {
		run(name, func(b *bench) {
			spec := b.spec("c")
			change(b, &spec)
			_, err := b.engine.CreateContainer(b.ctx, spec)
			b.fails(err, kind)
			list, err := b.engine.Containers(b.ctx, b.labels)
			b.must(err)
			for _, c := range list {
				if c.Name == spec.Name && kind != engine.KindConflict {
					b.Errorf("left behind: %+v", c)
				}
			}
		})
	}
	refused("a container of an unknown image is not made", engine.KindNotFound, func(_ *bench, spec *engine.ContainerSpec) {
		spec.Image = "aicli-no-such-image:none"
	})
	refused("a container's name can be had once", engine.KindConflict, func(b *bench, spec *engine.ContainerSpec) {
		b.create(*spec)
	})
	refused("a mount whose source is missing is invalid", engine.KindInvalid, func(_ *bench, spec *engine.ContainerSpec) {
		spec.Mounts = []engine.Mount{{Source: Missing + "/directory", Target: "/workspace"}}
	})
	refused("a mount of a relative path is invalid", engine.KindInvalid, func(_ *bench, spec *engine.ContainerSpec) {
		spec.Mounts = []engine.Mount{{Source: "directory", Target: "/workspace"}}
	})
	refused("more processors than the host has are invalid", engine.KindInvalid, func(b *bench, spec *engine.ContainerSpec) {
		info, err := b.engine.Info(b.ctx)
		b.must(err)
		spec.Limits.NanoCPUs = int64(info.CPUs+1) * 1e9
	})
	refused("less memory than any process needs is invalid", engine.KindInvalid, func(_ *bench, spec *engine.ContainerSpec) {
		spec.Limits.MemoryBytes = 4096
	})
	refused("a name that no container can have is invalid", engine.KindInvalid, func(_ *bench, spec *engine.ContainerSpec) {
		spec.Name = "not/a name"
	})
	run("a container on an unknown network does not start", func(b *bench) {
		spec := b.spec("c")
		spec.Network = b.prefix + "-no-such-network"
		id, err := b.engine.CreateContainer(b.ctx, spec)
		if err == nil {
			err = b.engine.StartContainer(b.ctx, id)
		}
		b.fails(err, engine.KindNotFound)
	})
	run("a container that is not there is not found", func(b *bench) {
		name := b.prefix + "-nothing"
		_, err := b.engine.Container(b.ctx, name)
		b.fails(err, engine.KindNotFound)
		b.fails(b.engine.StartContainer(b.ctx, name), engine.KindNotFound)
		b.fails(b.engine.StopContainer(b.ctx, name, 0), engine.KindNotFound)
		b.fails(b.engine.UnpauseContainer(b.ctx, name), engine.KindNotFound)
		b.fails(b.engine.UpdateContainer(b.ctx, name, engine.Limits{Pids: 10}), engine.KindNotFound)
		_, err = b.engine.Stats(b.ctx, name)
		b.fails(err, engine.KindNotFound)
		b.fails(b.engine.WatchStats(b.ctx, name, func(engine.Stats) {}), engine.KindNotFound)
	})
}
