package workspace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/aicli/aicli-web/internal/task"
)

// NewID makes an id: its kind's prefix and 26 characters that sort by time.
func NewID(prefix string) string { return prefix + strings.ToLower(ulid.Make().String()) }

func idAt(prefix string, millis uint64) string {
	return prefix + strings.ToLower(ulid.MustNew(millis, ulid.DefaultEntropy()).String())
}

// The prefixes of ids, by which node finds what one stands for.
const (
	WorkspacePrefix = "ws_"
	TaskPrefix      = "task_"
	BatchPrefix     = "batch_"
)

// maxAttempts is how often a task is tried: with backoff from a second up, the fifth try is about half a minute after the first.
const maxAttempts = 5

// deleteAgain is the wait before a deletion that failed for good is begun anew, by itself: it is never given up.
const deleteAgain = time.Minute

// Draft is one workspace under change, held locked by the store, with its live tasks oldest first. A function given to
// Store.Update changes it; the store then seals it, writes what differs and commits. The status is computed, so nobody can
// set it.
type Draft struct {
	Workspace Workspace
	Live      []task.Task
	Ended     []task.Task // live when the draft was made, terminal now
	Removed   bool        // the row goes away
	Once      Once        // the key to commit with the change
	Item      *BatchItem  // the item of a batch that it is made for, as it is from now on

	actor    string   // who or what causes the change, for its event; empty: nobody in particular
	requeued []string // ids of live tasks that go to the end of their owner's line
	now      time.Time
	before   Workspace
	tasks    map[string]task.Task // as they were
}

// NewDraft begins a change. The store calls it with what it has locked.
func NewDraft(w Workspace, live []task.Task, now time.Time) *Draft {
	d := &Draft{Workspace: w, Live: append([]task.Task(nil), live...), now: now, before: w, tasks: make(map[string]task.Task, len(live))}
	for _, t := range live {
		d.tasks[t.ID] = t
	}
	return d
}

// CausedBy notes who or what causes the change. The first cause is told.
func (d *Draft) CausedBy(actor string) { d.actor = cmp.Or(d.actor, actor) }

// Now is the instant of the change.
func (d *Draft) Now() time.Time { return d.now }

// Enqueue adds a task. What failed before is over: something new is asked for.
func (d *Draft) Enqueue(typ task.Type, by string, params task.Params) task.Task {
	id := d.nextID()
	t := task.Task{
		ID: id, Lease: task.Lease{TaskID: id, WorkspaceID: d.Workspace.ID}, Type: typ, Status: task.Queued, WorkspaceID: d.Workspace.ID, OwnerID: d.Workspace.OwnerID,
		RequestedBy: by, MaxAttempts: maxAttempts, Params: params, CreatedAt: d.now, RunAt: d.now,
	}
	d.Workspace.Failure = nil
	d.Live = append(d.Live, t)
	d.CausedBy(by)
	return t
}

// nextID is the id of a new task, which is greater than those before it: they are run in the order of their ids, whatever the clocks of
// the servers that made them say.
func (d *Draft) nextID() string {
	at := ulid.Timestamp(d.now)
	if n := len(d.Live); n > 0 {
		if last, err := ulid.Parse(strings.TrimPrefix(d.Live[n-1].ID, TaskPrefix)); err == nil {
			at = max(at, last.Time())
			if id := idAt(TaskPrefix, at); id > d.Live[n-1].ID {
				return id
			}
			at++
		}
	}
	return idAt(TaskPrefix, at)
}

// Supersede ends a live task that has become pointless. One that runs is told to stop, and ends by its own outcome: two
// tasks never work on one workspace at once.
func (d *Draft) Supersede(t task.Task) {
	for i := range d.Live {
		if d.Live[i].ID == t.ID && d.Live[i].Status.Waiting() {
			d.end(i, task.Outcome{Status: task.Superseded})
			return
		}
	}
}

// Finish applies the outcome of a run. The caller has checked the lease.
func (d *Draft) Finish(taskID string, o task.Outcome) {
	for i := range d.Live {
		if d.Live[i].ID == taskID {
			d.CausedBy(ActorOf(d.Live[i]))
			d.finish(i, o)
			return
		}
	}
}

// lostMost is how often the lease of one task may end while it runs. What takes the server down with it each time must not do so for ever.
const lostMost = 20

