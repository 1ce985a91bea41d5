package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Owners take turns, by start-time fair queueing (Goyal, Vin and Cheng, "Start-time fair queuing", 1996) with tasks of equal weight.
// A task gets its turn when it is queued: one more than the newest live one of its owner in its lane, but not less than the turn that is
// served now. So an owner's thousand tasks have a thousand turns, and another owner's one goes with the first of them. Turns decide among owners who
// have as many workers busy; a free one goes to who has the fewest.

// newTurn asks for the turn of a new task. The first of an order is asked for, and not the least of all: PostgreSQL reads one row for that
// whatever it knows of the table, where it reads all that wait for the other until it has been analysed.
const newTurn = `SELECT MAX(v) FROM (
		SELECT COALESCE((SELECT turn FROM tasks WHERE status = 'RUNNING' ORDER BY turn DESC LIMIT 1),
			(SELECT turn FROM tasks WHERE ` + waitingTasks + ` AND run_at <= ? ORDER BY turn LIMIT 1),
			(SELECT turn FROM tasks WHERE ` + waitingTasks + ` ORDER BY turn LIMIT 1), 0) AS v
		UNION ALL SELECT COALESCE((SELECT turn + 1 FROM tasks WHERE owner_id = ? AND lane = ? AND ` + liveTasks + ` ORDER BY turn DESC LIMIT 1), 0)) turns`

// nextTurn is the turn of a task that an owner adds to a lane, as a part of the statement that adds it. The turn that is served now is that of what runs,
// or else of what would be claimed; of what is not due yet only when there is nothing else. Two that are added at once may get the same one.
func (db *DB) nextTurn(lane task.Lane, owner string) clause.Expr {
	return gorm.Expr("("+newTurn+")", db.now(0), owner, lane)
}

// requeue gives what goes back to the queue for a while a new turn, behind what else its owner has there: with its old one, an owner's many that fail
// would be before everybody else's each time. What is given back at once keeps its turn.
func (db *DB) requeue(tx *gorm.DB, d *workspace.Draft) error {
	for _, t := range d.Requeued() {
		if err := later(tx).Exec("UPDATE tasks SET turn = ? WHERE id = ?", db.nextTurn(t.Type.Lane(), t.OwnerID), t.ID).Error; err != nil {
			return err
		}
	}
	return nil
}

// halted is a condition on a task t: its batch lets nothing begin any more, and whoever dispatches batches is about to cancel it. A
// deletion is not cancelled.
const halted = `t.batch_id <> '' AND t.started_at IS NULL AND t.type <> 'DELETE'
	AND EXISTS (SELECT 1 FROM batches b WHERE b.id = t.batch_id AND (b.cancel OR b.stop_on_error AND b.failed > 0))`

// shares finds and locks candidates for the free slots, as the parts of a WITH: of the owners who have as many busy those whose turn it is, as many as there
// are slots. There are few such parts, since the numbers add up to no more than the workers.
func (db *DB) shares(slots task.Slots) (parts string, args []any) {
	byBusy := make(map[int][]string)
	for owner, n := range slots.Busy {
		byBusy[n] = append(byBusy[n], owner)
	}
	whose := ""
	if len(slots.Busy) > 0 {
		whose, args = " AND NOT (t.owner_id ?)", []any{among(db, slices.Sorted(maps.Keys(slots.Busy)))}
	}
	args = append(args, db.now(0))
	var with, from strings.Builder
	with.WriteString("part0 AS (" + db.due(0, whose, slots.Free) + ")")
	from.WriteString("SELECT * FROM part0")
	for _, n := range slices.Sorted(maps.Keys(byBusy)) {
		slices.Sort(byBusy[n])
		fmt.Fprintf(&with, ", part%d AS (%s)", n, db.due(n, " AND t.owner_id ?", slots.Free))
		fmt.Fprintf(&from, " UNION ALL SELECT * FROM part%d", n)
		args = append(args, among(db, byBusy[n]), db.now(0))
	}
	return with.String() + ", candidates AS (" + from.String() + ")", args
}

// due finds and locks the tasks that are next of some owners, who have as many busy; its last argument is the time. The numbers are part of the text: PostgreSQL
// plans anew at each claim, which takes longer than the claim, when it cannot see how few rows there will be.
func (db *DB) due(busy int, whose string, most int) string {
	return `SELECT t.id, t.owner_id, t.turn, ` + strconv.Itoa(busy) + ` AS busy FROM tasks t WHERE t.` + waitingTasks + whose + ` AND t.run_at <= ? AND NOT EXISTS (
			SELECT 1 FROM tasks o` + db.byLive() + ` WHERE o.workspace_id = t.workspace_id AND o.` + liveTasks + ` AND (o.id < t.id OR o.status = 'RUNNING'))
			AND NOT (` + halted + `)
		ORDER BY t.turn, t.id LIMIT ` + strconv.Itoa(max(0, most)) + db.skipLocked("t")
}
