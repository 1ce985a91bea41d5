package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Workspaces is what handlers read and report to.
type Workspaces interface {
	Get(ctx context.Context, id string) (workspace.Workspace, error)
	Record(ctx context.Context, id string, seen workspace.Observed) (workspace.Workspace, error)
	RecordEnd(ctx context.Context, id string, e workspace.End) (news bool, err error)
	StopBy(ctx context.Context, lease task.Lease, grace time.Duration) (time.Duration, error)
	MoveSubnet(ctx context.Context, id string, taken []netip.Prefix) (workspace.Workspace, error)
	CheckImage(image string) error
	Enclosing(ctx context.Context, w workspace.Workspace) (name string, err error)
	SharesProject(ctx context.Context, w workspace.Workspace) (bool, error)
	Known(ctx context.Context, o workspace.Orphan) (bool, error)
	ReleaseSubnet(ctx context.Context, o workspace.Orphan) error
}

// Projects makes project directories and says where they are on the host.
type Projects interface {
	// Make and Find give a path without links. Find makes nothing.
	Make(owner, path string) (string, error)
	Find(owner, path string) (string, error)
	RemoveEmpty(owner, path string) error
	// Mounted says whether a running container has exactly that directory mounted at target; known, whether that could be told. It is fs.ErrNotExist when there is
	// no such directory.
	Mounted(owner, path, target string, c engine.Container) (same, known bool, err error)
	// Begun says whether the init of a running container has begun its command; known, whether that could be told, which it cannot of one that has ended.
	Begun(c engine.Container) (begun, known bool)
}

// Lifecycle runs tasks against an engine.
type Lifecycle struct {
	engine       engine.Engine
	workspaces   Workspaces
	projects     Projects
	installation string
	log          *slog.Logger
	looks        turns
	pulls        pulls
	working      sync.Map    // workspaces that a task is at, by id, and whether a network of one was removed meanwhile
	blind        atomic.Bool // what runs cannot be looked into: the engine is on another machine, or the server may not
}

// New makes a lifecycle for the containers of one installation.
func New(e engine.Engine, workspaces Workspaces, projects Projects, installation string, log *slog.Logger) *Lifecycle {
	return &Lifecycle{engine: e, workspaces: workspaces, projects: projects, installation: installation, log: log, pulls: newPulls()}
}

// Handlers are the handlers of all task types: one, since all of them observe, plan and apply.
func (l *Lifecycle) Handlers() map[task.Type]task.Handler {
	handlers := make(map[task.Type]task.Handler)
	for _, typ := range task.Types() {
		handlers[typ] = l.run
	}
	return handlers
}

// Timeouts of one run, but for its waits.
const (
	createTimeout = 15 * time.Minute // a container, made and started by an engine that is busy
	otherTimeout  = 5 * time.Minute  // a kill, a removal and a network, each with its own bound
	// lookTimeout bounds a look, with the wait for those before it: of a run that was cut there is no other bound.
	lookTimeout = 20 * time.Second
)

// Timeout bounds one run of a task.
func Timeout(t task.Task) time.Duration {
	switch t.Type {
	case task.Stop, task.Delete:
		return otherTimeout + t.Params.Grace
	default:
		return createTimeout + t.Params.Grace
	}
}

func (l *Lifecycle) run(ctx context.Context, t task.Task, report task.Report) error {
	w, left, misled, err := l.round(ctx, t, t.Type == task.Sync, report)
	if misled && ctx.Err() == nil {
		w, left, _, err = l.round(ctx, t, true, report)
	}
	if err != nil || w.ID == "" {
		return err
	}
	if why := cannotRun(t, w, left); why != nil {
		return why
	}
	return l.conclude(ctx, t, w, left)
}

