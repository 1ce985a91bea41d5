package workspace

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aicli/aicli-web/internal/task"
)

func TestWhatIsUnhealthy(t *testing.T) {
	three := RecoveryPolicy{MaxRetries: 3, Backoff: time.Second, Fallback: FallbackStop, RestartWhenUnhealthy: true}
	without := three
	without.RestartWhenUnhealthy = false
	t.Run("it stays ACTIVE and says so, where it is not to be restarted", func(t *testing.T) {
		p := newPatient(t, without)
		p.health(time.Second, HealthHealthy, 0)
		if p.is(Active); p.w.StatusReason != nil {
			t.Errorf("it is healthy, and %s", *p.w.StatusReason)
		}
		p.health(time.Second, HealthUnhealthy, 3)
		p.is(Active, "is unhealthy: its last 3 health checks failed", "restartWhenUnhealthy")
		if len(p.live) > 0 {
			t.Errorf("got %+v", p.live)
		}
		p.change(time.Second, func(d *Draft) { d.Workspace.Policy = three }) // which counts from now on
		p.is(Active, "Try 1 of 3")
	})
	t.Run("it is restarted, once for each run, and each time counts", func(t *testing.T) {
		p := newPatient(t, three)
		for try := range 3 {
			p.health(time.Second, HealthUnhealthy, 1)
			p.is(Active, "its last health check failed", "Try "+string(rune('1'+try))+" of 3")
			if live := p.live[0]; live.Type != task.Restart || !live.Params.Recovery || live.Params.Before == nil || !live.Params.Before.Equal(*p.w.Observed.Container.StartedAt) || !live.RunAt.After(p.now) {
				t.Fatalf("got %+v", live)
			}
			p.run(false)
			p.is(Active)
			if p.w.Recovery.Restarts != try+1 {
				t.Errorf("%d restarts", p.w.Recovery.Restarts)
			}
			p.health(time.Minute, HealthHealthy, 0) // not long enough to be forgiven
			p.health(ranWell-2*time.Second, HealthHealthy, 0)
		}
		p.health(0, HealthUnhealthy, 1)
		p.is(Active, "gave up after 3 tries: the container is kept for a look")
		if len(p.live) != 1 || p.live[0].Type != task.Sync || !p.live[0].Params.Halt {
			t.Fatalf("got %+v", p.live)
		}
		p.live[0].Status = task.Running
		p.exit(time.Second, 143)
		p.change(0, func(d *Draft) { d.Finish(d.Live[0].ID, task.Outcome{Status: task.Succeeded}) })
		if p.is(Failing, "is unhealthy", "gave up after 3 tries: the container is kept for a look"); len(p.live) > 0 {
			t.Errorf("got %+v", p.live)
		}
		p.ask(task.Start)
		p.is(Starting)
	})
	t.Run("what was before is forgiven when it was healthy for two minutes, however long it has run", func(t *testing.T) {
		p := newPatient(t, three)
		p.health(time.Hour, HealthUnhealthy, 3)
		p.run(false)
		p.health(time.Hour, HealthUnhealthy, 3) // it never was healthy
		p.is(Active, "Try 2 of 3")
		p.run(false)
		p.health(time.Hour, HealthHealthy, 0)
		p.health(time.Minute, HealthHealthy, 0)
		p.health(time.Minute, HealthUnhealthy, 3)
		p.is(Active, "Try 1 of 3")
	})
	t.Run("tries that fail are not forgiven by what was before them", func(t *testing.T) {
		for name, falls := range map[string]func(p *patient){
			"unhealthy": func(p *patient) {
				p.health(time.Second, HealthHealthy, 0)
				p.health(time.Hour, HealthUnhealthy, 3)
			},
			"ended": func(p *patient) { p.exit(time.Hour, 1) },
			"gone":  func(p *patient) { p.see(time.Hour, func(o *Observed) { o.Container = nil }) },
		} {
			p := newPatient(t, three)
			falls(p)
			for try := range 3 {
				if len(p.live) != 1 || !p.live[0].Params.Recovery {
					t.Fatalf("%s, try %d: %+v", name, try, p.live)
				}
				p.now = p.live[0].RunAt.Add(ranWell) // a try may take long to fail
				p.live[0].Status, p.live[0].Attempt = task.Running, 1
				p.change(time.Second, func(d *Draft) {
					d.Finish(d.Live[0].ID, task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "ENGINE_ERROR", Message: "The engine refuses."}})
				})
			}
			if !p.w.Recovery.GaveUp || p.w.StatusReason == nil || !strings.Contains(*p.w.StatusReason, "gave up after 3 tries") {
				t.Errorf("%s: %+v", name, p.w.Recovery)
			}
		}
	})
	t.Run("an end is forgiven by how long it ran", func(t *testing.T) {
		p := newPatient(t, three)
		p.health(time.Second, HealthUnhealthy, 3)
		p.run(false)
		p.exit(ranWell, 1)
		p.is(Recovering, "Try 1 of 3")
		if p.w.Observed.Container.State != ContainerExited {
			t.Errorf("got %+v", p.w.Observed.Container)
		}
	})
	t.Run("one that is healthy again after recovery gave up is as good as new", func(t *testing.T) {
		none := three
		none.MaxRetries, none.Fallback = 0, FallbackIgnore
		p := newPatient(t, none)
		p.health(time.Second, HealthUnhealthy, 3)
		if p.is(Active, "gave up after no tries: the container runs on as it is"); len(p.live) > 0 {
			t.Errorf("got %+v", p.live)
		}
		p.health(time.Second, HealthHealthy, 0)
		if p.is(Active); p.w.StatusReason != nil || p.w.Recovery.GaveUp {
			t.Errorf("got %+v", p.w.Recovery)
		}
	})
	t.Run("a fallback that removes has that done", func(t *testing.T) {
		removes := three
		removes.MaxRetries, removes.Fallback = 0, FallbackRemove
		p := newPatient(t, removes)
		p.health(time.Second, HealthUnhealthy, 3)
		if p.is(Active, "its container and network are removed"); len(p.live) != 1 || !p.live[0].Params.Clear {
			t.Errorf("got %+v", p.live)
		}
	})
	t.Run("a stop wins, and what is to be stopped is not restarted", func(t *testing.T) {
		p := newPatient(t, three)
		p.health(time.Second, HealthUnhealthy, 3)
		p.ask(task.Stop)
		if len(p.live) != 1 || p.live[0].Type != task.Stop {
			t.Errorf("got %+v", p.live)
		}
	})
	t.Run("the end of a container is the end of its health", func(t *testing.T) {
		p := newPatient(t, three)
		p.w.Observed.Container.ID = "c"
		p.health(time.Second, HealthHealthy, 0)
		p.change(time.Second, func(d *Draft) { d.End(End{ContainerID: "c", At: d.Now(), Code: 1}) })
		if c := p.w.Observed.Container; c.State != ContainerExited || c.Health != nil {
			t.Errorf("got %+v", c)
		}
	})
}

