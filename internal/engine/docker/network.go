package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	dockernetwork "github.com/docker/docker/api/types/network"

	"github.com/aicli/aicli-web/internal/engine"
)

// CreateNetwork makes a bridge network with exactly the given subnet.
func (e *Engine) CreateNetwork(ctx context.Context, spec engine.NetworkSpec) (string, error) {
	const op = "create network"
	options, err := networkOptions(spec)
	if err != nil {
		return "", translate(op, spec.Name, err)
	}
	var id string
	err = e.callOn(ctx, networkLimit, op, spec.Name, func(ctx context.Context) error {
		said, err := e.api.NetworkCreate(ctx, spec.Name, options)
		id = said.ID
		return err
	})
	return id, err
}

func networkOptions(spec engine.NetworkSpec) (dockernetwork.CreateOptions, error) {
	subnet, err := netip.ParsePrefix(spec.Subnet)
	if err != nil {
		return dockernetwork.CreateOptions{}, &refusal{err}
	}
	gateway := subnet.Addr().Next()
	if subnet != subnet.Masked() || !subnet.Contains(gateway) {
		return dockernetwork.CreateOptions{}, &refusal{fmt.Errorf("%s is not a subnet with room for a gateway", subnet)}
	}
	options := dockernetwork.CreateOptions{
		Driver: "bridge", Internal: spec.Internal, Labels: spec.Labels,
		IPAM: &dockernetwork.IPAM{Config: []dockernetwork.IPAMConfig{{Subnet: subnet.String(), Gateway: gateway.String()}}},
	}
	if subnet.Addr().Is6() {
		options.EnableIPv6 = new(true)
	}
	return options, nil
}

// Networks lists the networks that carry all of the labels.
func (e *Engine) Networks(ctx context.Context, labels engine.Labels) ([]engine.Network, error) {
	var found []engine.Network
	err := e.call(ctx, lookLimit, "list networks", "", func(ctx context.Context) error {
		said, err := e.api.NetworkList(ctx, dockernetwork.ListOptions{Filters: labelled(labels)})
		if err != nil {
			return err
		}
		found = make([]engine.Network, 0, len(said))
		for _, n := range said {
			found = append(found, toNetwork(n))
		}
		return nil
	})
	return found, err
}

func toNetwork(n dockernetwork.Inspect) engine.Network {
	out := engine.Network{ID: n.ID, Name: n.Name, Internal: n.Internal, Driver: n.Driver, Labels: n.Labels}
	if len(n.IPAM.Config) > 0 {
		out.Subnet = n.IPAM.Config[0].Subnet
	}
	return out
}

// ConnectNetwork puts a container on a network.
func (e *Engine) ConnectNetwork(ctx context.Context, networkID, containerID string) error {
	const op = "connect network"
	if err := checkID(containerID); err != nil {
		return translate(op, containerID, err)
	}
	return e.callOn(ctx, networkLimit, op, networkID, func(ctx context.Context) error {
		connect := func() error { return e.api.NetworkConnect(ctx, networkID, containerID, nil) }
		err := connect()
		switch {
		case err == nil || strings.Contains(err.Error(), "already exists in network"):
			return nil
		case strings.Contains(err.Error(), "is already connected to network"):
			// So Podman says by the network's name, also when that was made again since and the container is on nothing.
			if err := e.api.NetworkDisconnect(ctx, networkID, containerID, true); err != nil {
				return err
			}
			return connect()
		default:
			return err
		}
	})
}

// RemoveNetwork removes a network by id or name.
func (e *Engine) RemoveNetwork(ctx context.Context, id string) error {
	err := e.callOn(ctx, networkLimit, "remove network", id, func(ctx context.Context) error {
		return e.api.NetworkRemove(ctx, id)
	})
	if refused, ok := errors.AsType[*engine.Error](err); ok && refused.Kind == engine.KindConflict {
		refused.Holders = e.holders(ctx, id)
	}
	return unless(err, engine.KindNotFound)
}

// holders are the names of the containers on a network, in order; none where the engine does not say.
func (e *Engine) holders(ctx context.Context, networkID string) (names []string) {
	_ = e.callOn(ctx, lookLimit, "look up network", networkID, func(ctx context.Context) error {
		said, err := e.api.NetworkInspect(ctx, networkID, dockernetwork.InspectOptions{})
		for _, endpoint := range said.Containers {
			if endpoint.Name != "" {
				names = append(names, endpoint.Name)
			}
		}
		return err
	})
	slices.Sort(names)
	return names
}

// unless takes one kind of failure for success: that of a state that is reached already.
func unless(err error, reached engine.Kind) error {
	if engine.Is(err, reached) {
		return nil
	}
	return err
}
