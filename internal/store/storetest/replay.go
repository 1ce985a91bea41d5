package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Replay is what the event log alone says that there is: the last state of each workspace, task and batch in it.
type Replay struct {
	Seq        int64 // up to which it was read
	Workspaces map[string]workspace.Workspace
	Tasks      map[string]task.Task
	Batches    map[string]workspace.Batch
}

// NewReplay begins at the beginning of a log.
func NewReplay() *Replay {
	return &Replay{Workspaces: make(map[string]workspace.Workspace), Tasks: make(map[string]task.Task), Batches: make(map[string]workspace.Batch)}
}

// Read goes on to the end of the log, and holds that events are in order, and that each has the workspace as the one before has left it, or as it made it.
func (r *Replay) Read(ctx context.Context, db *store.DB) error {
	const page = 500
	for {
		events, err := db.Events(ctx, "", r.Seq, page)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := r.apply(e); err != nil {
				return fmt.Errorf("event %d, %s: %w", e.Seq, e.Type, err)
			}
		}
		if len(events) < page {
			return nil
		}
	}
}

func (r *Replay) apply(e workspace.Event) error {
	if e.Seq <= r.Seq {
		return fmt.Errorf("it comes after %d", r.Seq)
	}
	r.Seq = e.Seq
	if e.Batch != nil {
		r.Batches[e.Batch.ID] = *e.Batch
		return nil
	}
	w := e.Workspace
	before, known := r.Workspaces[e.WorkspaceID]
	switch {
	case w == nil || w.ID != e.WorkspaceID || w.OwnerID != e.OwnerID || e.Actor == "" || e.Message == "":
		return fmt.Errorf("it lacks something: %+v", e)
	case known != (e.Type != workspace.EventCreated):
		return fmt.Errorf("%s is known: %t", w.ID, known)
	case known && e.Type != workspace.EventTaskChanged && w.Version != before.Version+1,
		known && e.Type == workspace.EventTaskChanged && w.Version != before.Version && w.Version != before.Version+1:
		return fmt.Errorf("%s has version %d after %d", w.ID, w.Version, before.Version)
	}
	if r.Workspaces[w.ID] = *w; e.Type == workspace.EventDeleted {
		delete(r.Workspaces, w.ID)
	}
	if e.Task != nil {
		if e.Task.WorkspaceID != w.ID {
			return fmt.Errorf("its task is of %s", e.Task.WorkspaceID)
		}
		r.Tasks[e.Task.ID] = *e.Task
	}
	return nil
}

// Differs says where rows say something else than the log.
func (r *Replay) Differs(ctx context.Context, db *store.DB) (found []string, err error) {
	rows, _, err := db.Snapshot(ctx, workspace.Query{})
	if err != nil {
		return nil, err
	}
	if len(rows) != len(r.Workspaces) {
		found = append(found, fmt.Sprintf("there are %d workspaces, and %d by the log", len(rows), len(r.Workspaces)))
	}
	for _, w := range rows {
		w.Environment = withoutSecrets(w.Environment)
		if logged := r.Workspaces[w.ID]; text(logged) != text(w) {
			found = append(found, fmt.Sprintf("the workspace\n%s\nby the log\n%s", text(w), text(logged)))
		}
	}
	ids := make([]string, 0, len(r.Tasks))
	for id := range r.Tasks {
		ids = append(ids, id)
	}
	tasks, err := db.TasksByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for id, t := range tasks {
		if logged := r.Tasks[id]; text(lasting(t)) != text(lasting(logged)) {
			found = append(found, fmt.Sprintf("the task\n%s\nby the log\n%s", text(t), text(logged)))
		}
	}
	for id, logged := range r.Batches {
		if b, err := db.Batch(ctx, id); err == nil && text(b) != text(logged) {
			found = append(found, fmt.Sprintf("the batch\n%s\nby the log\n%s", text(b), text(logged)))
		}
	}
	return found, nil
}

// lasting is a task without what is no event: how far its step is, when its lease and a container's grace end, and when it runs next, which a clock that was set may have put right.
func lasting(t task.Task) task.Task {
	t.Progress, t.Revision, t.Lease, t.StopBy, t.RunAt = nil, 0, task.Lease{}, nil, time.Time{}
	return t
}

func withoutSecrets(list []workspace.EnvironmentVariable) []workspace.EnvironmentVariable {
	out := make([]workspace.EnvironmentVariable, len(list))
	for i, v := range list {
		if v.Secret {
			v.Value = ""
		}
		out[i] = v
	}
	return out
}

func text(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(b)
}
