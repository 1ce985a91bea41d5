package workspace

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var states = []ContainerState{
	NoContainer, ContainerCreated, ContainerRunning, ContainerPaused, ContainerRestarting, ContainerRemoving, ContainerExited, ContainerDead,
}

// rows of the table in the words of docs: each place is a combination of recovering, making, halting and failed, from none to all.
var statusRows = map[DesiredState]map[ContainerState][16]Status{
	WantRunning: {
		NoContainer:         notRunning(Failing, Pending),
		ContainerCreated:    notRunning(Failing, Starting),
		ContainerRunning:    all(Active),
		ContainerPaused:     notRunning(Failing, Starting),
		ContainerRestarting: notRunning(Recovering, Starting),
		ContainerRemoving:   notRunning(Recovering, Starting),
		ContainerExited:     notRunning(Failing, Starting),
		ContainerDead:       notRunning(Failing, Starting),
	},
	WantStopped: {
		NoContainer:         twice(Inactive, Failing, Inactive, Failing, Pending, Pending, Pending, Pending),
		ContainerCreated:    all(Inactive),
		ContainerRunning:    twice(Active, Failing, Stopping, Stopping, Active, Failing, Stopping, Stopping),
		ContainerPaused:     twice(Inactive, Failing, Stopping, Stopping, Inactive, Failing, Stopping, Stopping),
		ContainerRestarting: twice(Starting, Failing, Stopping, Stopping, Starting, Failing, Stopping, Stopping),
		ContainerRemoving:   all(Inactive),
		ContainerExited:     all(Inactive),
		ContainerDead:       all(Inactive),
	},
}

func all(s Status) (row [16]Status) {
	for i := range row {
		row[i] = s
	}
	return row
}

// twice is a row that is the same whether or not recovery is at work.
func twice(half ...Status) (row [16]Status) {
	copy(row[:], half)
	copy(row[8:], half)
	return row
}

// notRunning is the row of what should run and does not: idle while nothing is under way and nothing has failed.
func notRunning(idle, making Status) [16]Status {
	return [16]Status{
		idle, Failing, idle, Failing, making, making, making, making,
		Recovering, Recovering, Recovering, Recovering, making, making, making, making,
	}
}

func TestStatusOf(t *testing.T) {
	for _, state := range states {
		for bits := range 16 {
			f := Facts{State: state, Recovering: bits&8 != 0, Making: bits&4 != 0, Halting: bits&2 != 0, Failed: bits&1 != 0}
			for _, f.Desired = range []DesiredState{WantRunning, WantStopped, WantDeleted} {
				want := Deleting
				if f.Desired != WantDeleted {
					want = statusRows[f.Desired][state][bits]
				}
				if got := StatusOf(f); got != want {
					t.Errorf("%+v: got %s, want %s", f, got, want)
				}
				if f.Desired == WantDeleted || state != ContainerExited {
					continue
				}
				f.Ending = true // is as if it were being removed: the engine is at it
				if got, want := StatusOf(f), statusRows[f.Desired][ContainerRemoving][bits]; got != want {
					t.Errorf("%+v: got %s, want %s", f, got, want)
				}
				f.Ending = false
			}
		}
	}
}

// live makes tasks from words such as "START running".
func live(words ...[2]string) (tasks []task.Task) {
	for i, w := range words {
		tasks = append(tasks, task.Task{ID: fmt.Sprint("task_", i), Type: task.Type(w[0]), Status: task.Status(w[1]), RequestedBy: "ann"})
	}
	return tasks
}

