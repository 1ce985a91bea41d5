package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// Event is one entry of the event log: what one commit did to a workspace, to a task of it, or to a batch.
type Event struct {
	Seq         int64     // its position: later commits have higher ones. The store sets it,
	At          time.Time // and this.
	Type        EventType
	OwnerID     string
	WorkspaceID string     // empty for a batch
	Workspace   *Workspace // as it was right after; nil for a batch
	Previous    *Traits    // what a filter can ask of the workspace, as it was right before, where that was otherwise or there was none
	Task        *task.Task // the task that changed, as it was right after; nil where none did
	Batch       *Batch     // the same of a batch
	Actor       string     // who or what caused it: a user's id, or one of the actors below
	Message     string     // for people
	Anew        bool       // in a stream alone: who goes on behind it gets the snapshot anew
}

// Place is where a stream goes on behind the event.
func (e Event) Place() Place { return Place{Seq: e.Seq, Anew: e.Anew} }

// EventType says what an event is about.
type EventType string

// The types. Where several apply, the first in this order does.
const (
	EventDeleted          EventType = "DELETED"
	EventCreated          EventType = "CREATED"
	EventStatusChanged    EventType = "STATUS_CHANGED"
	EventRecovery         EventType = "RECOVERY"
	EventContainerChanged EventType = "CONTAINER_CHANGED"
	EventUpdated          EventType = "UPDATED"
	EventTaskChanged      EventType = "TASK_CHANGED"
	EventBatchChanged     EventType = "BATCH_CHANGED" // in the log alone: no stream of workspaces has it
)

// Types of what a stream sends that is not in the log.
const (
	EventSnapshot EventType = "SNAPSHOT" // the workspace as it is where the stream begins
	EventGap      EventType = "GAP"      // the log no longer has what came after the cursor that was given
)

// Actors that are no users.
const (
	ActorEngine     = "engine"     // something happened to the container
	ActorRecovery   = "recovery"   // it is brought back by itself
	ActorReconciler = "reconciler" // anything else that the server does by itself
)

// Deleted is the status of a workspace in the event of its end, and nowhere else.
const Deleted Status = "DELETED"

// Traits are what a filter can ask of a workspace that may change.
type Traits struct {
	Name   string  `json:"name"`
	Status Status  `json:"status"`
	Labels []Label `json:"labels,omitempty"`
}

func traitsOf(w Workspace) *Traits { return &Traits{Name: w.Name, Status: w.Status, Labels: w.Labels} }

// match reports whether a workspace with these traits is among those that the query selects, as Store.Workspaces would.
func (q Query) match(id, owner string, t Traits) bool {
	switch {
	case q.OwnerID != "" && q.OwnerID != owner,
		q.IDs != nil && !slices.Contains(q.IDs, id),
		q.Status != nil && !slices.Contains(q.Status, t.Status),
		q.NameContains != "" && !strings.Contains(Key(t.Name), Key(q.NameContains)):
		return false
	}
	for _, l := range q.Labels {
		if !slices.Contains(t.Labels, l) {
			return false
		}
	}
	return true
}

// Match reports whether an event belongs to a stream of what the query selects: its workspace is selected right after the event, or was right before it.
func (q Query) Match(e Event) bool {
	if e.Workspace == nil {
		return false
	}
	return q.match(e.WorkspaceID, e.OwnerID, *traitsOf(*e.Workspace)) || e.Previous != nil && q.match(e.WorkspaceID, e.OwnerID, *e.Previous)
}

// EventLog is the part of a store that keeps what was committed, in the order of the commits: a reader that has read up to a position never finds
// anything before it later.
type EventLog interface {
	// Events reads at most limit events behind a position, oldest first; of one owner where there is one. ErrPruned when some behind it are gone.
	Events(ctx context.Context, ownerID string, after int64, limit int) ([]Event, error)
	// WorkspaceEvents reads at most limit events of one workspace behind a position, as far as the log has them.
	WorkspaceEvents(ctx context.Context, workspaceID string, after int64, limit int) ([]Event, error)
	// LogEnd is the position of the newest event.
	LogEnd(ctx context.Context) (int64, error)
	// Snapshot reads all that a query without a window selects, by id, and the end of the log at that very moment.
	Snapshot(ctx context.Context, q Query) (list []Workspace, end int64, err error)
	// PruneEvents deletes at most limit events that are older than age, or than the newest keep, and says how many it deleted.
	PruneEvents(ctx context.Context, age time.Duration, keep, limit int) (int, error)
}

