package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5"
)

// TestAWaitIsOverOnce: a statement that fails before it has an answer may wait for another connection, one that fails while its rows are read does not. What
// is over must not end later, be told as a wait that was too long, or stay tied to whoever asked.
func TestAWaitIsOverOnce(t *testing.T) {
	for name, c := range map[string]struct {
		begun bool
		err   error
		tied  bool
	}{
		"it succeeds":                  {false, nil, false},
		"it fails before any answer":   {false, errors.New("cut"), true},
		"it fails while rows are read": {true, errors.New("division by zero"), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOutage()
			defer o.close()
			from, cancel := context.WithCancel(t.Context())
			ctx, w := o.waits(from, false)
			ctx = tracer{o}.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{})
			w.begun.Store(c.begun)
			tracer{o}.TraceQueryEnd(ctx, nil, pgx.TraceQueryEndData{Err: c.err})
			cancel()
			synctest.Wait()
			if tied := w.ctx.Err() != nil; tied != c.tied {
				t.Errorf("%s: tied %v", name, tied)
			}
			if running := w.timer.Stop(); running != c.tied {
				t.Errorf("%s: still waits %v", name, running)
			}
		})
	}
}
