package workspace

import (
	"fmt"
	"slices"

	"github.com/aicli/aicli-web/internal/task"
)

// Decision is what becomes of a request.
type Decision struct {
	// Refusal is why the request is not accepted; the rest is empty then.
	Refusal *Error
	// Reuse is the live task that already does what is asked for.
	Reuse *task.Task
	// Enqueue says that a new task is needed. Neither Reuse nor Enqueue: it is so already.
	Enqueue bool
	// Supersede are live tasks that the request makes pointless, queued or running.
	Supersede []task.Task
	// Desired is the desired state from now on.
	Desired DesiredState
}

// Decide says what becomes of a request for verb on w, whose live tasks are given oldest first. It is the table of the order
// rules: a stop supersedes a queued start and one that waits for an image, a start a queued stop, a restart both, a delete everything; what is under way is
// returned, and what is so already needs no task.
func Decide(verb task.Type, w Workspace, live []task.Task) Decision {
	if w.DesiredState == WantDeleted && verb != task.Delete {
		return Decision{Desired: WantDeleted, Refusal: &Error{Code: Conflict, Message: "The workspace is being deleted. Create a new one."}}
	}
	switch verb {
	case task.Recreate: // only where one has failed before: see RetryTask
		return decideStart(w, live)
	case task.Create: // only where one has failed before: see RetryTask
		// What is to start it makes it only while that is desired.
		d := Decision{Desired: w.DesiredState, Reuse: find(live, func(t task.Task) bool { return makes(t) && (t.Type == task.Create || w.DesiredState == WantRunning) })}
		last, _ := before(live, nil)
		d.Enqueue = d.Reuse == nil && (last != nil || w.Status != Active)
		return d
	case task.Start:
		return decideStart(w, live)
	case task.Stop:
		return decideStop(w, live)
	case task.Restart:
		return decideRestart(w, live)
	case task.Delete:
		return decideDelete(live)
	default: // SYNC
		if t := find(live, func(t task.Task) bool {
			return t.Status.Waiting() && joinable(t) && (t.Type == task.Sync || t.Params.Recovery)
		}); t != nil {
			return Decision{Desired: w.DesiredState, Reuse: t}
		}
		return Decision{Desired: w.DesiredState, Enqueue: true}
	}
}

// decideStart joins what waits, which makes what is desired when it runs, and what runs while nothing else was asked for since.
func decideStart(w Workspace, live []task.Task) Decision {
	d := Decision{Desired: WantRunning, Supersede: append(waitingOf(live, task.Stop), repairs(live)...)}
	last, overtook := before(live, d.Supersede)
	switch {
	case last != nil && makes(*last) && (last.Status.Waiting() || !overtook && w.DesiredState == WantRunning):
		d.Reuse = last
	case last == nil && !overtook && w.DesiredState == WantRunning && w.Status == Active:
	default:
		d.Enqueue = true
	}
	return d
}

// decideStop supersedes a sync too that waits before it: that would stop the container first, in its own time and not in that of the request. What is to
// start a container and still waits for its image has made none, and is cut: a start later on pulls what is missing.
func decideStop(w Workspace, live []task.Task) Decision {
	d := Decision{Desired: WantStopped, Supersede: waitingOf(live, task.Start, task.Restart, task.Recreate, task.Sync)}
	// The older one comes first: at most one runs, and what waits is behind it.
	if t := find(live, func(t task.Task) bool {
		return t.Pulls() && (makes(t) || t.Type == task.Sync && joinable(t) && t.RequestedBy != "")
	}); t != nil {
		d.Supersede = slices.Insert(d.Supersede, 0, *t)
	}
	last, overtook := before(live, d.Supersede)
	switch {
	case last != nil && last.Type == task.Stop && joinable(*last) && (last.Status.Waiting() || !overtook && w.DesiredState == WantStopped):
		d.Reuse = last
		d.Supersede = slices.DeleteFunc(d.Supersede, func(t task.Task) bool { return t.Type == task.Sync && t.ID > last.ID })
	case last == nil && !overtook && w.Status == Inactive && w.Observed.State() != ContainerPaused:
		d.Supersede = nil
	default:
		d.Enqueue = true
	}
	return d
}

