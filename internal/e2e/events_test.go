package e2e

import (
	"slices"
	"testing"
)

type eventNow struct {
	Cursor, Type, WorkspaceID, Message, Actor string
	Workspace                                 *struct{ ID, Name, Status string }
	Task                                      *taskNow
}

const eventFields = `{ cursor type workspaceId message actor workspace { id name status } task { id type status step } }`

// events opens a stream of events, from a cursor on, or from the beginning where it is nil.
func (c *client) events(after *string) *stream {
	c.Helper()
	return c.subscribe(`subscription($after: Cursor) { workspaceEvents(after: $after) `+eventFields+` }`, map[string]any{"after": after})
}

// event takes the next one.
func (s *stream) event() eventNow {
	s.Helper()
	var data struct{ WorkspaceEvents eventNow }
	if !s.read(&data) {
		s.Fatal("the stream has ended")
	}
	return data.WorkspaceEvents
}

// untilType reads events up to one of a type.
func (s *stream) untilType(typ string) (all []eventNow) {
	s.Helper()
	for {
		all = append(all, s.event())
		if all[len(all)-1].Type == typ {
			return all
		}
	}
}

// TestEventsOfAWorkspacesLife follows a workspace through a stream that is cut, and through a server that is killed, and compares that with its own list.
func TestEventsOfAWorkspacesLife(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, h *home) {
		s := h.start()
		ann := s.as("ann")
		before := ann.must("create", map[string]any{"name": "before", "start": false, "wait": "PT30S"}).Workspace.ID
		stream := ann.events(nil)
		if e := stream.event(); e.Type != "SNAPSHOT" || e.WorkspaceID != before || e.Workspace == nil || e.Workspace.Name != "before" {
			t.Fatalf("it begins with %+v", e)
		}
		s.as("bob").must("create", map[string]any{"name": "bob's", "start": false})
		id := ann.must("create", map[string]any{"name": "one", "wait": "PT30S"}).Workspace.ID
		seen := stream.untilType("CREATED")
		for seen[len(seen)-1].Workspace.Status != "ACTIVE" {
			seen = append(seen, stream.event())
		}
		cursor := seen[len(seen)-1].Cursor
		s.kill()
		s = h.start()
		ann = s.as("ann")
		ann.must("stop", map[string]any{"id": id, "wait": "PT30S"})
		ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		stream = ann.events(&cursor)
		seen = append(seen, stream.untilType("DELETED")...)
		last := seen[len(seen)-1]
		if last.WorkspaceID != id || last.Workspace == nil || last.Workspace.Status != "DELETED" || last.Actor != "ann" {
			t.Errorf("it ends with %+v", last)
		}
		var statuses []string
		for _, e := range seen {
			switch {
			case e.Type == "SNAPSHOT" || e.Type == "GAP" || e.Message == "" || e.Actor == "" || e.Workspace == nil:
				t.Errorf("got %+v", e)
			case e.WorkspaceID == id && (len(statuses) == 0 || statuses[len(statuses)-1] != e.Workspace.Status):
				statuses = append(statuses, e.Workspace.Status)
			case e.Workspace.Name == "bob's":
				t.Errorf("ann is told of %+v", e)
			}
		}
		// A creation that has not made its container yet is PENDING, one that has is STARTING; which of these are committed depends on when the engine is looked at.
		if want := []string{"ACTIVE", "STOPPING", "INACTIVE", "DELETING", "DELETED"}; len(statuses) < 6 || statuses[0] != "PENDING" || !slices.Equal(statuses[len(statuses)-5:], want) {
			t.Errorf("it was %v, want PENDING at first and then %v at last", statuses, want)
		}
		var data struct {
			Workspace struct {
				Events struct {
					Nodes    []eventNow
					PageInfo struct {
						HasNextPage bool
						EndCursor   string
					}
				}
			}
		}
		var own []string
		for after := (*string)(nil); ; after = &data.Workspace.Events.PageInfo.EndCursor {
			ann.get(&data, `query($id: ID!, $after: Cursor) { workspace(id: $id) { events(first: 2, after: $after) { nodes `+eventFields+` pageInfo { hasNextPage endCursor } } } }`,
				map[string]any{"id": before, "after": after})
			for _, e := range data.Workspace.Events.Nodes {
				own = append(own, e.Type)
			}
			if !data.Workspace.Events.PageInfo.HasNextPage {
				break
			}
		}
		if len(own) < 3 || own[0] != "CREATED" {
			t.Errorf("the other one has the events %v", own)
		}
		ann.must("delete", map[string]any{"id": before, "wait": "PT30S"})
		h.nothingLeft(id)
		h.nothingLeft(before)
	})
}
