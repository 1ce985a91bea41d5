package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestNewsIsWhatIsNotRecorded(t *testing.T) {
	began := time.Unix(1000, 0).UTC()
	ended := began.Add(time.Minute)
	before, within, after := began.Add(-time.Second), began.Add(time.Second), ended.Add(time.Second)
	records := map[string]workspace.Observed{
		"nothing": {},
		"running": {Container: &workspace.Container{ID: "c", State: workspace.ContainerRunning, StartedAt: &began, Health: &workspace.Health{Status: workspace.HealthHealthy}}, Network: &workspace.Network{ID: "n"}},
		"off its network": {Container: &workspace.Container{ID: "c", State: workspace.ContainerRunning, StartedAt: &began}, Network: &workspace.Network{ID: "n"},
			Detached: true},
		"ending": {Container: &workspace.Container{ID: "c", State: workspace.ContainerExited, StartedAt: &began, FinishedAt: &ended, Ending: true}, Network: &workspace.Network{ID: "n"}},
		"exited": {Container: &workspace.Container{ID: "c", State: workspace.ContainerExited, StartedAt: &began, FinishedAt: &ended}, Network: &workspace.Network{ID: "n"}},
	}
	for _, c := range []struct {
		kind       engine.ObjectKind
		id, action string
		at         time.Time
		news       string // the records to which it is
	}{
		{engine.ContainerObject, "c", "create", before, "nothing ending"},
		{engine.ContainerObject, "c", "start", within, "nothing ending"},
		{engine.ContainerObject, "c", "die", before, "nothing running, off its network, ending exited"}, // the clock was set back
		{engine.ContainerObject, "c", "die", within, "nothing running, off its network, ending exited"},
		{engine.ContainerObject, "c", "die", after, "nothing running, off its network, ending"},
		{engine.ContainerObject, "c", "stop", after, "nothing running, off its network, ending"},
		{engine.ContainerObject, "c", "start", after, "nothing running, off its network, ending exited"},
		{engine.ContainerObject, "c", "pause", within, "nothing running, off its network, ending exited"},
		{engine.ContainerObject, "c", "update", before, "nothing running, off its network, ending exited"},
		{engine.ContainerObject, "c", "destroy", after, "running, off its network, ending exited"},
		{engine.ContainerObject, "c", "destroy", before, "running, off its network, ending exited"},
		{engine.ContainerObject, "c", "health_status: healthy", within, "nothing off its network, ending exited"},
		{engine.ContainerObject, "c", "health_status: unhealthy", within, "nothing running, off its network, ending exited"},
		{engine.ContainerObject, "d", "create", after, "nothing running, off its network, ending exited"},
		{engine.ContainerObject, "d", "destroy", after, ""},
		{engine.NetworkObject, "n", "create", before, "nothing"},
		{engine.NetworkObject, "n", "connect", within, "nothing off its network,"},
		{engine.NetworkObject, "n", "disconnect", before, "nothing ending"},
		{engine.NetworkObject, "n", "disconnect", within, "nothing running, off its network, ending"},
		{engine.NetworkObject, "n", "disconnect", after, "nothing running, off its network, ending"},
		{engine.NetworkObject, "n", "destroy", before, "running, off its network, ending exited"},
		{engine.NetworkObject, "m", "destroy", before, ""},
		{engine.NetworkObject, "m", "disconnect", before, "nothing running, off its network, ending exited"},
	} {
		for name, o := range records {
			e := engine.Event{Kind: c.kind, ID: c.id, Action: c.action, At: c.at}
			if got, want := !isRecorded(o, e), strings.Contains(c.news, name); got != want {
				t.Errorf("%s: %s of %s at %s is news: %t, want %t", name, c.action, c.id, c.at.Sub(began), got, want)
			}
		}
	}
}

