package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/workspace"
)

// seen is what the engine has of a workspace.
type seen struct {
	image     *engine.Image // looked up only where a container has to be made; nil: the engine does not have it
	network   *engine.Network
	surplus   []engine.Network // besides it: made late by a call of a server that was killed, or on addresses that are not its any more
	container *engine.Container
	tail      []string // the last lines of a container that has ended since it was last seen
	mount     workspace.Mount
	foreign   bool // the container had something else mounted than its project, and was removed
}

// handles are the ids that the engine gave to what was made of a workspace: what is looked up by them needs not be searched for.
type handles struct {
	container string
	network   engine.Network
	anew      bool // a container was to be made in place of what is recorded, and may be there though its id was lost with an answer
	removed   bool // one of them was: only lists say that nothing else is left
}

// recorded are the handles in a workspace's row.
func recorded(w workspace.Workspace) (h handles) {
	if c := w.Observed.Container; c != nil {
		h.container = c.ID
	}
	if n := w.Observed.Network; n != nil {
		h.network = engine.Network{ID: n.ID, Name: n.Name, Subnet: n.Subnet, Internal: n.Internal, Driver: n.Driver}
	}
	return h
}

// or takes what h lacks from others.
func (h handles) or(others handles) handles {
	if !h.anew {
		h.container = cmp.Or(h.container, others.container)
	}
	if h.network.ID == "" {
		h.network = others.network
	}
	return h
}

// observe asks the engine what it has of a workspace. One call does where a container is found by its id on the network that it should be on. All
// that carries the workspace's labels is listed where there is no id, something is not as it was, or whole asks for it.
func (l *Lifecycle) observe(ctx context.Context, w workspace.Workspace, h handles, whole bool) (seen, error) {
	if whole || h.removed || h.container == "" || h.network.ID == "" {
		return l.list(ctx, w, h)
	}
	c, err := l.engine.Container(ctx, h.container)
	switch {
	case engine.Is(err, engine.KindNotFound):
		return l.list(ctx, w, h)
	case err != nil:
		return seen{}, err
	case gone(c.State) || !c.On(h.network):
		return l.list(ctx, w, h)
	}
	return seen{container: &c, network: &h.network, tail: l.tail(ctx, w, &c)}, nil
}

// list is observe by labels.
func (l *Lifecycle) list(ctx context.Context, w workspace.Workspace, h handles) (s seen, err error) {
	labels := isolation.Labels(l.installation, w.ID)
	networks, err := l.engine.Networks(ctx, labels)
	if err != nil {
		return s, err
	}
	if s.container, err = l.own(ctx, w, h.container, labels); err != nil {
		return s, err
	}
	s.network, s.surplus = sortNetworks(w, s.container, networks)
	s.tail = l.tail(ctx, w, s.container)
	return s, nil
}

// lookups is how often a container is looked up that is listed and said to be gone: it went in between, or the list was late.
const lookups = 3

var errListed = errors.New("it is listed, and said not to be there")

// own is the container of a workspace, which has that id or else its name; nil when there is none, which only a list can say.
func (l *Lifecycle) own(ctx context.Context, w workspace.Workspace, id string, labels engine.Labels) (*engine.Container, error) {
	for range lookups {
		list, err := l.engine.Containers(ctx, labels)
		if err != nil {
			return nil, err
		}
		ours, found := isolation.Own(w, id, list)
		if !found {
			return nil, nil //nolint:nilnil // a workspace may have none
		}
		c, err := l.engine.Container(ctx, ours.ID)
		switch {
		case err == nil && c.ID != id && !isolation.IsMadeFor(c):
			return nil, nil //nolint:nilnil // it is somebody else's
		case err == nil:
			return &c, nil
		case !engine.Is(err, engine.KindNotFound):
			return nil, err
		}
	}
	return nil, &engine.Error{Kind: engine.KindConflict, Op: "look up container", Subject: isolation.Name(w.ID), Err: errListed}
}

// tail reads the last lines of a container that has ended since it was last seen. Without them it is still known how it ended.
func (l *Lifecycle) tail(ctx context.Context, w workspace.Workspace, c *engine.Container) []string {
	if c == nil || c.State != engine.Exited || c.FinishedAt.IsZero() || w.LastExit != nil && !c.FinishedAt.After(w.LastExit.At) {
		return nil
	}
	lines, err := l.engine.Tail(ctx, c.ID, workspace.TailLines)
	if err != nil {
		l.log.WarnContext(ctx, "read the last lines of a container that has ended", "workspace_id", w.ID, "error", err)
	}
	return lines
}

// sortNetworks tells the network of w, which its container is on or else has its addresses, from others that carry its labels.
func sortNetworks(w workspace.Workspace, c *engine.Container, networks []engine.Network) (own *engine.Network, surplus []engine.Network) {
	slices.SortFunc(networks, func(a, b engine.Network) int { return cmp.Compare(a.ID, b.ID) })
	at := -1
	if c != nil {
		at = slices.IndexFunc(networks, func(n engine.Network) bool {
			return slices.ContainsFunc(c.Networks, func(a engine.Attachment) bool { return a.NetworkID == n.ID })
		})
	}
	if at < 0 {
		at = slices.IndexFunc(networks, func(n engine.Network) bool { return n.Subnet == w.Subnet })
	}
	if at < 0 {
		return nil, networks
	}
	return &networks[at], slices.Delete(slices.Clone(networks), at, at+1)
}
