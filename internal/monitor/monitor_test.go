package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/hub"
	"github.com/aicli/aicli-web/internal/mark"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	resyncEvery = 30 * time.Second
	grace       = 5 * time.Minute
)

var installation = engine.Labels{engine.LabelManaged: "true", engine.LabelInstallation: "inst_1"}

func labels(id string) engine.Labels {
	return engine.Labels{engine.LabelManaged: "true", engine.LabelInstallation: "inst_1", engine.LabelWorkspace: id}
}

// desk keeps workspaces in memory, and looks for them at the fake engine.
type desk struct {
	engine *enginetest.Fake
	asked  engine.Engine // what looks ask: the fake, or what stands before it
	hub    *hub.Latest[string, workspace.Workspace]

	mu     sync.Mutex
	all    map[string]workspace.Workspace
	looks  []string
	health []workspace.EngineHealth
	faults int // of Watch, still to come
	lost   int // looks, ends and readings of all rows that the database is yet to fail

	orphans []workspace.Orphan
	subnets []workspace.Orphan // that no row knows
}

func (d *desk) RecordEngine(h workspace.EngineHealth) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.health); n == 0 || d.health[n-1].Status != h.Status {
		d.health = append(d.health, h)
	}
}

func (d *desk) RecordOrphans(found []workspace.Orphan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.orphans = found
}

// End does what the real one does, but where it keeps it.
func (d *desk) End(_ context.Context, id string, e workspace.End) error {
	if err := d.fails(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	draft := workspace.NewDraft(d.all[id], nil, time.Now())
	draft.End(e)
	d.put(id, func(w *workspace.Workspace) { w.Observed = draft.Workspace.Observed })
	return nil
}

func (d *desk) listed() []workspace.Orphan {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.orphans
}

func (d *desk) LostSubnets(context.Context) ([]workspace.Orphan, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.subnets, nil
}

func (d *desk) Discard(ctx context.Context, o workspace.Orphan) error {
	if o.Kind == workspace.OrphanSubnet {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.subnets = nil
		return nil
	}
	if o.Kind == workspace.OrphanContainer {
		return d.engine.RemoveContainer(ctx, o.ID)
	}
	return d.engine.RemoveNetwork(ctx, o.ID)
}

func (d *desk) Each(_ context.Context, visit func(workspace.Workspace) error) error {
	if err := d.fails(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.all {
		if err := visit(w); err != nil {
			return err
		}
	}
	return nil
}

func (d *desk) Watch(ctx context.Context, _ workspace.Actor, id string) (<-chan workspace.Workspace, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults > 0 {
		d.faults--
		return nil, errors.New("the database does not answer")
	}
	sub := d.hub.Subscribe(id)
	out := make(chan workspace.Workspace)
	go func() {
		defer close(out)
		defer sub.Close()
		for w := d.get(id); ; {
			select {
			case out <- w:
			case <-ctx.Done():
				return
			}
			var err error
			if w, err = sub.Next(ctx); err != nil || w.DesiredState == workspace.WantDeleted {
				return
			}
		}
	}()
	return out, nil
}

// fails has the database fail, if it is to.
func (d *desk) fails() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost == 0 {
		return nil
	}
	d.lost--
	return workspace.ErrDatabaseUnavailable
}

func (d *desk) Look(ctx context.Context, id string, _ []engine.Event) error {
	if err := d.fails(); err != nil {
		return err
	}
	containers, err := d.asked.Containers(ctx, labels(id))
	if err != nil {
		return err
	}
	networks, err := d.asked.Networks(ctx, labels(id))
	if err != nil {
		return err
	}
	var seen workspace.Observed
	if len(containers) > 0 {
		c, err := d.asked.Container(ctx, containers[0].ID)
		if err != nil {
			return err
		}
		seen.Container = &workspace.Container{ID: c.ID, Name: c.Name, State: workspace.ContainerState(c.State), StartedAt: &c.StartedAt}
		if c.Health != "" {
			seen.Container.Health = &workspace.Health{Status: workspace.HealthStatus(c.Health)}
		}
	}
	if len(networks) > 0 {
		seen.Network = &workspace.Network{ID: networks[0].ID}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks = append(d.looks, id)
	d.put(id, func(w *workspace.Workspace) { w.Observed = seen })
	return nil
}

// put changes a workspace. d.mu is held.
func (d *desk) put(id string, change func(*workspace.Workspace)) {
	w := d.all[id]
	w.Version++
	change(&w)
	d.all[id] = w
	d.hub.Publish(id, w)
}

func (d *desk) get(id string) workspace.Workspace {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id]
}

func (d *desk) state(id string) workspace.ContainerState { return d.get(id).Observed.State() }

func (d *desk) looked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.looks)
}

