package workspace

import (
	"fmt"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// Status is what a workspace is now, in one word. It is computed, never set.
type Status string

// The statuses.
const (
	Pending  Status = "PENDING"
	Starting Status = "STARTING"
	Active   Status = "ACTIVE"
	// Recovering is what should run, does not, and is being seen to by the server.
	Recovering Status = "RECOVERING"
	Stopping   Status = "STOPPING"
	Inactive   Status = "INACTIVE"
	Failing    Status = "FAILED"
	Deleting   Status = "DELETING"
)

// Facts is all that the status depends on.
type Facts struct {
	Desired    DesiredState
	State      ContainerState
	Ending     bool // it ended a moment ago, and how will be known in another
	Making     bool // a live task makes or starts the container
	Halting    bool // a live task stops it
	Recovering bool // a live task of recovery is to make it run
	Failed     bool // the last task failed for good, or recovery gave up
}

// StatusOf is the status table; docs/status.md holds the same one.
//
//	desired  container                         work        status
//	DELETED  any                               any         DELETING
//	RUNNING  running                           any         ACTIVE
//	RUNNING  none                              making      PENDING
//	RUNNING  any other                         making      STARTING
//	RUNNING  none or any other                 recovering  RECOVERING
//	RUNNING  restarting, ending, being removed none        RECOVERING (the engine is at it)
//	RUNNING  restarting, ending, being removed failed      FAILED
//	RUNNING  none or any other                 none        FAILED
//	STOPPED  running, paused, restarting       halting     STOPPING
//	STOPPED  running, paused, restarting       failed      FAILED
//	STOPPED  running                           none        ACTIVE    (somebody else started it)
//	STOPPED  restarting                        none        STARTING
//	STOPPED  paused                            none        INACTIVE
//	STOPPED  none                              making      PENDING
//	STOPPED  none                              failed      FAILED    (it could not be made)
//	STOPPED  none, created, exited, dead, …    any other   INACTIVE
func StatusOf(f Facts) Status {
	switch f.Desired {
	case WantDeleted:
		return Deleting
	case WantRunning:
		return statusWanted(f)
	default:
		return statusUnwanted(f)
	}
}

func statusWanted(f Facts) Status {
	switch {
	case f.State == ContainerRunning:
		return Active
	case f.Making && f.State == NoContainer:
		return Pending
	case f.Making:
		return Starting
	case f.Recovering, !f.Failed && (f.Ending || f.State == ContainerRestarting || f.State == ContainerRemoving):
		return Recovering
	default:
		return Failing
	}
}

func statusUnwanted(f Facts) Status {
	switch f.State {
	case ContainerRunning, ContainerPaused, ContainerRestarting:
		switch {
		case f.Halting:
			return Stopping
		case f.Failed:
			return Failing
		case f.State == ContainerRunning:
			return Active
		case f.State == ContainerRestarting:
			return Starting
		}
	case NoContainer:
		switch {
		case f.Making:
			return Pending
		case f.Failed:
			return Failing
		}
	default: // it does not run
	}
	return Inactive
}

// factsOf gathers what the status of w depends on. live are its live tasks.
func factsOf(w Workspace, live []task.Task) Facts {
	f := Facts{Desired: w.DesiredState, State: w.Observed.State(), Ending: w.Observed.Ending(), Failed: w.Failure != nil || w.DesiredState == WantRunning && w.Recovery.GaveUp}
	for _, t := range live {
		switch {
		case t.Params.Recovery:
			f.Recovering = true
			continue
		case t.Params.FallsBack():
			continue
		}
		switch t.Type {
		case task.Create, task.Start, task.Restart, task.Recreate:
			f.Making = true
		case task.Stop:
			f.Halting = true
		case task.Sync: // brings about whatever is desired
			f.Making = f.Making || w.DesiredState == WantRunning
			f.Halting = f.Halting || w.DesiredState == WantStopped
		case task.Delete:
		}
	}
	return f
}

// reasonOf says in words why w has its status; nil when there is nothing to explain.
func reasonOf(w Workspace, live []task.Task, now time.Time) *string {
	var why string
	switch w.Status {
	case Failing:
		why = whyFailed(w)
	case Recovering:
		why = whyRecovering(w, live, now)
	case Active:
		verb, _ := ailment(w)
		switch {
		case w.DesiredState == WantRunning && find(live, recovers) != nil:
			why = whyRecovering(w, live, now)
		case w.DesiredState == WantRunning && verb != "" && w.Failure == nil && w.Recovery.GaveUp:
			why = whyGivenUp(w)
		case w.DesiredState == WantRunning && verb != "" && len(live) == 0:
			why = whyFailed(w)
		case w.DesiredState == WantRunning && verb != "":
			why = whyNotYet(w, live)
		case w.DesiredState == WantStopped:
			why = "It runs although it was stopped: something outside this server started it. Stop it again, or start it to keep it running."
		case w.Observed.Unhealthy():
			why = whyUnhealthy(w.Observed) + " Look at the output of the last one, then restart the workspace, or set restartWhenUnhealthy in its recovery policy."
		}
	case Inactive:
		if w.Observed.State() == ContainerPaused {
			why = "The container was paused outside this server. Start it to let it go on, or stop it."
		}
	case Pending, Starting, Stopping, Deleting, Deleted:
		why = whyNotYet(w, live)
	}
	if why == "" {
		return nil
	}
	return &why
}

func whyFailed(w Workspace) string {
	switch {
	case w.Failure != nil:
		return w.Failure.Message
	case w.DesiredState == WantRunning && w.Recovery.GaveUp:
		return whyGivenUp(w)
	default: // no change leaves it so: see Draft.recover
		return fmt.Sprintf("The container is %s and nothing is under way to start it. Start the workspace again.", w.Observed.State())
	}
}

// whyNotYet tells of the try that failed, when one has.
func whyNotYet(w Workspace, live []task.Task) string {
	for _, t := range live {
		switch {
		case t.Failure == nil:
		case t.Status == task.Retrying:
			return fmt.Sprintf("Try %d of %d failed: %s", t.Attempt, t.MaxAttempts, t.Failure.Message)
		case t.Status == task.Running && t.Attempt > 1:
			return fmt.Sprintf("Try %d of %d failed: %s", t.Attempt-1, t.MaxAttempts, t.Failure.Message)
		default: // it was no try of the task's own
			return t.Failure.Message
		}
	}
	if w.Status == Deleting && w.Failure != nil {
		return w.Failure.Message + " It is tried again by itself, or at once when it is deleted again."
	}
	return ""
}
