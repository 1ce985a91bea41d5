package lifecycle

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlan(t *testing.T) {
	asked := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	before := asked.Add(-time.Hour) // when the run that is to be restarted began
	resources := workspace.Resources{Cpus: 1, MemoryBytes: 1 << 26, Pids: 10}
	network := &engine.Network{ID: "n"}
	have := func(state engine.State, started time.Time) seen {
		return seen{network: network, container: &engine.Container{
			Summary:   engine.Summary{ID: "c", State: state, Networks: []engine.Attachment{{NetworkID: "n"}}},
			StartedAt: started, Enforced: engine.Enforced{Limits: isolation.Limits(resources), RestartPolicy: engine.NoRestart},
		}}
	}
	without := func(s seen) seen {
		s.network = nil
		return s
	}
	with := func(s seen) seen {
		s.surplus = []engine.Network{{ID: "late"}}
		return s
	}
	off := func(s seen) seen {
		s.container.Networks = nil
		return s
	}
	healthy := func(h engine.HealthStatus, s seen) seen {
		s.container.Health = h
		return s
	}
	const up, down, gone = workspace.WantRunning, workspace.WantStopped, workspace.WantDeleted
	for _, c := range []struct {
		name    string
		typ     task.Type
		desired workspace.DesiredState
		seen    seen
		want    string
	}{
		{"a creation from nothing", task.Create, up, seen{}, "pull image (image missing)\ncreate network (no network)\ncreate container (no container)\nstart container (the container is new)"},
		{"a creation that is not to start", task.Create, down, seen{image: &engine.Image{}}, "create network (no network)\ncreate container (no container)"},
		{"a creation that was cut half way", task.Create, up, seen{image: &engine.Image{}, network: network}, "create container (no container)\nstart container (the container is new)"},
		{"a creation that was cut before the start", task.Create, up, have(engine.Created, time.Time{}), "start container (it is created)"},
		{"a creation that ran already", task.Create, up, have(engine.Running, asked), ""},
		{"a start of what exited", task.Start, up, have(engine.Exited, asked), "start container (it is exited)"},
		{"a start of what somebody paused", task.Start, up, have(engine.Paused, asked), "unpause container (it is paused)"},
		{"a start of what is dead", task.Start, up, have(engine.Dead, asked), "remove container (it is dead)\npull image (image missing)\ncreate container (no container)\nstart container (the container is new)"},
		{"a start whose workspace is to be stopped meanwhile", task.Start, down, have(engine.Exited, asked), ""},
		{"a stop", task.Stop, down, have(engine.Running, asked), "stop container (it is running)"},
		{"a stop of what is gone", task.Stop, down, seen{network: network}, ""},
		{"a stop overtaken by a start", task.Stop, up, have(engine.Running, asked), ""},
		{"a start that made it run before a stop was asked for", task.Start, down, have(engine.Running, asked), ""},
		{"a creation that made it run before a stop was asked for", task.Create, down, have(engine.Running, asked), ""},
		{"a restart", task.Restart, up, have(engine.Running, before), "stop container (it is to be restarted)\nstart container (it is to be restarted)"},
		{"a restart that was cut between stop and start", task.Restart, up, have(engine.Exited, asked.Add(-time.Hour)), "start container (it is exited)"},
		{"a restart that ran already", task.Restart, up, have(engine.Running, asked.Add(-time.Minute)), ""},
		{"a restart overtaken by a stop", task.Restart, down, have(engine.Running, asked.Add(-time.Hour)), ""},
		{"a sync of what was started by somebody else", task.Sync, down, have(engine.Running, asked), "stop container (it is running)"},
		{"what a cancelled creation has half made", task.Sync, down, have(engine.Created, time.Time{}), "remove container (it is taken back)\nremove network (it is taken back)"},
		{"a deletion", task.Delete, gone, have(engine.Running, asked), "remove container (the workspace is deleted)\nremove network (the workspace is deleted)"},
		{"a deletion that ran already", task.Delete, gone, seen{}, ""},
		{"a start of what is being deleted", task.Start, gone, seen{}, ""},
		{"a start of what lost its network", task.Start, up, without(have(engine.Exited, asked)), "create network (no network)\nconnect network (it is on no network)\nstart container (it is exited)"},
		{"a start of what was taken off its network", task.Start, up, off(have(engine.Exited, asked)), "connect network (it is on no network)\nstart container (it is exited)"},
		{"a sync of what runs and lost its network", task.Sync, up, without(off(have(engine.Running, asked))), "create network (no network)\nconnect network (it is on no network)"},
		{"a restart of what lost its network", task.Restart, up, without(have(engine.Running, before)), "stop container (it is to be restarted)\ncreate network (no network)\nconnect network (it is on no network)\nstart container (it is to be restarted)"},
		{"a stop of what lost its network", task.Stop, down, without(have(engine.Running, asked)), "stop container (it is running)"},
		{"a start beside a second network", task.Start, up, with(have(engine.Created, time.Time{})), "remove network (there is another one)\nstart container (it is created)"},
		{"a sync beside a second network", task.Sync, down, with(have(engine.Exited, asked)), "remove network (there is another one)"},
		{"a creation beside a network on other addresses", task.Create, up, without(with(seen{image: &engine.Image{}})), "remove network (there is another one)\ncreate network (no network)\ncreate container (no container)\nstart container (the container is new)"},
		{"a recovery of what is unhealthy", task.Restart, up, healthy(engine.Unhealthy, have(engine.Running, before)), "stop container (it is to be restarted)\nstart container (it is to be restarted)"},
		{"a recovery of what is healthy by now", task.Restart, up, healthy(engine.Healthy, have(engine.Running, before)), ""},
		{"a recovery of what is yet to be checked", task.Restart, up, healthy(engine.HealthStarting, have(engine.Running, before)), ""},
		{"a recovery of what was restarted and is unhealthy again", task.Restart, up, healthy(engine.Unhealthy, have(engine.Running, asked)), ""},
		{"a recovery that was cut between stop and start", task.Restart, up, have(engine.Exited, before), "start container (it is exited)"},
		{"a restart of what is unhealthy", task.Restart, up, healthy(engine.Unhealthy, have(engine.Running, before)), "stop container (it is to be restarted)\nstart container (it is to be restarted)"},
		{"a recovery of what lost its network and is unhealthy", task.Sync, up, healthy(engine.Unhealthy, off(have(engine.Running, before))), "connect network (it is on no network)"},
		{"a halt of what is unhealthy", task.Sync, up, healthy(engine.Unhealthy, have(engine.Running, before)), "stop container (it is running)"},
		{"a halt of what is healthy by now", task.Sync, up, healthy(engine.Healthy, have(engine.Running, before)), ""},
		{"a halt of what has ended by now", task.Sync, up, have(engine.Exited, before), ""},
		{"a halt of what is gone by now", task.Sync, up, seen{network: network}, ""},
		{"a deletion with a second network", task.Delete, gone, with(have(engine.Running, asked)), "remove container (the workspace is deleted)\nremove network (the workspace is deleted)\nremove network (there is another one)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := workspace.Workspace{DesiredState: c.desired, Spec: workspace.Spec{Resources: resources}}
			var lines []string
			for _, s := range plan(task.Task{Type: c.typ, Params: task.Params{
				Before: &before, Undo: strings.Contains(c.name, "cancelled"), Recovery: strings.HasPrefix(c.name, "a recovery"), Halt: strings.HasPrefix(c.name, "a halt"),
			}}, w, c.seen) {
				lines = append(lines, s.String())
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	t.Run("limits that differ are changed where it is to run, and never keep it from being stopped", func(t *testing.T) {
		for _, c := range []struct {
			typ     task.Type
			desired workspace.DesiredState
			state   engine.State
			want    []op
		}{
			{task.Sync, up, engine.Exited, []op{updateContainer, startContainer}},
			{task.Sync, up, engine.Running, []op{updateContainer}},
			{task.Restart, up, engine.Running, []op{stopContainer, updateContainer, startContainer}},
			{task.Stop, down, engine.Running, []op{stopContainer}},
		} {
			w := workspace.Workspace{DesiredState: c.desired, Spec: workspace.Spec{Resources: workspace.Resources{Cpus: 2, MemoryBytes: 1 << 27, Pids: 10}}}
			var got []op
			for _, s := range plan(task.Task{Type: c.typ, Params: task.Params{Before: &before}}, w, have(c.state, before)) {
				got = append(got, s.op)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s of what is %s: got %v, want %v", c.typ, c.state, got, c.want)
			}
		}
	})
}
