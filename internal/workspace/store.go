package workspace

import (
	"context"
	"net/netip"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// Store keeps workspaces and tasks. What does not exist is an *Error with NotFound; a name that is taken is one with
// Conflict; everything else is a fault. Each writing method is one transaction, and returns what it changed.
type Store interface {
	// Create inserts a workspace with what change adds to it, and reserves the lowest free subnet of pool for it.
	Create(ctx context.Context, w Workspace, pool netip.Prefix, change func(*Draft)) (Change, error)
	// A key that the draft has is committed with it, here and in Update; one that was used is ErrKeyUsed. So is the item of a batch,
	// where that may begin now: else it is ErrNotNow. The items whose task ends with the change end with it.
	//
	// Update locks a workspace and its live tasks, lets change alter the draft, and writes what differs. An error of change
	// rolls everything back. It is the only way in which a workspace changes.
	Update(ctx context.Context, id string, change func(*Draft) error) (Change, error)
	// MoveSubnet gives a workspace another subnet; the old one, and what of the pool overlaps what is taken, is not given to anybody
	// for the time of block.
	MoveSubnet(ctx context.Context, id string, pool netip.Prefix, taken []netip.Prefix, block time.Duration) (Change, error)

	// LostSubnets are at most limit, the lowest first, of those that are kept for workspaces that have no row, by the ids of these. None are, unless somebody
	// else changes the database.
	LostSubnets(ctx context.Context, limit int) (map[string]string, error)
	// ReleaseSubnet gives one of them back.
	ReleaseSubnet(ctx context.Context, id string) error

	// Enclosing gives the name of another workspace of the same owner whose project contains that of w, and does not equal it; empty when
	// there is none.
	Enclosing(ctx context.Context, w Workspace) (name string, err error)
	// SharesProject reports whether another workspace of the same owner, which is not being deleted, has the very project of w.
	SharesProject(ctx context.Context, w Workspace) (bool, error)

	Workspace(ctx context.Context, id string) (Workspace, error)
	// WorkspacesByID leaves out what does not exist.
	WorkspacesByID(ctx context.Context, ids []string) (map[string]Workspace, error)
	Workspaces(ctx context.Context, q Query) (Page[Workspace], error)
	Task(ctx context.Context, id string) (task.Task, error)
	TasksByID(ctx context.Context, ids []string) (map[string]task.Task, error)
	Tasks(ctx context.Context, q TaskQuery) (Page[task.Task], error)
	// WorkspaceIDs lists at most limit of those that a query without a window selects.
	WorkspaceIDs(ctx context.Context, q Query, limit int) ([]string, error)
	// LiveTasks are those of each of several workspaces, oldest first.
	LiveTasks(ctx context.Context, workspaceIDs []string) (map[string][]task.Task, error)
	// QueuePositions counts, for each waiting task, those that stand before it.
	QueuePositions(ctx context.Context, ids []string) (map[string]int, error)
	QueueDepth(ctx context.Context) (QueueDepth, error)

	// Once finds what a key was used for within KeysFor; NotFound when it was not.
	Once(ctx context.Context, caller, key string) (Once, error)
	// PruneKeys deletes at most limit keys that were used longer ago than age, and says how many it deleted.
	PruneKeys(ctx context.Context, age time.Duration, limit int) (int, error)
	// Prune deletes at most limit tasks that ended longer ago than age, or that are older than the newest keep that have ended, and says
	// how many it deleted.
	Prune(ctx context.Context, age time.Duration, keep, limit int) (int, error)

	// Claim, Extend and Report are as in task.Queue, and return the tasks as they are now.
	Claim(ctx context.Context, holder string, slots task.Slots, lease time.Duration) ([]task.Task, error)
	Extend(ctx context.Context, leases []task.Lease, lease time.Duration) (task.Verdict, error)
	Report(ctx context.Context, lease task.Lease, step string, progress *float64) (task.Task, error)
	// StopBy gives how long a container that a running task is to stop still has to end by itself, which the first call begins; ErrLeaseLost as in Finish.
	StopBy(ctx context.Context, lease task.Lease, grace time.Duration) (time.Duration, error)
	// Reclaim applies Draft.GiveBack to tasks whose lease has ended.
	Reclaim(ctx context.Context) ([]Change, error)
	// Finish applies Draft.Finish, if the task has that lease; ErrLeaseLost when it has not.
	Finish(ctx context.Context, lease task.Lease, o task.Outcome) (Change, error)

	Batches
	Notices
	EventLog
}

// Notices is the part of a store by which servers on one database tell each other that there is more in the event log. Nothing relies on them: a server that hears
// none reads the log now and then.
type Notices interface {
	// Shared reports whether there may be other servers.
	Shared() bool
	// Notify tells the others.
	Notify(ctx context.Context) error
	// Listen hears what they tell, until ctx ends, which is no error, or the connection is lost. ready is called once nothing that is
	// told from then on is missed.
	Listen(ctx context.Context, ready, heard func()) error
}

// Batches is the part of a store that keeps batches. What does not exist is an *Error with NotFound.
type Batches interface {
	// CreateBatch inserts a batch with all of its items, unless its owner has as many as bounds allows.
	CreateBatch(ctx context.Context, b Batch, items []BatchItem, bounds BatchBounds, key Once) (Batch, error)
	Batch(ctx context.Context, id string) (Batch, error)
	BatchesByID(ctx context.Context, ids []string) (map[string]Batch, error)
	// Batches lists those of an owner, newest first; of everybody where there is none.
	Batches(ctx context.Context, ownerID string, w Window) (Page[Batch], error)
	// BatchItems lists items as they were when the batch had a revision, as far as what ended since is shown as live.
	BatchItems(ctx context.Context, batchID string, revision int64, w Window) (Page[BatchItem], error)
	// ItemsBegun counts, for each of several batches, the items that have a task and once more those whose task has begun.
	ItemsBegun(ctx context.Context, batchIDs []string) (map[string]int, error)
	// UnsuccessfulItems lists the workspaces of the items that failed or were cancelled.
	UnsuccessfulItems(ctx context.Context, batchID string) ([]string, error)

	// RunningBatches lists those that have live items, oldest first.
	RunningBatches(ctx context.Context) ([]Batch, error)
	// NextItems lists items behind a position that have not begun, in order, no more than there is room for and no more than limit, and none of the
	// workspaces of some owners.
	NextItems(ctx context.Context, b Batch, after, limit int, without []string) ([]BatchItem, error)
	// EndItem ends an item that has not begun; ErrNotNow when it has.
	EndItem(ctx context.Context, item BatchItem) (Batch, error)
	// CancelBatch ends the items that have not begun. A batch that has ended is an *Error with Conflict.
	CancelBatch(ctx context.Context, id string) (Batch, error)
	// PruneBatches deletes at most limit batches that ended longer ago than age, and says how many it deleted.
	PruneBatches(ctx context.Context, age time.Duration, limit int) (int, error)
}

// QueueDepth is how full the queue is.
type QueueDepth struct {
	Queued       int
	OldestQueued *time.Time // creation of the oldest task that waits and is due
}

// Window is a page asked for, after the Relay specification. Exactly one of First and Last is positive.
type Window struct {
	First, Last   int
	After, Before string // cursors of edges; empty: none
	Uncounted     bool   // nobody wants to know how many there are
}

// Page is a window's answer, in the order asked for. Cursors[i] belongs to Items[i].
type Page[T any] struct {
	Items       []T
	Cursors     []string
	HasNext     bool
	HasPrevious bool
	Total       int // without the window; 0 where it was uncounted
}

// Query selects workspaces: all that is given must hold.
type Query struct {
	Window
	OwnerID      string // empty: everybody's
	IDs          []string
	Status       []Status
	NameContains string
	Labels       []Label
	OrderBy      OrderField
	Descending   bool
}

// OrderField is what workspaces are ordered by.
type OrderField string

// The order fields.
const (
	ByCreatedAt OrderField = "CREATED_AT"
	ByUpdatedAt OrderField = "UPDATED_AT"
	ByName      OrderField = "NAME"
)

// TaskQuery selects tasks, newest first: all that is given must hold.
type TaskQuery struct {
	Window
	OwnerID     string // empty: everybody's
	WorkspaceID string
	BatchID     string
	Types       []task.Type
	Status      []task.Status
}