func TestDecide(t *testing.T) {
	active := Workspace{DesiredState: WantRunning, Status: Active, Observed: Observed{Container: &Container{State: ContainerRunning}}}
	inactive := Workspace{DesiredState: WantStopped, Status: Inactive}
	deleting := Workspace{DesiredState: WantDeleted, Status: Deleting}
	for _, c := range []struct {
		name string
		verb task.Type
		w    Workspace
		live []task.Task
		want string // reuse, enqueue, superseded, desired, refused
	}{
		{"a start of what is active needs no task", task.Start, active, nil, "- false [] RUNNING"},
		{"a start of what is inactive", task.Start, inactive, nil, "- true [] RUNNING"},
		{"a start while one is under way is that one", task.Start, active, live([2]string{"START", "RUNNING"}), "task_0 false [] RUNNING"},
		{"a start of what waits to be made without it", task.Start, inactive, live([2]string{"CREATE", "QUEUED"}), "task_0 false [] RUNNING"},
		{"a sync behind it changes nothing", task.Start, active, live([2]string{"START", "RUNNING"}, [2]string{"SYNC", "QUEUED"}), "task_0 false [] RUNNING"},
		{"nor behind a creation", task.Start, active, live([2]string{"CREATE", "RUNNING"}, [2]string{"SYNC", "QUEUED"}), "task_0 false [] RUNNING"},
		{"a start of what is active needs none beside a sync", task.Start, active, live([2]string{"SYNC", "RUNNING"}), "- false [] RUNNING"},
		{"a start of what waits to be made and then to be stopped", task.Start, inactive, live([2]string{"CREATE", "QUEUED"}, [2]string{"STOP", "QUEUED"}), "task_0 false [task_1] RUNNING"},
		{"but not of what is being made, and may have been led astray", task.Start, inactive, live([2]string{"CREATE", "RUNNING"}, [2]string{"STOP", "QUEUED"}), "- true [task_1] RUNNING"},
		{"a start after a stop comes after it", task.Start, inactive, live([2]string{"STOP", "RUNNING"}), "- true [] RUNNING"},
		{"a stop supersedes a queued start", task.Stop, active, live([2]string{"START", "QUEUED"}), "- true [task_0] STOPPED"},
		{"a stop supersedes a queued sync, which would stop in its own time", task.Stop, active, live([2]string{"SYNC", "QUEUED"}), "- true [task_0] STOPPED"},
		{"a start supersedes a queued stop", task.Start, inactive, live([2]string{"STOP", "QUEUED"}), "- true [task_0] RUNNING"},
		{"a second start supersedes a stop that was given back since", task.Start, active, live([2]string{"STOP", "QUEUED"}, [2]string{"START", "QUEUED"}), "task_1 false [task_0] RUNNING"},
		{"a restart overtaken by a stop is not joined", task.Restart, inactive, live([2]string{"RESTART", "RUNNING"}, [2]string{"STOP", "RUNNING"}), "- true [] RUNNING"},
		{"a stop waits for a start that runs", task.Stop, active, live([2]string{"START", "RUNNING"}), "- true [] STOPPED"},
		{"a stop of what is stopped needs no task", task.Stop, inactive, nil, "- false [] STOPPED"},
		{"a stop of what is stopped leaves a sync alone", task.Stop, inactive, live([2]string{"SYNC", "QUEUED"}), "- false [] STOPPED"},
		{"a second stop is the first, also with a sync behind it", task.Stop, inactive, live([2]string{"STOP", "RUNNING"}, [2]string{"SYNC", "QUEUED"}), "task_0 false [] STOPPED"},
		{"a second stop does not wait for a sync before it", task.Stop, inactive, live([2]string{"SYNC", "QUEUED"}, [2]string{"STOP", "QUEUED"}), "task_1 false [task_0] STOPPED"},
		{"a stop that ran while a start was asked for may have left it", task.Stop, inactive, live([2]string{"STOP", "RUNNING"}, [2]string{"START", "QUEUED"}), "- true [task_1] STOPPED"},
		{"a second stop is the first", task.Stop, inactive, live([2]string{"STOP", "QUEUED"}), "task_0 false [] STOPPED"},
		{"a restart supersedes what would start", task.Restart, active, live([2]string{"START", "QUEUED"}, [2]string{"RESTART", "RETRYING"}), "- true [task_0 task_1] RUNNING"},
		{"a restart under way is that one", task.Restart, active, live([2]string{"RESTART", "RUNNING"}), "task_0 false [] RUNNING"},
		{"a restart under way is that one, also with a sync behind it", task.Restart, active, live([2]string{"RESTART", "RUNNING"}, [2]string{"SYNC", "QUEUED"}), "task_0 false [] RUNNING"},
		{"a delete supersedes all, running or not", task.Delete, active, live([2]string{"CREATE", "RUNNING"}, [2]string{"STOP", "QUEUED"}), "- true [task_0 task_1] DELETED"},
		{"a second delete is the first", task.Delete, deleting, live([2]string{"DELETE", "RETRYING"}), "task_0 false [] DELETED"},
		{"a second delete supersedes what was given back since", task.Delete, deleting, live([2]string{"SYNC", "QUEUED"}, [2]string{"DELETE", "QUEUED"}), "task_1 false [task_0] DELETED"},
		{"a delete that failed is begun again", task.Delete, deleting, nil, "- true [] DELETED"},
		{"what is being deleted is not started", task.Start, deleting, nil, "- false [] DELETED CONFLICT"},
		{"a queued sync is enough", task.Sync, active, live([2]string{"SYNC", "QUEUED"}), "task_0 false [] RUNNING"},
		{"a running sync may have looked already", task.Sync, active, live([2]string{"SYNC", "RUNNING"}), "- true [] RUNNING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Decide(c.verb, c.w, c.live)
			reuse, superseded := "-", []string{}
			if d.Reuse != nil {
				reuse = d.Reuse.ID
			}
			for _, s := range d.Supersede {
				superseded = append(superseded, s.ID)
			}
			got := fmt.Sprint(reuse, " ", d.Enqueue, " ", superseded, " ", d.Desired)
			if d.Refusal != nil {
				got += " " + string(d.Refusal.Code)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDraft(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	running := func(typ task.Type, params task.Params) []task.Task {
		return []task.Task{{ID: "task_0", Type: typ, Status: task.Running, Attempt: 1, MaxAttempts: 5, Params: params}}
	}
	failed := task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "IMAGE_NOT_FOUND", Message: "No such image."}}

	t.Run("a creation that fails within the wait is deleted again in the same change", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantRunning}, running(task.Create, task.Params{DiscardUntil: now.Add(time.Second)}), now)
		d.Finish("task_0", failed)
		_, tasks := d.Seal()
		if d.Workspace.DesiredState != WantDeleted || d.Workspace.Status != Deleting || len(tasks) != 2 || tasks[1].Type != task.Delete {
			t.Errorf("got %+v, %+v", d.Workspace, tasks)
		}
	})
	t.Run("a creation that fails later stays and says why", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantRunning}, running(task.Create, task.Params{DiscardUntil: now}), now)
		d.Finish("task_0", failed)
		d.Seal()
		if d.Workspace.Status != Failing || d.Workspace.StatusReason == nil || *d.Workspace.StatusReason != "No such image." {
			t.Errorf("got %+v", d.Workspace)
		}
	})
	t.Run("a deletion that succeeds removes the row", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantDeleted}, running(task.Delete, task.Params{}), now)
		d.Finish("task_0", task.Outcome{Status: task.Succeeded})
		if d.Seal(); !d.Removed {
			t.Error("it stays")
		}
	})
	t.Run("a deletion that succeeds leaves no task behind", func(t *testing.T) {
		live := append(running(task.Delete, task.Params{}), task.Task{ID: "task_1", Type: task.Create, Status: task.Running})
		d := NewDraft(Workspace{DesiredState: WantDeleted}, live, now)
		d.Finish("task_0", task.Outcome{Status: task.Succeeded})
		if _, tasks := d.Seal(); len(d.Live) != 0 || len(tasks) != 2 || tasks[1].Status != task.Superseded {
			t.Errorf("got %+v", tasks)
		}
	})
	t.Run("a deletion that fails for good is begun again by itself, and says why", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantDeleted}, running(task.Delete, task.Params{}), now)
		d.Finish("task_0", failed)
		d.Seal()
		if len(d.Live) != 1 || d.Live[0].Type != task.Delete || !d.Live[0].RunAt.After(now) || d.Workspace.StatusReason == nil {
			t.Fatalf("got %+v, %+v", d.Live, d.Workspace)
		}
		d.Hurry(d.Live[0].ID)
		if !d.Live[0].RunAt.Equal(now) {
			t.Errorf("it runs at %s although somebody asked for it now", d.Live[0].RunAt)
		}
	})
	t.Run("the reason names the try that failed, and none for what was no try", func(t *testing.T) {
		for _, c := range []struct {
			status  task.Status
			attempt int
			want    string
		}{
			{task.Retrying, 1, "Try 1 of 5 failed: No such image."},
			{task.Running, 2, "Try 1 of 5 failed: No such image."},
			{task.Queued, 0, "No such image."},
		} {
			live := []task.Task{{ID: "task_0", Type: task.Create, Status: c.status, Attempt: c.attempt, MaxAttempts: 5, Failure: failed.Failure}}
			d := NewDraft(Workspace{DesiredState: WantRunning}, live, now)
			if d.Seal(); d.Workspace.StatusReason == nil || *d.Workspace.StatusReason != c.want {
				t.Errorf("%s, attempt %d: got %v, want %q", c.status, c.attempt, d.Workspace.StatusReason, c.want)
			}
		}
	})
	t.Run("a try that was cut does not count", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantRunning}, running(task.Start, task.Params{}), now)
		d.Finish("task_0", task.Outcome{Status: task.Queued, Unburned: true})
		if got := d.Live[0]; got.Status != task.Queued || got.Attempt != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a start that would be tried again after a stop was asked for is superseded", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantStopped}, running(task.Start, task.Params{}), now)
		d.Finish("task_0", task.Outcome{Status: task.Retrying, Failure: failed.Failure})
		if len(d.Live) != 0 || len(d.Ended) != 1 || d.Ended[0].Status != task.Superseded {
			t.Errorf("got %+v, %+v", d.Live, d.Ended)
		}
	})
	t.Run("a task that is to be cancelled does not go back to the queue", func(t *testing.T) {
		live := running(task.Start, task.Params{Was: &task.Was{Desired: string(WantStopped)}})
		live[0].Cancel = true
		d := NewDraft(Workspace{DesiredState: WantRunning}, live, now)
		d.Finish("task_0", task.Outcome{Status: task.Queued, Unburned: true})
		if len(d.Live) != 0 || d.Ended[0].Status != task.Cancelled || d.Workspace.DesiredState != WantStopped {
			t.Errorf("got %+v, %+v", d.Live, d.Ended)
		}
	})
	t.Run("a task that runs is not ended by what supersedes it", func(t *testing.T) {
		d := NewDraft(Workspace{DesiredState: WantRunning}, running(task.Start, task.Params{}), now)
		d.Supersede(d.Live[0])
		if changed, _ := d.Seal(); len(d.Live) != 1 || d.Live[0].Status != task.Running || !changed {
			t.Errorf("got %+v", d.Live)
		}
	})
}
