package monitor

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/mark"
	"github.com/aicli/aicli-web/internal/workspace"
)

// TestAnEngineThatBelongsToAnotherDatabase is told as away, with what to do, is left alone, and is followed again when it is ours.
func TestAnEngineThatBelongsToAnotherDatabase(t *testing.T) {
	var foreign atomic.Bool
	through := func(fake *enginetest.Fake) engine.Engine {
		foreign.Store(false)
		g := mark.NewGate(fake, func(context.Context) error {
			if foreign.Load() {
				return &engine.Error{Kind: engine.KindUnavailable, Op: "read the mark", Err: engine.ErrNotOurs}
			}
			return nil
		}, slog.New(slog.DiscardHandler))
		if err := g.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
		return g
	}
	watchingThrough(t, through, func(r *rig, container string) {
		foreign.Store(true)
		id, err := r.engine.CreateContainer(r.Context(), engine.ContainerSpec{Name: "aicli-2", Image: enginetest.BaseImage, Labels: labels("ws_2")})
		r.must(err)
		advance(resyncEvery)
		before := r.engine.Calls()
		r.engine.Exit(container, 3)
		advance(2 * grace)
		if asked := r.engine.Calls()[len(before):]; len(asked) > 0 {
			r.Errorf("the engine was asked for %v", asked)
		}
		if h := r.health[len(r.health)-1]; h.Status != workspace.EngineUnavailable || !strings.Contains(h.LastError, "run aicli-web adopt") {
			r.Errorf("it is told as %+v", h)
		}
		if got := r.state("ws_1"); got != workspace.ContainerRunning {
			r.Errorf("the container is recorded as %s", got)
		}
		if orphans := r.listed(); len(orphans) > 0 {
			r.Errorf("orphans are told: %+v", orphans)
		}

		foreign.Store(false)
		advance(2 * reconnect)
		if h, got := r.health[len(r.health)-1], r.state("ws_1"); h.Status != workspace.EngineHealthy || got != workspace.ContainerExited {
			r.Errorf("once it is ours it is told as %+v, and the container as %s", h, got)
		}
		if orphans := r.listed(); len(orphans) != 1 || orphans[0].ID != id || time.Since(orphans[0].Since) > 2*reconnect {
			r.Errorf("orphans are %+v", orphans)
		}
	})
}

// TestNothingIsTakenForAnOrphanBeforeTheMarkIsRead, also by the comparison that follows a change of it.
func TestNothingIsTakenForAnOrphanBeforeTheMarkIsRead(t *testing.T) {
	var order []string
	m := New(Options{Engine: enginetest.New(), Confirm: func(context.Context) error {
		order = append(order, "confirm")
		return engine.ErrNotOurs
	}})
	if err := m.compare(t.Context()); err == nil || !slices.Equal(order, []string{"confirm"}) {
		t.Errorf("got %v, %v", order, err)
	}
}
