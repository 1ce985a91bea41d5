package workspace

import (
	"context"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// maxWait bounds how long a request may wait for its task.
const maxWait = 30 * time.Second

// Result is the answer to a request that changes something.
type Result struct {
	Workspace *Workspace // nil: gone
	Task      *task.Task // the work that the request began or joined; nil where none was needed
}

// CreateInput asks for a workspace. Nil means the default.
type CreateInput struct {
	Name        string
	ProjectPath *string
	Image       *string
	Command     []string // nil: kept alive to be worked in; empty: what the image says
	Environment []EnvironmentVariable
	Labels      []Label
	Resources   ResourcesInput
	Policy      PolicyInput
	HealthCheck *HealthCheckInput // nil: what the image says
	Start       *bool             // false: made, not started
	Wait        *time.Duration

	IdempotencyKey *string
}

// ResourcesInput are limits asked for. Nil means the default, or what is there already.
type ResourcesInput struct {
	Cpus        *float64
	MemoryBytes *int64
	Pids        *int
}

// Create commits a workspace together with its CREATE task. With Wait it waits for the outcome; when that is failure for
// good, the workspace is deleted again and the failure is returned as an *Error.
func (s *Service) Create(ctx context.Context, actor Actor, in CreateInput) (Result, error) {
	wait, err := checkWait(in.Wait)
	if err != nil {
		return Result{}, err
	}
	asked := in
	asked.Wait, asked.IdempotencyKey = nil, nil
	key, err := newOnce(actor, in.IdempotencyKey, "create", asked)
	if err != nil {
		return Result{}, err
	}
	deadline := time.Now().Add(wait)
	r, err := once(ctx, s, key, func() (Result, error) { return s.insert(ctx, actor, in, deadline, key) }, func(before Once) (Result, error) {
		return s.rejoin(ctx, actor, before, deadline)
	})
	if err != nil {
		return Result{}, err
	}
	return s.awaitCreate(ctx, r, deadline)
}

func (s *Service) insert(ctx context.Context, actor Actor, in CreateInput, deadline time.Time, key Once) (Result, error) {
	w := Workspace{ID: NewID(WorkspacePrefix), OwnerID: actor.ID, DesiredState: WantRunning}
	if in.Start != nil && !*in.Start {
		w.DesiredState = WantStopped
	}
	var err error
	if w.Spec, err = s.newSpec(actor, w.ID, in); err != nil {
		return Result{}, err
	}
	var doing task.Task
	ch, err := s.store.Create(ctx, w, s.config.NetworkPool, func(d *Draft) {
		params := task.Params{}
		if wait := time.Until(deadline); wait > 0 { // by the database's clock it is another instant
			params.DiscardUntil = d.Now().Add(wait)
		}
		doing = d.Enqueue(task.Create, actor.ID, params)
		d.Once = key.answered(w.ID, &doing)
	})
	if err != nil {
		return Result{}, err
	}
	s.committed(ch)
	return result(ch, &doing), nil
}

// rejoin is again for a CREATE, which is to be undone when it fails within the wait of whoever asks last.
func (s *Service) rejoin(ctx context.Context, actor Actor, before Once, deadline time.Time) (Result, error) {
	if wait := time.Until(deadline); wait > 0 {
		_, err := s.update(ctx, before.WorkspaceID, func(d *Draft) error {
			if t := find(d.Live, func(t task.Task) bool { return t.ID == before.TaskID }); t != nil && t.Params.DiscardUntil.Before(d.Now().Add(wait)) {
				t.Params.DiscardUntil = d.Now().Add(wait)
			}
			return nil
		})
		if err != nil && CodeOf(err) != NotFound {
			return Result{}, err
		}
	}
	return s.again(ctx, actor)(before)
}

// awaitCreate waits for a CREATE and, when it failed for good while it was waited for, for the end of what undoes it.
func (s *Service) awaitCreate(ctx context.Context, r Result, deadline time.Time) (Result, error) {
	if r.Task == nil {
		return r, nil
	}
	id := r.Task.WorkspaceID
	removed := s.workspaces.Subscribe(id)
	defer removed.Close()
	r, err := s.await(ctx, r, deadline)
	if err != nil || r.Task == nil || !r.Task.Discarded() {
		return r, err // one that failed too late to be undone says so
	}
	undo, cancel := context.WithTimeout(ctx, undoWait)
	defer cancel()
	for {
		if _, err := s.store.Workspace(undo, id); CodeOf(err) == NotFound {
			break
		}
		if _, err := removed.Next(undo); err != nil {
			break // DELETING goes on without us
		}
	}
	return Result{}, failureError(r.Task.Failure)
}

// undoWait bounds how long an answer waits for a failed creation to be undone; the undoing goes on without it.
const undoWait = 15 * time.Second

// failureError is a task's failure as the answer to the request that waited for it.
func failureError(f *task.Failure) *Error {
	e := &Error{Code: Code(f.Code), Message: f.Message, Field: f.Field, Retryable: f.Retryable}
	if e.Code == ImageNotFound {
		e.Field = []string{"input", "image"}
	}
	return e
}

// UpdateInput changes what the owner says about a workspace. Nil leaves a part as it is.
type UpdateInput struct {
	ID        string
	Version   *int64
	Name      *string
	Labels    []Label // nil: as they are
	Resources ResourcesInput
	Policy    PolicyInput

	IdempotencyKey *string
}

// PolicyInput is a recovery policy asked for. Nil means the default, or what is there already.
type PolicyInput struct {
	MaxRetries *int
	Backoff    *time.Duration
	Fallback   *FallbackAction

	RestartWhenUnhealthy *bool
}

// Update changes a workspace's name, labels, recovery policy and limits. New limits reach the container by a SYNC task.
func (s *Service) Update(ctx context.Context, actor Actor, in UpdateInput) (Result, error) {
	asked := in
	asked.IdempotencyKey = nil
	key, err := newOnce(actor, in.IdempotencyKey, "update", asked)
	if err != nil {
		return Result{}, err
	}
	return once(ctx, s, key, func() (Result, error) { return s.change(ctx, actor, in, key) }, s.again(ctx, actor))
}

func (s *Service) change(ctx context.Context, actor Actor, in UpdateInput, key Once) (Result, error) {
	in, err := s.checkUpdate(in)
	if err != nil {
		return Result{}, err
	}
	var doing *task.Task
	ch, err := s.updateOwn(ctx, actor, in.ID, func(d *Draft) error {
		w := &d.Workspace
		doing = nil // a transaction may run again
		switch {
		case in.Version != nil && *in.Version != w.Version:
			return &Error{Code: Conflict, Message: "The workspace has changed since you read it. Read it again, then repeat the update.", Field: []string{"input", "version"}}
		case w.DesiredState == WantDeleted:
			return Decide(task.Sync, *w, d.Live).Refusal
		}
		if in.Name != nil {
			w.Name = *in.Name
		}
		if in.Labels != nil {
			w.Labels = in.Labels
		}
		w.Policy = in.Policy.over(w.Policy)
		if limits := in.Resources.over(w.Resources); limits != w.Resources {
			w.Resources = limits
			sync := Request{Verb: task.Sync, By: actor.ID, Params: task.Params{Grace: defaultGrace}, At: d.Now()}
			doing, _ = d.Ask(Decide(task.Sync, *w, d.Live), sync) // it supersedes nothing, and is never there without a task
		}
		d.Once = key.answered(in.ID, doing)
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	return result(ch, doing), nil
}

// Ask is a request for a task on a workspace that exists.
type Ask struct {
	ID    string
	Grace *time.Duration // of STOP and RESTART
	Wait  *time.Duration

	IdempotencyKey *string
}

// The grace that a container has to end by itself.
const (
	defaultGrace = 10 * time.Second
	maxGrace     = 5 * time.Minute
)

// Request asks for START, STOP, RESTART, DELETE or SYNC.
func (s *Service) Request(ctx context.Context, actor Actor, verb task.Type, ask Ask) (Result, error) {
	wait, err := checkWait(ask.Wait)
	if err != nil {
		return Result{}, err
	}
	grace := defaultGrace
	if ask.Grace != nil {
		if grace = *ask.Grace; grace < 0 || grace > maxGrace {
			return Result{}, badInput("The grace must be between PT0S and PT5M.", "input", "grace")
		}
	}
	key, err := newOnce(actor, ask.IdempotencyKey, string(verb), Ask{ID: ask.ID, Grace: &grace})
	if err != nil {
		return Result{}, err
	}
	deadline := time.Now().Add(wait)
	r, err := once(ctx, s, key, func() (Result, error) {
		return s.request(ctx, actor, ask.ID, verb, task.Params{Grace: grace}, key)
	}, s.again(ctx, actor))
	if err != nil {
		return Result{}, err
	}
	return s.await(ctx, r, deadline)
}

// request commits what becomes of a request, and gives the task that does it; nil where none is needed.
func (s *Service) request(ctx context.Context, actor Actor, id string, verb task.Type, params task.Params, key Once) (Result, error) {
	var cut []string
	var doing *task.Task
	ch, err := s.updateOwn(ctx, actor, id, func(d *Draft) error {
		doing = nil // a transaction may run again
		decision := Decide(verb, d.Workspace, d.Live)
		if decision.Refusal != nil {
			return decision.Refusal
		}
		doing, cut = d.Ask(decision, Request{Verb: verb, By: actor.ID, Params: params, At: d.Now()})
		d.Once = key.answered(id, doing)
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	s.interrupt(cut, task.ErrSuperseded)
	return result(ch, doing), nil
}

// updateOwn is update for somebody: what the actor does not see does not exist.
func (s *Service) updateOwn(ctx context.Context, actor Actor, id string, change func(*Draft) error) (Change, error) {
	ch, err := s.update(ctx, id, func(d *Draft) error {
		if !actor.sees(d.Workspace.OwnerID) {
			return errNotFound("workspace", "input", "id")
		}
		d.CausedBy(actor.ID)
		return change(d)
	})
	if e, ok := err.(*Error); ok && e.Code == NotFound && e.Field == nil { //nolint:errorlint // the store's own, unwrapped
		return ch, errNotFound("workspace", "input", "id")
	}
	return ch, err
}

func checkWait(wait *time.Duration) (time.Duration, error) {
	if wait == nil {
		return 0, nil
	}
	if *wait < 0 || *wait > maxWait {
		return 0, badInput("The wait must be between PT0S and PT30S.", "input", "wait")
	}
	return *wait, nil
}

// await waits until the task of an answer has ended, the deadline, or the end of ctx, and gives the answer as it is then. It is
// woken by the commit.
func (s *Service) await(ctx context.Context, r Result, deadline time.Time) (Result, error) {
	now, err := s.awaitEnd(ctx, r, deadline)
	if CodeOf(err) == DatabaseLost { // what was asked for is committed: it goes on when the database is back
		return r, nil
	}
	return now, err
}

func (s *Service) awaitEnd(ctx context.Context, r Result, deadline time.Time) (Result, error) {
	if r.Task == nil || !r.Task.Status.Live() || !time.Now().Before(deadline) {
		return r, nil
	}
	id, taskID := r.Task.WorkspaceID, r.Task.ID
	sub := s.tasks.Subscribe(taskID)
	defer sub.Close()
	waiting, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	t, err := s.store.Task(ctx, taskID) // it may have ended before anybody listened
	for err == nil && t.Status.Live() {
		next, nextErr := sub.Next(waiting)
		if nextErr != nil { // what another server did may not have been heard of
			t, err = s.store.Task(ctx, taskID)
			break
		}
		if newerTask(t, next) {
			t = next
		}
	}
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	switch r.Task = &t; {
	case CodeOf(err) == NotFound:
		r.Task = nil
	case err != nil:
		return Result{}, err
	}
	r.Workspace, err = s.now(ctx, id)
	return r, err
}

// again gives the answer that a key stands for, as it is now, to somebody who may still see it.
func (s *Service) again(ctx context.Context, actor Actor) func(Once) (Result, error) {
	return func(before Once) (Result, error) {
		r, err := s.reread(ctx, before.WorkspaceID, before.TaskID)
		if r.Workspace != nil && !actor.sees(r.Workspace.OwnerID) || r.Task != nil && !actor.sees(r.Task.OwnerID) {
			return Result{}, errNotFound("workspace", "input", "id")
		}
		return r, err
	}
}

// reread is the answer as of now. No task: none was needed, or it ended so long ago that it was pruned.
func (s *Service) reread(ctx context.Context, id, taskID string) (r Result, err error) {
	if taskID != "" {
		t, err := s.store.Task(ctx, taskID)
		switch {
		case err == nil:
			r.Task = &t
		case CodeOf(err) != NotFound:
			return Result{}, err
		}
	}
	r.Workspace, err = s.now(ctx, id)
	return r, err
}

// now is a workspace as it is; nil when it has been deleted.
func (s *Service) now(ctx context.Context, id string) (*Workspace, error) {
	w, err := s.store.Workspace(ctx, id)
	switch {
	case err == nil:
		return &w, nil
	case CodeOf(err) == NotFound:
		return nil, nil //nolint:nilnil // there is none, which is an answer
	default:
		return nil, err
	}
}

// result is the answer to a change: with the task that does it, as it was written, or as it was read where it was joined as it is.
func result(ch Change, doing *task.Task) Result {
	r := Result{Workspace: &ch.Workspace, Task: doing}
	if doing != nil {
		if written := find(ch.Tasks, func(t task.Task) bool { return t.ID == doing.ID }); written != nil {
			r.Task = written
		}
	}
	return r
}
