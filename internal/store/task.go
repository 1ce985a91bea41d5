package store

import (
	"context"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	liveTasks    = "status IN ('QUEUED', 'RETRYING', 'RUNNING')"
	waitingTasks = "status IN ('QUEUED', 'RETRYING')"
)

// early is how much before it is due a task may be claimed. The clocks of servers on one database differ by less, and one server's own
// goes back a little when it is put right: a pool that is woken for a task must find it.
const early = 50 * time.Millisecond

// Claim leases due tasks: of each workspace the oldest one that is live, if it waits; of each lane those whose turn it is, a lane
// after the other. Servers that claim at once skip what the other has locked; the index tasks_one_running makes sure that no
// workspace has two.
func (db *DB) Claim(ctx context.Context, holder string, slots task.Slots, lease time.Duration) ([]task.Task, error) {
	now := db.now()
	var rows []taskRow
	// One statement, so one transaction, and one trip to the database.
	err := db.write.WithContext(ctx).Raw(`WITH quick AS (`+db.due(task.Quick, slots.Free)+`), slow AS (`+db.due(task.Slow, min(slots.Slow, slots.Free))+`),
			lined AS (SELECT id, lane, ROW_NUMBER() OVER (ORDER BY turn, id) AS place FROM quick
				UNION ALL SELECT id, lane, ROW_NUMBER() OVER (ORDER BY turn, id) FROM slow),
			picked AS (SELECT id FROM lined ORDER BY place, CASE WHEN lane = `+strconv.Itoa(int(slots.First))+` THEN 0 ELSE 1 END LIMIT `+strconv.Itoa(slots.Free)+`)
		UPDATE tasks SET status = 'RUNNING', attempt = attempt + 1, step = '', progress = NULL, started_at = COALESCE(started_at, ?),
			revision = revision + 1, lease_holder = ?, lease_token = lease_token + 1, lease_until = ?
		WHERE id IN (SELECT id FROM picked) AND `+waitingTasks+` RETURNING *`,
		toMicros(now.Add(early)), toMicros(now.Add(early)), toMicros(now), holder, toMicros(now.Add(lease))).Scan(&rows).Error
	return toTasks(inTurn(slots, rows)), wrap("claim tasks", err)
}

// Extend keeps leases alive. A lease that does not match is lost; a task whose workspace is being deleted is unwanted. Each lease is a
// transaction of its own: who holds the row of one task and waits for another's meets a group of outcomes that has them the other way round.
func (db *DB) Extend(ctx context.Context, leases []task.Lease, lease time.Duration) (v task.Verdict, err error) {
	write, until := db.write.WithContext(ctx), toMicros(db.now().Add(lease))
	ids := make([]string, len(leases))
	for i, l := range leases {
		ids[i] = l.TaskID
		r := write.Exec("UPDATE tasks SET lease_until = ? WHERE id = ? AND status = 'RUNNING' AND lease_holder = ? AND lease_token = ?",
			until, l.TaskID, l.Holder, l.Token)
		if r.Error != nil {
			return v, wrap("keep a lease", r.Error)
		}
		if r.RowsAffected == 0 {
			v.Lost = append(v.Lost, l)
		}
	}
	read := db.read.WithContext(ctx)
	err = read.Raw(`SELECT t.id FROM tasks t JOIN workspaces w ON w.id = t.workspace_id
		WHERE t.id IN ? AND t.type <> 'DELETE' AND w.desired_state = 'DELETED'`, ids).Scan(&v.Unwanted).Error
	if err == nil {
		err = read.Raw("SELECT id FROM tasks WHERE id IN ? AND cancel", ids).Scan(&v.Cancelled).Error
	}
	return v, wrap("look whether running tasks are wanted", err)
}

