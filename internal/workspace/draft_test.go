package workspace

import (
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// TestTheTimeOfAStopIsKeptWhileItGoesOn: a container that was told to end is told once, and its time does not begin anew with another server. After a failure nobody
// knows whether it was told.
func TestTheTimeOfAStopIsKeptWhileItGoesOn(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Minute)
	failure := &task.Failure{Code: string(EngineUnreachable)}
	for what, c := range map[string]struct {
		end  func(d *Draft)
		kept bool
	}{
		"its lease has ended":      {func(d *Draft) { d.GiveBack("task_1") }, true},
		"it was cut by a shutdown": {func(d *Draft) { d.Finish("task_1", task.Outcome{Status: task.Queued, Unburned: true}) }, true},
		"the engine cannot be reached": {func(d *Draft) {
			d.Finish("task_1", task.Outcome{Status: task.Queued, Failure: failure, Unburned: true})
		}, false},
		"it failed": {func(d *Draft) { d.Finish("task_1", task.Outcome{Status: task.Retrying, Failure: failure}) }, false},
	} {
		d := NewDraft(Workspace{ID: "ws_1", DesiredState: WantStopped}, []task.Task{{ID: "task_1", Type: task.Stop, Status: task.Running, StopBy: &until}}, now)
		c.end(d)
		if len(d.Live) != 1 || d.Live[0].Status == task.Running || (d.Live[0].StopBy != nil) != c.kept {
			t.Errorf("%s: got %+v", what, d.Live)
		}
	}
}

// TestAStopThatCutACreationLeavesNothingToGoBackTo: when it is cancelled, nothing is to run, since nothing was made.
func TestAStopThatCutACreationLeavesNothingToGoBackTo(t *testing.T) {
	d := NewDraft(Workspace{ID: "ws_1", DesiredState: WantRunning, Status: Pending},
		[]task.Task{{ID: "task_1", Type: task.Create, Status: task.Running, Step: task.StepPull, RequestedBy: "ann"}}, time.Now())
	stop, cut := d.Ask(Decide(task.Stop, d.Workspace, d.Live), Request{Verb: task.Stop, By: "ann", At: d.Now()})
	if stop == nil || len(cut) != 1 || cut[0] != "task_1" {
		t.Fatalf("got %+v, and %v are cut", stop, cut)
	}
	d.Finish("task_1", task.Outcome{Status: task.Superseded})
	if err := d.Cancel(stop.ID); err != nil {
		t.Fatal(err)
	}
	if d.Seal(); d.Workspace.DesiredState != WantStopped || d.Workspace.Status != Inactive || len(d.Live) > 0 {
		t.Errorf("it is %s, %s is desired, and %v live", d.Workspace.Status, d.Workspace.DesiredState, d.Live)
	}
}
