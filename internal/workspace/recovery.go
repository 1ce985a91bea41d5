package workspace

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// RecoveryPolicy is what the owner wants to happen when the container does not run although it should.
type RecoveryPolicy struct {
	MaxRetries int            `json:"maxRetries"`
	Backoff    time.Duration  `json:"backoff"` // before the first try; it doubles with each
	Fallback   FallbackAction `json:"fallback"`
	// RestartWhenUnhealthy has what runs and is unhealthy recovered from like an end.
	RestartWhenUnhealthy bool `json:"restartWhenUnhealthy,omitempty"`
}

// FallbackAction is what is done when recovery gives up. The workspace is FAILED then.
type FallbackAction string

// The fallback actions.
const (
	FallbackStop   FallbackAction = "STOP"   // the container stays, stopped, for a look
	FallbackRemove FallbackAction = "REMOVE" // container and network are removed
	FallbackIgnore FallbackAction = "IGNORE" // all is left as it is
)

const (
	// backoffMost caps the wait between two tries.
	backoffMost = 5 * time.Minute
	// ranWell is how long a container has run, or been healthy, when the tries before are forgiven.
	ranWell = 2 * time.Minute
)

// DefaultRecovery is the policy of a workspace that names none.
var DefaultRecovery = RecoveryPolicy{MaxRetries: 5, Backoff: time.Second, Fallback: FallbackStop}

// Recovery is how far recovery is.
type Recovery struct {
	Tries    int       `json:"tries,omitempty"`    // since it last ran well
	Restarts int       `json:"restarts,omitempty"` // since it was last started by hand
	At       time.Time `json:"at,omitzero"`        // of the last try, to come or past
	Why      string    `json:"why,omitempty"`      // what was seen before the last try
	Failed   string    `json:"failed,omitempty"`   // why the last try failed
	GaveUp   bool      `json:"gaveUp,omitempty"`
}

// Exit is how a container ended.
type Exit struct {
	Code      int           `json:"code"`
	OOMKilled bool          `json:"oomKilled,omitempty"`
	At        time.Time     `json:"at"`
	Ran       time.Duration `json:"ran,omitempty"`
	LogTail   []string      `json:"logTail,omitempty"` // the last lines of output, at most TailLines
}

// TailLines is how many lines of its output an Exit has at most.
const TailLines = 20

// signals that end a process, by number. A shell gives 128 and the number for its exit code, and so do engines.
var signals = map[int]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE",
	14: "SIGALRM", 15: "SIGTERM",
}

// Signal is the name of the signal that ended it; empty when none is known to have.
func (e Exit) Signal() string { return signals[e.Code-128] }

func (e Exit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "exited with code %d", e.Code)
	if e.Ran > 0 {
		fmt.Fprintf(&b, " after %s", e.Ran.Round(time.Second/10))
	}
	switch signal := e.Signal(); {
	case e.OOMKilled:
		b.WriteString(": killed, out of memory")
	case signal == "SIGKILL":
		b.WriteString(": killed")
	case signal != "":
		b.WriteString(": ended by " + signal)
	}
	return b.String()
}

// Observe takes in what the engine was seen to have, and notes how the container ended, if it did since.
func (d *Draft) Observe(seen Observed) error {
	d.CausedBy(ActorEngine)
	w := &d.Workspace
	if seen.Serial != w.Observed.Serial {
		return ErrStale
	}
	if c, before := seen.Container, w.Observed.Container; c != nil && c.Health != nil {
		if before == nil || before.ID != c.ID || !reflect.DeepEqual(before.StartedAt, c.StartedAt) {
			before = &Container{} // of another run
		}
		c.Health.after(before.Health)
	}
	tail := seen.Tail
	if seen.Tail = nil; !reflect.DeepEqual(seen, w.Observed) {
		seen.Serial++
	}
	if w.DesiredState == WantRunning && w.Observed.State() == ContainerRunning {
		w.Failure = nil // it ran in spite of what failed, which is no reason to leave it alone when it ends
	}
	if seen.Foreign {
		w.Failure = ErrForeignMount.failure()
		seen.Foreign = false
	}
	w.Observed = seen
	d.heed()
	c := seen.Container
	if c == nil || c.FinishedAt == nil || (c.State != ContainerExited && c.State != ContainerDead) || w.LastExit != nil && !c.FinishedAt.After(w.LastExit.At) {
		return nil
	}
	w.LastExit = new(c.exit())
	w.LastExit.LogTail = tail
	if why := CannotRun(w.Command, *w.LastExit); why != nil {
		w.Failure = why.failure()
	}
	return nil
}

