// Package isolation turns a workspace into what its container and network are allowed to be. It is pure: it asks nobody and
// changes nothing, and it is the only place where that is decided. Privileged is not among the things that it can ask for.
package isolation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Level names a set of bounds.
type Level string

// Standard is what every workspace has: its own bridge network from which the outside can be reached, bounded CPU, memory and
// processes, few capabilities, no new privileges, and the engine's own seccomp profile.
const Standard Level = "STANDARD"

const (
	// Target is where the project directory is mounted, and where the command begins.
	Target = "/workspace"
	// Driver is the kind of network that a workspace has.
	Driver = "bridge"
	// A container keeps at most logFiles files of logSize each: 30 MB of output.
	logSize  = "10m"
	logFiles = 3
	// nanos is one core in the engine's unit.
	nanos = 1e9
)

// capabilities are what a shell needs to install software and to hand files to another user. All others are dropped.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}

// Name is the name of a workspace's container and of its network: one of each, found again by name after a crash between
// making it and writing its id down.
func Name(workspaceID string) string {
	return "aicli-" + strings.TrimPrefix(workspaceID, workspace.WorkspacePrefix)
}

// Workspace is the id of the workspace whose container and network have a name; empty for a name that Name gives to none.
func Workspace(name string) string {
	if id, ok := strings.CutPrefix(name, "aicli-"); ok && id != "" {
		return workspace.WorkspacePrefix + id
	}
	return ""
}

// Labels mark what belongs to a workspace of an installation.
func Labels(installation, workspaceID string) engine.Labels {
	l := Installation(installation)
	l[engine.LabelWorkspace] = workspaceID
	return l
}

// Installation marks all that belongs to an installation.
func Installation(installation string) engine.Labels {
	return engine.Labels{engine.LabelManaged: "true", engine.LabelInstallation: installation}
}

// Network is the network of a workspace.
func Network(w workspace.Workspace, installation string) engine.NetworkSpec {
	return engine.NetworkSpec{Name: Name(w.ID), Subnet: w.Subnet, Labels: Labels(installation, w.ID)}
}

// Limits are the bounds of a workspace's container.
func Limits(r workspace.Resources) engine.Limits {
	return engine.Limits{NanoCPUs: int64(r.Cpus * nanos), MemoryBytes: r.MemoryBytes, Pids: int64(r.Pids)}
}

// Container is the container of a workspace, made of that image, on the network of that name, with the project directory that was checked.
func Container(w workspace.Workspace, image engine.Image, installation, network, project string) engine.ContainerSpec {
	environment := make([]string, len(w.Environment))
	for i, v := range w.Environment {
		environment[i] = v.Name + "=" + v.Value
	}
	return engine.ContainerSpec{
		Name: Name(w.ID), Image: workspace.ImageName(w.Image), Entrypoint: w.Command, Env: environment, Labels: Labels(installation, w.ID),
		Hostname: Name(w.ID), WorkingDir: Target, Network: network,
		Mounts:       []engine.Mount{{Source: project, Target: Target}},
		Limits:       Limits(w.Resources),
		HealthCheck:  healthCheck(w, image),
		Capabilities: slices.Clone(capabilities), NoNewPrivileges: true, Init: true,
		LogMaxSize: logSize, LogMaxFiles: logFiles,
	}
}

// startInterval is how often a health check runs at most while its container starts: Docker's own.
const startInterval = 5 * time.Second

// healthCheck is what the workspace says, or else the image: nil where that can stand as it is. An image whose checks would keep the engine busy has
// them less often.
func healthCheck(w workspace.Workspace, image engine.Image) *engine.HealthCheck {
	if own := w.HealthCheck; own != nil {
		if len(own.Command) == 0 {
			return &engine.HealthCheck{Test: []string{"NONE"}}
		}
		return &engine.HealthCheck{
			Test: append([]string{"CMD"}, own.Command...), Interval: own.Interval, Timeout: own.Timeout,
			StartPeriod: own.StartPeriod, StartInterval: min(startInterval, own.Interval), Retries: own.Retries,
		}
	}
	const least = workspace.MinHealthInterval
	seldom := func(interval time.Duration) bool { return interval == 0 || interval >= least }
	if image.HealthCheck == nil || seldom(image.HealthCheck.Interval) && seldom(image.HealthCheck.StartInterval) {
		return nil
	}
	bounded := *image.HealthCheck
	if !seldom(bounded.Interval) {
		bounded.Interval = least
	}
	if !seldom(bounded.StartInterval) {
		bounded.StartInterval = least
	}
	return &bounded
}

// Extra names the networks that a container is on besides its workspace's own, sorted.
func Extra(w workspace.Workspace, c engine.Summary) (names []string) {
	for _, a := range c.Networks {
		if a.NetworkName != Name(w.ID) && (w.Observed.Network == nil || a.NetworkName != w.Observed.Network.Name) {
			names = append(names, a.NetworkName)
		}
	}
	slices.Sort(names)
	return names
}

// Bounded reports whether a container has what an engine can change of one that exists as it should be.
func Bounded(w workspace.Workspace, seen engine.Enforced) bool {
	return seen.Limits == Limits(w.Resources) && seen.SwapBytes == 0 && seen.RestartPolicy == engine.NoRestart
}

