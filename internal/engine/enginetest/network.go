package enginetest

import (
	"context"
	"fmt"
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
		id = f.addNetwork(spec)
		return nil
	})
	return result(id, err)
}

// Twin makes a network though its name may be taken, as a call does that crosses another one. It is not a call of the engine.
func (f *Fake) Twin(spec engine.NetworkSpec) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addNetwork(spec)
}

func (f *Fake) addNetwork(spec engine.NetworkSpec) string {
	n := &network{prefix: netip.MustParsePrefix(spec.Subnet), Network: engine.Network{
		ID: f.newID(), Name: spec.Name, Subnet: spec.Subnet, Internal: spec.Internal, Driver: "bridge", Labels: maps.Clone(spec.Labels),
	}}
	f.networks[n.ID] = n
	f.publishNetwork("create", n)
	return n.ID
}

// ambiguous refuses a name that two networks have. f.mu is held.
func (f *Fake) ambiguous(id string) error {
	if _, exact := f.networks[id]; exact || id == "" {
		return nil
	}
	found := 0
	for _, n := range f.networks {
		if n.Name == id {
			found++
		}
	}
	if found > 1 {
		return refuse(engine.KindConflict, "network %s is ambiguous (%d matches found on name)", id, found)
	}
	return nil
}

// networkOf is the network of a container that is to start: by the id that it had the last time, or by name the first time. f.mu is held.
func (f *Fake) networkOf(c *container) (*network, error) {
	if c.networkName == "" {
		return nil, nil //nolint:nilnil // it has no network, which is no fault
	}
	ref := c.network
	if c.runs == 0 {
		ref = c.networkName
	}
	if err := f.ambiguous(ref); err != nil {
		return nil, err
	}
	n := f.network(ref)
	if n == nil {
		return nil, refuse(engine.KindNotFound, "network %s not found", ref)
	}
	return n, nil
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

// ConnectNetwork implements engine.Engine.
func (f *Fake) ConnectNetwork(ctx context.Context, networkID, containerID string) error {
	return f.doOn(ctx, "ConnectNetwork", containerID, func(c *container) error {
		if err := f.ambiguous(networkID); err != nil {
			return err
		}
		n := f.network(networkID)
		switch {
		case n == nil:
			return refuse(engine.KindNotFound, "network %s not found", networkID)
		case c.network == n.ID:
			return nil
		}
		c.network, c.networkName = n.ID, n.Name
		if c.alive() {
			if c.address = f.freeAddress(n); c.address == "" {
				return refuse(engine.KindInternal, "no available IPv4 addresses on this network")
			}
		}
		f.publishNetwork("connect", n)
		return nil
	})
}

// Disconnect takes a container off its network, as somebody does by hand, and reports whether it was on one.
func (f *Fake) Disconnect(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.find(id)
	if c == nil || c.network == "" {
		return false
	}
	n := f.networks[c.network]
	c.network, c.networkName, c.address = "", "", ""
	if n != nil {
		f.publishNetwork("disconnect", n)
	}
	return true
}

// RemoveNetwork implements engine.Engine. As with Docker, only containers that run hold a network.
func (f *Fake) RemoveNetwork(ctx context.Context, id string) error {
	return f.do(ctx, "RemoveNetwork", id, func() error {
		if err := f.ambiguous(id); err != nil {
			return err
		}
		n := f.network(id)
		if n == nil {
			return nil
		}
		var holders []string
		for _, c := range f.containers {
			if c.network == n.ID && c.alive() {
				holders = append(holders, c.spec.Name)
			}
		}
		if holders != nil {
			slices.Sort(holders)
			return &engine.Error{Kind: engine.KindConflict, Err: fmt.Errorf("network %s has active endpoints", n.Name), Holders: holders}
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
