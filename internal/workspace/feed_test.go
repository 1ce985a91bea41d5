package workspace_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// client follows a stream of events, from server to server, and is cut again and again.
type client struct {
	*testing.T

	actor workspace.Actor
	query workspace.Query
	at    *workspace.Place
	seen  []int64 // events behind the first snapshot
	begun int64   // where that was taken
	gaps  int
	state map[string]workspace.Workspace
}

// follow reads until it is cut, after n events, or until done is closed and an event has that position.
func (c *client) follow(s *workspace.Service, n int, until int64) {
	ctx, cut := context.WithCancel(c.Context())
	defer cut()
	stream, err := s.WatchEvents(ctx, c.actor, c.query, c.at)
	if err != nil {
		c.Error(err)
		return
	}
	for ; n > 0; n-- {
		if until > 0 && c.at != nil && !c.at.Anew && c.at.Seq >= until {
			return
		}
		e, open := <-stream
		if !open {
			return
		}
		switch e.Type {
		case workspace.EventGap:
			c.gaps++
			clear(c.state)
		case workspace.EventSnapshot:
			c.begun, c.seen = e.Seq, nil
			c.state[e.WorkspaceID] = *e.Workspace
		case workspace.EventDeleted:
			c.seen = append(c.seen, e.Seq)
			delete(c.state, e.WorkspaceID)
		default:
			c.seen = append(c.seen, e.Seq)
			c.state[e.WorkspaceID] = *e.Workspace
		}
		c.at = new(e.Place())
	}
}

// TestStreamsAreResumedUnderCuts has two clients that are cut a thousand times, on one server after the other, while workspaces come, change and go.
func TestStreamsAreResumedUnderCuts(t *testing.T) {
	for _, dialect := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			db, dsn := storetest.Open(t, dialect)
			servers := []*workspace.Service{feeding(t, db)}
			if dialect == store.Postgres {
				servers = append(servers, feeding(t, storetest.OpenAt(t, dialect, dsn)))
			}
			cuts := 350
			if dialect == store.Postgres {
				cuts = 150
			}
			clients := []*client{
				{T: t, actor: ann, state: make(map[string]workspace.Workspace)},
				{T: t, actor: root, query: workspace.Query{Status: []workspace.Status{workspace.Pending, workspace.Active}}, state: make(map[string]workspace.Workspace)},
			}
			first := made(t, servers[0], ann, "first") // so that there is something to begin with
			var following, writing sync.WaitGroup
			for i, c := range clients {
				draw := rand.New(rand.NewPCG(1, uint64(i)))
				following.Go(func() {
					for range cuts {
						c.follow(servers[draw.IntN(len(servers))], draw.IntN(3), 0)
					}
				})
			}
			done := make(chan struct{})
			writing.Go(func() { write(t, servers, first, done) })
			following.Wait()
			close(done)
			writing.Wait()
			end, err := db.LogEnd(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// A last change that both see, and everything up to it.
			made(t, servers[0], ann, "last")
			for _, c := range clients {
				c.follow(servers[0], 1_000_000, end+1)
				c.compare(db)
			}
		})
	}
}

// write makes, renames and deletes workspaces until done is closed.
func write(t *testing.T, servers []*workspace.Service, first string, done <-chan struct{}) {
	draw := rand.New(rand.NewPCG(2, 0))
	ids := []string{first}
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		s := servers[draw.IntN(len(servers))]
		switch draw.IntN(4) {
		case 0:
			if len(ids) < 20 {
				r, err := s.Create(t.Context(), []workspace.Actor{ann, {ID: "bob"}}[draw.IntN(2)], workspace.CreateInput{Name: fmt.Sprint("w", n)})
				if written(t, err) {
					ids = append(ids, r.Workspace.ID)
				}
			}
		case 1:
			finishOne(t, s)
		default:
			id := ids[draw.IntN(len(ids))]
			_, err := s.Update(t.Context(), root, workspace.UpdateInput{ID: id, Name: new(fmt.Sprint("renamed ", n))})
			written(t, err)
			if draw.IntN(10) == 0 && len(ids) > 1 {
				_, err := s.Request(t.Context(), root, task.Delete, workspace.Ask{ID: id})
				written(t, err)
				finishOne(t, s)
				ids = slices.DeleteFunc(ids, func(have string) bool { return have == id })
			}
		}
	}
}

// compare holds that what a client has seen is exactly the log from where it began.
func (c *client) compare(db *store.DB) {
	c.Helper()
	var want []int64
	for at := c.begun; ; {
		events, err := db.Events(c.Context(), "", at, 500)
		if err != nil {
			c.Fatal(err)
		}
		for _, e := range events {
			q := c.query
			if !c.actor.Admin {
				q.OwnerID = c.actor.ID
			}
			if at = e.Seq; q.Match(e) && e.Seq <= c.at.Seq {
				want = append(want, e.Seq)
			}
		}
		if len(events) < 500 {
			break
		}
	}
	if !slices.Equal(c.seen, want) || c.gaps > 0 {
		c.Errorf("%s has seen %d events and %d gaps, and the log has %d from where it began", c.actor.ID, len(c.seen), c.gaps, len(want))
	}
}

