package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	liveItems = "status = 'QUEUED'"
	// unbegun are live items that have no task yet.
	unbegun = liveItems + " AND task_id = ''"
)

// rowsAtOnce is how many rows one statement inserts.
const rowsAtOnce = 500

// CreateBatch inserts a batch with its items.
func (db *DB) CreateBatch(ctx context.Context, b workspace.Batch, items []workspace.BatchItem, bounds workspace.BatchBounds, key workspace.Once) (workspace.Batch, error) {
	err := db.transact(ctx, func(tx *gorm.DB) error {
		if err := db.useKey(tx, key); err != nil {
			return err
		}
		if err := db.lockOwner(tx, b.OwnerID); err != nil {
			return err
		}
		var has struct {
			workspace.BatchBounds

			Now micros
		}
		if err := db.readTogether(tx, question{&has, `SELECT COUNT(CASE WHEN status = 'RUNNING' THEN 1 END) AS running, COUNT(CASE WHEN created_at >= ? THEN 1 END) AS daily,
			` + db.nowIn() + ` AS now FROM batches WHERE owner_id = ?`, []any{db.now(-24 * time.Hour), b.OwnerID}}); err != nil {
			return err
		}
		b.CreatedAt, b.Revision = has.Now.time(), 0
		b.Seal(b.CreatedAt)
		if err := bounds.Admit(has.BatchBounds, b); err != nil {
			return err
		}
		if err := later(tx).Create(new(toBatchRow(b))).Error; err != nil {
			return err
		}
		rows := make([]itemRow, len(items))
		for i, item := range items {
			rows[i] = toItemRow(item)
			rows[i].Revision = b.Revision
		}
		if err := later(tx).CreateInBatches(rows, rowsAtOnce).Error; err != nil {
			return err
		}
		return db.writeBatchEvents(tx, b)
	})
	return b, wrap("create a batch", err)
}

// ends are the items of a draft that begin or end with it, by their batch.
type ends struct {
	begins *workspace.BatchItem
	tasks  []task.Task // that have ended
}

// settle writes what drafts mean for batches, and returns those that they changed. A batch is locked after the workspaces, and batches in
// the order of their ids.
func (db *DB) settle(tx *gorm.DB, drafts []*workspace.Draft) ([]workspace.Batch, error) {
	touched := make(map[string]*ends)
	of := func(batchID string) *ends {
		if touched[batchID] == nil {
			touched[batchID] = &ends{}
		}
		return touched[batchID]
	}
	for _, d := range drafts {
		if d.Item != nil {
			of(d.Item.BatchID).begins = d.Item
		}
		for _, t := range d.Ended {
			if !t.InBatch {
				continue
			}
			var ids []string
			if err := tx.Raw("SELECT DISTINCT batch_id FROM batch_items WHERE task_id = ? AND "+liveItems, t.ID).Scan(&ids).Error; err != nil {
				return nil, err
			}
			for _, id := range ids {
				of(id).tasks = append(of(id).tasks, t)
			}
		}
	}
	var changed []workspace.Batch
	for _, id := range slices.Sorted(maps.Keys(touched)) {
		b, moved, err := db.settleOne(tx, id, *touched[id], drafts[0].Now())
		if err != nil {
			return nil, err
		}
		if moved {
			changed = append(changed, b)
		}
	}
	return changed, nil
}

func (db *DB) settleOne(tx *gorm.DB, id string, e ends, now time.Time) (b workspace.Batch, moved bool, err error) {
	if b, err = db.lockBatch(tx, id); err != nil {
		return b, false, err
	}
	before := b
	if e.begins != nil {
		if err := beginItem(tx, &b, *e.begins); err != nil {
			return b, false, err
		}
	}
	for _, t := range e.tasks {
		status, failure := workspace.ItemOf(t)
		r := tx.Model(&itemRow{}).Where("batch_id = ? AND task_id = ? AND "+liveItems, id, t.ID).
			Select("Status", "Failure", "Revision").Updates(itemRow{Status: string(status), Failure: failure, Revision: b.Revision + 1})
		if r.Error != nil {
			return b, false, r.Error
		}
		b.Count(status, int(r.RowsAffected))
	}
	if b == before {
		return b, false, nil
	}
	err = writeBatch(tx, &b, now)
	return b, true, err
}

