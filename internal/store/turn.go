package store

import (
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
)

// Owners take turns, by start-time fair queueing (Goyal, Vin and Cheng, "Start-time fair queuing", 1996) with tasks of equal weight.
// A task gets its turn when it is queued: one more than the newest live one of its owner, but not less than the turn that is
// served now. So an owner's thousand tasks have a thousand turns, and another owner's one goes with the first of them. Each
// lane counts its own turns. What goes back to the queue keeps its turn.

// nextTurn is the turn of a task that an owner adds to a lane. The turn that is served now is that of what runs, or else of what
// would be claimed; of what is not due yet only when there is nothing else. Two that are added at once may get the same one.
func nextTurn(tx *gorm.DB, lane task.Lane, owner string, now time.Time) (turn int64, err error) {
	err = tx.Raw(`SELECT MAX(v) FROM (
			SELECT COALESCE((SELECT MAX(turn) FROM tasks WHERE status = 'RUNNING' AND lane = ?),
				(SELECT MIN(turn) FROM tasks WHERE `+waitingTasks+` AND lane = ? AND run_at <= ?),
				(SELECT MIN(turn) FROM tasks WHERE `+waitingTasks+` AND lane = ?), 0) AS v
			UNION ALL SELECT COALESCE((SELECT MAX(turn) + 1 FROM tasks WHERE owner_id = ? AND lane = ? AND `+liveTasks+`), 0)) turns`,
		lane, lane, toMicros(now), lane, owner, lane).Scan(&turn).Error
	return turn, err
}

// halted is a condition on a task t: its batch lets nothing begin any more, and whoever dispatches batches is about to cancel it. A
// deletion is not cancelled.
const halted = `t.batch_id <> '' AND t.started_at IS NULL AND t.type <> 'DELETE'
	AND EXISTS (SELECT 1 FROM batches b WHERE b.id = t.batch_id AND (b.cancel OR b.stop_on_error AND b.failed > 0))`

// due finds and locks the tasks of a lane that are next.
func (db *DB) due(tx *gorm.DB, lane task.Lane, limit int, now time.Time) (ids []string, err error) {
	if limit <= 0 {
		return nil, nil
	}
	skip := ""
	if db.dialect == Postgres {
		skip = " FOR UPDATE OF t SKIP LOCKED"
	}
	err = tx.Raw(`SELECT t.id FROM tasks t WHERE t.`+waitingTasks+` AND t.lane = ? AND t.run_at <= ? AND NOT EXISTS (
			SELECT 1 FROM tasks o WHERE o.workspace_id = t.workspace_id AND o.`+liveTasks+` AND (o.id < t.id OR o.status = 'RUNNING'))
			AND NOT (`+halted+`)
		ORDER BY t.turn, t.id LIMIT ?`+skip, lane, toMicros(now), limit).Scan(&ids).Error
	return ids, err
}

// takeTurns gives as many as there are slots, one of each lane in turn as long as there are both, the lane whose turn it is first.
func takeTurns(slots task.Slots, quick, slow []string) []string {
	lanes := [][]string{task.Quick: quick, task.Slow: slow}
	taken := make([]string, 0, slots.Free)
	for i := 0; len(taken) < slots.Free && (i < len(quick) || i < len(slow)); i++ {
		for _, list := range [][]string{lanes[slots.First], lanes[slots.First.Next()]} {
			if i < len(list) && len(taken) < slots.Free {
				taken = append(taken, list[i])
			}
		}
	}
	return taken
}
