package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// Outcomes are committed in groups: while one transaction is under way, what ends meanwhile gathers, and goes with the next one. With
// little to do each has a transaction of its own, at once; with much to do a transaction carries those of many workers.

// finishes are the outcomes that wait for a transaction. There is no goroutine for it: whoever gets its turn writes for all.
type finishes struct {
	turn chan struct{} // holds a token while a transaction is under way

	mu      sync.Mutex
	waiting []*finish
}

func newFinishes() *finishes { return &finishes{turn: make(chan struct{}, 1)} }

// finish is one outcome and, once done is closed, what became of it.
type finish struct {
	lease   task.Lease
	outcome task.Outcome
	done    chan struct{}
	change  workspace.Change
	err     error
}

// errAlone is for those whose group could not be committed: one of them may be the reason, so each tries by itself.
var errAlone = errors.New("the transaction of the group has failed")

// Finish writes how a run ended, together with what follows for the workspace.
func (db *DB) Finish(ctx context.Context, lease task.Lease, o task.Outcome) (workspace.Change, error) {
	f := &finish{lease: lease, outcome: o, done: make(chan struct{})}
	db.finishes.add(f)
	select {
	case db.finishes.turn <- struct{}{}:
		db.finishAll(ctx, f)
		<-db.finishes.turn
	case <-f.done:
	case <-ctx.Done():
		if db.finishes.remove(f) {
			return workspace.Change{}, wrap("finish a task", ctx.Err())
		}
	}
	<-f.done // it is being written, or was
	if errors.Is(f.err, errAlone) {
		if err := db.transact(ctx, func(tx *gorm.DB) error { return db.finish(tx, []*finish{f}) }); err != nil {
			f.err = err
		}
	}
	return f.change, wrap("finish a task", f.err)
}

func (g *finishes) add(f *finish) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, f)
}

// take gives all that wait, to whoever has the turn.
func (g *finishes) take() []*finish {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.waiting
	g.waiting = nil
	return all
}

// remove takes one back; false when somebody is writing it.
func (g *finishes) remove(f *finish) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, f)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// finishAll writes all that wait, unless somebody else was faster with f, and tells them. They are taken once the transaction has its connection,
// so that what ends meanwhile comes along.
func (db *DB) finishAll(ctx context.Context, f *finish) {
	select {
	case <-f.done:
		return
	default: // it waits, and nobody else takes it now
	}
	var group []*finish
	err := db.transact(ctx, func(tx *gorm.DB) error {
		group = db.finishes.take()
		return db.finish(tx, group)
	})
	if len(group) == 0 { // the transaction could not begin
		group = db.finishes.take()
	}
	if err != nil && len(group) > 1 {
		err = errAlone
	}
	for _, f := range group {
		if err != nil {
			f.err = err
		}
		close(f.done)
	}
}

// finish writes outcomes. An error is about all of them; a lease that was lost is in its own.
func (db *DB) finish(tx *gorm.DB, group []*finish) error {
	drafts, err := db.draftsOf(tx, group)
	if err != nil {
		return err
	}
	var changing []*workspace.Draft
	of := make(map[*workspace.Draft][]*finish)
	for _, f := range group {
		d := drafts[f.lease.TaskID]
		if f.err = task.ErrLeaseLost; d == nil || !d.Holds(f.lease) {
			continue
		}
		f.err = nil
		d.Finish(f.lease.TaskID, f.outcome)
		if of[d] == nil {
			changing = append(changing, d)
		}
		of[d] = append(of[d], f)
	}
	changes, err := db.save(tx, changing...)
	for i, ch := range changes {
		for _, f := range of[changing[i]] {
			f.change = ch
		}
	}
	return err
}

// draftsOf locks the workspaces of tasks, in the order of their ids, and gives the draft that each live task belongs to.
func (db *DB) draftsOf(tx *gorm.DB, group []*finish) (map[string]*workspace.Draft, error) {
	ids := make([]string, len(group))
	for i, f := range group {
		ids[i] = f.lease.WorkspaceID
	}
	// The tasks are not locked: whoever changes one that waits has its workspace, and a claim or a lease that ended meanwhile shows when they
	// are rewritten. Locking them all would write each row twice.
	locked, live, now, err := db.lockAll(tx, ids, "")
	if err != nil {
		return nil, err
	}
	drafts := make(map[string]*workspace.Draft)
	for _, w := range locked {
		d := workspace.NewDraft(w, live[w.ID], now)
		for _, t := range live[w.ID] {
			drafts[t.ID] = d
		}
	}
	return drafts, nil
}

// lockAll locks those of several workspaces that exist, in the order of their ids, and gives the live tasks of each and the time. locking is empty, or what
// locks the tasks too. The tasks are read by a statement of their own, which sees what was committed while the rows were waited for.
func (db *DB) lockAll(tx *gorm.DB, ids []string, locking string) (locked []workspace.Workspace, live map[string][]task.Task, now time.Time, err error) {
	var rows []workspaceRow
	var tasks []taskRow
	if err := db.readTogether(tx,
		question{&rows, db.selectWorkspace() + "w.id ? ORDER BY w.id" + db.forUpdate("w"), []any{among(db, ids)}},
		question{&tasks, "SELECT * FROM tasks" + db.byLive() + " WHERE workspace_id ? AND " + liveTasks + " ORDER BY id" + locking, []any{among(db, ids)}},
	); err != nil || len(rows) == 0 {
		return nil, nil, now, err
	}
	locked, live = make([]workspace.Workspace, len(rows)), make(map[string][]task.Task)
	for i, r := range rows {
		locked[i] = r.toWorkspace()
	}
	for _, t := range toTasks(tasks) {
		live[t.WorkspaceID] = append(live[t.WorkspaceID], t)
	}
	return locked, live, rows[0].Now.time(), nil
}
