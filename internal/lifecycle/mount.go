package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/workspace"
)

// A container can write to its project and to nothing above it. So the path of a project cannot be changed from inside a container, unless
// the project lies in another workspace's. That is refused when a workspace is created and again before each start, since the engine
// resolves the path at each start. What is mounted is compared after each start. docs/adr/0020 says why this suffices.

// project gives the project's directory on the host, if no container can replace a part of its path. It makes the directory as long as nothing can have been
// written to it: one that is missing later is a loss, or a disk that is not there, and an empty one in its place would hide that.
func (l *Lifecycle) project(ctx context.Context, w workspace.Workspace) (string, error) {
	name, err := l.workspaces.Enclosing(ctx, w)
	if err != nil {
		return "", err
	}
	if name != "" {
		return "", &workspace.Error{Code: workspace.Conflict, Message: fmt.Sprintf(
			"The project lies within that of your workspace %q, whose container could replace it. Delete one of the two, and create it anew on a path beside the other.", name)}
	}
	if w.HasRun() {
		return l.projects.Find(w.OwnerID, w.ProjectPath)
	}
	return l.projects.Make(w.OwnerID, w.ProjectPath)
}

// removeProject removes a directory that the server has named, with the last workspace that has it, when there is nothing in it. One that cannot be removed keeps
// nobody from deleting the workspace.
func (l *Lifecycle) removeProject(ctx context.Context, w workspace.Workspace) error {
	if !w.NamedByServer() {
		return nil
	}
	if shared, err := l.workspaces.SharesProject(ctx, w); shared || err != nil {
		return err
	}
	if err := l.projects.RemoveEmpty(w.OwnerID, w.ProjectPath); err != nil {
		l.log.WarnContext(ctx, "remove an empty project directory", "workspace_id", w.ID, "error", err)
	}
	return nil
}

// checkMount compares what a running container has mounted with its project's directory, whoever started it. One that has something else mounted from its start is
// removed at once. One that had the right directory when it started goes on with that, and its owner is told that there is another one at the path by now, or none.
func (l *Lifecycle) checkMount(ctx context.Context, w workspace.Workspace, s *seen) error {
	c := s.container
	if c == nil || c.State != engine.Running && c.State != engine.Paused {
		return nil
	}
	was := workspace.MountUnknown // of this run
	if sameRun(w, *c) {
		was = w.Observed.Container.Mount
	}
	compared := was == workspace.MountVerified || was == workspace.MountReplaced
	same, known, err := l.projects.Mounted(w.OwnerID, w.ProjectPath, isolation.Target, *c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s.mount = workspace.MountUnknown; compared {
			s.mount = workspace.MountReplaced
		}
		return nil
	case err != nil:
		return fmt.Errorf("compare what is mounted: %w", err)
	case !known:
		if s.mount = workspace.MountUnknown; compared {
			s.mount = was
		}
		return nil
	case same:
		s.mount = workspace.MountVerified
		return nil
	case compared:
		s.mount = workspace.MountReplaced
		return nil
	}
	l.log.ErrorContext(ctx, "ALERT: a container has something else mounted than its project and is removed",
		"workspace_id", w.ID, "container_id", c.ID, "owner_id", w.OwnerID, "project_path", w.ProjectPath)
	if err := l.engine.RemoveContainer(ctx, c.ID); err != nil {
		return fmt.Errorf("remove a container that has something else mounted than its project: %w", err)
	}
	s.container, s.tail, s.foreign = nil, nil, true
	return nil
}

// sameRun reports whether a container is in the run in which it was last seen.
func sameRun(w workspace.Workspace, c engine.Container) bool {
	was := w.Observed.Container
	return was != nil && was.ID == c.ID && was.StartedAt != nil && was.StartedAt.Equal(c.StartedAt)
}
