package store

import (
	"time"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// micros is an instant as the database has it.
type micros int64

func toMicros(t time.Time) micros { return micros(t.UnixMicro()) }
func (m micros) time() time.Time  { return time.UnixMicro(int64(m)).UTC() }
func optMicros(t *time.Time) *micros {
	if t == nil {
		return nil
	}
	m := toMicros(*t)
	return &m
}

// zeroMicros and zeroTime have 0 for the zero time.
func zeroMicros(t time.Time) micros {
	if t.IsZero() {
		return 0
	}
	return toMicros(t)
}

func zeroTime(m micros) (t time.Time) {
	if m != 0 {
		t = m.time()
	}
	return t
}

func optTime(m *micros) *time.Time {
	if m == nil {
		return nil
	}
	t := m.time()
	return &t
}

type workspaceRow struct {
	ID              string
	OwnerID         string
	Name            string
	NameKey         string
	ProjectPath     string
	ProjectKey      string
	Image           string
	Command         []string                        `gorm:"serializer:json"`
	Environment     []workspace.EnvironmentVariable `gorm:"serializer:json"`
	Labels          []workspace.Label               `gorm:"serializer:json"`
	Cpus            float64
	MemoryBytes     int64
	Pids            int
	DesiredState    string
	AskedAt         micros
	Observed        workspace.Observed       `gorm:"serializer:json"`
	LastExit        *workspace.Exit          `gorm:"serializer:json"`
	Policy          workspace.RecoveryPolicy `gorm:"serializer:json"`
	HealthCheck     *workspace.HealthCheck   `gorm:"serializer:json"`
	Recovery        workspace.Recovery       `gorm:"serializer:json"`
	Failure         *task.Failure            `gorm:"serializer:json"`
	Status          string
	StatusReason    *string
	StatusSince     micros
	ActiveTaskCount int
	CreatedAt       micros `gorm:"autoCreateTime:false"`
	UpdatedAt       micros `gorm:"autoUpdateTime:false"`
	Version         int64
	Slot            *int64 `gorm:"->;-:migration"` // of its subnet, joined
	Now             micros `gorm:"->;-:migration"` // when it was read
}

func (workspaceRow) TableName() string { return "workspaces" }

func toWorkspaceRow(w workspace.Workspace) workspaceRow {
	return workspaceRow{
		ID: w.ID, OwnerID: w.OwnerID, Name: w.Name, NameKey: workspace.Key(w.Name), ProjectPath: w.ProjectPath, ProjectKey: workspace.Key(w.ProjectPath), Image: w.Image,
		Command: nonNil(w.Command), Environment: nonNil(w.Environment), Labels: nonNil(w.Labels),
		Cpus: w.Resources.Cpus, MemoryBytes: w.Resources.MemoryBytes, Pids: w.Resources.Pids,
		DesiredState: string(w.DesiredState), AskedAt: zeroMicros(w.AskedAt), Observed: w.Observed, Failure: w.Failure,
		LastExit: w.LastExit, Policy: w.Policy, HealthCheck: w.HealthCheck, Recovery: w.Recovery,
		Status: string(w.Status), StatusReason: w.StatusReason, StatusSince: toMicros(w.StatusSince),
		ActiveTaskCount: w.ActiveTaskCount, CreatedAt: toMicros(w.CreatedAt), UpdatedAt: toMicros(w.UpdatedAt), Version: w.Version,
	}
}

func (r workspaceRow) toWorkspace() workspace.Workspace {
	w := workspace.Workspace{
		ID: r.ID, OwnerID: r.OwnerID,
		Spec: workspace.Spec{
			Name: r.Name, ProjectPath: r.ProjectPath, Image: r.Image, Command: r.Command, Environment: r.Environment, Labels: r.Labels,
			Resources: workspace.Resources{Cpus: r.Cpus, MemoryBytes: r.MemoryBytes, Pids: r.Pids}, Policy: r.Policy, HealthCheck: r.HealthCheck,
		},
		DesiredState: workspace.DesiredState(r.DesiredState), AskedAt: zeroTime(r.AskedAt), Observed: r.Observed, Failure: r.Failure,
		LastExit: r.LastExit, Recovery: r.Recovery,
		Status: workspace.Status(r.Status), StatusReason: r.StatusReason, StatusSince: r.StatusSince.time(),
		ActiveTaskCount: r.ActiveTaskCount, CreatedAt: r.CreatedAt.time(), UpdatedAt: r.UpdatedAt.time(), Version: r.Version,
	}
	if r.Slot != nil {
		w.Subnet = subnetOf(*r.Slot).String()
	}
	return w
}

type labelRow struct {
	WorkspaceID, Key, Value string
}

func (labelRow) TableName() string { return "workspace_labels" }

type taskRow struct {
	ID          string
	Type        string
	Status      string
	WorkspaceID string
	OwnerID     string
	RequestedBy string
	Attempt     int
	MaxAttempts int
	Step        string
	Progress    *float64
	Failure     *task.Failure `gorm:"serializer:json"`
	Params      task.Params   `gorm:"serializer:json"`
	CreatedAt   micros        `gorm:"autoCreateTime:false"`
	RunAt       micros
	StartedAt   *micros
	FinishedAt  *micros
	Revision    int64
	LeaseHolder string
	LeaseToken  int64
	LeaseUntil  micros
	Lane        int
	Turn        int64
	Cancel      bool
	BatchID     string
	InBatch     bool
	StopBy      *micros
}

func (taskRow) TableName() string { return "tasks" }

func toTaskRow(t task.Task) taskRow {
	return taskRow{
		ID: t.ID, Type: string(t.Type), Status: string(t.Status), WorkspaceID: t.WorkspaceID, OwnerID: t.OwnerID,
		RequestedBy: t.RequestedBy, Attempt: t.Attempt, MaxAttempts: t.MaxAttempts, Step: t.Step, Progress: t.Progress,
		Failure: t.Failure, Params: t.Params, CreatedAt: toMicros(t.CreatedAt), RunAt: toMicros(t.RunAt),
		StartedAt: optMicros(t.StartedAt), FinishedAt: optMicros(t.FinishedAt), Revision: t.Revision,
		LeaseHolder: t.Lease.Holder, LeaseToken: t.Lease.Token, Lane: int(t.Type.Lane()), Cancel: t.Cancel, BatchID: t.BatchID, InBatch: t.InBatch,
		StopBy: optMicros(t.StopBy),
	}
}

func (r taskRow) toTask() task.Task {
	return task.Task{
		ID: r.ID, Type: task.Type(r.Type), Status: task.Status(r.Status), WorkspaceID: r.WorkspaceID, OwnerID: r.OwnerID,
		RequestedBy: r.RequestedBy, Attempt: r.Attempt, MaxAttempts: r.MaxAttempts, Step: r.Step, Progress: r.Progress,
		Failure: r.Failure, Params: r.Params, Cancel: r.Cancel, BatchID: r.BatchID, InBatch: r.InBatch, CreatedAt: r.CreatedAt.time(), RunAt: r.RunAt.time(),
		StartedAt: optTime(r.StartedAt), FinishedAt: optTime(r.FinishedAt), StopBy: optTime(r.StopBy), Revision: r.Revision,
		Lease: task.Lease{TaskID: r.ID, WorkspaceID: r.WorkspaceID, Holder: r.LeaseHolder, Token: r.LeaseToken},
	}
}

func toTasks(rows []taskRow) []task.Task {
	tasks := make([]task.Task, len(rows))
	for i, r := range rows {
		tasks[i] = r.toTask()
	}
	return tasks
}

// nonNil writes [] rather than null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
