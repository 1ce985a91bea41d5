package store_test

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

var errOther = errors.New("the number of rows is another one")

// TestTransactionsHoldHoweverTheyAreSent has both dialects agree on what a transaction is, though one sends its statements together.
func TestTransactionsHoldHoweverTheyAreSent(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		must := func(statement string) {
			t.Helper()
			if err := db.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		must("CREATE TABLE sent (a INTEGER PRIMARY KEY)")
		count := func() (n int) {
			t.Helper()
			if err := db.Transact(t.Context(), func(tx store.Tx) error {
				all, err := tx.Numbers("SELECT COUNT(*) FROM sent")
				n = all[0]
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, c := range []struct {
			what   string
			change func(tx store.Tx) error
			want   error // errAny: some other error
			rows   int   // then
		}{
			{"nothing", func(store.Tx) error { return nil }, nil, 1},
			{"a failure before anything was sent", func(tx store.Tx) error { return errors.Join(tx.Later("INSERT INTO sent VALUES (2)"), errOther) }, errOther, 1},
			{"only writes", func(tx store.Tx) error { return tx.Later("INSERT INTO sent VALUES (2)") }, nil, 2},
			{"a write is seen by a read behind it, and a failure behind that takes it back", func(tx store.Tx) error {
				if err := tx.Later("INSERT INTO sent VALUES (2)"); err != nil {
					return err
				}
				got, err := tx.Numbers("SELECT COUNT(*) FROM sent", "SELECT 7 WHERE 1 = 0", "SELECT MAX(a) FROM sent")
				if want := []int{2, 0, 2}; err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
				return errOther
			}, errOther, 1},
			{"a write that fails takes those before and behind it back", func(tx store.Tx) error {
				for _, s := range []string{"INSERT INTO sent VALUES (2)", "INSERT INTO sent VALUES (1)", "INSERT INTO sent VALUES (3)"} {
					if err := tx.Later(s); err != nil {
						return err
					}
				}
				return nil
			}, errAny, 1},
			{"a write that fails is told by the read behind it", func(tx store.Tx) error {
				if err := tx.Later("INSERT INTO sent VALUES (1)"); err != nil {
					return err
				}
				_, err := tx.Numbers("SELECT COUNT(*) FROM sent")
				if err == nil {
					t.Error("it was not told")
				}
				return err
			}, errAny, 1},
			{"as many rows as there must be", func(tx store.Tx) error {
				return tx.Exactly(1, errOther, "UPDATE sent SET a = 5 WHERE a = 1")
			}, nil, 1},
			{"fewer rows than there must be", func(tx store.Tx) error {
				return errors.Join(tx.Later("INSERT INTO sent VALUES (2)"), tx.Exactly(1, errOther, "UPDATE sent SET a = 6 WHERE a = 9"), tx.Later("INSERT INTO sent VALUES (3)"))
			}, errOther, 1},
			{"a division by zero of its own is not taken for it", func(tx store.Tx) error {
				return errors.Join(tx.Exactly(1, errOther, "UPDATE sent SET a = 5 WHERE a = 1"), tx.Later("INSERT INTO nowhere VALUES (1 / 0)"))
			}, errAny, 1},
		} {
			must("DELETE FROM sent")
			must("INSERT INTO sent VALUES (1)")
			err := db.Transact(t.Context(), c.change)
			told := errors.Is(err, c.want)
			if errors.Is(c.want, errAny) {
				told = err != nil && !errors.Is(err, errOther)
			}
			if !told || errors.Is(err, store.ErrUncommitted) {
				t.Errorf("%s: got %v, want %v", c.what, err, c.want)
			}
			if got := count(); got != c.rows {
				t.Errorf("%s: there are %d rows then, want %d", c.what, got, c.rows)
			}
		}
	})
}

var errAny = errors.New("any")

// TestACommitThatIsRefusedIsNotUncertain: PostgreSQL has said that nothing of it is there.
func TestACommitThatIsRefusedIsNotUncertain(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	must := func(statement string) {
		t.Helper()
		if err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	must("CREATE TABLE sent (a INTEGER)")
	must("CREATE FUNCTION full() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$")
	must("CREATE CONSTRAINT TRIGGER full_at_commit AFTER INSERT ON sent DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION full()")
	err := store.Wrap("write", db.Transact(t.Context(), func(tx store.Tx) error { return tx.Later("INSERT INTO sent VALUES (1)") }))
	if !errors.Is(err, workspace.ErrDatabaseUnavailable) || errors.Is(err, workspace.ErrDatabaseUncertain) {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsBeingCommittedIsNotCut: whoever asked may go away, and what was committed is known all the same.
func TestWhatIsBeingCommittedIsNotCut(t *testing.T) {
	db, dsn := storetest.Open(t, store.Postgres)
	other := storetest.OpenAt(t, store.Postgres, dsn)
	if err := db.Exec(t.Context(), "CREATE TABLE sent (a INTEGER)"); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	committed := make(chan error)
	go func() {
		committed <- db.Transact(ctx, func(tx store.Tx) error {
			return errors.Join(tx.Later("INSERT INTO sent VALUES (1)"), tx.Later("SELECT pg_sleep(0.5)"))
		})
	}()
	number := func(query string) (n int) {
		t.Helper()
		if err := other.Transact(t.Context(), func(tx store.Tx) error {
			all, err := tx.Numbers(query)
			n = all[0]
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for number("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'SELECT pg_sleep%'") == 0 {
		runtime.Gosched()
	}
	leave()
	if err := <-committed; err != nil {
		t.Error(err)
	}
	if n := number("SELECT COUNT(*) FROM sent"); n != 1 {
		t.Errorf("there are %d rows", n)
	}
}

// TestWhatIsNotCommittedIsNotGivenBack: a change that PostgreSQL has refused in the end is none, and nobody is told of it.
func TestWhatIsNotCommittedIsNotGivenBack(t *testing.T) {
	db, _ := storetest.Open(t, store.Postgres)
	add(t, db, "ann", "one")
	if got, err := db.Claim(t.Context(), "killed", task.Slots{Free: 1}, -time.Second); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	for _, statement := range []string{
		"CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
		"CREATE CONSTRAINT TRIGGER refuse_at_commit AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
	} {
		if err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if changes, err := db.Reclaim(t.Context()); err == nil || len(changes) > 0 {
		t.Errorf("got %d changes , %v", len(changes), err)
	}
}
