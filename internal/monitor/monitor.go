// Package monitor reads the engine for everybody: whether it answers, what happens to our containers and networks, and what
// they use. It owns one event stream, and one stream of readings for each workspace that somebody watches. An event is a
// hint to look again: the monitor decides when to look, a Looker does, and what it saw is committed before anybody hears of it. The
// end of a container is recorded by its event, and looked at after.
package monitor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/hub"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Workspaces is where facts go and from where workspaces come.
type Workspaces interface {
	RecordEngine(h workspace.EngineHealth)
	RecordOrphans(found []workspace.Orphan)
	LostSubnets(ctx context.Context) ([]workspace.Orphan, error)
	Each(ctx context.Context, visit func(workspace.Workspace) error) error
	Watch(ctx context.Context, actor workspace.Actor, id string) (<-chan workspace.Workspace, error)
}

// Looker asks the engine what it has of a workspace, and records it, or the end of its container, which was told. Of events that tell only what is
// recorded it asks nothing; without any it asks in any case. It also removes what no workspace knows of.
type Looker interface {
	Look(ctx context.Context, id string, events []engine.Event) error
	End(ctx context.Context, id string, e workspace.End) error
	Discard(ctx context.Context, o workspace.Orphan) error
}

const (
	// lookers bounds the looks under way: an engine answers a few at once as fast as it can.
	lookers = 4
	// tellers bounds the ends of containers that are being recorded.
	tellers = 2
	// pingEvery is how often the engine is asked for a sign of life; a broken event stream tells of its end sooner.
	pingEvery = 5 * time.Second
	// pingLimit bounds one such question. An engine that is busy answers late.
	pingLimit = 10 * time.Second
	// doubtLimit bounds it when the event stream has broken, which an engine that answers late is no excuse for: it is told as away
	// within two seconds, also while it starts, when its socket is there and nobody answers.
	doubtLimit = 1500 * time.Millisecond
	// writeAgain is the wait before what could not be written is tried again.
	writeAgain = time.Second
	// lookAgain is the wait before a look that failed otherwise is made again.
	lookAgain = 10 * time.Second
	// learnAfter is the wait before everything is compared because a network was told of and not which: those of a burst are learnt at once. It is also
	// that before a comparison for which the rows could not be read is made again.
	learnAfter = time.Second
	// eventsMost bounds the events that a look knows it is asked for by: after more it is one in any case.
	eventsMost = 32
	// overlap is how far back a reopened event stream begins before the last event: two of them may have come in either order.
	overlap = time.Second
)

// reconnect is the wait between tries to reach an engine that is away: short enough to be back at work soon after it is.
const reconnect = time.Second

// Options of a monitor. All are required.
type Options struct {
	Engine      engine.Engine
	Confirm     func(context.Context) error // makes sure that what the engine has of this installation belongs to it, before it is looked at
	Workspaces  Workspaces
	Looker      Looker
	Labels      engine.Labels // of all that belongs to this installation
	Resync      time.Duration // how long a difference can stay unseen that no event told of
	OrphanGrace time.Duration // how long what no workspace knows of is left alone
	Log         *slog.Logger
}

// Monitor watches one engine. Run does the work; Sample and Samples may be called from anywhere.
type Monitor struct {
	Options
	agenda *agenda[[]engine.Event] // workspaces to look at, because of what happened
	ends   *agenda[workspace.End]  // of containers, to record before that

	// Of the goroutine of Run.
	learn   *time.Timer // fires when everything is to be compared
	last    time.Time   // the newest event, by the engine's clock
	orphans *orphans

	samples *hub.Latest[string, workspace.Sample]
	mu      sync.Mutex
	watches map[string]*watch
	closed  bool
	streams sync.WaitGroup
}

// New makes a monitor. It asks nothing before Run.
func New(o Options) *Monitor {
	learn := time.NewTimer(learnAfter)
	learn.Stop()
	return &Monitor{
		Options: o, agenda: newAgenda(joined), ends: newAgenda(newer), learn: learn, orphans: newOrphans(o.OrphanGrace),
		samples: hub.NewLatest[string](func(have, next workspace.Sample) bool { return next.At.After(have.At) }),
		watches: make(map[string]*watch),
	}
}

