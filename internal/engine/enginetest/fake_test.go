package enginetest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
)

func TestFakeKeepsTheContract(t *testing.T) {
	enginetest.Exercise(t, func(*testing.T) engine.Engine {
		f := enginetest.New()
		f.Pullable("registry.test/box:1", nil)
		return f
	}, enginetest.ExerciseOptions{
		Image: enginetest.BaseImage, Prefix: "fake", Subnets: []string{"10.215.0.0/28", "10.215.0.16/28"},
		Pullable: "registry.test/box:1",
		Disconnect: func(t *testing.T, e engine.Engine, _, id string) {
			t.Helper()
			if !e.(*enginetest.Fake).Disconnect(id) {
				t.Fatal("it is on no network")
			}
		},
		Twin: func(_ *testing.T, e engine.Engine, spec engine.NetworkSpec) string {
			return e.(*enginetest.Fake).Twin(spec)
		},
		Pause: func(t *testing.T, e engine.Engine, id string) {
			t.Helper()
			if f, ok := e.(*enginetest.Fake); !ok || !f.Pause(id) {
				t.Fatalf("cannot pause %s", id)
			}
		},
	})
}

func TestFakeFaults(t *testing.T) {
	t.Run("a fault before the effect leaves nothing, once", func(t *testing.T) {
		f := enginetest.New()
		f.FailNext("CreateContainer", enginetest.Fault(engine.KindStorage))
		if _, err := create(t, f, "ws-1"); !engine.Is(err, engine.KindStorage) {
			t.Fatalf("got %v, want a storage fault", err)
		}
		if got := count(t, f); got != 0 {
			t.Errorf("%d containers, want 0", got)
		}
		if _, err := create(t, f, "ws-1"); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
	t.Run("a fault after the effect leaves what was made", func(t *testing.T) {
		f := enginetest.New()
		f.FailAfter("CreateContainer", errors.New("the answer was lost"))
		if id, err := create(t, f, "ws-1"); !engine.Is(err, engine.KindInternal) || id != "" {
			t.Fatalf("got %q, %v", id, err)
		}
		if got := count(t, f); got != 1 {
			t.Errorf("%d containers, want 1", got)
		}
	})
	t.Run("the call log names each call and its subject", func(t *testing.T) {
		f := enginetest.New()
		if _, err := create(t, f, "ws-1"); err != nil {
			t.Fatal(err)
		}
		count(t, f)
		if want := []string{"CreateContainer ws-1", "Containers"}; !slices.Equal(f.Calls(), want) {
			t.Errorf("got %q, want %q", f.Calls(), want)
		}
	})
	t.Run("an occupied subnet is in use", func(t *testing.T) {
		f := enginetest.New()
		f.Occupy("10.215.0.0/16")
		_, err := f.CreateNetwork(t.Context(), engine.NetworkSpec{Name: "n", Subnet: "10.215.3.0/28"})
		if !engine.Is(err, engine.KindAddressInUse) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFakeDown(t *testing.T) {
	t.Run("streams, readings, pulls and stops end when the engine goes down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := enginetest.New()
			f.Pullable("box:1", make(chan struct{}))
			id := running(t, f, "sh", "-c", "trap '' TERM; exec sleep 600")
			stream, err := f.Events(t.Context(), nil, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			ends := make(chan error, 4)
			go func() { _, err := stream.Next(); ends <- err }()
			go func() { ends <- f.WatchStats(t.Context(), id, func(engine.Stats) {}) }()
			go func() { ends <- f.Pull(t.Context(), "box:1", nil) }()
			go func() { ends <- f.StopContainer(t.Context(), id, time.Hour) }()
			synctest.Wait()
			f.SetDown(true)
			for range cap(ends) {
				if err := <-ends; !engine.Is(err, engine.KindUnavailable) {
					t.Errorf("got %v", err)
				}
			}
			if _, err := f.Info(t.Context()); !engine.Is(err, engine.KindUnavailable) {
				t.Errorf("Info: %v", err)
			}
		})
	})
	t.Run("what happens while the engine is down never comes as an event", func(t *testing.T) {
		f := enginetest.New()
		id := running(t, f, "sleep", "600")
		from := time.Now()
		f.SetDown(true)
		if !f.Exit(id, 3) {
			t.Fatal("it did not run")
		}
		f.SetDown(false)
		stream, err := f.Events(t.Context(), nil, from)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		f.Remove(id)
		if e, err := stream.Next(); err != nil || e.Action != "destroy" {
			t.Errorf("got %+v, %v, want destroy", e, err)
		}
	})
	t.Run("a dropped stream gives what came before and can be replayed", func(t *testing.T) {
		f := enginetest.New()
		from := time.Now()
		stream, err := f.Events(t.Context(), nil, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		running(t, f, "sleep", "600")
		f.DropStreams()
		for _, want := range []string{"create", "start"} {
			if e, err := stream.Next(); err != nil || e.Action != want {
				t.Errorf("got %+v, %v, want %s", e, err, want)
			}
		}
		if _, err := stream.Next(); !engine.Is(err, engine.KindUnavailable) {
			t.Errorf("got %v", err)
		}
		again, err := f.Events(t.Context(), nil, from)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if e, err := again.Next(); err != nil || e.Action != "create" {
			t.Errorf("got %+v, %v, want create", e, err)
		}
	})
}

func TestFakeStreams(t *testing.T) {
	t.Run("a reader that falls too far behind loses the stream and is told", func(t *testing.T) {
		f := enginetest.New()
		id := running(t, f, "sleep", "600")
		stream, err := f.Events(t.Context(), nil, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		const tooMany = 10_000
		for range tooMany {
			f.Pause(id)
		}
		for read := 0; ; read++ {
			if _, err := stream.Next(); err != nil {
				if !engine.Is(err, engine.KindUnavailable) || read == 0 || read == tooMany {
					t.Errorf("after %d events: %v", read, err)
				}
				return
			}
		}
	})
	t.Run("a stream whose opening fails is not given", func(t *testing.T) {
		f := enginetest.New()
		f.FailAfter("Events", enginetest.Fault(engine.KindTimeout))
		if s, err := f.Events(t.Context(), nil, time.Time{}); s != nil || !engine.Is(err, engine.KindTimeout) {
			t.Errorf("got %v, %v", s, err)
		}
	})
}

func TestFakeTime(t *testing.T) {
	t.Run("a pull waits at its gate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, gate := enginetest.New(), make(chan struct{})
			f.Pullable("box:1", gate)
			done := make(chan error, 1)
			go func() { done <- f.Pull(t.Context(), "box:1", nil) }()
			synctest.Wait()
			if _, err := f.Image(t.Context(), "box:1"); !engine.Is(err, engine.KindNotFound) {
				t.Errorf("before the gate opens: %v", err)
			}
			close(gate)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a stubborn container is killed after the grace, in whole seconds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := enginetest.New()
			id := running(t, f, "sh", "-c", "trap '' TERM; exec sleep 600")
			began := time.Now()
			if err := f.StopContainer(t.Context(), id, 1500*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("took %s, want 2s", took)
			}
		})
	})
	t.Run("readings say what the test set", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := enginetest.New()
			id := running(t, f, "sleep", "600")
			f.SetUsage(id, engine.Stats{CPUNanos: 42, Pids: 7})
			f.FailAfter("WatchStats", enginetest.Fault(engine.KindTimeout))
			var got []engine.Stats
			err := f.WatchStats(t.Context(), id, func(s engine.Stats) { got = append(got, s) })
			if !engine.Is(err, engine.KindTimeout) || len(got) != 1 || got[0].CPUNanos != 42 || got[0].Pids != 7 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	})
	t.Run("a container killed for its memory says so", func(t *testing.T) {
		f := enginetest.New()
		id := running(t, f, "sleep", "600")
		f.OOM(id)
		c, err := f.Container(t.Context(), id)
		if err != nil || !c.OOMKilled || c.ExitCode != 137 || c.State != engine.Exited {
			t.Errorf("got %+v, %v", c, err)
		}
	})
}

func create(t *testing.T, f *enginetest.Fake, name string, command ...string) (string, error) {
	t.Helper()
	return f.CreateContainer(t.Context(), engine.ContainerSpec{Name: name, Image: enginetest.BaseImage, Entrypoint: command})
}

func running(t *testing.T, f *enginetest.Fake, command ...string) string {
	t.Helper()
	id, err := create(t, f, "ws-running", command...)
	if err == nil {
		err = f.StartContainer(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func count(t *testing.T, f *enginetest.Fake) int {
	t.Helper()
	list, err := f.Containers(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