type rig struct {
	*testing.T
	*desk
	monitor *Monitor
}

// watching lets a monitor work in a bubble, with one workspace ws_1 that has a network and a running container, both recorded.
func watching(t *testing.T, test func(r *rig, container string)) {
	t.Helper()
	watchingThrough(t, func(fake *enginetest.Fake) engine.Engine { return fake }, test)
}

// watchingThrough lets the monitor and its looks see the engine through something that stands before it.
func watchingThrough(t *testing.T, through func(*enginetest.Fake) engine.Engine, test func(r *rig, container string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := enginetest.New()
		asked := through(fake)
		d := &desk{engine: fake, asked: asked, all: map[string]workspace.Workspace{}, hub: hub.NewLatest[string](func(have, next workspace.Workspace) bool { return next.Version > have.Version })}
		confirm := func(context.Context) error { return nil }
		if gate, ok := asked.(*mark.Gate); ok {
			confirm = gate.Confirm
		}
		r := &rig{T: t, desk: d, monitor: New(Options{Engine: asked, Confirm: confirm, Workspaces: d, Looker: d, Labels: installation, Resync: resyncEvery, OrphanGrace: grace, Log: slog.New(slog.DiscardHandler)})}
		_, err := fake.CreateNetwork(t.Context(), engine.NetworkSpec{Name: "aicli-1", Subnet: "10.213.0.0/28", Labels: labels("ws_1")})
		r.must(err)
		container, err := fake.CreateContainer(t.Context(), engine.ContainerSpec{Name: "aicli-1", Image: enginetest.BaseImage, Network: "aicli-1", Entrypoint: []string{"sleep", "infinity"}, Labels: labels("ws_1"), HealthCheck: &engine.HealthCheck{Test: []string{"CMD", "check"}, Retries: 2}})
		r.must(err)
		r.must(fake.StartContainer(t.Context(), container))
		d.all["ws_1"] = workspace.Workspace{ID: "ws_1"}
		r.must(d.Look(t.Context(), "ws_1", nil))
		d.looks = nil

		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { r.must(r.monitor.Run(ctx)) })
		synctest.Wait()
		test(r, container)
		cancel()
		ended.Wait()
		synctest.Wait()
	})
}

// holder answers what a container is only once it may.
type holder struct {
	*enginetest.Fake

	mu   sync.Mutex
	held chan struct{}
}

func (h *holder) hold(until chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = until
}

func (h *holder) Container(ctx context.Context, id string) (engine.Container, error) {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	if held != nil {
		<-held
	}
	return h.Fake.Container(ctx, id)
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Error(err)
	}
}

// advance moves the bubble's clock.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// calls counts the engine's calls of an operation.
func (r *rig) calls(op string) (n int) {
	for _, c := range r.engine.Calls() {
		if strings.HasPrefix(c, op) {
			n++
		}
	}
	return n
}

