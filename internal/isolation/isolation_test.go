package isolation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var w = workspace.Workspace{
	ID: "ws_7f", Subnet: "10.213.0.16/28",
	Spec: workspace.Spec{
		Image: "alpine", Command: []string{"sleep", "1"}, Environment: []workspace.EnvironmentVariable{{Name: "A", Value: "b=c"}},
		Resources: workspace.Resources{Cpus: 1.5, MemoryBytes: 1 << 28, Pids: 99},
	},
}

// enforced is what an engine reports that does all that is asked for.
func enforced(spec engine.ContainerSpec) engine.Enforced {
	return engine.Enforced{Limits: spec.Limits, Capabilities: spec.Capabilities, NoNewPrivileges: spec.NoNewPrivileges, Seccomp: "default"}
}

func TestContainer(t *testing.T) {
	spec := isolation.Container(w, "inst_1", "net", "/projects/p")
	t.Run("it is bounded, and keeps few capabilities and no way to more", func(t *testing.T) {
		if spec.Limits != (engine.Limits{NanoCPUs: 1_500_000_000, MemoryBytes: 1 << 28, Pids: 99}) || !spec.NoNewPrivileges || !spec.Init || spec.LogMaxSize == "" || spec.LogMaxFiles == 0 {
			t.Errorf("got %+v", spec)
		}
		for _, c := range []string{"SYS_ADMIN", "NET_RAW", "NET_ADMIN", "SYS_PTRACE", "MKNOD"} {
			if slices.Contains(spec.Capabilities, c) {
				t.Errorf("it keeps %s", c)
			}
		}
	})
	t.Run("it sees its project and nothing else of the host", func(t *testing.T) {
		if got, want := fmt.Sprint(spec.Mounts, spec.WorkingDir, spec.Env), "[{/projects/p /workspace false}]/workspace[A=b=c]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("it and its network are found again by name and labels", func(t *testing.T) {
		network := isolation.Network(w, "inst_1")
		if spec.Name != "aicli-7f" || network.Name != spec.Name || network.Subnet != w.Subnet || spec.Labels[engine.LabelWorkspace] != "ws_7f" ||
			network.Labels[engine.LabelInstallation] != "inst_1" || len(isolation.Installation("inst_1")) != 2 {
			t.Errorf("got %+v, %+v", spec, network)
		}
	})
	t.Run("one workspace's capabilities can't be changed through another's", func(t *testing.T) {
		spec.Capabilities[0] = "SYS_ADMIN"
		if again := isolation.Container(w, "inst_1", "net", "/projects/p"); again.Capabilities[0] == "SYS_ADMIN" {
			t.Error("they share one list")
		}
	})
}

func TestCompare(t *testing.T) {
	if got := isolation.Compare(w, enforced(isolation.Container(w, "i", "n", "/p")), workspace.MountVerified); len(got) != 0 {
		t.Errorf("a container that is as asked for: %v", got)
	}
	for name, spoil := range map[string]func(*engine.Enforced){
		"no bound of cores":     func(e *engine.Enforced) { e.Limits.NanoCPUs = 0 },
		"no bound of memory":    func(e *engine.Enforced) { e.Limits.MemoryBytes = 0 },
		"no bound of processes": func(e *engine.Enforced) { e.Limits.Pids = 0 },
		"one capability more":   func(e *engine.Enforced) { e.Capabilities = append(e.Capabilities, "NET_RAW") },
		"new privileges":        func(e *engine.Enforced) { e.NoNewPrivileges = false },
		"privileged":            func(e *engine.Enforced) { e.Privileged = true },
		"no seccomp":            func(e *engine.Enforced) { e.Seccomp = "unconfined" },
	} {
		t.Run(name+" is said", func(t *testing.T) {
			e := enforced(isolation.Container(w, "i", "n", "/p"))
			spoil(&e)
			if got := isolation.Compare(w, e, workspace.MountVerified); len(got) != 1 {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWhatMayNotBeLookedIntoIsSaid(t *testing.T) {
	e := enforced(isolation.Container(w, "i", "n", "/p"))
	if got := isolation.Compare(w, e, workspace.MountUnknown); len(got) != 1 || !strings.Contains(got[0], "mounted") {
		t.Errorf("got %q", got)
	}
}

func TestDescribe(t *testing.T) {
	if d := isolation.Describe(w); d.Level != isolation.Standard || d.Subnet != w.Subnet || len(d.Capabilities) == 0 || !d.NoNewPrivileges {
		t.Errorf("before there is a container: %+v", d)
	}
	seen := w
	seen.Observed.Container = &workspace.Container{Enforced: workspace.Enforced{Seccomp: "unconfined", Warnings: []string{"w"}}}
	if d := isolation.Describe(seen); d.Seccomp != "unconfined" || d.NoNewPrivileges || len(d.Warnings) != 1 {
		t.Errorf("what was seen counts, not what was asked for: %+v", d)
	}
}
