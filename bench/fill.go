package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	owners     = 5    // one owner may have at most 2,000 live tasks
	workspaces = 2500 // of which each runs one task at a time
	perEach    = 4    // tasks of each workspace
	tasks      = workspaces * perEach
	fillers    = 8 // that write at once
)

const image = "aicli-base:busybox" // that scripts/base-image.sh makes

// What a workspace is that asks for nothing in particular, as the server has it.
var (
	command   = []string{"sleep", "infinity"}
	resources = workspace.Resources{Cpus: 1, MemoryBytes: 512 << 20, Pids: 512}
)

// subnets is where those of workspaces without containers are cut from.
var subnets = netip.MustParsePrefix("10.213.0.0/16")

// filled makes a database with waiting SYNC tasks, by the store's own code, and closes it: each workspace gets its first task, then
// each its second, and so on.
func (d *databases) filled(ctx context.Context, dialect store.Dialect) (made database, err error) {
	if made, err = d.create(ctx, dialect); err != nil {
		return made, err
	}
	db, err := made.open(ctx)
	if err != nil {
		return made, err
	}
	err = errors.Join(fill(ctx, db), db.Close())
	if err == nil {
		err = made.settle(ctx)
	}
	return made, err
}

func fill(ctx context.Context, db *store.DB) error {
	list := make([]workspace.Workspace, workspaces)
	err := each(ctx, workspaces, fillers, func(ctx context.Context, i int) error {
		list[i] = newWorkspace(fmt.Sprint("owner", i%owners), fmt.Sprint("w", i))
		_, err := db.Create(ctx, list[i], subnets, enqueue)
		return err
	})
	for round := 1; err == nil && round < perEach; round++ {
		err = each(ctx, workspaces, fillers, func(ctx context.Context, i int) error {
			_, err := db.Update(ctx, list[i].ID, func(d *workspace.Draft) error {
				enqueue(d)
				return nil
			})
			return err
		})
	}
	return err
}

// enqueue adds a SYNC task. A request would join the one that waits already.
func enqueue(d *workspace.Draft) { d.Enqueue(task.Sync, d.Workspace.OwnerID, task.Params{}) }

func newWorkspace(owner, name string) workspace.Workspace {
	return workspace.Workspace{
		ID: workspace.NewID(workspace.WorkspacePrefix), OwnerID: owner, DesiredState: workspace.WantStopped,
		Spec: workspace.Spec{Name: name, ProjectPath: name, Image: image, Command: command, Resources: resources},
	}
}

// without makes a workspace that has no task.
func without(ctx context.Context, db *store.DB, name string) (id string, err error) {
	w := newWorkspace(owner, name)
	_, err = db.Create(ctx, w, subnets, func(*workspace.Draft) {})
	return w.ID, err
}

// each calls do for 0 to n-1, some at once, until one fails.
func each(ctx context.Context, n, atOnce int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return do(ctx, i)
		})
	}
	return group.Wait()
}