// heed has what was seen count more than what failed and what was given up before.
func (d *Draft) heed() {
	w := &d.Workspace
	if w.DesiredState != WantRunning || w.Observed.State() != ContainerRunning {
		return
	}
	w.Failure = nil
	if verb, _ := ailment(*w); verb == "" {
		w.Recovery.GaveUp = false // somebody else has seen to it
	}
}

// exit is how a container ended that has.
func (c *Container) exit() Exit {
	e := Exit{Code: c.ExitCode, OOMKilled: c.OOMKilled, At: *c.FinishedAt}
	if c.StartedAt != nil {
		e.Ran = max(0, c.FinishedAt.Sub(*c.StartedAt))
	}
	return e
}

// End takes in that the container that was seen to run has ended. An engine tells of that before it has cleared up, and cannot be asked
// how it ended until then: who looks then finds out, and recovery begins. It reports whether that was news.
func (d *Draft) End(e End) bool {
	w := &d.Workspace
	c := w.Observed.Container
	if c == nil || c.ID != e.ContainerID || c.State != ContainerRunning && c.State != ContainerPaused || c.StartedAt == nil || !e.At.After(*c.StartedAt) {
		return false // it is known, or that it ran is not, or what was seen since counts
	}
	ended := *c
	ended.Health = nil
	ended.State, ended.FinishedAt, ended.ExitCode, ended.Ending = ContainerExited, &e.At, e.Code, true
	w.Observed.Container = &ended
	w.Observed.Serial++
	if w.DesiredState == WantRunning {
		w.Failure = nil // as Observe does
	}
	return true
}

// ailment is the table of what recovery does about what was seen of w, while it should run. No verb: nothing is wrong, or the engine is at it.
//
//	container                    network          verb
//	none, dead                   any              RECREATE
//	created, exited              any              RESTART
//	exited, and ending           any              none
//	paused                       any              SYNC, which lets it go on
//	running                      gone, or off it  SYNC, which makes and connects it
//	running, unhealthy           on it            RESTART, where the policy says so
//	running                      on it            none
//	restarting, being removed    any              none
func ailment(w Workspace) (verb task.Type, why string) {
	o := w.Observed
	switch o.State() {
	case NoContainer:
		return task.Recreate, "The container is gone: something outside this server removed it."
	case ContainerDead:
		return task.Recreate, "The container is dead: the engine could not remove all of it."
	case ContainerCreated:
		return task.Restart, "The container was never started."
	case ContainerExited:
		if !o.Ending() {
			return task.Restart, "The container exited."
		}
	case ContainerPaused:
		return task.Sync, "The container was paused outside this server."
	case ContainerRunning:
		switch {
		case o.Network == nil:
			return task.Sync, "The network is gone: something outside this server removed it."
		case o.Detached:
			return task.Sync, "The container was taken off its network outside this server."
		case o.Unhealthy() && w.Policy.RestartWhenUnhealthy:
			return task.Restart, whyUnhealthy(o)
		}
	default: // the engine is at it
	}
	return "", ""
}

// recover sees to it that a task is there while the container does not run as it should, or that recovery has given up. It is part of
// each change, so that no change leaves a workspace that nobody cares for.
func (d *Draft) recover() {
	w := &d.Workspace
	if w.DesiredState != WantRunning || d.Removed || len(d.Live) > 0 || w.Failure != nil || w.Recovery.GaveUp {
		return
	}
	verb, why := ailment(*w)
	if verb == "" {
		return
	}
	r := &w.Recovery
	exit := w.LastExit
	if w.Observed.State() != ContainerExited {
		exit = nil
	}
	if exit != nil {
		why = "The container " + exit.String() + "."
	}
	if r.Failed == "" && wellSince(*w, verb, exit, d.now) { // after a try that failed, what was seen is of before it
		r.Tries = 0
	}
	if r.Tries >= w.Policy.MaxRetries {
		d.giveUp(why)
		return
	}
	r.Tries++
	r.Why = why
	wait := time.Duration(0)
	if verb != task.Sync || r.Tries > 1 { // the first repair of what runs harms nobody
		wait = task.Backoff{First: w.Policy.Backoff, Most: max(backoffMost, w.Policy.Backoff)}.After(r.Tries)
	}
	if verb != task.Sync {
		r.Restarts++
	}
	r.At = d.now.Add(wait)
	params := task.Params{Recovery: true, Grace: defaultGrace}
	if w.Observed.State() == ContainerRunning && verb == task.Restart {
		params.Before = w.Observed.Container.StartedAt
	}
	d.Enqueue(verb, "", params)
	t := &d.Live[len(d.Live)-1]
	t.RunAt, t.MaxAttempts = r.At, 1 // each is one try
}