// GiveBack gives a task back whose lease has ended. The try that was cut does not count.
func (d *Draft) GiveBack(taskID string) {
	t := find(d.Live, func(t task.Task) bool { return t.ID == taskID })
	if t == nil {
		return
	}
	d.CausedBy(ActorReconciler)
	o := task.Outcome{Status: task.Queued, Unburned: true}
	if t.Params.Lost++; t.Params.Lost >= lostMost {
		o = task.Outcome{Status: task.Failed, Failure: &task.Failure{
			Code: string(Internal), Retryable: true,
			Message: fmt.Sprintf("The server stopped or was cut off %d times while it did this. Tell its operator, then ask for it again.", t.Params.Lost),
		}}
	}
	d.Finish(taskID, o)
}

// Doubt has the workspace looked at, unless that is about to be done.
func (d *Draft) Doubt() {
	if d.Workspace.DesiredState != WantDeleted && find(d.Live, func(t task.Task) bool { return t.Status.Waiting() && t.Type == task.Sync }) == nil {
		d.Enqueue(task.Sync, "", task.Params{Grace: defaultGrace})
	}
}

func (d *Draft) finish(i int, o task.Outcome) {
	t := &d.Live[i]
	t.Lease.Holder, t.Step, t.Progress = "", "", nil
	if o.Unburned {
		t.Attempt--
	}
	if t.Cancel && (o.Status == task.Failed || o.Status == task.Succeeded && starts(*t)) { // it ended before it was told
		o = task.Outcome{Status: task.Cancelled}
	}
	if o.Status.Live() {
		t.Status, t.RunAt, t.Failure = o.Status, d.now.Add(o.After), o.Failure
		if o.Failure != nil { // whether the container was told to end is not known
			t.StopBy = nil
		}
		switch {
		case t.Cancel:
			o = task.Outcome{Status: task.Cancelled}
		case d.pointless(*t):
			o = task.Outcome{Status: task.Superseded}
		default:
			if o.Status == task.Retrying || o.After > 0 {
				d.requeued = append(d.requeued, t.ID)
			}
			return
		}
	}
	typ, cancelled := t.Type, *t
	ended := d.end(i, o)
	switch {
	case o.Status == task.Succeeded && typ == task.Delete:
		d.Removed = true
		for len(d.Live) > 0 { // no task outlives its workspace
			d.end(0, task.Outcome{Status: task.Superseded})
		}
	case o.Status == task.Succeeded:
		d.Workspace.Failure, d.Workspace.Recovery.Failed = nil, ""
	case o.Status == task.Cancelled:
		d.settle(cancelled)
	case o.Status == task.Failed && cancelled.Params.Recovery: // the next try follows, or recovery gives up
		d.Workspace.Recovery.Failed = o.Failure.Message
	case o.Status == task.Failed && typ == task.Delete:
		d.Enqueue(task.Delete, "", task.Params{})
		d.Live[len(d.Live)-1].RunAt = d.now.Add(deleteAgain)
		d.Workspace.Failure = o.Failure
	case o.Status == task.Failed:
		d.Workspace.Failure = o.Failure
		if ended.Discarded() && d.Workspace.DesiredState != WantDeleted {
			d.Workspace.DesiredState = WantDeleted
			d.Enqueue(task.Delete, "", task.Params{})
		}
	}
}

// Request is who asks for what.
type Request struct {
	Verb    task.Type
	By      string
	Params  task.Params
	At      time.Time // what is asked of a workspace later counts
	BatchID string    // of the batch that it is part of; empty: none
}

