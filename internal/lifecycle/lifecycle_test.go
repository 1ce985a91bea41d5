package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// desk has one workspace and remembers what was recorded of it.
type desk struct {
	w     workspace.Workspace
	moves [][]netip.Prefix // what was taken, each time it had to move
	known bool             // whether a row knows what is taken for an orphan

	begun bool // another server has begun to stop the container, and its grace is over

	refusedImage error

	away      error  // of the database, when it is asked who shares the project
	shared    bool   // another workspace has the same project
	enclosing string // the workspace in whose project this one's lies

	onRecord func()
	released []string // subnets, by workspace
	ends     []workspace.End
	states   []workspace.ContainerState // as they were recorded, one after another
}

func (d *desk) Get(context.Context, string) (workspace.Workspace, error) { return d.w, nil }

func (d *desk) Record(_ context.Context, _ string, seen workspace.Observed) (workspace.Workspace, error) {
	if d.onRecord != nil {
		d.onRecord()
	}
	if seen.Serial != d.w.Observed.Serial {
		return workspace.Workspace{}, workspace.ErrStale
	}
	seen.Serial++
	d.w.Observed = seen
	d.states = append(d.states, seen.State())
	return d.w, nil
}

func (d *desk) RecordEnd(_ context.Context, _ string, e workspace.End) (bool, error) {
	if d.w.Observed.State() != workspace.ContainerRunning {
		return false, nil
	}
	d.ends = append(d.ends, e)
	return true, nil
}

func (d *desk) StopBy(_ context.Context, _ task.Lease, grace time.Duration) (time.Duration, error) {
	if d.begun {
		return 0, nil
	}
	return grace, nil
}

func (d *desk) MoveSubnet(_ context.Context, _ string, taken []netip.Prefix) (workspace.Workspace, error) {
	d.moves = append(d.moves, taken)
	d.w.Subnet = "10.213.0.16/28"
	return d.w, nil
}

func (d *desk) Known(context.Context, workspace.Orphan) (bool, error) { return d.known, nil }

func (d *desk) ReleaseSubnet(_ context.Context, o workspace.Orphan) error {
	d.released = append(d.released, o.WorkspaceID)
	return nil
}

func (d *desk) CheckImage(string) error { return d.refusedImage }

func (d *desk) Enclosing(context.Context, workspace.Workspace) (string, error) {
	return d.enclosing, nil
}

func (d *desk) SharesProject(context.Context, workspace.Workspace) (bool, error) {
	return d.shared, d.away
}

// projects are directories that are always there, and what containers have mounted.
type projects struct{}

func (projects) Make(string, string) (string, error) { return "/projects/p", nil }
func (projects) Find(string, string) (string, error) { return "/projects/p", nil }
func (projects) RemoveEmpty(string, string) error    { return nil }
func (projects) Mounted(string, string, string, engine.Container) (same, known bool, err error) {
	return true, true, nil
}

func (projects) Begun(engine.Container) (begun, known bool) { return true, true }

func TestAWorkspaceLives(t *testing.T) {
	fake := enginetest.New()
	fake.Pullable("alpine", nil)
	d := &desk{w: workspace.Workspace{
		ID: "ws_1", OwnerID: "ann", Subnet: "10.213.0.0/28", DesiredState: workspace.WantRunning,
		Spec: workspace.Spec{Image: "alpine", Command: []string{"sleep", "infinity"}, ProjectPath: "p", Resources: workspace.Resources{Cpus: 1, MemoryBytes: 1 << 26, Pids: 10}},
	}}
	l := New(fake, d, projects{}, "inst_1", slog.New(slog.DiscardHandler))
	run := func(typ task.Type, desired workspace.DesiredState) error {
		d.w.DesiredState = desired
		return l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: d.w.ID}, func(string, *float64) {})
	}
	if _, err := fake.CreateNetwork(t.Context(), engine.NetworkSpec{Name: "theirs", Subnet: "10.213.0.0/28"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		typ     task.Type
		desired workspace.DesiredState
		want    workspace.ContainerState
	}{
		{task.Create, workspace.WantRunning, workspace.ContainerRunning},
		{task.Create, workspace.WantRunning, workspace.ContainerRunning}, // again: nothing is made twice
		{task.Stop, workspace.WantStopped, workspace.ContainerExited},
		{task.Start, workspace.WantRunning, workspace.ContainerRunning},
		{task.Delete, workspace.WantDeleted, workspace.NoContainer},
		{task.Delete, workspace.WantDeleted, workspace.NoContainer},
	} {
		if err := run(c.typ, c.desired); err != nil {
			t.Fatalf("%s: %v", c.typ, err)
		}
		if got := d.w.Observed.State(); got != c.want {
			t.Fatalf("after %s the container is %q, want %q", c.typ, got, c.want)
		}
		if n := d.w.Observed.Network; c.typ == task.Create && (n == nil || n.Subnet != "10.213.0.16/28") {
			t.Errorf("the network is %+v, want it on the second subnet", n)
		}
	}
	if d.w.Observed.Network != nil {
		t.Errorf("the network is left: %+v", d.w.Observed.Network)
	}
	if len(d.moves) != 1 || len(d.moves[0]) != 1 || d.moves[0][0].String() != "10.213.0.0/28" {
		t.Errorf("it moved away from %v: want once, from what is in use", d.moves)
	}
}

