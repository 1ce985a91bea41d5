package docker

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/aicli/aicli-web/internal/engine"
)

func TestSeccompIsReadBack(t *testing.T) {
	for _, c := range []struct {
		name       string
		options    []string // of the engine
		asked      []string // of the container
		privileged bool
		want       engine.Seccomp
	}{
		{"an engine's own profile", []string{"name=apparmor", "name=seccomp,profile=default"}, nil, false, engine.SeccompDefault},
		{"an engine's own profile, of a newer engine", []string{"name=seccomp,profile=builtin"}, []string{"no-new-privileges:true"}, false, engine.SeccompDefault},
		{"an engine that does not say which profile", []string{"name=seccomp"}, nil, false, engine.SeccompDefault},
		{"an engine started unconfined", []string{"name=seccomp,profile=unconfined"}, nil, false, engine.SeccompUnconfined},
		{"an engine with another profile", []string{"name=seccomp,profile=/etc/docker/mine.json"}, nil, false, engine.SeccompCustom},
		{"an engine that cannot filter", []string{"name=apparmor"}, nil, false, engine.SeccompNone},
		{"a container made unconfined", []string{"name=seccomp,profile=default"}, []string{"seccomp=unconfined"}, false, engine.SeccompUnconfined},
		{"a container with another profile", []string{"name=seccomp,profile=default"}, []string{`seccomp:{"defaultAction":"SCMP_ACT_ALLOW"}`}, false, engine.SeccompCustom},
		{"a container with the engine's own, where the engine has another one", []string{"name=seccomp,profile=/mine.json"}, []string{"seccomp=builtin"}, false, engine.SeccompDefault},
		{"a container with a profile, where the engine cannot filter", nil, []string{"seccomp=builtin"}, false, engine.SeccompNone},
		{"a privileged container", []string{"name=seccomp,profile=default"}, nil, true, engine.SeccompUnconfined},
		{"a privileged container, where the engine cannot filter", nil, nil, true, engine.SeccompNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := &dockercontainer.HostConfig{SecurityOpt: c.asked, Privileged: c.privileged}
			if got := toEnforced(&dockercontainer.Config{}, host, defaultSeccomp(c.options)).Seccomp; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestWhatElseAContainerWasGivenIsReadBack has what nobody asks CreateContainer for.
func TestWhatElseAContainerWasGivenIsReadBack(t *testing.T) {
	yes := true
	var published dockercontainer.HostConfig
	if err := json.Unmarshal([]byte(`{"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}`), &published); err != nil {
		t.Fatal(err)
	}
	for want, host := range map[string]dockercontainer.HostConfig{
		"the host's network":                {NetworkMode: "host"},
		"another container's network":       {NetworkMode: "container:1"},
		"the host's processes":              {PidMode: "host"},
		"the host's shared memory":          {IpcMode: "host"},
		"the host's name":                   {UTSMode: "host"},
		"the host's users":                  {UsernsMode: "host"},
		"the device /dev/kvm":               {Resources: dockercontainer.Resources{Devices: []dockercontainer.DeviceMapping{{PathOnHost: "/dev/kvm"}}}},
		"devices by a rule":                 {Resources: dockercontainer.Resources{DeviceCgroupRules: []string{"c 42:* rmw"}}},
		"all its ports published":           {PublishAllPorts: true},
		"its port 80/tcp published":         published,
		"the kernel's setting net.x":        {Sysctls: map[string]string{"net.x": "1"}},
		"the group docker":                  {GroupAdd: []string{"docker"}},
		"the security option apparmor=x":    {SecurityOpt: []string{"no-new-privileges:true", "seccomp=builtin", "apparmor=x"}},
		"all of the kernel's files":         {MaskedPaths: []string{}},
		"its own removal when it ends":      {AutoRemove: true},
		"no end when it has no memory left": {Resources: dockercontainer.Resources{OomKillDisable: &yes}},
		"": {
			NetworkMode: "n", IpcMode: "private", CgroupnsMode: "host", Runtime: "runc", MaskedPaths: []string{"/proc/kcore"},
			SecurityOpt: []string{"no-new-privileges"}, Resources: dockercontainer.Resources{Memory: 1 << 26, MemorySwap: 1 << 26},
		},
	} {
		got := toEnforced(&dockercontainer.Config{}, &host, engine.SeccompDefault)
		if strings.Join(got.Besides, ", ") != want || got.SwapBytes != 0 {
			t.Errorf("got %q and %d of swap, want %q", got.Besides, got.SwapBytes, want)
		}
	}
}

func TestSwapIsReadBack(t *testing.T) {
	const memory = 1 << 26
	for swap, want := range map[int64]int64{memory: 0, 2 * memory: memory, -1: -1} {
		host := &dockercontainer.HostConfig{Resources: dockercontainer.Resources{Memory: memory, MemorySwap: swap}}
		if got := toEnforced(&dockercontainer.Config{}, host, engine.SeccompDefault).SwapBytes; got != want {
			t.Errorf("%d of both: got %d, want %d", swap, got, want)
		}
	}
}

func TestMountsAreReadBack(t *testing.T) {
	got := toMounts([]dockercontainer.MountPoint{
		{Type: mount.TypeBind, Source: "/p", Destination: "/workspace", RW: true},
		{Type: mount.TypeVolume, Name: strings.Repeat("0a", 32), Destination: "/image", RW: true},
		{Type: mount.TypeVolume, Name: "named", Source: "/var/lib/docker/volumes/named/_data", Destination: "/data"},
		{Type: mount.TypeTmpfs, Destination: "/tmp"},
		{Type: mount.TypeBind, Source: "/", Destination: "/host"},
	})
	want := []engine.Mount{{Source: "named", Target: "/data", ReadOnly: true}, {Source: "/", Target: "/host", ReadOnly: true}, {Source: "/p", Target: "/workspace"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