// Ask applies a decision that is no refusal, and says which task does what was asked for; nil where none is needed. cut are the
// tasks that run and are pointless now.
func (d *Draft) Ask(decision Decision, r Request) (doing *task.Task, cut []string) {
	d.CausedBy(r.By)
	w := &d.Workspace
	if r.Verb != task.Sync && r.At.After(w.AskedAt) {
		w.AskedAt = r.At
	}
	was := d.was()
	if r.By != "" {
		d.beginAnew(r.Verb, decision.Reuse != nil && decision.Reuse.Params.Recovery)
	}
	for _, t := range slices.Backward(decision.Supersede) { // what it overtakes will not come back
		switch {
		case t.Params.Was != nil:
			was = t.Params.Was.Over(was)
		case t.Type == task.Create && t.Status == task.Running: // cut before it has made anything, so there is nothing to go back to
			was.Desired = string(WantStopped)
		}
	}
	for _, t := range decision.Supersede {
		d.Supersede(t)
		if t.Status == task.Running {
			cut = append(cut, t.ID)
		}
	}
	w.DesiredState = decision.Desired
	switch {
	case decision.Reuse != nil:
		d.Hurry(decision.Reuse.ID) // who asks again wants it tried now
		if t := find(d.Live, func(t task.Task) bool { return t.ID == decision.Reuse.ID }); t.BatchID != r.BatchID {
			t.BatchID = "" // it is no longer the batch's alone, whose end must not take it from the others
		}
		return decision.Reuse, cut
	case !decision.Enqueue:
		return nil, cut
	}
	if r.Verb == task.Sync {
		was.Desired = ""
	}
	r.Params.Was = &was
	if c := w.Observed.Container; c != nil {
		r.Params.Kept = r.Verb == task.Create
		if r.Verb == task.Restart {
			r.Params.Before = c.StartedAt
		}
	}
	d.Enqueue(r.Verb, r.By, r.Params)
	t := &d.Live[len(d.Live)-1]
	t.BatchID = r.BatchID
	return new(*t), cut
}

// Cancel ends a task that waits, and asks for the end of one that runs, which whoever runs it must be told. A container that is being
// stopped has its signal and goes on whatever is wanted now, so that a stop or restart that runs cannot be cancelled.
func (d *Draft) Cancel(taskID string) error {
	for i := range d.Live {
		t := &d.Live[i]
		if t.ID != taskID {
			continue
		}
		running := t.Status == task.Running
		switch {
		case t.Type == task.Delete:
			return conflict("A deletion cannot be cancelled. It ends when nothing is left.")
		case settles(*t):
			return conflict("The task takes back what another one had begun. It cannot be cancelled.")
		case running && (t.Type == task.Stop || t.Type == task.Restart):
			return conflict("The container has been told to end, which cannot be taken back. Start the workspace to have it run.")
		case running:
			t.Cancel = true
			return nil
		}
		cancelled := *t
		d.end(i, task.Outcome{Status: task.Cancelled})
		d.settle(cancelled)
		return nil
	}
	return conflict("The task has ended already.")
}

// settle makes it as if a cancelled task had not been asked for: what was before is so again, or will be when what was asked for since is
// cancelled too. What the task may have begun is taken back, by a SYNC, which looks first.
func (d *Draft) settle(t task.Task) {
	w := &d.Workspace
	if w.DesiredState == WantDeleted {
		return
	}
	began := t.StartedAt != nil && t.Type != task.Sync
	undo := t.Type == task.Create && !t.Params.Kept
	if since := find(d.Live, func(l task.Task) bool { return l.ID > t.ID && l.Type != task.Sync }); since != nil {
		if was := without(t); was != nil && since.Params.Was != nil {
			since.Params.Was = new(was.Over(*since.Params.Was))
		}
		if undo && began && find(d.Live, makes) == nil { // a start takes over what is half made
			d.Enqueue(task.Sync, "", task.Params{Undo: true})
		}
		return
	}
	if t.Params.Recovery { // until somebody asks for something
		w.Recovery.GaveUp, w.Recovery.Why = true, "Recovery was cancelled. "+w.Recovery.Why
		return
	}
	d.putBack(without(t))
	// What runs may have begun with what was wanted meanwhile, by t or by what t has overtaken: that the same is wanted again tells nothing.
	meanwhile := find(d.Live, func(l task.Task) bool { return l.Status == task.Running })
	if began || meanwhile != nil && t.Type != task.Sync {
		d.Enqueue(task.Sync, "", task.Params{Grace: defaultGrace, Undo: began && undo || !began && meanwhile.Params.Undo})
	}
}

// without is how a workspace is without a task: as before, but what that may have started is to be stopped.
func without(t task.Task) *task.Was {
	was := t.Params.Was
	ran := was != nil && was.Desired == string(WantRunning) && was.Failure == nil && !recoveryOf(*was).GaveUp
	if t.Type == task.Create || starts(t) && t.StartedAt != nil || t.Type == task.Restart && t.StartedAt != nil && !ran && !t.Params.Recovery {
		return &task.Was{Desired: string(WantStopped)}
	}
	return was
}

// was is how the workspace is, as far as a request changes that.
func (d *Draft) was() task.Was {
	was := task.Was{Desired: string(d.Workspace.DesiredState), Failure: d.Workspace.Failure}
	if r := d.Workspace.Recovery; r != (Recovery{}) {
		was.Recovery, _ = json.Marshal(r) // of numbers, strings and times
	}
	return was
}

