package enginetest

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/aicli/aicli-web/internal/engine"
)

func exerciseNetworks(run runner) {
	run("a network is what was asked for", func(b *bench) {
		spec := b.networkSpec(0)
		spec.Internal = true
		id, err := b.engine.CreateNetwork(b.ctx, spec)
		b.must(err)
		networks, err := b.engine.Networks(b.ctx, b.labels)
		b.must(err)
		if len(networks) != 1 {
			b.Fatalf("got %d networks, want 1", len(networks))
		}
		n := networks[0]
		if n.ID != id || n.Name != spec.Name || n.Subnet != spec.Subnet || !n.Internal || !maps.Equal(n.Labels, spec.Labels) {
			b.Errorf("got %+v of %+v", n, spec)
		}
	})
	run("networks are listed by all of the labels", func(b *bench) {
		b.network(0)
		networks, err := b.engine.Networks(b.ctx, b.otherLabels())
		b.must(err)
		if len(networks) != 0 {
			b.Errorf("got %+v", networks)
		}
	})
	run("a network's name can be had once", func(b *bench) {
		b.network(0)
		spec := b.networkSpec(1)
		spec.Name = b.networkSpec(0).Name
		_, err := b.engine.CreateNetwork(b.ctx, spec)
		b.fails(err, engine.KindConflict)
	})
	run("of many who ask for the same network at once one gets it", func(b *bench) {
		b.oneWins(func() error {
			_, err := b.engine.CreateNetwork(b.ctx, b.networkSpec(0))
			return err
		}, engine.KindConflict, engine.KindAddressInUse)
	})
	run("a subnet that overlaps another one is in use", func(b *bench) {
		b.network(0)
		same := b.networkSpec(1)
		same.Subnet = b.opts.Subnets[0]
		_, err := b.engine.CreateNetwork(b.ctx, same)
		b.fails(err, engine.KindAddressInUse)

		wider := b.networkSpec(1)
		prefix := netip.MustParsePrefix(b.opts.Subnets[0])
		wider.Subnet = netip.PrefixFrom(prefix.Addr(), prefix.Bits()-1).Masked().String()
		_, err = b.engine.CreateNetwork(b.ctx, wider)
		b.fails(err, engine.KindAddressInUse)
	})
	run("a subnet that is none is invalid", func(b *bench) {
		spec := b.networkSpec(0)
		spec.Subnet = "300.1.2.0/24"
		_, err := b.engine.CreateNetwork(b.ctx, spec)
		b.fails(err, engine.KindInvalid)
	})
	run("a network that is removed is gone, and gone it can be removed again", func(b *bench) {
		id := b.network(0)
		b.must(b.engine.RemoveNetwork(b.ctx, id))
		networks, err := b.engine.Networks(b.ctx, b.labels)
		b.must(err)
		if len(networks) != 0 {
			b.Errorf("got %+v", networks)
		}
		b.must(b.engine.RemoveNetwork(b.ctx, id))
		b.must(b.engine.RemoveNetwork(b.ctx, b.networkSpec(0).Name))
	})
	run("a network is removed by its name", func(b *bench) {
		b.network(0)
		b.must(b.engine.RemoveNetwork(b.ctx, b.networkSpec(0).Name))
	})
	run("a network stays while a running container is attached to it", func(b *bench) {
		id := b.started(b.spec("c"))
		err := b.engine.RemoveNetwork(b.ctx, b.network(0))
		b.fails(err, engine.KindConflict)
		if refused, ok := errors.AsType[*engine.Error](err); !ok || !slices.Equal(refused.Holders, []string{b.spec("c").Name}) {
			b.Errorf("it does not say what holds it: %+v", refused)
		}
		b.must(b.engine.RemoveContainer(b.ctx, id))
		b.must(b.engine.RemoveNetwork(b.ctx, b.network(0)))
	})
	run("a stopped container does not start on a network that was made again before it is connected", func(b *bench) {
		b.fails(b.engine.StartContainer(b.ctx, b.madeAnew()), engine.KindNotFound)
	})
	run("a stopped container is connected to a network that was made again, and starts on it", func(b *bench) {
		id := b.started(b.spec("c"))
		b.must(b.engine.StopContainer(b.ctx, id, 0))
		b.must(b.engine.RemoveNetwork(b.ctx, b.network(0)))
		b.fails(b.engine.StartContainer(b.ctx, id), engine.KindNotFound)
		again, err := b.engine.CreateNetwork(b.ctx, b.networkSpec(0))
		b.must(err)
		b.must(b.engine.ConnectNetwork(b.ctx, again, id))
		b.must(b.engine.StartContainer(b.ctx, id))
		b.must(b.engine.ConnectNetwork(b.ctx, again, id)) // it is already
		b.on(id, again)
	})
}

