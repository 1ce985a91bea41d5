package workspace

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

func TestEngineHealth(t *testing.T) {
	s := NewService(nil, nil, Config{})
	defer s.Close()
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.RecordEngine(EngineHealth{Status: EngineHealthy, Name: "Docker", CPUs: 4, MemoryBytes: 1 << 30, Since: since})
	s.RecordEngine(EngineHealth{Status: EngineHealthy, Name: "Docker", CPUs: 8, MemoryBytes: 1 << 30, Since: since.Add(time.Hour)})
	if h := s.Engine(); !h.Since.Equal(since) || h.CPUs != 8 {
		t.Errorf("got %+v: a second sign of life is no new status", h)
	}
	s.RecordEngine(EngineHealth{Status: EngineUnavailable, LastError: "away", Since: since.Add(2 * time.Hour)})
	if h := s.Engine(); h.Name != "Docker" || h.CPUs != 8 || h.LastError != "away" || h.Since.Equal(since) {
		t.Errorf("got %+v: what the engine is stays known while it is away", h)
	}
	t.Run("limits stay bounded by the machine while the engine is away", func(t *testing.T) {
		if err := s.checkResources(ResourcesInput{Cpus: new(9.0)}); CodeOf(err) != BadUserInput {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no task is given out meanwhile", func(t *testing.T) {
		if tasks, err := s.Claim(t.Context(), "pool", task.Slots{Free: 10}, time.Second); len(tasks) > 0 || err != nil { // the nil store would panic
			t.Errorf("got %v, %v", tasks, err)
		}
	})
	t.Run("it is watched: as it is now, then each change", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		health := s.WatchEngine(ctx)
		first := <-health
		s.RecordEngine(EngineHealth{Status: EngineHealthy})
		second := <-health
		s.RecordEngine(EngineHealth{Status: EngineUnavailable, LastError: "away"})
		if third := <-health; first.Status != EngineUnavailable || second.Status != EngineHealthy || third.LastError != "away" {
			t.Errorf("got %+v, %+v, %+v", first, second, third)
		}
		cancel()
		for range health {
		}
	})
	t.Run("the container's state is unknown, with the reason, and the record stays as it is", func(t *testing.T) {
		w := Workspace{Observed: Observed{Container: &Container{ID: "c", State: ContainerRunning}}}
		if c := s.ContainerNow(w); c.State != ContainerUnknown || c.Error != "away" || w.Observed.Container.State != ContainerRunning {
			t.Errorf("got %+v", c)
		}
		if c := s.ContainerNow(Workspace{}); c != nil {
			t.Errorf("got %+v where there is no container", c)
		}
	})
}

// lossy is a store whose database can be lost.
type lossy struct {
	Store

	lost bool
}

func (l *lossy) Shared() bool { return false }

func (l *lossy) Update(_ context.Context, id string, _ func(*Draft) error) (Change, error) {
	if l.lost {
		return Change{}, ErrDatabaseUnavailable
	}
	return Change{Workspace: Workspace{ID: id}}, nil
}

func TestWhatWaitsToBeWrittenMakesTheRowUncertain(t *testing.T) {
	l := &lossy{}
	s := NewService(l, nil, Config{Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	s.RecordEngine(EngineHealth{Status: EngineHealthy})
	w := Workspace{ID: "ws_1", Observed: Observed{Container: &Container{ID: "c", State: ContainerRunning, Health: &Health{Status: HealthHealthy}}}}
	for name, see := range map[string]func() error{
		"an observation": func() error { _, err := s.Record(t.Context(), "ws_1", Observed{}); return err },
		"an end":         func() error { _, err := s.RecordEnd(t.Context(), "ws_1", End{}); return err },
	} {
		l.lost = true
		if err := see(); CodeOf(err) != DatabaseLost {
			t.Fatal(err)
		}
		if c := s.ContainerNow(w); c.State != ContainerUnknown || c.Health != nil || !strings.Contains(c.Error, "waits to be written") {
			t.Errorf("%s could not be written: %+v", name, c)
		}
		if c := s.ContainerNow(Workspace{ID: "ws_2", Observed: w.Observed}); c.State != ContainerRunning {
			t.Errorf("another workspace: %+v", c)
		}
		l.lost = false
		if _, err := s.Record(t.Context(), "ws_1", Observed{}); err != nil {
			t.Fatal(err)
		}
		if c := s.ContainerNow(w); c.State != ContainerRunning {
			t.Errorf("%s is written: %+v", name, c)
		}
	}
}
