package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/project"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// crowd is how many stops, and how many creations, of another owner wait at once. An owner may have 250 tasks parked for containers and 250 for
	// images, so all of them are under way. Four images are pulled at once; the others stand in that line, parked too.
	crowd = 100
	// crowdGrace is how long a container of these may go on that was told to end: the longest that the API takes, and more than is measured beside it.
	crowdGrace = "PT5M"
	// besideTurns is how often is measured while they wait; half as often before there is anything of theirs, and half as often when all of it is gone. Where the
	// engine is slow it is as often as besideLongest allows, which is from when the stops were asked for and leaves the graces some time, and besideLeast at least.
	besideTurns   = 20
	besideLeast   = 10
	besideLongest = 4 * time.Minute
	// firstBackoff is the least wait before a recovery that a policy may ask for. What came of it is taken off: it is by intent.
	firstBackoff = "PT0.1S"
	// mostBeside bounds what a creation and a recovery take beside the others' waits, as a multiple of what they take alone.
	mostBeside = 1.5
)

// deaf is a command that ends by no signal that it can ignore. What it becomes ignores it too.
var deaf = []string{"sh", "-c", "trap '' TERM; exec sleep infinity"}

// took is what was measured at one time.
type took struct {
	creation, recovery, bareCreation, bareRestart []time.Duration
	waitedToCreate, waitedToRecover               []time.Duration // for a worker, as part of the first two
}

// fairness is what is needed to measure one owner beside another.
type fairness struct {
	*bench

	server *server // and the owner who is measured
	other  *client // the one whose tasks wait
	slow   *trickle
	direct *raw
}

// fair measures a creation and a recovery of one owner while another's stops and pulls wait, beside what they take alone. By turns with them the
// same is done straight through the engine, which says what the engine itself takes from whoever uses it beside these.
func (b *bench) fair(ctx context.Context) (results []result, err error) {
	root, err := project.Open(b.path("fair-projects"))
	if err != nil {
		return nil, err
	}
	f := &fairness{bench: b, direct: &raw{engine: b.engine, projects: root, installation: workspace.NewID("inst_")}}
	defer func() { err = errors.Join(err, clearEngine(ctx, b.engine, f.direct.installation), root.Close()) }()
	if f.slow, err = startTrickle(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.slow.stop()) }()
	made, err := b.databases.create(ctx, store.Postgres)
	if err != nil {
		return nil, err
	}
	if f.server, err = startServer(ctx, b.server, b.dir, made, "AICLI_ALLOWED_IMAGES=docker.io/library/*,127.0.0.1:*"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.server.stop(), clearEngine(ctx, b.engine, f.server.installation)) }()
	if f.other, err = f.server.as(ctx, "crowd"); err != nil {
		return nil, err
	}
	alone, beside, err := f.measure(ctx)
	if err != nil {
		return nil, err
	}
	return compared(made.dialect, alone, beside), nil
}

// measure measures alone, beside, and alone again, so that what changes meanwhile meets both.
func (f *fairness) measure(ctx context.Context) (alone, beside took, err error) {
	forever := func() bool { return true }
	if err = f.turn(ctx, &took{}); err == nil { // the first of all is slower
		err = f.turns(ctx, besideTurns/2, &alone, forever)
	}
	if err == nil {
		beside, err = f.beside(ctx)
	}
	if err == nil {
		err = f.other.clear(ctx)
	}
	if err == nil {
		err = f.turns(ctx, besideTurns/2, &alone, forever)
	}
	f.say("alone", alone)
	return alone, beside, err
}

// beside measures while the other owner's tasks wait, from when all of them do.
func (f *fairness) beside(ctx context.Context) (beside took, err error) {
	if err := f.crowd(ctx); err != nil {
		return beside, err
	}
	asked := time.Now() // at the latest: some were a moment before
	var begun took      // too little for a row
	for waits := false; !waits; {
		if waits, err = f.allWait(ctx); err == nil && !waits {
			err = f.turn(ctx, &begun)
		}
		if err == nil && time.Since(asked) > besideLongest {
			err = fmt.Errorf("not all of the others' tasks wait after %v", besideLongest)
		}
		if err != nil {
			return beside, err
		}
	}
	f.say("while they are begun", begun)
	err = f.turns(ctx, besideTurns, &beside, func() bool { return time.Since(asked) < besideLongest })
	f.say("beside", beside)
	if n := len(beside.creation); err == nil && n < besideLeast {
		err = fmt.Errorf("the engine is too slow: %d turns, of %d at least, in %v", n, besideLeast, besideLongest)
	}
	if err == nil {
		err = f.stillWait(ctx)
	}
	return beside, err
}

