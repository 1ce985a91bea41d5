package monitor

import (
	"context"
	"time"

	"github.com/aicli/aicli-web/internal/workspace"
)

// orphans remembers since when each is one, and hands those on whose grace is over. It belongs to the goroutine of Run, but for due.
type orphans struct {
	grace time.Duration
	since map[string]time.Time
	due   chan []workspace.Orphan // the newest list
}

func newOrphans(grace time.Duration) *orphans {
	return &orphans{grace: grace, since: make(map[string]time.Time), due: make(chan []workspace.Orphan, 1)}
}

// found takes in what a comparison found, and dates it.
func (o *orphans) found(list []workspace.Orphan, now time.Time) []workspace.Orphan {
	since := make(map[string]time.Time, len(list))
	var due []workspace.Orphan
	for i := range list {
		each := &list[i]
		first, known := o.since[each.ID]
		if !known {
			first = now
		}
		since[each.ID] = first
		each.Since, each.RemoveAt = first.UTC(), first.Add(o.grace).UTC()
		if now.Sub(first) >= o.grace {
			due = append(due, *each)
		}
	}
	o.since = since
	if len(due) > 0 {
		select {
		case <-o.due: // that has not been begun
		default:
		}
		o.due <- due
	}
	return list
}

// discardLimit bounds one removal: a kill and what follows.
const discardLimit = 2 * time.Minute

// discard removes orphans whose grace is over. What cannot be removed now is found again by the next comparison.
func (m *Monitor) discard(ctx context.Context) {
	for {
		var due []workspace.Orphan
		select {
		case due = <-m.orphans.due:
		case <-ctx.Done():
			return
		}
		for _, o := range due {
			if err := m.discardOne(ctx, o); err != nil && ctx.Err() == nil {
				m.Log.Warn("remove what no workspace knows of", "kind", o.Kind, "id", o.ID, "workspace_id", o.WorkspaceID, "error", err)
			}
		}
	}
}

func (m *Monitor) discardOne(ctx context.Context, o workspace.Orphan) error {
	ctx, cancel := context.WithTimeout(ctx, discardLimit)
	defer cancel()
	m.Log.Info("removing what no workspace knows of", "kind", o.Kind, "id", o.ID, "workspace_id", o.WorkspaceID, "since", o.Since)
	return m.Looker.Discard(ctx, o)
}
