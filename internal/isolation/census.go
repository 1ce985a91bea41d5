package isolation

import (
	"cmp"
	"slices"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Own finds the container of w among those that carry its labels. It has the id that the engine gave when it was made; where none has, it has the name: one that was
// made in place of what is recorded, by a server that was killed before it could record that. Whoever inspects it asks IsMadeFor then. Labels alone don't tell: images
// that somebody makes of our containers hand them on.
func Own(w workspace.Workspace, id string, list []engine.Summary) (own engine.Summary, found bool) {
	i := slices.IndexFunc(list, func(c engine.Summary) bool { return c.ID == id })
	if i < 0 {
		i = slices.IndexFunc(list, func(c engine.Summary) bool { return c.Name == Name(w.ID) })
	}
	if i < 0 {
		return own, false
	}
	return list[i], true
}

// IsMadeFor tells a container that has the labels and the name of a workspace's from one that was run of an image which somebody made of it: that has no project.
func IsMadeFor(c engine.Container) bool {
	return slices.ContainsFunc(c.Enforced.Mounts, func(m engine.Mount) bool { return m.Target == Target })
}

// Listed is what the engine lists of one workspace.
type Listed struct {
	Containers []engine.Summary
	Networks   []engine.Network
}

// Census tells what rows know of from what none does. All rows are accounted for before Orphans is asked; the rows are read after the
// lists were made, so that whatever is listed had its row, unless it is gone.
type Census struct{ left map[string]Listed }

// NewCensus begins with all that an engine lists of one installation.
func NewCensus(containers []engine.Summary, networks []engine.Network) *Census {
	c := &Census{left: make(map[string]Listed, len(networks))}
	for _, each := range containers {
		id := each.Labels[engine.LabelWorkspace]
		l := c.left[id]
		l.Containers = append(l.Containers, each)
		c.left[id] = l
	}
	for _, each := range networks {
		id := each.Labels[engine.LabelWorkspace]
		l := c.left[id]
		l.Networks = append(l.Networks, each)
		c.left[id] = l
	}
	return c
}

// Account takes out what belongs to w, and says what is listed of it. What is left of it is a network besides the recorded one, while no
// task is there to see to it.
func (c *Census) Account(w workspace.Workspace) Listed {
	listed := c.left[w.ID]
	delete(c.left, w.ID)
	if have := w.Observed.Network; have != nil && w.ActiveTaskCount == 0 && len(listed.Networks) > 1 {
		isKept := func(n engine.Network) bool { return n.ID == have.ID }
		if slices.ContainsFunc(listed.Networks, isKept) {
			c.left[w.ID] = Listed{Networks: slices.DeleteFunc(slices.Clone(listed.Networks), isKept)}
		}
	}
	id := ""
	if have := w.Observed.Container; have != nil {
		id = have.ID
	}
	own, found := Own(w, id, listed.Containers)
	if listed.Containers = nil; found {
		listed.Containers = []engine.Summary{own}
	}
	return listed
}

// Orphans are what is left, containers first, since they hold networks. What only carries our labels and not our name is not ours.
func (c *Census) Orphans() (orphans []workspace.Orphan) {
	for id, l := range c.left {
		for _, each := range l.Containers {
			if each.Name == Name(id) {
				orphans = append(orphans, workspace.Orphan{Kind: workspace.OrphanContainer, ID: each.ID, Name: each.Name, WorkspaceID: id})
			}
		}
		for _, each := range l.Networks {
			if each.Name == Name(id) {
				orphans = append(orphans, workspace.Orphan{Kind: workspace.OrphanNetwork, ID: each.ID, Name: each.Name, WorkspaceID: id})
			}
		}
	}
	slices.SortFunc(orphans, func(a, b workspace.Orphan) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.WorkspaceID, b.WorkspaceID), cmp.Compare(a.ID, b.ID))
	})
	return orphans
}
