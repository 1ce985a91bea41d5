package workspace

import (
	"context"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

var _ task.Queue = (*Service)(nil)

// Claim leases tasks to a pool. While the engine cannot be asked none is given out: all need it, and would only come back.
// RecordEngine wakes the pool when it is found.
func (s *Service) Claim(ctx context.Context, holder string, slots task.Slots, lease time.Duration) ([]task.Task, error) {
	if s.Engine().Status != EngineHealthy {
		return nil, nil
	}
	claimed, err := s.store.Claim(ctx, holder, slots, lease)
	if len(claimed) > 0 {
		s.logged()
	}
	return claimed, err
}

// Extend keeps leases alive.
func (s *Service) Extend(ctx context.Context, leases []task.Lease, lease time.Duration) (task.Verdict, error) {
	return s.store.Extend(ctx, leases, lease)
}

// Report writes what a running task is doing. How far a step is, in per cent, is told here alone, since it is no event.
func (s *Service) Report(ctx context.Context, lease task.Lease, step string, progress *float64) error {
	t, err := s.store.Report(ctx, lease, step, progress)
	if err == nil && progress != nil {
		s.tasks.Publish(t.ID, t)
	} else if err == nil {
		s.logged()
	}
	return err
}

// StopBy gives how long a container that a running task is to stop still has to end by itself. The first time begins it, and a server that takes the task over
// goes on with what is left.
func (s *Service) StopBy(ctx context.Context, lease task.Lease, grace time.Duration) (time.Duration, error) {
	return s.store.StopBy(ctx, lease, grace)
}

// Finish writes how a run ended, together with what follows for the workspace.
func (s *Service) Finish(ctx context.Context, lease task.Lease, o task.Outcome) error {
	ch, err := s.store.Finish(ctx, lease, o)
	if err == nil {
		s.committed(ch)
	}
	return err
}

// Reclaim gives back the tasks whose lease has ended.
func (s *Service) Reclaim(ctx context.Context) (int, error) {
	changes, err := s.store.Reclaim(ctx)
	back := 0
	for _, ch := range changes {
		s.committed(ch)
		back += len(ch.Tasks)
	}
	return back, err
}

// Doubt has a workspace looked at. One that is gone is nobody's any more.
func (s *Service) Doubt(ctx context.Context, workspaceID string) error {
	_, err := s.update(ctx, workspaceID, func(d *Draft) error {
		d.Doubt()
		return nil
	})
	if CodeOf(err) == NotFound {
		return nil
	}
	return err
}
