package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func createAt(ctx context.Context, db *store.DB, owner, path string) (workspace.Workspace, error) {
	id := workspace.NewID(workspace.WorkspacePrefix)
	w := workspace.Workspace{ID: id, OwnerID: owner, Spec: workspace.Spec{Name: id, ProjectPath: path, Image: "alpine"}, DesiredState: workspace.WantRunning}
	ch, err := db.Create(ctx, w, pool, func(d *workspace.Draft) { d.Enqueue(task.Create, owner, task.Params{}) })
	return ch.Workspace, err
}

func TestNoProjectComesToLieWithinAnother(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		first := map[string]workspace.Workspace{}
		for _, path := range []string{"team", "lab/one/two", "Stra\u00dfe/x", "a%b", "_"} {
			w, err := createAt(t.Context(), db, "ann", path)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			first[path] = w
		}
		for path, other := range map[string]string{
			"team/sub": "team", "team/sub/deep": "team", "TEAM/sub": "team", "\uff34eam/sub": "team",
			"lab": "lab/one/two", "lab/one": "lab/one/two", "LAB": "lab/one/two", "lab/one/two/three": "lab/one/two",
			"STRASSE": "Stra\u00dfe/x", "a%b/c": "a%b",
		} {
			_, err := createAt(t.Context(), db, "ann", path)
			refused, ok := errors.AsType[*workspace.Error](err)
			if !ok || refused.Code != workspace.Conflict || strings.Join(refused.Field, ".") != "input.projectPath" || !strings.Contains(refused.Message, first[other].Name) {
				t.Errorf("%s: %v, want a conflict with %s", path, err, first[other].Name)
			}
		}
		for _, c := range [][2]string{
			{"ann", "team"}, {"ann", "Team"}, {"ann", "teams"}, {"ann", "team-/x"}, {"ann", "lab/one/two"}, {"ann", "lab/one/twofold"}, {"ann", "lab/on"}, {"ann", "axb/c"}, {"ann", "x/y"},
			{"bob", "team/sub"}, {"bob", "lab"},
		} {
			if _, err := createAt(t.Context(), db, c[0], c[1]); err != nil {
				t.Errorf("%s of %s: %v", c[1], c[0], err)
			}
		}
		p, err := db.Tasks(t.Context(), workspace.TaskQuery{OwnerID: "ann", Window: workspace.Window{First: 100}})
		if err != nil || p.Total != len(first)+9 {
			t.Errorf("there are %d tasks, %v: what was refused has left something", p.Total, err)
		}
	})
}

func TestOfProjectsThatOverlapNoTwoAreMadeAtOnce(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		const pairs, atOnce = 25, 5 // more at once would wait longer for a connection than they may, on a busy machine
		made := make([][4]error, pairs)
		for first := 0; first < pairs; first += atOnce {
			var creations sync.WaitGroup
			for i := first; i < first+atOnce; i++ {
				for n, path := range []string{"r%d", "r%d/sub", "R%d/sub/deep", "r%d"} {
					creations.Go(func() { _, made[i][n] = createAt(t.Context(), db, "ann", fmt.Sprintf(path, i)) })
				}
			}
			creations.Wait()
		}
		for i, errs := range made {
			outer, sub, deep := errs[0] == nil || errs[3] == nil, errs[1] == nil, errs[2] == nil
			if outer && (sub || deep) || sub && deep || !outer && !sub && !deep {
				t.Errorf("%d: the outer one %t, the inner one %t, the innermost %t", i, outer, sub, deep)
			}
			for _, err := range errs {
				if err != nil && workspace.CodeOf(err) != workspace.Conflict {
					t.Error(err)
				}
			}
		}
	})
}

func TestEnclosing(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		outer, err := createAt(t.Context(), db, "ann", "team")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ owner, path, want string }{
			{"ann", "team/sub", outer.Name}, {"ann", "Team/sub/deep", outer.Name},
			{"ann", "team", ""}, {"ann", "teams/x", ""}, {"ann", "other/team", ""}, {"bob", "team/sub", ""},
		} {
			w := workspace.Workspace{ID: "ws_x", OwnerID: c.owner, Spec: workspace.Spec{ProjectPath: c.path}}
			if got, err := db.Enclosing(t.Context(), w); err != nil || got != c.want {
				t.Errorf("%s of %s: got %q, %v, want %q", c.path, c.owner, got, err, c.want)
			}
		}
	})
}

func TestSharesProject(t *testing.T) {
	storetest.EachDialect(t, func(t *testing.T, db *store.DB) {
		first, err := createAt(t.Context(), db, "ann", "team")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			id, owner, path string
			want            bool
		}{
			{"ws_x", "ann", "team", true}, {"ws_x", "ann", "Team", true}, {first.ID, "ann", "team", false}, {"ws_x", "bob", "team", false}, {"ws_x", "ann", "team/sub", false},
		} {
			w := workspace.Workspace{ID: c.id, OwnerID: c.owner, Spec: workspace.Spec{ProjectPath: c.path}}
			if got, err := db.SharesProject(t.Context(), w); err != nil || got != c.want {
				t.Errorf("%+v: got %t, %v", c, got, err)
			}
		}
		if _, err := db.Update(t.Context(), first.ID, func(d *workspace.Draft) error {
			d.Workspace.DesiredState = workspace.WantDeleted
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		other := workspace.Workspace{ID: "ws_x", OwnerID: "ann", Spec: workspace.Spec{ProjectPath: "team"}}
		if got, err := db.SharesProject(t.Context(), other); err != nil || got {
			t.Errorf("got %t, %v: it is being deleted too", got, err)
		}
	})
}
