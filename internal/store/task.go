package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	liveTasks    = "status IN ('QUEUED', 'RETRYING', 'RUNNING')"
	waitingTasks = "status IN ('QUEUED', 'RETRYING')"
)

// Claim leases due tasks: of each workspace the oldest one that is live, if it waits; see shares for whose. Servers that claim at once skip what the other has
// locked; the index tasks_one_running makes sure that no workspace has two.
func (db *DB) Claim(ctx context.Context, holder string, slots task.Slots, lease time.Duration) ([]task.Task, error) {
	var rows []taskRow
	parts, args := db.shares(slots)
	err := db.transact(ctx, func(tx *gorm.DB) error {
		if err := tx.Raw(`WITH `+parts+`,
			shared AS (SELECT id, turn, busy + ROW_NUMBER() OVER (PARTITION BY owner_id ORDER BY turn, id) AS share FROM candidates),
			picked AS (SELECT id FROM shared ORDER BY share, turn, id LIMIT `+strconv.Itoa(slots.Free)+`)
		UPDATE tasks SET status = 'RUNNING', attempt = attempt + 1, step = '', progress = NULL, started_at = COALESCE(started_at, ?),
			revision = revision + 1, lease_holder = ?, lease_token = lease_token + 1, lease_until = ?
		WHERE id IN (SELECT id FROM picked) AND `+waitingTasks+` RETURNING *`,
			append(args, db.now(0), holder, db.now(lease))...).Scan(&rows).Error; err != nil {
			return err
		}
		slices.SortFunc(rows, func(a, b taskRow) int { return cmp.Or(cmp.Compare(a.Turn, b.Turn), strings.Compare(a.ID, b.ID)) })
		return db.writeTaskEvents(tx, toTasks(rows))
	})
	return toTasks(rows), wrap("claim tasks", err)
}

// Extend keeps leases alive. A lease that does not match is lost; a task whose workspace is being deleted is unwanted. It waits for no row:
// one that somebody else holds must not cost the others their leases.
func (db *DB) Extend(ctx context.Context, leases []task.Lease, lease time.Duration) (v task.Verdict, err error) {
	for piece := range slices.Chunk(leases, leasesAtOnce) {
		ours, args := make([]string, len(piece)), make([]any, 0, 3*len(piece))
		for i, l := range piece {
			ours[i] = "id = ? AND lease_holder = ? AND lease_token = ?"
			args = append(args, l.TaskID, l.Holder, l.Token)
		}
		held := "status = 'RUNNING' AND (" + strings.Join(ours, " OR ") + ")"
		columns := `id AS task_id, workspace_id, lease_holder AS holder, lease_token AS token, cancel,
			type <> 'DELETE' AND EXISTS (SELECT 1 FROM workspaces w WHERE w.id = tasks.workspace_id AND w.desired_state = 'DELETED')
			OR (type <> 'SYNC' OR requested_by <> '') AND NOT cancel AND step = '` + task.StepPull + `' AND EXISTS (SELECT 1 FROM tasks o` + db.byLive() + ` WHERE o.workspace_id = tasks.workspace_id
				AND o.` + liveTasks + ` AND o.type = 'STOP' AND o.id > tasks.id) AS unwanted`
		var kept, busy []heldLease
		if err := db.write.WithContext(ctx).Raw("UPDATE tasks SET lease_until = ? WHERE id IN (SELECT id FROM tasks WHERE "+held+db.skipLocked("tasks")+") RETURNING "+columns,
			append([]any{db.now(lease)}, args...)...).Scan(&kept).Error; err != nil {
			return v, wrap("keep leases", err)
		}
		if len(kept) < len(piece) {
			if err := db.read.WithContext(ctx).Raw("SELECT "+columns+" FROM tasks WHERE "+held, args...).Scan(&busy).Error; err != nil {
				return v, wrap("look for leases that were not kept", err)
			}
		}
		for _, l := range piece {
			is := func(h heldLease) bool { return h.Lease == l }
			var now heldLease
			switch i, j := slices.IndexFunc(kept, is), slices.IndexFunc(busy, is); {
			case i >= 0:
				now = kept[i]
			case j >= 0:
				now = busy[j]
				v.Busy = append(v.Busy, l)
			default:
				v.Lost = append(v.Lost, l)
			}
			if now.Unwanted {
				v.Unwanted = append(v.Unwanted, l.TaskID)
			}
			if now.Cancel {
				v.Cancelled = append(v.Cancelled, l.TaskID)
			}
		}
	}
	return v, nil
}

// heldLease is a lease that its holder has, and what its task's run is to be told.
type heldLease struct {
	task.Lease

	Cancel, Unwanted bool
}

