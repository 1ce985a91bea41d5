package store_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// served claims one task after another, as fast as they come, and says whose they were.
func served(t *testing.T, db *store.DB, n int) (owners []string) {
	t.Helper()
	for range n {
		for _, c := range claim(t, db, 1) {
			owners = append(owners, c.OwnerID)
			finish(t, db, c, task.Outcome{Status: task.Succeeded})
		}
	}
	return owners
}

func enqueue(t *testing.T, db *store.DB, id string, typ task.Type) {
	t.Helper()
	if _, err := db.Update(t.Context(), id, func(d *workspace.Draft) error {
		d.Enqueue(typ, d.Workspace.OwnerID, task.Params{})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestOwnersTakeTurns(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		t.Run("one owner's many do not hold up another's few", func(t *testing.T) {
			for i := range 10 {
				add(t, db, "many", fmt.Sprint("m", i))
			}
			for i := range 2 {
				add(t, db, "few", fmt.Sprint("f", i))
			}
			if got := served(t, db, 4); !slices.Equal(got, []string{"many", "few", "many", "few"}) {
				t.Errorf("got %v", got)
			}
		})
		t.Run("who comes late begins with the turn that is served now, not with the first", func(t *testing.T) {
			add(t, db, "late", "l0")
			for i := range 5 {
				add(t, db, "late", fmt.Sprint("l", i+1))
			}
			if got := served(t, db, 6); !slices.Equal(got, []string{"many", "late", "many", "late", "many", "late"}) {
				t.Errorf("got %v", got)
			}
			served(t, db, 20)
		})
		t.Run("the turn that is served now is not that of what waits for a retry", func(t *testing.T) {
			for i := range 3 {
				add(t, db, "slow", fmt.Sprint("s", i))
			}
			old := claim(t, db, 1)[0]
			finish(t, db, old, task.Outcome{Status: task.Retrying, After: time.Hour, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
			for i := range 3 {
				add(t, db, "new", fmt.Sprint("n", i))
			}
			if got := served(t, db, 4); !slices.Equal(got, []string{"slow", "new", "slow", "new"}) {
				t.Errorf("got %v", got)
			}
			served(t, db, 5)
		})
		t.Run("an owner's many that are tried again do not hold up another's few", func(t *testing.T) {
			for i := range 6 {
				add(t, db, "many", fmt.Sprint("again", i))
			}
			for _, c := range claim(t, db, 5) {
				finish(t, db, c, task.Outcome{Status: task.Retrying, After: -time.Second, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
			}
			add(t, db, "few", "once")
			if got := served(t, db, 7); !slices.Contains(got[:2], "few") {
				t.Errorf("served %v", got)
			}
		})
		t.Run("one that is tried again comes after what else its owner has, and after the turn that was served", func(t *testing.T) {
			add(t, db, "many", "fails")
			add(t, db, "many", "waits")
			failed := claim(t, db, 1)[0]
			add(t, db, "few", "meanwhile")
			finish(t, db, failed, task.Outcome{Status: task.Retrying, After: -time.Second, Failure: &task.Failure{Code: "TIMEOUT", Message: "slow"}})
			if got := served(t, db, 2); !slices.Equal(got, []string{"few", "many"}) {
				t.Errorf("served %v", got)
			}
			if last := claim(t, db, 1); len(last) != 1 || last[0].ID != failed.ID {
				t.Errorf("got %+v last, want %s", last, failed.ID)
			} else {
				finish(t, db, last[0], task.Outcome{Status: task.Succeeded})
			}
		})
		t.Run("one that is given back keeps its turn", func(t *testing.T) {
			add(t, db, "ann", "r0")
			add(t, db, "ann", "r1")
			first := claim(t, db, 1)[0]
			finish(t, db, first, task.Outcome{Status: task.Queued, Unburned: true})
			again := claim(t, db, 1)[0]
			if again.ID != first.ID {
				t.Errorf("got %s, want %s", again.ID, first.ID)
			}
			finish(t, db, again, task.Outcome{Status: task.Succeeded})
			served(t, db, 5)
		})
	})
}

func TestAnOwnersQueueIsBounded(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		made := add(t, db, "ann", "w")
		fill := func(n int, typ task.Type) error {
			_, err := db.Update(t.Context(), made.Workspace.ID, func(d *workspace.Draft) error {
				for range n {
					d.Enqueue(typ, "ann", task.Params{})
				}
				return nil
			})
			return err
		}
		if err := fill(1998, task.Sync); err != nil { // and the CREATE
			t.Fatal(err)
		}
		if err := fill(2, task.Sync); workspace.CodeOf(err) != workspace.QuotaExceeded {
			t.Errorf("two at once, where there is room for one: got %v", err)
		}
		if err := fill(1, task.Sync); err != nil {
			t.Errorf("where there is room for one: got %v", err)
		}
		if err := fill(1, task.Sync); workspace.CodeOf(err) != workspace.QuotaExceeded {
			t.Errorf("got %v", err)
		}
		if err := fill(1, task.Delete); err != nil {
			t.Errorf("a deletion was refused: %v", err)
		}
		if _, err := create(t.Context(), db, "bob", "w", pool); err != nil {
			t.Errorf("somebody else was refused: %v", err)
		}
		p, err := db.Tasks(t.Context(), workspace.TaskQuery{OwnerID: "ann", Window: workspace.Window{First: 1}})
		if err != nil || p.Total != 2001 {
			t.Errorf("there are %d, %v", p.Total, err)
		}
	})
}

func TestPrune(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		for i := range 6 {
			add(t, db, "ann", fmt.Sprint("w", i))
		}
		served(t, db, 5) // five have ended, one lives
		prune := func(age time.Duration, keep, limit, want, left int) {
			t.Helper()
			n, err := db.Prune(t.Context(), age, keep, limit)
			p, listErr := db.Tasks(t.Context(), workspace.TaskQuery{Window: workspace.Window{First: 10}})
			if err != nil || listErr != nil || n != want || p.Total != left {
				t.Errorf("pruned %d (%v), left %d (%v), want %d and %d", n, err, p.Total, listErr, want, left)
			}
		}
		hourAgo, soon := time.Hour, -time.Hour
		prune(hourAgo, 10, 10, 0, 6)
		prune(hourAgo, 5, 10, 0, 6)
		prune(hourAgo, 3, 10, 2, 4)
		prune(soon, 10, 1, 1, 3)
		prune(soon, 10, 10, 2, 1)
		p, err := db.Tasks(t.Context(), workspace.TaskQuery{Window: workspace.Window{First: 10}})
		if err != nil || !p.Items[0].Status.Live() {
			t.Errorf("got %+v, %v: what lives stays", p.Items, err)
		}
	})
}

// TestWhoHasTheFewestBusyIsNext holds that turns count what runs: a worker that is free goes to the owner who has the fewest busy.
func TestWhoHasTheFewestBusyIsNext(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		owners := func(slots task.Slots) (owners []string) {
			t.Helper()
			claimed, err := db.Claim(t.Context(), "pool", slots, lease)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range claimed {
				owners = append(owners, c.OwnerID)
				finish(t, db, c, task.Outcome{Status: task.Queued, Unburned: true})
			}
			slices.Sort(owners)
			return owners
		}
		for i := range 9 {
			add(t, db, "ann", fmt.Sprint("a", i))
		}
		if got := owners(task.Slots{Free: 8}); len(got) != 8 {
			t.Errorf("got %v: a lone owner has all", got)
		}
		if got := owners(task.Slots{Free: 4, Busy: map[string]int{"ann": 4}}); len(got) != 4 {
			t.Errorf("got %v: a lone owner has all", got)
		}
		for i := range 4 {
			add(t, db, "bob", fmt.Sprint("b", i))
		}
		add(t, db, "eve", "e")
		for _, c := range []struct {
			slots task.Slots
			want  []string
		}{
			{task.Slots{Free: 1, Busy: map[string]int{"ann": 7}}, []string{"bob"}},
			{task.Slots{Free: 2, Busy: map[string]int{"ann": 6}}, []string{"bob", "eve"}},
			{task.Slots{Free: 3, Busy: map[string]int{"ann": 5}}, []string{"bob", "bob", "eve"}},
			{task.Slots{Free: 2, Busy: map[string]int{"ann": 3, "bob": 2, "eve": 1}}, []string{"bob", "eve"}},
			{task.Slots{Free: 4, Busy: map[string]int{"ann": 2, "bob": 2, "eve": 1}}, []string{"ann", "ann", "bob", "eve"}},
			{task.Slots{Free: 7, Busy: map[string]int{"joe": 1}}, []string{"ann", "ann", "ann", "bob", "bob", "bob", "eve"}},
			{task.Slots{Free: 20, Busy: map[string]int{"ann": 7, "eve": 2}}, slices.Concat(slices.Repeat([]string{"ann"}, 9), slices.Repeat([]string{"bob"}, 4), []string{"eve"})},
		} {
			if got := owners(c.slots); !slices.Equal(got, c.want) {
				t.Errorf("of %+v: got %v, want %v", c.slots, got, c.want)
			}
		}
	})
}