// wellSince reports whether w has run well since the last try.
func wellSince(w Workspace, verb task.Type, exit *Exit, now time.Time) bool {
	switch {
	case exit != nil:
		return exit.Ran >= ranWell
	case verb == task.Restart && w.Observed.Unhealthy():
		return w.Observed.Container.Health.Before >= ranWell
	default:
		return now.Sub(w.Recovery.At) >= ranWell
	}
}

// giveUp ends recovery, and takes the fallback action. IGNORE has nothing to do, and neither has STOP about what does not run, or runs without its
// network and works.
func (d *Draft) giveUp(why string) {
	w := &d.Workspace
	w.Recovery.GaveUp, w.Recovery.Why = true, why
	switch {
	case w.Policy.Fallback == FallbackRemove:
		d.Enqueue(task.Sync, "", task.Params{Clear: true})
	case w.stopsUnhealthy():
		d.Enqueue(task.Sync, "", task.Params{Halt: true, Grace: defaultGrace})
	}
}

// stopsUnhealthy reports whether the fallback is to stop a container that runs and is unhealthy.
func (w Workspace) stopsUnhealthy() bool {
	return w.Policy.Fallback == FallbackStop && w.Policy.RestartWhenUnhealthy && w.Observed.Unhealthy()
}

// beginAnew forgets what recovery has tried, because somebody asked for something. joined: its try that waits is what does that.
func (d *Draft) beginAnew(verb task.Type, joined bool) {
	r := &d.Workspace.Recovery
	before := *r
	*r = Recovery{}
	if verb == task.Sync {
		r.Restarts = before.Restarts
	}
	if joined {
		r.Tries, r.Why = 1, before.Why
	}
}

func recovers(t task.Task) bool { return t.Params.Recovery }

// whyRecovering tells of the try that is under way or to come.
func whyRecovering(w Workspace, live []task.Task, now time.Time) string {
	const clock = "15:04:05 MST"
	t := find(live, recovers)
	switch {
	case t != nil:
	case w.Observed.Ending():
		return "The container " + w.Observed.Container.exit().String() + ". What is done about it follows."
	default:
		return "The engine is starting or removing the container."
	}
	at := "is under way"
	if t.Status.Waiting() && t.RunAt.After(now) {
		at = "is due at " + t.RunAt.UTC().Format(clock)
	}
	text := fmt.Sprintf("%s Try %d of %d %s.", w.Recovery.Why, w.Recovery.Tries, w.Policy.MaxRetries, at)
	if t.Failure != nil {
		text += " " + t.Failure.Message
	}
	return text + w.Recovery.lastFailure()
}

func (r Recovery) lastFailure() string {
	if r.Failed == "" {
		return ""
	}
	return " The last try failed: " + r.Failed
}

// whyGivenUp tells what was done after the last try.
func whyGivenUp(w Workspace) string {
	done := map[FallbackAction]string{
		FallbackStop: "the container is kept for a look", FallbackRemove: "its container and network are removed", FallbackIgnore: "all is left as it is",
	}[w.Policy.Fallback]
	if w.Status == Active && w.Policy.Fallback != FallbackRemove && !w.stopsUnhealthy() {
		done = "the container runs on as it is"
	}
	return fmt.Sprintf("%s Recovery gave up after %s: %s. Start, sync or delete the workspace.%s", w.Recovery.Why, count(w.Recovery.Tries, "try", "tries"), done, w.Recovery.lastFailure())
}
