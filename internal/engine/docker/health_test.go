package docker

import (
	"strings"
	"testing"
	"time"

	dockercontainer "github.com/docker/docker/api/types/container"

	"github.com/aicli/aicli-web/internal/engine"
)

// TestHealthIsRead holds what a daemon does not do on demand: old ends of checks, and "unhealthy" of what has been paused.
func TestHealthIsRead(t *testing.T) {
	started := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	before, after := started.Add(-time.Second), started.Add(time.Second)
	for name, c := range map[string]struct {
		state, said string
		streak      int
		retries     int
		ended       time.Time
		want        engine.HealthStatus
		checked     bool
	}{
		"healthy": {"running", "healthy", 0, 2, after, engine.Healthy, true},
		"started anew, with what an earlier run said": {"running", "starting", 0, 2, before, engine.HealthStarting, false},
		"unhealthy":                                   {"running", "unhealthy", 2, 2, after, engine.Unhealthy, true},
		"unhealthy by the engine's own number":        {"running", "unhealthy", 3, 0, after, engine.Unhealthy, true},
		"called so since it was paused":               {"running", "unhealthy", 0, 2, after, engine.HealthStarting, true},
		"called so since it was paused, and failed":   {"running", "unhealthy", 1, 2, after, engine.HealthStarting, true},
		"called so since it was paused, by no number": {"running", "unhealthy", 2, 0, after, engine.HealthStarting, true},
		"paused": {"paused", "unhealthy", 0, 2, after, "", false},
		"ended":  {"exited", "unhealthy", 3, 2, after, "", false},
		"without a check, which Docker has no word for": {"running", "none", 0, 0, after, "", false},
	} {
		status, checked := toHealth(dockercontainer.InspectResponse{
			ContainerJSONBase: &dockercontainer.ContainerJSONBase{State: &dockercontainer.State{
				Status: c.state, StartedAt: started.Format(time.RFC3339Nano),
				Health: &dockercontainer.Health{Status: c.said, FailingStreak: c.streak, Log: []*dockercontainer.HealthcheckResult{{End: c.ended, Output: strings.Repeat("x", 4099)}}},
			}},
			Config: &dockercontainer.Config{Healthcheck: &dockercontainer.HealthConfig{Retries: c.retries}},
		})
		if status != c.want || checked.At.IsZero() == c.checked || c.checked != (len(checked.Output) == engine.OutputMost) || status != "" && checked.FailingStreak != c.streak {
			t.Errorf("%s: got %q, %+v", name, status, checked)
		}
	}
	for status, want := range map[string]engine.HealthStatus{
		"Up 3 seconds (healthy)": engine.Healthy, "Up About a minute (unhealthy)": engine.Unhealthy, "Up 2 days (health: starting)": engine.HealthStarting,
		"Up 3 seconds": "", "Up 3 seconds (Paused)": "", "Exited (1) 2 hours ago": "", "": "",
	} {
		if got := listedHealth(status); got != want {
			t.Errorf("%q: got %q", status, got)
		}
	}
}