// TestWhatEndsDoesNotWaitForWhatIsMade holds that an owner's stop goes before the owner's own many creations.
func TestWhatEndsDoesNotWaitForWhatIsMade(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		made := add(t, db, "ann", "w")
		finish(t, db, claim(t, db, 1)[0], task.Outcome{Status: task.Succeeded})
		for i := range 5 {
			add(t, db, "ann", fmt.Sprint("many", i))
		}
		served(t, db, 2)
		for _, typ := range []task.Type{task.Stop, task.Start} {
			enqueue(t, db, made.Workspace.ID, typ)
		}
		live, err := db.LiveTasks(t.Context(), []string{made.Workspace.ID})
		if err != nil {
			t.Fatal(err)
		}
		stop, start := live[made.Workspace.ID][0], live[made.Workspace.ID][1]
		positions, err := db.QueuePositions(t.Context(), []string{stop.ID, start.ID})
		if err != nil || positions[stop.ID] > 1 || positions[start.ID] != 4 { // one creation may have the turn that is served now
			t.Errorf("got %v, %v: before the start are three creations and the stop", positions, err)
		}
	})
}

// TestPositions compares what many are told at once with the order in which they are claimed.
func TestPositions(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		var creations []string
		for i := range 12 {
			creations = append(creations, add(t, db, []string{"ann", "bob", "eve"}[i%3], fmt.Sprint("w", i)).Tasks[0].ID)
		}
		positions, err := db.QueuePositions(t.Context(), append(creations, "task_none"))
		if err != nil || len(positions) != len(creations) {
			t.Fatalf("got %v, %v", positions, err)
		}
		behind := add(t, db, "ann", "last")
		enqueue(t, db, behind.Workspace.ID, task.Stop)
		live, err := db.LiveTasks(t.Context(), []string{behind.Workspace.ID})
		if err != nil {
			t.Fatal(err)
		}
		mine := live[behind.Workspace.ID]
		after, err := db.QueuePositions(t.Context(), []string{mine[1].ID})
		both, bothErr := db.QueuePositions(t.Context(), []string{mine[0].ID, mine[1].ID})
		if err != nil || bothErr != nil || both[mine[0].ID] != 12 || both[mine[1].ID] != 13 || after[mine[1].ID] != 13 {
			t.Errorf("a stop behind a creation: %v, both %v, %v, %v", after, both, err, bothErr)
		}
		for i := range creations {
			c := claim(t, db, 1)[0]
			if positions[c.ID] != i {
				t.Errorf("%s stood at %d and was claimed as number %d", c.ID, positions[c.ID], i)
			}
			finish(t, db, c, task.Outcome{Status: task.Succeeded})
		}
	})
}

func TestATurnIsFoundWithoutReadingAllThatWait(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres) // that nobody has analysed
	const waiting = 100
	w := add(t, db, "ann", "w").Workspace.ID
	for range waiting {
		enqueue(t, db, w, task.Sync)
	}
	plan, err := db.ExplainTurn(t.Context(), task.Sync.Lane(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	read := regexp.MustCompile(`actual .*rows=(\d+)`)
	steps := 0
	for _, line := range plan {
		if m := read.FindStringSubmatch(line); m != nil {
			steps++
			if n, _ := strconv.Atoi(m[1]); n > 2 {
				t.Errorf("reads %d rows: %s", n, line)
			}
		}
	}
	if steps == 0 {
		t.Errorf("no plan: %q", plan)
	}
}
