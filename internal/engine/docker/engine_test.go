package docker

import (
	"slices"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

func TestContainer(t *testing.T) {
	t.Run("a container goes through its life and says what holds it", func(t *testing.T) {
		r := newRig(t)
		network, err := r.CreateNetwork(r.ctx, engine.NetworkSpec{Name: r.name, Subnet: "10.214.0.0/28", Labels: r.labels})
		r.must(err)
		spec := r.spec()
		spec.Network, spec.WorkingDir, spec.User = r.name, "/workspace", "1000:1000"
		spec.Mounts = []engine.Mount{{Source: t.TempDir(), Target: "/workspace"}}
		spec.Capabilities = []string{"SETUID", "CHOWN"}
		spec.NoNewPrivileges, spec.ReadOnlyRoot, spec.LogMaxSize, spec.LogMaxFiles = true, true, "1m", 2
		id, err := r.CreateContainer(r.ctx, spec)
		r.must(err)
		c := r.in(id, engine.Created)
		if c.Name != spec.Name || !c.StartedAt.IsZero() || !c.FinishedAt.IsZero() {
			t.Errorf("got %+v", c)
		}
		r.must(r.StopContainer(r.ctx, id, 0)) // stopped it is already
		r.must(r.StartContainer(r.ctx, id))
		r.must(r.StartContainer(r.ctx, id))
		c = r.in(id, engine.Running)
		got := c.Enforced
		if !slices.Equal(got.Capabilities, []string{"CHOWN", "SETUID"}) || got.Limits != spec.Limits || got.Seccomp != "default" ||
			!got.NoNewPrivileges || !got.ReadOnlyRoot || !got.Init || got.Privileged || got.RestartPolicy != "no" || got.User != spec.User {
			t.Errorf("enforced %+v", got)
		}
		if len(c.Networks) != 1 || c.Networks[0].NetworkID != network || c.Networks[0].NetworkName != r.name || c.Networks[0].Address == "" {
			t.Errorf("networks %+v", c.Networks)
		}
		r.fails(r.RemoveNetwork(r.ctx, network), engine.KindConflict)
		r.lift(id)
		r.must(r.UnpauseContainer(r.ctx, id))
		r.pause(id)
		r.in(id, engine.Paused)
		r.must(r.StopContainer(r.ctx, id, time.Second))
		r.must(r.StopContainer(r.ctx, id, time.Second))
		if c := r.in(id, engine.Exited); c.FinishedAt.IsZero() {
			t.Error("ended at no time")
		}
		r.must(r.RemoveContainer(r.ctx, id))
		r.must(r.RemoveContainer(r.ctx, id))
		_, err = r.Container(r.ctx, id)
		r.fails(err, engine.KindNotFound)
	})
}

// lift changes limits, and lifts them as far as Docker can.
func (r *rig) lift(id string) {
	r.Helper()
	info, err := r.Info(r.ctx)
	r.must(err)
	all := engine.Limits{NanoCPUs: int64(info.CPUs) * nanoCPUs, MemoryBytes: info.MemoryBytes}
	less := engine.Limits{NanoCPUs: 250_000_000, MemoryBytes: 32 << 20, Pids: 32}
	for _, c := range []struct{ asked, want engine.Limits }{{less, less}, {engine.Limits{}, all}} {
		r.must(r.UpdateContainer(r.ctx, id, c.asked))
		if got := r.in(id, engine.Running).Enforced.Limits; got != c.want {
			r.Errorf("asked for %+v, got %+v, want %+v", c.asked, got, c.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	t.Run("a network has its subnet and its name for itself", func(t *testing.T) {
		r := newRig(t)
		spec := engine.NetworkSpec{Name: r.name, Subnet: "10.214.1.0/28", Internal: true, Labels: r.labels}
		id, err := r.CreateNetwork(r.ctx, spec)
		r.must(err)
		list, err := r.Networks(r.ctx, r.labels)
		r.must(err)
		if len(list) != 1 || list[0].ID != id || list[0].Subnet != spec.Subnet || !list[0].Internal {
			t.Errorf("got %+v", list)
		}
		for _, c := range []struct {
			name, subnet string
			want         engine.Kind
		}{
			{r.name + "-b", "10.214.1.0/24", engine.KindAddressInUse},
			{r.name, "10.214.2.0/28", engine.KindConflict},
			{r.name + "-c", "10.214.1.1/28", engine.KindInvalid},
			{r.name + "-c", "10.214.1.0/32", engine.KindInvalid},
		} {
			_, err := r.CreateNetwork(r.ctx, engine.NetworkSpec{Name: c.name, Subnet: c.subnet, Labels: r.labels})
			r.fails(err, c.want)
		}
		r.must(r.RemoveNetwork(r.ctx, id))
		r.must(r.RemoveNetwork(r.ctx, r.name))
	})
}

func TestErrors(t *testing.T) {
	t.Run("what the engine refuses has a kind", func(t *testing.T) {
		r := newRig(t)
		create := func(change func(*engine.ContainerSpec)) error {
			spec := r.spec()
			change(&spec)
			_, err := r.CreateContainer(r.ctx, spec)
			return err
		}
		r.must(create(func(*engine.ContainerSpec) {}))
		r.fails(create(func(*engine.ContainerSpec) {}), engine.KindConflict)
		r.fails(create(func(s *engine.ContainerSpec) { s.Image = "aicli-no-such-image:none" }), engine.KindNotFound)
		r.fails(create(func(s *engine.ContainerSpec) { s.Name = "../networks/x" }), engine.KindInvalid)
		r.fails(create(func(s *engine.ContainerSpec) {
			s.Name, s.Mounts = r.name+"-m", []engine.Mount{{Source: "/no-such-directory", Target: "/workspace"}}
		}), engine.KindInvalid)
		for i, command := range []string{"/no-such-command", "no-such-command", "/etc"} {
			spec := r.spec()
			spec.Name, spec.Init, spec.Entrypoint = r.name+string(rune('a'+i)), false, []string{command}
			id, err := r.CreateContainer(r.ctx, spec)
			r.must(err)
			r.fails(r.StartContainer(r.ctx, id), engine.KindInvalid)
		}
		_, err := r.Image(r.ctx, "aicli-no-such-image:none")
		r.fails(err, engine.KindNotFound)
		r.fails(r.Pull(r.ctx, "127.0.0.1:1/aicli-no-such-image:none", nil), engine.KindNetwork)
		r.fails(r.Pull(r.ctx, "Not A Reference", nil), engine.KindInvalid)
		r.fails(r.WatchStats(r.ctx, r.name+"-none", func(engine.Stats) {}), engine.KindNotFound)
	})
	t.Run("an engine that is away is unavailable", func(t *testing.T) {
		r := newRig(t)
		away, err := New(Options{Host: "unix://" + t.TempDir() + "/engine.sock"})
		r.must(err)
		defer func() { r.must(away.Close()) }()
		_, err = away.Info(r.ctx)
		r.fails(err, engine.KindUnavailable)
		_, err = away.Events(r.ctx, r.labels, time.Now())
		r.fails(err, engine.KindUnavailable)
		r.fails(away.Pull(r.ctx, baseImage, nil), engine.KindUnavailable)
		r.fails(away.WatchStats(r.ctx, "x", func(engine.Stats) {}), engine.KindUnavailable)
	})
}
