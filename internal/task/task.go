// Package task owns durable units of background work: their words (Task, Outcome, Failure) and the Pool that runs them with
// bounded concurrency, leases, timeouts and retries. It knows neither what a task does nor where it is stored: handlers and
// the Queue are given to it. It never decides which tasks there should be.
package task

import (
	"encoding/json"
	"time"
)

// Type says what a task does to its workspace.
type Type string

// The types of task.
const (
	Create   Type = "CREATE"
	Start    Type = "START"
	Stop     Type = "STOP"
	Restart  Type = "RESTART"
	Recreate Type = "RECREATE"
	Delete   Type = "DELETE"
	Sync     Type = "SYNC"
)

// Types lists them all.
func Types() []Type { return []Type{Create, Start, Stop, Restart, Recreate, Delete, Sync} }

// Lane is in which of the two lines of its owner a task waits: who has asked for a thousand containers must be able to stop one.
type Lane int

// The lanes.
const (
	Ending Lane = iota // STOP, DELETE, SYNC
	Making             // CREATE, START, RESTART, RECREATE
)

// Lane is the lane of a type.
func (t Type) Lane() Lane {
	switch t {
	case Create, Start, Restart, Recreate:
		return Making
	default:
		return Ending
	}
}

// Slots are the workers that tasks are claimed for.
type Slots struct {
	Free int
	Busy map[string]int // how many of the other workers are at tasks of an owner
}

// Status is how far a task is.
type Status string

// The statuses. The first three are live, the others terminal: a terminal status never changes.
const (
	Queued     Status = "QUEUED"
	Running    Status = "RUNNING"
	Retrying   Status = "RETRYING" // it failed, and runs again at RunAt
	Succeeded  Status = "SUCCEEDED"
	Failed     Status = "FAILED"
	Cancelled  Status = "CANCELLED"
	Superseded Status = "SUPERSEDED" // a later request made it pointless
)

// Live reports whether work is still to be done.
func (s Status) Live() bool { return s == Queued || s == Running || s == Retrying }

// Waiting reports whether it waits for a worker.
func (s Status) Waiting() bool { return s == Queued || s == Retrying }

// Task is one durable unit of work on one workspace.
type Task struct {
	ID          string
	Type        Type
	Status      Status
	WorkspaceID string
	OwnerID     string // whose workspace it is
	RequestedBy string // who asked for it: a user's id, or empty for the server itself
	BatchID     string // of the batch that it is part of; empty: none
	InBatch     bool   // a batch waits for it, its own or one that joined it
	Attempt     int    // tries begun; one that was given back does not count
	MaxAttempts int
	Step        string   // what it is doing now, for people
	Progress    *float64 // 0 to 100, nil where it cannot be known
	Failure     *Failure // of the last try
	Params      Params
	Cancel      bool // somebody wants it cancelled, and whoever runs it has yet to see that
	CreatedAt   time.Time
	RunAt       time.Time // not before
	StartedAt   *time.Time
	FinishedAt  *time.Time
	StopBy      *time.Time // until when a container that it stops may end by itself; nil: that has not begun
	Revision    int64      // grows with each write, so that the newer of two copies can be told
	Place       int        // in the queue, from 1, in what is told to who watches it; it is not kept
	Lease       Lease      // of the worker that runs it
}

// StepPull is the step in which a task only waits for an image.
const StepPull = "pull image"

// Pulls reports whether it only waits for an image.
func (t Task) Pulls() bool { return t.Status == Running && t.Step == StepPull }

// Discarded reports whether it is a CREATE whose failure was waited for, so that the workspace is deleted again.
func (t Task) Discarded() bool {
	return t.Status == Failed && t.FinishedAt != nil && t.FinishedAt.Before(t.Params.DiscardUntil)
}

// Params are what a task type needs to know besides its workspace.
type Params struct {
	// Grace is how long a container has to end by itself before it is killed.
	Grace time.Duration `json:"grace,omitempty"`
	// Before is when the run that a RESTART is to end began, by the engine's clock; nil when there was none. Another run than that
	// is one that began since.
	Before *time.Time `json:"before,omitempty"`
	// DiscardUntil is the end of the wait of the client that asked for a CREATE: failing for good before then, the workspace is
	// deleted again, so that an answer that says it failed leaves nothing behind. Zero: never.
	DiscardUntil time.Time `json:"discardUntil,omitzero"`
	// Was is how things were before the task was asked for, which a cancellation puts back; nil where that is not known.
	Was *Was `json:"asBefore,omitempty"`
	// Kept says that a CREATE found a container when it was asked for, which is not its own to take back.
	Kept bool `json:"kept,omitempty"`
	// Undo makes a SYNC remove the container and the network: what a creation that was cancelled had half made.
	Undo bool `json:"undo,omitempty"`
	// Recovery says that the server asked for it, because the container does not run as it should.
	Recovery bool `json:"recovery,omitempty"`
	// Clear makes a SYNC remove the container and the network: what recovery that gave up falls back to.
	Clear bool `json:"clear,omitempty"`
	// Halt makes a SYNC stop the container if it is unhealthy still: what recovery that gave up falls back to when it is kept.
	Halt bool `json:"halt,omitempty"`
	// Lost is how often its lease has ended while it ran.
	Lost int `json:"lost,omitempty"`
}

// FallsBack says that a SYNC does what recovery falls back to when it has given up.
func (p Params) FallsBack() bool { return p.Clear || p.Halt }

// Was is how a workspace was, in the words of whoever asked for the task.
type Was struct {
	Desired  string          `json:"desired,omitempty"` // empty: the task has not changed it
	Failure  *Failure        `json:"failure,omitempty"`
	Recovery json.RawMessage `json:"recovery,omitempty"`
}

// Over is how it was before, of two that came one after the other.
func (before Was) Over(after Was) Was {
	if before.Desired == "" {
		before.Desired = after.Desired
	}
	return before
}

// Lease is the right to run a task and to write its outcome.
type Lease struct {
	TaskID      string
	WorkspaceID string // of the task, which whoever writes the outcome has to lock
	Holder      string // the pool that has it
	Token       int64  // of this claim: a holder that lost the lease and came back has an old one
}

// Failure is why a try failed.
type Failure struct {
	Code      string   // one of the API's error codes
	Message   string   // for people: no stack, no path of the host
	Field     []string `json:",omitempty"` // path of the input field at fault, from "input" on; nil when none is
	Retryable bool     // whether asking again may help
}

// Outcome is how a run of a task ended.
type Outcome struct {
	// Status is Succeeded, Failed, Cancelled, Superseded, Retrying, or Queued for a task that is given back.
	Status  Status
	Failure *Failure
	After   time.Duration // of Retrying and Queued: how soon it may run again
	// Unburned says that the try does not count: it was cut by a shutdown, or the engine could not be asked.
	Unburned bool
}
