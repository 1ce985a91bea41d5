package monitor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/workspace"
)

// take gives what a channel has now.
func take(t *testing.T, samples <-chan workspace.Sample) (s workspace.Sample, open, there bool) {
	t.Helper()
	synctest.Wait()
	select {
	case s, open = <-samples:
		return s, open, true
	default:
		return s, true, false
	}
}

// drain takes what was on its way.
func drain(t *testing.T, samples <-chan workspace.Sample) {
	t.Helper()
	for there := true; there; {
		_, _, there = take(t, samples)
	}
}

func TestSamples(t *testing.T) {
	t.Run("viewers of one workspace share a stream, which ends with the last", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			one, leaveOne := context.WithCancel(r.Context())
			two, leaveTwo := context.WithCancel(r.Context())
			first, second := r.monitor.Samples(one, "ws_1", time.Second), r.monitor.Samples(two, "ws_1", time.Second)
			advance(3 * time.Second)
			a, _, thereA := take(t, first)
			b, _, thereB := take(t, second)
			if !thereA || !thereB || a.WorkspaceID != "ws_1" || a.MemoryBytes != b.MemoryBytes || r.calls("WatchStats") != 1 {
				r.Fatalf("got %+v and %+v from %d streams", a, b, r.calls("WatchStats"))
			}
			if a.CPUPercent < 9 || a.CPUPercent > 11 { // the fake's containers use a tenth of a core
				r.Errorf("got %g %% of a core", a.CPUPercent)
			}
			leaveOne()
			advance(2 * time.Second)
			if _, _, there := take(t, second); !there {
				r.Error("the other viewer's stream has ended too")
			}
			leaveTwo()
			synctest.Wait()
			if len(r.monitor.watches) != 0 {
				r.Error("the stream stays open with nobody there")
			}
		})
	})
	t.Run("a reader that is slow misses samples and gets none older than what it has", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			samples := r.monitor.Samples(r.Context(), "ws_1", time.Second)
			var last time.Time
			for range 4 {
				advance(10 * time.Second)
				s, _, there := take(t, samples)
				if age := time.Since(s.At); !there || !s.At.After(last) || age > 2*time.Second {
					r.Fatalf("got %+v, %s old, after %s", s, age, last)
				}
				last = s.At
			}
		})
	})
	t.Run("the interval is kept", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			ctx, leave := context.WithCancel(r.Context())
			samples := r.monitor.Samples(ctx, "ws_1", 5*time.Second)
			n, end := 0, time.After(61*time.Second)
			for counting := true; counting; {
				select {
				case <-samples:
					n++
				case <-end:
					counting = false
				}
			}
			leave()
			if n < 11 || n > 13 {
				r.Errorf("got %d samples in a minute", n)
			}
		})
	})
	t.Run("it goes on across a restart, and counts the time anew", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			ctx, leave := context.WithCancel(r.Context())
			defer leave()
			samples := r.monitor.Samples(ctx, "ws_1", time.Second)
			advance(time.Minute)
			<-samples
			r.engine.Exit(container, 0)
			synctest.Wait()
			advance(10 * time.Second)
			drain(t, samples)
			r.must(r.engine.StartContainer(r.Context(), container))
			advance(5 * time.Second)
			s, _, there := take(t, samples)
			if !there || s.Uptime <= 0 || s.Uptime > 5*time.Second {
				r.Errorf("got %+v (%t)", s, there)
			}
		})
	})
	t.Run("it goes on when the engine is back", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			ctx, leave := context.WithCancel(r.Context())
			defer leave()
			samples := r.monitor.Samples(ctx, "ws_1", time.Second)
			advance(5 * time.Second)
			r.engine.SetDown(true)
			advance(10 * time.Second)
			drain(t, samples)
			r.engine.SetDown(false)
			advance(5 * time.Second)
			if _, _, there := take(t, samples); !there {
				r.Error("it does not")
			}
		})
	})
	t.Run("it goes on when the database is back", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			ctx, leave := context.WithCancel(r.Context())
			defer leave()
			r.mu.Lock()
			r.faults = 3
			r.mu.Unlock()
			samples := r.monitor.Samples(ctx, "ws_1", time.Second)
			advance(10 * time.Second)
			if _, open, there := take(t, samples); !there || !open {
				r.Errorf("got none (%t)", open)
			}
		})
	})
	t.Run("it ends when the workspace is gone", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			samples := r.monitor.Samples(r.Context(), "ws_1", time.Hour)
			advance(5 * time.Second)
			<-samples
			r.mu.Lock()
			r.put("ws_1", func(w *workspace.Workspace) { w.DesiredState = workspace.WantDeleted })
			r.mu.Unlock()
			if _, open, _ := take(t, samples); open {
				r.Error("it goes on")
			}
		})
	})
}

func TestSample(t *testing.T) {
	t.Run("who asks again and again is answered from one stream, which ends a while after", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			for range 5 {
				if s, ok := r.monitor.Sample(r.Context(), r.get("ws_1")); !ok || s.MemoryBytes == 0 {
					r.Fatalf("got %+v, %t", s, ok)
				}
				advance(5 * time.Second)
			}
			if n := r.calls("WatchStats"); n != 1 {
				r.Errorf("%d streams", n)
			}
			advance(lingerFor)
			if len(r.monitor.watches) != 0 {
				r.Error("the stream stays open with nobody there")
			}
		})
	})
	t.Run("what does not run has none, and what cannot be asked has none in time", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.engine.SetDown(true)
			began := time.Now()
			if _, ok := r.monitor.Sample(r.Context(), r.get("ws_1")); ok || time.Since(began) > sampleLimit {
				r.Errorf("got one (%t) after %s", ok, time.Since(began))
			}
			r.engine.SetDown(false)
			r.engine.Exit(container, 0)
			advance(2 * reconnect)
			if _, ok := r.monitor.Sample(r.Context(), r.get("ws_1")); ok {
				r.Error("what has ended uses something")
			}
			advance(lingerFor)
		})
	})
}

func TestMeter(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := meter{workspaceID: "ws_1", started: at}
	for i, c := range []struct {
		after time.Duration
		nanos uint64
		ok    bool
		cpu   float64
	}{
		{time.Second, 5e8, false, 0},                    // the first one
		{time.Second + time.Millisecond, 6e8, false, 0}, // too soon to tell
		{2 * time.Second, 25e8, true, 200},              // two cores for a second, since the first
		{3 * time.Second, 25e8, true, 0},                // idle
		{4 * time.Second, 1e8, false, 0},                // the counter began anew
		{5 * time.Second, 6e8, true, 50},
	} {
		s, ok := m.add(engine.Stats{At: at.Add(c.after), CPUNanos: c.nanos})
		if ok != c.ok || s.CPUPercent != c.cpu || ok && s.Uptime != c.after {
			t.Errorf("reading %d: got %+v, %t", i, s, ok)
		}
	}
}
