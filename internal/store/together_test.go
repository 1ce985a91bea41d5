package store_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
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
			if !told {
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
