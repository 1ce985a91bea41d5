package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	MoveSubnet(ctx context.Context, id string) (workspace.Workspace, error)
}

// Projects makes project directories and says where they are on the host.
type Projects interface {
	Make(owner, path string) (string, error)
	RemoveEmpty(owner, path string) error
}

// Lifecycle runs tasks against an engine.
type Lifecycle struct {
	engine       engine.Engine
	workspaces   Workspaces
	projects     Projects
	installation string
	looks        turns
}

// New makes a lifecycle for the containers of one installation.
func New(e engine.Engine, workspaces Workspaces, projects Projects, installation string) *Lifecycle {
	return &Lifecycle{engine: e, workspaces: workspaces, projects: projects, installation: installation}
}

// Handlers are the handlers of all task types: one, since all of them observe, plan and apply.
func (l *Lifecycle) Handlers() map[task.Type]task.Handler {
	handlers := make(map[task.Type]task.Handler)
	for _, typ := range task.Types() {
		handlers[typ] = l.run
	}
	return handlers
}

// Timeouts of one run. A creation may pull a large image over a slow line.
const (
	createTimeout = 15 * time.Minute
	otherTimeout  = 2 * time.Minute
	// lookTimeout bounds a look, with the wait for those before it: of a run that was cut there is no other bound.
	lookTimeout = 20 * time.Second
)

// Timeout bounds one run of a task; what may have to make a container may have to pull its image.
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
	s, err := l.observe(ctx, w)
	if err != nil {
		return err
	}
	err = l.apply(ctx, t, w, s, report)
	// Also after a run that failed or was cut: what it has left is what is true.
	return errors.Join(err, l.Look(context.WithoutCancel(ctx), w.ID))
}

// Look asks the engine what it has of a workspace and records that. Looks at one workspace take turns, so that what was seen
// earlier is never recorded over what was seen later. A workspace that is gone is no error.
func (l *Lifecycle) Look(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leave, err := l.looks.take(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	w, err := l.workspaces.Get(ctx, id)
	if workspace.CodeOf(err) == workspace.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	s, err := l.observe(ctx, w)
	if err != nil {
		return err
	}
	_, err = l.workspaces.Record(ctx, w.ID, Observed(w, s.networks, s.containers))
	return err
}

// observe looks up by label what the engine has of a workspace.
func (l *Lifecycle) observe(ctx context.Context, w workspace.Workspace) (s seen, err error) {
	labels := isolation.Labels(l.installation, w.ID)
	if s.networks, err = l.engine.Networks(ctx, labels); err != nil {
		return s, err
	}
	list, err := l.engine.Containers(ctx, labels)
	if err != nil {
		return s, err
	}
	for _, summary := range list {
		c, err := l.engine.Container(ctx, summary.ID)
		if engine.Is(err, engine.KindNotFound) {
			continue // gone since it was listed
		}
		if err != nil {
			return s, err
		}
		s.containers = append(s.containers, c)
	}
	if len(s.containers) == 0 || s.containers[0].State == engine.Dead {
		_, err := l.engine.Image(ctx, w.Image)
		if s.image = err == nil; err != nil && !engine.Is(err, engine.KindNotFound) {
			return s, err
		}
	}
	return s, nil
}

// apply does the steps one after another.
func (l *Lifecycle) apply(ctx context.Context, t task.Task, w workspace.Workspace, s seen, report task.Report) error {
	id, network := "", isolation.Name(w.ID)
	for _, next := range plan(t, w, s) {
		report(string(next.op), nil)
		target := next.target
		if target == "" {
			target = id
		}
		var err error
		switch next.op {
		case pullImage:
			err = l.pull(ctx, w.Image, report)
		case createNetwork:
			network, err = l.createNetwork(ctx, w)
		case createContainer:
			id, err = l.createContainer(ctx, w, network)
		case updateContainer:
			err = l.engine.UpdateContainer(ctx, target, isolation.Limits(w.Resources))
		case unpause:
			err = l.engine.UnpauseContainer(ctx, target)
		case startContainer:
			err = l.engine.StartContainer(ctx, target)
		case stopContainer:
			err = l.engine.StopContainer(ctx, target, t.Params.Grace)
		case removeContainer:
			err = l.engine.RemoveContainer(ctx, target)
		case removeNetwork:
			err = l.engine.RemoveNetwork(ctx, target)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", next, err)
		}
	}
	if t.Type == task.Delete && w.ProjectPath == w.ID {
		return l.projects.RemoveEmpty(w.OwnerID, w.ProjectPath) // made for this workspace alone, and never used
	}
	return nil
}

func (l *Lifecycle) pull(ctx context.Context, image string, report task.Report) error {
	return pullError(l.engine.Pull(ctx, image, func(p engine.PullProgress) {
		if p.Total > 0 {
			percent := math.Min(100, 100*float64(p.Current)/float64(p.Total))
			report(string(pullImage), &percent)
		}
	}))
}

// createNetwork makes the network. Where its addresses are in use outside this server, the next try has others.
func (l *Lifecycle) createNetwork(ctx context.Context, w workspace.Workspace) (string, error) {
	id, err := l.engine.CreateNetwork(ctx, isolation.Network(w, l.installation))
	if engine.Is(err, engine.KindAddressInUse) {
		if _, moveErr := l.workspaces.MoveSubnet(ctx, w.ID); moveErr != nil {
			return "", moveErr
		}
	}
	return id, err
}

func (l *Lifecycle) createContainer(ctx context.Context, w workspace.Workspace, network string) (string, error) {
	project, err := l.projects.Make(w.OwnerID, w.ProjectPath)
	if err != nil {
		return "", err
	}
	return l.engine.CreateContainer(ctx, isolation.Container(w, l.installation, network, project))
}

// Observed is what was seen in the service's words.
func Observed(w workspace.Workspace, networks []engine.Network, containers []engine.Container) (o workspace.Observed) {
	if len(networks) > 0 {
		o.Network = &workspace.Network{ID: networks[0].ID, Name: networks[0].Name, Subnet: networks[0].Subnet}
	}
	if len(containers) > 0 {
		c := containers[0]
		o.Container = &workspace.Container{
			ID: c.ID, Name: c.Name, State: workspace.ContainerState(c.State), Image: c.Image, StartedAt: optional(c.StartedAt),
			FinishedAt: optional(c.FinishedAt), ExitCode: c.ExitCode, OOMKilled: c.OOMKilled, Error: c.Error,
			Enforced: workspace.Enforced{
				Capabilities: c.Enforced.Capabilities, NoNewPrivileges: c.Enforced.NoNewPrivileges, ReadOnlyRoot: c.Enforced.ReadOnlyRoot,
				Seccomp: c.Enforced.Seccomp, User: c.Enforced.User, Warnings: isolation.Compare(w, c.Enforced),
			},
		}
	}
	return o
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