// beginItem writes how an item has begun, or ended without a task, where its batch has room for it.
func beginItem(tx *gorm.DB, b *workspace.Batch, item workspace.BatchItem) error {
	if b.Halted() {
		return workspace.ErrNotNow
	}
	if item.Status == workspace.ItemQueued {
		n, err := underWay(tx, b.ID)
		if err != nil {
			return err
		}
		if n >= b.Concurrency {
			return workspace.ErrNotNow
		}
	}
	row := toItemRow(item)
	row.Revision = b.Revision + 1
	r := tx.Model(&itemRow{}).Where("batch_id = ? AND position = ? AND "+unbegun, b.ID, item.Position).
		Select("Status", "TaskID", "Failure", "Revision").Updates(row)
	if r.Error == nil && r.RowsAffected == 0 {
		return workspace.ErrNotNow
	}
	b.Count(item.Status, 1)
	return r.Error
}

// underWay counts the items of a batch that have a task and have not ended.
func underWay(tx *gorm.DB, batchID string) (n int, err error) {
	err = tx.Raw("SELECT COUNT(*) FROM batch_items WHERE batch_id = ? AND task_id > '' AND "+liveItems, batchID).Scan(&n).Error
	return n, err
}

// writeBatch writes the counts of a batch, of which what has not begun is cancelled where it is halted.
func writeBatch(tx *gorm.DB, b *workspace.Batch, now time.Time) error {
	if b.Halted() {
		r := tx.Model(&itemRow{}).Where("batch_id = ? AND "+unbegun, b.ID).Select("Status", "Failure", "Revision").
			Updates(itemRow{Status: string(workspace.ItemCancelled), Failure: b.WhyHalted(), Revision: b.Revision + 1})
		if r.Error != nil {
			return r.Error
		}
		b.Count(workspace.ItemCancelled, int(r.RowsAffected))
	}
	b.Seal(now)
	return later(tx).Model(&batchRow{}).Where("id = ?", b.ID).
		Select("Status", "Cancel", "Succeeded", "Failed", "Skipped", "Cancelled", "FinishedAt", "Revision").Updates(toBatchRow(*b)).Error
}

func (db *DB) lockBatch(tx *gorm.DB, id string) (workspace.Batch, error) {
	return oneBatch(tx.Raw("SELECT * FROM batches WHERE id = ?"+db.forUpdate("batches"), id))
}

func oneBatch(q *gorm.DB) (workspace.Batch, error) {
	var rows []batchRow
	if err := q.Scan(&rows).Error; err != nil {
		return workspace.Batch{}, err
	}
	if len(rows) == 0 {
		return workspace.Batch{}, notFound("batch")
	}
	return rows[0].toBatch(), nil
}

// EndItem ends an item that has not begun.
func (db *DB) EndItem(ctx context.Context, item workspace.BatchItem) (b workspace.Batch, err error) {
	err = db.transact(ctx, func(tx *gorm.DB) error {
		now, err := db.time(tx)
		if err != nil {
			return err
		}
		var moved bool
		if b, moved, err = db.settleOne(tx, item.BatchID, ends{begins: &item}, now); err != nil || !moved {
			return err
		}
		return db.writeBatchEvents(tx, b)
	})
	return b, wrap("end an item of a batch", err)
}

// CancelBatch has nothing of a batch begin any more.
func (db *DB) CancelBatch(ctx context.Context, id string) (b workspace.Batch, err error) {
	err = db.transact(ctx, func(tx *gorm.DB) error {
		if b, err = db.lockBatch(tx, id); err != nil {
			return err
		}
		if b.Status != workspace.BatchRunning {
			return &workspace.Error{Code: workspace.Conflict, Message: "The batch has ended already.", Field: []string{"input", "id"}}
		}
		now, err := db.time(tx)
		if err != nil {
			return err
		}
		b.Cancel = true
		if err := writeBatch(tx, &b, now); err != nil {
			return err
		}
		return db.writeBatchEvents(tx, b)
	})
	return b, wrap("cancel a batch", err)
}

