// Package engine is the seam to whatever runs containers. It owns the words for what such a thing is asked and what it
// answers (Engine, Container, Event, Stats), the names of our labels, and the kinds of its errors. It talks to nothing: the
// packages below it do, and nobody above it sees a type of theirs.
package engine

import (
	"context"
	"slices"
	"time"
)

// An Engine runs containers. Docker does; enginetest.Fake stands in for it where faults must be ordered. Every
// implementation passes enginetest.Exercise.
//
// Every error is an *Error with a Kind (the comments below name kinds without their prefix). Every call that should end has a deadline of the implementation's own besides that
// of ctx. All methods may be called from many goroutines.
//
// Calls that ask for a state are idempotent: starting what runs, stopping what is stopped and removing what is gone succeed.
type Engine interface {
	// Info says what the engine is. It doubles as the health check: when it fails the engine cannot be asked.
	Info(ctx context.Context) (Info, error)

	// Image looks an image up locally; NotFound when the engine does not have it.
	Image(ctx context.Context, ref string) (Image, error)
	// Pull fetches an image and reports progress (may be nil) from the calling goroutine. NotFound when there is no such image or
	// it may not be seen; Network when the registry cannot be reached.
	Pull(ctx context.Context, ref string, progress func(PullProgress)) error

	// CreateNetwork makes a bridge network with exactly the given subnet and returns its id. Conflict when the name is taken,
	// AddressInUse when the subnet overlaps another network of the engine or of its host.
	CreateNetwork(ctx context.Context, spec NetworkSpec) (string, error)
	// Networks lists the networks that carry all of the labels.
	Networks(ctx context.Context, labels Labels) ([]Network, error)
	// RemoveNetwork takes an id or a name; Conflict, with their names, while containers are attached to it.
	RemoveNetwork(ctx context.Context, id string) error

	// ConnectNetwork puts a container on a network, running or not; one that is on it already stays. A container knows its network by the
	// id that it had when it last started: one that was made again under the same name has to be connected.
	ConnectNetwork(ctx context.Context, networkID, containerID string) error

	// CreateVolume makes a volume that nothing is in yet. One that has the name already is left as it is and given, with its own labels. Of calls that cross, all that
	// succeed are given the same one.
	CreateVolume(ctx context.Context, name string, labels Labels) (Volume, error)
	// Volumes lists the volumes that carry all of the labels.
	Volumes(ctx context.Context, labels Labels) ([]Volume, error)
	// RemoveVolume removes a volume with what is in it; Conflict while a container uses it.
	RemoveVolume(ctx context.Context, name string) error

	// CreateContainer makes a container without starting it and returns its id. NotFound when the image is missing, and when the network is,
	// which engines may find out only on the start; Conflict when the name is taken, Invalid when the engine refuses the spec.
	CreateContainer(ctx context.Context, spec ContainerSpec) (string, error)
	// StartContainer starts a container; Invalid when its command cannot be run, Broken when the engine can never start it again.
	StartContainer(ctx context.Context, id string) error
	// StopContainer asks the container to end and kills it after grace (whole seconds, rounded up). A paused one is stopped too.
	StopContainer(ctx context.Context, id string, grace time.Duration) error
	// UnpauseContainer lets a paused container go on; nothing happens when it is not paused.
	UnpauseContainer(ctx context.Context, id string) error
	// RemoveContainer kills the container if it runs and removes it together with its anonymous volumes.
	RemoveContainer(ctx context.Context, id string) error
	// UpdateContainer changes the limits of a container that exists, running or not, and has the engine no longer start it by itself.
	UpdateContainer(ctx context.Context, id string, limits Limits) error
	// Container inspects one container by id or name; NotFound when there is none.
	Container(ctx context.Context, id string) (Container, error)
	// Containers lists the containers, in every state, that carry all of the labels.
	Containers(ctx context.Context, labels Labels) ([]Summary, error)

	// Tail reads the last lines of what a container has written, the oldest first, as far as the engine keeps them. A line is cut at
	// TailLine bytes.
	Tail(ctx context.Context, id string, lines int) ([]string, error)

	// Events opens the stream of what happens to containers that carry all of the labels and to networks, whosoever's they are, from since on
	// (zero: from now). The stream is open when Events returns: nothing that happens after that is missed while it lasts.
	Events(ctx context.Context, labels Labels, since time.Time) (EventStream, error)

	// Stats takes one reading now. NotFound when there is no such container, NotRunning when it does not run.
	Stats(ctx context.Context, id string) (Stats, error)
	// WatchStats calls each with a reading about once a second until ctx ends (nil), the container stops (nil) or the engine
	// fails. each is called from the calling goroutine.
	WatchStats(ctx context.Context, id string, each func(Stats)) error

	// Close lets go of the connections. No call may be made after it.
	Close() error
}

