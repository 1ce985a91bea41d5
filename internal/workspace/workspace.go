// Package workspace owns the nouns and the verbs: what a workspace is, how its status follows from the facts, which requests
// are accepted when, the Service that commits each change together with its tasks and its events, and the feed that tells of them. It declares the
// Store that it needs. It never talks to an engine: tasks do that, and report what they saw through Record.
package workspace

import (
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/aicli/aicli-web/internal/task"
)

// Workspace is a project directory and the isolated container that it runs in.
type Workspace struct {
	ID      string
	OwnerID string
	Spec
	// DesiredState is what the owner asked for, and AskedAt when; a batch asks for all of its items when it is started.
	DesiredState DesiredState
	AskedAt      time.Time
	// Subnet is the CIDR reserved for its network.
	Subnet string

	// What follows was seen or computed; see seal.
	Observed        Observed
	LastExit        *Exit         // how the container last ended
	Recovery        Recovery      // how far recovery is
	Failure         *task.Failure // of the last task that failed for good; nil once something was asked for or succeeded since
	Status          Status
	StatusReason    *string
	StatusSince     time.Time
	ActiveTaskCount int

	CreatedAt time.Time
	UpdatedAt time.Time
	Version   int64 // grows by one with each change
}

// HasRun reports whether there may be something in its project: some container of it has run.
func (w Workspace) HasRun() bool {
	return w.Observed.HasRun || w.LastExit != nil || w.Observed.Container != nil && w.Observed.Container.StartedAt != nil
}

// NamedByServer reports whether its project is a directory that the server has named after a workspace, its own or one that shares it.
func (w Workspace) NamedByServer() bool {
	return w.ProjectPath == w.ID || strings.HasPrefix(w.ProjectPath, WorkspacePrefix) && len(w.ProjectPath) == len(WorkspacePrefix)+ulid.EncodedSize
}

// Spec is what the owner says about a workspace.
type Spec struct {
	Name        string
	ProjectPath string // relative to the owner's project root
	Image       string
	Command     []string // the whole command; empty: what the image says
	Environment []EnvironmentVariable
	Labels      []Label
	Resources   Resources
	Policy      RecoveryPolicy
	HealthCheck *HealthCheck // nil: what the image says
}

// EnvironmentVariable is one variable of the container. The value of a secret one is never shown.
type EnvironmentVariable struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"`
}

// Label is a key and a value for the owner's own use; it is not a label of the engine.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Resources bounds what the container may use.
type Resources struct {
	Cpus        float64 // cores
	MemoryBytes int64
	Pids        int
}

// DesiredState is what the owner asked for.
type DesiredState string

// The desired states.
const (
	WantRunning DesiredState = "RUNNING"
	WantStopped DesiredState = "STOPPED"
	WantDeleted DesiredState = "DELETED"
)

// ContainerState is what the engine last said of the container. Empty: there is none.
type ContainerState string

// The container states.
const (
	NoContainer         ContainerState = ""
	ContainerCreated    ContainerState = "CREATED"
	ContainerRunning    ContainerState = "RUNNING"
	ContainerPaused     ContainerState = "PAUSED"
	ContainerRestarting ContainerState = "RESTARTING"
	ContainerRemoving   ContainerState = "REMOVING"
	ContainerExited     ContainerState = "EXITED"
	ContainerDead       ContainerState = "DEAD"
)

// ContainerUnknown is shown, never stored, while the engine cannot be asked.
const ContainerUnknown ContainerState = "UNKNOWN"

// Observed is what the engine was last seen to have of a workspace.
type Observed struct {
	Container *Container `json:"container,omitempty"`
	Network   *Network   `json:"network,omitempty"`
	Detached  bool       `json:"detached,omitempty"` // the container is not on its network
	HasRun    bool       `json:"hasRun,omitempty"`   // some container of it has, so that there may be something in its project
	Foreign   bool       `json:"-"`                  // its container had something else mounted than its project, and was removed
	Tail      []string   `json:"-"`                  // the last lines of a container that has ended, the first time that it is seen so
	// Serial grows with each change of what was observed. Of what is to be recorded it is the one from before the engine was asked.
	Serial int64 `json:"serial,omitempty"`
}