const (
	// leasesAtOnce is how many leases one statement keeps.
	leasesAtOnce = 200
	// reclaimedAtOnce is how many tasks one transaction gives back.
	reclaimedAtOnce = 100
)

// Report writes what a running task is doing. How far a step is, in per cent, is in no event.
func (db *DB) Report(ctx context.Context, lease task.Lease, step string, progress *float64) (task.Task, error) {
	var rows []taskRow
	err := db.transact(ctx, func(tx *gorm.DB) error {
		if err := tx.Raw(`UPDATE tasks SET step = ?, progress = ?, revision = revision + 1
			WHERE id = ? AND status = 'RUNNING' AND lease_holder = ? AND lease_token = ? RETURNING *`,
			step, progress, lease.TaskID, lease.Holder, lease.Token).Scan(&rows).Error; err != nil || progress != nil {
			return err
		}
		return db.writeTaskEvents(tx, toTasks(rows))
	})
	switch {
	case err != nil:
		return task.Task{}, wrap("report progress", err)
	case len(rows) == 0:
		return task.Task{}, task.ErrLeaseLost
	}
	return rows[0].toTask(), nil
}

// StopBy gives how long a container that a running task is to stop still has to end by itself. The first time begins it; so does one past it, since a container that
// runs still was never told to end.
func (db *DB) StopBy(ctx context.Context, lease task.Lease, grace time.Duration) (time.Duration, error) {
	var left []int64
	err := db.write.WithContext(ctx).Raw(`UPDATE tasks SET stop_by = CASE WHEN stop_by > ? AND stop_by <= ? THEN stop_by ELSE ? END
		WHERE id = ? AND status = 'RUNNING' AND lease_holder = ? AND lease_token = ? RETURNING stop_by - ?`,
		db.now(0), db.now(grace), db.now(grace), lease.TaskID, lease.Holder, lease.Token, db.now(0)).Scan(&left).Error
	switch {
	case err != nil:
		return 0, wrap("begin to stop a container", err)
	case len(left) == 0:
		return 0, task.ErrLeaseLost
	}
	return max(0, time.Duration(left[0])*time.Microsecond), nil
}

// Reclaim gives back the tasks whose lease has ended, as Draft.GiveBack does. As it is called all the time, it looks at the clock too.
func (db *DB) Reclaim(ctx context.Context) (changes []workspace.Change, err error) {
	if err := db.heedJump(ctx); err != nil {
		return nil, wrap("heed a clock that was set", err)
	}
	const ended = "status = 'RUNNING' AND lease_until < ?"
	var ids []string
	if err := db.read.WithContext(ctx).Raw("SELECT workspace_id FROM tasks WHERE "+ended+" ORDER BY workspace_id LIMIT ?", db.now(0), reclaimedAtOnce).
		Scan(&ids).Error; err != nil || len(ids) == 0 {
		return nil, wrap("look for tasks whose lease has ended", err)
	}
	err = db.transact(ctx, func(tx *gorm.DB) error {
		var free []string // somebody changes the others
		if err := tx.Raw("SELECT w.id FROM workspaces w WHERE w.id ? ORDER BY w.id"+db.skipLocked("w"), among(db, ids)).Scan(&free).Error; err != nil {
			return err
		}
		locked, live, now, err := db.lockAll(tx, free, db.forUpdate("tasks"))
		if err != nil || len(locked) == 0 {
			return err
		}
		var lost []string
		if err := tx.Raw("SELECT id FROM tasks WHERE workspace_id ? AND "+ended, among(db, ids), toMicros(now)).Scan(&lost).Error; err != nil {
			return err
		}
		drafts := make([]*workspace.Draft, 0, len(locked))
		for _, w := range locked {
			d := workspace.NewDraft(w, live[w.ID], now)
			for _, t := range live[w.ID] {
				if slices.Contains(lost, t.ID) {
					d.GiveBack(t.ID)
				}
			}
			drafts = append(drafts, d)
		}
		changes, err = db.save(tx, drafts...)
		return err
	})
	if err != nil {
		return nil, wrap("give back tasks", err)
	}
	return changes, nil
}

// Prune deletes tasks that have ended.
func (db *DB) Prune(ctx context.Context, age time.Duration, keep, limit int) (int, error) {
	var n int64
	err := db.transact(ctx, func(tx *gorm.DB) error {
		r := tx.Exec(`DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE finished_at IS NOT NULL AND (finished_at < ?
				OR finished_at < (SELECT finished_at FROM tasks WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT 1 OFFSET ?))
			ORDER BY finished_at, id LIMIT ?`+db.skipLocked("tasks")+`)`, db.now(-age), max(0, keep-1), limit)
		n = r.RowsAffected
		return r.Error
	})
	return int(n), wrap("prune tasks", err)
}