// Events says what a sealed draft did: one event for the workspace, with the first task that changed, and one for each further task.
func (d *Draft) Events(tasks []task.Task) []Event {
	w := d.Workspace
	if d.Removed {
		w.Status, w.StatusReason, w.StatusSince = Deleted, nil, d.now
	}
	first := Event{
		OwnerID: w.OwnerID, WorkspaceID: w.ID, Workspace: &w, Actor: cmp.Or(d.actor, ActorReconciler),
	}
	if d.before.Version > 0 {
		if t := traitsOf(d.before); t.Name != w.Name || t.Status != w.Status || !slices.Equal(t.Labels, w.Labels) {
			first.Previous = t
		}
	}
	if len(tasks) > 0 {
		first.Task = &tasks[0]
	}
	first.Type, first.Message = d.describe(w, first.Task)
	events := append(make([]Event, 0, max(1, len(tasks))), first)
	for _, t := range tasks[min(1, len(tasks)):] {
		events = append(events, TaskEvent(t, first.Actor))
	}
	return events
}

// describe finds the type of a workspace's event and says in a sentence what happened.
func (d *Draft) describe(w Workspace, t *task.Task) (EventType, string) {
	before := d.before
	specified, observed := d.Differs()
	switch {
	case d.Removed:
		return EventDeleted, "The workspace was deleted."
	case before.Version == 0:
		return EventCreated, "The workspace was created."
	case before.Status != w.Status:
		message := fmt.Sprintf("The workspace was %s and is %s.", before.Status, w.Status)
		if w.StatusReason != nil {
			message += " " + *w.StatusReason
		}
		return EventStatusChanged, message
	case before.Recovery != w.Recovery && w.Recovery != (Recovery{}):
		message := "Recovery goes on."
		if w.StatusReason != nil {
			message = *w.StatusReason
		}
		return EventRecovery, message
	case observed:
		return EventContainerChanged, describeContainer(before.Observed, w.Observed)
	case specified:
		return EventUpdated, "The workspace's settings were changed."
	case t != nil:
		return EventTaskChanged, describeTask(*t)
	default:
		return EventUpdated, "The workspace was changed."
	}
}

func describeContainer(before, now Observed) string {
	switch {
	case now.Container == nil && before.Container != nil:
		return "The container is gone."
	case now.Container == nil:
		return "The workspace's network was changed."
	case before.Container == nil:
		return fmt.Sprintf("There is a container, which is %s.", strings.ToLower(string(now.State())))
	case before.State() != now.State():
		return fmt.Sprintf("The container was %s and is %s.", strings.ToLower(string(before.State())), strings.ToLower(string(now.State())))
	default:
		return "Something of the container has changed."
	}
}

// TaskEvent is the event of a task that changed while its workspace did not. The store says which workspace that is.
func TaskEvent(t task.Task, actor string) Event {
	return Event{Type: EventTaskChanged, OwnerID: t.OwnerID, WorkspaceID: t.WorkspaceID, Task: &t, Actor: actor, Message: describeTask(t)}
}

// BatchEvent is the event of a batch.
func BatchEvent(b Batch) Event {
	return Event{Type: EventBatchChanged, OwnerID: b.OwnerID, Batch: &b}
}

func describeTask(t task.Task) string {
	name := "Task " + string(t.Type)
	switch {
	case t.Status == task.Running && t.Step != "":
		return name + " is running: " + t.Step + "."
	case t.Status == task.Retrying && t.Failure != nil:
		return fmt.Sprintf("%s failed and is tried again: %s", name, t.Failure.Message)
	case t.Status == task.Failed && t.Failure != nil:
		return fmt.Sprintf("%s failed: %s", name, t.Failure.Message)
	default:
		return name + " is " + strings.ToLower(string(t.Status)) + "."
	}
}

// ActorOf is who a task works for.
func ActorOf(t task.Task) string {
	switch {
	case t.RequestedBy != "":
		return t.RequestedBy
	case t.Params.Recovery:
		return ActorRecovery
	default:
		return ActorReconciler
	}
}

// ErrPruned is what a store says of a position behind which events are gone.
var ErrPruned = errors.New("the event log begins later")
