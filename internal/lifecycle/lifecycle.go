package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
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
	working      sync.Map    // workspaces that a task is at, by id
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
	w, err := l.workspaces.Get(ctx, t.WorkspaceID)
	if workspace.CodeOf(err) == workspace.NotFound {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if goalOf(t, w.DesiredState) == nothing {
		return task.ErrSuperseded
	}
	s, err := l.observe(ctx, w)
	if err == nil {
		err = l.lookUpImage(ctx, t, w, &s)
	}
	if err != nil {
		return l.away(ctx, err)
	}
	if err = l.work(ctx, t, w, s, plan(t, w, s), report); task.Parked(ctx) { // nothing else was begun, and another run follows
		return l.away(ctx, err)
	}
	// Also after a run that failed or was cut: what it has left is what is true.
	whole := context.WithoutCancel(ctx)
	left, lookErr := l.look(whole, w.ID)
	if lookErr = l.away(whole, lookErr); engine.Is(lookErr, engine.KindUnavailable) {
		return errors.Join(forGood(err), lookErr, err) // that the engine has gone is why the work failed, unless it could never succeed
	}
	if left.foreign {
		return workspace.ErrForeignMount
	}
	if err := errors.Join(err, lookErr); err != nil {
		return err
	}
	if why := cannotRun(t, w, left); why != nil {
		return why
	}
	return l.conclude(ctx, t, w, left)
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

// work applies the plan. Meanwhile nobody else looks: the look that follows sees what they would have seen.
func (l *Lifecycle) work(ctx context.Context, t task.Task, w workspace.Workspace, s seen, steps []step, report task.Report) error {
	l.working.Store(w.ID, nil)
	defer l.working.Delete(w.ID)
	return l.apply(ctx, t, w, s, steps, report)
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
	if left.container != nil || left.network != nil || len(left.surplus) > 0 {
		return &engine.Error{Kind: engine.KindConflict, Op: "delete workspace", Subject: w.ID, Err: errLeft}
	}
	return l.removeProject(ctx, w)
}

var errLeft = errors.New("something of it appeared while it was deleted")

// Look asks the engine what it has of a workspace and records that. Looks at one workspace take turns, so that what was seen
// earlier is never recorded over what was seen later. A workspace that is gone is no error, and one that a task is at is left
// to the task: its own steps cause most of the events that ask for a look.
func (l *Lifecycle) Look(ctx context.Context, id string) error {
	if _, at := l.working.Load(id); at {
		return nil
	}
	_, err := l.look(ctx, id)
	return err
}

// look looks again when another server has recorded something since.
func (l *Lifecycle) look(ctx context.Context, id string) (s seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leave, err := l.looks.take(ctx, id)
	if err != nil {
		return s, err
	}
	defer leave()
	for foreign := false; ; foreign = s.foreign {
		if s, err = l.see(ctx, id, foreign); !errors.Is(err, workspace.ErrStale) {
			return s, err
		}
	}
}

// see observes and records once. foreign: the container was removed because of what it had mounted, and that is yet to be recorded.
func (l *Lifecycle) see(ctx context.Context, id string, foreign bool) (s seen, err error) {
	w, err := l.workspaces.Get(ctx, id)
	if workspace.CodeOf(err) == workspace.NotFound {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if s, err = l.observeBegun(ctx, w); err != nil {
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

// observe looks up by label what the engine has of a workspace.
func (l *Lifecycle) observe(ctx context.Context, w workspace.Workspace) (s seen, err error) {
	labels := isolation.Labels(l.installation, w.ID)
	networks, err := l.engine.Networks(ctx, labels)
	if err != nil {
		return s, err
	}
	if s.container, err = l.own(ctx, w, labels); err != nil {
		return s, err
	}
	s.network, s.surplus = sortNetworks(w, s.container, networks)
	s.tail = l.tail(ctx, w, s.container)
	return s, nil
}

// lookups is how often a container is looked up that is listed and said to be gone: it went in between, or the list was late.
const lookups = 3

var errListed = errors.New("it is listed, and said not to be there")

// own is the container of a workspace; nil when there is none, which only a list can say.
func (l *Lifecycle) own(ctx context.Context, w workspace.Workspace, labels engine.Labels) (*engine.Container, error) {
	for range lookups {
		list, err := l.engine.Containers(ctx, labels)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(c engine.Summary) bool { return isolation.Ours(w, c) })
		if i < 0 {
			return nil, nil //nolint:nilnil // a workspace may have none
		}
		c, err := l.engine.Container(ctx, list[i].ID)
		if err == nil {
			return &c, nil
		}
		if !engine.Is(err, engine.KindNotFound) {
			return nil, err
		}
	}
	return nil, &engine.Error{Kind: engine.KindConflict, Op: "look up container", Subject: isolation.Name(w.ID), Err: errListed}
}

// tail reads the last lines of a container that has ended since it was last seen. Without them it is still known how it ended.
func (l *Lifecycle) tail(ctx context.Context, w workspace.Workspace, c *engine.Container) []string {
	if c == nil || c.State != engine.Exited || c.FinishedAt.IsZero() || w.LastExit != nil && !c.FinishedAt.After(w.LastExit.At) {
		return nil
	}
	lines, err := l.engine.Tail(ctx, c.ID, workspace.TailLines)
	if err != nil {
		l.log.WarnContext(ctx, "read the last lines of a container that has ended", "workspace_id", w.ID, "error", err)
	}
	return lines
}

// sortNetworks tells the network of w, which its container is on or else has its addresses, from others that carry its labels.
func sortNetworks(w workspace.Workspace, c *engine.Container, networks []engine.Network) (own *engine.Network, surplus []engine.Network) {
	slices.SortFunc(networks, func(a, b engine.Network) int { return cmp.Compare(a.ID, b.ID) })
	at := -1
	if c != nil {
		at = slices.IndexFunc(networks, func(n engine.Network) bool {
			return slices.ContainsFunc(c.Networks, func(a engine.Attachment) bool { return a.NetworkID == n.ID })
		})
	}
	if at < 0 {
		at = slices.IndexFunc(networks, func(n engine.Network) bool { return n.Subnet == w.Subnet })
	}
	if at < 0 {
		return nil, networks
	}
	return &networks[at], slices.Delete(slices.Clone(networks), at, at+1)
}

// apply does the steps one after another.
func (l *Lifecycle) apply(ctx context.Context, t task.Task, w workspace.Workspace, s seen, steps []step, report task.Report) error {
	id, network := "", isolation.Name(w.ID)
	if s.network != nil {
		network = s.network.ID
	}
	for _, next := range steps {
		report(string(next.op), nil) // which cuts a run whose lease has ended
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("before %s: %w", next, context.Cause(ctx))
		}
		target := next.target
		if target == "" {
			target = id
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
			network, err = l.createNetwork(ctx, w)
		case connectNetwork:
			err = l.engine.ConnectNetwork(ctx, network, target)
		case createContainer:
			id, err = l.createContainer(ctx, w, s.image, network)
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
			err = l.engine.RemoveContainer(ctx, target)
		case removeNetwork:
			err = foreign(l.engine.RemoveNetwork(ctx, target), isolation.Name(w.ID))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", next, err)
		}
	}
	return nil
}

// subnetMoves bounds how often a network moves in one run. One move avoids all that the engine's networks have; more are for what
// else its host uses, which nobody lists.
const subnetMoves = 16

// createNetwork makes the network, on other addresses than its own where those are in use outside this server. Once begun it is not
// cut: the engine would go on, and make a network after everybody has looked for what is left.
func (l *Lifecycle) createNetwork(ctx context.Context, w workspace.Workspace) (id string, err error) {
	ctx = context.WithoutCancel(ctx)
	for range subnetMoves {
		id, err = l.engine.CreateNetwork(ctx, isolation.Network(w, l.installation))
		if !engine.Is(err, engine.KindAddressInUse) {
			return id, err
		}
		taken, listErr := l.subnets(ctx)
		if listErr != nil {
			return "", listErr
		}
		if w, listErr = l.workspaces.MoveSubnet(ctx, w.ID, taken); listErr != nil {
			return "", listErr
		}
	}
	return "", err
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
func (l *Lifecycle) createContainer(ctx context.Context, w workspace.Workspace, image *engine.Image, network string) (string, error) {
	ctx = context.WithoutCancel(ctx)
	project, err := l.project(ctx, w)
	if err != nil {
		return "", err
	}
	if image == nil {
		return "", &engine.Error{Kind: engine.KindNotFound, Op: "create container", Subject: w.Image, Err: errImageGone}
	}
	return l.engine.CreateContainer(ctx, isolation.Container(w, *image, l.installation, network, project))
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

// observed is what was seen in the service's words.
func observed(w workspace.Workspace, s seen) (o workspace.Observed) {
	if n := s.network; n != nil {
		o.Network = &workspace.Network{ID: n.ID, Name: n.Name, Subnet: n.Subnet}
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
				Seccomp: string(c.Enforced.Seccomp), User: c.Enforced.User, Warnings: isolation.Compare(w, *c, s.mount),
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
