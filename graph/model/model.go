// Package model owns what the GraphQL edge has beyond the domain: payloads, connections, and how scalars are written and read.
package model

import (
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Node is anything that has an id.
type Node any

// WorkspacePayload is what came of a request about one workspace.
type WorkspacePayload struct {
	Workspace  *workspace.Workspace
	Task       *task.Task
	UserErrors []*workspace.Error
}

// TaskPayload is what came of a request about one task.
type TaskPayload struct {
	Task       *task.Task
	UserErrors []*workspace.Error
}

// BatchPayload is what came of a request about a batch.
type BatchPayload struct {
	Batch      *workspace.Batch
	UserErrors []*workspace.Error
}
