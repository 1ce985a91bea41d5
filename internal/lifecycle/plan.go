// Package lifecycle does what each task type asks for: it observes the engine, plans (purely) what is missing, and applies
// only that. So a task that ran half, twice or never comes to the same end. It decides nothing about when tasks run, and it
// writes nothing but what it saw.
package lifecycle

import (
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// op is one thing to do.
type op string

const (
	pullImage       op = task.StepPull
	createNetwork   op = "create network"
	connectNetwork  op = "connect network"
	createContainer op = "create container"
	updateContainer op = "update container"
	unpause         op = "unpause container"
	startContainer  op = "start container"
	stopContainer   op = "stop container"
	removeContainer op = "remove container"
	removeNetwork   op = "remove network"
)

// step is one thing to do and why; target is the engine's id of what it is done to, empty for what is yet to be made.
type step struct {
	op     op
	target string
	why    string
}

func (s step) String() string { return string(s.op) + " (" + s.why + ")" }

// goal is where a task leads to.
type goal int

const (
	nothing goal = iota // another task takes care of it
	made                // there is a container
	running
	stopped // what is there does not run
	absent
)

// goalOf follows the desired state as it is now, not as it was when the task was asked for.
func goalOf(t task.Task, desired workspace.DesiredState) goal {
	switch {
	case t.Type == task.Delete, t.Params.Undo && desired != workspace.WantRunning, t.Params.Clear:
		return absent
	case desired == workspace.WantDeleted:
		return nothing
	case t.Params.Halt:
		return stopped
	case desired == workspace.WantRunning && t.Type == task.Stop:
		return nothing // a start was asked for since
	case desired == workspace.WantRunning:
		return running
	case t.Type == task.Create:
		return made
	case t.Type == task.Start || t.Type == task.Restart || t.Type == task.Recreate:
		return nothing // a stop was asked for since: it follows, and knows how long to wait for the container
	default:
		return stopped
	}
}

// plan says what is missing between what was seen and what t asks for.
func plan(t task.Task, w workspace.Workspace, s seen) []step {
	g := goalOf(t, w.DesiredState)
	switch g {
	case nothing:
		return nil
	case absent:
		why := "the workspace is deleted"
		switch {
		case t.Params.Undo:
			why = "it is taken back"
		case t.Params.Clear:
			why = "recovery gave up"
		}
		return planAbsent(s, why)
	default: // there is a container at the end, or what is there does not run
	}
	steps := planSurplus(s)
	c := s.container
	if c != nil && !gone(c.State) {
		return append(steps, planState(t, g, *c, planNetwork(s), planLimits(w, *c))...)
	}
	if c != nil {
		steps = append(steps, step{removeContainer, c.ID, "it is " + strings.ToLower(string(c.State))})
	}
	if g == stopped {
		return steps
	}
	return append(append(steps, planMake(s)...), planRun(g, "", "the container is new")...)
}

// planSurplus leaves a workspace one network: with two of one name, neither can be told by it.
func planSurplus(s seen) (steps []step) {
	for _, n := range s.surplus {
		steps = append(steps, step{removeNetwork, n.ID, "there is another one"})
	}
	return steps
}

// planNetwork sees to it that there is a network, and that a container which is there is on it.
func planNetwork(s seen) (steps []step) {
	if s.network == nil {
		steps = append(steps, step{createNetwork, "", "no network"})
	}
	if c := s.container; c != nil && !gone(c.State) && (s.network == nil || !c.On(*s.network)) {
		steps = append(steps, step{connectNetwork, c.ID, "it is on no network"})
	}
	return steps
}

// planLimits is for what is to run: a limit that the engine refuses must not keep a container from being stopped.
func planLimits(w workspace.Workspace, c engine.Container) []step {
	if isolation.Bounded(w, c.Enforced) {
		return nil
	}
	return []step{{updateContainer, c.ID, "its limits differ"}}
}

// up says that a container has processes, or is about to have some.
func up(s engine.State) bool {
	return s == engine.Running || s == engine.Paused || s == engine.Restarting
}

// gone says that what is left of a container is of no more use.
func gone(s engine.State) bool { return s == engine.Dead || s == engine.Removing }

// planMake makes a container and what it needs.
func planMake(s seen) (steps []step) {
	if s.image == nil {
		steps = append(steps, step{pullImage, "", "image missing"})
	}
	steps = append(steps, planNetwork(s)...)
	return append(steps, step{createContainer, "", "no container"})
}

func planRun(g goal, target, why string) []step {
	if g != running {
		return nil
	}
	return []step{{startContainer, target, why}}
}

// planState brings a container that exists into the state that is wanted; network and limits are the steps that bring it those.
func planState(t task.Task, g goal, c engine.Container, network, limits []step) []step {
	switch up := up(c.State); {
	case t.Params.Halt && c.Health != engine.Unhealthy: // it works again
		return nil
	case g == stopped && up:
		return []step{{stopContainer, c.ID, "it is " + strings.ToLower(string(c.State))}}
	case g != running:
		return nil
	case t.Params.Recovery && c.Health != engine.Unhealthy && c.State == engine.Running: // it works again, and is left to run
		return append(network, limits...)
	case t.Type == task.Restart && up && !restarted(c, t.Params.Before):
		steps := append([]step{{stopContainer, c.ID, "it is to be restarted"}}, network...)
		return append(append(steps, limits...), step{startContainer, c.ID, "it is to be restarted"})
	case c.State == engine.Paused:
		return append(append(network, limits...), step{unpause, c.ID, "it is paused"})
	case !up:
		return append(append(network, limits...), planRun(g, c.ID, "it is "+strings.ToLower(string(c.State)))...)
	default:
		return append(network, limits...)
	}
}

// restarted reports whether another run of the container has begun since a restart was asked for, when one from before was going.
func restarted(c engine.Container, before *time.Time) bool {
	return before == nil || !c.StartedAt.Equal(*before)
}

func planAbsent(s seen, why string) (steps []step) {
	if s.container != nil {
		steps = append(steps, step{removeContainer, s.container.ID, why})
	}
	if s.network != nil {
		steps = append(steps, step{removeNetwork, s.network.ID, why})
	}
	return append(steps, planSurplus(s)...)
}
