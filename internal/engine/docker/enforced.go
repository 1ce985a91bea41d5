package docker

import (
	"slices"
	"strings"

	dockercontainer "github.com/docker/docker/api/types/container"

	"github.com/aicli/aicli-web/internal/engine"
)

const noNewPrivileges = "no-new-privileges"

// defaultCapabilities is what Docker gives a container that drops none.
// Source: https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
	"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// toEnforced reads back the isolation. seccomp is what the engine applies to a container that names no profile.
func toEnforced(config *dockercontainer.Config, host *dockercontainer.HostConfig, seccomp engine.Seccomp) engine.Enforced {
	out := engine.Enforced{
		Limits:        engine.Limits{NanoCPUs: host.NanoCPUs, MemoryBytes: host.Memory},
		Capabilities:  kept(host.CapAdd, host.CapDrop),
		ReadOnlyRoot:  host.ReadonlyRootfs,
		Privileged:    host.Privileged,
		Seccomp:       seccomp,
		User:          config.User,
		Init:          host.Init != nil && *host.Init,
		RestartPolicy: orElse(string(host.RestartPolicy.Name), string(dockercontainer.RestartPolicyDisabled)),
	}
	if host.PidsLimit != nil && *host.PidsLimit > 0 {
		out.Limits.Pids = *host.PidsLimit
	}
	for _, option := range host.SecurityOpt {
		name, value, _ := strings.Cut(strings.Replace(option, "=", ":", 1), ":")
		switch {
		case name == noNewPrivileges:
			out.NoNewPrivileges = value != "false"
		case name == "seccomp" && seccomp != engine.SeccompNone:
			out.Seccomp = toSeccomp(value)
		}
	}
	if host.Privileged {
		out.Capabilities = []string{"ALL"}
		if seccomp != engine.SeccompNone {
			out.Seccomp = engine.SeccompUnconfined
		}
	}
	return out
}

// defaultSeccomp reads what an engine applies to containers that name no profile, from options such as "name=seccomp,profile=default". An engine
// that cannot filter has no such option.
func defaultSeccomp(options []string) engine.Seccomp {
	for _, option := range options {
		if profile, ok := strings.CutPrefix(option, "name=seccomp"); ok {
			return toSeccomp(strings.TrimPrefix(profile, ",profile="))
		}
	}
	return engine.SeccompNone
}

// toSeccomp reads the name of a profile: engines call their own "default" or "builtin", and any other name is that of a file, or the profile itself.
func toSeccomp(profile string) engine.Seccomp {
	switch profile {
	case "", "default", "builtin":
		return engine.SeccompDefault
	case "unconfined":
		return engine.SeccompUnconfined
	default:
		return engine.SeccompCustom
	}
}

// kept is what remains of the capabilities, sorted and without CAP_; "ALL" stands for all of them.
func kept(added, dropped []string) []string {
	added, dropped = plainNames(added), plainNames(dropped)
	var out []string
	if !slices.Contains(dropped, "ALL") {
		out = slices.DeleteFunc(slices.Clone(defaultCapabilities), func(c string) bool { return slices.Contains(dropped, c) })
	}
	out = append(out, added...)
	if slices.Contains(out, "ALL") {
		return []string{"ALL"}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func plainNames(capabilities []string) []string {
	out := make([]string, 0, len(capabilities))
	for _, c := range capabilities {
		out = append(out, strings.TrimPrefix(strings.ToUpper(c), "CAP_"))
	}
	return out
}