func TestCheckOutput(t *testing.T) {
	for _, c := range []struct{ written, want string }{
		{"", ""},
		{"all is well\n", "all is well\n"},
		{"a\xff\xfeb", "a\ufffdb"},
		{"\x00\x1b[2J", "\x00\x1b[2J"},
		{strings.Repeat("x", 5000), strings.Repeat("x", 4096)},
		{strings.Repeat("x", 4095) + "\u00e9", strings.Repeat("x", 4095)},
		{strings.Repeat("\xff", 1) + strings.Repeat("\u20ac", 2000), "\ufffd" + strings.Repeat("\u20ac", 1364)},
	} {
		if got := CheckOutput(c.written); got != c.want || !utf8.ValidString(got) || len(got) > maxOutput {
			t.Errorf("%.20q: got %d bytes, want %d", c.written, len(got), len(c.want))
		}
	}
}

func TestHealthChecksAreBounded(t *testing.T) {
	if got := (*HealthCheckInput)(nil).over(); got != nil {
		t.Errorf("got %+v", got)
	}
	good := (&HealthCheckInput{Command: []string{"true"}}).over()
	if err := checkHealthCheck(good); err != nil || good.Interval != 30*time.Second || good.Timeout != 30*time.Second || good.StartPeriod != 0 || good.Retries != 3 {
		t.Errorf("got %+v, %v", good, err)
	}
	if err := checkHealthCheck((&HealthCheckInput{Command: []string{}}).over()); err != nil {
		t.Errorf("switched off: %v", err)
	}
	for field, spoil := range map[string]func(*HealthCheckInput){
		"interval":    func(in *HealthCheckInput) { in.Interval = new(999 * time.Millisecond) },
		"timeout":     func(in *HealthCheckInput) { in.Timeout = new(2 * time.Hour) },
		"startPeriod": func(in *HealthCheckInput) { in.StartPeriod = new(-time.Second) },
		"retries":     func(in *HealthCheckInput) { in.Retries = new(0) },
		"command":     func(in *HealthCheckInput) { in.Command = make([]string, maxArguments+1) },
		"command.0":   func(in *HealthCheckInput) { in.Command = []string{""} },
		"command.1":   func(in *HealthCheckInput) { in.Command = []string{"a", "b\x00"} },
	} {
		in := HealthCheckInput{Command: []string{"true"}}
		spoil(&in)
		err := checkHealthCheck(in.over())
		if CodeOf(err) != BadUserInput || strings.Join(err.(*Error).Field, ".") != "input.healthCheck."+field { //nolint:errorlint // it is never wrapped
			t.Errorf("%s: got %v", field, err)
		}
	}
}