func TestMonitor(t *testing.T) {
	t.Run("events are opened before anything is listed, and what agrees is not looked at", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			calls := r.engine.Calls()
			opened := slices.Index(calls, "Events")
			if opened < 0 || !slices.Contains(calls[opened:], "Containers") || !slices.Contains(calls[:opened], "Info") {
				r.Fatalf("got %v", calls)
			}
			if n := r.looked(); n != 0 {
				r.Errorf("%d looks", n)
			}
		})
	})
	t.Run("what happens to a container is recorded at once", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.engine.Exit(container, 3)
			synctest.Wait()
			if got := r.state("ws_1"); got != workspace.ContainerExited {
				r.Errorf("got %q", got)
			}
		})
	})
	t.Run("what a container's checks come to is recorded at once, and each check is not", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			for _, c := range []struct {
				passed bool
				want   workspace.HealthStatus
				looks  int
			}{
				{true, workspace.HealthHealthy, 1}, {true, workspace.HealthHealthy, 1}, {false, workspace.HealthHealthy, 1},
				{false, workspace.HealthUnhealthy, 2}, {false, workspace.HealthUnhealthy, 2}, {true, workspace.HealthHealthy, 3},
			} {
				r.engine.Check(container, c.passed, "")
				synctest.Wait()
				if got := r.get("ws_1").Observed.Container.Health.Status; got != c.want || r.looked() != c.looks {
					r.Errorf("got %q after %d looks, want %+v", got, r.looked(), c)
				}
			}
			advance(resyncEvery)
			if r.looked() != 3 {
				r.Errorf("%d looks: what agrees is compared", r.looked())
			}
		})
	})
	t.Run("health that no event told of is found by the next comparison", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.engine.SetDown(true)
			synctest.Wait()
			r.engine.Check(container, true, "")
			r.engine.SetDown(false)
			advance(resyncEvery)
			if got := r.get("ws_1").Observed.Container.Health.Status; got != workspace.HealthHealthy {
				r.Errorf("got %q", got)
			}
		})
	})
	t.Run("the end of a container is recorded while the engine still clears up, and looked at after", func(t *testing.T) {
		holding := &holder{}
		watchingThrough(t, func(fake *enginetest.Fake) engine.Engine {
			holding.Fake = fake
			return holding
		}, func(r *rig, container string) {
			advance(time.Second)
			done := make(chan struct{})
			holding.hold(done)
			r.engine.Exit(container, 3)
			synctest.Wait()
			if c := r.get("ws_1").Observed.Container; c.State != workspace.ContainerExited || c.ExitCode != 3 || !c.Ending || r.looked() != 0 {
				r.Errorf("got %+v after %d looks", c, r.looked())
			}
			close(done)
			synctest.Wait()
			if o := r.get("ws_1").Observed; o.State() != workspace.ContainerExited || o.Ending() || r.looked() != 1 {
				r.Errorf("got %+v after %d looks", o.Container, r.looked())
			}
		})
	})
	t.Run("what cannot be written is looked at again until it can, long before the next comparison", func(t *testing.T) {
		for name, happens := range map[string]func(r *rig, container string){
			"an end":  func(r *rig, container string) { r.engine.Exit(container, 3) },
			"a pause": func(r *rig, container string) { r.engine.Pause(container) },
			"a sudden": func(r *rig, container string) {
				r.engine.SetDown(true)
				r.engine.Exit(container, 3)
				r.engine.SetDown(false)
			},
		} {
			watching(t, func(r *rig, container string) {
				before := r.state("ws_1")
				r.mu.Lock()
				r.lost = 5
				r.mu.Unlock()
				happens(r, container)
				advance(8 * time.Second)
				if got := r.state("ws_1"); got == before {
					r.Errorf("%s: it is still %q", name, got)
				}
			})
		}
	})
	t.Run("while nothing can be written, each workspace is tried once a second and not more", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			const many = 1000
			r.mu.Lock()
			r.lost = many
			r.mu.Unlock()
			for range 10 { // events go on
				r.engine.Pause(container)
				r.must(r.engine.UnpauseContainer(t.Context(), container))
			}
			r.engine.Exit(container, 3)
			advance(60 * time.Second)
			r.mu.Lock()
			tried := many - r.lost
			r.mu.Unlock()
			if tried < 50 || tried > 4*60 { // looks, ends, and comparisons
				r.Errorf("%d tries in a minute", tried)
			}
		})
	})
	t.Run("a look that fails is made again, though no comparison shows what it would have seen", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			for range 3 {
				r.engine.FailNext("Container", &engine.Error{Kind: engine.KindTimeout, Op: "look up container", Err: context.DeadlineExceeded})
			}
			r.engine.Exit(container, 3)
			r.must(r.engine.StartContainer(r.Context(), container)) // it runs, as is recorded
			advance(5 * lookAgain)
			c, err := r.engine.Container(r.Context(), container)
			r.must(err)
			if got := r.get("ws_1").Observed.Container.StartedAt; got == nil || !got.Equal(c.StartedAt) {
				r.Errorf("recorded is a run from %v, and it runs from %v", got, c.StartedAt)
			}
		})
	})
	t.Run("an end that nobody could look at is found by the next comparison", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.must(r.engine.StopContainer(r.Context(), container, 0))
			synctest.Wait()
			r.mu.Lock()
			r.put("ws_1", func(w *workspace.Workspace) { w.Observed.Container.Ending = true })
			r.mu.Unlock()
			advance(resyncEvery + time.Second)
			if o := r.get("ws_1").Observed; o.State() != workspace.ContainerExited || o.Ending() {
				r.Errorf("got %+v", o.Container)
			}
		})
	})
	t.Run("what happens to a network is recorded at once", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.engine.Remove(container)
			synctest.Wait()
			r.must(r.engine.RemoveNetwork(r.Context(), "aicli-1"))
			synctest.Wait()
			if got := r.get("ws_1").Observed; got.Network != nil || got.Container != nil {
				r.Errorf("got %+v", got)
			}
		})
	})
	t.Run("the loss of the engine is told, and what happened meanwhile is found when it is back", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.engine.SetDown(true)
			synctest.Wait()
			r.engine.Remove(container)
			advance(time.Minute)
			if h := r.health; len(h) != 2 || h[1].Status != workspace.EngineUnavailable || h[1].LastError == "" || r.looked() != 0 {
				r.Fatalf("got %+v, %d looks", h, r.looked())
			}
			r.engine.SetDown(false)
			advance(2 * reconnect)
			if h := r.health; len(h) != 3 || h[2].Status != workspace.EngineHealthy || r.state("ws_1") != workspace.NoContainer {
				r.Errorf("got %+v, container %q", h, r.state("ws_1"))
			}
		})
	})
	t.Run("a stream that breaks is opened again, from before the last event", func(t *testing.T) {
		watching(t, func(r *rig, container string) {
			r.engine.Exit(container, 0)
			synctest.Wait()
			r.engine.DropStreams()
			advance(2 * reconnect)
			r.must(r.engine.StartContainer(r.Context(), container))
			synctest.Wait()
			if n, got := r.calls("Events"), r.state("ws_1"); n != 2 || got != workspace.ContainerRunning || len(r.health) != 1 {
				r.Errorf("opened %d times, container %q, health %+v: an engine that answers is not lost", n, got, r.health)
			}
		})
	})
	t.Run("what no event told of is found by the next comparison, which lists and does not look at the rest", func(t *testing.T) {
		watching(t, func(r *rig, _ string) {
			r.mu.Lock()
			r.put("ws_1", func(w *workspace.Workspace) {
				w.Observed.Container = &workspace.Container{ID: "old", State: workspace.ContainerExited}
			})
			for i := range 100 {
				id := fmt.Sprint("ws_other", i)
				r.all[id] = workspace.Workspace{ID: id}
			}
			r.mu.Unlock()
			before := len(r.engine.Calls()) - r.calls("Info")
			advance(resyncEvery + time.Second)
			if got := r.state("ws_1"); got != workspace.ContainerRunning || r.looked() != 1 {
				r.Errorf("container %q after %d looks", got, r.looked())
			}
			// Two lists, and the look's two lists and inspection.
			if made := len(r.engine.Calls()) - r.calls("Info") - before; made != 5 {
				r.Errorf("%d calls", made)
			}
		})
	})
}

