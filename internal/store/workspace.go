package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// selectWorkspace reads workspaces, and the time. What is read to be changed is changed at that time.
func (db *DB) selectWorkspace() string {
	return "SELECT w.*, (SELECT s.slot FROM subnets s WHERE s.workspace_id = w.id) AS slot, " + db.nowIn() + " AS now FROM workspaces w WHERE "
}

// Create inserts a workspace with its first tasks, and reserves a subnet.
func (db *DB) Create(ctx context.Context, w workspace.Workspace, pool netip.Prefix, change func(*workspace.Draft)) (ch workspace.Change, err error) {
	err = db.transact(ctx, func(tx *gorm.DB) error {
		var now micros
		var slot *int64
		var live int
		if err := db.unblock(tx); err != nil {
			return err
		}
		if err := db.readTogether(tx, question{into: &now, query: "SELECT " + db.nowIn()}, db.freeSlot(pool, &slot), countLive(w.OwnerID, &live)); err != nil {
			return err
		}
		w.CreatedAt = now.time()
		d := workspace.NewDraft(w, nil, w.CreatedAt)
		change(d)
		if err := db.useKey(tx, d.Once); err != nil {
			return err
		}
		_, tasks := d.Seal()
		if err := later(tx).Omit("Slot", "Now").Create(new(toWorkspaceRow(d.Workspace))).Error; err != nil {
			return err
		}
		if err := insertLabels(tx, d.Workspace); err != nil {
			return err
		}
		if err := db.reserve(tx, d.Workspace.ID, slot); err != nil {
			return err
		}
		d.Workspace.Subnet = subnetOf(*slot).String()
		ch = workspace.Change{Workspace: d.Workspace, Tasks: tasks, Differs: true, Waiting: d.Waiting()}
		if err := db.writeTasks(tx, tasks, map[string]int{w.OwnerID: live}); err != nil {
			return err
		}
		if err := db.checkOverlap(tx, d.Workspace); err != nil {
			return err
		}
		return db.writeEvents(tx, d.Events(tasks)...)
	})
	return ch, wrap("create a workspace", nameTaken(err))
}

// Update changes a workspace and its tasks. The row's lock is taken before those of its tasks, always.
func (db *DB) Update(ctx context.Context, id string, change func(*workspace.Draft) error) (ch workspace.Change, err error) {
	err = db.transact(ctx, func(tx *gorm.DB) error {
		locked, live, now, err := db.lockAll(tx, []string{id}, db.forUpdate("tasks"))
		if err != nil {
			return err
		}
		if len(locked) == 0 {
			return notFound("workspace")
		}
		d := workspace.NewDraft(locked[0], live[id], now)
		if err := change(d); err != nil {
			return err
		}
		if err := db.useKey(tx, d.Once); err != nil {
			return err
		}
		changes, err := db.save(tx, d)
		if err == nil {
			ch = changes[0]
		}
		return err
	})
	return ch, wrap("change a workspace", nameTaken(err))
}

// save is where every change of a workspace that exists is written, of one or of several that are locked. Batches that have changed are
// told of with the first.
func (db *DB) save(tx *gorm.DB, drafts ...*workspace.Draft) ([]workspace.Change, error) {
	changes := make([]workspace.Change, len(drafts))
	var tasks []task.Task
	var changed []*workspace.Draft
	var events []workspace.Event
	for i, d := range drafts {
		differs, written := d.Seal()
		if differs {
			changed, events = append(changed, d), append(events, d.Events(written)...)
		}
		tasks = append(tasks, written...)
		changes[i] = workspace.Change{Workspace: d.Workspace, Tasks: written, Differs: differs, Waiting: d.Waiting(), Removed: d.Removed}
	}
	batches, err := db.settle(tx, drafts)
	if err != nil {
		return nil, err
	}
	if err := db.writeTasks(tx, tasks, make(map[string]int)); err != nil {
		return nil, err
	}
	for _, d := range drafts {
		if err := db.requeue(tx, d); err != nil {
			return nil, err
		}
	}
	if len(batches) > 0 {
		changes[0].Batches = batches
	}
	if err := db.saveWorkspaces(tx, changed); err != nil {
		return nil, err
	}
	for _, b := range batches {
		events = append(events, workspace.BatchEvent(b))
	}
	return changes, db.writeEvents(tx, events...)
}

