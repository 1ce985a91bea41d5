package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var pool = netip.MustParsePrefix("10.213.0.0/16")

const lease = time.Minute

// add makes a workspace of owner with a CREATE task.
func add(t *testing.T, db *store.DB, owner, name string) workspace.Change {
	t.Helper()
	ch, err := create(t.Context(), db, owner, name, pool)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func create(ctx context.Context, db *store.DB, owner, name string, pool netip.Prefix) (workspace.Change, error) {
	w := workspace.Workspace{
		ID: workspace.NewID(workspace.WorkspacePrefix), OwnerID: owner, DesiredState: workspace.WantRunning,
		Spec: workspace.Spec{
			Name: name, ProjectPath: name, Image: "alpine", Command: []string{"sleep", "1"},
			Environment: []workspace.EnvironmentVariable{{Name: "A", Value: "b", Secret: true}},
			Labels:      []workspace.Label{{Key: "team", Value: name}},
			Resources:   workspace.Resources{Cpus: 0.5, MemoryBytes: 1 << 26, Pids: 64},
			HealthCheck: &workspace.HealthCheck{Command: []string{"true"}, Interval: time.Second},
		},
	}
	return db.Create(ctx, w, pool, func(d *workspace.Draft) {
		d.Enqueue(task.Create, owner, task.Params{Grace: time.Second, DiscardUntil: d.Now()})
	})
}

func finish(t *testing.T, db *store.DB, claimed task.Task, o task.Outcome) workspace.Change {
	t.Helper()
	ch, err := db.Update(t.Context(), claimed.WorkspaceID, func(d *workspace.Draft) error {
		d.Finish(claimed.ID, o)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func claim(t *testing.T, db *store.DB, limit int) []task.Task {
	t.Helper()
	tasks, err := db.Claim(t.Context(), "pool", task.Slots{Free: limit}, lease)
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

func TestWorkspaces(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		t.Run("what was created is read back as it was", func(t *testing.T) {
			made := add(t, db, "ann", "one")
			read, err := db.Workspace(t.Context(), made.Workspace.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(read, made.Workspace) {
				t.Errorf("read\n%+v\nwant\n%+v", read, made.Workspace)
			}
			if read.Status != workspace.Pending || read.Version != 1 || read.ActiveTaskCount != 1 || read.Subnet != "10.213.0.0/28" {
				t.Errorf("got %s, version %d, %d tasks, subnet %s", read.Status, read.Version, read.ActiveTaskCount, read.Subnet)
			}
			read2, err := db.Task(t.Context(), made.Tasks[0].ID)
			if err != nil || fmt.Sprintf("%+v", read2) != fmt.Sprintf("%+v", made.Tasks[0]) {
				t.Errorf("read %+v (%v), want %+v", read2, err, made.Tasks[0])
			}
		})
		t.Run("a name is taken for its owner alone, and nothing is left of the second", func(t *testing.T) {
			add(t, db, "bob", "same")
			_, err := create(t.Context(), db, "bob", "same", pool)
			if workspace.CodeOf(err) != workspace.Conflict {
				t.Fatalf("got %v, want a conflict", err)
			}
			add(t, db, "eve", "same")
			p, err := db.Tasks(t.Context(), workspace.TaskQuery{OwnerID: "bob", Window: workspace.Window{First: 10}})
			if err != nil || p.Total != 1 {
				t.Errorf("bob has %d tasks (%v), want 1", p.Total, err)
			}
		})
		t.Run("a change that fails changes nothing", func(t *testing.T) {
			made := add(t, db, "ann", "fails")
			no := errors.New("no")
			_, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
				d.Workspace.Name = "other"
				d.Enqueue(task.Stop, "ann", task.Params{})
				return no
			})
			read, readErr := db.Workspace(t.Context(), made.Workspace.ID)
			if !errors.Is(err, no) || readErr != nil || read.Name != "fails" || read.Version != 1 {
				t.Errorf("got %v, %v, %+v", err, readErr, read)
			}
		})
		t.Run("what was changed is read back as it was, of the workspace and of its tasks", func(t *testing.T) {
			id := add(t, db, "ann", "changes").Workspace.ID
			at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
			fail := &task.Failure{Code: "TIMEOUT", Message: "it's ? slow", Retryable: true}
			for what, change := range map[string]func(*workspace.Draft){
				"all": func(d *workspace.Draft) {
					w := &d.Workspace
					w.Spec = workspace.Spec{
						Name: "Changed", ProjectPath: w.ProjectPath, Image: "other:1", Command: []string{"a", "b"}, Environment: []workspace.EnvironmentVariable{{Name: "A", Value: "1", Secret: true}},
						Labels: []workspace.Label{{Key: "k", Value: "v"}}, Resources: workspace.Resources{Cpus: 2.5, MemoryBytes: 1 << 33, Pids: 7},
						Policy:      workspace.RecoveryPolicy{MaxRetries: 2, Backoff: time.Second, Fallback: workspace.FallbackStop, RestartWhenUnhealthy: true},
						HealthCheck: &workspace.HealthCheck{Command: []string{"test", "-e", "it's"}, Interval: time.Second, Timeout: time.Minute, StartPeriod: time.Hour, Retries: 4},
					}
					w.DesiredState, w.AskedAt, w.Failure = workspace.WantStopped, at, fail
					w.Observed = workspace.Observed{Container: &workspace.Container{ID: "c", State: workspace.ContainerPaused, StartedAt: &at, Health: &workspace.Health{Status: workspace.HealthUnhealthy, FailingStreak: 2, Output: "a\x00b\u00e9", CheckedAt: &at, Since: &at, Before: time.Hour}}}
				},
				"the state alone": func(d *workspace.Draft) { d.Workspace.Failure, d.Workspace.DesiredState = nil, workspace.WantDeleted },
				"a task": func(d *workspace.Draft) {
					half := 12.5
					t := &d.Live[0]
					t.Status, t.Attempt, t.Step, t.Progress, t.Failure, t.RunAt, t.FinishedAt = task.Retrying, 3, "pull", &half, fail, at, &at
					t.Cancel, t.InBatch, t.BatchID, t.Lease.Holder = true, true, "batch_1", "me"
				},
			} {
				ch, err := db.Update(t.Context(), id, func(d *workspace.Draft) error {
					change(d)
					return nil
				})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				read, err := db.Workspace(t.Context(), id)
				if err != nil || !reflect.DeepEqual(read, ch.Workspace) {
					t.Errorf("%s: read (%v)\n%+v\nwant\n%+v", what, err, read, ch.Workspace)
				}
				for _, want := range ch.Tasks {
					got, err := db.Task(t.Context(), want.ID)
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Errorf("%s: read (%v)\n%+v\nwant\n%+v", what, err, got, want)
					}
				}
			}
			found, err := db.Workspaces(t.Context(), workspace.Query{Labels: []workspace.Label{{Key: "k", Value: "v"}}, NameContains: "CHANGED", Window: workspace.Window{First: 1}})
			if err != nil || found.Total != 1 {
				t.Errorf("by its new name and label: %d, %v", found.Total, err)
			}
		})
		t.Run("a change of nothing writes nothing", func(t *testing.T) {
			made := add(t, db, "ann", "idle")
			ch, err := db.Update(t.Context(), made.Workspace.ID, func(*workspace.Draft) error { return nil })
			if err != nil || ch.Workspace.Version != 1 {
				t.Errorf("version %d, %v", ch.Workspace.Version, err)
			}
		})
		t.Run("an unknown id is not found", func(t *testing.T) {
			_, err := db.Workspace(t.Context(), "ws_none")
			_, updateErr := db.Update(t.Context(), "ws_none", func(*workspace.Draft) error { return nil })
			_, taskErr := db.Task(t.Context(), "task_none")
			for _, err := range []error{err, updateErr, taskErr} {
				if workspace.CodeOf(err) != workspace.NotFound {
					t.Errorf("got %v", err)
				}
			}
		})
		t.Run("writers at once lose no change", func(t *testing.T) {
			made := add(t, db, "ann", "busy")
			var writers sync.WaitGroup
			for range 20 {
				writers.Go(func() {
					if _, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
						d.Workspace.Resources.Pids++
						return nil
					}); err != nil {
						t.Error(err)
					}
				})
			}
			writers.Wait()
			read, err := db.Workspace(t.Context(), made.Workspace.ID)
			if err != nil || read.Version != 21 || read.Resources.Pids != 84 {
				t.Errorf("version %d, pids %d, %v", read.Version, read.Resources.Pids, err)
			}
		})
	})
}