// feeding is a service that reads its event log, on a database.
func feeding(t *testing.T, db *store.DB) *workspace.Service {
	t.Helper()
	s := workspace.NewService(db, &paths{}, workspace.Config{DefaultImage: "alpine", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	s.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	feed(t, s)
	return s
}

func made(t *testing.T, s *workspace.Service, by workspace.Actor, name string) string {
	t.Helper()
	r, err := s.Create(t.Context(), by, workspace.CreateInput{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return r.Workspace.ID
}

// TestWhoFiltersSeesAWorkspaceLeave follows those that are PENDING, and has one of them deleted, one renamed, and one of somebody else made.
func TestWhoFiltersSeesAWorkspaceLeave(t *testing.T) {
	db, _ := storetest.Open(t, store.SQLite)
	s := feeding(t, db)
	id := made(t, s, ann, "one")
	stream, err := s.WatchEvents(t.Context(), ann, workspace.Query{Status: []workspace.Status{workspace.Pending}, NameContains: "ONE"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := func(want workspace.EventType, status workspace.Status) workspace.Event {
		t.Helper()
		e := <-stream
		if e.Type != want || e.Workspace == nil || e.Workspace.Status != status || e.Actor == "" || e.Message == "" {
			t.Fatalf("got %+v, want %s of what is %s", e, want, status)
		}
		return e
	}
	next(workspace.EventSnapshot, workspace.Pending)
	made(t, s, workspace.Actor{ID: "bob"}, "one of bob's")
	made(t, s, ann, "two")
	if _, err := s.Request(t.Context(), ann, task.Delete, workspace.Ask{ID: id}); err != nil {
		t.Fatal(err)
	}
	if e := next(workspace.EventStatusChanged, workspace.Deleting); e.Actor != "ann" || e.Previous == nil || e.Previous.Status != workspace.Pending {
		t.Errorf("got %+v", e)
	}
	third := made(t, s, ann, "one more")
	next(workspace.EventCreated, workspace.Pending)
	if _, err := s.Update(t.Context(), ann, workspace.UpdateInput{ID: third, Name: new("other")}); err != nil {
		t.Fatal(err)
	}
	if e := next(workspace.EventUpdated, workspace.Pending); e.Workspace.Name != "other" {
		t.Errorf("got %+v", e)
	}
}

// TestAStreamOfWhatWasPruned has a client that was away for longer than the log is kept.
func TestAStreamOfWhatWasPruned(t *testing.T) {
	db, _ := storetest.Open(t, store.SQLite)
	s := feeding(t, db)
	made(t, s, ann, "one")
	if _, err := s.Update(t.Context(), ann, workspace.UpdateInput{ID: made(t, s, ann, "two"), Name: new("second")}); err != nil {
		t.Fatal(err)
	}
	end, err := db.LogEnd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.PruneEvents(t.Context(), time.Hour, 1, 100); err != nil {
		t.Fatal(err)
	}
	s = feeding(t, db) // the other one has them in memory
	for name, at := range map[string]int64{"before what is left": end - 2, "behind the end, which a backup has": end + 5} {
		stream, err := s.WatchEvents(t.Context(), ann, workspace.Query{}, &workspace.Place{Seq: at})
		if err != nil {
			t.Fatal(err)
		}
		var types []workspace.EventType
		for range 3 {
			e := <-stream
			types = append(types, e.Type)
			if last := len(types) == 3; e.Anew == last {
				t.Errorf("%s: the cursor of number %d is %+v", name, len(types), e.Place())
			}
		}
		if want := []workspace.EventType{workspace.EventGap, workspace.EventSnapshot, workspace.EventSnapshot}; !slices.Equal(types, want) {
			t.Errorf("%s: got %v", name, types)
		}
	}
	stream, err := s.WatchEvents(t.Context(), ann, workspace.Query{}, &workspace.Place{Seq: end - 1})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-stream; e.Seq != end || e.Type != workspace.EventUpdated {
		t.Errorf("from the last that is left: %+v", e)
	}
}

// finishOne runs a task that is due, if there is one.
func finishOne(t *testing.T, s *workspace.Service) {
	t.Helper()
	claimed, err := s.Claim(t.Context(), "pool", task.Slots{Free: 1}, time.Minute)
	for _, c := range claimed {
		err = s.Finish(t.Context(), c.Lease, task.Outcome{Status: task.Succeeded})
	}
	written(t, err)
}

// written reports whether a change was made. A machine with much else to do may hold up a database for too long, which is for others to test.
func written(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && workspace.CodeOf(err) != workspace.DatabaseLost && workspace.CodeOf(err) != workspace.Conflict {
		t.Error(err)
	}
	return err == nil
}
