package lifecycle

import (
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/workspace"
)

// unknown reports whether events tell more than what is recorded of a workspace, and whether that may be about more than its container.
func unknown(w workspace.Workspace, events []engine.Event) (news, whole bool) {
	for _, e := range events {
		if isRecorded(w.Observed, e) {
			continue
		}
		news = true
		c := w.Observed.Container
		whole = whole || e.Kind != engine.ContainerObject || c == nil || c.ID != e.ID
	}
	return news, whole
}

// isRecorded reports whether what an event tells is recorded. All times are of the engine's clock, which may have been set: of a container, only an event near the start or
// the end that is recorded is of that one.
func isRecorded(o workspace.Observed, e engine.Event) bool {
	c := o.Container
	if e.Kind == engine.NetworkObject {
		has := o.Network != nil && o.Network.ID == e.ID
		switch e.Action {
		case "destroy":
			return !has
		case "create":
			return has
		default: // connect and disconnect, which are not read for of what; of the network of what does not run, neither matters
			return has && (c == nil || c.FinishedAt != nil && ended(c) || seenSince(c, e.At) || e.Action == "connect" && !o.Detached)
		}
	}
	if c == nil || c.ID != e.ID {
		return e.Action == "destroy"
	}
	if c.Ending {
		return false
	}
	switch e.Action {
	case "create":
		return true
	case "start", "restart":
		return near(c.StartedAt, e.At) && (c.State == workspace.ContainerRunning || ended(c))
	case "die", "stop":
		return near(c.FinishedAt, e.At) && (c.State == workspace.ContainerRunning || ended(c))
	}
	if status, ok := strings.CutPrefix(e.Action, "health_status: "); ok {
		return c.State == workspace.ContainerRunning && c.Health != nil && strings.EqualFold(string(c.Health.Status), status)
	}
	return false
}

// wordsLast is how long after a start or an end an engine may still have words on it: it clears up first.
const wordsLast = 5 * time.Second

// near reports whether an event at a time is of a start or an end that is recorded.
func near(recorded *time.Time, at time.Time) bool {
	return recorded != nil && at.Sub(*recorded).Abs() <= wordsLast
}

// ended reports whether a container has, with all that there is to know of it.
func ended(c *workspace.Container) bool { return c.State == workspace.ContainerExited && !c.Ending }

// seenSince reports whether a container was looked at after a time: it has begun or ended its run since.
func seenSince(c *workspace.Container, at time.Time) bool {
	last := c.StartedAt
	if ended(c) {
		last = c.FinishedAt
	}
	return last != nil && !c.Ending && !at.After(*last)
}
