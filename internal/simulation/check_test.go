package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// check holds what must be so after each step.
func (w *world) check() {
	w.mu.Lock()
	for _, found := range w.faultsFound {
		w.Error(found)
	}
	w.mu.Unlock()
	live := w.liveTasks()
	w.checkOrder(live)
	w.checkEnds(live)
	w.checkBatches()
	w.checkLog()
}

// checkLog holds that the event log tells the same as the rows: its order after each step, and what it comes to now and then.
func (w *world) checkLog() {
	if w.replay == nil {
		w.replay = storetest.NewReplay()
	}
	if err := w.replay.Read(w.Context(), w.eyes); err != nil {
		w.Fatal(err)
	}
	if w.n(10) > 0 {
		return
	}
	differs, err := w.replay.Differs(w.Context(), w.eyes)
	if err != nil {
		w.Fatal(err)
	}
	for _, what := range differs {
		w.Error(what)
	}
}

func (w *world) liveTasks() []task.Task {
	q := workspace.TaskQuery{Status: []task.Status{task.Queued, task.Running, task.Retrying}, Window: workspace.Window{Last: 1000}}
	p, err := w.eyes.Tasks(w.Context(), q)
	if err != nil {
		w.Fatal(err)
	}
	return p.Items
}

// checkOrder holds that of each workspace at most one task runs, and that it is the oldest.
func (w *world) checkOrder(live []task.Task) {
	oldest := make(map[string]task.Task)
	running := make(map[string]task.Task)
	for _, t := range live {
		if first, ok := oldest[t.WorkspaceID]; !ok || t.ID < first.ID {
			oldest[t.WorkspaceID] = t
		}
		if t.Status == task.Running {
			if other, ok := running[t.WorkspaceID]; ok {
				w.Errorf("%s and %s run on %s", t.ID, other.ID, t.WorkspaceID)
			}
			running[t.WorkspaceID] = t
		}
	}
	for id, t := range running {
		if oldest[id].ID != t.ID {
			w.Errorf("%s %s runs before %s %s", t.Type, t.ID, oldest[id].Type, oldest[id].ID)
		}
	}
}

// checkEnds holds that what no longer lives has ended, and what has ended stays so.
func (w *world) checkEnds(live []task.Task) {
	lives := make(map[string]struct{}, len(live))
	for _, t := range live {
		if status, ended := w.ended[t.ID]; ended {
			w.Errorf("%s lives again: it was %s", t.ID, status)
		}
		lives[t.ID] = struct{}{}
	}
	ids := make([]string, 0, len(w.live)+5)
	for id := range w.live {
		if _, still := lives[id]; !still {
			ids = append(ids, id)
		}
	}
	for range 5 {
		if id, ok := pick(w, w.ended); ok {
			ids = append(ids, id)
		}
	}
	found, err := w.eyes.TasksByID(w.Context(), ids)
	if err != nil {
		w.Fatal(err)
	}
	for _, id := range ids {
		t, exists := found[id]
		before, known := w.ended[id]
		switch {
		case !exists:
			w.Errorf("%s is lost", id)
		case t.Status.Live() || t.FinishedAt == nil:
			w.Errorf("%s is %s and not among the live ones", id, t.Status)
		case known && before != t.Status:
			w.Errorf("%s was %s and is %s", id, before, t.Status)
		}
		w.ended[id] = t.Status
	}
	w.live = lives
}

