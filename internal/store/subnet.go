package store

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/aicli/aicli-web/internal/workspace"
)

// A /28 has room for the gateway and 13 containers; a workspace has one, so this leaves room to grow and fits 4096 networks
// into the default pool.
const (
	subnetBits = 28
	hostBits   = 32 - subnetBits
)

func slotOf(a netip.Addr) int64 {
	b := a.As4()
	return int64(binary.BigEndian.Uint32(b[:]) >> hostBits)
}

func subnetOf(slot int64) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(slot)<<hostBits) //nolint:gosec // a slot has 28 bits
	return netip.PrefixFrom(netip.AddrFrom4(b), subnetBits)
}

// blockedMost bounds how many subnets are blocked at once: the default pool as a whole.
const blockedMost = 4096

// block keeps what of the pool overlaps what is taken from everybody, but for what workspaces have.
func (db *DB) block(tx *gorm.DB, pool netip.Prefix, taken []netip.Prefix, until time.Time) error {
	if err := db.lock(tx, lockSubnets); err != nil {
		return err
	}
	var rows []subnetRow
	for _, t := range taken {
		if !t.Addr().Is4() || !t.Overlaps(pool) {
			continue
		}
		if t.Bits() < pool.Bits() {
			t = pool
		}
		first, count := slotOf(t.Masked().Addr()), int64(1)<<max(0, subnetBits-t.Bits())
		for slot := first; slot < first+count && len(rows) < blockedMost; slot++ {
			rows = append(rows, subnetRow{Slot: slot, BlockedUntil: toMicros(until)})
		}
	}
	return later(tx).Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(rows, rowsAtOnce).Error
}

type subnetRow struct {
	Slot         int64
	BlockedUntil micros
}

func (subnetRow) TableName() string { return "subnets" }

// lost selects the subnets of workspaces that have no row: the foreign key leaves none, but a client that does not heed it does.
func lost(tx *gorm.DB) *gorm.DB {
	return tx.Table("subnets").Where("workspace_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = subnets.workspace_id)")
}

// LostSubnets are those of workspaces that have no row.
func (db *DB) LostSubnets(ctx context.Context, limit int) (map[string]string, error) {
	var rows []struct {
		Slot        int64
		WorkspaceID string
	}
	if err := lost(db.read.WithContext(ctx)).Order("slot").Limit(limit).Find(&rows).Error; err != nil {
		return nil, wrap("find lost subnets", err)
	}
	found := make(map[string]string, len(rows))
	for _, r := range rows {
		found[r.WorkspaceID] = subnetOf(r.Slot).String()
	}
	return found, nil
}

// ReleaseSubnet gives one of them back.
func (db *DB) ReleaseSubnet(ctx context.Context, id string) error {
	return wrap("release a subnet", lost(db.write.WithContext(ctx)).Where("workspace_id = ?", id).Delete(nil).Error)
}

// unblock takes the lock of all subnets, and gives back those that were blocked long enough.
func (db *DB) unblock(tx *gorm.DB) error {
	if err := db.lock(tx, lockSubnets); err != nil {
		return err
	}
	return later(tx).Exec("DELETE FROM subnets WHERE workspace_id IS NULL AND blocked_until <= ?", db.now(0)).Error
}

// freeSlot asks for the lowest free subnet of the pool; nil when there is none. The lock is held.
func (db *DB) freeSlot(pool netip.Prefix, slot **int64) question {
	first := slotOf(pool.Masked().Addr())
	last := first + 1<<(subnetBits-pool.Bits()) - 1
	// It follows a taken one, or begins the pool.
	return question{slot, `SELECT MIN(c.slot) FROM (SELECT CAST(? AS BIGINT) AS slot UNION ALL SELECT slot + 1 FROM subnets WHERE slot >= ? AND slot < ?) c
		WHERE NOT EXISTS (SELECT 1 FROM subnets s WHERE s.slot = c.slot)`, []any{first, first, last}}
}

// reserve takes it for a workspace.
func (db *DB) reserve(tx *gorm.DB, id string, slot *int64) error {
	if slot == nil {
		return db.refuse(tx, &workspace.Error{Code: workspace.QuotaExceeded, Retryable: true,
			Message: "All networks of this server are in use. Delete a workspace that is no longer needed, or ask for a wider network pool."})
	}
	return later(tx).Exec("INSERT INTO subnets (slot, workspace_id) VALUES (?, ?)", *slot, id).Error
}