// Run follows the engine until ctx ends, and returns when all that it started has ended.
func (m *Monitor) Run(ctx context.Context) error {
	var work sync.WaitGroup
	for range lookers {
		work.Go(func() { m.lookAgain(ctx) })
	}
	for range tellers {
		work.Go(func() { m.tellEnds(ctx) })
	}
	work.Go(func() { m.discard(ctx) })
	for complaint := ""; ctx.Err() == nil; {
		err := m.follow(ctx)
		if _, pingErr := m.ping(ctx, doubtLimit); pingErr != nil && ctx.Err() == nil {
			m.lost(pingErr)
		}
		if ctx.Err() == nil { // a stream may end of itself, through a proxy that tires of it: the engine is not lost by that
			if err.Error() != complaint && !errors.Is(err, engine.ErrNotOurs) { // it is said once, however long it lasts, and that by who has found it
				complaint = err.Error()
				m.Log.Warn("what happens at the engine cannot be followed, and is tried again", "error", err)
			}
			pause(ctx, reconnect)
		}
	}
	work.Wait()
	m.closeWatches()
	return nil
}

// lookAgain works on the agenda.
func (m *Monitor) lookAgain(ctx context.Context) {
	for {
		id, events, err := m.agenda.take(ctx)
		if err != nil {
			return
		}
		// A look that fails is made again until it does not: the next comparison does not see all that it would have recorded.
		err = m.Looker.Look(ctx, id, events)
		if err != nil && ctx.Err() == nil {
			m.Log.Warn("look at a workspace", "workspace_id", id, "error", err)
			after := lookAgain
			if workspace.CodeOf(err) == workspace.DatabaseLost {
				after = writeAgain
			}
			m.agenda.again(ctx, id, nil, after)
		}
		m.agenda.done(id)
	}
}

// tellEnds records the ends of containers, and has them looked at.
func (m *Monitor) tellEnds(ctx context.Context) {
	for {
		id, end, err := m.ends.take(ctx)
		if err != nil {
			return
		}
		err = m.Looker.End(ctx, id, end)
		if err != nil && ctx.Err() == nil {
			m.Log.Warn("record the end of a container", "workspace_id", id, "error", err)
		}
		if workspace.CodeOf(err) == workspace.DatabaseLost {
			m.ends.again(ctx, id, end, writeAgain)
		} else {
			m.agenda.add(id, []engine.Event{{At: end.At, Kind: engine.ContainerObject, Action: "die", ID: end.ContainerID, ExitCode: &end.Code}})
		}
		m.ends.done(id)
	}
}