// TestWhatAnOperationAsksOfTheEngine counts the calls of each on its common path, with those for the events that it causes.
func TestWhatAnOperationAsksOfTheEngine(t *testing.T) {
	s := newStage(t)
	s.fake.AddImage("alpine")
	for _, c := range []struct {
		typ     task.Type
		desired workspace.DesiredState
		most    int
	}{
		{task.Create, workspace.WantRunning, 5}, {task.Stop, workspace.WantStopped, 3}, {task.Start, workspace.WantRunning, 3},
		{task.Restart, workspace.WantRunning, 4}, {task.Delete, workspace.WantDeleted, 4},
	} {
		stream, err := s.fake.Events(t.Context(), isolation.Installation("inst_1"), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.fake.Calls())
		s.desk.w.DesiredState, s.runs = c.desired, 0
		if o := s.desk.w.Observed.Container; o != nil && o.FinishedAt != nil {
			s.desk.w.LastExit = &workspace.Exit{At: *o.FinishedAt} // as the service notes it
		}
		if err := s.run(task.Task{Type: c.typ}); err != nil {
			t.Fatal(err)
		}
		// All that happened is told late, when the task has ended.
		if _, err := s.fake.CreateNetwork(t.Context(), engine.NetworkSpec{Name: "last", Subnet: "10.1.0.0/28"}); err != nil {
			t.Fatal(err)
		}
		for {
			e, err := stream.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e.Name == "last" || c.typ == task.Delete { // then there is no row to compare with
				break
			}
			if err := s.l.Look(t.Context(), "ws_1", []engine.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
		stream.Close()
		calls := s.fake.Calls()[before:]
		calls = slices.DeleteFunc(calls, func(call string) bool { return call == "CreateNetwork last" })
		if len(calls) > c.most {
			t.Errorf("%s makes %d calls, want at most %d: %v", c.typ, len(calls), c.most, calls)
		}
		if err := s.fake.RemoveNetwork(t.Context(), "last"); err != nil {
			t.Fatal(err)
		}
	}
}

// as makes a container as the server would, or as somebody does of an image that was made of one, which has no project.
func (s *stage) as(spec engine.ContainerSpec, project bool) string {
	s.Helper()
	spec.Name, spec.Labels, spec.Image, spec.Entrypoint = isolation.Name("ws_1"), isolation.Labels("inst_1", "ws_1"), enginetest.BaseImage, []string{"sleep", "9"}
	if project {
		spec.Mounts = []engine.Mount{{Source: "/p", Target: isolation.Target}}
	}
	id, err := s.fake.CreateContainer(s.Context(), spec)
	if err == nil {
		err = s.fake.StartContainer(s.Context(), id)
	}
	if err != nil {
		s.Fatal(err)
	}
	return id
}

// TestWhatNobodyRecordedIsFound has a server killed between making another container and recording it.
func TestWhatNobodyRecordedIsFound(t *testing.T) {
	for _, c := range []struct {
		typ     task.Type
		desired workspace.DesiredState
		want    engine.State // empty: it is gone
	}{{task.Delete, workspace.WantDeleted, ""}, {task.Stop, workspace.WantStopped, engine.Exited}, {task.Sync, workspace.WantStopped, engine.Exited}} {
		s := newStage(t)
		s.made()
		s.fake.Remove(s.container())
		second := s.as(engine.ContainerSpec{Network: isolation.Name("ws_1")}, true)
		s.desk.w.DesiredState, s.runs = c.desired, 3
		err := s.run(task.Task{Type: c.typ})
		got, inspected := s.fake.Container(t.Context(), second)
		if err != nil || got.State != c.want || (inspected != nil) != (c.want == "") {
			t.Errorf("%s: %v; the container is %q", c.typ, err, got.State)
		}
	}
}

// TestACopyIsNotTakenForOurs has somebody remove our container, and run a copy of it under its name.
func TestACopyIsNotTakenForOurs(t *testing.T) {
	s := newStage(t)
	s.desk.w.DesiredState = workspace.WantStopped
	s.made()
	s.fake.Remove(s.container())
	copied := s.as(engine.ContainerSpec{}, false)
	for range 2 {
		if err := s.l.Look(t.Context(), "ws_1", nil); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := s.fake.Container(t.Context(), copied); err != nil || c.State != engine.Running || s.desk.w.Observed.Container != nil {
		t.Errorf("%v, %s; recorded is %+v", err, c.State, s.desk.w.Observed.Container)
	}
}

// TestANetworkThatGoesWhileATaskIsAtWork is still named by its container, which does not run.
func TestANetworkThatGoesWhileATaskIsAtWork(t *testing.T) {
	s := newStage(t)
	s.stopped()
	if err := s.l.Look(t.Context(), "ws_1", nil); err != nil {
		t.Fatal(err)
	}
	gone := s.desk.w.Observed.Network.ID
	at := new(atomic.Bool)
	s.l.working.Store("ws_1", at)
	if err := s.fake.RemoveNetwork(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := s.l.Look(t.Context(), "ws_1", []engine.Event{{Kind: engine.NetworkObject, Action: "destroy", ID: gone, Name: isolation.Name("ws_1")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.l.lookAfter(t.Context(), "ws_1", handles{}); err != nil || s.desk.w.Observed.Network != nil {
		t.Errorf("%v; recorded is %+v", err, s.desk.w.Observed.Network)
	}
}

// TestASyncPutsBack has somebody give a container swap and have the engine start it, which a sync ends and until then is told.
func TestASyncPutsBack(t *testing.T) {
	s := newStage(t)
	s.made()
	told := func() int { return len(s.desk.w.Observed.Container.Enforced.Warnings) }
	before := told()
	s.fake.Change(s.container(), func(e *engine.Enforced) { e.SwapBytes, e.RestartPolicy = -1, "always" })
	if err := s.l.Look(t.Context(), "ws_1", []engine.Event{{Kind: engine.ContainerObject, Action: "update", ID: s.container(), At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if told() != before+2 {
		t.Errorf("got %q", s.desk.w.Observed.Container.Enforced.Warnings)
	}
	if err := s.run(task.Task{Type: task.Sync}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.fake.Container(t.Context(), s.container()); err != nil || !isolation.Bounded(s.desk.w, c.Enforced) || told() != before {
		t.Errorf("%+v, %v: told are %q", c.Enforced, err, s.desk.w.Observed.Container.Enforced.Warnings)
	}
}

// TestOneIdentity has somebody give our container another name, and a stranger with our labels the one that it had.
func TestOneIdentity(t *testing.T) {
	s := newStage(t)
	s.made()
	ours := s.container()
	s.fake.Rename(ours, "renamed")
	stranger, err := s.fake.CreateContainer(t.Context(), engine.ContainerSpec{Name: isolation.Name("ws_1"), Image: enginetest.BaseImage, Entrypoint: []string{"sleep", "9"}, Labels: isolation.Labels("inst_1", "ws_1")})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		typ     task.Type
		desired workspace.DesiredState
	}{{task.Sync, workspace.WantRunning}, {task.Stop, workspace.WantStopped}, {task.Start, workspace.WantRunning}} {
		s.desk.w.DesiredState = step.desired
		if err := s.run(task.Task{Type: step.typ}); err != nil || s.container() != ours {
			t.Fatalf("%s: %v; it is taken to be %s, want %s", step.typ, err, s.container(), ours)
		}
	}
	s.desk.w.DesiredState = workspace.WantDeleted
	if err := s.run(task.Task{Type: task.Delete}); err != nil {
		t.Fatal(err)
	}
	list, err := s.fake.Containers(t.Context(), nil)
	if err != nil || len(list) != 1 || list[0].ID != stranger {
		t.Errorf("after the deletion there is %s, %v: want the stranger alone", fmt.Sprint(list), err)
	}
}
