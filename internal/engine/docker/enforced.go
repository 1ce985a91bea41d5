package docker

import (
	"regexp"
	"slices"
	"strings"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

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
		RestartPolicy: orElse(string(host.RestartPolicy.Name), engine.NoRestart),
		Besides:       besides(host),
	}
	switch {
	case host.Memory == 0: // then nothing else bounds the two together
	case host.MemorySwap < 0:
		out.SwapBytes = -1
	case host.MemorySwap > host.Memory:
		out.SwapBytes = host.MemorySwap - host.Memory
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

// besides is what a container was given that toHostConfig asks for nobody. What an engine's settings may give to all, such as a namespace of control
// groups or a runtime, is not among it.
func besides(host *dockercontainer.HostConfig) (found []string) {
	add := func(given bool, what string) {
		if given {
			found = append(found, what)
		}
	}
	share := func(what, mode string) {
		add(mode == "host", "the host's "+what)
		add(strings.HasPrefix(mode, "container:"), "another container's "+what)
	}
	share("network", string(host.NetworkMode))
	share("processes", string(host.PidMode))
	share("shared memory", string(host.IpcMode))
	share("name", string(host.UTSMode))
	share("users", string(host.UsernsMode))
	for _, d := range host.Devices {
		add(true, "the device "+d.PathOnHost)
	}
	add(len(host.DeviceRequests)+len(host.DeviceCgroupRules) > 0, "devices by a rule")
	add(host.PublishAllPorts, "all its ports published")
	for port := range host.PortBindings {
		add(true, "its port "+string(port)+" published")
	}
	for name := range host.Sysctls {
		add(true, "the kernel's setting "+name)
	}
	for _, group := range host.GroupAdd {
		add(true, "the group "+group)
	}
	for _, option := range host.SecurityOpt {
		name, _, _ := strings.Cut(strings.Replace(option, "=", ":", 1), ":")
		add(name != noNewPrivileges && name != "seccomp" && !host.Privileged, "the security option "+option)
	}
	add(host.MaskedPaths != nil && len(host.MaskedPaths) == 0 && !host.Privileged, "all of the kernel's files")
	add(host.OomKillDisable != nil && *host.OomKillDisable, "no end when it has no memory left")
	add(host.AutoRemove, "its own removal when it ends")
	slices.Sort(found)
	return found
}

// toMounts leaves out the volumes without a name: an image asks for those, and they go with their container.
func toMounts(points []dockercontainer.MountPoint) (mounts []engine.Mount) {
	for _, p := range points {
		source := p.Source
		switch {
		case p.Type == mount.TypeTmpfs, p.Type == mount.TypeVolume && anonymous.MatchString(p.Name):
			continue
		case p.Type == mount.TypeVolume:
			source = p.Name
		}
		mounts = append(mounts, engine.Mount{Source: source, Target: p.Destination, ReadOnly: !p.RW})
	}
	slices.SortFunc(mounts, func(a, b engine.Mount) int { return strings.Compare(a.Target, b.Target) })
	return mounts
}

// anonymous is what engines name a volume that was given no name.
var anonymous = regexp.MustCompile(`^[0-9a-f]{64}$`)

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