// wrapped is a fake whose calls can be met on their way.
type wrapped struct {
	*enginetest.Fake
	onNetwork func(context.Context)
	onList    func() error
	rigid     bool // it does not change limits
}

func (w *wrapped) UpdateContainer(ctx context.Context, id string, limits engine.Limits) error {
	if w.rigid {
		return enginetest.Fault(engine.KindUnsupported)
	}
	return w.Fake.UpdateContainer(ctx, id, limits)
}

func (w *wrapped) CreateNetwork(ctx context.Context, spec engine.NetworkSpec) (string, error) {
	if w.onNetwork != nil {
		w.onNetwork(ctx)
	}
	return w.Fake.CreateNetwork(ctx, spec)
}

func (w *wrapped) Networks(ctx context.Context, labels engine.Labels) ([]engine.Network, error) {
	if w.onList != nil {
		if err := w.onList(); err != nil {
			return nil, err
		}
	}
	return w.Fake.Networks(ctx, labels)
}

func rig() (*wrapped, *desk, *Lifecycle) {
	fake := &wrapped{Fake: enginetest.New()}
	d := &desk{w: workspace.Workspace{
		ID: "ws_1", OwnerID: "ann", Subnet: "10.213.0.0/28", DesiredState: workspace.WantRunning,
		Spec: workspace.Spec{Image: enginetest.BaseImage, Command: []string{"sleep", "infinity"}, ProjectPath: "p", Resources: workspace.Resources{Cpus: 1, MemoryBytes: 1 << 26, Pids: 10}},
	}}
	l := New(fake, d, projects{}, "inst_1", slog.New(slog.DiscardHandler))
	l.pulls.pause, l.pulls.floor = 0, 0
	return fake, d, l
}

func TestWhatWasBegunIsNotCut(t *testing.T) {
	fake, d, l := rig()
	ctx, cancel := context.WithCancelCause(t.Context())
	fake.onNetwork = func(called context.Context) {
		cancel(task.ErrSuperseded)
		if called.Err() != nil {
			t.Error("the engine may go on with a call that was cut, and make what nobody finds")
		}
	}
	err := l.Handlers()[task.Create](ctx, task.Task{Type: task.Create, WorkspaceID: "ws_1"}, func(string, *float64) {})
	if !errors.Is(err, task.ErrSuperseded) {
		t.Errorf("got %v", err)
	}
	if d.w.Observed.Network == nil || d.w.Observed.Container != nil {
		t.Errorf("recorded %+v, want the network that was made and no container", d.w.Observed)
	}
}

