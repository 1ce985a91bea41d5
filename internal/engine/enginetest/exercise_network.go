package enginetest

import (
	"maps"
	"net/netip"

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
		b.fails(b.engine.RemoveNetwork(b.ctx, b.network(0)), engine.KindConflict)
		b.must(b.engine.RemoveContainer(b.ctx, id))
		b.must(b.engine.RemoveNetwork(b.ctx, b.network(0)))
	})
}

// otherLabels are the subtest's with one that nothing carries.
func (b *bench) otherLabels() engine.Labels {
	labels := maps.Clone(b.labels)
	labels[engine.LabelWorkspace] = b.prefix + "-other"
	return labels
}