func TestSubnets(t *testing.T) {
	small := netip.MustParsePrefix("10.9.0.0/27") // two networks
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		first, err := create(t.Context(), db, "ann", "a", small)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = create(t.Context(), db, "ann", "b", small); err != nil {
			t.Fatal(err)
		}
		t.Run("a pool that is full says so and leaves no row", func(t *testing.T) {
			_, err := create(t.Context(), db, "ann", "c", small)
			p, listErr := db.Workspaces(t.Context(), workspace.Query{Window: workspace.Window{First: 5}})
			if workspace.CodeOf(err) != workspace.QuotaExceeded || listErr != nil || p.Total != 2 {
				t.Errorf("got %v; %d workspaces, %v", err, p.Total, listErr)
			}
		})
		t.Run("a subnet is given back with its workspace", func(t *testing.T) {
			if _, err := db.Update(t.Context(), first.Workspace.ID, func(d *workspace.Draft) error { d.Removed = true; return nil }); err != nil {
				t.Fatal(err)
			}
			again, err := create(t.Context(), db, "ann", "d", small)
			if err != nil || again.Workspace.Subnet != first.Workspace.Subnet {
				t.Errorf("got %s (%v), want %s", again.Workspace.Subnet, err, first.Workspace.Subnet)
			}
		})
		t.Run("a subnet that is in use elsewhere is left alone for a while", func(t *testing.T) {
			made := add(t, db, "ann", "moves")
			moved, err := db.MoveSubnet(t.Context(), made.Workspace.ID, pool, nil, time.Hour)
			next := add(t, db, "ann", "next")
			if err != nil || moved.Workspace.Subnet == made.Workspace.Subnet || next.Workspace.Subnet == made.Workspace.Subnet {
				t.Errorf("%s moved to %s (%v), and the next has %s", made.Workspace.Subnet, moved.Workspace.Subnet, err, next.Workspace.Subnet)
			}
		})
		t.Run("a move avoids all that is taken, and leaves other workspaces what they have", func(t *testing.T) {
			made := add(t, db, "ann", "crowded")
			taken := []netip.Prefix{netip.MustParsePrefix("10.213.0.0/24"), netip.MustParsePrefix("10.213.1.0/29"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/64")}
			moved, err := db.MoveSubnet(t.Context(), made.Workspace.ID, pool, taken, time.Hour)
			if err != nil || moved.Workspace.Subnet != "10.213.1.16/28" {
				t.Errorf("moved to %s (%v), want the first beyond what is taken", moved.Workspace.Subnet, err)
			}
			p, err := db.Workspaces(t.Context(), workspace.Query{NameContains: "next", Window: workspace.Window{First: 1}})
			if err != nil || p.Items[0].Subnet == "" {
				t.Errorf("got %+v, %v", p.Items, err)
			}
			_, err = db.MoveSubnet(t.Context(), made.Workspace.ID, pool, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, -time.Hour)
			if err != nil { // blocked until an hour ago: given back at once
				t.Error(err)
			}
		})
		t.Run("sixty creations at once have sixty subnets", func(t *testing.T) {
			subnets := make([]string, 60)
			var creators sync.WaitGroup
			for i := range subnets {
				creators.Go(func() {
					ch, err := create(t.Context(), db, "crowd", fmt.Sprint("w", i), pool)
					if err != nil {
						t.Error(err)
					}
					subnets[i] = ch.Workspace.Subnet
				})
			}
			creators.Wait()
			slices.Sort(subnets)
			if n := len(slices.Compact(subnets)); n != 60 {
				t.Errorf("got %d subnets", n)
			}
		})
	})
}

