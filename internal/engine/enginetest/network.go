package enginetest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/aicli/aicli-web/internal/engine"
)

type network struct {
	engine.Network
	prefix netip.Prefix
}

// Occupy makes the host use a subnet, so that no network can have one that overlaps it.
func (f *Fake) Occupy(subnet string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.occupied = append(f.occupied, netip.MustParsePrefix(subnet).Masked().String())
}

// CreateNetwork implements engine.Engine.
func (f *Fake) CreateNetwork(ctx context.Context, spec engine.NetworkSpec) (string, error) {
	var id string
	err := f.do(ctx, "CreateNetwork", spec.Name, func() error {
		prefix, err := netip.ParsePrefix(spec.Subnet)
		switch {
		case spec.Name == "":
			return refuse(engine.KindInvalid, "a network needs a name")
		case err != nil:
			return refuse(engine.KindInvalid, "invalid subnet: %w", err)
		case prefix != prefix.Masked():
			return refuse(engine.KindInvalid, "invalid subnet %s: it should be %s", prefix, prefix.Masked())
		case f.network(spec.Name) != nil:
			return refuse(engine.KindConflict, "network with name %s already exists", spec.Name)
		case f.overlaps(prefix):
			return refuse(engine.KindAddressInUse, "pool overlaps with other one on this address space")
		}
		id = f.newID()
		f.networks[id] = &network{prefix: prefix, Network: engine.Network{
			ID: id, Name: spec.Name, Subnet: spec.Subnet, Internal: spec.Internal, Labels: maps.Clone(spec.Labels),
		}}
		f.publishNetwork("create", f.networks[id])
		return nil
	})
	return result(id, err)
}

// Networks implements engine.Engine.
func (f *Fake) Networks(ctx context.Context, labels engine.Labels) ([]engine.Network, error) {
	var found []engine.Network
	err := f.do(ctx, "Networks", "", func() error {
		for _, n := range f.networks {
			if carries(n.Labels, labels) {
				out := n.Network
				out.Labels = maps.Clone(n.Labels)
				found = append(found, out)
			}
		}
		slices.SortFunc(found, func(a, b engine.Network) int { return strings.Compare(a.ID, b.ID) })
		return nil
	})
	return result(found, err)
}

// RemoveNetwork implements engine.Engine. As with Docker, only containers that run hold a network.
func (f *Fake) RemoveNetwork(ctx context.Context, id string) error {
	return f.do(ctx, "RemoveNetwork", id, func() error {
		n := f.network(id)
		if n == nil {
			return nil
		}
		for _, c := range f.containers {
			if c.network == n.ID && c.alive() {
				return refuse(engine.KindConflict, "network %s has active endpoints", n.Name)
			}
		}
		delete(f.networks, n.ID)
		f.publishNetwork("destroy", n)
		return nil
	})
}

// network finds a network by id or name. f.mu is held.
func (f *Fake) network(id string) *network {
	if n, ok := f.networks[id]; ok {
		return n
	}
	for _, n := range f.networks {
		if n.Name == id {
			return n
		}
	}
	return nil
}

func (f *Fake) overlaps(prefix netip.Prefix) bool {
	for _, n := range f.networks {
		if n.prefix.Overlaps(prefix) {
			return true
		}
	}
	return slices.ContainsFunc(f.occupied, func(subnet string) bool {
		return netip.MustParsePrefix(subnet).Overlaps(prefix)
	})
}

// freeAddress is the first address of a network after the gateway's that no container has, empty when all are taken. f.mu is held.
func (f *Fake) freeAddress(n *network) string {
	taken := make(map[string]bool)
	for _, c := range f.containers {
		taken[c.address] = true
	}
	for a := n.prefix.Addr().Next().Next(); n.prefix.Contains(a.Next()); a = a.Next() {
		if !taken[a.String()] {
			return a.String()
		}
	}
	return ""
}
