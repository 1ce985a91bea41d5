package docker

import (
	"strings"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/aicli/aicli-web/internal/engine"
)

// startIntervalSince is the version of the API from which on a check has an interval of its own while its container starts.
const startIntervalSince = "1.44"

// toHealthConfig asks for a health check, of which an engine that speaks apiVersion may not know all.
func toHealthConfig(check *engine.HealthCheck, apiVersion string) *dockercontainer.HealthConfig {
	if check == nil {
		return nil
	}
	config := &dockercontainer.HealthConfig{
		Test: check.Test, Interval: check.Interval, Timeout: check.Timeout, StartPeriod: check.StartPeriod, Retries: check.Retries,
	}
	if !versions.LessThan(apiVersion, startIntervalSince) {
		config.StartInterval = check.StartInterval
	}
	return config
}

// toHealthCheck reads the health check of an image; nil where it has none.
func toHealthCheck(c *dockerspec.HealthcheckConfig) *engine.HealthCheck {
	if c == nil || len(c.Test) == 0 || c.Test[0] == "NONE" {
		return nil
	}
	return &engine.HealthCheck{
		Test: c.Test, Interval: c.Interval, Timeout: c.Timeout, StartPeriod: c.StartPeriod, StartInterval: c.StartInterval, Retries: c.Retries,
	}
}

// defaultRetries is how many checks fail before an engine calls a container unhealthy that names no number.
const defaultRetries = 3

// toHealth reads what the health check of a container says. Engines call one unhealthy, too, that they no longer check because it has ended or is
// paused, and one that goes on until a check has passed: those have no health, and an undecided one.
func toHealth(c dockercontainer.InspectResponse) (status engine.HealthStatus, checked engine.Checked) {
	said := c.State.Health
	if said == nil || toState(c.State.Status) != engine.Running {
		return "", checked
	}
	retries := defaultRetries
	if check := c.Config.Healthcheck; check != nil && check.Retries > 0 {
		retries = check.Retries
	}
	switch {
	case said.Status == dockercontainer.Healthy:
		status = engine.Healthy
	case said.Status == dockercontainer.Unhealthy && said.FailingStreak >= retries:
		status = engine.Unhealthy
	case said.Status == dockercontainer.Unhealthy, said.Status == dockercontainer.Starting:
		status = engine.HealthStarting
	default:
		return "", checked
	}
	checked.FailingStreak = said.FailingStreak
	started := toTime(c.State.StartedAt)
	if n := len(said.Log); n > 0 && said.Log[n-1] != nil && said.Log[n-1].End.After(started) { // engines keep what checks of earlier runs said
		last := said.Log[n-1]
		checked.Output, checked.At = last.Output[:min(len(last.Output), engine.OutputMost)], last.End
	}
	return status, checked
}

// listedHealth reads a container's health from a list, which tells it in words only: "Up 3 seconds (healthy)".
func listedHealth(status string) engine.HealthStatus {
	switch {
	case strings.HasSuffix(status, "(healthy)"):
		return engine.Healthy
	case strings.HasSuffix(status, "(unhealthy)"):
		return engine.Unhealthy
	case strings.HasSuffix(status, "(health: starting)"):
		return engine.HealthStarting
	default:
		return ""
	}
}
