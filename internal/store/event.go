package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// The event log. Every transaction that changes a workspace, a task or a batch writes what it did by writeEvents, as the last that it does before its COMMIT.
// On PostgreSQL it takes a lock for that, which it keeps through the commit: so events get their positions in the order of the commits, and who reads
// finds nothing before what it has read already. The lock and the events are sent with the COMMIT, so that nobody waits for a server that stands still. SQLite has one
// writer anyway.
//
// A workspace is written with the event that changed it. After an event of a task that left it as it was, it is as after the event of it before. For these the newest
// one of each workspace is left by what is pruned.

// lockEvents is held from the first event of a transaction to its end.
const lockEvents = 0x61696333

type eventRow struct {
	Seq         int64
	At          micros
	Type        string
	OwnerID     string
	WorkspaceID string
	Workspace   *workspaceRow     `gorm:"serializer:json"`
	Previous    *workspace.Traits `gorm:"serializer:json"`
	Task        *taskRow          `gorm:"serializer:json"`
	Batch       *batchRow         `gorm:"serializer:json"`
	Actor       string
	Message     string
}

var eventColumns = []column[eventRow]{
	plain("type", text, func(r eventRow) any { return r.Type }),
	plain("owner_id", text, func(r eventRow) any { return r.OwnerID }),
	plain("workspace_id", text, func(r eventRow) any { return r.WorkspaceID }),
	optional("workspace", func(r eventRow) *workspaceRow { return r.Workspace }),
	optional("previous", func(r eventRow) *workspace.Traits { return r.Previous }),
	optional("task", func(r eventRow) *taskRow { return r.Task }),
	optional("batch", func(r eventRow) *batchRow { return r.Batch }),
	plain("actor", text, func(r eventRow) any { return r.Actor }),
	plain("message", text, func(r eventRow) any { return r.Message }),
}

func toEventRow(e workspace.Event) eventRow {
	r := eventRow{Type: string(e.Type), OwnerID: e.OwnerID, WorkspaceID: e.WorkspaceID, Previous: e.Previous, Actor: e.Actor, Message: e.Message}
	if e.Workspace != nil {
		r.Workspace = new(toLogged(*e.Workspace))
	}
	if e.Task != nil {
		r.Task = new(toTaskRow(*e.Task))
	}
	if e.Batch != nil {
		r.Batch = new(toBatchRow(*e.Batch))
	}
	return r
}

// toLogged is a workspace as the log has it: with its subnet, and without the values of its secret variables.
func toLogged(w workspace.Workspace) workspaceRow {
	r := toWorkspaceRow(w)
	if subnet, err := netip.ParsePrefix(w.Subnet); err == nil {
		r.Slot = new(slotOf(subnet.Addr()))
	}
	r.Environment = make([]workspace.EnvironmentVariable, len(w.Environment))
	for i, v := range w.Environment {
		if v.Secret {
			v.Value = ""
		}
		r.Environment[i] = v
	}
	return r
}

func (r eventRow) toEvent() workspace.Event {
	e := workspace.Event{
		Seq: r.Seq, At: r.At.time(), Type: workspace.EventType(r.Type), OwnerID: r.OwnerID, WorkspaceID: r.WorkspaceID,
		Previous: r.Previous, Actor: r.Actor, Message: r.Message,
	}
	if r.Workspace != nil {
		e.Workspace = new(r.Workspace.toWorkspace())
	}
	if r.Task != nil {
		e.Task = new(r.Task.toTask())
	}
	if r.Batch != nil {
		e.Batch = new(r.Batch.toBatch())
	}
	return e
}

