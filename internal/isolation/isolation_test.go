package isolation_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

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
	return engine.Enforced{
		Limits: spec.Limits, Capabilities: slices.Clone(spec.Capabilities), NoNewPrivileges: spec.NoNewPrivileges, Seccomp: "default",
		Init: spec.Init, RestartPolicy: engine.NoRestart, Mounts: slices.Clone(spec.Mounts),
	}
}

func TestContainer(t *testing.T) {
	spec := isolation.Container(w, engine.Image{}, "inst_1", "net", "/projects/p")
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
		if again := isolation.Container(w, engine.Image{}, "inst_1", "net", "/projects/p"); again.Capabilities[0] == "SYS_ADMIN" {
			t.Error("they share one list")
		}
	})
}

func TestHealthChecks(t *testing.T) {
	check := func(interval, start time.Duration) *engine.HealthCheck {
		return &engine.HealthCheck{Test: []string{"CMD-SHELL", "true"}, Interval: interval, StartInterval: start, Timeout: time.Hour, Retries: 9}
	}
	own := workspace.HealthCheck{Command: []string{"test", "-e", "ok"}, Interval: 2 * time.Second, Timeout: 3 * time.Second, StartPeriod: 4 * time.Second, Retries: 5}
	seldom := own
	seldom.Interval = time.Minute
	for name, c := range map[string]struct {
		own         *workspace.HealthCheck
		image, want *engine.HealthCheck
	}{
		"none":                              {},
		"the image's, which stays":          {image: check(time.Second, 0)},
		"the image's with no times":         {image: check(0, 0)},
		"the image's, too often":            {image: check(time.Millisecond, 0), want: check(time.Second, 0)},
		"the image's, too often at first":   {image: check(time.Minute, time.Millisecond), want: check(time.Minute, time.Second)},
		"one that is switched off":          {own: &workspace.HealthCheck{}, image: check(time.Millisecond, 0), want: &engine.HealthCheck{Test: []string{"NONE"}}},
		"the workspace's in place of it":    {own: &own, image: check(time.Millisecond, time.Millisecond), want: &engine.HealthCheck{Test: []string{"CMD", "test", "-e", "ok"}, Interval: 2 * time.Second, StartInterval: 2 * time.Second, Timeout: 3 * time.Second, StartPeriod: 4 * time.Second, Retries: 5}},
		"the workspace's, oftener at first": {own: &seldom, want: &engine.HealthCheck{Test: []string{"CMD", "test", "-e", "ok"}, Interval: time.Minute, StartInterval: 5 * time.Second, Timeout: 3 * time.Second, StartPeriod: 4 * time.Second, Retries: 5}},
	} {
		with := w
		with.HealthCheck = c.own
		if got := isolation.Container(with, engine.Image{HealthCheck: c.image}, "i", "n", "/p").HealthCheck; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// container is one that is as asked for.
func container() engine.Container {
	spec := isolation.Container(w, engine.Image{}, "i", "n", "/p")
	return engine.Container{
		Summary:  engine.Summary{Name: spec.Name, Labels: spec.Labels, Networks: []engine.Attachment{{NetworkID: "n", NetworkName: isolation.Name(w.ID)}}},
		Image:    spec.Image,
		Enforced: enforced(spec),
	}
}

// network is one that is as asked for.
func network() engine.Network {
	spec := isolation.Network(w, "i")
	return engine.Network{ID: "n", Name: spec.Name, Subnet: spec.Subnet, Internal: spec.Internal, Driver: "bridge", Labels: spec.Labels}
}

func compared(c engine.Container, n engine.Network, mount workspace.Mount) []string {
	return isolation.Compare(w, c, &n, mount)
}

func TestCompare(t *testing.T) {
	if got := compared(container(), network(), workspace.MountVerified); len(got) != 0 {
		t.Errorf("a container that is as asked for: %v", got)
	}
	if got := isolation.Compare(w, container(), nil, workspace.MountVerified); len(got) != 0 {
		t.Errorf("a network that is missing is told otherwise: %v", got)
	}
	full := container()
	if full.Image = "docker.io/library/" + full.Image; len(compared(full, network(), workspace.MountVerified)) != 0 {
		t.Errorf("an image's full name: %v", compared(full, network(), workspace.MountVerified))
	}
	for name, spoil := range map[string]func(*engine.Container){
		"swap":                     func(c *engine.Container) { c.Enforced.SwapBytes = 1 },
		"swap without a bound":     func(c *engine.Container) { c.Enforced.SwapBytes = -1 },
		"starts by the engine":     func(c *engine.Container) { c.Enforced.RestartPolicy = "always" },
		"one capability less":      func(c *engine.Container) { c.Enforced.Capabilities = c.Enforced.Capabilities[1:] },
		"no init":                  func(c *engine.Container) { c.Enforced.Init = false },
		"files that are read-only": func(c *engine.Container) { c.Enforced.ReadOnlyRoot = true },
		"a namespace of the host":  func(c *engine.Container) { c.Enforced.Besides = []string{"the host's network"} },
		"no project":               func(c *engine.Container) { c.Enforced.Mounts = nil },
		"a project to read":        func(c *engine.Container) { c.Enforced.Mounts[0].ReadOnly = true },
		"another name":             func(c *engine.Container) { c.Name = "mine" },
		"another image":            func(c *engine.Container) { c.Image = "other" },
		"another label":            func(c *engine.Container) { c.Labels = nil },
		"another mount": func(c *engine.Container) {
			c.Enforced.Mounts = append(c.Enforced.Mounts, engine.Mount{Source: "/", Target: "/host"})
		},
		"no bound of cores":          func(c *engine.Container) { c.Enforced.Limits.NanoCPUs = 0 },
		"no bound of memory":         func(c *engine.Container) { c.Enforced.Limits.MemoryBytes = 0 },
		"no bound of processes":      func(c *engine.Container) { c.Enforced.Limits.Pids = 0 },
		"one capability more":        func(c *engine.Container) { c.Enforced.Capabilities = append(c.Enforced.Capabilities, "NET_RAW") },
		"new privileges":             func(c *engine.Container) { c.Enforced.NoNewPrivileges = false },
		"privileged":                 func(c *engine.Container) { c.Enforced.Privileged = true },
		"an unconfined container":    func(c *engine.Container) { c.Enforced.Seccomp = engine.SeccompUnconfined },
		"another profile":            func(c *engine.Container) { c.Enforced.Seccomp = engine.SeccompCustom },
		"an engine without a filter": func(c *engine.Container) { c.Enforced.Seccomp = engine.SeccompNone },
		"a second network": func(c *engine.Container) {
			c.Networks = append(c.Networks, engine.Attachment{NetworkID: "n2", NetworkName: "bridge"})
		},
	} {
		t.Run(name+" is said", func(t *testing.T) {
			c := container()
			spoil(&c)
			if got := compared(c, network(), workspace.MountVerified); len(got) != 1 || got[0] == "" {
				t.Errorf("got %q", got)
			}
		})
	}
	for name, spoil := range map[string]func(*engine.Network){
		"an internal network": func(n *engine.Network) { n.Internal = true },
		"another driver":      func(n *engine.Network) { n.Driver = "macvlan" },
		"other addresses":     func(n *engine.Network) { n.Subnet = "192.168.7.0/24" },
	} {
		t.Run(name+" is said", func(t *testing.T) {
			n := network()
			spoil(&n)
			if got := compared(container(), n, workspace.MountVerified); len(got) != 1 || got[0] == "" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWhatMayNotBeLookedIntoIsSaid(t *testing.T) {
	if got := compared(container(), network(), workspace.MountUnknown); len(got) != 1 || !strings.Contains(got[0], "mounted") {
		t.Errorf("got %q", got)
	}
}

func TestDescribe(t *testing.T) {
	if d := isolation.Describe(w); d.Level != isolation.Standard || d.Subnet != w.Subnet || len(d.Capabilities) == 0 || !d.NoNewPrivileges {
		t.Errorf("before there is a container: %+v", d)
	}
	seen := w
	seen.Observed.Container = &workspace.Container{Enforced: workspace.Enforced{Seccomp: "unconfined", Warnings: []string{"w"}}}
	seen.Observed.Network = &workspace.Network{Internal: true}
	if d := isolation.Describe(seen); !d.Internal || d.Seccomp != "unconfined" || d.NoNewPrivileges || len(d.Warnings) != 1 {
		t.Errorf("what was seen counts, not what was asked for: %+v", d)
	}
}