// LiveTasks are those of each of several workspaces.
func (db *DB) LiveTasks(ctx context.Context, workspaceIDs []string) (map[string][]task.Task, error) {
	var rows []taskRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM tasks"+db.byLive()+" WHERE workspace_id ? AND "+liveTasks+" ORDER BY id", among(db, workspaceIDs)).Scan(&rows).Error; err != nil {
		return nil, wrap("read live tasks", err)
	}
	found := make(map[string][]task.Task)
	for _, t := range toTasks(rows) {
		found[t.WorkspaceID] = append(found[t.WorkspaceID], t)
	}
	return found, nil
}

// Task finds one task.
func (db *DB) Task(ctx context.Context, id string) (task.Task, error) {
	var rows []taskRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM tasks WHERE id = ?", id).Scan(&rows).Error; err != nil {
		return task.Task{}, wrap("read a task", err)
	}
	if len(rows) == 0 {
		return task.Task{}, notFound("task")
	}
	return rows[0].toTask(), nil
}

// TasksByID finds several; what does not exist is left out.
func (db *DB) TasksByID(ctx context.Context, ids []string) (map[string]task.Task, error) {
	var rows []taskRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM tasks WHERE id ?", among(db, ids)).Scan(&rows).Error; err != nil {
		return nil, wrap("read tasks", err)
	}
	found := make(map[string]task.Task, len(rows))
	for _, t := range toTasks(rows) {
		found[t.ID] = t
	}
	return found, nil
}

// QueuePositions counts what has its turn before each waiting task: what is due with a turn before its own, and what waits before it of its own
// workspace, whose tasks go one after another.
func (db *DB) QueuePositions(ctx context.Context, ids []string) (map[string]int, error) {
	var rows []struct {
		ID          string
		WorkspaceID string
		Turn        int64
		Due         bool
		Before      int
	}
	// Counted between each that is asked for and the next, so that many cost no more than the last of them.
	if err := db.read.WithContext(ctx).Raw(`WITH asked AS (SELECT id, workspace_id, turn, run_at <= ? AS due, LAG(turn, 1, -1) OVER line AS after_turn, LAG(id, 1, '') OVER line AS after_id
			FROM tasks WHERE `+waitingTasks+` AND workspace_id IN (SELECT workspace_id FROM tasks WHERE id ?) WINDOW line AS (ORDER BY turn, id)),
			counted AS (SELECT a.id, a.workspace_id, a.turn, a.due, (SELECT COUNT(*) FROM tasks o WHERE o.`+waitingTasks+` AND o.run_at <= ?
				AND (o.turn, o.id) >= (a.after_turn, a.after_id) AND (o.turn, o.id) < (a.turn, a.id)) AS n FROM asked a)
		SELECT id, workspace_id, turn, due, SUM(n) OVER (ORDER BY turn, id) AS before FROM counted ORDER BY workspace_id, id`,
		db.now(0), among(db, ids), db.now(0)).Scan(&rows).Error; err != nil {
		return nil, wrap("read queue positions", err)
	}
	all, last := make(map[string]int, len(rows)), make(map[string]int) // by task, and of the last by workspace
	for i, r := range rows {
		for _, o := range rows[i+1:] { // what waits for this one is not before it, whatever its turn
			if o.WorkspaceID != r.WorkspaceID {
				break
			}
			if o.Due && o.Turn < r.Turn {
				r.Before--
			}
		}
		if before, behind := last[r.WorkspaceID]; behind {
			r.Before = max(r.Before, before+1)
		}
		all[r.ID], last[r.WorkspaceID] = r.Before, r.Before
	}
	positions := make(map[string]int, len(ids))
	for _, id := range ids {
		if n, waits := all[id]; waits {
			positions[id] = n
		}
	}
	return positions, nil
}

// QueueDepth is how full the queue is.
func (db *DB) QueueDepth(ctx context.Context) (workspace.QueueDepth, error) {
	var row struct {
		Queued int
		Oldest *micros
	}
	err := db.read.WithContext(ctx).Raw("SELECT COUNT(*) AS queued, MIN(CASE WHEN run_at <= ? THEN created_at END) AS oldest FROM tasks WHERE "+waitingTasks,
		db.now(0)).Scan(&row).Error
	return workspace.QueueDepth{Queued: row.Queued, OldestQueued: optTime(row.Oldest)}, wrap("read the queue's depth", err)
}
