package workspace

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

var dayOne = time.Date(2026, 1, 1, 14, 0, 0, 0, time.UTC)

func TestAilment(t *testing.T) {
	for _, c := range []struct {
		state         ContainerState
		ending        bool
		on, gone, off task.Type // its network, that is gone, that it is not on
	}{
		{state: NoContainer, on: task.Recreate, gone: task.Recreate, off: task.Recreate},
		{state: ContainerDead, on: task.Recreate, gone: task.Recreate, off: task.Recreate},
		{state: ContainerCreated, on: task.Restart, gone: task.Restart, off: task.Restart},
		{state: ContainerExited, on: task.Restart, gone: task.Restart, off: task.Restart},
		{state: ContainerPaused, on: task.Sync, gone: task.Sync, off: task.Sync},
		{state: ContainerRunning, gone: task.Sync, off: task.Sync},
		{state: ContainerRestarting},
		{state: ContainerRemoving},
		{state: ContainerExited, ending: true},
	} {
		for network, want := range map[string]task.Type{"on": c.on, "gone": c.gone, "off": c.off} {
			o := Observed{Network: &Network{ID: "n"}, Detached: network == "off"}
			if network == "gone" {
				o.Network = nil
			}
			if c.state != NoContainer {
				o.Container = &Container{State: c.state, Ending: c.ending}
			}
			if got, why := ailment(Workspace{Observed: o}); got != want || (why == "") != (want == "") {
				t.Errorf("%s, network %s: got %q (%s), want %q", c.state, network, got, why, want)
			}
		}
	}
}

func TestAilmentOfHealth(t *testing.T) {
	for _, c := range []struct {
		health HealthStatus
		policy bool
		state  ContainerState
		net    *Network
		want   task.Type
	}{
		{HealthUnhealthy, true, ContainerRunning, &Network{ID: "n"}, task.Restart},
		{HealthUnhealthy, false, ContainerRunning, &Network{ID: "n"}, ""},
		{HealthStarting, true, ContainerRunning, &Network{ID: "n"}, ""},
		{HealthHealthy, true, ContainerRunning, &Network{ID: "n"}, ""},
		{HealthUnhealthy, true, ContainerRunning, nil, task.Sync},
		{HealthUnhealthy, true, ContainerPaused, &Network{ID: "n"}, task.Sync},
		{HealthUnhealthy, true, ContainerRestarting, &Network{ID: "n"}, ""},
	} {
		w := Workspace{Spec: Spec{Policy: RecoveryPolicy{RestartWhenUnhealthy: c.policy}}, Observed: Observed{Network: c.net, Container: &Container{State: c.state, Health: &Health{Status: c.health}}}}
		if got, why := ailment(w); got != c.want || (why == "") != (c.want == "") {
			t.Errorf("%+v: got %q (%s)", c, got, why)
		}
	}
}

// patient is a workspace that is changed by one draft after another.
type patient struct {
	*testing.T
	w    Workspace
	live []task.Task
	now  time.Time
}

func newPatient(t *testing.T, p RecoveryPolicy) *patient {
	t.Helper()
	return &patient{T: t, now: dayOne, w: Workspace{
		ID: "ws_1", OwnerID: "ann", DesiredState: WantRunning, Spec: Spec{Policy: p}, Observed: Observed{Network: &Network{ID: "n"}, Container: &Container{State: ContainerRunning, StartedAt: &dayOne}},
	}}
}

// change makes one change, after so much time.
func (p *patient) change(after time.Duration, f func(*Draft)) {
	p.Helper()
	p.now = p.now.Add(after)
	d := NewDraft(p.w, p.live, p.now)
	f(d)
	d.Seal()
	p.w, p.live = d.Workspace, d.Live
}

func (p *patient) see(after time.Duration, change func(*Observed)) {
	p.Helper()
	p.change(after, func(d *Draft) {
		o := d.Workspace.Observed
		if o.Container != nil {
			o.Container = new(*o.Container)
		}
		change(&o)
		o.Serial = d.Workspace.Observed.Serial
		if err := d.Observe(o); err != nil {
			p.Error(err)
		}
	})
}

