package lifecycle

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestClassify(t *testing.T) {
	fault := func(kind engine.Kind, op string) error {
		return fmt.Errorf("apply: %w", &engine.Error{Kind: kind, Op: op, Err: errors.New("secret words of the engine")})
	}
	of := make(map[engine.Kind]bool)
	for _, c := range []struct {
		err   error
		code  workspace.Code
		class task.Class
	}{
		{fault(engine.KindUnavailable, "x"), workspace.EngineUnreachable, task.Wait},
		{fault(engine.KindNotFound, "start container"), workspace.EngineError, task.Transient},
		{pullError(fault(engine.KindNotFound, "pull image")), workspace.ImageNotFound, task.Permanent},
		{pullError(fault(engine.KindInvalid, "pull image")), workspace.ImageNotFound, task.Permanent},
		{fault(engine.KindDenied, "pull image"), workspace.ImageNotFound, task.Permanent},
		{pullError(fault(engine.KindNetwork, "pull image")), workspace.ImageNotFound, task.Permanent},
		{pullError(fault(engine.KindInternal, "pull image")), workspace.ImageNotFound, task.Permanent},
		{pullError(fault(engine.KindTimeout, "pull image")), workspace.ImageNotFound, task.Permanent},
		{pullError(fault(engine.KindUnavailable, "pull image")), workspace.EngineUnreachable, task.Wait},
		{pullError(fault(engine.KindStorage, "pull image")), workspace.EngineError, task.Transient},
		{fault(engine.KindNotRunning, "x"), workspace.EngineError, task.Transient},
		{fault(engine.KindConflict, "x"), workspace.EngineError, task.Transient},
		{fault(engine.KindAddressInUse, "x"), workspace.EngineError, task.Transient},
		{fault(engine.KindInvalid, "x"), workspace.EngineError, task.Permanent},
		{fault(engine.KindUnsupported, "x"), workspace.EngineError, task.Permanent},
		{fault(engine.KindStorage, "x"), workspace.EngineError, task.Transient},
		{fault(engine.KindTimeout, "x"), workspace.Timeout, task.Transient},
		{fault(engine.KindCanceled, "x"), workspace.Timeout, task.Transient},
		{fault(engine.KindBroken, "start container"), workspace.EngineError, task.Transient},
		{fault(engine.KindInternal, "x"), workspace.EngineError, task.Transient},
		{fmt.Errorf("%w: %w", task.ErrTimeout, fault(engine.KindCanceled, "x")), workspace.Timeout, task.Transient},
		{&workspace.Error{Code: workspace.BadUserInput, Message: "m"}, workspace.BadUserInput, task.Permanent},
		{&workspace.Error{Code: workspace.QuotaExceeded, Message: "m", Retryable: true}, workspace.QuotaExceeded, task.Transient},
		{errors.New("no such table"), workspace.Internal, task.Transient},
		{fmt.Errorf("make a directory: %w", syscall.ENOSPC), workspace.Internal, task.Transient},
		{fmt.Errorf("make a directory: %w", syscall.EDQUOT), workspace.Internal, task.Transient},
		{fmt.Errorf("make a directory: %w", syscall.EROFS), workspace.Internal, task.Transient},
		{fmt.Errorf("make a directory: %w", syscall.EIO), workspace.Internal, task.Transient},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			of[engine.KindOf(c.err)] = true
			f, class := Classify(c.err)
			if f.Code != string(c.code) || class != c.class || f.Message == "" || f.Retryable != (class != task.Permanent) {
				t.Errorf("got %+v, class %d", f, class)
			}
			if _, isDisk := errors.AsType[syscall.Errno](c.err); strings.Contains(f.Message, "disk") != isDisk {
				t.Errorf("got %q", f.Message)
			}
		})
	}
	for _, kind := range engine.Kinds() {
		if !of[kind] {
			t.Errorf("%q has no row", kind)
		}
	}
}
