package workspace

import (
	"errors"
	"fmt"

	"github.com/aicli/aicli-web/internal/task"
)

// Code is one of the API's error codes.
type Code string

// The codes.
const (
	Unauthenticated   Code = "UNAUTHENTICATED"
	Forbidden         Code = "FORBIDDEN"
	NotFound          Code = "NOT_FOUND"
	BadUserInput      Code = "BAD_USER_INPUT"
	Conflict          Code = "CONFLICT"
	QuotaExceeded     Code = "QUOTA_EXCEEDED"
	QueryTooComplex   Code = "QUERY_TOO_COMPLEX"
	EngineUnreachable Code = "ENGINE_UNAVAILABLE"
	EngineError       Code = "ENGINE_ERROR"
	ImageNotFound     Code = "IMAGE_NOT_FOUND"
	Timeout           Code = "TIMEOUT"
	Cancelled         Code = "CANCELLED"
	DatabaseLost      Code = "DATABASE_UNAVAILABLE"
	Internal          Code = "INTERNAL"
)

// Error is a failure that may be shown to the caller as it is. Every other error is INTERNAL, and its text stays in the log.
type Error struct {
	Code      Code
	Message   string   // a sentence for people, saying what to do next
	Field     []string // path of the input field at fault, from "input" on; nil when none is
	Retryable bool     // whether asking again may help
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// failure is the error as that of a task, which no other try would mend.
func (e *Error) failure() *task.Failure {
	return &task.Failure{Code: string(e.Code), Message: e.Message, Field: e.Field}
}

// CodeOf says which code err has; INTERNAL when it is not one of ours.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// ErrForeignMount is why a container was removed that had something else mounted than the directory of its project.
var ErrForeignMount = &Error{Code: EngineError, Message: "The container had something else mounted than the project's directory, so it was removed. " +
	"The directory, or one on the way to it, was replaced on the server. Have it put back, then start the workspace."}

// What a caller is told when the database cannot be reached or written.
var (
	ErrDatabaseUnavailable = &Error{Code: DatabaseLost, Retryable: true, Message: "The database cannot be reached or cannot be written. Nothing was changed; ask again when it is back."}
	// ErrDatabaseUncertain: it was lost while the change was being committed.
	ErrDatabaseUncertain = &Error{Code: DatabaseLost, Retryable: true, Message: "The database was lost while the change was written, which may have been made or not. " +
		"Look when it is back, or ask again with the same idempotency key."}
)

// errNotFound is the one answer for what does not exist and for what is somebody else's.
func errNotFound(noun string, field ...string) *Error {
	return &Error{Code: NotFound, Message: fmt.Sprintf("There is no such %s. Check the id, or list what you have.", noun), Field: field}
}

func badInput(message string, field ...string) *Error {
	return &Error{Code: BadUserInput, Message: message, Field: field}
}