// exit lets the container end after it has run so long.
func (p *patient) exit(ran time.Duration, code int, tail ...string) {
	p.Helper()
	p.see(ran, func(o *Observed) {
		at := p.now
		o.Container.State, o.Container.ExitCode, o.Container.FinishedAt, o.Tail = ContainerExited, code, &at, tail
	})
}

// run runs the one live task, which ends well or fails.
func (p *patient) run(fails bool) {
	p.Helper()
	if len(p.live) != 1 {
		p.Fatalf("%d tasks live: %+v, of %+v", len(p.live), p.live, p.w)
	}
	p.now = p.live[0].RunAt
	p.live[0].Status, p.live[0].Attempt = task.Running, 1
	if fails {
		p.change(time.Second, func(d *Draft) {
			d.Finish(d.Live[0].ID, task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "ENGINE_ERROR", Message: "The engine refuses."}})
		})
		return
	}
	p.see(0, func(o *Observed) {
		at := p.now
		if o.Container == nil {
			o.Container = &Container{}
		}
		o.Container.State, o.Container.StartedAt = ContainerRunning, &at
		if o.Container.Health != nil {
			o.Container.Health = &Health{Status: HealthStarting}
		}
		o.Network, o.Detached = &Network{ID: "n"}, false
	})
	p.change(0, func(d *Draft) { d.Finish(d.Live[0].ID, task.Outcome{Status: task.Succeeded}) })
}

// health lets a check of the container end, and have come to that.
func (p *patient) health(after time.Duration, status HealthStatus, streak int) {
	p.Helper()
	p.see(after, func(o *Observed) {
		at := p.now
		o.Container.Health = &Health{Status: status, FailingStreak: streak, CheckedAt: &at}
	})
}

func (p *patient) is(status Status, reasons ...string) {
	p.Helper()
	why := ""
	if p.w.StatusReason != nil {
		why = *p.w.StatusReason
	}
	if p.w.Status != status || slices.ContainsFunc(reasons, func(r string) bool { return !strings.Contains(why, r) }) {
		p.Errorf("it is %s (%s), want %s with %q", p.w.Status, why, status, reasons)
	}
}

func (p *patient) ask(verb task.Type) {
	p.Helper()
	p.change(0, func(d *Draft) {
		decision := Decide(verb, d.Workspace, d.Live)
		if decision.Refusal != nil {
			p.Fatal(decision.Refusal)
		}
		d.Ask(decision, Request{Verb: verb, By: "ann", At: p.now})
	})
}

var three = RecoveryPolicy{MaxRetries: 3, Backoff: 8 * time.Second, Fallback: FallbackStop}

