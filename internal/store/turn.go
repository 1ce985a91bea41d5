package store

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Owners take turns, by start-time fair queueing (Goyal, Vin and Cheng, "Start-time fair queuing", 1996) with tasks of equal weight.
// A task gets its turn when it is queued: one more than the newest live one of its owner, but not less than the turn that is
// served now. So an owner's thousand tasks have a thousand turns, and another owner's one goes with the first of them. Each
// lane counts its own turns.

// newTurn asks for the turn of a new task. The first of an order is asked for, and not the least of all: PostgreSQL reads one row for that
// whatever it knows of the table, where it reads all that wait for the other until it has been analysed.
const newTurn = `SELECT MAX(v) FROM (
		SELECT COALESCE((SELECT turn FROM tasks WHERE status = 'RUNNING' AND lane = ? ORDER BY turn DESC LIMIT 1),
			(SELECT turn FROM tasks WHERE ` + waitingTasks + ` AND lane = ? AND run_at <= ? ORDER BY turn LIMIT 1),
			(SELECT turn FROM tasks WHERE ` + waitingTasks + ` AND lane = ? ORDER BY turn LIMIT 1), 0) AS v
		UNION ALL SELECT COALESCE((SELECT turn + 1 FROM tasks WHERE owner_id = ? AND lane = ? AND ` + liveTasks + ` ORDER BY turn DESC LIMIT 1), 0)) turns`

// nextTurn is the turn of a task that an owner adds to a lane, as a part of the statement that adds it. The turn that is served now is that of what runs,
// or else of what would be claimed; of what is not due yet only when there is nothing else. Two that are added at once may get the same one.
func (db *DB) nextTurn(lane task.Lane, owner string) clause.Expr {
	return gorm.Expr("("+newTurn+")", lane, lane, db.now(0), lane, owner, lane)
}

// requeue gives what goes back to the queue for a while, or to another lane, a new turn, behind what else its owner has there: with its old
// one, an owner's many that fail would be before everybody else's each time. What is given back at once keeps its turn.
func (db *DB) requeue(tx *gorm.DB, d *workspace.Draft) error {
	for _, t := range d.Requeued() {
		if err := later(tx).Exec("UPDATE tasks SET lane = ?, turn = ? WHERE id = ?", t.Lane(), db.nextTurn(t.Lane(), t.OwnerID), t.ID).Error; err != nil {
			return err
		}
	}
	return nil
}

// halted is a condition on a task t: its batch lets nothing begin any more, and whoever dispatches batches is about to cancel it. A
// deletion is not cancelled.
const halted = `t.batch_id <> '' AND t.started_at IS NULL AND t.type <> 'DELETE'
	AND EXISTS (SELECT 1 FROM batches b WHERE b.id = t.batch_id AND (b.cancel OR b.stop_on_error AND b.failed > 0))`

// due finds and locks the tasks of a lane that are next; its argument is the time. The numbers are part of the text: PostgreSQL plans
// anew at each claim, which takes longer than the claim, when it cannot see how few rows there will be.
func (db *DB) due(lane task.Lane, most int) string {
	return `SELECT t.id, t.lane, t.turn FROM tasks t WHERE t.` + waitingTasks + ` AND t.lane = ` + strconv.Itoa(int(lane)) + ` AND t.run_at <= ? AND NOT EXISTS (
			SELECT 1 FROM tasks o` + db.byLive() + ` WHERE o.workspace_id = t.workspace_id AND o.` + liveTasks + ` AND (o.id < t.id OR o.status = 'RUNNING'))
			AND NOT (` + halted + `)
		ORDER BY t.turn, t.id LIMIT ` + strconv.Itoa(max(0, most)) + db.skipLocked("t")
}

// inTurn puts what was claimed into its order: one of each lane in turn as long as there are both, the lane whose turn it is first.
func inTurn(slots task.Slots, claimed []taskRow) []taskRow {
	slices.SortFunc(claimed, func(a, b taskRow) int { return cmp.Or(cmp.Compare(a.Turn, b.Turn), strings.Compare(a.ID, b.ID)) })
	lanes := make(map[task.Lane][]taskRow)
	for _, r := range claimed {
		lanes[task.Lane(r.Lane)] = append(lanes[task.Lane(r.Lane)], r)
	}
	ordered := make([]taskRow, 0, len(claimed))
	for lane := slots.First; len(ordered) < len(claimed); lane = lane.Next() {
		if next := lanes[lane]; len(next) > 0 {
			ordered, lanes[lane] = append(ordered, next[0]), next[1:]
		}
	}
	return ordered
}
