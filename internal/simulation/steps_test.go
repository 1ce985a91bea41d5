package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// workspacesMost is how many there are at once: few, so that requests meet.
const workspacesMost = 6

// verbs are what can be asked of a workspace that exists.
var verbs = []task.Type{task.Start, task.Stop, task.Restart, task.Sync, task.Stop, task.Start, task.Delete}

// step does one thing, drawn by its weight.
func (w *world) step() {
	total := 0
	kinds := []struct {
		weight int
		do     func() string
	}{
		{40, w.passTime}, {25, w.request}, {6, w.create}, {6, w.cancelTask}, {2, w.retryTask}, {3, w.startBatch}, {1, w.cancelBatch}, {1, w.retryBatch},
		{3, w.update}, {4, w.meddle}, {6, w.checkHealth}, {2, w.killServer}, {1, w.cutServer}, {1, w.freezeServer}, {1, w.engineAway}, {2, w.jump}, {1, w.setClock},
	}
	for _, k := range kinds {
		total += k.weight
	}
	drawn := w.n(total)
	for _, k := range kinds {
		if drawn -= k.weight; drawn < 0 {
			w.told = append(w.told[max(0, len(w.told)-12):], k.do())
			w.settle()
			return
		}
	}
}

func (w *world) passTime() string {
	d := w.between(time.Millisecond, 300*time.Millisecond)
	w.advance(d)
	return fmt.Sprint("time passes ", d)
}

// jump is long enough for retries to fall due, and leases to end.
func (w *world) jump() string {
	d := w.between(time.Second, 90*time.Second)
	w.advance(d)
	return fmt.Sprint("time jumps ", d)
}

// refused holds that an error is one that a user may see.
func (w *world) refused(what string, err error) string {
	if err == nil {
		return what
	}
	if workspace.CodeOf(err) == workspace.Internal {
		w.Errorf("%s: %v", what, err)
	}
	return fmt.Sprint(what, " (", workspace.CodeOf(err), ")")
}

func (w *world) create() string {
	if len(w.owners) >= workspacesMost {
		return "no room"
	}
	owner := workspace.Actor{ID: []string{"ann", "bob"}[w.n(2)]}
	in := workspace.CreateInput{Name: workspace.NewID("name"), Start: new(w.n(4) > 0)}
	if w.n(3) > 0 { // what its checks come to is for checkHealth to say
		in.HealthCheck = &workspace.HealthCheckInput{Command: []string{"check"}, Retries: new(1)}
		in.Policy.RestartWhenUnhealthy = new(w.n(2) == 0)
	}
	r, err := w.any().Create(w.Context(), owner, in)
	if err == nil {
		w.owners[r.Workspace.ID] = owner
		w.live[r.Task.ID] = struct{}{}
	}
	return w.refused("create", err)
}

func (w *world) update() string {
	id, ok := pick(w, w.owners)
	if !ok {
		return "nothing to update"
	}
	_, err := w.any().Update(w.Context(), w.owners[id], workspace.UpdateInput{ID: id, Resources: workspace.ResourcesInput{Pids: new(10 + w.n(100))}})
	return w.refused("update "+id, err)
}

// overtakes says which waiting tasks a request makes pointless: the order rules, told once more.
var overtakes = map[task.Type][]task.Type{
	task.Start:   {task.Stop},
	task.Stop:    {task.Recreate, task.Start, task.Restart, task.Sync},
	task.Restart: {task.Recreate, task.Start, task.Restart, task.Stop},
	task.Delete:  {task.Recreate, task.Create, task.Start, task.Restart, task.Stop, task.Sync},
	task.Sync:    {},
}

var wants = map[task.Type]workspace.DesiredState{
	task.Start: workspace.WantRunning, task.Restart: workspace.WantRunning, task.Stop: workspace.WantStopped, task.Delete: workspace.WantDeleted,
}

func (w *world) request() string {
	id, ok := pick(w, w.owners)
	if !ok {
		return "nothing to ask"
	}
	verb := verbs[w.n(len(verbs))]
	before := w.liveOf(id)
	r, err := w.any().Request(w.Context(), w.owners[id], verb, workspace.Ask{ID: id, Grace: new(time.Second)})
	told := w.refused(fmt.Sprint(verb, " ", id), err)
	if workspace.CodeOf(err) == workspace.NotFound { // it is gone, and leaves room for another one
		w.deleted[id] = w.owners[id]
		delete(w.owners, id)
	}
	if err != nil {
		return told
	}
	if want := wants[verb]; want != "" && r.Workspace.DesiredState != want {
		w.Errorf("%s: %s is desired", told, r.Workspace.DesiredState)
	}
	now, err := w.eyes.TasksByID(w.Context(), idsOf(before))
	if err != nil {
		w.Fatal(err)
	}
	for _, t := range before {
		repair := t.Params.Recovery && t.Type == task.Sync && (verb == task.Start || verb == task.Restart)
		settles := t.Type == task.Sync && t.RequestedBy == "" && !t.Params.Recovery && !t.Params.Clear
		if verb == task.Stop && t.Type == task.Sync && (r.Task == nil || t.ID > r.Task.ID) {
			continue // it comes behind the stop that is under way, or none was needed
		}
		overtaken := t.Status.Waiting() && (repair || slices.Contains(overtakes[verb], t.Type)) && (!settles || verb == task.Delete)
		if t.Status == task.Running && verb == task.Delete {
			continue // it is told to end, and may have done so by now
		}
		if joined := r.Task != nil && r.Task.ID == t.ID; overtaken != (now[t.ID].Status == task.Superseded) && !joined {
			w.Errorf("%s: %s %s, which was %s, is %s", told, t.Type, t.ID, t.Status, now[t.ID].Status)
		}
	}
	return told
}