func TestRecovery(t *testing.T) {
	t.Run("what exits is restarted after waits that double, and then given up", func(t *testing.T) {
		p := newPatient(t, three)
		for try := 1; try <= 3; try++ {
			p.exit(3*time.Second, 137)
			p.is(Recovering, "exited with code 137 after 3s: killed", fmt.Sprintf("Try %d of 3 is due at 14:", try))
			most := 8 * time.Second << (try - 1)
			if wait := p.live[0].RunAt.Sub(p.now); p.live[0].Type != task.Restart || wait < most/2 || wait > most {
				t.Errorf("try %d is a %s in %s, want at most %s", try, p.live[0].Type, wait, most)
			}
			p.run(false)
			p.is(Active)
		}
		p.exit(3*time.Second, 1)
		p.is(Failing, "exited with code 1 after 3s", "gave up after 3 tries", "kept for a look")
		if len(p.live) != 0 || p.w.Recovery.Restarts != 3 || p.w.LastExit.Code != 1 || p.w.DesiredState != WantRunning {
			t.Errorf("got %+v, %+v", p.live, p.w)
		}
	})
	t.Run("what has run well has its tries forgiven", func(t *testing.T) {
		p := newPatient(t, three)
		for range 10 {
			p.exit(ranWell, 1)
			p.is(Recovering, "Try 1 of 3")
			p.run(false)
		}
		if p.w.Recovery.Restarts != 10 {
			t.Errorf("%d restarts", p.w.Recovery.Restarts)
		}
	})
	t.Run("how it ended is told, with its last lines", func(t *testing.T) {
		p := newPatient(t, three)
		p.see(time.Minute, func(o *Observed) {
			at := p.now
			o.Container.State, o.Container.ExitCode, o.Container.OOMKilled, o.Container.FinishedAt, o.Tail = ContainerExited, 137, true, &at, []string{"bye"}
		})
		p.is(Recovering, "exited with code 137 after 1m0s: killed, out of memory")
		if e := p.w.LastExit; e.Signal() != "SIGKILL" || !e.OOMKilled || fmt.Sprint(e.LogTail) != "[bye]" || !e.At.Equal(p.now) {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("an end that an event tells is told at once, and seen to when it is known how it ended", func(t *testing.T) {
		p := newPatient(t, three)
		p.w.Observed.Container.ID = "c"
		end := func(after time.Duration, e End) {
			t.Helper()
			p.change(after, func(d *Draft) {
				e.At = d.Now()
				d.End(e)
			})
		}
		before := p.w.Observed
		end(0, End{ContainerID: "c", Code: 3})               // of the run before
		end(time.Second, End{ContainerID: "other", Code: 3}) // of another container
		if p.is(Active); !reflect.DeepEqual(p.w.Observed, before) {
			t.Errorf("got %+v", p.w.Observed.Container)
		}
		end(2*time.Second, End{ContainerID: "c", Code: 137})
		p.is(Recovering, "exited with code 137 after 3s: killed. What")
		if c := p.w.Observed.Container; c.State != ContainerExited || c.ExitCode != 137 || before.Container.State != ContainerRunning || p.w.LastExit != nil || len(p.live) > 0 {
			t.Errorf("got %+v, last exit %+v, tasks %+v, and before it %+v", c, p.w.LastExit, p.live, before.Container)
		}
		version := p.w.Version
		end(time.Second, End{ContainerID: "c", Code: 137})
		if p.w.Version != version {
			t.Error("an end that is told twice changes something")
		}
		p.see(0, func(o *Observed) {
			o.Container.OOMKilled, o.Container.Ending, o.Tail = true, false, []string{"bye"}
		})
		p.is(Recovering, "exited with code 137 after 3s: killed, out of memory", "Try 1 of 3")
		if e := p.w.LastExit; e == nil || fmt.Sprint(e.LogTail) != "[bye]" || len(p.live) != 1 {
			t.Errorf("last exit %+v, tasks %+v", e, p.live)
		}
	})
	t.Run("an end that is told of what somebody stops, restarts or has failed at changes no more than the container", func(t *testing.T) {
		for verb, want := range map[task.Type]Status{task.Stop: Inactive, task.Restart: Starting, task.Sync: Recovering} {
			p := newPatient(t, three)
			p.w.Observed.Container.ID = "c"
			p.ask(verb)
			if verb == task.Sync {
				p.run(true)
			}
			p.change(time.Minute, func(d *Draft) { d.End(End{ContainerID: "c", At: d.Now()}) })
			if p.is(want); p.w.Observed.State() != ContainerExited {
				t.Errorf("%s: got %+v", verb, p.w.Observed.Container)
			}
		}
	})
	t.Run("what is gone or dead is made again", func(t *testing.T) {
		for _, c := range []*Container{nil, {State: ContainerDead}} {
			p := newPatient(t, three)
			p.see(time.Hour, func(o *Observed) { o.Container = c })
			p.is(Recovering, "The container is", "Try 1 of 3")
			if p.live[0].Type != task.Recreate {
				t.Errorf("got %+v", p.live)
			}
			p.run(false)
			p.is(Active)
		}
	})
	t.Run("what is paused goes on at once, and what lost its network gets it while it runs", func(t *testing.T) {
		for why, change := range map[string]func(*Observed){
			"paused":                func(o *Observed) { o.Container.State = ContainerPaused },
			"network is gone":       func(o *Observed) { o.Network = nil },
			"taken off its network": func(o *Observed) { o.Detached = true },
		} {
			p := newPatient(t, three)
			p.see(time.Hour, change)
			want := Active
			if why == "paused" {
				want = Recovering
			}
			p.is(want, why, "Try 1 of 3")
			if p.live[0].Type != task.Sync || !p.live[0].RunAt.Equal(p.now) {
				t.Errorf("got %+v", p.live)
			}
			p.run(false)
			p.is(Active)
			p.see(time.Second, change)
			if !p.live[0].RunAt.After(p.now) {
				t.Error("somebody who does it again and again is followed at once")
			}
		}
	})
	t.Run("a try that fails counts, and its reason is told", func(t *testing.T) {
		p := newPatient(t, three)
		p.see(time.Hour, func(o *Observed) { o.Container = nil })
		for try := range 3 {
			p.run(true)
			if try < 2 {
				p.is(Recovering, "is gone", fmt.Sprintf("Try %d of 3", try+2), "The last try failed: The engine refuses.")
			}
		}
		p.is(Failing, "is gone", "gave up after 3 tries", "The last try failed: The engine refuses.")
	})
	t.Run("a fallback that removes has that done, and the workspace stays FAILED", func(t *testing.T) {
		p := newPatient(t, RecoveryPolicy{Fallback: FallbackRemove})
		p.exit(time.Second, 1)
		p.is(Failing, "gave up after no tries", "are removed")
		if len(p.live) != 1 || !p.live[0].Params.Clear {
			t.Fatalf("got %+v", p.live)
		}
		p.live[0].Status = task.Running
		p.see(time.Second, func(o *Observed) { *o = Observed{} })
		p.change(0, func(d *Draft) { d.Finish(d.Live[0].ID, task.Outcome{Status: task.Succeeded}) })
		p.is(Failing, "are removed")
		p.ask(task.Start)
		p.is(Pending)
	})
	t.Run("a stop wins at once, and what was stopped is not started", func(t *testing.T) {
		p := newPatient(t, three)
		p.exit(time.Second, 1)
		p.ask(task.Stop)
		if len(p.live) != 1 || p.live[0].Type != task.Stop || p.w.DesiredState != WantStopped {
			t.Fatalf("got %+v", p.live)
		}
		p.live[0].Status = task.Running
		p.change(0, func(d *Draft) { d.Finish(d.Live[0].ID, task.Outcome{Status: task.Succeeded}) })
		p.see(time.Hour, func(o *Observed) { o.Container = nil })
		p.is(Inactive)
		if len(p.live) != 0 {
			t.Errorf("got %+v", p.live)
		}
	})
	t.Run("a start or a sync does not wait for the next try", func(t *testing.T) {
		for _, verb := range []task.Type{task.Start, task.Sync, task.Restart} {
			p := newPatient(t, three)
			p.exit(time.Second, 1)
			p.ask(verb)
			if len(p.live) != 1 || p.live[0].RunAt.After(p.now) {
				t.Errorf("%s: got %+v", verb, p.live)
			}
		}
	})
	t.Run("a start does not wait for a repair either", func(t *testing.T) {
		p := newPatient(t, three)
		for range 2 {
			p.see(time.Second, func(o *Observed) { o.Container.State = ContainerPaused })
			if p.w.Recovery.Tries == 1 {
				p.run(false)
			}
		}
		p.ask(task.Start)
		if len(p.live) != 1 || p.live[0].Type != task.Start {
			t.Errorf("got %+v", p.live)
		}
	})
	t.Run("what is FAILED begins anew with a start or a sync", func(t *testing.T) {
		for _, verb := range []task.Type{task.Start, task.Sync, task.Restart} {
			p := newPatient(t, RecoveryPolicy{MaxRetries: 0, Backoff: time.Second, Fallback: FallbackIgnore})
			p.exit(time.Second, 1)
			p.is(Failing, "left as it is")
			p.w.Policy.MaxRetries = 2
			p.ask(verb)
			p.is(Starting)
			p.run(false)
			p.is(Active)
			p.exit(time.Second, 1)
			p.is(Recovering, "Try 1 of 2")
		}
	})
	t.Run("what somebody else started again is not FAILED any more", func(t *testing.T) {
		p := newPatient(t, RecoveryPolicy{Fallback: FallbackStop})
		p.exit(time.Second, 1)
		p.is(Failing)
		p.see(time.Minute, func(o *Observed) { o.Container.State = ContainerRunning })
		p.is(Active)
		if p.w.Recovery.GaveUp {
			t.Errorf("got %+v", p.w.Recovery)
		}
	})
	t.Run("a recovery that is cancelled is not begun again by itself", func(t *testing.T) {
		p := newPatient(t, three)
		p.exit(time.Second, 1)
		p.change(0, func(d *Draft) {
			if err := d.Cancel(d.Live[0].ID); err != nil {
				t.Error(err)
			}
		})
		p.is(Failing, "Recovery was cancelled")
		p.see(time.Hour, func(*Observed) {})
		if p.is(Failing); len(p.live) != 0 {
			t.Errorf("got %+v", p.live)
		}
	})
	t.Run("what failed while it ran does not keep it from coming back", func(t *testing.T) {
		p := newPatient(t, three)
		p.ask(task.Sync)
		p.run(true)
		if p.w.Failure == nil {
			t.Fatal("the sync did not fail")
		}
		p.exit(time.Minute, 1)
		p.is(Recovering, "Try 1 of 3")
	})
	t.Run("what runs without its network and is given up says why", func(t *testing.T) {
		lost := func(o *Observed) { o.Network = nil }
		p := newPatient(t, three)
		p.see(time.Hour, lost)
		for range 3 {
			p.run(true)
		}
		p.is(Active, "The network is gone", "gave up after 3 tries: the container runs on as it is", "The last try failed: The engine refuses.")
		for _, verb := range []task.Type{task.Sync, task.Restart} {
			if p.ask(verb); p.w.Status != Active || p.w.StatusReason != nil {
				t.Errorf("while a %s is to see to it, it is %s (%s)", verb, p.w.Status, *p.w.StatusReason)
			}
		}

		p = newPatient(t, three)
		p.see(time.Hour, lost)
		p.change(0, func(d *Draft) {
			if err := d.Cancel(d.Live[0].ID); err != nil {
				t.Error(err)
			}
		})
		p.is(Active, "Recovery was cancelled", "The network is gone")

		p = newPatient(t, three)
		p.ask(task.Sync)
		p.see(time.Hour, lost)
		p.run(true)
		p.is(Active, "The engine refuses.")
	})
	t.Run("what was asked for and failed is not recovered from", func(t *testing.T) {
		p := newPatient(t, three)
		p.w.DesiredState = WantStopped
		p.see(0, func(o *Observed) { o.Container = nil })
		p.ask(task.Start)
		p.run(true)
		if p.is(Failing, "The engine refuses."); len(p.live) != 0 {
			t.Errorf("got %+v", p.live)
		}
	})
}

func TestWhatHadSomethingElseMountedIsFailedAndNotRecovered(t *testing.T) {
	for _, desired := range []DesiredState{WantRunning, WantStopped} {
		p := newPatient(t, DefaultRecovery)
		p.w.DesiredState = desired
		p.see(time.Second, func(o *Observed) { o.Container, o.Foreign = nil, true })
		if p.w.Status != Failing || p.w.StatusReason == nil || *p.w.StatusReason != ErrForeignMount.Message || len(p.live) > 0 {
			t.Errorf("%s: %s (%v), %+v", desired, p.w.Status, p.w.StatusReason, p.live)
		}
		p.see(time.Second, func(*Observed) {})
		if p.w.Status != Failing || len(p.live) > 0 {
			t.Errorf("%s, looked at again: %s, %+v", desired, p.w.Status, p.live)
		}
	}
}
