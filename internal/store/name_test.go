package store_test

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/workspace"
)

// eachLocale runs a test on SQLite, and on PostgreSQL with databases of different locales.
func eachLocale(t *testing.T, test func(t *testing.T, db *store.DB)) {
	for name, options := range map[string][]string{
		"sqlite": nil, "postgres C": {"TEMPLATE template0 LOCALE 'C'"}, "postgres en-US": {"TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"},
		"postgres und, lower first": {"TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'und-u-kf-lower-ka-shifted'"},
	} {
		t.Run(name, func(t *testing.T) {
			if options == nil {
				db, _ := storetest.Open(t, store.SQLite)
				test(t, db)
				return
			}
			db := storetest.OpenAt(t, store.Postgres, storetest.CreateDatabase(t, options...))
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, db)
		})
	}
}

func TestNamesHaveOneOrder(t *testing.T) {
	want := []string{"_x", "a b", "a-b", "a/b", "ab", "alpha", "Beta", "Zeta", "\u00c4rger", "\u65e5\u672c"}
	eachLocale(t, func(t *testing.T, db *store.DB) {
		for _, i := range rand.Perm(len(want)) {
			add(t, db, "ann", want[i])
		}
		for _, descending := range []bool{false, true} {
			p, err := db.Workspaces(t.Context(), workspace.Query{OrderBy: workspace.ByName, Descending: descending, Window: workspace.Window{First: 50}})
			if err != nil {
				t.Fatal(err)
			}
			got := namesOf(p)
			if descending {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("descending %t: got %q, want %q", descending, got, want)
			}
		}
	})
}

func namesOf(p workspace.Page[workspace.Workspace]) (names []string) {
	for _, w := range p.Items {
		names = append(names, w.Name)
	}
	return names
}

// TestPagesByNameMeet has many names that differ in their case alone.
func TestPagesByNameMeet(t *testing.T) {
	eachLocale(t, func(t *testing.T, db *store.DB) {
		for _, name := range []string{"beta", "Beta", "BETA", "bEta", "a-b", "ab", "A-B", "strasse", "stra\u00dfe", "STRASSE", "z"} {
			add(t, db, "ann", name)
		}
		list := func(w workspace.Window, descending bool) workspace.Page[workspace.Workspace] {
			t.Helper()
			p, err := db.Workspaces(t.Context(), workspace.Query{OwnerID: "ann", OrderBy: workspace.ByName, Descending: descending, Window: w})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		for _, descending := range []bool{false, true} {
			whole := list(workspace.Window{First: 50}, descending)
			for size := 1; size <= 4; size++ {
				var forward, backward []string
				for p := list(workspace.Window{First: size}, descending); ; p = list(workspace.Window{First: size, After: p.Cursors[len(p.Items)-1]}, descending) {
					if forward = append(forward, namesOf(p)...); !p.HasNext {
						break
					}
				}
				for p := list(workspace.Window{Last: size}, descending); ; p = list(workspace.Window{Last: size, Before: p.Cursors[0]}, descending) {
					if backward = append(namesOf(p), backward...); !p.HasPrevious {
						break
					}
				}
				if !slices.Equal(forward, namesOf(whole)) || !slices.Equal(backward, namesOf(whole)) {
					t.Errorf("%d at once, descending %t: forward %q, backward %q, want %q", size, descending, forward, backward, namesOf(whole))
				}
			}
		}
	})
}

// TestACursorWithANulIsRefused has cursors of this list that were tampered with: PostgreSQL takes no U+0000.
func TestACursorWithANulIsRefused(t *testing.T) {
	eachLocale(t, func(t *testing.T, db *store.DB) {
		w := add(t, db, "ann", "alpha")
		q := workspace.Query{OrderBy: workspace.ByName, Window: workspace.Window{First: 1}}
		p, err := db.Workspaces(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		given, err := base64.RawURLEncoding.DecodeString(p.Cursors[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{`alpha`, w.Workspace.ID} {
			bad := strings.Replace(string(given), `"`+text, `"\u0000`+text, 1)
			q.After = base64.RawURLEncoding.EncodeToString([]byte(bad))
			if _, err := db.Workspaces(t.Context(), q); bad == string(given) || workspace.CodeOf(err) != workspace.BadUserInput {
				t.Errorf("%s: %v", bad, err)
			}
		}
	})
}

// TestACursorOfAnotherListIsRefused takes cursors to lists that order by the same values.
func TestACursorOfAnotherListIsRefused(t *testing.T) {
	eachLocale(t, func(t *testing.T, db *store.DB) {
		add(t, db, "ann", "alpha")
		given, err := db.Workspaces(t.Context(), workspace.Query{OwnerID: "ann", Window: workspace.Window{First: 1}})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []workspace.Window{{First: 1, After: given.Cursors[0]}, {Last: 1, Before: given.Cursors[0]}} {
			if _, err := db.Workspaces(t.Context(), workspace.Query{OwnerID: "ann", Window: w}); err != nil {
				t.Errorf("its own list: %v", err)
			}
			for name, list := range map[string]func() error{
				"another order": func() error {
					_, err := db.Workspaces(t.Context(), workspace.Query{OwnerID: "ann", OrderBy: workspace.ByUpdatedAt, Window: w})
					return err
				},
				"another owner": func() error {
					_, err := db.Workspaces(t.Context(), workspace.Query{OwnerID: "bob", Window: w})
					return err
				},
				"tasks": func() error {
					_, err := db.Tasks(t.Context(), workspace.TaskQuery{OwnerID: "ann", Window: w})
					return err
				},
				"batches": func() error {
					_, err := db.Batches(t.Context(), "ann", w)
					return err
				},
				"items": func() error {
					_, err := db.BatchItems(t.Context(), "batch_1", 1, w)
					return err
				},
			} {
				argument := "after"
				if w.Before != "" {
					argument = "before"
				}
				var refused *workspace.Error
				if err := list(); !errors.As(err, &refused) || refused.Code != workspace.BadUserInput || !slices.Equal(refused.Field, []string{argument}) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}

// TestSearchesFoldAsTheKeyDoes holds one rule for searches on both databases.
func TestSearchesFoldAsTheKeyDoes(t *testing.T) {
	eachLocale(t, func(t *testing.T, db *store.DB) {
		for _, name := range []string{"\u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2", "Gro\u00dfe Stra\u00dfe", "\u0130zmir", "Cafe\u0301 100%"} {
			add(t, db, "ann", name)
		}
		for part, want := range map[string]string{
			"\u03a3\u03a3\u0395\u038e\u03a3": "\u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2", "STRASSE": "Gro\u00dfe Stra\u00dfe", "i\u0307ZMIR": "\u0130zmir", "CAF\u00c9": "Cafe\u0301 100%", "\uff11\uff10\uff10\uff05": "Cafe\u0301 100%",
		} {
			p, err := db.Workspaces(t.Context(), workspace.Query{NameContains: part, Window: workspace.Window{First: 10}})
			if err != nil || strings.Join(namesOf(p), "|") != want {
				t.Errorf("%+q: got %+q, %v", part, namesOf(p), err)
			}
		}
	})
}