// TailLine is how many bytes of one line Tail gives at most.
const TailLine = 1024

// An EventStream is read by one goroutine. Next blocks until the next event, the end of the context that the stream was
// opened with, or the loss of the engine, and gives an *Error for the last two. Close ends the stream; it may be called twice.
type EventStream interface {
	Next() (Event, error)
	Close()
}

// Info is what an engine says of itself and of its host.
type Info struct {
	Name            string // product, for example "Docker Engine"
	ID              string // of this engine; empty where it has none
	Version         string
	APIVersion      string // the one spoken now, after negotiation
	CPUs            int    // of the host
	MemoryBytes     int64  // of the host
	OperatingSystem string
	KernelVersion   string
	CgroupVersion   string   // "1" or "2"
	SecurityOptions []string // names such as "seccomp", "apparmor", "rootless"
	StorageDriver   string
	Warnings        []string // in the engine's words, for example "WARNING: No swap limit support"
	Lacks           []string // what engines of its kind cannot do of what this contract wants, in sentences for an operator
}

// Image is an image that the engine has.
type Image struct {
	ID          string
	Ref         string
	HealthCheck *HealthCheck // nil: it has none
}

// HealthCheck is a command that an engine runs in a container again and again, to find out whether that works.
type HealthCheck struct {
	// Test is CMD and the words of a command, CMD-SHELL and a script for the image's shell, or NONE: no check.
	Test []string
	// Zero is the engine's default: 30 s, 30 s, none, 5 s (or Interval, where the engine knows no other during the start), 3.
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration // in which checks that fail do not count, until one passes
	StartInterval time.Duration // in place of Interval during the StartPeriod
	Retries       int           // in a row that fail before it is unhealthy
}

// PullProgress is one message of a pull. Percent is how much of the pull is done, from 0 to 100, and never less than before.
type PullProgress struct {
	Status  string
	Percent float64
}

// NetworkSpec asks for a bridge network of one workspace.
type NetworkSpec struct {
	Name     string
	Subnet   string // CIDR; the gateway is its first address
	Internal bool   // nothing outside can be reached
	Labels   Labels
}

// Network is a network that exists.
type Network struct {
	ID, Name string
	Subnet   string // CIDR; empty when the engine names none
	Internal bool
	Driver   string // "bridge" is what CreateNetwork asks for
	Labels   Labels
}

// Volume is a named place of the engine's own for data, that exists.
type Volume struct {
	Name   string
	Labels Labels
}

// Mount binds a directory of the engine's host into the container.
type Mount struct {
	Source   string // absolute path on the engine's host
	Target   string
	ReadOnly bool
}

// Limits bounds what a container may use. Zero means no bound.
type Limits struct {
	NanoCPUs    int64 // 1e9 is one core
	MemoryBytes int64 // without swap: the same bound holds for memory and swap together
	Pids        int64
}

// ContainerSpec asks for a container.
type ContainerSpec struct {
	Name       string
	Image      string
	Entrypoint []string // the whole command; empty: what the image says
	Env        []string // NAME=value
	Labels     Labels
	Hostname   string
	WorkingDir string
	User       string // empty: what the image says
	Network    string // its name; empty: none
	Mounts     []Mount
	Limits     Limits
	// HealthCheck replaces the image's; nil: what the image says.
	HealthCheck *HealthCheck

	Capabilities    []string // kept; all others are dropped. Names without CAP_.
	NoNewPrivileges bool
	ReadOnlyRoot    bool
	Init            bool   // run a small init as the first process, which reaps and forwards signals
	LogMaxSize      string // of one file, for example "10m"
	LogMaxFiles     int
}

// State is what an engine says of a container.
type State string

// The states of a container. The zero State means that there is no container.
const (
	Created    State = "CREATED"
	Running    State = "RUNNING"
	Paused     State = "PAUSED"
	Restarting State = "RESTARTING"
	Removing   State = "REMOVING"
	Exited     State = "EXITED"
	Dead       State = "DEAD"
)

// Summary is what a list says of a container.
type Summary struct {
	ID, Name string
	State    State
	Labels   Labels
	Networks []Attachment
	Health   HealthStatus // empty: it does not run, has no check, or the engine's list does not tell
}

// HealthStatus is what came of a container's health check.
type HealthStatus string

