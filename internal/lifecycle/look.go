package lifecycle

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Look asks the engine what it has of a workspace and records that, unless the events that ask for it tell only what is recorded; without events it
// looks in any case, at all that carries the workspace's labels. Looks at one workspace take turns, so that what was seen earlier is never recorded
// over what was seen later. A workspace that is gone is no error, and one that a task is at is left to the task: its own steps cause most of the
// events that ask for a look.
func (l *Lifecycle) Look(ctx context.Context, id string, events []engine.Event) error {
	if at, working := l.working.Load(id); working {
		lost, noted := at.(*atomic.Bool)
		if noted && slices.ContainsFunc(events, func(e engine.Event) bool { return e.Kind == engine.NetworkObject && e.Action == "destroy" }) {
			lost.Store(true)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leave, err := l.looks.take(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	whole := len(events) == 0
	if !whole {
		w, err := l.workspaces.Get(ctx, id)
		if workspace.CodeOf(err) == workspace.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		var news bool
		if news, whole = unknown(w, events); !news {
			return nil
		}
	}
	_, err = l.see(ctx, id, handles{}, whole)
	return err
}

// lookAfter is the look of a task that has done its work. From its beginning on others may look again: until then it sees what they would have seen, also of a network
// that was removed meanwhile, which what does not run still names.
func (l *Lifecycle) lookAfter(ctx context.Context, id string, h handles) (s seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leave, err := l.looks.take(ctx, id)
	if err != nil {
		return s, err
	}
	defer leave()
	at, _ := l.working.LoadAndDelete(id)
	lost, noted := at.(*atomic.Bool)
	return l.see(ctx, id, h, noted && lost.Load())
}

// see observes and records, and does so again when another server has recorded something since. The caller's turn it is.
func (l *Lifecycle) see(ctx context.Context, id string, h handles, whole bool) (s seen, err error) {
	for foreign := false; ; foreign = s.foreign {
		if s, err = l.seeOnce(ctx, id, h, whole, foreign); !errors.Is(err, workspace.ErrStale) {
			return s, err
		}
	}
}

// seeOnce takes h before what is recorded. foreign: the container was removed because of what it had mounted, and that is yet to be recorded.
func (l *Lifecycle) seeOnce(ctx context.Context, id string, h handles, whole, foreign bool) (s seen, err error) {
	w, err := l.workspaces.Get(ctx, id)
	if workspace.CodeOf(err) == workspace.NotFound {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if s, err = l.observeBegun(ctx, w, h.or(recorded(w)), whole); err != nil {
		return s, err
	}
	s.foreign = foreign
	if err := l.checkMount(ctx, w, &s); err != nil {
		return s, err
	}
	_, err = l.workspaces.Record(ctx, w.ID, observed(w, s))
	return s, err
}

// End records that a container has ended, as an event of the engine told. It waits for no look: what one has seen before is not recorded over it.
// But one that is about to record that the container runs makes it news, so that it is told once more behind that one.
func (l *Lifecycle) End(ctx context.Context, id string, e workspace.End) error {
	if news, err := l.workspaces.RecordEnd(ctx, id, e); news || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leave, err := l.looks.take(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	_, err = l.workspaces.RecordEnd(ctx, id, e)
	return err
}

// observed is what was seen in the service's words.
func observed(w workspace.Workspace, s seen) (o workspace.Observed) {
	if n := s.network; n != nil {
		o.Network = &workspace.Network{ID: n.ID, Name: n.Name, Subnet: n.Subnet, Internal: n.Internal, Driver: n.Driver}
	}
	o.Tail, o.Serial, o.Foreign = s.tail, w.Observed.Serial, s.foreign
	o.HasRun = w.HasRun() || s.container != nil && !s.container.StartedAt.IsZero()
	if c := s.container; c != nil {
		o.Detached = s.network != nil && !c.On(*s.network)
		o.Container = &workspace.Container{
			ID: c.ID, Name: c.Name, State: workspace.ContainerState(c.State), Image: c.Image, StartedAt: optional(c.StartedAt),
			FinishedAt: optional(c.FinishedAt), ExitCode: c.ExitCode, OOMKilled: c.OOMKilled, Error: errorOf(*c), Mount: s.mount, Extra: isolation.Extra(w, c.Summary), Health: health(*c),
			Enforced: workspace.Enforced{
				Capabilities: c.Enforced.Capabilities, NoNewPrivileges: c.Enforced.NoNewPrivileges, ReadOnlyRoot: c.Enforced.ReadOnlyRoot,
				Seccomp: string(c.Enforced.Seccomp), User: c.Enforced.User, Warnings: isolation.Compare(w, *c, s.network, s.mount),
			},
		}
	}
	return o
}

// health is what a container's health check says; nil where it has none that runs.
func health(c engine.Container) *workspace.Health {
	if c.Health == "" {
		return nil
	}
	return &workspace.Health{
		Status: workspace.HealthStatus(c.Health), FailingStreak: c.Checked.FailingStreak,
		Output: workspace.CheckOutput(c.Checked.Output), CheckedAt: optional(c.Checked.At),
	}
}

// errorOf is the engine's word on why a container did not start, without paths of the host.
func errorOf(c engine.Container) string {
	if c.Error == "" {
		return ""
	}
	message, _ := refusal(&engine.Error{Kind: engine.KindInvalid, Op: "start container", Err: errors.New(c.Error)})
	return message
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
