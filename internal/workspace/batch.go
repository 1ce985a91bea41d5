package workspace

import (
	"errors"
	"fmt"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// BatchStatus is how far a batch is.
type BatchStatus string

// The statuses. All but the first are terminal.
const (
	BatchRunning             BatchStatus = "RUNNING"
	BatchSucceeded           BatchStatus = "SUCCEEDED"
	BatchCompletedWithErrors BatchStatus = "COMPLETED_WITH_ERRORS"
	BatchFailed              BatchStatus = "FAILED"
	BatchCancelled           BatchStatus = "CANCELLED"
)

// ItemStatus is how far one item of a batch is.
type ItemStatus string

// The statuses. The first two are live, and which of them it is follows from the item's task.
const (
	ItemQueued    ItemStatus = "QUEUED"
	ItemRunning   ItemStatus = "RUNNING"
	ItemSucceeded ItemStatus = "SUCCEEDED"
	ItemFailed    ItemStatus = "FAILED"
	ItemSkipped   ItemStatus = "SKIPPED"
	ItemCancelled ItemStatus = "CANCELLED"
)

// Batch is one operation on many workspaces, each of which is an item. Its counts are written together with its items.
type Batch struct {
	ID          string
	OwnerID     string // who asked for it
	Operation   task.Type
	Status      BatchStatus
	DryRun      bool // nothing is done, and the items say what would be
	Concurrency int  // how many items are under way at most
	StopOnError bool
	Cancel      bool // somebody wants it cancelled

	Total, Succeeded, Failed, Skipped, Cancelled int // items; what is missing from Total is live

	CreatedAt  time.Time
	FinishedAt *time.Time
	Revision   int64 // grows with each write
	Begun      int   // grows as its items begin, in what is told to who watches it; it is not kept
}

// BatchItem is what becomes of one workspace of a batch.
type BatchItem struct {
	BatchID     string
	Position    int // in the order asked for, from 0
	WorkspaceID string
	Status      ItemStatus
	TaskID      string        // empty: its turn has not come, or no task was needed
	Failure     *task.Failure // why it did not succeed
}

// ID is the same for the same item for ever: a workspace is in a batch once.
func (i BatchItem) ID() string { return i.BatchID + "." + i.WorkspaceID }

// ErrNotNow is what the store says of an item that is not to begin: it has ended, or as many are under way as may be.
var ErrNotNow = errors.New("the item of the batch does not begin now")

// Halted reports whether what has not begun is not to begin any more.
func (b *Batch) Halted() bool { return b.Cancel || b.StopOnError && b.Failed > 0 }

// WhyHalted says what an item was cancelled by that had not begun.
func (b *Batch) WhyHalted() *task.Failure {
	f := &task.Failure{Code: string(Cancelled), Message: "The batch was cancelled before this item had begun.", Retryable: true}
	if !b.Cancel {
		f.Message = "Another item of the batch failed before this one had begun."
	}
	return f
}

// BatchBounds are how many batches an owner may have: that run, and that were started within a day.
type BatchBounds struct{ Running, Daily int }

// Admit says whether an owner who has that many may have b too. What has ended already does not run.
func (most BatchBounds) Admit(has BatchBounds, b Batch) error {
	switch {
	case has.Running >= most.Running && b.Status == BatchRunning:
		return &Error{Code: QuotaExceeded, Retryable: true,
			Message: fmt.Sprintf("%d of your batches are running, which is the most. Wait for one to end, or cancel one.", has.Running)}
	case has.Daily >= most.Daily:
		return &Error{Code: QuotaExceeded, Retryable: true,
			Message: fmt.Sprintf("You have started %d batches within 24 hours, dry runs included, which is the most. Ask for more with each, or wait.", has.Daily)}
	}
	return nil
}

// Count takes in that n live items have ended with a status.
func (b *Batch) Count(status ItemStatus, n int) {
	switch status {
	case ItemSucceeded:
		b.Succeeded += n
	case ItemFailed:
		b.Failed += n
	case ItemSkipped:
		b.Skipped += n
	case ItemCancelled:
		b.Cancelled += n
	case ItemQueued, ItemRunning: // they live
	}
}

// Seal computes what follows from the counts. It is called before each write.
func (b *Batch) Seal(now time.Time) {
	b.Revision++
	if b.Status = b.status(); b.Status != BatchRunning && b.FinishedAt == nil {
		b.FinishedAt = &now
	}
}

func (b *Batch) status() BatchStatus {
	good := b.Succeeded + b.Skipped
	switch {
	case good+b.Failed+b.Cancelled < b.Total:
		return BatchRunning
	case b.Failed+b.Cancelled == 0:
		return BatchSucceeded
	case b.Cancelled > 0 && (b.Cancel || good+b.Failed == 0):
		return BatchCancelled
	case good == 0:
		return BatchFailed
	default:
		return BatchCompletedWithErrors
	}
}

// outlook says what an item of a batch comes to on a workspace as it is now: QUEUED when a task is to do it, by the decision.
func (b *Batch) outlook(w Workspace, live []task.Task) (Decision, ItemStatus, *task.Failure) {
	decision := Decide(b.Operation, w, live)
	overruled := !b.DryRun && b.Operation != task.Sync && w.AskedAt.After(b.CreatedAt)
	switch {
	case decision.Refusal != nil && !overruled:
		return decision, ItemFailed, failureOf(decision.Refusal)
	case decision.Reuse != nil:
		return decision, ItemQueued, nil
	case decision.Refusal == nil && decision.Reuse == nil && !decision.Enqueue:
		return decision, ItemSkipped, nil
	case overruled:
		return decision, ItemCancelled, &task.Failure{Code: string(Conflict), Retryable: true,
			Message: "Something else was asked of the workspace after the batch, and counts. Run the batch again to overrule that."}
	default:
		return decision, ItemQueued, nil
	}
}

// BeginItem asks for what an item of a batch is to do. It returns the tasks that run and are pointless now.
func (d *Draft) BeginItem(b Batch, item BatchItem) (cut []string) {
	decision, status, failure := b.outlook(d.Workspace, d.Live)
	item.Status, item.Failure = status, failure
	if status == ItemQueued {
		var doing *task.Task
		doing, cut = d.Ask(decision, Request{
			Verb: b.Operation, By: b.OwnerID, Params: task.Params{Grace: defaultGrace}, At: b.CreatedAt, BatchID: b.ID,
		})
		item.TaskID = doing.ID
		find(d.Live, func(t task.Task) bool { return t.ID == doing.ID }).InBatch = true
	}
	if status == ItemSkipped { // it counts all the same as what was asked for last
		d.Ask(decision, Request{Verb: b.Operation, By: b.OwnerID, At: b.CreatedAt})
	}
	d.Item = &item
	return cut
}

// ItemOf says how an item ends whose task has ended; QUEUED when it has not.
func ItemOf(t task.Task) (ItemStatus, *task.Failure) {
	switch t.Status {
	case task.Succeeded:
		return ItemSucceeded, nil
	case task.Failed:
		return ItemFailed, t.Failure
	case task.Cancelled:
		return ItemCancelled, &task.Failure{Code: string(Cancelled), Message: "The task was cancelled.", Retryable: true}
	case task.Superseded:
		return ItemCancelled, &task.Failure{Code: string(Conflict), Message: "A later request made the task pointless.", Retryable: true}
	default:
		return ItemQueued, nil
	}
}

// failureOf is an error as it is kept.
func failureOf(e *Error) *task.Failure {
	return &task.Failure{Code: string(e.Code), Message: e.Message, Retryable: e.Retryable}
}