// ErrStale is what Record says of what was seen before something that is recorded already, by another server. Who gets it looks again.
var ErrStale = errors.New("something that was seen later is recorded already")

// State is the container's state, NoContainer when there is none.
func (o Observed) State() ContainerState {
	if o.Container == nil {
		return NoContainer
	}
	return o.Container.State
}

// Ending reports whether the container has ended and how is not known in full.
func (o Observed) Ending() bool { return o.Container != nil && o.Container.Ending }

// Container is what the engine said of the container.
type Container struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	State      ContainerState `json:"state"`
	Image      string         `json:"image"`
	StartedAt  *time.Time     `json:"startedAt,omitempty"`
	FinishedAt *time.Time     `json:"finishedAt,omitempty"`
	ExitCode   int            `json:"exitCode,omitempty"` // of the last run; meaningless without FinishedAt
	OOMKilled  bool           `json:"oomKilled,omitempty"`
	// Ending: an event told of its end, and how it ended is not known in full before it is looked at.
	Ending bool   `json:"ending,omitempty"`
	Error  string `json:"error,omitempty"` // the engine's own word
	// Health is nil while it does not run, and where it is not checked. What is not its status may be of any look since that began.
	Health *Health `json:"health,omitempty"`
	Mount  Mount   `json:"mount,omitempty"` // since StartedAt; empty while it does not run
	// Extra are the names of the networks that it is on besides its own, sorted.
	Extra    []string `json:"extra,omitempty"`
	Enforced Enforced `json:"enforced"`
}

// Mount is what came of comparing what a container has mounted with its project's directory. Where they differ at the first look after its start, the container is
// removed.
type Mount string

// What comes of it.
const (
	MountVerified Mount = "VERIFIED"
	MountUnknown  Mount = "UNKNOWN"  // the server may not look into the container, or its directory was not there
	MountReplaced Mount = "REPLACED" // since the start that was compared there is another directory at the project's path, or none
)

// End is the end of a container, as an event of the engine tells it.
type End struct {
	ContainerID string
	At          time.Time // by the engine's clock
	Code        int
}

// Network is the workspace's own network as the engine has it.
type Network struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Subnet string `json:"subnet"`
	// What somebody gave it that made it in place of the server.
	Internal bool   `json:"internal,omitempty"`
	Driver   string `json:"driver,omitempty"` // empty: it was not looked at
}

// Enforced is the isolation that the engine reports for the container.
type Enforced struct {
	Capabilities    []string `json:"capabilities,omitempty"`
	NoNewPrivileges bool     `json:"noNewPrivileges,omitempty"`
	ReadOnlyRoot    bool     `json:"readOnlyRoot,omitempty"`
	Seccomp         string   `json:"seccomp,omitempty"`
	User            string   `json:"user,omitempty"`
	// Warnings say what was asked for and is not enforced.
	Warnings []string `json:"warnings,omitempty"`
}

// Sample is one reading of a running container's usage. Samples are never stored.
type Sample struct {
	WorkspaceID      string
	At               time.Time
	CPUPercent       float64 // 100 is one full core
	MemoryBytes      int64   // without the page cache
	MemoryLimitBytes int64
	NetworkRxBytes   int64
	NetworkTxBytes   int64
	BlockReadBytes   int64
	BlockWriteBytes  int64
	Pids             int
	Uptime           time.Duration
}

// EngineHealth is what is known of the container engine.
type EngineHealth struct {
	Status     EngineStatus
	Name       string
	Version    string
	APIVersion string
	Since      time.Time
	LastError  string // why it is UNAVAILABLE
	// What its host has; zero before the engine was first seen.
	CPUs        int
	MemoryBytes int64
}

// EngineStatus says whether the engine can be asked.
type EngineStatus string

// The engine's statuses.
const (
	EngineHealthy     EngineStatus = "HEALTHY"
	EngineUnavailable EngineStatus = "UNAVAILABLE"
)
