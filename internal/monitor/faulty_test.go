package monitor

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/workspace"
)

// latest is how late a faulty engine tells what it has and what has happened.
const latest = 3 * time.Second

// faulty loses events, tells them twice, late and in another order, and lists what there was some time ago.
type faulty struct {
	*enginetest.Fake

	mu     sync.Mutex
	draw   *rand.Rand
	honest bool
	listed map[string]list // the last answers, by labels
}

type list struct {
	at         time.Time
	containers []engine.Summary
}

// n draws a number below n; the engine is honest when it gives 0.
func (f *faulty) n(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.honest {
		return 0
	}
	return f.draw.IntN(n)
}

func (f *faulty) beHonest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.honest = true
}

func (f *faulty) Containers(ctx context.Context, labels engine.Labels) ([]engine.Summary, error) {
	late := f.n(2) == 1
	key := labels[engine.LabelWorkspace]
	f.mu.Lock()
	defer f.mu.Unlock()
	if have, known := f.listed[key]; late && known && time.Since(have.at) < latest {
		return have.containers, nil
	}
	now, err := f.Fake.Containers(ctx, labels)
	f.listed[key] = list{time.Now(), now}
	return now, err
}

func (f *faulty) Events(ctx context.Context, labels engine.Labels, since time.Time) (engine.EventStream, error) {
	inner, err := f.Fake.Events(ctx, labels, since)
	if err != nil {
		return nil, err
	}
	return &faultyStream{EventStream: inner, engine: f, ctx: ctx}, nil
}

type faultyStream struct {
	engine.EventStream

	engine *faulty
	ctx    context.Context //nolint:containedctx // the stream's own, as Events was given it
	queue  []engine.Event
	held   *engine.Event // told after the next one
}

// Next tells what has happened, more or less.
func (s *faultyStream) Next() (engine.Event, error) {
	for len(s.queue) == 0 {
		e, err := s.EventStream.Next()
		if err != nil {
			return e, err
		}
		switch s.engine.n(6) {
		case 1: // lost
		case 2:
			s.queue = append(s.queue, e, e)
		case 3:
			pause(s.ctx, time.Duration(1+s.engine.n(int(latest))))
			s.queue = append(s.queue, e)
		case 4:
			if s.held == nil {
				s.held = &e
				continue
			}
			fallthrough
		default:
			s.queue = append(s.queue, e)
		}
		if s.held != nil && len(s.queue) > 0 {
			s.queue, s.held = append(s.queue, *s.held), nil
		}
	}
	e := s.queue[0]
	s.queue = s.queue[1:]
	return e, nil
}

// TestAFaultyEngine holds that whatever is told, late, twice, in another order or never, is true after one comparison with an engine
// that lists what it has. AICLI_SEED=n runs one seed.
func TestAFaultyEngine(t *testing.T) {
	seeds := make([]uint64, 50)
	for i := range seeds {
		seeds[i] = uint64(time.Now().UnixNano()) + uint64(i)
	}
	if text := os.Getenv("AICLI_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		draw := rand.New(rand.NewPCG(seed, 0))
		before := &faulty{draw: rand.New(rand.NewPCG(seed, 1)), listed: make(map[string]list)}
		watchingThrough(t, func(fake *enginetest.Fake) engine.Engine {
			before.Fake = fake
			return before
		}, func(r *rig, container string) {
			for range 60 {
				container = r.meddle(draw, container)
				advance(time.Duration(draw.Int64N(int64(2 * time.Second))))
			}
			before.beHonest()
			advance(resyncEvery + latest)
			if got, want := r.get("ws_1").Observed, r.truth(); got.State() != want.State() || (got.Network == nil) != (want.Network == nil) {
				r.Errorf("AICLI_SEED=%d: recorded is %q with a network: %t; there is %q, %t", seed, got.State(), got.Network != nil, want.State(), want.Network != nil)
			}
		})
	}
}

// meddle does one thing to the workspace behind everybody's back, and gives the container that there is then.
func (r *rig) meddle(draw *rand.Rand, container string) string {
	r.Helper()
	switch draw.IntN(6) {
	case 0:
		r.engine.Exit(container, draw.IntN(2))
	case 1:
		r.engine.Pause(container)
	case 2:
		_ = r.engine.UnpauseContainer(r.Context(), container) // it may be gone, here and below
	case 3:
		_ = r.engine.StartContainer(r.Context(), container)
	case 4:
		if r.engine.Remove(container) {
			_ = r.engine.RemoveNetwork(r.Context(), "aicli-1")
		}
	default:
		_, err := r.engine.CreateNetwork(r.Context(), engine.NetworkSpec{Name: "aicli-1", Subnet: "10.213.0.0/28", Labels: labels("ws_1")})
		if err != nil {
			break // it is there
		}
		if container, err = r.engine.CreateContainer(r.Context(), engine.ContainerSpec{Name: "aicli-1", Image: enginetest.BaseImage, Network: "aicli-1", Entrypoint: []string{"sleep", "infinity"}, Labels: labels("ws_1")}); err != nil {
			r.Error(err)
		}
	}
	synctest.Wait()
	return container
}

// truth is what the engine has.
func (r *rig) truth() (o workspace.Observed) {
	r.Helper()
	containers, err := r.engine.Containers(r.Context(), labels("ws_1"))
	r.must(err)
	networks, err := r.engine.Networks(r.Context(), labels("ws_1"))
	r.must(err)
	if len(containers) > 0 {
		o.Container = &workspace.Container{State: workspace.ContainerState(containers[0].State)}
	}
	if len(networks) > 0 {
		o.Network = &workspace.Network{}
	}
	return o
}

// silent is an engine whose socket is there while nobody answers.
type silent struct {
	*enginetest.Fake

	mu    sync.Mutex
	quiet bool
}

func (s *silent) Info(ctx context.Context) (engine.Info, error) {
	s.mu.Lock()
	quiet := s.quiet
	s.mu.Unlock()
	if quiet {
		<-ctx.Done()
	}
	return s.Fake.Info(ctx)
}

func TestAnEngineThatRestartsIsToldAsAwayAtOnce(t *testing.T) {
	before := &silent{}
	watchingThrough(t, func(fake *enginetest.Fake) engine.Engine {
		before.Fake = fake
		return before
	}, func(r *rig, _ string) {
		before.mu.Lock()
		before.quiet = true
		before.mu.Unlock()
		r.engine.DropStreams()
		advance(2 * time.Second)
		if h := r.health; len(h) != 2 || h[1].Status != workspace.EngineUnavailable {
			r.Errorf("two seconds after its stream broke it is %+v", h)
		}
	})
}