// round observes, plans, applies, and looks at what is there then. It goes by what is recorded as far as that can do no harm, and says when it was misled:
// one that observes the whole should follow. The workspace is empty when it was deleted meanwhile.
func (l *Lifecycle) round(ctx context.Context, t task.Task, whole bool, report task.Report) (w workspace.Workspace, left seen, misled bool, err error) {
	w, err = l.workspaces.Get(ctx, t.WorkspaceID)
	if workspace.CodeOf(err) == workspace.NotFound {
		return workspace.Workspace{}, left, false, nil
	}
	if err != nil {
		return w, left, false, err
	}
	if goalOf(t, w.DesiredState) == nothing {
		return w, left, false, task.ErrSuperseded
	}
	s, remembered := remember(t, w)
	if !remembered || whole {
		s, err = l.observe(ctx, w, recorded(w), whole)
	}
	if err == nil {
		err = l.lookUpImage(ctx, t, w, &s)
	}
	if err != nil {
		return w, left, false, l.away(ctx, err)
	}
	l.working.Store(w.ID, new(atomic.Bool)) // nobody else looks: the look that follows sees what they would have seen
	defer l.working.Delete(w.ID)
	made, err := l.apply(ctx, t, w, s, plan(t, w, s), report)
	if task.Parked(ctx) { // nothing else was begun, and another run follows
		return w, left, false, l.away(ctx, err)
	}
	// Also after a run that failed or was cut: what it has left is what is true.
	uncut := context.WithoutCancel(ctx)
	left, lookErr := l.lookAfter(uncut, w.ID, made)
	if lookErr = l.away(uncut, lookErr); engine.Is(lookErr, engine.KindUnavailable) {
		return w, left, false, errors.Join(forGood(err), lookErr, err) // that the engine has gone is why the work failed, unless it could never succeed
	}
	if left.foreign {
		return w, left, false, workspace.ErrForeignMount
	}
	misled = !whole && lookErr == nil && (stale(err) || err == nil && remembered && !reached(goalOf(t, w.DesiredState), left))
	return w, left, misled, errors.Join(err, lookErr)
}

// remember gives what a task may go by without asking the engine. Of what is about to be made nothing is there. What is to end needs not be known any
// better: asking it to end does no harm if it has, and the look that follows shows what was not known. Only the first run of a task may: one before may
// have been cut.
func remember(t task.Task, w workspace.Workspace) (s seen, ok bool) {
	c, n := w.Observed.Container, w.Observed.Network
	switch first := t.Lease.Token <= 1; {
	case !first:
		return s, false
	case t.Type == task.Create && !t.Params.Undo:
		return s, c == nil && n == nil && !w.HasRun()
	case t.Type != task.Delete && (t.Type != task.Stop || t.Params.Halt), c == nil, n == nil:
		return s, false
	}
	h := recorded(w)
	s.network = &h.network
	s.container = &engine.Container{Summary: engine.Summary{ID: c.ID, Name: c.Name, State: engine.State(c.State)}}
	return s, true
}

// stale reports whether a call failed for something that was not as it was known.
func stale(err error) bool {
	return !errors.Is(err, errNotPulled) && (engine.Is(err, engine.KindNotFound) || engine.Is(err, engine.KindConflict))
}

// reached reports whether what was to end has.
func reached(g goal, left seen) bool {
	switch g {
	case absent:
		return left.container == nil && left.network == nil && len(left.surplus) == 0
	case stopped:
		return left.container == nil || !up(left.container.State)
	default:
		return true
	}
}

// cannotRun says why a container that was to run has ended at once, where that is because its command cannot be run; nil otherwise.
func cannotRun(t task.Task, w workspace.Workspace, left seen) error {
	c := left.container
	if goalOf(t, w.DesiredState) != running || c == nil || c.State != engine.Exited {
		return nil
	}
	if why := workspace.CannotRun(w.Command, workspace.Exit{Code: c.ExitCode, LogTail: left.tail}); why != nil {
		return why
	}
	return nil
}

// forGood is a failure that it is no use to try again after; nil when it is another one, or none.
func forGood(err error) error {
	if err == nil {
		return nil
	}
	if _, class := Classify(err); class != task.Permanent {
		return nil
	}
	return err
}