// TestLostSubnets loses a row as a client does that does not heed foreign keys.
func TestLostSubnets(t *testing.T) {
	without := map[store.Dialect][2]string{
		store.SQLite:   {"PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"},
		store.Postgres: {"ALTER TABLE workspaces DISABLE TRIGGER ALL", "ALTER TABLE workspaces ENABLE TRIGGER ALL"},
	}
	for dialect, statements := range without {
		t.Run(string(dialect), func(t *testing.T) {
			db, _ := storetest.Open(t, dialect)
			kept, lost := add(t, db, "ann", "kept").Workspace, add(t, db, "ann", "lost").Workspace
			found := func() string {
				t.Helper()
				all, err := db.LostSubnets(t.Context(), 10)
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprint(all)
			}
			if got := found(); got != "map[]" {
				t.Errorf("got %s before anything is lost", got)
			}
			for _, statement := range []string{statements[0], "DELETE FROM workspaces WHERE id = '" + lost.ID + "'", statements[1]} {
				if err := db.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := found(), fmt.Sprint(map[string]string{lost.ID: lost.Subnet}); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			for _, id := range []string{kept.ID, lost.ID} { // that of one that has its row is not given back
				if err := db.ReleaseSubnet(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
			still, err := db.Workspace(t.Context(), kept.ID)
			if next := add(t, db, "ann", "next").Workspace; found() != "map[]" || err != nil || still.Subnet != kept.Subnet || next.Subnet != lost.Subnet {
				t.Errorf("%s is left; %s is kept (%v), and the next has %s", found(), still.Subnet, err, next.Subnet)
			}
		})
	}
}

func TestPages(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		for i := range 7 {
			add(t, db, "ann", fmt.Sprintf("w%d", i))
		}
		add(t, db, "bob", "w9_100%")
		add(t, db, "eva", "Ärger")
		list := func(t *testing.T, q workspace.Query) (names []string, p workspace.Page[workspace.Workspace]) {
			t.Helper()
			p, err := db.Workspaces(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range p.Items {
				names = append(names, w.Name)
			}
			return names, p
		}
		for _, by := range []workspace.OrderField{workspace.ByCreatedAt, workspace.ByName, workspace.ByUpdatedAt} {
			t.Run("forward and backward pages by "+string(by)+" meet", func(t *testing.T) {
				q := workspace.Query{OwnerID: "ann", OrderBy: by, Window: workspace.Window{First: 3}}
				got, p := list(t, q)
				q.After = p.Cursors[2]
				got2, p2 := list(t, q)
				if fmt.Sprint(got, got2) != "[w0 w1 w2] [w3 w4 w5]" || !p2.HasNext || !p2.HasPrevious || p2.Total != 7 {
					t.Errorf("got %v %v %+v", got, got2, p2)
				}
				q.Window = workspace.Window{Last: 2, Before: p2.Cursors[0]}
				got3, p3 := list(t, q)
				if fmt.Sprint(got3) != "[w1 w2]" || !p3.HasPrevious || !p3.HasNext {
					t.Errorf("got %v %+v", got3, p3)
				}
				q.Window, q.Descending = workspace.Window{First: 2}, true
				if got, _ := list(t, q); fmt.Sprint(got) != "[w6 w5]" {
					t.Errorf("got %v", got)
				}
			})
		}
		t.Run("all filters must hold, and wildcards mean themselves", func(t *testing.T) {
			for want, q := range map[string]workspace.Query{
				"[w3]":      {OwnerID: "ann", Labels: []workspace.Label{{Key: "team", Value: "w3"}}},
				"[w9_100%]": {NameContains: "_100%"},
				"[]":        {NameContains: "w_1"},
				"[w0]":      {NameContains: "W0", Status: []workspace.Status{workspace.Pending}},
				"[Ärger]":   {NameContains: "äRG"},
				"[ ]":       {IDs: []string{}},
			} {
				q.First = 10
				if got, _ := list(t, q); fmt.Sprint(got) != want && (want != "[ ]" || len(got) != 0) {
					t.Errorf("%+v: got %v, want %s", q, got, want)
				}
			}
		})
		t.Run("a cursor that is not ours names its argument", func(t *testing.T) {
			_, err := db.Workspaces(t.Context(), workspace.Query{Window: workspace.Window{First: 1, After: "x!"}})
			var e *workspace.Error
			if !errors.As(err, &e) || e.Code != workspace.BadUserInput || fmt.Sprint(e.Field) != "[after]" {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestQueue(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		t.Run("one workspace runs one task at a time, the oldest first", func(t *testing.T) {
			made := add(t, db, "ann", "q1")
			if _, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
				d.Enqueue(task.Stop, "ann", task.Params{})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			got := claim(t, db, 10)
			if len(got) != 1 || got[0].Type != task.Create || got[0].Attempt != 1 || got[0].Status != task.Running || got[0].StartedAt == nil {
				t.Fatalf("got %+v", got)
			}
			if more := claim(t, db, 10); len(more) != 0 {
				t.Fatalf("got %+v while one runs", more)
			}
			finish(t, db, got[0], task.Outcome{Status: task.Succeeded})
			got = claim(t, db, 10)
			if len(got) != 1 || got[0].Type != task.Stop {
				t.Fatalf("got %+v", got)
			}
			finish(t, db, got[0], task.Outcome{Status: task.Succeeded})
		})
		t.Run("a claim takes no more than asked for, and not what is not due", func(t *testing.T) {
			add(t, db, "ann", "q2")
			add(t, db, "ann", "q3")
			first := claim(t, db, 1)
			if len(first) != 1 {
				t.Fatalf("got %d", len(first))
			}
			finish(t, db, first[0], task.Outcome{Status: task.Retrying, After: time.Hour, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
			rest := claim(t, db, 5)
			if len(rest) != 1 || rest[0].WorkspaceID == first[0].WorkspaceID {
				t.Fatalf("got %+v", rest)
			}
			finish(t, db, rest[0], task.Outcome{Status: task.Succeeded})
		})
		t.Run("two pools never claim the same task", func(t *testing.T) {
			for i := range 40 {
				add(t, db, "many", fmt.Sprint("m", i))
			}
			var mu sync.Mutex
			seen := map[string]int{}
			var pools sync.WaitGroup
			for range 4 {
				pools.Go(func() {
					for {
						got, err := db.Claim(t.Context(), "pool", task.Slots{Free: 3}, lease)
						if err != nil {
							t.Error(err)
						}
						if len(got) == 0 {
							return
						}
						mu.Lock()
						for _, c := range got {
							seen[c.ID]++
						}
						mu.Unlock()
					}
				})
			}
			pools.Wait()
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s was claimed %d times", id, n)
				}
			}
			if left := claim(t, db, 100); len(seen)+len(left) != 40 {
				t.Errorf("%d were claimed, and %d left", len(seen), len(left))
			}
		})
	})
}

func TestLeases(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		made := add(t, db, "ann", "l1")
		got, err := db.Claim(t.Context(), "first", task.Slots{Free: 1}, -time.Second) // ended already
		if err != nil || len(got) != 1 {
			t.Fatalf("%v %v", got, err)
		}
		old, begun := got[0].Lease, got[0].StartedAt
		back := reclaim(t, db)
		if len(back) != 1 || back[0].Status != task.Queued || back[0].Attempt != 0 || back[0].Lease.Holder != "" {
			t.Fatalf("%+v", back)
		}
		got, err = db.Claim(t.Context(), "first", task.Slots{Free: 1}, lease)
		if err != nil || len(got) != 1 || begun == nil || !got[0].StartedAt.Equal(*begun) {
			t.Fatalf("%v %v, begun at %v", got, err, begun)
		}
		t.Run("one that lasts is not given back", func(t *testing.T) {
			if back := reclaim(t, db); len(back) != 0 {
				t.Errorf("%+v", back)
			}
		})
		t.Run("a lease that ended is lost for good, also to the same holder", func(t *testing.T) {
			v, err := db.Extend(t.Context(), []task.Lease{old, got[0].Lease}, lease)
			if err != nil || !slices.Equal(v.Lost, []task.Lease{old}) || len(v.Unwanted)+len(v.Busy)+len(v.Cancelled) != 0 {
				t.Errorf("%+v %v", v, err)
			}
			if _, err := db.Report(t.Context(), old, "late", nil); !errors.Is(err, task.ErrLeaseLost) {
				t.Errorf("got %v", err)
			}
			if _, err := db.Finish(t.Context(), old, task.Outcome{Status: task.Succeeded}); !errors.Is(err, task.ErrLeaseLost) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("the time that a container has to end begins once", func(t *testing.T) {
			now := time.Now()
			db.UseClock(func() time.Time { return now })
			defer db.UseClock(nil)
			left := func(want time.Duration) {
				t.Helper()
				if left, err := db.StopBy(t.Context(), got[0].Lease, 40*time.Second); err != nil || left != want {
					t.Errorf("it has %v, %v, want %v", left, err, want)
				}
			}
			left(40 * time.Second)
			now = now.Add(30 * time.Second)
			left(10 * time.Second)
			now = now.Add(time.Minute) // it runs still, so it was not told
			left(40 * time.Second)
			now = now.Add(-time.Hour) // the clock was set
			left(40 * time.Second)
			if _, err := db.StopBy(t.Context(), old, time.Second); !errors.Is(err, task.ErrLeaseLost) {
				t.Errorf("got %v", err)
			}
			stopBy := func() *time.Time {
				t.Helper()
				tk, err := db.Task(t.Context(), got[0].ID)
				if err != nil {
					t.Fatal(err)
				}
				return tk.StopBy
			}
			if stopBy() == nil {
				t.Error("it was not kept")
			}
		})
		t.Run("so is one of another holder", func(t *testing.T) {
			other := got[0].Lease
			other.Holder = "second"
			v, err := db.Extend(t.Context(), []task.Lease{other}, lease)
			_, reportErr := db.Report(t.Context(), other, "late", nil)
			if err != nil || len(v.Lost) != 1 || !errors.Is(reportErr, task.ErrLeaseLost) {
				t.Errorf("%+v %v, %v", v, err, reportErr)
			}
		})
		t.Run("a task that is to be cancelled is told of", func(t *testing.T) {
			cancelled := add(t, db, "ann", "l2")
			other := claim(t, db, 1)[0]
			if _, err := db.Update(t.Context(), cancelled.Workspace.ID, func(d *workspace.Draft) error { return d.Cancel(other.ID) }); err != nil {
				t.Fatal(err)
			}
			v, err := db.Extend(t.Context(), []task.Lease{got[0].Lease, other.Lease}, lease)
			if err != nil || !slices.Equal(v.Cancelled, []string{other.ID}) || len(v.Lost) != 0 {
				t.Errorf("%+v %v", v, err)
			}
			finish(t, db, other, task.Outcome{Status: task.Succeeded})
			if now, err := db.Task(t.Context(), other.ID); err != nil || now.Status != task.Cancelled {
				t.Errorf("it has ended as %v, %v", now.Status, err)
			}
			for _, undo := range claim(t, db, 1) { // what takes it back
				finish(t, db, undo, task.Outcome{Status: task.Succeeded})
			}
		})
		t.Run("progress is read back", func(t *testing.T) {
			half := 50.0
			now, err := db.Report(t.Context(), got[0].Lease, "pulling", &half)
			if err != nil || now.Step != "pulling" || *now.Progress != half || now.Revision <= got[0].Revision {
				t.Errorf("%+v %v", now, err)
			}
		})
		t.Run("work on a workspace that is being deleted is unwanted", func(t *testing.T) {
			if _, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
				d.Workspace.DesiredState = workspace.WantDeleted
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			v, err := db.Extend(t.Context(), []task.Lease{got[0].Lease}, lease)
			if err != nil || len(v.Unwanted) != 1 || len(v.Lost) != 0 {
				t.Errorf("%+v %v", v, err)
			}
		})
		t.Run("positions count what is due before", func(t *testing.T) {
			a, b := add(t, db, "ann", "p1").Tasks[0], add(t, db, "ann", "p2").Tasks[0]
			positions, err := db.QueuePositions(t.Context(), []string{a.ID, b.ID, got[0].ID})
			depth, depthErr := db.QueueDepth(t.Context())
			if err != nil || depthErr != nil || len(positions) != 2 || positions[a.ID] != 0 || positions[b.ID] != 1 || depth.Queued != 2 || depth.OldestQueued == nil {
				t.Errorf("%v %v; %+v %v", positions, err, depth, depthErr)
			}
		})
	})
}

// reclaim gives back the tasks whose lease has ended, and says which.
func reclaim(t *testing.T, db *store.DB) (back []task.Task) {
	t.Helper()
	changes, err := db.Reclaim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range changes {
		back = append(back, ch.Tasks...)
	}
	return back
}

// TestWhatIsGivenBack holds what becomes of the tasks of a server that was killed, when something was asked for meanwhile.
func TestWhatIsGivenBack(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		ask := func(id string, verb task.Type) {
			t.Helper()
			if _, err := db.Update(t.Context(), id, func(d *workspace.Draft) error {
				d.Ask(workspace.Decide(verb, d.Workspace, d.Live), workspace.Request{Verb: verb, By: "ann", At: d.Now()})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		lost := func(name string) task.Task {
			t.Helper()
			add(t, db, "ann", name)
			got, err := db.Claim(t.Context(), "killed", task.Slots{Free: 1}, -time.Second)
			if err != nil || len(got) != 1 {
				t.Fatalf("%v %v", got, err)
			}
			return got[0]
		}
		t.Run("a creation that a deletion has overtaken does not hold it up", func(t *testing.T) {
			create := lost("a")
			ask(create.WorkspaceID, task.Delete)
			reclaim(t, db)
			if now, err := db.Task(t.Context(), create.ID); err != nil || now.Status != task.Superseded {
				t.Errorf("the creation is %s, %v", now.Status, err)
			}
			quick, err := db.Claim(t.Context(), "alive", task.Slots{Free: 4}, lease)
			if err != nil || len(quick) != 1 || quick[0].Type != task.Delete {
				t.Fatalf("got %v, %v", quick, err)
			}
			finish(t, db, quick[0], task.Outcome{Status: task.Succeeded})
		})
		t.Run("one that was cancelled is taken back", func(t *testing.T) {
			create := lost("b")
			if _, err := db.Update(t.Context(), create.WorkspaceID, func(d *workspace.Draft) error { return d.Cancel(create.ID) }); err != nil {
				t.Fatal(err)
			}
			reclaim(t, db)
			quick, err := db.Claim(t.Context(), "alive", task.Slots{Free: 4}, lease)
			if err != nil || len(quick) != 1 || !quick[0].Params.Undo {
				t.Fatalf("got %v, %v", quick, err)
			}
			finish(t, db, quick[0], task.Outcome{Status: task.Succeeded})
		})
		t.Run("what takes its server down each time is not run for ever", func(t *testing.T) {
			create := lost("c")
			runs := 1
			for ; ; runs++ {
				if back := reclaim(t, db); len(back) != 1 {
					t.Fatalf("%+v", back)
				}
				if got, err := db.Claim(t.Context(), "killed", task.Slots{Free: 1}, -time.Second); err != nil || len(got) == 0 || runs > 100 {
					break
				}
			}
			now, err := db.Task(t.Context(), create.ID)
			if err != nil || now.Status != task.Failed || now.Failure.Code != string(workspace.Internal) || runs != 20 {
				t.Errorf("after %d runs it is %+v, %v", runs, now, err)
			}
		})
	})
}

// TestARowThatIsHeld has another server stand still in a transaction that holds a workspace and its task.
func TestARowThatIsHeld(t *testing.T) {
	db, dsn := storetest.Open(t, store.Postgres)
	held, free := add(t, db, "ann", "held"), add(t, db, "ann", "free")
	got, err := db.Claim(t.Context(), "pool", task.Slots{Free: 2}, -time.Second)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v %v", got, err)
	}
	leases := []task.Lease{got[0].Lease, got[1].Lease}
	tx := elsewhere(t, dsn, "SELECT FROM workspaces w JOIN tasks t ON t.workspace_id = w.id WHERE w.id = $1 FOR UPDATE", held.Workspace.ID)
	t.Run("nobody else waits for it", func(t *testing.T) {
		v, err := db.Extend(t.Context(), leases, -time.Second)
		if err != nil || len(v.Busy) != 1 || v.Busy[0].WorkspaceID != held.Workspace.ID || len(v.Lost) != 0 {
			t.Errorf("%+v %v", v, err)
		}
		if back := reclaim(t, db); len(back) != 1 || back[0].WorkspaceID != free.Workspace.ID {
			t.Errorf("given back: %+v", back)
		}
	})
	t.Run("it is let go of before the leases of others end", func(t *testing.T) {
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if back := reclaim(t, db); len(back) != 1 || back[0].WorkspaceID != held.Workspace.ID {
			t.Errorf("given back: %+v", back)
		}
		for address, want := range map[string]string{dsn: "3s", dsn + "&idle_in_transaction_session_timeout=7s": "7s"} {
			named, err := store.Open(store.Postgres, address)
			if err != nil {
				t.Fatal(err)
			}
			if most, err := named.IdleInTransaction(t.Context()); err != nil || most != want {
				t.Errorf("PostgreSQL waits %s, %v, want %s", most, err, want)
			}
			if err := named.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// elsewhere runs a statement in a transaction of another connection to PostgreSQL, and leaves that open.
func elsewhere(t *testing.T, dsn, statement string, args ...any) *sql.Tx {
	t.Helper()
	other, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
	return tx
}

// TestWhatWasAnsweredIsOnTheDisk holds that SQLite waits for it; PostgreSQL does unless it is told otherwise.
func TestWhatWasAnsweredIsOnTheDisk(t *testing.T) {
	db, err := store.Open(store.SQLite, filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const full = 2
	if level, err := db.Synchronous(t.Context()); err != nil || level != full {
		t.Errorf("synchronous is %d, %v", level, err)
	}
}

func TestInstallation(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		ids := make([]string, 8)
		var askers sync.WaitGroup
		for i := range ids {
			askers.Go(func() {
				id, err := db.Installation(t.Context())
				if err != nil {
					t.Error(err)
				}
				ids[i] = id
			})
		}
		askers.Wait()
		if ids = slices.Compact(ids); len(ids) != 1 || ids[0] == "" {
			t.Errorf("got %v", ids)
		}
		if again, err := db.Migrate(t.Context()); err != nil || again != 0 {
			t.Errorf("a second migration took %d steps, %v", again, err)
		}
		if name, err := db.Describe(t.Context()); err != nil || name == "" {
			t.Errorf("%q %v", name, err)
		}
	})
}
