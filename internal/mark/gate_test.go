package mark_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/mark"
)

// gated is a gate before a fake, what the mark says, and what is logged.
type gated struct {
	*mark.Gate

	fake *enginetest.Fake
	says atomic.Pointer[error]
	log  bytes.Buffer
}

func newGated() *gated {
	g := &gated{fake: enginetest.New()}
	g.Gate = mark.NewGate(g.fake, func(context.Context) error { return *g.says.Load() }, slog.New(slog.NewTextHandler(&g.log, nil)))
	return g
}

func (g *gated) say(err error) { g.says.Store(&err) }

var errForeign = &engine.Error{Kind: engine.KindUnavailable, Op: "read the mark", Err: engine.ErrNotOurs}

// TestNothingPassesAShutGate goes through all methods that an engine has, those that it will have included.
func TestNothingPassesAShutGate(t *testing.T) {
	g := newGated()
	g.say(errForeign)
	for method := range reflect.TypeFor[engine.Engine]().Methods() {
		if method.Name == "Close" {
			continue
		}
		for _, asked := range []string{"before", "after"} {
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for in := 1; in < method.Type.NumIn(); in++ {
				args = append(args, reflect.Zero(method.Type.In(in)))
			}
			results := reflect.ValueOf(g.Gate).MethodByName(method.Name).Call(args)
			err, _ := reflect.TypeAssert[error](results[len(results)-1])
			if !engine.Is(err, engine.KindUnavailable) || asked == "after" && !errors.Is(err, engine.ErrNotOurs) {
				t.Errorf("%s, %s the mark was read: %v", method.Name, asked, err)
			}
			_ = g.Confirm(t.Context())
		}
	}
	if calls := g.fake.Calls(); len(calls) > 0 {
		t.Errorf("the engine was asked for %v", calls)
	}
	if said := strings.Count(g.log.String(), "the engine is left alone"); said != 1 {
		t.Errorf("it is logged %d times:\n%s", said, g.log.String())
	}
}

func TestAGateOpensAndShutsWithTheMark(t *testing.T) {
	g := newGated()
	lists := func(want error) {
		t.Helper()
		if _, err := g.Containers(t.Context(), nil); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	away := errors.New("the engine does not answer")
	g.say(away)
	if _, err := g.Info(t.Context()); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	g.say(nil)
	if _, err := g.Info(t.Context()); err != nil { // a sign of life opens it
		t.Error(err)
	}
	lists(nil)
	g.say(away)
	if err := g.Confirm(t.Context()); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	lists(nil) // what cannot be told is no refusal
	g.say(errForeign)
	lists(nil) // it is asked nothing for a call
	if err := g.Confirm(t.Context()); !errors.Is(err, engine.ErrNotOurs) {
		t.Errorf("got %v", err)
	}
	lists(engine.ErrNotOurs)
	g.say(away)
	if _, err := g.Info(t.Context()); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	lists(engine.ErrNotOurs)
	g.say(nil)
	if _, err := g.Info(t.Context()); err != nil {
		t.Error(err)
	}
	lists(nil)
	for _, line := range []string{"the engine is left alone", "belongs to this database again"} {
		if said := strings.Count(g.log.String(), line); said != 1 {
			t.Errorf("%q is logged %d times:\n%s", line, said, g.log.String())
		}
	}
}

// TestWhatIsUnderWayIsCutWhenTheGateShuts, and says why.
func TestWhatIsUnderWayIsCutWhenTheGateShuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.say(nil)
		if err := g.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, err := g.CreateContainer(t.Context(), engine.ContainerSpec{Name: "ws-1", Image: enginetest.BaseImage, Entrypoint: []string{"sh", "-c", "trap '' TERM; sleep 600"}})
		if err == nil {
			err = g.StartContainer(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
		cut := make(chan error)
		go func() { cut <- g.StopContainer(t.Context(), id, time.Hour) }()
		go func() { cut <- g.WatchStats(t.Context(), id, func(engine.Stats) {}) }()
		ctx, enough := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- g.WatchStats(ctx, id, func(engine.Stats) {}) }()
		synctest.Wait()
		enough()
		if err := <-ended; err != nil {
			t.Errorf("whoever has watched enough is told %v", err)
		}
		g.say(errForeign)
		if err := g.Confirm(t.Context()); err == nil {
			t.Fatal("it is open")
		}
		for range 2 {
			if err := <-cut; !errors.Is(err, engine.ErrNotOurs) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestAnOpenGateKeepsTheContract: it is an engine like the one behind it.
func TestAnOpenGateKeepsTheContract(t *testing.T) {
	enginetest.Exercise(t, func(t *testing.T) engine.Engine {
		g := newGated()
		g.say(nil)
		if err := g.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
		return g.Gate
	}, enginetest.ExerciseOptions{Image: enginetest.BaseImage, Prefix: "gate", Subnets: []string{"10.215.0.0/28", "10.215.0.16/28"}})
}