// crowd has the other owner ask for all that waits.
func (f *fairness) crowd(ctx context.Context) error {
	ids := make([]string, crowd)
	if err := each(ctx, crowd, askers, func(ctx context.Context, i int) (err error) {
		ids[i], err = f.other.change(ctx, "create", map[string]any{"name": fmt.Sprint("deaf ", i), "command": deaf})
		return err
	}); err != nil {
		return err
	}
	if err := f.other.until(ctx, "ACTIVE", crowd); err != nil {
		return err
	}
	return each(ctx, 2*crowd, askers, func(ctx context.Context, i int) error {
		if i%2 == 0 {
			return f.other.mutate(ctx, "stop", map[string]any{"id": ids[i/2], "grace": crowdGrace})
		}
		return f.other.mutate(ctx, "create", map[string]any{"name": fmt.Sprint("pulled ", i/2), "image": fmt.Sprintf("%s/slow/%d:1", f.slow.host, i/2)})
	})
}

// allWait reports whether all of the other owner's tasks wait for what they are to wait for.
func (f *fairness) allWait(ctx context.Context) (bool, error) {
	var data struct {
		Stops, Pulls struct{ Nodes []struct{ Step string } }
	}
	err := f.other.ask(ctx, &data, `{
		stops: tasks(first: 100, filter: { type: [STOP], status: [RUNNING] }) { nodes { step } }
		pulls: tasks(first: 100, filter: { type: [CREATE], status: [RUNNING] }) { nodes { step } } }`, nil)
	stops, pulls := 0, 0
	for _, n := range data.Stops.Nodes {
		if n.Step == "stop container" {
			stops++
		}
	}
	for _, n := range data.Pulls.Nodes {
		if n.Step == "pull image" {
			pulls++
		}
	}
	f.progress.Info("the other owner's tasks", "stops", stops, "pulls", pulls, "layers", f.slow.open.Load())
	return stops == crowd && pulls == crowd, err
}

// stillWait refuses a measurement that was not beside all of what it says.
func (f *fairness) stillWait(ctx context.Context) error {
	waits, err := f.allWait(ctx)
	if err == nil && !waits {
		err = errors.New("what was to be measured beside ended before")
	}
	return err
}

// turns measures n times, or fewer where there is no more time.
func (f *fairness) turns(ctx context.Context, n int, into *took, more func() bool) (err error) {
	for i := 0; err == nil && i < n && more(); i++ {
		err = f.turn(ctx, into)
	}
	return err
}

// turn measures one creation and one recovery through the API, and the same straight through the engine. Each workspace recovers once, since a
// second try waits for longer. The server looks once a second whether what was put off is due: each turn ends its container at another moment of the
// second, so that turns wait for that alike. All is cleared up outside the clock.
func (f *fairness) turn(ctx context.Context, into *took) (err error) {
	f.server.names++
	began := time.Now()
	id, err := f.server.change(ctx, "create", map[string]any{"name": fmt.Sprint("measured ", f.server.names), "recoveryPolicy": map[string]any{"backoff": firstBackoff}})
	if err != nil {
		return err
	}
	frames, err := f.server.watch(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, frames.Close()) }()
	if err := frames.untilActive(0); err != nil {
		return err
	}
	creation := time.Since(began)

	const golden = 0.6180339887 // its multiples are spread evenly over the second, however many there are
	_, part := math.Modf(golden * float64(len(into.creation)))
	now := time.Now()
	if err := pause(ctx, now.Truncate(time.Second).Add(time.Second+time.Duration(part*float64(time.Second))).Sub(now)); err != nil {
		return err
	}
	began = time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- f.engine.StopContainer(ctx, isolation.Name(id), 0) }()
	err = frames.untilActive(1)
	recovery := time.Since(began)
	if err := errors.Join(err, <-stopped); err != nil {
		return err
	}
	tasks, err := f.times(ctx, id)
	if err != nil {
		return err
	}
	if err := f.server.mutate(ctx, "delete", map[string]any{"id": id, "wait": "PT30S"}); err != nil {
		return err
	}
	into.creation = append(into.creation, creation)
	into.recovery = append(into.recovery, recovery-tasks.restart.RunAt.Sub(tasks.restart.CreatedAt))
	into.waitedToCreate = append(into.waitedToCreate, tasks.create.StartedAt.Sub(tasks.create.RunAt))
	into.waitedToRecover = append(into.waitedToRecover, tasks.restart.StartedAt.Sub(tasks.restart.RunAt))
	return f.bareTurn(ctx, into)
}

