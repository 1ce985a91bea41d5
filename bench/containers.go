package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/aicli/aicli-web/internal/project"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// owner is whose workspaces they are.
	owner = "bench"
	// trial is how many containers are made to find out how many at once are best, warmUp how many before.
	trial  = 32
	warmUp = 4
	// Of each, blocks of blockSize are made by turns: 100 in all.
	blocks    = 4
	blockSize = 25
	// mostTime bounds the server's time, as a multiple of the engine's alone.
	mostTime = 1.35
)

// containers compares the time in which workspaces are created and started through the API with the time in which the same is made
// straight through the engine.
func (b *bench) containers(ctx context.Context) (results []result, err error) {
	root, err := project.Open(b.path("raw-projects"))
	if err != nil {
		return nil, err
	}
	direct := &raw{engine: b.engine, projects: root, installation: workspace.NewID("inst_")}
	defer func() { err = errors.Join(err, clearEngine(ctx, b.engine, direct.installation), root.Close()) }()
	best, err := b.bestAtOnce(ctx, direct)
	if err != nil {
		return nil, err
	}
	made, err := b.databases.create(ctx, store.Postgres)
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, b.server, b.dir, made)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop(), clearEngine(ctx, b.engine, s.installation)) }()
	ours, peer, err := b.makeByTurns(ctx, s, direct, best)
	if err == nil {
		err = b.sameOnBothSides(ctx, s.installation, direct.installation)
	}
	if err == nil {
		err = s.clear(ctx)
	}
	if err != nil {
		return nil, err
	}
	ratio := ours.Seconds() / peer.Seconds()
	return []result{{
		name: fmt.Sprintf("%d workspaces made and started", blocks*blockSize), database: made.dialect, ours: fmt.Sprintf("%.1f s", ours.Seconds()),
		peer: fmt.Sprintf("engine alone, %d at once, %.1f s", best, peer.Seconds()), ratio: fmt.Sprintf("%.2f", ratio),
		bound: fmt.Sprintf("≤ %g", mostTime), verdict: verdict(ratio <= mostTime),
	}}, nil
}

// bestAtOnce finds out how many containers at once the engine makes fastest.
func (b *bench) bestAtOnce(ctx context.Context, direct *raw) (best int, err error) {
	var least time.Duration
	_, err = direct.make(ctx, warmUp, warmUp)
	if err := errors.Join(err, clearEngine(ctx, b.engine, direct.installation)); err != nil {
		return 0, err
	}
	for _, n := range []int{1, 4, 8, 16} {
		took, makeErr := direct.make(ctx, trial, n)
		if err := errors.Join(makeErr, clearEngine(ctx, b.engine, direct.installation)); err != nil {
			return 0, err
		}
		b.progress.Info("a trial of the engine alone", "containers", trial, "at_once", n, "took", took)
		if best == 0 || took < least {
			best, least = n, took
		}
	}
	return best, nil
}

// makeByTurns lets the engine alone and the server make blocks of containers by turns, each twice after the first, so that what
// changes meanwhile, such as how much there is already, meets both alike.
func (b *bench) makeByTurns(ctx context.Context, s *server, direct *raw, best int) (ours, peer time.Duration, err error) {
	for i := range 2 * blocks {
		var took time.Duration
		if alone := i%4 == 0 || i%4 == 3; alone {
			took, err = direct.make(ctx, blockSize, best)
			peer += took
			b.progress.Info("the engine alone", "containers", blockSize, "took", took)
		} else {
			took, err = s.make(ctx, blockSize)
			ours += took
			b.progress.Info("the server", "workspaces", blockSize, "took", took)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return ours, peer, nil
}

// sameOnBothSides refuses a comparison of different things.
func (b *bench) sameOnBothSides(ctx context.Context, installations ...string) error {
	first, err := enforced(ctx, b.engine, installations[0])
	if err != nil {
		return err
	}
	second, err := enforced(ctx, b.engine, installations[1])
	if err == nil && !reflect.DeepEqual(first, second) {
		err = fmt.Errorf("the server's containers are held to %+v, the others to %+v", first, second)
	}
	return err
}
