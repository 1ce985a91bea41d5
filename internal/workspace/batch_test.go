package workspace

import (
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

func TestBatchStatus(t *testing.T) {
	for _, c := range []struct {
		name                                string
		succeeded, failed, skipped, cancels int
		cancel                              bool
		want                                BatchStatus
	}{
		{"something lives", 3, 1, 1, 0, false, BatchRunning},
		{"something lives although it was cancelled", 1, 0, 0, 3, true, BatchRunning},
		{"all did what was asked for", 4, 0, 0, 0, false, BatchSucceeded},
		{"some needed nothing", 1, 0, 3, 0, false, BatchSucceeded},
		{"one failed", 3, 1, 0, 0, false, BatchCompletedWithErrors},
		{"all failed", 0, 4, 0, 0, false, BatchFailed},
		{"one failed and stopped the others", 0, 1, 0, 3, false, BatchFailed},
		{"one failed after another had succeeded, and stopped the others", 1, 1, 0, 2, false, BatchCompletedWithErrors},
		{"it was cancelled after some", 2, 0, 0, 2, true, BatchCancelled},
		{"it was cancelled when all had begun", 4, 0, 0, 0, true, BatchSucceeded},
		{"all were overtaken", 0, 0, 0, 4, false, BatchCancelled},
		{"some were overtaken", 3, 0, 0, 1, false, BatchCompletedWithErrors},
	} {
		b := Batch{Total: 4, Cancel: c.cancel}
		if c.want == BatchRunning {
			b.Total = 6
		}
		b.Count(ItemSucceeded, c.succeeded)
		b.Count(ItemFailed, c.failed)
		b.Count(ItemSkipped, c.skipped)
		b.Count(ItemCancelled, c.cancels)
		b.Seal(time.Now())
		if b.Status != c.want || (b.FinishedAt == nil) != (c.want == BatchRunning) {
			t.Errorf("%s: got %s, finished at %v, want %s", c.name, b.Status, b.FinishedAt, c.want)
		}
	}
}

func TestOutlook(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	up := Workspace{DesiredState: WantRunning, Status: Active, Observed: Observed{Container: &Container{State: ContainerRunning}}}
	down := Workspace{DesiredState: WantStopped, Status: Inactive, Observed: Observed{Container: &Container{State: ContainerExited}}}
	deleted := Workspace{DesiredState: WantDeleted, Status: Deleting}
	since := func(w Workspace) Workspace {
		w.AskedAt = began.Add(time.Second)
		return w
	}
	stopping := []task.Task{{ID: "t1", Type: task.Stop, Status: task.Queued}}
	for _, c := range []struct {
		name string
		verb task.Type
		w    Workspace
		live []task.Task
		want ItemStatus
	}{
		{"what is to be done", task.Start, down, nil, ItemQueued},
		{"what is so", task.Start, up, nil, ItemSkipped},
		{"what is so for another reason", task.Start, since(up), nil, ItemSkipped},
		{"what is under way", task.Stop, since(up), stopping, ItemQueued},
		{"what was overruled since", task.Start, since(down), nil, ItemCancelled},
		{"a restart that was overruled since", task.Restart, since(down), nil, ItemCancelled},
		{"a sync overrules nothing", task.Sync, since(down), nil, ItemQueued},
		{"a workspace that is being deleted", task.Start, deleted, nil, ItemFailed},
		{"a workspace that was deleted since", task.Start, since(deleted), nil, ItemCancelled},
		{"a deletion of what is being deleted", task.Delete, deleted, []task.Task{{ID: "t1", Type: task.Delete, Status: task.Queued}}, ItemQueued},
	} {
		b := Batch{Operation: c.verb, CreatedAt: began}
		if _, got, failure := b.outlook(c.w, c.live); got != c.want || (failure != nil) != (got == ItemFailed || got == ItemCancelled) {
			t.Errorf("%s: got %s, %+v, want %s", c.name, got, failure, c.want)
		}
	}
}

func TestBatchBounds(t *testing.T) {
	most := BatchBounds{Running: 2, Daily: 5}
	for has, want := range map[BatchBounds]string{{1, 4}: "", {2, 4}: "running", {1, 5}: "24 hours"} {
		if err := most.Admit(has, Batch{Status: BatchRunning}); (err == nil) != (want == "") || err != nil && (CodeOf(err) != QuotaExceeded || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: got %v", has, err)
		}
	}
	if err := most.Admit(BatchBounds{Running: 2}, Batch{Status: BatchSucceeded}); err != nil {
		t.Errorf("one that has ended already: got %v", err)
	}
}

func TestTasksAreInTheOrderAskedWhateverTheClocksSay(t *testing.T) {
	now := time.Now()
	ahead := NewDraft(Workspace{}, nil, now.Add(time.Hour))
	first := ahead.Enqueue(task.Create, "ann", task.Params{})
	d := NewDraft(Workspace{}, []task.Task{first}, now) // by a server whose clock is right
	for range 100 {
		before := d.Live[len(d.Live)-1].ID
		if next := d.Enqueue(task.Sync, "ann", task.Params{}); next.ID <= before || !strings.HasPrefix(next.ID, TaskPrefix) {
			t.Fatalf("%s comes after %s", next.ID, before)
		}
	}
}

func TestAnItemEndsAsItsTaskDoes(t *testing.T) {
	for status, want := range map[task.Status]ItemStatus{
		task.Queued: ItemQueued, task.Running: ItemQueued, task.Retrying: ItemQueued, task.Succeeded: ItemSucceeded,
		task.Failed: ItemFailed, task.Cancelled: ItemCancelled, task.Superseded: ItemCancelled,
	} {
		got, failure := ItemOf(task.Task{Status: status, Failure: &task.Failure{Message: "no"}})
		if got != want || (failure == nil) != (want == ItemQueued || want == ItemSucceeded) {
			t.Errorf("%s: got %s, %+v", status, got, failure)
		}
	}
}
