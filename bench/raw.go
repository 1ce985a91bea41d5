package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/project"
	"github.com/aicli/aicli-web/internal/workspace"
)

// rawPool is where the networks are cut from that are made without the server. Tests and servers use others.
var rawPool = netip.MustParsePrefix("10.231.0.0/16")

const subnetBits = 28 // as the server cuts them

// raw makes containers straight through the engine, of the same description as the server's.
type raw struct {
	engine       engine.Engine
	projects     *project.Root
	installation string
	slots        int // subnets given out
}

// next is a workspace that nobody has in a database, on a subnet of its own.
func (r *raw) next() workspace.Workspace {
	const size = 1 << (32 - subnetBits)
	at := r.slots * size
	r.slots++
	base := rawPool.Addr().As4()
	base[2], base[3] = byte(at>>8), byte(at) //nolint:gosec // the pool has as many addresses
	id := workspace.NewID(workspace.WorkspacePrefix)
	return workspace.Workspace{
		ID: id, OwnerID: owner, Subnet: netip.PrefixFrom(netip.AddrFrom4(base), subnetBits).String(),
		Spec: workspace.Spec{Name: id, ProjectPath: id, Image: image, Command: command, Resources: resources},
	}
}

// make makes and starts n containers, as many at once, and says how long that took.
func (r *raw) make(ctx context.Context, n, atOnce int) (time.Duration, error) {
	list := make([]workspace.Workspace, n)
	for i := range list {
		list[i] = r.next()
	}
	began := time.Now()
	err := each(ctx, n, atOnce, func(ctx context.Context, i int) error { return r.makeOne(ctx, list[i]) })
	return time.Since(began), err
}

func (r *raw) makeOne(ctx context.Context, w workspace.Workspace) error {
	dir, err := r.projects.Make(w.OwnerID, w.ProjectPath)
	if err != nil {
		return err
	}
	network, err := r.engine.CreateNetwork(ctx, isolation.Network(w, r.installation))
	if err != nil {
		return err
	}
	container, err := r.engine.CreateContainer(ctx, isolation.Container(w, engine.Image{}, r.installation, network, dir))
	if err != nil {
		return err
	}
	return r.engine.StartContainer(ctx, container)
}

// clearEngine removes all that the engine has of an installation, also after ctx has ended. What cannot be removed keeps nothing else from that.
func clearEngine(ctx context.Context, e engine.Engine, installation string) error {
	ctx = context.WithoutCancel(ctx)
	labels := isolation.Installation(installation)
	containers, err := e.Containers(ctx, labels)
	if err != nil {
		return err
	}
	err = clearEach(ctx, len(containers), func(ctx context.Context, i int) error { return e.RemoveContainer(ctx, containers[i].ID) })
	networks, listErr := e.Networks(ctx, labels)
	err = errors.Join(err, listErr, clearEach(ctx, len(networks), func(ctx context.Context, i int) error { return e.RemoveNetwork(ctx, networks[i].ID) }))
	volumes, listErr := e.Volumes(ctx, labels)
	return errors.Join(err, listErr, clearEach(ctx, len(volumes), func(ctx context.Context, i int) error { return e.RemoveVolume(ctx, volumes[i].Name) }))
}

// clearEach removes n things, within a bound that grows with how many there are.
func clearEach(ctx context.Context, n int, remove func(ctx context.Context, i int) error) error {
	const atOnce = 8 // more does not make the engine faster
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(n)*perWorkspace)
	defer cancel()
	failed := make([]error, n)
	err := each(ctx, n, atOnce, func(ctx context.Context, i int) error {
		failed[i] = remove(ctx, i)
		return nil
	})
	return errors.Join(err, errors.Join(failed...))
}

// enforced is what the engine holds one container of an installation to, whatever its project is.
func enforced(ctx context.Context, e engine.Engine, installation string) (engine.Enforced, error) {
	list, err := e.Containers(ctx, isolation.Installation(installation))
	if err != nil {
		return engine.Enforced{}, err
	}
	if len(list) == 0 {
		return engine.Enforced{}, fmt.Errorf("the engine has no container of %s", installation)
	}
	c, err := e.Container(ctx, list[0].ID)
	for i := range c.Enforced.Mounts {
		c.Enforced.Mounts[i].Source = "" // each has its own project
	}
	return c.Enforced, err
}