// away tells an engine that cannot be asked from one that does not answer about one container: what looks up takes milliseconds, so silence is
// taken for absence, unless the engine says what it is all the same.
func (l *Lifecycle) away(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*engine.Error](err)
	if !ok || failed.Kind != engine.KindTimeout {
		return err
	}
	if _, infoErr := l.engine.Info(ctx); infoErr == nil {
		return err
	}
	return &engine.Error{Kind: engine.KindUnavailable, Op: failed.Op, Subject: failed.Subject, Err: err}
}

// lookUpImage finds out whether the image is there of which a container has to be made.
func (l *Lifecycle) lookUpImage(ctx context.Context, t task.Task, w workspace.Workspace, s *seen) error {
	g := goalOf(t, w.DesiredState)
	if g != made && g != running || s.container != nil && !gone(s.container.State) {
		return nil
	}
	image, err := l.engine.Image(ctx, workspace.ImageName(w.Image))
	if err == nil {
		s.image = &image
	}
	if engine.Is(err, engine.KindNotFound) {
		return nil
	}
	return err
}

// conclude ends a deletion, or the taking back of a creation, once the engine has confirmed that nothing is left.
func (l *Lifecycle) conclude(ctx context.Context, t task.Task, w workspace.Workspace, left seen) error {
	if goalOf(t, w.DesiredState) != absent || t.Params.Clear {
		return nil
	}
	if !reached(absent, left) {
		return &engine.Error{Kind: engine.KindConflict, Op: "delete workspace", Subject: w.ID, Err: errLeft}
	}
	return l.removeProject(ctx, w)
}

var errLeft = errors.New("something of it appeared while it was deleted")

// Discard removes an orphan, unless a row knows it by now.
func (l *Lifecycle) Discard(ctx context.Context, o workspace.Orphan) error {
	known, err := l.workspaces.Known(ctx, o)
	switch {
	case err != nil || known:
		return err
	case o.Kind == workspace.OrphanSubnet:
		return l.workspaces.ReleaseSubnet(ctx, o)
	case o.Kind == workspace.OrphanContainer:
		return l.engine.RemoveContainer(ctx, o.ID)
	default:
		return l.engine.RemoveNetwork(ctx, o.ID)
	}
}

// apply does the steps one after another, and gives the handles of what is there then.
func (l *Lifecycle) apply(ctx context.Context, t task.Task, w workspace.Workspace, s seen, steps []step, report task.Report) (h handles, err error) {
	if s.network != nil {
		h.network = *s.network
	}
	for _, next := range steps {
		report(string(next.op), nil) // which cuts a run whose lease has ended
		if err := ctx.Err(); err != nil {
			return h, fmt.Errorf("before %s: %w", next, context.Cause(ctx))
		}
		target := next.target
		if target == "" {
			target = h.container
		}
		var err error
		switch next.op {
		case pullImage:
			if err = l.workspaces.CheckImage(w.Image); err == nil { // the rules may have changed since it was created
				err = task.Park(ctx, task.ForImage, func() error {
					return l.pulls.wait(ctx, l.engine, w.OwnerID, w.Image, func(percent float64) { report(string(pullImage), &percent) })
				})
			}
			if err == nil {
				err = l.lookUpImage(ctx, t, w, &s)
			}
		case createNetwork:
			h.network, err = l.createNetwork(ctx, w)
		case connectNetwork:
			err = l.engine.ConnectNetwork(ctx, h.network.ID, target)
		case createContainer:
			h.anew = true
			h.container, err = l.createContainer(ctx, w, s.image, h.network.Name)
		case updateContainer:
			if err = l.engine.UpdateContainer(ctx, target, isolation.Limits(w.Resources)); engine.Is(err, engine.KindUnsupported) {
				l.log.WarnContext(ctx, "a container keeps the limits that it was made with", "workspace_id", w.ID, "error", err)
				err = nil // and the workspace's warnings say so: nothing else of it is kept from its owner for that
			}
		case unpause:
			err = l.engine.UnpauseContainer(ctx, target)
		case startContainer:
			err = l.startContainer(ctx, w, target)
		case stopContainer:
			err = l.stopContainer(ctx, t, target)
		case removeContainer:
			h.removed = true
			err = l.engine.RemoveContainer(ctx, target)
		case removeNetwork:
			h.removed = true
			err = foreign(l.engine.RemoveNetwork(ctx, target), isolation.Name(w.ID))
		}
		if err != nil {
			return h, fmt.Errorf("%s: %w", next, err)
		}
	}
	return h, nil
}