// The statuses. STARTING is also that of a container whose checks have not decided since it was paused.
const (
	HealthStarting HealthStatus = "STARTING"
	Healthy        HealthStatus = "HEALTHY"
	Unhealthy      HealthStatus = "UNHEALTHY"
)

// Checked is what the health check of a running container has come to.
type Checked struct {
	FailingStreak int       // checks in a row that failed
	Output        string    // of the last check since the container was started, as bytes of whatever wrote it: at most OutputMost
	At            time.Time // when that ended; zero: there was none
}

// OutputMost is how many bytes of a check's output Checked has at most.
const OutputMost = 4096

// On reports whether the container is on a network. One that was never started knows it by name only.
func (s Summary) On(n Network) bool {
	return slices.ContainsFunc(s.Networks, func(a Attachment) bool {
		return a.NetworkID == n.ID || a.NetworkID == "" && a.NetworkName == n.Name
	})
}

// Container is what inspecting a container says.
type Container struct {
	Summary
	Image      string // as it was asked for
	ImageID    string
	StartedAt  time.Time // zero: never started
	FinishedAt time.Time // zero: never ended
	ExitCode   int       // of the last run; meaningless before FinishedAt
	OOMKilled  bool
	Error      string  // the engine's own word on why it did not start
	Pid        int     // of its first process, on the engine's host; 0 while it does not run
	Checked    Checked // meaningless without Health
	Enforced   Enforced
}

// Attachment says that a container is on a network. Of one that was never started, engines may know the network's name only.
type Attachment struct{ NetworkID, NetworkName, Address string }

// Enforced is the isolation that the engine reports for a container, read back and not what was asked for.
type Enforced struct {
	Limits          Limits
	SwapBytes       int64    // besides Limits.MemoryBytes, where there is such a bound; below zero: without a bound
	Capabilities    []string // kept, sorted, without CAP_
	NoNewPrivileges bool
	ReadOnlyRoot    bool
	Privileged      bool
	Seccomp         Seccomp
	User            string // empty: the image's, which usually is root
	Init            bool
	RestartPolicy   string  // NoRestart is what CreateContainer asks for
	Mounts          []Mount // what of the host is mounted, by Target. Source is a volume's name where it has one; volumes that only an image asks for are left out.
	// Besides is what else it was given that no ContainerSpec can ask for, such as "the host's network" or "the device /dev/kvm", sorted.
	Besides []string
}

// NoRestart is the policy of an engine that starts no container by itself.
const NoRestart = "no"

// Seccomp says which profile filters the system calls of a container, as its settings and those of the engine have it.
type Seccomp string

// The profiles.
const (
	SeccompDefault    Seccomp = "default"    // the engine's own
	SeccompCustom     Seccomp = "custom"     // one that somebody gave the container or the engine
	SeccompUnconfined Seccomp = "unconfined" // none, though the engine could filter
	SeccompNone       Seccomp = "none"       // none, since the engine cannot filter
)

// Event says that something happened. It is a hint to look again, but for the end of a container, which is over whatever comes after.
// Order and completeness are not promised across streams.
type Event struct {
	At     time.Time
	Kind   ObjectKind
	Action string // the engine's word: create, start, die, oom, destroy, connect, "health_status: unhealthy", …
	ID     string // of the container or network
	Name   string // of the network; empty where an engine does not say which one a container was taken off
	Labels Labels // of the container
	// ExitCode comes with the end of a container (die), where the engine tells it.
	ExitCode *int
}

// ObjectKind says what an event is about.
type ObjectKind string

// What events are about.
const (
	ContainerObject ObjectKind = "container"
	NetworkObject   ObjectKind = "network"
)

// Stats is one reading of a running container's counters.
type Stats struct {
	At                              time.Time
	CPUNanos                        uint64 // used since the container started, over all cores
	MemoryBytes                     int64  // without the page cache (inactive file pages)
	MemoryLimitBytes                int64
	NetworkRxBytes, NetworkTxBytes  int64
	BlockReadBytes, BlockWriteBytes int64
	Pids                            int
}

// Labels are the labels of a container, network or volume.
type Labels map[string]string

// Our labels. What we make for a workspace carries the first three; the mark of an installation has no workspace, and the database instead.
const (
	LabelManaged      = "io.aicli.managed"      // "true"
	LabelInstallation = "io.aicli.installation" // which server's database knows the row
	LabelWorkspace    = "io.aicli.workspace"    // the workspace's id
	LabelDatabase     = "io.aicli.database"     // the identity of the database that the installation belongs to
)