func TestOrphans(t *testing.T) {
	known := func(r *rig) (containers, networks int) {
		c, err := r.engine.Containers(r.Context(), installation)
		r.must(err)
		n, err := r.engine.Networks(r.Context(), installation)
		r.must(err)
		return len(c), len(n)
	}
	watching(t, func(r *rig, _ string) {
		_, err := r.engine.CreateNetwork(r.Context(), engine.NetworkSpec{Name: "aicli-2", Subnet: "10.213.0.16/28", Labels: labels("ws_2")})
		r.must(err)
		for name, network := range map[string]string{"aicli-2": "aicli-2", "copy": ""} { // the second of an image that was made of ours
			id, err := r.engine.CreateContainer(r.Context(), engine.ContainerSpec{Name: name, Image: enginetest.BaseImage, Network: network, Entrypoint: []string{"sleep", "infinity"}, Labels: labels("ws_2")})
			r.must(err)
			r.must(r.engine.StartContainer(r.Context(), id))
		}
		r.engine.Twin(engine.NetworkSpec{Name: "aicli-1", Subnet: "10.213.0.32/28", Labels: labels("ws_1")})
		r.mu.Lock()
		r.subnets = []workspace.Orphan{{Kind: workspace.OrphanSubnet, ID: "10.213.0.48/28", WorkspaceID: "ws_3"}}
		r.mu.Unlock()

		advance(resyncEvery + time.Second)
		var kinds []string
		for _, o := range r.listed() {
			kinds = append(kinds, fmt.Sprint(o.Kind, " ", o.WorkspaceID, " ", o.RemoveAt.Sub(o.Since)))
		}
		if got, want := strings.Join(kinds, ", "), "CONTAINER ws_2 5m0s, NETWORK ws_1 5m0s, NETWORK ws_2 5m0s, SUBNET ws_3 5m0s"; got != want {
			r.Errorf("got %s, want %s", got, want)
		}
		advance(grace - resyncEvery)
		if c, n := known(r); c != 3 || n != 3 {
			r.Errorf("within the grace %d containers and %d networks are left", c, n)
		}
		if lost, err := r.LostSubnets(r.Context()); err != nil || len(lost) != 1 {
			r.Errorf("within the grace %v are left (%v)", lost, err)
		}
		advance(2 * resyncEvery)
		if c, n := known(r); c != 2 || n != 1 { // ours and the copy, and our network
			r.Errorf("after the grace %d containers and %d networks are left", c, n)
		}
		if lost, err := r.LostSubnets(r.Context()); err != nil || len(lost) != 0 {
			r.Errorf("after the grace %v are left (%v)", lost, err)
		}
		advance(2 * resyncEvery)
		if left := r.listed(); len(left) != 0 || r.state("ws_1") != workspace.ContainerRunning {
			r.Errorf("got %+v", left)
		}
	})
}

