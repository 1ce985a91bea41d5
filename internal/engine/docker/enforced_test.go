package docker

import (
	"testing"

	dockercontainer "github.com/docker/docker/api/types/container"

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