// Compare says in words what a container and its network should have and the engine does not report, what they have besides, and what could not be seen. Empty is
// good. A start or a sync puts back what Bounded tells.
func Compare(w workspace.Workspace, c engine.Container, network *engine.Network, mount workspace.Mount) (warnings []string) {
	seen := c.Enforced
	warn := func(bad bool, format string, args ...any) {
		if bad {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	want := Limits(w.Resources)
	warn(seen.Limits.NanoCPUs != want.NanoCPUs, "The engine does not hold the container to %g cores.", w.Resources.Cpus)
	warn(seen.Limits.MemoryBytes != want.MemoryBytes, "The engine does not hold the container to %d bytes of memory.", w.Resources.MemoryBytes)
	warn(seen.Limits.Pids != want.Pids, "The engine does not hold the container to %d processes.", w.Resources.Pids)
	warn(seen.SwapBytes > 0, "The engine lets the container use %d bytes of swap besides its memory. A sync puts an end to that.", seen.SwapBytes)
	warn(seen.SwapBytes < 0, "The engine does not bound how much swap the container uses besides its memory. A sync puts an end to that where the engine can.")
	warn(seen.RestartPolicy != engine.NoRestart, "The engine starts the container by itself, by its policy %q, which was not asked for. A sync puts an end to that.", seen.RestartPolicy)
	for _, c := range seen.Capabilities {
		warn(!slices.Contains(capabilities, c), "The container has the capability %s, which was not asked for.", c)
	}
	for _, c := range capabilities {
		warn(!seen.Privileged && !slices.Contains(seen.Capabilities, c), "The container lacks the capability %s.", c)
	}
	warn(!seen.NoNewPrivileges, "The engine does not keep the container from gaining privileges.")
	warn(seen.Privileged, "The container is privileged.")
	warn(!seen.Init, "The container has no init of the engine's: what ends in it may stay as a zombie.")
	warn(seen.ReadOnlyRoot, "The container cannot write to its own files, which was not asked for.")
	for _, what := range seen.Besides {
		warn(true, "The container has %s, which was not asked for.", what)
	}
	for _, m := range seen.Mounts {
		warn(m.Target != Target, "The container has something of the server mounted at %q, which was not asked for.", m.Target)
		warn(m.Target == Target && m.ReadOnly, "The project is mounted so that the container cannot write to it.")
	}
	warn(!slices.ContainsFunc(seen.Mounts, func(m engine.Mount) bool { return m.Target == Target }), "The project is not mounted in the container.")
	warn(mount == workspace.MountUnknown, "It was not checked that exactly the project's directory is mounted: the server may not look into the container, or there was no such directory.")
	warn(mount == workspace.MountReplaced, "The project's directory was replaced or removed on the server while the container runs, which still has the one from before. "+
		"Restart the workspace to mount what is there now; if there is nothing, put the directory back first.")
	warn(seen.Seccomp != engine.SeccompDefault, "%s", seccompWarnings[seen.Seccomp])
	for _, name := range Extra(w, c.Summary) {
		warn(true, "The container is also on the network %s, to which something outside this server has connected it.", name)
	}
	warn(c.Name != Name(w.ID), "Something outside this server has renamed the container to %q. Ask the server's operator to name it %s again.", c.Name, Name(w.ID))
	warn(workspace.ImageName(c.Image) != workspace.ImageName(w.Image), "The container was made of the image %q, and not of the workspace's. Ask the server's operator to remove it: the next start makes another one.", c.Image)
	warn(c.Labels[engine.LabelWorkspace] != w.ID, "The container does not carry the workspace's label. Ask the server's operator to remove it: the next start makes another one.")
	if network != nil {
		warn(network.Internal, "Nothing outside can be reached from the workspace's network, which was not asked for.")
		warn(network.Driver != "" && network.Driver != Driver, "The workspace's network is of the kind %q, and not a %s.", network.Driver, Driver)
		warn(network.Subnet != "" && network.Subnet != w.Subnet, "The workspace's network has the addresses %s, and not %s.", network.Subnet, w.Subnet)
	}
	return warnings
}

// seccompWarnings say what is enforced in place of the engine's default profile.
var seccompWarnings = map[engine.Seccomp]string{
	engine.SeccompNone:       "The engine filters no system calls: it, or its kernel, was built or started without seccomp.",
	engine.SeccompUnconfined: "The container's system calls are not filtered: its seccomp profile is \"unconfined\".",
	engine.SeccompCustom:     "The container's system calls are filtered by another seccomp profile than the engine's default one.",
}

// Describe is the isolation of a workspace for its owner: what the engine was seen to enforce, or what will be asked for while
// there is no container.
func Describe(w workspace.Workspace) Description {
	d := Description{Level: Standard, Subnet: w.Subnet, NetworkName: Name(w.ID), Capabilities: capabilities, NoNewPrivileges: true, Seccomp: string(engine.SeccompDefault)}
	if c := w.Observed.Container; c != nil {
		e := c.Enforced
		d.Capabilities, d.NoNewPrivileges, d.ReadOnlyRoot = e.Capabilities, e.NoNewPrivileges, e.ReadOnlyRoot
		d.Seccomp, d.User, d.Warnings = e.Seccomp, e.User, e.Warnings
	}
	if n := w.Observed.Network; n != nil {
		d.Internal = n.Internal
	}
	return d
}

// Description is what Describe says.
type Description struct {
	Level               Level
	NetworkName, Subnet string
	Internal            bool
	Capabilities        []string
	NoNewPrivileges     bool
	ReadOnlyRoot        bool
	Seccomp             string
	User                string // empty: the image's
	Warnings            []string
}