// Report writes what a running task is doing.
func (db *DB) Report(ctx context.Context, lease task.Lease, step string, progress *float64) (task.Task, error) {
	var rows []taskRow
	err := db.transact(ctx, func(tx *gorm.DB) error {
		return tx.Raw(`UPDATE tasks SET step = ?, progress = ?, revision = revision + 1
			WHERE id = ? AND status = 'RUNNING' AND lease_holder = ? AND lease_token = ? RETURNING *`,
			step, progress, lease.TaskID, lease.Holder, lease.Token).Scan(&rows).Error
	})
	switch {
	case err != nil:
		return task.Task{}, wrap("report progress", err)
	case len(rows) == 0:
		return task.Task{}, task.ErrLeaseLost
	}
	return rows[0].toTask(), nil
}

// Reclaim gives back the tasks whose lease has ended. The try that was cut does not count. As it is called all the time, it keeps the
// clock right too.
func (db *DB) Reclaim(ctx context.Context) ([]task.Task, error) {
	if err := db.setClock(ctx, db.write); err != nil {
		return nil, err
	}
	now := toMicros(db.now())
	var rows []taskRow
	err := db.transact(ctx, func(tx *gorm.DB) error {
		return tx.Raw(`UPDATE tasks SET status = 'QUEUED', attempt = attempt - 1, run_at = ?, step = '', progress = NULL,
				revision = revision + 1, lease_holder = ''
			WHERE id IN (SELECT id FROM tasks WHERE status = 'RUNNING' AND lease_until < ? ORDER BY id`+db.skipLocked("tasks")+`) RETURNING *`, now, now).Scan(&rows).Error
	})
	return toTasks(rows), wrap("give back tasks", err)
}

// Prune deletes tasks that have ended.
func (db *DB) Prune(ctx context.Context, age time.Duration, keep, limit int) (int, error) {
	var n int64
	err := db.transact(ctx, func(tx *gorm.DB) error {
		r := tx.Exec(`DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE finished_at IS NOT NULL AND (finished_at < ?
				OR finished_at < (SELECT finished_at FROM tasks WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT 1 OFFSET ?))
			ORDER BY finished_at, id LIMIT ?`+db.skipLocked("tasks")+`)`, toMicros(db.now().Add(-age)), max(0, keep-1), limit)
		n = r.RowsAffected
		return r.Error
	})
	return int(n), wrap("prune tasks", err)
}

// LiveTasks are those of each of several workspaces.
func (db *DB) LiveTasks(ctx context.Context, workspaceIDs []string) (map[string][]task.Task, error) {
	var rows []taskRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM tasks"+db.byLive()+" WHERE workspace_id IN ? AND "+liveTasks+" ORDER BY id", workspaceIDs).Scan(&rows).Error; err != nil {
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
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM tasks WHERE id IN ?", ids).Scan(&rows).Error; err != nil {
		return nil, wrap("read tasks", err)
	}
	found := make(map[string]task.Task, len(rows))
	for _, t := range toTasks(rows) {
		found[t.ID] = t
	}
	return found, nil
}

// QueuePositions counts what is claimed before each waiting task in its lane, once that is due.
func (db *DB) QueuePositions(ctx context.Context, ids []string) (map[string]int, error) {
	var rows []struct {
		ID     string
		Before int
	}
	now := toMicros(db.now())
	if err := db.read.WithContext(ctx).Raw(`SELECT t.id, (SELECT COUNT(*) FROM tasks o WHERE o.`+waitingTasks+` AND o.lane = t.lane
			AND (o.turn < t.turn OR (o.turn = t.turn AND o.id < t.id)) AND o.run_at <= CASE WHEN t.run_at > ? THEN t.run_at ELSE ? END) AS before
		FROM tasks t WHERE t.id IN ? AND t.`+waitingTasks, now, now, ids).Scan(&rows).Error; err != nil {
		return nil, wrap("read queue positions", err)
	}
	positions := make(map[string]int, len(rows))
	for _, r := range rows {
		positions[r.ID] = r.Before
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
		toMicros(db.now())).Scan(&row).Error
	return workspace.QueueDepth{Queued: row.Queued, OldestQueued: optTime(row.Oldest)}, wrap("read the queue's depth", err)
}
