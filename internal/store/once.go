package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/workspace"
)

type keyRow struct {
	Caller, Key, Fingerprint, WorkspaceID, TaskID, BatchID string
	CreatedAt                                              micros
}

// useKey writes a key, where there is one. Of two transactions with the same key the second waits for the first, and then finds it.
func (db *DB) useKey(tx *gorm.DB, o workspace.Once) error {
	if o.Key == "" {
		return nil
	}
	return db.exactly(tx, 1, workspace.ErrKeyUsed, `INSERT INTO idempotency_keys (caller, key, fingerprint, workspace_id, task_id, batch_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (caller, key) DO UPDATE SET fingerprint = excluded.fingerprint, workspace_id = excluded.workspace_id,
			task_id = excluded.task_id, batch_id = excluded.batch_id, created_at = excluded.created_at
		WHERE idempotency_keys.created_at < ?`,
		o.Caller, o.Key, o.Fingerprint, o.WorkspaceID, o.TaskID, o.BatchID, db.now(0), db.now(-workspace.KeysFor))
}

// Once finds what a key was used for.
func (db *DB) Once(ctx context.Context, caller, key string) (workspace.Once, error) {
	var rows []keyRow
	if err := db.read.WithContext(ctx).Raw("SELECT * FROM idempotency_keys WHERE caller = ? AND key = ? AND created_at >= ?",
		caller, key, db.now(-workspace.KeysFor)).Scan(&rows).Error; err != nil {
		return workspace.Once{}, wrap("read an idempotency key", err)
	}
	if len(rows) == 0 {
		return workspace.Once{}, notFound("idempotency key")
	}
	r := rows[0]
	return workspace.Once{Caller: r.Caller, Key: r.Key, Fingerprint: r.Fingerprint, WorkspaceID: r.WorkspaceID, TaskID: r.TaskID, BatchID: r.BatchID}, nil
}

// PruneKeys deletes keys that were used longer ago than age. One that is just being used again is locked, and left.
func (db *DB) PruneKeys(ctx context.Context, age time.Duration, limit int) (int, error) {
	r := db.write.WithContext(ctx).Exec(`DELETE FROM idempotency_keys WHERE (caller, key) IN (SELECT caller, key FROM idempotency_keys
		WHERE created_at < ? ORDER BY created_at LIMIT ?`+db.skipLocked("idempotency_keys")+`)`, db.now(-age), limit)
	return int(r.RowsAffected), wrap("prune idempotency keys", r.Error)
}
