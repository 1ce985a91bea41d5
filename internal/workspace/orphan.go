package workspace

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Orphan is something that the engine has of this installation, or addresses that are kept, and that no row knows: a call of a server that
// was killed has made it late, or the row was lost. It is removed after a grace period.
type Orphan struct {
	Kind        OrphanKind
	ID, Name    string // the engine's; of a subnet both are its CIDR
	WorkspaceID string // that its label names, or that it was kept for
	Since       time.Time
	RemoveAt    time.Time
}

// OrphanKind says what an orphan is.
type OrphanKind string

// The kinds of orphans.
const (
	OrphanContainer OrphanKind = "CONTAINER"
	OrphanNetwork   OrphanKind = "NETWORK"
	OrphanSubnet    OrphanKind = "SUBNET"
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

// LostSubnets are the addresses that are kept for workspaces whose row was lost.
func (s *Service) LostSubnets(ctx context.Context) (lost []Orphan, err error) {
	kept, err := s.store.LostSubnets(ctx, orphansShown)
	for id, subnet := range kept {
		lost = append(lost, Orphan{Kind: OrphanSubnet, ID: subnet, Name: subnet, WorkspaceID: id})
	}
	slices.SortFunc(lost, func(a, b Orphan) int { return strings.Compare(a.WorkspaceID, b.WorkspaceID) })
	return lost, err
}

// ReleaseSubnet gives addresses back that were kept for a workspace whose row was lost.
func (s *Service) ReleaseSubnet(ctx context.Context, o Orphan) error {
	return s.store.ReleaseSubnet(ctx, o.WorkspaceID)
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
	return w.ActiveTaskCount > 0 || o.Kind != OrphanNetwork || w.Observed.Network == nil || w.Observed.Network.ID == o.ID, nil
}
