package workspace

import (
	"context"
	"time"
)

// Orphan is something that the engine has of this installation and that no row knows: a call of a server that was killed has made it
// late, or the row was lost. It is removed after a grace period.
type Orphan struct {
	Kind        OrphanKind
	ID, Name    string // the engine's
	WorkspaceID string // that its label names
	Since       time.Time
	RemoveAt    time.Time
}

// OrphanKind says what an orphan is.
type OrphanKind string

// The kinds of orphans.
const (
	OrphanContainer OrphanKind = "CONTAINER"
	OrphanNetwork   OrphanKind = "NETWORK"
)

// RecordOrphans takes in what was found at the last comparison with the engine.
func (s *Service) RecordOrphans(found []Orphan) { s.orphans.Store(&found) }

// orphansShown is how many orphans are told of at once: a page.
const orphansShown = 100

// Orphans are those of the last comparison with the engine, the first of them where there are many. Only an admin may know of them.
func (s *Service) Orphans(actor Actor) ([]Orphan, error) {
	if !actor.Admin {
		return nil, &Error{Code: Forbidden, Message: "Only an admin may see what no workspace knows of."}
	}
	found := *s.orphans.Load()
	return found[:min(len(found), orphansShown)], nil
}

// Known reports whether a row knows an orphan after all, or has a task that will see to it.
func (s *Service) Known(ctx context.Context, o Orphan) (bool, error) {
	w, err := s.store.Workspace(ctx, o.WorkspaceID)
	switch {
	case CodeOf(err) == NotFound:
		return false, nil
	case err != nil:
		return false, err
	}
	return w.ActiveTaskCount > 0 || o.Kind == OrphanContainer || w.Observed.Network == nil || w.Observed.Network.ID == o.ID, nil
}