func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{})
		for _, c := range []struct {
			event engine.Event
			want  string // on the agenda
			learn bool
		}{
			{engine.Event{Kind: engine.ContainerObject, Action: "die", Labels: labels("ws_1")}, "ws_1", false},
			{engine.Event{Kind: engine.ContainerObject, Action: "die", Labels: labels("ws_1"), ExitCode: new(0)}, "the end of ws_1", false},
			{engine.Event{Kind: engine.ContainerObject, Action: "exec_start: sh", Labels: labels("ws_1")}, "", false},
			{engine.Event{Kind: engine.ContainerObject, Action: "health_status: healthy", Labels: labels("ws_1")}, "ws_1", false},
			{engine.Event{Kind: engine.ContainerObject, Action: "top", Labels: labels("ws_1")}, "", false},
			{engine.Event{Kind: engine.NetworkObject, Action: "destroy", Name: "aicli-2"}, "ws_2", false},
			{engine.Event{Kind: engine.NetworkObject, Action: "create", Name: "somebody-elses"}, "", false},
			{engine.Event{Kind: engine.NetworkObject, Action: "create", Name: "aicli-"}, "", false},
			{engine.Event{Kind: engine.NetworkObject, Action: "disconnect"}, "", true},
		} {
			m.agenda, m.ends = newAgenda(joined), newAgenda(newer)
			m.hint(c.event)
			m.hint(c.event) // a burst
			advance(2 * learnAfter)
			learn := 0
			for more := true; more; {
				select {
				case <-m.learn.C:
					learn++
				default:
					more = false
				}
			}
			got := strings.Join(m.agenda.queue, " ")
			if ends := strings.Join(m.ends.queue, " "); ends != "" {
				got += "the end of " + ends
			}
			if got != c.want || learn > 1 || (learn == 1) != c.learn {
				t.Errorf("%s %s %s: %q is on the agenda, %d times to learn", c.event.Kind, c.event.Action, c.event.ID, got, learn)
			}
		}
	})
}

func TestAgenda(t *testing.T) {
	a := newAgenda(func(have, next int) int { return 10*have + next })
	for i := range 3 {
		a.add("ws_1", i)
		a.add("", i)
	}
	first, told, err := a.take(t.Context())
	if err != nil || first != "ws_1" || told != 12 || len(a.queue) != 0 {
		t.Fatalf("got %q, %d, %v, and %v waits", first, told, err, a.queue)
	}
	a.add("ws_1", 3)
	a.add("ws_1", 4)
	if len(a.queue) != 0 {
		t.Errorf("it is looked at twice at once")
	}
	a.done("ws_1")
	if again, told, err := a.take(t.Context()); err != nil || again != "ws_1" || told != 34 || len(a.queue) != 0 {
		t.Errorf("got %q, %d, %v: what came while it was looked at wants one more look", again, told, err)
	}
	a.done("ws_1")
	if len(a.state)+len(a.told) != 0 {
		t.Errorf("%v and %v are kept", a.state, a.told)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := a.take(ended); err == nil {
		t.Error("it gives something after the end")
	}
}