// madeAnew is a stopped container whose network was removed and made again.
func (b *bench) madeAnew() (id string) {
	b.Helper()
	id = b.started(b.spec("c"))
	b.must(b.engine.StopContainer(b.ctx, id, 0))
	b.must(b.engine.RemoveNetwork(b.ctx, b.network(0)))
	_, err := b.engine.CreateNetwork(b.ctx, b.networkSpec(0))
	b.must(err)
	return id
}

func exerciseDisconnected(run runner) {
	run("a container that was taken off its network is put on it again while it runs", func(b *bench) {
		id := b.started(b.spec("c"))
		b.opts.Disconnect(b.T, b.engine, b.network(0), id)
		if c := b.inspect(id); len(c.Networks) > 0 {
			b.Errorf("it is on %+v", c.Networks)
		}
		b.fails(b.engine.ConnectNetwork(b.ctx, b.networkSpec(1).Name, id), engine.KindNotFound)
		b.must(b.engine.ConnectNetwork(b.ctx, b.network(0), id))
		b.on(id, b.network(0))
	})
	run("a network that a container was put on again stays", func(b *bench) {
		id := b.started(b.spec("c"))
		b.opts.Disconnect(b.T, b.engine, b.network(0), id)
		b.must(b.engine.ConnectNetwork(b.ctx, b.network(0), id))
		b.fails(b.engine.RemoveNetwork(b.ctx, b.network(0)), engine.KindConflict)
	})
}

// on holds that a container is on the subtest's first network, by what is listed and by what inspecting says.
func (b *bench) on(id, network string) {
	b.Helper()
	list, err := b.engine.Containers(b.ctx, b.labels)
	b.must(err)
	for _, s := range append(list, b.inspect(id).Summary) {
		if s.ID == id && (len(s.Networks) != 1 || !s.On(engine.Network{ID: network, Name: b.networkSpec(0).Name})) {
			b.Errorf("it is on %+v, want %s", s.Networks, network)
		}
	}
}

// exerciseTwins is about two networks of one name, which calls that cross can make.
func exerciseTwins(run runner) {
	run("a container does not start while its network's name is ambiguous, and does when one of the two is gone", func(b *bench) {
		id, err := b.engine.CreateContainer(b.ctx, b.spec("c"))
		b.must(err)
		spec := b.networkSpec(1)
		spec.Name = b.networkSpec(0).Name
		twin := b.opts.Twin(b.T, b.engine, spec)
		b.fails(b.engine.StartContainer(b.ctx, id), engine.KindConflict)
		b.fails(b.engine.RemoveNetwork(b.ctx, b.networkSpec(0).Name), engine.KindConflict)
		networks, err := b.engine.Networks(b.ctx, b.labels)
		b.must(err)
		if len(networks) != 2 {
			b.Errorf("got %+v", networks)
		}
		b.must(b.engine.RemoveNetwork(b.ctx, twin))
		b.must(b.engine.StartContainer(b.ctx, id))
	})
}

// otherLabels are the subtest's with one that nothing carries.
func (b *bench) otherLabels() engine.Labels {
	labels := maps.Clone(b.labels)
	labels[engine.LabelWorkspace] = b.prefix + "-other"
	return labels
}
