package lifecycle

import (
	"context"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// desk has one workspace and remembers what was recorded of it.
type desk struct{ w workspace.Workspace }

func (d *desk) Get(context.Context, string) (workspace.Workspace, error) { return d.w, nil }

func (d *desk) Record(_ context.Context, _ string, seen workspace.Observed) (workspace.Workspace, error) {
	d.w.Observed = seen
	return d.w, nil
}

func (d *desk) MoveSubnet(context.Context, string) (workspace.Workspace, error) {
	d.w.Subnet = "10.213.0.16/28"
	return d.w, nil
}

type projects struct{}

func (projects) Make(string, string) (string, error) { return "/projects/p", nil }
func (projects) RemoveEmpty(string, string) error    { return nil }

func TestAWorkspaceLives(t *testing.T) {
	fake := enginetest.New()
	fake.Pullable("alpine", nil)
	d := &desk{workspace.Workspace{
		ID: "ws_1", OwnerID: "ann", Subnet: "10.213.0.0/28", DesiredState: workspace.WantRunning,
		Spec: workspace.Spec{Image: "alpine", Command: []string{"sleep", "infinity"}, ProjectPath: "p", Resources: workspace.Resources{Cpus: 1, MemoryBytes: 1 << 26, Pids: 10}},
	}}
	l := New(fake, d, projects{}, "inst_1")
	run := func(typ task.Type, desired workspace.DesiredState) error {
		d.w.DesiredState = desired
		return l.Handlers()[typ](t.Context(), task.Task{Type: typ, WorkspaceID: d.w.ID}, func(string, *float64) {})
	}
	fake.FailNext("CreateNetwork", enginetest.Fault(engine.KindAddressInUse))
	if err := run(task.Create, workspace.WantRunning); !engine.Is(err, engine.KindAddressInUse) {
		t.Fatalf("got %v", err)
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
}