// Batch finds one batch.
func (db *DB) Batch(ctx context.Context, id string) (workspace.Batch, error) {
	b, err := oneBatch(db.read.WithContext(ctx).Raw("SELECT * FROM batches WHERE id = ?", id))
	return b, wrap("read a batch", err)
}

// BatchesByID finds several; what does not exist is left out.
func (db *DB) BatchesByID(ctx context.Context, ids []string) (map[string]workspace.Batch, error) {
	var rows []batchRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM batches WHERE id ?", among(db, ids)).Scan(&rows).Error; err != nil {
		return nil, wrap("read batches", err)
	}
	found := make(map[string]workspace.Batch, len(rows))
	for _, r := range rows {
		found[r.ID] = r.toBatch()
	}
	return found, nil
}

// RunningBatches lists those that have live items.
func (db *DB) RunningBatches(ctx context.Context) ([]workspace.Batch, error) {
	var rows []batchRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM batches WHERE status = 'RUNNING' ORDER BY id").Scan(&rows).Error; err != nil {
		return nil, wrap("list running batches", err)
	}
	batches := make([]workspace.Batch, len(rows))
	for i, r := range rows {
		batches[i] = r.toBatch()
	}
	return batches, nil
}

// NextItems lists items that have not begun.
func (db *DB) NextItems(ctx context.Context, b workspace.Batch, after, limit int, without []string) ([]workspace.BatchItem, error) {
	read := db.read.WithContext(ctx)
	n, err := underWay(read, b.ID)
	if err != nil {
		return nil, wrap("count the items of a batch", err)
	}
	if limit = min(limit, b.Concurrency-n); limit <= 0 {
		return nil, nil
	}
	var rows []itemRow
	next := read.Where("batch_id = ? AND position > ? AND "+unbegun, b.ID, after)
	if len(without) > 0 {
		next = next.Where("NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = batch_items.workspace_id AND w.owner_id ?)", among(db, without))
	}
	if err := next.Order("position").Limit(limit).Find(&rows).Error; err != nil {
		return nil, wrap("list the next items of a batch", err)
	}
	items := make([]workspace.BatchItem, len(rows))
	for i, r := range rows {
		items[i] = r.toItem()
	}
	return items, nil
}

// ItemsBegun counts the items that have a task, and those whose task has begun.
func (db *DB) ItemsBegun(ctx context.Context, batchIDs []string) (map[string]int, error) {
	var rows []struct {
		BatchID string
		Begun   int
	}
	if err := db.read.WithContext(ctx).Raw(`SELECT i.batch_id, COUNT(CASE WHEN i.task_id <> '' THEN 1 END) + COUNT(t.started_at) AS begun
		FROM batch_items i LEFT JOIN tasks t ON t.id = i.task_id WHERE i.batch_id ? GROUP BY i.batch_id`, among(db, batchIDs)).Scan(&rows).Error; err != nil {
		return nil, wrap("count the items of batches that have begun", err)
	}
	begun := make(map[string]int, len(rows))
	for _, r := range rows {
		begun[r.BatchID] = r.Begun
	}
	return begun, nil
}

// UnsuccessfulItems lists the workspaces of the items that failed or were cancelled, in their order.
func (db *DB) UnsuccessfulItems(ctx context.Context, batchID string) (ids []string, err error) {
	err = db.read.WithContext(ctx).Raw("SELECT workspace_id FROM batch_items WHERE batch_id = ? AND status IN ('FAILED', 'CANCELLED') ORDER BY position",
		batchID).Scan(&ids).Error
	return ids, wrap("list the items of a batch", err)
}

// PruneBatches deletes batches that have ended, with their items.
func (db *DB) PruneBatches(ctx context.Context, age time.Duration, limit int) (int, error) {
	r := db.write.WithContext(ctx).Exec(`DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE finished_at < ? ORDER BY finished_at, id LIMIT ?`+db.skipLocked("batches")+`)`,
		db.now(-age), limit)
	return int(r.RowsAffected), wrap("prune batches", r.Error)
}