func (w *world) liveOf(id string) []task.Task {
	live, err := w.eyes.LiveTasks(w.Context(), []string{id})
	if err != nil {
		w.Fatal(err)
	}
	return live[id]
}

func idsOf(tasks []task.Task) (ids []string) {
	for _, t := range tasks {
		ids = append(ids, t.ID)
	}
	return ids
}

func (w *world) cancelTask() string {
	id, ok := pick(w, w.live)
	if !ok {
		return "nothing to cancel"
	}
	_, err := w.any().CancelTask(w.Context(), workspace.Actor{ID: "root", Admin: true}, id)
	return w.refused("cancel "+id, err)
}

func (w *world) retryTask() string {
	failed := make(map[string]task.Status)
	for id, status := range w.ended {
		if status == task.Failed {
			failed[id] = status
		}
	}
	id, ok := pick(w, failed)
	if !ok {
		return "nothing to run again"
	}
	_, err := w.any().RetryTask(w.Context(), workspace.Actor{ID: "root", Admin: true}, id)
	return w.refused("run "+id+" again", err)
}

func (w *world) startBatch() string {
	actor := workspace.Actor{ID: []string{"ann", "bob", "root"}[w.n(3)]}
	actor.Admin = actor.ID == "root"
	in := workspace.BatchInput{
		Operation: verbs[w.n(len(verbs))], Filter: &workspace.Query{}, StopOnError: w.n(2) == 0, DryRun: w.n(5) == 0, Concurrency: new(1 + w.n(4)),
	}
	b, err := w.any().StartBatch(w.Context(), actor, in)
	if err == nil {
		w.batches[b.ID], w.owner[b.ID] = b, actor
	}
	return w.refused(fmt.Sprint("batch ", in.Operation, " ", b.ID), err)
}

func (w *world) cancelBatch() string {
	id, ok := pick(w, w.batches)
	if !ok {
		return "no batch to cancel"
	}
	_, err := w.any().CancelBatch(w.Context(), w.owner[id], id)
	return w.refused("cancel "+id, err)
}

func (w *world) retryBatch() string {
	id, ok := pick(w, w.batches)
	if !ok {
		return "no batch to run again"
	}
	b, err := w.any().RetryBatch(w.Context(), w.owner[id], id)
	if err == nil {
		w.batches[b.ID], w.owner[b.ID] = b, w.owner[id]
	}
	return w.refused("run "+id+" again", err)
}

// killServer kills one, and has another begin in its place.
func (w *world) killServer() string {
	i := w.n(len(w.servers))
	if err := w.servers[i].kill(); err != nil {
		w.Error(err)
	}
	w.gone = append(w.gone, w.servers[i])
	w.servers[i] = w.serve()
	return "a server is killed"
}

// setClock sets the clock of the database ahead or back. The servers notice when they next look for leases that have ended.
func (w *world) setClock() string {
	d := w.between(time.Second, 3*time.Hour)
	if w.n(2) == 0 {
		d = -d
	}
	for _, t := range w.liveTasks() {
		w.untimed[t.WorkspaceID] = struct{}{}
	}
	w.skew.Add(int64(d))
	w.advance(3 * time.Second)
	return fmt.Sprint("the clock is set by ", d)
}

// cutServer keeps a server from its database for a while, which may be longer than its leases last.
func (w *world) cutServer() string {
	s, d := w.any(), w.between(100*time.Millisecond, 15*time.Second)
	s.cut.Store(true)
	w.advance(d)
	s.cut.Store(false)
	return fmt.Sprint("a server is cut off for ", d)
}

// freezeServer has a server stand still for a while, and then go on as if no time had passed.
func (w *world) freezeServer() string {
	s, d := w.any(), w.between(5*time.Second, 20*time.Second)
	thaw := make(chan struct{})
	s.frozen.Store(&thaw)
	w.advance(d)
	s.frozen.Store(nil)
	close(thaw)
	return fmt.Sprint("a server is frozen for ", d)
}

// meddle does something to a container or a network behind the servers' backs.
func (w *world) meddle() string {
	id, ok := pick(w, w.owners)
	if !ok {
		return "nothing to meddle with"
	}
	name := isolation.Name(id)
	what := []string{"exits", "is killed", "is paused", "is removed", "is started", "is taken off its network", "loses its network"}[w.n(7)]
	switch what {
	case "exits":
		ok = w.fake.Exit(name, w.n(3))
	case "is killed":
		ok = w.fake.OOM(name)
	case "is paused":
		ok = w.fake.Pause(name)
	case "is removed":
		ok = w.fake.Remove(name)
	case "is started":
		if ok = w.fake.StartContainer(w.Context(), name) == nil; ok {
			w.started[id] = struct{}{}
		}
	case "is taken off its network":
		ok = w.fake.Disconnect(name)
	case "loses its network":
		w.fake.Disconnect(name)
		ok = w.fake.RemoveNetwork(w.Context(), name) == nil
	}
	return fmt.Sprintf("%s %s behind the servers' backs (%t)", id, what, ok)
}

// checkHealth has a check of a container come to its end.
func (w *world) checkHealth() string {
	id, ok := pick(w, w.owners)
	if !ok {
		return "nothing to check"
	}
	passed := w.n(2) == 0
	ok = w.fake.Check(isolation.Name(id), passed, "a check was here")
	return fmt.Sprintf("%s is checked (%t), and well (%t)", id, ok, passed)
}

func (w *world) engineAway() string {
	d := w.between(100*time.Millisecond, 10*time.Second)
	w.fake.SetDown(true)
	w.advance(d)
	w.fake.SetDown(false)
	return fmt.Sprint("the engine is away for ", d)
}