// follow reads the engine until it is lost. Events are opened before anything is listed, so that nothing falls between.
func (m *Monitor) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	info, err := m.ping(ctx, pingLimit)
	if err == nil {
		err = m.Confirm(ctx)
	}
	if err != nil {
		return err
	}
	var since time.Time
	if !m.last.IsZero() {
		since = m.last.Add(-overlap)
	}
	stream, err := m.Engine.Events(ctx, m.Labels, since)
	if err != nil {
		return err
	}
	events, broken := make(chan engine.Event), make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { broken <- read(ctx, stream, events) })
	defer reader.Wait()
	defer stream.Close()
	defer cancel()

	m.found(info)
	if err := m.compare(ctx); err != nil {
		return err
	}
	resync, life := time.NewTicker(m.Resync), time.NewTicker(pingEvery)
	defer resync.Stop()
	defer life.Stop()
	for {
		select {
		case e := <-events:
			m.hint(e)
		case <-m.learn.C:
			err = m.compare(ctx)
		case <-resync.C:
			err = m.compare(ctx)
		case <-life.C:
			if info, err = m.ping(ctx, pingLimit); err == nil {
				m.found(info)
			}
		case err = <-broken:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func read(ctx context.Context, stream engine.EventStream, events chan<- engine.Event) error {
	for {
		e, err := stream.Next()
		if err != nil {
			return err
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Monitor) ping(ctx context.Context, limit time.Duration) (engine.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return m.Engine.Info(ctx)
}

func (m *Monitor) found(info engine.Info) {
	m.Workspaces.RecordEngine(workspace.EngineHealth{
		Status: workspace.EngineHealthy, Name: info.Name, Version: info.Version, APIVersion: info.APIVersion,
		Since: time.Now().UTC(), CPUs: info.CPUs, MemoryBytes: info.MemoryBytes,
	})
}

// lost keeps what is known of the engine's host. The engine's own words, which may name paths, stay in the log.
func (m *Monitor) lost(err error) {
	why := "The container engine does not answer. Check that it runs; work on containers goes on by itself when it is back."
	switch kind := engine.KindOf(err); {
	case errors.Is(err, engine.ErrNotOurs):
		why = "The containers of this installation belong to another database, which this server's is a copy of, or which is a copy of this server's. Nothing of them is touched. " +
			"To go on here, stop the other database's server and run aicli-web adopt; work goes on by itself then."
	case kind != engine.KindUnavailable && kind != engine.KindTimeout && !errors.Is(err, context.Canceled):
		why = "The container engine answers with a fault. Look into its log and the server's; it is asked again every second."
	}
	m.Workspaces.RecordEngine(workspace.EngineHealth{Status: workspace.EngineUnavailable, Since: time.Now().UTC(), LastError: why})
}

// idle are the actions on containers that change nothing of what is recorded, or that another one follows which does.
var idle = map[string]bool{
	"attach": true, "detach": true, "resize": true, "top": true, "commit": true, "copy": true, "export": true,
	"archive-path": true, "extract-to-dir": true, "kill": true,
}

// hint puts the workspace that an event is about on the agenda. The end of a container is more than a hint: it is over, whatever comes
// after, and a look would have to wait until the engine has cleared up.
func (m *Monitor) hint(e engine.Event) {
	if e.At.After(m.last) {
		m.last = e.At
	}
	if e.Kind == engine.ContainerObject {
		id := e.Labels[engine.LabelWorkspace]
		switch {
		case e.Action == "die" && e.ExitCode != nil:
			m.ends.add(id, workspace.End{ContainerID: e.ID, At: e.At.UTC(), Code: *e.ExitCode})
		case !idle[e.Action] && !strings.HasPrefix(e.Action, "exec_"):
			m.agenda.add(id, []engine.Event{e})
		}
		return
	}
	if e.Name == "" {
		m.learn.Reset(learnAfter)
	}
	m.agenda.add(isolation.Workspace(e.Name), []engine.Event{e})
}

// joined are the events of two hints. None at all are more than any: a look is due whatever they tell.
func joined(have, next []engine.Event) []engine.Event {
	if len(have) == 0 || len(next) == 0 || len(have)+len(next) > eventsMost {
		return nil
	}
	return append(slices.Clip(have), next...)
}

// newer is what was told last.
func newer(_, next workspace.End) workspace.End { return next }

// compare puts every workspace on the agenda whose record differs from what the engine lists: two calls, however many there are. What the engine has must still be
// this installation's before anything is taken for an orphan.
func (m *Monitor) compare(ctx context.Context) error {
	if err := m.Confirm(ctx); err != nil {
		return err
	}
	networks, err := m.Engine.Networks(ctx, m.Labels)
	if err != nil {
		return err
	}
	containers, err := m.Engine.Containers(ctx, m.Labels)
	if err != nil {
		return err
	}
	census := isolation.NewCensus(containers, networks)
	err = m.Workspaces.Each(ctx, func(w workspace.Workspace) error {
		if differs(w, census.Account(w)) {
			m.agenda.add(w.ID, nil)
		}
		return nil
	})
	var lost []workspace.Orphan
	if err == nil {
		lost, err = m.Workspaces.LostSubnets(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			m.Log.Error("compare workspaces with the engine", "error", err) // the database's fault, not the engine's
			m.learn.Reset(learnAfter)
		}
		return nil // nobody knows what has no row
	}
	m.Workspaces.RecordOrphans(m.orphans.found(append(census.Orphans(), lost...), time.Now()))
	return nil
}

// differs compares what is recorded with what is listed.
func differs(w workspace.Workspace, l isolation.Listed) bool {
	have := w.Observed
	container := len(l.Containers) == 0
	if c := have.Container; c != nil {
		container = !c.Ending && slices.ContainsFunc(l.Containers, func(s engine.Summary) bool {
			return s.ID == c.ID && s.Name == c.Name && workspace.ContainerState(s.State) == c.State && slices.Equal(isolation.Extra(w, s), c.Extra) && sameHealth(c.Health, s.Health)
		})
	}
	network := len(l.Networks) == 0
	if n := have.Network; n != nil {
		network = slices.ContainsFunc(l.Networks, func(s engine.Network) bool {
			return s.ID == n.ID && (have.Container == nil || have.Detached != slices.ContainsFunc(l.Containers, func(c engine.Summary) bool { return c.On(s) }))
		})
	}
	return !container || !network
}

// sameHealth compares health as far as a list tells it. A container that was paused is listed as unhealthy until it has been checked again, and so
// looked at each time.
func sameHealth(have *workspace.Health, listed engine.HealthStatus) bool {
	return listed == "" || have != nil && have.Status == workspace.HealthStatus(listed)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
