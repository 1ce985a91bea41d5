package workspace

import (
	"context"
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
		if tasks, err := s.Claim(t.Context(), "pool", task.Slots{Free: 10, Slow: 10}, time.Second); len(tasks) > 0 || err != nil { // the nil store would panic
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
