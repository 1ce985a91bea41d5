package store_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestAClaimBeginsAnew(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "w")
		first := claim(t, db, 1)[0]
		half := 50.0
		if _, err := db.Update(t.Context(), first.WorkspaceID, func(d *workspace.Draft) error {
			d.Live[0].Status, d.Live[0].Step, d.Live[0].Progress = task.Queued, "pull", &half
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		again := claim(t, db, 1)[0]
		if again.Step != "" || again.Progress != nil {
			t.Errorf("the step is still %q, and the progress %v", again.Step, again.Progress)
		}
		if again.StartedAt == nil || !again.StartedAt.Equal(*first.StartedAt) {
			t.Errorf("it began at %v and not at %v", again.StartedAt, first.StartedAt)
		}
		if again.Lease.Token != first.Lease.Token+1 {
			t.Errorf("the token is %d after %d", again.Lease.Token, first.Lease.Token)
		}
	})
}

func TestALeaseThatWasLostKeepsNothingAlive(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "w")
		ended := func() task.Task {
			t.Helper()
			got, err := db.Claim(t.Context(), "pool", task.Slots{Free: 1}, -time.Second)
			if err != nil || len(got) != 1 {
				t.Fatalf("%v %v", got, err)
			}
			return got[0]
		}
		old := ended().Lease
		reclaim(t, db)
		other := ended().Lease
		other.Holder = "other"
		v, err := db.Extend(t.Context(), []task.Lease{old, other}, lease)
		if err != nil || !slices.Equal(v.Lost, []task.Lease{old, other}) {
			t.Errorf("%+v %v", v, err)
		}
		if back := reclaim(t, db); len(back) != 1 {
			t.Error("the lease of who has it now was kept by one that was lost")
		}
	})
}

func TestListsOfTasks(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		names := make(map[string]string) // by the id of the workspace
		for _, name := range []string{"w0", "w1", "w2", "w3", "w4"} {
			names[add(t, db, "ann", name).Workspace.ID] = name
		}
		stopped := claim(t, db, 2) // w0 and w1, of which the first then has a stop to do
		finish(t, db, stopped[0], task.Outcome{Status: task.Succeeded})
		enqueue(t, db, stopped[0].WorkspaceID, task.Stop)
		names[add(t, db, "bob", "b").Workspace.ID] = "b"

		list := func(t *testing.T, q workspace.TaskQuery) (got []string, p workspace.Page[task.Task]) {
			t.Helper()
			p, err := db.Tasks(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, tk := range p.Items {
				got = append(got, fmt.Sprint(names[tk.WorkspaceID], " ", tk.Type))
			}
			return got, p
		}
		t.Run("are newest first, and every filter holds", func(t *testing.T) {
			for _, c := range []struct {
				q    workspace.TaskQuery
				want string
			}{
				{workspace.TaskQuery{}, "[b CREATE w0 STOP w4 CREATE w3 CREATE w2 CREATE w1 CREATE w0 CREATE]"},
				{workspace.TaskQuery{OwnerID: "bob"}, "[b CREATE]"},
				{workspace.TaskQuery{WorkspaceID: stopped[0].WorkspaceID}, "[w0 STOP w0 CREATE]"},
				{workspace.TaskQuery{Types: []task.Type{task.Stop, task.Sync}}, "[w0 STOP]"},
				{workspace.TaskQuery{Types: []task.Type{}}, "[]"},
				{workspace.TaskQuery{Status: []task.Status{task.Running, task.Succeeded}}, "[w1 CREATE w0 CREATE]"},
				{workspace.TaskQuery{Status: []task.Status{task.Queued}, OwnerID: "ann", Types: []task.Type{task.Create}}, "[w4 CREATE w3 CREATE w2 CREATE]"},
				{workspace.TaskQuery{Status: []task.Status{}}, "[]"},
				{workspace.TaskQuery{BatchID: "batch_none"}, "[]"},
			} {
				c.q.First = 10
				if got, p := list(t, c.q); fmt.Sprint(got) != c.want || p.Total != len(got) {
					t.Errorf("%+v: got %v of %d, want %s", c.q, got, p.Total, c.want)
				}
			}
		})
		t.Run("have forward and backward pages that meet", func(t *testing.T) {
			q := workspace.TaskQuery{OwnerID: "ann", Window: workspace.Window{First: 2}}
			one, p := list(t, q)
			q.After = p.Cursors[1]
			two, p2 := list(t, q)
			if fmt.Sprint(one, two) != "[w0 STOP w4 CREATE] [w3 CREATE w2 CREATE]" || p.HasPrevious || !p.HasNext || !p2.HasPrevious || !p2.HasNext || p2.Total != 6 {
				t.Fatalf("got %v %v, %+v", one, two, p2)
			}
			q.After = p2.Cursors[1]
			if three, p := list(t, q); fmt.Sprint(three) != "[w1 CREATE w0 CREATE]" || p.HasNext {
				t.Errorf("got %v, %+v", three, p)
			}
			q.Window = workspace.Window{Last: 2, Before: p2.Cursors[1]}
			if back, p := list(t, q); fmt.Sprint(back) != "[w4 CREATE w3 CREATE]" || !p.HasPrevious || !p.HasNext {
				t.Errorf("got %v, %+v", back, p)
			}
			q.Window = workspace.Window{Last: 2}
			if last, p := list(t, q); fmt.Sprint(last) != "[w1 CREATE w0 CREATE]" || !p.HasPrevious || p.HasNext {
				t.Errorf("got %v, %+v", last, p)
			}
			q.Window = workspace.Window{First: 5, After: p.Cursors[1], Before: p2.Cursors[1]}
			if between, _ := list(t, q); fmt.Sprint(between) != "[w3 CREATE]" {
				t.Errorf("got %v", between)
			}
		})
	})
}