// writeEvents is where every event is written. Nothing may follow it in its transaction but what is sent with it.
func (db *DB) writeEvents(tx *gorm.DB, events ...workspace.Event) error {
	if len(events) == 0 {
		return nil
	}
	rows := make([]eventRow, len(events))
	for i, e := range events {
		rows[i] = toEventRow(e)
	}
	values, args, err := tableOf(db, eventColumns, rows)
	if err != nil {
		return err
	}
	if err := db.lock(tx, lockEvents); err != nil {
		return err
	}
	columns := namesOf(eventColumns)
	return later(tx).Exec("WITH v ("+columns+") AS ("+values+") INSERT INTO events (at, "+columns+") SELECT ?, v.* FROM v", append(args, db.now(0))...).Error
}

// writeTaskEvents writes those of tasks that have changed while their workspaces did not.
func (db *DB) writeTaskEvents(tx *gorm.DB, tasks []task.Task) error {
	events := make([]workspace.Event, len(tasks))
	for i, t := range tasks {
		events[i] = workspace.TaskEvent(t, workspace.ActorOf(t))
	}
	return db.writeEvents(tx, events...)
}

// writeBatchEvents writes those of batches that have changed by themselves.
func (db *DB) writeBatchEvents(tx *gorm.DB, batches ...workspace.Batch) error {
	events := make([]workspace.Event, len(batches))
	for i, b := range batches {
		events[i] = workspace.BatchEvent(b)
	}
	return db.writeEvents(tx, events...)
}

// snapshotRows are of no event: they hold a workspace for the events that come after.
const snapshotRows = "SNAPSHOT"

// fillLog writes a row for each workspace that the log does not have: those from before there was a log.
func (db *DB) fillLog(ctx context.Context) error {
	return wrap("fill the event log", db.transact(ctx, func(tx *gorm.DB) error {
		if err := db.lock(tx, lockEvents); err != nil { // before anything is read
			return err
		}
		var rows []workspaceRow
		if err := tx.Raw(db.selectWorkspace() + "NOT EXISTS (SELECT 1 FROM events e WHERE e.workspace_id = w.id AND e.workspace IS NOT NULL)").
			Scan(&rows).Error; err != nil {
			return err
		}
		for part := range slices.Chunk(rows, rowsAtOnce) {
			events := make([]workspace.Event, len(part))
			for i, r := range part {
				w := r.toWorkspace()
				events[i] = workspace.Event{Type: snapshotRows, OwnerID: w.OwnerID, WorkspaceID: w.ID, Workspace: &w}
			}
			if err := db.writeEvents(tx, events...); err != nil {
				return err
			}
		}
		return nil
	}))
}

// selectEvents reads events with their workspaces, whichever row has them.
const selectEvents = `SELECT e.seq, e.at, e.type, e.owner_id, e.workspace_id, e.previous, e.task, e.batch, e.actor, e.message, l.pruned,
	COALESCE(e.workspace, (SELECT b.workspace FROM events b WHERE b.workspace_id = e.workspace_id AND b.seq < e.seq AND b.workspace IS NOT NULL ORDER BY b.seq DESC LIMIT 1)) AS workspace
	FROM events e, event_log l WHERE e.type <> '` + snapshotRows + `' AND e.seq > ? AND e.seq > l.pruned`

// Events reads events of all workspaces, or of one owner.
func (db *DB) Events(ctx context.Context, ownerID string, after int64, limit int) ([]workspace.Event, error) {
	where, args := "", []any{after}
	if ownerID != "" {
		where, args = " AND e.owner_id = ?", append(args, ownerID)
	}
	events, pruned, err := db.readEvents(ctx, where, args, limit)
	if err == nil && len(events) == 0 { // no row that it could come with
		err = wrap("read the event log", db.read.WithContext(ctx).Raw("SELECT pruned FROM event_log").Scan(&pruned).Error)
	}
	if err == nil && pruned > after {
		err = workspace.ErrPruned
	}
	if err != nil {
		return nil, err
	}
	return events, nil
}

// WorkspaceEvents reads events of one workspace.
func (db *DB) WorkspaceEvents(ctx context.Context, workspaceID string, after int64, limit int) ([]workspace.Event, error) {
	events, _, err := db.readEvents(ctx, " AND e.workspace_id = ?", []any{after, workspaceID}, limit)
	return events, err
}