// decideRestart joins one that runs only while nothing came after it: overtaken by a stop, it starts nothing.
func decideRestart(w Workspace, live []task.Task) Decision {
	d := Decision{Desired: WantRunning, Supersede: append(waitingOf(live, task.Start, task.Restart, task.Recreate, task.Stop), repairs(live)...)}
	last, overtook := before(live, d.Supersede)
	if last != nil && !overtook && w.DesiredState == WantRunning && last.Type == task.Restart && joinable(*last) {
		d.Reuse = last
		return d
	}
	d.Enqueue = true
	return d
}

// before is the task that a request comes after: the newest, but for syncs, which change nothing that was asked for, and for those that it
// overtakes. overtook says that there was one of the latter behind it, by which it may have been held up or led astray.
func before(live, overtaken []task.Task) (last *task.Task, overtook bool) {
	for i := len(live) - 1; i >= 0; i-- {
		t := &live[i]
		sync := t.Type == task.Sync && !t.Params.Undo && !t.Params.FallsBack()
		switch {
		case slices.ContainsFunc(overtaken, func(o task.Task) bool { return o.ID == t.ID }):
			overtook = overtook || !sync
		case !sync:
			return t, overtook
		}
	}
	return nil, overtook
}

func decideDelete(live []task.Task) Decision {
	d := Decision{Desired: WantDeleted}
	for i := range live {
		if live[i].Type == task.Delete {
			d.Reuse = &live[i]
		} else {
			d.Supersede = append(d.Supersede, live[i])
		}
	}
	d.Enqueue = d.Reuse == nil
	return d
}

// repairs are the SYNCs of recovery that wait for their time, which what is asked for now does not wait for.
func repairs(live []task.Task) (waiting []task.Task) {
	for _, t := range waitingOf(live, task.Sync) {
		if t.Params.Recovery {
			waiting = append(waiting, t)
		}
	}
	return waiting
}

// makes reports whether the task ends with a container that runs, when that is desired.
func makes(t task.Task) bool {
	return joinable(t) && (t.Type == task.Create || t.Type == task.Start || t.Type == task.Restart || t.Type == task.Recreate)
}

// starts reports whether it was asked for by somebody to have a container made or started.
func starts(t task.Task) bool {
	return !t.Params.Recovery && (t.Type == task.Create || t.Type == task.Start || t.Type == task.Recreate)
}

// settles reports whether a task takes back what another one had begun, or looks what it has left. Nobody has asked for it, nothing overtakes it,
// and it is not cancelled.
func settles(t task.Task) bool {
	return t.Type == task.Sync && t.RequestedBy == "" && !t.Params.Recovery && !t.Params.FallsBack()
}

// joinable reports whether a task does what it was asked for: not one that is being cancelled, nor one that takes back.
func joinable(t task.Task) bool { return !t.Cancel && !t.Params.Undo && !t.Params.FallsBack() }

// maxQueued bounds the live tasks of one owner: two batches of the largest size.
const maxQueued = 2000

// Admit says whether an owner who has that many live tasks may have one more. What the server asks for itself and what removes a
// workspace, and with it other tasks, is always admitted.
func Admit(t task.Task, live int) error {
	if t.RequestedBy == "" || t.Type == task.Delete || live < maxQueued {
		return nil
	}
	whose := "your tasks"
	if t.RequestedBy != t.OwnerID { // an admin asks
		whose = "the tasks of the workspace's owner"
	}
	return &Error{Code: QuotaExceeded, Retryable: true,
		Message: fmt.Sprintf("%d of %s are waiting or running, which is the most. Ask again when some have ended, or delete workspaces.", live, whose)}
}

func find(live []task.Task, is func(task.Task) bool) *task.Task {
	for i := range live {
		if is(live[i]) {
			return &live[i]
		}
	}
	return nil
}

// waitingOf picks the tasks of these types that wait, but for what settles.
func waitingOf(live []task.Task, types ...task.Type) (waiting []task.Task) {
	for _, t := range live {
		if t.Status.Waiting() && !settles(t) && slices.Contains(types, t.Type) {
			waiting = append(waiting, t)
		}
	}
	return waiting
}
