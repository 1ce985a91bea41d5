package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/aicli/aicli-web/internal/project"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// owner is whose workspaces they are.
	owner = "bench"
	// warmUp is how many are made at once before anything is measured: the first are slower.
	warmUp = 4
	// singles is how many turns there are of one workspace at a time, of which each side makes two in each.
	singles = 10
	// throng is how many are asked for at once. Each side makes as many twice.
	throng = 50
	// mostTime bounds the server's time, as a multiple of the bare client's.
	mostTime = 1.05
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
	made, err := b.databases.create(ctx, store.Postgres)
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, b.server, b.dir, made)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop(), clearEngine(ctx, b.engine, s.installation)) }()
	t := &making{bench: b, server: s, direct: direct}
	if t.workers, err = s.workers(ctx); err != nil {
		return nil, err
	}
	var before, one, all sides
	err = t.turns(ctx, 1, warmUp, &before)
	if err == nil {
		err = t.turns(ctx, singles, 1, &one)
	}
	if err == nil {
		err = t.turns(ctx, 1, throng, &all)
	}
	if err == nil {
		err = b.sameOnBothSides(ctx, s.installation, direct.installation)
	}
	if err == nil {
		err = s.clear(ctx)
	}
	if err != nil {
		return nil, err
	}
	return []result{
		one.row(made.dialect, "a workspace made and started, one at a time", "bare client"),
		all.row(made.dialect, fmt.Sprintf("%d workspaces made and started at once", throng), fmt.Sprintf("bare client, %d at once", t.workers)),
	}, nil
}

// making is what is needed to have the server and a bare client make the same.
type making struct {
	*bench

	server  *server
	direct  *raw
	workers int // of the server
}

// sides are how long the server and the bare client took, the mean of each turn.
type sides struct{ ours, peer []time.Duration }

// turns measures n turns. In each the server makes as many workspaces at once as it is told, the bare client the same twice, and the server again, so that
// what changes meanwhile, such as how much there is already, meets both alike. The bare client has as many calls under way as the server has workers: an
// engine that is asked for all at once makes them no faster, and keeps some of them waiting for more than a minute.
func (m *making) turns(ctx context.Context, n, atOnce int, into *sides) error {
	for range n {
		var ours, peer time.Duration
		for _, alone := range []bool{false, true, true, false} {
			took, err := m.make(ctx, alone, atOnce)
			if err != nil {
				return err
			}
			m.progress.Info("made and started", "at_once", atOnce, "by_a_bare_client", alone, "took", took)
			if alone {
				peer += took
			} else {
				ours += took
			}
		}
		into.ours, into.peer = append(into.ours, ours/2), append(into.peer, peer/2)
	}
	return nil
}

func (m *making) make(ctx context.Context, alone bool, atOnce int) (time.Duration, error) {
	if alone {
		return m.direct.make(ctx, atOnce, m.workers)
	}
	return m.server.makeAtOnce(ctx, atOnce)
}

// row compares the two turn by turn: a machine that becomes slower meanwhile makes both slower.
func (s sides) row(dialect store.Dialect, name, peer string) result {
	ratios := make([]float64, len(s.ours))
	for i := range ratios {
		ratios[i] = s.ours[i].Seconds() / s.peer[i].Seconds()
	}
	slices.Sort(ratios)
	ratio := (ratios[(len(ratios)-1)/2] + ratios[len(ratios)/2]) / 2
	return result{
		name: name, database: dialect, ours: fmt.Sprintf("%.2f s", median(s.ours).Seconds()), peer: fmt.Sprintf("%s, %.2f s", peer, median(s.peer).Seconds()),
		ratio: fmt.Sprintf("%.3f", ratio), bound: fmt.Sprintf("≤ %g", mostTime), verdict: verdict(ratio <= mostTime),
	}
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