// saveWorkspaces writes the rows of workspaces that have changed, all by one statement.
func (db *DB) saveWorkspaces(tx *gorm.DB, changed []*workspace.Draft) error {
	var rows []workspaceRow
	columns := stateColumns
	for _, d := range changed {
		if d.Removed {
			if err := later(tx).Exec("DELETE FROM workspaces WHERE id = ?", d.Workspace.ID).Error; err != nil {
				return err
			}
			continue
		}
		rows = append(rows, toWorkspaceRow(d.Workspace))
		respecified, observed := d.Differs()
		if respecified || observed {
			columns = allColumns
		}
		if respecified {
			if err := later(tx).Exec("DELETE FROM workspace_labels WHERE workspace_id = ?", d.Workspace.ID).Error; err != nil {
				return err
			}
			if err := insertLabels(tx, d.Workspace); err != nil {
				return err
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return rewrite(db, tx, "workspaces", columns, rows, " AND workspaces.version = v.version - 1",
		fmt.Errorf("the row of %s, or one beside it, has changed under its lock", rows[0].ID))
}

func insertLabels(tx *gorm.DB, w workspace.Workspace) error {
	if len(w.Labels) == 0 {
		return nil
	}
	rows := make([]labelRow, len(w.Labels))
	for i, l := range w.Labels {
		rows[i] = labelRow{w.ID, l.Key, l.Value}
	}
	return later(tx).Create(&rows).Error
}

// MoveSubnet gives a workspace another subnet, and keeps the old one and those taken from everybody for a while.
func (db *DB) MoveSubnet(ctx context.Context, id string, pool netip.Prefix, taken []netip.Prefix, block time.Duration) (ch workspace.Change, err error) {
	err = db.transact(ctx, func(tx *gorm.DB) error {
		w, now, err := db.findWorkspace(tx, id, db.forUpdate("w"))
		if err != nil {
			return err
		}
		blockedUntil := now.Add(block)
		if err := later(tx).Exec("UPDATE subnets SET workspace_id = NULL, blocked_until = ? WHERE workspace_id = ?", toMicros(blockedUntil), id).Error; err != nil {
			return err
		}
		if err := db.block(tx, pool, taken, blockedUntil); err != nil {
			return err
		}
		var slot *int64
		if err := db.unblock(tx); err != nil {
			return err
		}
		if err := db.readTogether(tx, db.freeSlot(pool, &slot)); err != nil {
			return err
		}
		if err := db.reserve(tx, id, slot); err != nil {
			return err
		}
		w.Subnet = subnetOf(*slot).String()
		w.Version, w.UpdatedAt = w.Version+1, now
		ch = workspace.Change{Workspace: w, Differs: true}
		if err := later(tx).Exec("UPDATE workspaces SET version = ?, updated_at = ? WHERE id = ?", w.Version, toMicros(w.UpdatedAt), id).Error; err != nil {
			return err
		}
		return db.writeEvents(tx, workspace.Event{
			Type: workspace.EventUpdated, OwnerID: w.OwnerID, WorkspaceID: w.ID, Workspace: &w, Actor: workspace.ActorReconciler,
			Message: "The workspace has other addresses, since its own are in use outside this server.",
		})
	})
	return ch, wrap("move a workspace to another subnet", err)
}

// Workspace finds one workspace.
func (db *DB) Workspace(ctx context.Context, id string) (workspace.Workspace, error) {
	w, _, err := db.findWorkspace(db.read.WithContext(ctx), id, "")
	return w, wrap("read a workspace", err)
}

// WorkspacesByID finds several; what does not exist is left out.
func (db *DB) WorkspacesByID(ctx context.Context, ids []string) (map[string]workspace.Workspace, error) {
	var rows []workspaceRow
	if err := db.read.WithContext(ctx).Raw(db.selectWorkspace()+"w.id ?", among(db, ids)).Scan(&rows).Error; err != nil {
		return nil, wrap("read workspaces", err)
	}
	found := make(map[string]workspace.Workspace, len(rows))
	for _, r := range rows {
		found[r.ID] = r.toWorkspace()
	}
	return found, nil
}

func (db *DB) findWorkspace(tx *gorm.DB, id, locking string) (w workspace.Workspace, now time.Time, err error) {
	var rows []workspaceRow
	if err := tx.Raw(db.selectWorkspace()+"w.id = ?"+locking, id).Scan(&rows).Error; err != nil {
		return w, now, err
	}
	if len(rows) == 0 {
		return w, now, notFound("workspace")
	}
	return rows[0].toWorkspace(), rows[0].Now.time(), nil
}

// writeTasks writes what is known already at once, and then inserts new tasks: each gets its turn after those before it, and what has ended makes
// room in its owner's line. live is how many tasks owners have, as far as that is known.
func (db *DB) writeTasks(tx *gorm.DB, tasks []task.Task, live map[string]int) error {
	var known, fresh []taskRow
	for _, t := range tasks {
		if row := toTaskRow(t); t.Revision > 1 {
			known = append(known, row)
		} else {
			fresh = append(fresh, row)
		}
	}
	if len(known) > 0 {
		if err := rewrite(db, tx, "tasks", taskColumns, known, " AND tasks.revision = v.revision - 1",
			fmt.Errorf("the row of %s, or one beside it, has changed meanwhile", known[0].ID)); err != nil {
			return err
		}
	}
	for _, row := range fresh {
		if err := db.admit(tx, row.toTask(), live); err != nil {
			return err
		}
		if err := db.insertTask(tx, row); err != nil {
			return err
		}
	}
	return nil
}

// nearBound is how close to the bound of their tasks an owner is counted under a lock: many who ask at once, on all servers, are fewer.
const nearBound = 500

// admit sees that there is room for a new task in its owner's line. What else is wrong with the transaction is told before that there is none: one
// whose key was used is answered by what it was used for.
func (db *DB) admit(tx *gorm.DB, t task.Task, live map[string]int) (err error) {
	n, counted := live[t.OwnerID]
	count := func() error { return db.readTogether(tx, countLive(t.OwnerID, &n)) }
	if !counted {
		err = count()
	}
	if err == nil && workspace.Admit(t, n+nearBound) != nil {
		if err = db.lockOwner(tx, t.OwnerID); err == nil {
			err = count()
		}
	}
	if err != nil {
		return err
	}
	live[t.OwnerID] = n + 1
	return db.refuse(tx, workspace.Admit(t, n))
}

// countLive asks how many live tasks an owner has.
func countLive(owner string, n *int) question {
	return question{n, "SELECT COUNT(*) FROM tasks WHERE owner_id = ? AND " + liveTasks, []any{owner}}
}

func notFound(noun string) error {
	return &workspace.Error{Code: workspace.NotFound, Message: "There is no such " + noun + ". Check the id, or list what you have."}
}

// nameTaken tells the owner of the name that a row's constraint has found taken. PostgreSQL may say so of a statement that was sent with another one, where
// GORM translates nothing.
func nameTaken(err error) error {
	said, ok := errors.AsType[*pgconn.PgError](err)
	if ok && said.ConstraintName == "workspaces_owner_id_name_key" || !ok && errors.Is(err, gorm.ErrDuplicatedKey) {
		return &workspace.Error{Code: workspace.Conflict, Message: "You have a workspace of that name already. Choose another name.", Field: []string{"input", "name"}}
	}
	return err
}
