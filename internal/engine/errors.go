package engine

import (
	"context"
	"errors"
	"fmt"
)

// Kind tells failures of an engine apart by what can be done about them.
type Kind string

// The kinds of failure.
const (
	KindUnavailable  Kind = "unavailable"    // the engine cannot be asked: wait for it
	KindNotFound     Kind = "not found"      // no such image, container or network
	KindNotRunning   Kind = "not running"    // the container exists and does not run
	KindConflict     Kind = "conflict"       // a name is taken, something is in use, an operation is under way
	KindAddressInUse Kind = "address in use" // a subnet overlaps another one
	KindInvalid      Kind = "invalid"        // the engine refuses what was asked for; asking again is no use
	KindUnsupported  Kind = "unsupported"    // engines of this make have no such call
	KindDenied       Kind = "denied"         // a registry wants credentials that we do not have
	KindNetwork      Kind = "network"        // a registry cannot be reached
	KindStorage      Kind = "storage"        // no space, or the engine's disk fails
	KindTimeout      Kind = "timeout"        // a deadline passed while the engine was at work
	KindCanceled     Kind = "canceled"       // the caller gave up
	KindBroken       Kind = "broken"         // what an earlier run of the container has left keeps it from ever starting: only a new one helps
	KindInternal     Kind = "internal"       // everything else: a fault of the engine
)

// Kinds lists them all.
func Kinds() []Kind {
	return []Kind{
		KindUnavailable, KindNotFound, KindNotRunning, KindConflict, KindAddressInUse, KindInvalid, KindUnsupported, KindDenied, KindNetwork, KindStorage,
		KindTimeout, KindCanceled, KindBroken, KindInternal,
	}
}

// ErrNotOurs is why nothing is asked of an engine whose things of this installation belong to another database. Its kind is unavailable: work waits for it.
var ErrNotOurs = errors.New("what the engine has of this installation belongs to another database, which this one is a copy of or which is a copy of this one. " +
	"Nothing of it is touched. To go on here, stop the other database's server and run aicli-web adopt")

// Error is the failure of one call.
type Error struct {
	Kind    Kind
	Op      string // what was attempted, for example "start container"
	Subject string // the id, name or reference it was attempted on; may be empty
	Err     error  // the engine's own error
	// Holders are names of the containers that keep a network from being removed; empty where that is not known.
	Holders []string
}

func (e *Error) Error() string {
	if e.Subject == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Subject, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf says what kind of failure err is: "" for nil, KindCanceled and KindTimeout for a context's bare errors, KindInternal for what
// did not come from an engine.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return KindTimeout
	case errors.Is(err, context.Canceled):
		return KindCanceled
	default:
		return KindInternal
	}
}

// Is reports whether err is a failure of that kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