func TestWhatEndedFirstIsPrunedFirst(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		for i := range 5 {
			add(t, db, "ann", fmt.Sprint("w", i))
		}
		claimed := claim(t, db, 5)
		slices.Reverse(claimed) // what began last ends first
		for _, c := range claimed {
			finish(t, db, c, task.Outcome{Status: task.Succeeded})
		}
		left := func() (ended []int) {
			t.Helper()
			for i, c := range claimed {
				if _, err := db.Task(t.Context(), c.ID); err == nil {
					ended = append(ended, i)
				} else if workspace.CodeOf(err) != workspace.NotFound {
					t.Fatal(err)
				}
			}
			return ended
		}
		for _, c := range []struct {
			age         time.Duration
			keep, limit int
			want        string
		}{
			{time.Hour, 5, 10, "[0 1 2 3 4]"}, // none is old, or too many
			{time.Hour, 4, 10, "[1 2 3 4]"},
			{time.Hour, 1, 2, "[3 4]"},
			{-time.Hour, 9, 1, "[4]"},
			{time.Hour, 1, 10, "[4]"},
		} {
			if _, err := db.Prune(t.Context(), c.age, c.keep, c.limit); err != nil || fmt.Sprint(left()) != c.want {
				t.Errorf("older than %s, or beyond %d, and at most %d: left %v, %v, want %s", c.age, c.keep, c.limit, left(), err, c.want)
			}
		}
	})
}

func TestAPositionDoesNotCountWhatIsNotDue(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "later")
		later := claim(t, db, 1)[0]
		finish(t, db, later, task.Outcome{Status: task.Retrying, After: time.Hour, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
		now, next := add(t, db, "ann", "now").Tasks[0], add(t, db, "ann", "next").Tasks[0]
		positions, err := db.QueuePositions(t.Context(), []string{later.ID, now.ID, next.ID})
		if err != nil || positions[now.ID] != 0 || positions[next.ID] != 1 {
			t.Errorf("got %v, %v, where %s is due in an hour, %s is first and %s second", positions, err, later.ID, now.ID, next.ID)
		}
	})
}