// bareTurn makes a container and ends and starts it straight through the engine.
func (f *fairness) bareTurn(ctx context.Context, into *took) error {
	w := f.direct.next()
	began := time.Now()
	if err := f.direct.makeOne(ctx, w); err != nil {
		return err
	}
	into.bareCreation = append(into.bareCreation, time.Since(began))
	began = time.Now()
	err := f.engine.StopContainer(ctx, isolation.Name(w.ID), 0)
	if err == nil {
		err = f.engine.StartContainer(ctx, isolation.Name(w.ID))
	}
	into.bareRestart = append(into.bareRestart, time.Since(began))
	return errors.Join(err, clearEngine(ctx, f.engine, f.direct.installation))
}

// times of a task, by the database's clock.
type times struct{ CreatedAt, RunAt, StartedAt time.Time }

// times of the tasks that made a workspace and that recovered it.
func (f *fairness) times(ctx context.Context, id string) (tasks struct{ create, restart times }, err error) {
	var data struct {
		Workspace struct{ Create, Restart struct{ Nodes []times } }
	}
	err = f.server.ask(ctx, &data, `query($id: ID!) { workspace(id: $id) {
		create: tasks(first: 1, filter: { type: [CREATE] }) { nodes { createdAt runAt startedAt } }
		restart: tasks(first: 1, filter: { type: [RESTART] }) { nodes { createdAt runAt startedAt } } } }`, map[string]any{"id": id})
	if create, restart := data.Workspace.Create.Nodes, data.Workspace.Restart.Nodes; err == nil && len(create)*len(restart) == 1 {
		tasks.create, tasks.restart = create[0], restart[0]
	} else if err == nil {
		err = fmt.Errorf("%s was not made and recovered by one task each: %+v", id, data)
	}
	return tasks, err
}

// untilActive reads until a workspace runs that recovery has restarted so often.
func (f *frames) untilActive(restarts int) (err error) {
	for err == nil && (f.last.Status != "ACTIVE" || f.last.RestartCount != restarts) {
		_, err = f.read()
	}
	return err
}

func (f *fairness) say(what string, t took) {
	if len(t.creation) == 0 {
		return
	}
	f.progress.Info("one owner", "when", what, "turns", len(t.creation), "creation", median(t.creation), "recovery", median(t.recovery),
		"waited_to_create", median(t.waitedToCreate), "waited_to_recover", median(t.waitedToRecover),
		"bare_creation", median(t.bareCreation), "bare_restart", median(t.bareRestart))
}

// compared are the rows. The engine's own have no bound: they say how much of the others is the engine's.
func compared(dialect store.Dialect, alone, beside took) (results []result) {
	row := func(name string, ours, peer []time.Duration, bound float64) {
		ratio := median(ours).Seconds() / median(peer).Seconds()
		r := result{
			name: name, database: dialect, ours: fmt.Sprintf("%.2f s", median(ours).Seconds()), peer: fmt.Sprintf("alone, %.2f s", median(peer).Seconds()),
			ratio: fmt.Sprintf("%.2f", ratio),
		}
		if bound > 0 {
			r.bound, r.verdict = fmt.Sprintf("≤ %g", bound), verdict(ratio <= bound)
		}
		results = append(results, r)
	}
	wait := fmt.Sprintf(" beside %d stops and %d pulls of another owner", crowd, crowd)
	row("creation"+wait, beside.creation, alone.creation, mostBeside)
	row("recovery"+wait, beside.recovery, alone.recovery, mostBeside)
	row("engine's own creation beside these", beside.bareCreation, alone.bareCreation, 0)
	row("engine's own restart beside these", beside.bareRestart, alone.bareRestart, 0)
	return results
}