// putBack has it be as it was, but for what was seen since.
func (d *Draft) putBack(was *task.Was) {
	if was == nil {
		return
	}
	w := &d.Workspace
	w.Failure, w.Recovery = was.Failure, recoveryOf(*was)
	if was.Desired != "" {
		w.DesiredState = DesiredState(was.Desired)
	}
	d.heed()
}

func recoveryOf(was task.Was) (r Recovery) {
	if was.Recovery != nil {
		_ = json.Unmarshal(was.Recovery, &r) // it is what was once marshalled
	}
	return r
}

// Hurry lets a task that waits for its next try run at once.
func (d *Draft) Hurry(taskID string) {
	for i := range d.Live {
		if t := &d.Live[i]; t.ID == taskID && t.Status.Waiting() && t.RunAt.After(d.now) {
			t.RunAt = d.now
		}
	}
}

// pointless reports whether a task that would go back to the queue has been overtaken meanwhile.
func (d *Draft) pointless(t task.Task) bool {
	switch t.Type {
	case task.Delete:
		return false
	case task.Start, task.Restart, task.Recreate:
		return d.Workspace.DesiredState != WantRunning
	case task.Stop:
		return d.Workspace.DesiredState != WantStopped
	default:
		return d.Workspace.DesiredState == WantDeleted
	}
}

func (d *Draft) end(i int, o task.Outcome) task.Task {
	t := d.Live[i]
	t.Status, t.Failure, t.FinishedAt = o.Status, o.Failure, &d.now
	t.Lease.Holder, t.Step, t.Progress = "", "", nil
	if o.Status == task.Succeeded {
		done := 100.0
		t.Progress = &done
	}
	d.Live = append(d.Live[:i:i], d.Live[i+1:]...)
	d.Ended = append(d.Ended, t)
	return t
}

// Requeued are the tasks that go to the end of their owner's line.
func (d *Draft) Requeued() (tasks []task.Task) {
	for _, t := range d.Live {
		if slices.Contains(d.requeued, t.ID) {
			tasks = append(tasks, t)
		}
	}
	return tasks
}

// Waiting reports whether a task waits.
func (d *Draft) Waiting() bool {
	return find(d.Live, func(t task.Task) bool { return t.Status.Waiting() }) != nil
}

// Seal computes what follows from the facts and says what is to be written: whether the workspace's row differs, and which
// tasks are new or differ. The store calls it once, after the change.
func (d *Draft) Seal() (changed bool, tasks []task.Task) {
	d.recover()
	for _, list := range [][]task.Task{d.Ended, d.Live} {
		for _, t := range list {
			if was, known := d.tasks[t.ID]; !known || !reflect.DeepEqual(was, t) {
				t.Revision++
				tasks = append(tasks, t)
			}
		}
	}
	w := &d.Workspace
	w.ActiveTaskCount = len(d.Live)
	if status := StatusOf(factsOf(*w, d.Live)); status != w.Status {
		w.Status, w.StatusSince = status, d.now
	}
	w.StatusReason = reasonOf(*w, d.Live, d.now)
	if changed = len(tasks) > 0 || d.Removed || !reflect.DeepEqual(d.before, *w); changed {
		w.Version++
		w.UpdatedAt = d.now
	}
	return changed, tasks
}

// Differs reports whether what the owner says about the workspace has changed, and whether what was observed has.
func (d *Draft) Differs() (spec, observed bool) {
	observed = !reflect.DeepEqual(d.before.Observed, d.Workspace.Observed) || d.before.LastExit != d.Workspace.LastExit
	return !reflect.DeepEqual(d.before.Spec, d.Workspace.Spec), observed
}

// Holds reports whether a lease is that of a live task.
func (d *Draft) Holds(lease task.Lease) bool {
	return find(d.Live, func(t task.Task) bool { return t.ID == lease.TaskID && t.Lease == lease }) != nil
}

// Change is what a commit changed: what is to be published, in full.
type Change struct {
	Workspace Workspace
	Tasks     []task.Task // new and changed ones
	Batches   []Batch     // changed ones
	Differs   bool        // the workspace or a task of it was written
	Waiting   bool        // a task of it waits: a claim may have passed it by while it was changed
	Removed   bool
}
