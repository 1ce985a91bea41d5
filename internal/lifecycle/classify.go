package lifecycle

import (
	"errors"
	"slices"
	"syscall"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// verdict is what becomes of a task that failed in a certain way, and what its owner is told.
type verdict struct {
	class   task.Class
	code    workspace.Code
	message string
}

// verdicts is the table of failures. Messages name nothing of the host but what holds a network: the engine's own words are in the log.
var verdicts = map[engine.Kind]verdict{
	engine.KindUnavailable:  {task.Wait, workspace.EngineUnreachable, "The container engine cannot be reached. The work goes on by itself when it is back."},
	engine.KindNotFound:     {task.Transient, workspace.EngineError, "Something that the container needs was removed while it was being set up. If it happens again, ask the server's operator what removes things from the engine."},
	engine.KindNotRunning:   {task.Transient, workspace.EngineError, "The container ended while it was being worked on. See its last lines, and start the workspace again."},
	engine.KindConflict:     {task.Transient, workspace.EngineError, "The container engine is still busy with the same container or network. Try again in a minute; if that does not help, ask the server's operator to look into the engine's log."},
	engine.KindAddressInUse: {task.Transient, workspace.EngineError, "All addresses that were tried are in use by somebody else. Ask for another network pool if it goes on."},
	engine.KindInvalid:      {task.Permanent, workspace.EngineError, "The container engine refuses this workspace. Check its settings and its image."},
	engine.KindUnsupported:  {task.Permanent, workspace.EngineError, "Container engines of this make cannot do that. Ask the server's operator what its doctor says."},
	engine.KindDenied:       {task.Permanent, workspace.ImageNotFound, errNotPulled.Message},
	engine.KindNetwork:      {task.Permanent, workspace.ImageNotFound, errNotPulled.Message},
	engine.KindStorage:      {task.Transient, workspace.EngineError, "The container engine has no space left. Ask the server's operator to free some."},
	engine.KindTimeout:      {task.Transient, workspace.Timeout, "The container engine took too long. Try again; if it happens often, ask the server's operator how busy the machine is."},
	engine.KindCanceled:     {task.Transient, workspace.Timeout, "The work was cut short."},
	engine.KindBroken:       {task.Transient, workspace.EngineError, "The container engine cannot start this container again. A new one is made of the same settings and project."},
	engine.KindInternal:     {task.Transient, workspace.EngineError, "The container engine failed for a reason that this server does not know. Try again; if that does not help, ask the server's operator to look into the log."},
}

// diskFailures are those of the server's own disk, where project directories are.
var diskFailures = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO}

// errNotPulled is a pull that failed for whatever a registry has said, or for its silence. It does not say which.
var errNotPulled = &workspace.Error{Code: workspace.ImageNotFound, Message: "There is no such image for this machine, or it is not public, or its registry does not answer. " +
	"Check its name. The server's log says more to its operator."}

// Classify tells failures apart. What is neither the engine's nor meant for the caller is INTERNAL, and tried again: a database
// that was away for a moment is the likeliest cause.
func Classify(err error) (task.Failure, task.Class) {
	v := verdict{task.Transient, workspace.Internal, "Something failed in the server. If it happens again, ask its operator to look into the log."}
	var field []string
	shown, isShown := errors.AsType[*workspace.Error](err)
	failed, isEngine := errors.AsType[*engine.Error](err)
	switch {
	case isShown:
		v, field = verdict{task.Permanent, shown.Code, shown.Message}, shown.Field
		switch {
		case shown.Code == workspace.DatabaseLost:
			v.class = task.Wait
		case shown.Retryable:
			v.class = task.Transient
		}
	case errors.Is(err, task.ErrTimeout):
		v = verdict{task.Transient, workspace.Timeout, "The work took longer than it may."}
	case isEngine:
		switch v = verdicts[failed.Kind]; {
		case failed.Kind == engine.KindInvalid && failed.Err != nil:
			v.message, field = refusal(failed)
		default:
			v.message, field = explain(failed, v.message)
		}
	case slices.ContainsFunc(diskFailures, func(target error) bool { return errors.Is(err, target) }):
		v.message = "The server's disk is full or fails. Ask its operator to look after it."
	}
	return task.Failure{Code: string(v.code), Message: v.message, Field: field, Retryable: v.class != task.Permanent}, v.class
}