// checkBatches holds that the counts of batches are the sums of their items, and that they only grow.
func (w *world) checkBatches() {
	for id, before := range w.batches {
		if before.Status != workspace.BatchRunning && w.n(20) > 0 {
			continue // it never changes again, which is looked at now and then
		}
		b, err := w.eyes.Batch(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		p, err := w.eyes.BatchItems(w.Context(), id, b.Revision, workspace.Window{First: 1000})
		if err != nil {
			w.Fatal(err)
		}
		n, underWay := make(map[workspace.ItemStatus]int), 0
		for _, item := range p.Items {
			n[item.Status]++
			if item.TaskID != "" && (item.Status == workspace.ItemQueued || item.Status == workspace.ItemRunning) {
				underWay++
			}
		}
		if underWay > b.Concurrency {
			w.Errorf("%d items of %+v are under way", underWay, b)
		}
		ended := b.Succeeded + b.Failed + b.Skipped + b.Cancelled
		if b.Total != p.Total || b.Succeeded != n[workspace.ItemSucceeded] || b.Failed != n[workspace.ItemFailed] || b.Skipped != n[workspace.ItemSkipped] ||
			b.Cancelled != n[workspace.ItemCancelled] || (ended == b.Total) != (b.Status != workspace.BatchRunning) {
			w.Errorf("%+v has the items %v", b, n)
		}
		if b.Succeeded < before.Succeeded || b.Failed < before.Failed || b.Skipped < before.Skipped || b.Cancelled < before.Cancelled ||
			before.Status != workspace.BatchRunning && b.Status != before.Status {
			w.Errorf("%+v was %+v", b, before)
		}
		w.batches[id] = b
	}
}

// runsMost is how often tasks may run of one workspace, once there are no faults any more, until it is as it is desired, besides those that
// were live then: recovery once from what was done to it and once from what its checks come to, and a SYNC of what has failed for good, each with one that settles a
// cancelled task.
const runsMost = 5

// converge ends all faults, and holds that everything then becomes as it is desired, by itself but for what has failed for good and says so,
// or was started by somebody else, which one SYNC sees to, and in a bounded number of runs. Rows, containers and networks agree one to one. Then faults go on.
func (w *world) converge() {
	defer w.faults.Store(w.faults.Swap(0))
	before := w.runs()
	for _, t := range w.liveTasks() {
		before[t.WorkspaceID]++
	}
	w.rest()
	for range w.owners {
		w.told = append(w.told, w.checkHealth())
	}
	w.advance(resync + time.Second) // what no event told of
	w.rest()
	for id, owner := range w.owners {
		now, err := w.eyes.Workspace(w.Context(), id)
		if workspace.CodeOf(err) == workspace.NotFound || err == nil && now.StatusReason == nil {
			if now.Status == workspace.Failing {
				w.Errorf("%s is FAILED and does not say why", id)
			}
			continue
		}
		if err != nil {
			w.Fatal(err)
		}
		if _, byHand := w.started[id]; !byHand && now.DesiredState == workspace.WantStopped && now.Status == workspace.Active {
			w.Errorf("%s runs although it was stopped, and nobody else has started it; its tasks are\n%s", id, w.history(id))
		}
		if _, err := w.any().Request(w.Context(), owner, task.Sync, workspace.Ask{ID: id}); err != nil {
			w.Errorf("sync %s: %v", id, err)
		}
	}
	w.rest()
	for id, n := range w.runs() {
		if more := n - before[id]; more > runsMost {
			w.Errorf("%s took %d runs more than there were tasks, the newest first:\n%s", id, more, w.history(id))
		}
	}
	w.advance(lateMost + orphanGrace + 3*resync) // what killed servers had asked for has come, and is removed
	w.check()
	if lost, err := w.any().LostSubnets(w.Context()); err != nil || len(lost) > 0 {
		w.Errorf("addresses are kept for nobody: %v, %v", lost, err)
	}
	for id, b := range w.batches {
		if b.Status == workspace.BatchRunning {
			w.Errorf("%s still runs: %+v", id, b)
		}
	}
	containers, networks := w.engineHas()
	all := maps.Clone(w.owners)
	maps.Copy(all, w.deleted)
	for id := range all {
		now, err := w.eyes.Workspace(w.Context(), id)
		state := containers[id]
		delete(containers, id)
		has := networks[id]
		delete(networks, id)
		if workspace.CodeOf(err) == workspace.NotFound {
			if len(state) > 0 || has > 0 {
				w.Errorf("%s is deleted, and the engine has %v and %d networks of it", id, state, has)
			}
			continue
		}
		if err != nil {
			w.Fatal(err)
		}
		good := len(state) == 1 && has == 1 && state[0] == seenOf(now)
		switch now.DesiredState {
		case workspace.WantRunning:
			good = good && now.Status == workspace.Active
		case workspace.WantStopped:
			kept := len(state) == 1 && has <= 1 && state[0] == seenOf(now) // a network that somebody removed is made again by the next start
			good = (kept || len(state) == 0 && now.Observed.State() == workspace.NoContainer) && now.Status == workspace.Inactive
		case workspace.WantDeleted:
			good = false
		}
		_, late := w.late[id]
		_, untimed := w.untimed[id]
		if !late && !untimed && w.takenBack(id) && len(state)+has > 0 {
			w.Errorf("the creation of %s was cancelled, and nothing else made it, but the engine has %v and %d networks of it; its tasks are\n%s", id, state, has, w.history(id))
		}
		if !good {
			w.Errorf("%s is to be %s and is %s; the engine has %v and %d networks of it, and seen was %v; failure %+v", id, now.DesiredState, now.Status, state, has, seenOf(now), now.Failure)
		}
	}
	if len(containers) > 0 || len(networks) > 0 {
		w.Errorf("nobody knows %v and %v", containers, networks)
	}
}

// runs is how often tasks have run of each workspace.
func (w *world) runs() map[string]int {
	n := make(map[string]int)
	for id := range w.owners {
		p, err := w.eyes.Tasks(w.Context(), workspace.TaskQuery{WorkspaceID: id, Window: workspace.Window{First: 1000}})
		if err != nil {
			w.Fatal(err)
		}
		for _, t := range p.Items {
			n[id] += t.Attempt
		}
	}
	return n
}

// history tells of all tasks of a workspace, the newest first.
func (w *world) history(id string) string {
	p, err := w.eyes.Tasks(w.Context(), workspace.TaskQuery{WorkspaceID: id, Window: workspace.Window{First: 1000}})
	if err != nil {
		w.Fatal(err)
	}
	var b strings.Builder
	for _, t := range p.Items {
		fmt.Fprintf(&b, "%s %s %s, asked for at %s, begun at %v, ended at %v, %+v, failure %v\n", t.ID, t.Type, t.Status, t.CreatedAt, t.StartedAt, t.FinishedAt, t.Params, t.Failure)
	}
	return b.String()
}

// takenBack reports whether all that could have made a container of a workspace was cancelled, or ended before it had begun, and was to be
// taken back: a start that is asked for before that is done takes over what is half made, and an engine that refuses is told of.
func (w *world) takenBack(id string) bool {
	p, err := w.eyes.Tasks(w.Context(), workspace.TaskQuery{
		WorkspaceID: id, Types: []task.Type{task.Create, task.Start, task.Restart, task.Recreate, task.Sync}, Window: workspace.Window{First: 1000},
	})
	if err != nil {
		w.Fatal(err)
	}
	var done time.Time // with what was cancelled, and with taking it back
	for _, t := range p.Items {
		cancelled := t.Params.Undo || t.Type == task.Create && t.Status == task.Cancelled
		switch {
		case cancelled && (t.FinishedAt == nil || t.Status == task.Failed), !cancelled && t.StartedAt != nil:
			return false
		case cancelled && t.FinishedAt.After(done):
			done = *t.FinishedAt
		}
	}
	return !slices.ContainsFunc(p.Items, func(t task.Task) bool {
		return t.Type != task.Create && t.Type != task.Sync && !t.CreatedAt.After(done)
	})
}

// rest waits until nothing lives any more.
func (w *world) rest() {
	const longest = 200
	for range longest {
		if live := w.liveTasks(); len(live) == 0 && !w.batchRuns() {
			return
		}
		w.advance(10 * time.Second)
		w.check()
	}
	w.Fatalf("it does not come to rest: %s", fmt.Sprint(w.liveTasks()))
}

func (w *world) batchRuns() bool {
	running, err := w.eyes.RunningBatches(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return len(running) > 0
}

// condition is what a container does and what its checks have come to.
type condition struct {
	state  workspace.ContainerState
	health engine.HealthStatus
}

func seenOf(w workspace.Workspace) condition {
	seen := condition{state: w.Observed.State()}
	if c := w.Observed.Container; c != nil && c.Health != nil {
		seen.health = engine.HealthStatus(c.Health.Status)
	}
	return seen
}

// engineHas are the conditions of the containers, and the number of networks, of each workspace.
func (w *world) engineHas() (containers map[string][]condition, networks map[string]int) {
	containers, networks = make(map[string][]condition), make(map[string]int)
	list, err := w.fake.Containers(w.Context(), isolation.Installation(installation))
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range list {
		id := c.Labels[engine.LabelWorkspace]
		containers[id] = append(containers[id], condition{workspace.ContainerState(c.State), c.Health})
	}
	nets, err := w.fake.Networks(w.Context(), isolation.Installation(installation))
	if err != nil {
		w.Fatal(err)
	}
	for _, n := range nets {
		networks[n.Labels[engine.LabelWorkspace]]++
	}
	return containers, networks
}