func TestAnEndWaitsForNoLookButOneThatMakesItNews(t *testing.T) {
	for _, known := range []bool{true, false} { // that the container runs
		synctest.Test(t, func(t *testing.T) {
			fake, d, l := rig()
			if err := l.Handlers()[task.Create](t.Context(), task.Task{Type: task.Create, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
				t.Fatal(err)
			}
			if !known {
				d.w.Observed.Container = nil
			}
			looking := make(chan struct{})
			fake.onList = func() error { <-looking; return nil }
			look, end := make(chan error, 1), make(chan error, 1)
			go func() { look <- l.Look(t.Context(), "ws_1", nil) }()
			synctest.Wait()
			go func() { end <- l.End(t.Context(), "ws_1", workspace.End{Code: 3}) }()
			synctest.Wait()
			if (len(d.ends) > 0) != known {
				t.Errorf("known to run: %t; recorded while somebody looks: %+v", known, d.ends)
			}
			close(looking)
			if err := errors.Join(<-look, <-end); err != nil || len(d.ends) != 1 || d.ends[0].Code != 3 {
				t.Errorf("known to run: %t; got %+v, %v", known, d.ends, err)
			}
		})
	}
}

func TestAnEngineThatDoesNotChangeLimitsKeepsThem(t *testing.T) {
	fake, d, l := rig()
	fake.rigid = true
	for _, typ := range []task.Type{task.Create, task.Sync, task.Stop, task.Start} {
		d.w.DesiredState = workspace.WantRunning
		if typ == task.Stop {
			d.w.DesiredState = workspace.WantStopped
		}
		if err := l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		d.w.Resources.Pids = 20 // once it is made
	}
	if c := d.w.Observed.Container; c == nil || c.State != workspace.ContainerRunning || !slices.Equal(c.Enforced.Warnings, []string{"The engine does not hold the container to 20 processes."}) {
		t.Errorf("got %+v", c)
	}
}

func TestADeletionThatLeavesSomethingIsNotDone(t *testing.T) {
	fake, d, l := rig()
	d.w.DesiredState = workspace.WantDeleted
	looks := 0
	fake.onList = func() error {
		if looks++; looks == 2 { // after the deletion has found nothing, before it looks again
			_, err := fake.Fake.CreateNetwork(t.Context(), engine.NetworkSpec{Name: isolation.Name("ws_1"), Subnet: "10.213.0.0/28", Labels: isolation.Labels("inst_1", "ws_1")})
			return err
		}
		return nil
	}
	run := func() error {
		return l.Handlers()[task.Delete](t.Context(), task.Task{Type: task.Delete, WorkspaceID: "ws_1"}, func(string, *float64) {})
	}
	err := run()
	if _, class := Classify(err); err == nil || class != task.Transient {
		t.Fatalf("got %v: it must be tried again", err)
	}
	if err := run(); err != nil || d.w.Observed.Network != nil {
		t.Errorf("got %v, %+v", err, d.w.Observed)
	}
}

// Two calls of servers that were killed cross, and each makes a network.
func TestOfTwoNetworksOneGoes(t *testing.T) {
	fake, d, l := rig()
	run := func(typ task.Type, desired workspace.DesiredState) {
		t.Helper()
		d.w.DesiredState = desired
		if err := l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
			t.Fatal(err)
		}
	}
	networks := func(want ...string) {
		t.Helper()
		var got []string
		list, err := fake.Networks(t.Context(), isolation.Labels("inst_1", "ws_1"))
		for _, n := range list {
			got = append(got, n.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	run(task.Create, workspace.WantStopped)
	own := d.w.Observed.Network.ID
	twin := isolation.Network(d.w, "inst_1")
	twin.Subnet = "10.213.0.16/28"
	fake.Twin(twin)
	run(task.Start, workspace.WantRunning)
	networks(own)
	fake.Twin(twin)
	run(task.Sync, workspace.WantRunning)
	networks(own)
	if d.w.Observed.Network.ID != own || d.w.Observed.State() != workspace.ContainerRunning {
		t.Errorf("recorded %+v", d.w.Observed)
	}
	fake.Twin(twin)
	run(task.Delete, workspace.WantDeleted)
	networks()
}

func TestANetworkThatIsGoneIsMadeAgain(t *testing.T) {
	for name, lose := range map[string]func(f *enginetest.Fake, d *desk){
		"pruned while the container was stopped": func(f *enginetest.Fake, d *desk) {
			f.Exit(d.w.Observed.Container.ID, 0)
			if err := f.RemoveNetwork(t.Context(), d.w.Observed.Network.ID); err != nil {
				t.Error(err)
			}
		},
		"disconnected and removed": func(f *enginetest.Fake, d *desk) {
			f.Disconnect(d.w.Observed.Container.ID)
			if err := f.RemoveNetwork(t.Context(), d.w.Observed.Network.ID); err != nil {
				t.Error(err)
			}
		},
		"disconnected": func(f *enginetest.Fake, d *desk) { f.Disconnect(d.w.Observed.Container.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			fake, d, l := rig()
			run := func(typ task.Type) {
				t.Helper()
				if err := l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
					t.Fatal(err)
				}
			}
			run(task.Create)
			lose(fake.Fake, d)
			run(task.Sync)
			c, err := fake.Container(t.Context(), isolation.Name("ws_1"))
			if n := d.w.Observed.Network; err != nil || n == nil || !c.On(engine.Network{ID: n.ID, Name: n.Name}) || c.State != engine.Running {
				t.Errorf("got %v, %+v on %+v", err, c, n)
			}
		})
	}
}

// Images that somebody makes of our containers hand our labels on.
func TestACopyOfAContainerIsSomebodyElses(t *testing.T) {
	fake, d, l := rig()
	copied, err := fake.CreateContainer(t.Context(), engine.ContainerSpec{Name: "copy", Image: enginetest.BaseImage, Entrypoint: []string{"sleep", "infinity"}, Labels: isolation.Labels("inst_1", "ws_1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Look(t.Context(), "ws_1", nil); err != nil || d.w.Observed.Container != nil {
		t.Errorf("got %v, %+v", err, d.w.Observed)
	}
	d.w.DesiredState = workspace.WantDeleted
	if err := l.Handlers()[task.Delete](t.Context(), task.Task{Type: task.Delete, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Container(t.Context(), copied); err != nil {
		t.Errorf("the copy was removed: %v", err)
	}
}

func TestAnOrphanIsRemovedUnlessARowKnowsIt(t *testing.T) {
	fake, d, l := rig()
	network, err := fake.Fake.CreateNetwork(t.Context(), engine.NetworkSpec{Name: isolation.Name("ws_2"), Subnet: "10.213.0.32/28", Labels: isolation.Labels("inst_1", "ws_2")})
	if err != nil {
		t.Fatal(err)
	}
	container, err := fake.CreateContainer(t.Context(), engine.ContainerSpec{Name: isolation.Name("ws_2"), Image: enginetest.BaseImage, Network: isolation.Name("ws_2"), Entrypoint: []string{"sleep", "infinity"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{true, false} {
		d.known = known
		for _, o := range []workspace.Orphan{{Kind: workspace.OrphanContainer, ID: container}, {Kind: workspace.OrphanNetwork, ID: network}, {Kind: workspace.OrphanSubnet, WorkspaceID: "ws_2"}} {
			if err := l.Discard(t.Context(), o); err != nil {
				t.Error(err)
			}
		}
		_, err := fake.Container(t.Context(), container)
		networks, listErr := fake.Networks(t.Context(), nil)
		if (err == nil) != known || listErr != nil || (len(networks) == 1) != known || (len(d.released) == 0) != known {
			t.Errorf("known %t: got %v, %+v, %v, released %v", known, err, networks, listErr, d.released)
		}
	}
}

// TestAnEngineThatDoesNotAnswerInTime holds that a silent engine is waited for, and that one container about which it is silent is not:
// its task fails in the end, and keeps no worker busy for ever.
func TestAnEngineThatDoesNotAnswerInTime(t *testing.T) {
	for name, c := range map[string]struct {
		silent bool
		want   task.Class
	}{
		"the engine":    {true, task.Wait},
		"one container": {false, task.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			fake, _, l := rig()
			fake.onList = func() error { return enginetest.Fault(engine.KindTimeout) }
			if c.silent {
				fake.FailNext("Info", enginetest.Fault(engine.KindTimeout))
			}
			err := l.Handlers()[task.Start](t.Context(), task.Task{Type: task.Start, WorkspaceID: "ws_1"}, func(string, *float64) {})
			if _, class := Classify(err); class != c.want {
				t.Errorf("%v is classed %d", err, class)
			}
		})
	}
	t.Run("one that goes silent in the middle of the work is waited for, unless it has refused that for good", func(t *testing.T) {
		for kind, want := range map[engine.Kind]task.Class{engine.KindTimeout: task.Wait, engine.KindInvalid: task.Permanent} {
			fake, _, l := rig()
			looks := 0
			fake.onList = func() error {
				if looks++; looks == 1 {
					return nil
				}
				fake.FailNext("Info", enginetest.Fault(engine.KindUnavailable))
				return enginetest.Fault(engine.KindTimeout)
			}
			fake.FailNext("CreateContainer", enginetest.Fault(kind))
			err := l.Handlers()[task.Start](t.Context(), task.Task{Type: task.Start, WorkspaceID: "ws_1"}, func(string, *float64) {})
			if _, class := Classify(err); class != want {
				t.Errorf("%s: %v is classed %d", kind, err, class)
			}
		}
	})
}

func TestWhatIsOvertakenDoesNothingAndSaysSo(t *testing.T) {
	for desired, types := range map[workspace.DesiredState][]task.Type{
		workspace.WantStopped: {task.Start, task.Restart, task.Recreate},
		workspace.WantRunning: {task.Stop},
		workspace.WantDeleted: {task.Create, task.Start, task.Stop, task.Restart, task.Recreate, task.Sync},
	} {
		for _, typ := range types {
			fake, d, l := rig()
			d.w.DesiredState = desired
			err := l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: "ws_1"}, func(string, *float64) {})
			if !errors.Is(err, task.ErrSuperseded) || len(fake.Calls()) > 0 {
				t.Errorf("%s of what is to be %s: %v, %v", typ, desired, err, fake.Calls())
			}
		}
	}
}

// TestWhatWasSeenBeforeIsNotRecordedAfter has another server record something while this one looks.
func TestWhatWasSeenBeforeIsNotRecordedAfter(t *testing.T) {
	fake, d, l := rig()
	if err := l.Handlers()[task.Create](t.Context(), task.Task{Type: task.Create, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
		t.Fatal(err)
	}
	looks := 0
	d.onRecord = func() {
		if looks++; looks == 1 { // this one stood still after it had seen the container run
			fake.Exit(isolation.Name("ws_1"), 0)
			d.w.Observed.Container = &workspace.Container{State: workspace.ContainerExited}
			d.w.Observed.Serial++
		}
	}
	if err := l.Look(t.Context(), "ws_1", nil); err != nil || looks != 2 || d.w.Observed.State() != workspace.ContainerExited {
		t.Errorf("got %v, recorded %d times, and it is %s", err, looks, d.w.Observed.State())
	}
}

func TestADirectoryMadeForNothingGoes(t *testing.T) {
	for _, c := range []struct {
		name   string
		task   task.Task
		want   workspace.DesiredState
		path   string
		shared bool
		goes   bool
	}{
		{"with the workspace", task.Task{Type: task.Delete}, workspace.WantDeleted, "ws_1", false, true},
		{"with a creation that was cancelled", task.Task{Type: task.Sync, Params: task.Params{Undo: true}}, workspace.WantStopped, "ws_1", false, true},
		{"but not when recovery gives up", task.Task{Type: task.Sync, Params: task.Params{Clear: true}}, workspace.WantRunning, "ws_1", false, false},
		{"nor by a sync", task.Task{Type: task.Sync}, workspace.WantStopped, "ws_1", false, false},
		{"nor while another workspace has it", task.Task{Type: task.Delete}, workspace.WantDeleted, "ws_1", true, false},
		{"with the last one that has it, whose it was not first", task.Task{Type: task.Delete}, workspace.WantDeleted, workspace.NewID("ws_"), false, true},
		{"nor one that somebody has named", task.Task{Type: task.Delete}, workspace.WantDeleted, "ws_work", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, d, _ := rig()
			d.w.ProjectPath, d.shared = c.path, c.shared
			made := &directories{}
			l := New(fake, d, made, "inst_1", slog.New(slog.DiscardHandler))
			run := func(tk task.Task) {
				t.Helper()
				tk.WorkspaceID = "ws_1"
				if err := l.Handlers()[tk.Type](t.Context(), tk, func(string, *float64) {}); err != nil {
					t.Fatal(err)
				}
			}
			run(task.Task{Type: task.Create})
			d.w.DesiredState = c.want
			run(c.task)
			if (len(made.removed) == 1) != c.goes || len(made.made) == 0 {
				t.Errorf("made %v, removed %v", made.made, made.removed)
			}
		})
	}
}

// TestADirectoryIsNotForgotten holds that a deletion does not end before it is known who shares the directory.
func TestADirectoryIsNotForgotten(t *testing.T) {
	fake, d, _ := rig()
	d.w.ProjectPath, d.w.DesiredState = "ws_1", workspace.WantDeleted
	dirs := &directories{}
	l := New(fake, d, dirs, "inst_1", slog.New(slog.DiscardHandler))
	remove := func() error {
		return l.Handlers()[task.Delete](t.Context(), task.Task{Type: task.Delete, WorkspaceID: "ws_1"}, func(string, *float64) {})
	}
	d.away = &workspace.Error{Code: workspace.DatabaseLost, Message: "The database is away.", Retryable: true}
	err := remove()
	if _, class := Classify(err); !errors.Is(err, d.away) || class != task.Wait || len(dirs.removed) > 0 {
		t.Errorf("got %v, removed %v", err, dirs.removed)
	}
	d.away = nil
	if err := remove(); err != nil || len(dirs.removed) != 1 {
		t.Errorf("got %v, removed %v", err, dirs.removed)
	}
}

// directories notes those that are made and removed.
type directories struct {
	projects
	made, found, removed []string
	missing              error
}

func (d *directories) Find(_, path string) (string, error) {
	d.found = append(d.found, path)
	return "/projects/" + path, d.missing
}

func (d *directories) Make(_, path string) (string, error) {
	d.made = append(d.made, path)
	return "/projects/" + path, nil
}

func (d *directories) RemoveEmpty(_, path string) error {
	d.removed = append(d.removed, path)
	return nil
}

func TestLooksTakeTurns(t *testing.T) {
	var turns turns
	leave, err := turns.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := turns.take(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.take(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v: somebody else has it", err)
	}
	leave()
	leave, err = turns.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if len(turns.keys) != 0 {
		t.Errorf("%d keys are left", len(turns.keys))
	}
}

func TestATaskAtWorkIsNotLookedAt(t *testing.T) {
	fake, d, l := rig()
	fake.onNetwork = func(context.Context) {
		calls := len(fake.Calls())
		if err := l.Look(t.Context(), "ws_1", nil); err != nil || len(fake.Calls()) != calls {
			t.Errorf("%v asked the engine (%v)", fake.Calls()[calls:], err)
		}
	}
	if err := l.Handlers()[task.Create](t.Context(), task.Task{Type: task.Create, WorkspaceID: "ws_1"}, func(string, *float64) {}); err != nil {
		t.Fatal(err)
	}
	fake.Exit(d.w.Observed.Container.ID, 1)
	if err := l.Look(t.Context(), "ws_1", nil); err != nil || d.w.Observed.State() != workspace.ContainerExited {
		t.Errorf("got %v, %s", err, d.w.Observed.State())
	}
}

func TestAnEnginesWordNamesNoPathOfTheHost(t *testing.T) {
	for said, want := range map[string]string{
		"": "",
		`OCI runtime create failed: container_linux.go: starting process: exec: "tool": executable file not found in $PATH`: "The image does not have the command tool. Check the command and the image.",
		"error while mounting /srv/data/projects/ann: no such file":                                                         "The container engine refuses this workspace: error while mounting …: no such file.",
	} {
		if got := errorOf(engine.Container{Error: said}); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
}

func TestACommandThatCannotBeRunFailsItsTask(t *testing.T) {
	for _, typ := range []task.Type{task.Create, task.Start, task.Restart, task.Recreate, task.Sync} {
		fake, d, l := rig()
		d.w.Command = []string{enginetest.Missing + "/command"}
		err := l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: "ws_1"}, func(string, *float64) {})
		failure, class := Classify(err)
		if class != task.Permanent || failure.Code != string(workspace.BadUserInput) || fmt.Sprint(failure.Field) != "[input command]" || d.w.Observed.State() != workspace.ContainerExited {
			t.Errorf("%s: %v, %+v, %s after %v", typ, err, failure, d.w.Observed.State(), fake.Calls())
		}
	}
}

// TestAStopGoesOnWithWhatIsLeft: a server that takes over a stop from one that was killed does not begin its grace anew.
func TestAStopGoesOnWithWhatIsLeft(t *testing.T) {
	for begun, want := range map[bool]time.Duration{false: 40 * time.Second, true: 0} {
		synctest.Test(t, func(t *testing.T) {
			fake := enginetest.New()
			fake.Pullable("alpine", nil)
			d := &desk{begun: begun, w: workspace.Workspace{
				ID: "ws_1", OwnerID: "ann", Subnet: "10.213.0.0/28", DesiredState: workspace.WantRunning,
				Spec: workspace.Spec{Image: "alpine", Command: []string{"sh", "-c", "trap '' TERM; sleep 1000"}, ProjectPath: "p"},
			}}
			l := New(fake, d, projects{}, "inst_1", slog.New(slog.DiscardHandler))
			report := func(string, *float64) {}
			if err := l.Handlers()[task.Create](t.Context(), task.Task{Type: task.Create, WorkspaceID: "ws_1"}, report); err != nil {
				t.Fatal(err)
			}
			d.w.DesiredState = workspace.WantStopped
			began := time.Now()
			if err := l.Handlers()[task.Stop](t.Context(), task.Task{Type: task.Stop, WorkspaceID: "ws_1", Params: task.Params{Grace: 40 * time.Second}}, report); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want || d.w.Observed.State() != workspace.ContainerExited {
				t.Errorf("begun before: %t; it took %v, want %v, and the container is %s", begun, took, want, d.w.Observed.State())
			}
		})
	}
}
