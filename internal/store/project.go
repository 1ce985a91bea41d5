package store

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/workspace"
)

// checkOverlap refuses a workspace whose project lies within that of another one of its owner, or around it. It is called once the row is inserted, and
// takes the owner's lock, so that of two transactions at once the second one sees the row of the first.
func (db *DB) checkOverlap(tx *gorm.DB, w workspace.Workspace) error {
	if w.ProjectPath == w.ID {
		return nil // a directory of its own, of a name that nobody could know before
	}
	if err := db.lockOwner(tx, w.OwnerID); err != nil {
		return err
	}
	var around, within string
	if err := db.readTogether(tx, db.enclosing(w, &around), enclosed(w, &within)); err != nil {
		return err
	}
	refuse := func(format, other string) error {
		return &workspace.Error{Code: workspace.Conflict, Field: []string{"input", "projectPath"}, Message: fmt.Sprintf(format, other)}
	}
	switch {
	case around != "":
		return refuse("The path lies within the project of your workspace %q, which could then replace what is mounted. Choose a path beside it, or the very same path.", around)
	case within != "":
		return refuse("The project of your workspace %q lies within this path, so that the new one could replace what is mounted there. Choose another path.", within)
	default:
		return nil
	}
}

// Enclosing gives the name of a workspace whose project contains that of w; empty when there is none.
func (db *DB) Enclosing(ctx context.Context, w workspace.Workspace) (name string, err error) {
	err = db.readTogether(db.read.WithContext(ctx), db.enclosing(w, &name))
	return name, wrap("look for a project around another one", err)
}

// SharesProject reports whether another workspace of the same owner, which is not being deleted, has the very project of w.
func (db *DB) SharesProject(ctx context.Context, w workspace.Workspace) (bool, error) {
	var n int
	err := db.read.WithContext(ctx).Raw("SELECT COUNT(*) FROM workspaces WHERE owner_id = ? AND project_key = ? AND id <> ? AND desired_state <> ?",
		w.OwnerID, workspace.Key(w.ProjectPath), w.ID, workspace.WantDeleted).Scan(&n).Error
	return n > 0, wrap("look for who shares a project", err)
}

func (db *DB) enclosing(w workspace.Workspace, name *string) question {
	var above []string
	for key := workspace.Key(w.ProjectPath); ; {
		cut := strings.LastIndexByte(key, '/')
		if cut < 0 {
			break
		}
		key = key[:cut]
		above = append(above, key)
	}
	return question{name, "SELECT name FROM workspaces WHERE owner_id = ? AND project_key ? AND id <> ? ORDER BY project_key LIMIT 1", []any{w.OwnerID, among(db, above), w.ID}}
}

// enclosed asks for the name of a workspace whose project lies within that of w. Its key begins with that of w and a slash, after which 0 comes next.
func enclosed(w workspace.Workspace, name *string) question {
	key := workspace.Key(w.ProjectPath)
	return question{name, "SELECT name FROM workspaces WHERE owner_id = ? AND project_key > ? AND project_key < ? ORDER BY project_key LIMIT 1", []any{w.OwnerID, key + "/", key + "0"}}
}