// TestRowsThatOthersChange orders what two servers do on PostgreSQL by the locks that they wait for.
func TestRowsThatOthersChange(t *testing.T) {
	t.Run("a claim between the read and the write of an outcome is not overwritten", func(t *testing.T) {
		db, dsn := storetest.Open(t, store.Postgres)
		add(t, db, "ann", "w")
		mine := claim(t, db, 1)[0]
		theirs := elsewhere(t, dsn, "UPDATE tasks SET lease_holder = 'theirs', lease_token = lease_token + 1, revision = revision + 2 WHERE id = $1", mine.ID)
		ended := make(chan error, 1)
		go func() {
			_, err := db.Finish(t.Context(), mine.Lease, task.Outcome{Status: task.Succeeded})
			ended <- err
		}()
		untilOneWaits(t, dsn, ended)
		if err := theirs.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Error("the outcome was written")
		}
		now, err := db.Task(t.Context(), mine.ID)
		if err != nil || now.Status != task.Running || now.Lease.Holder != "theirs" || now.Lease.Token != mine.Lease.Token+1 {
			t.Errorf("got %+v, %v", now, err)
		}
		if w, err := db.Workspace(t.Context(), mine.WorkspaceID); err != nil || w.ActiveTaskCount != 1 || w.Version != 1 {
			t.Errorf("got %+v, %v", w, err)
		}
	})
	t.Run("an outcome that comes while the workspace is changed comes after that", func(t *testing.T) {
		db, dsn := storetest.Open(t, store.Postgres)
		add(t, db, "ann", "w")
		mine := claim(t, db, 1)[0]
		ended := make(chan error, 1)
		if _, err := db.Update(t.Context(), mine.WorkspaceID, func(d *workspace.Draft) error {
			go func() {
				_, err := db.Finish(t.Context(), mine.Lease, task.Outcome{Status: task.Failed, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
				ended <- err
			}()
			untilOneWaits(t, dsn, ended)
			d.Workspace.Name = "changed"
			d.Enqueue(task.Stop, "ann", task.Params{})
			return nil
		}); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the outcome is lost: %v", err)
		}
		w, err := db.Workspace(t.Context(), mine.WorkspaceID)
		if err != nil || w.Name != "changed" || w.Failure == nil || w.ActiveTaskCount != 1 || w.Version != 3 {
			t.Errorf("got %+v, %v", w, err)
		}
	})
	t.Run("an outcome keeps what another server has changed meanwhile", func(t *testing.T) {
		db, dsn := storetest.Open(t, store.Postgres)
		made := add(t, db, "ann", "w")
		mine := claim(t, db, 1)[0]
		theirs := elsewhere(t, dsn, "UPDATE workspaces SET pids = 7, version = version + 1 WHERE id = $1", made.Workspace.ID)
		ended := make(chan error, 1)
		go func() {
			_, err := db.Finish(t.Context(), mine.Lease, task.Outcome{Status: task.Succeeded})
			ended <- err
		}()
		untilOneWaits(t, dsn, ended)
		if err := theirs.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the outcome is lost: %v", err)
		}
		w, err := db.Workspace(t.Context(), made.Workspace.ID)
		if err != nil || w.Resources.Pids != 7 || w.ActiveTaskCount != 0 || w.Version != made.Workspace.Version+2 {
			t.Errorf("got %+v, %v", w, err)
		}
	})
}

// untilOneWaits returns once a statement waits for a lock of another, or what was to wait has ended.
func untilOneWaits(t *testing.T, dsn string, ended chan error) {
	t.Helper()
	watch, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = watch.Close() }()
	for n := 0; n == 0 && len(ended) == 0; {
		const waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
		if err := watch.QueryRowContext(t.Context(), waiting).Scan(&n); err != nil {
			t.Error(err)
			return
		}
	}
}