// Batches lists a page, newest first.
func (db *DB) Batches(ctx context.Context, ownerID string, w workspace.Window) (workspace.Page[workspace.Batch], error) {
	where := func() *gorm.DB {
		g := db.read.WithContext(ctx).Table("batches")
		if ownerID != "" {
			g = g.Where("owner_id = ?", ownerID)
		}
		return g
	}
	return list(where, listing{"batches", "created_at", true, ownerID}, w, batchRow.toBatch, func(r batchRow) (any, string) { return r.CreatedAt, r.ID })
}

// BatchItems lists a page, in the order asked for. An item runs when its task has begun, and lives when it ended after the revision.
func (db *DB) BatchItems(ctx context.Context, batchID string, revision int64, w workspace.Window) (workspace.Page[workspace.BatchItem], error) {
	where := func() *gorm.DB {
		return db.read.WithContext(ctx).Table(`(SELECT i.batch_id, i.position, i.workspace_id, i.workspace_id AS id, i.task_id,
				CASE WHEN i.revision <= ? THEN i.failure END AS failure,
				CASE WHEN i.status <> 'QUEUED' AND i.revision <= ? THEN i.status WHEN t.started_at IS NOT NULL THEN 'RUNNING' ELSE 'QUEUED' END AS status
			FROM batch_items i LEFT JOIN tasks t ON t.id = i.task_id WHERE i.batch_id = ?) AS items`, revision, revision, batchID)
	}
	return list(where, listing{"the items of a batch", "position", false, batchID}, w, itemRow.toItem, func(r itemRow) (any, string) { return r.Position, r.WorkspaceID })
}

type batchRow struct {
	ID, OwnerID, Operation, Status               string
	DryRun                                       bool
	Concurrency                                  int
	StopOnError, Cancel                          bool
	Total, Succeeded, Failed, Skipped, Cancelled int
	CreatedAt                                    micros `gorm:"autoCreateTime:false"`
	FinishedAt                                   *micros
	Revision                                     int64
}

func (batchRow) TableName() string { return "batches" }

func toBatchRow(b workspace.Batch) batchRow {
	return batchRow{
		ID: b.ID, OwnerID: b.OwnerID, Operation: string(b.Operation), Status: string(b.Status), DryRun: b.DryRun, Concurrency: b.Concurrency,
		StopOnError: b.StopOnError, Cancel: b.Cancel, Total: b.Total, Succeeded: b.Succeeded, Failed: b.Failed, Skipped: b.Skipped,
		Cancelled: b.Cancelled, CreatedAt: toMicros(b.CreatedAt), FinishedAt: optMicros(b.FinishedAt), Revision: b.Revision,
	}
}

func (r batchRow) toBatch() workspace.Batch {
	return workspace.Batch{
		ID: r.ID, OwnerID: r.OwnerID, Operation: task.Type(r.Operation), Status: workspace.BatchStatus(r.Status), DryRun: r.DryRun,
		Concurrency: r.Concurrency, StopOnError: r.StopOnError, Cancel: r.Cancel, Total: r.Total, Succeeded: r.Succeeded, Failed: r.Failed,
		Skipped: r.Skipped, Cancelled: r.Cancelled, CreatedAt: r.CreatedAt.time(), FinishedAt: optTime(r.FinishedAt), Revision: r.Revision,
	}
}

type itemRow struct {
	BatchID     string
	Position    int
	WorkspaceID string
	Status      string
	TaskID      string
	Failure     *task.Failure `gorm:"serializer:json"`
	Revision    int64         // of the batch, that its last change came with
}

func (itemRow) TableName() string { return "batch_items" }

func toItemRow(i workspace.BatchItem) itemRow {
	return itemRow{BatchID: i.BatchID, Position: i.Position, WorkspaceID: i.WorkspaceID, Status: string(i.Status), TaskID: i.TaskID, Failure: i.Failure}
}

func (r itemRow) toItem() workspace.BatchItem {
	return workspace.BatchItem{BatchID: r.BatchID, Position: r.Position, WorkspaceID: r.WorkspaceID, Status: workspace.ItemStatus(r.Status), TaskID: r.TaskID, Failure: r.Failure}
}