// subnetMoves bounds how often a network moves in one run. One move avoids all that the engine's networks have; more are for what
// else its host uses, which nobody lists.
const subnetMoves = 16

// createNetwork makes the network, on other addresses than its own where those are in use outside this server. Once begun it is not
// cut: the engine would go on, and make a network after everybody has looked for what is left.
func (l *Lifecycle) createNetwork(ctx context.Context, w workspace.Workspace) (made engine.Network, err error) {
	ctx = context.WithoutCancel(ctx)
	for range subnetMoves {
		spec := isolation.Network(w, l.installation)
		made = engine.Network{Name: spec.Name, Subnet: spec.Subnet, Internal: spec.Internal, Driver: isolation.Driver}
		made.ID, err = l.engine.CreateNetwork(ctx, spec)
		if !engine.Is(err, engine.KindAddressInUse) {
			return made, err
		}
		taken, listErr := l.subnets(ctx)
		if listErr != nil {
			return made, listErr
		}
		if w, listErr = l.workspaces.MoveSubnet(ctx, w.ID, taken); listErr != nil {
			return made, listErr
		}
	}
	return made, err
}

// subnets are those of all networks of the engine, whoever's they are.
func (l *Lifecycle) subnets(ctx context.Context) (taken []netip.Prefix, err error) {
	networks, err := l.engine.Networks(ctx, nil)
	for _, n := range networks {
		if subnet, err := netip.ParsePrefix(n.Subnet); err == nil {
			taken = append(taken, subnet)
		}
	}
	return taken, err
}

var errImageGone = errors.New("the image was removed as soon as it was there")

// createContainer is not cut either, once begun.
func (l *Lifecycle) createContainer(ctx context.Context, w workspace.Workspace, image *engine.Image, networkName string) (string, error) {
	ctx = context.WithoutCancel(ctx)
	project, err := l.project(ctx, w)
	if err != nil {
		return "", err
	}
	if image == nil {
		return "", &engine.Error{Kind: engine.KindNotFound, Op: "create container", Subject: w.Image, Err: errImageGone}
	}
	return l.engine.CreateContainer(ctx, isolation.Container(w, *image, l.installation, networkName, project))
}

// stopContainer tells a container to end, and kills it when its grace is over. A task that another server had begun goes on with what is left of it.
func (l *Lifecycle) stopContainer(ctx context.Context, t task.Task, id string) error {
	grace, err := l.workspaces.StopBy(ctx, t.Lease, t.Params.Grace)
	if err != nil {
		return err
	}
	stopped := make(chan error, 1)
	go func() { stopped <- l.engine.StopContainer(ctx, id, grace) }()
	soon := time.NewTimer(stopSoon)
	defer soon.Stop()
	select {
	case err := <-stopped:
		return err
	case <-soon.C:
	}
	err = task.Park(ctx, task.ForContainer, func() error { return <-stopped })
	if errors.Is(err, task.ErrFull) {
		return <-stopped
	}
	return err
}

// stopSoon is how long a worker waits for a container to end, as most do at once.
const stopSoon = time.Second

func (l *Lifecycle) startContainer(ctx context.Context, w workspace.Workspace, id string) error {
	if _, err := l.project(ctx, w); err != nil {
		return err
	}
	err := l.engine.StartContainer(ctx, id)
	if engine.Is(err, engine.KindBroken) {
		return errors.Join(err, l.engine.RemoveContainer(ctx, id)) // the next run makes another one
	}
	return err
}