// readEvents gives with the events up to where the log was pruned, if there are any.
func (db *DB) readEvents(ctx context.Context, where string, args []any, limit int) (events []workspace.Event, pruned int64, err error) {
	var rows []struct {
		Row    eventRow `gorm:"embedded"`
		Pruned int64
	}
	if err := db.read.WithContext(ctx).Raw(selectEvents+where+" ORDER BY e.seq LIMIT ?", append(args, limit)...).Scan(&rows).Error; err != nil {
		return nil, 0, wrap("read the event log", err)
	}
	events = make([]workspace.Event, len(rows))
	for i, r := range rows {
		events[i], pruned = r.Row.toEvent(), r.Pruned
	}
	return events, pruned, nil
}

// logEnd is the position of the newest event, as a column of what a statement selects.
const logEnd = "(SELECT MAX(n) FROM (SELECT MAX(seq) AS n FROM events UNION ALL SELECT pruned FROM event_log) positions)"

// LogEnd is the position of the newest event.
func (db *DB) LogEnd(ctx context.Context) (end int64, err error) {
	err = db.read.WithContext(ctx).Raw("SELECT " + logEnd).Scan(&end).Error
	return end, wrap("read the end of the event log", err)
}

// Snapshot reads workspaces and the end of the log by one statement, which sees both as they are at one moment.
func (db *DB) Snapshot(ctx context.Context, q workspace.Query) (list []workspace.Workspace, end int64, err error) {
	var rows []struct {
		Row    workspaceRow `gorm:"embedded"`
		LogEnd int64
	}
	selected := db.filterWorkspaces(db.read.WithContext(ctx).Table("workspaces"), q).
		Select("workspaces.*, (SELECT s.slot FROM subnets s WHERE s.workspace_id = workspaces.id) AS slot")
	if err := db.read.WithContext(ctx).Raw("SELECT w.*, l.log_end FROM (SELECT "+logEnd+" AS log_end) l LEFT JOIN (?) w ON TRUE ORDER BY w.id", selected).
		Scan(&rows).Error; err != nil {
		return nil, 0, wrap("read a snapshot", err)
	}
	for _, r := range rows {
		if end = r.LogEnd; r.Row.ID != "" { // where nothing is selected there is one row, with the end alone
			list = append(list, r.Row.toWorkspace())
		}
	}
	return list, end, nil
}

// PruneEvents deletes old events, in the order of the log. From the moment that it is asked nobody reads what is about to go.
func (db *DB) PruneEvents(ctx context.Context, age time.Duration, keep, limit int) (deleted int, err error) {
	err = db.transact(ctx, func(tx *gorm.DB) error {
		var upTo int64
		if err := tx.Raw("SELECT MAX(n) FROM (SELECT COALESCE((SELECT seq FROM events WHERE at >= ? AND seq > (SELECT pruned FROM event_log) ORDER BY seq LIMIT 1) - 1, "+logEnd+") AS n "+
			"UNION ALL SELECT "+logEnd+" - ?) positions", db.now(-age), keep).Scan(&upTo).Error; err != nil {
			return err
		}
		if err := tx.Exec("UPDATE event_log SET pruned = ? WHERE pruned < ?", upTo, upTo).Error; err != nil {
			return err
		}
		r := tx.Exec(`DELETE FROM events WHERE seq IN (SELECT e.seq FROM events e WHERE e.seq <= ? AND (e.workspace IS NULL OR e.type = 'DELETED'
				OR EXISTS (SELECT 1 FROM events n WHERE n.workspace_id = e.workspace_id AND n.workspace IS NOT NULL AND n.seq > e.seq AND n.seq <= ?))
			ORDER BY e.seq LIMIT ?)`, upTo, upTo, limit)
		deleted = int(r.RowsAffected)
		return r.Error
	})
	if err != nil {
		return 0, fmt.Errorf("prune the event log: %w", err)
	}
	return deleted, nil
}
