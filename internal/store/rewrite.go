package store

import (
	"encoding/json"
	"strings"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// column is one that is rewritten: its name, its type, which both dialects know, and its value in a row.
type column[R any] struct {
	name, typ string
	value     func(R) (any, error)
}

func plain[R any](name, typ string, value func(R) any) column[R] {
	return column[R]{name, typ, func(r R) (any, error) { return value(r), nil }}
}

// encoded is a column of JSON.
func encoded[R any](name string, value func(R) any) column[R] {
	return column[R]{name, "TEXT", func(r R) (any, error) {
		text, err := json.Marshal(value(r))
		return string(text), err
	}}
}

// optional is a column of JSON that is NULL for none.
func optional[R, V any](name string, value func(R) *V) column[R] {
	return column[R]{name, "TEXT", func(r R) (any, error) {
		f := value(r)
		if f == nil {
			return nil, nil
		}
		text, err := json.Marshal(f)
		return string(text), err
	}}
}

// namesOf is the names of columns, as a list.
func namesOf[R any](columns []column[R]) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.name
	}
	return strings.Join(all, ", ")
}

// rewrite writes some columns of rows that exist, all by one statement. guard is one more condition on a row and on v, what is written over it; changed is
// the failure where one does not hold. An upsert would do the same, but enters each row in the indexes to see that it is there.
func rewrite[R any](db *DB, tx *gorm.DB, table string, columns []column[R], rows []R, guard string, changed error) error {
	set := make([]string, 0, len(columns))
	for _, c := range columns {
		if c.name != "id" {
			set = append(set, c.name+" = v."+c.name)
		}
	}
	values, args, err := tableOf(db, columns, rows)
	if err != nil {
		return err
	}
	return db.exactly(tx, len(rows), changed, "WITH v ("+namesOf(columns)+") AS ("+values+") UPDATE "+table+" SET "+
		strings.Join(set, ", ")+" FROM v WHERE "+table+".id = v.id"+guard, args...)
}

// tableOf is a query for the values of columns in rows, with its arguments. PostgreSQL knows a statement by its text, so that gets an argument for each column, and SQLite one for
// each value.
func tableOf[R any](db *DB, columns []column[R], rows []R) (query string, args []any, err error) {
	marks := make([]string, len(columns))
	if db.dialect == Postgres {
		for i, c := range columns {
			all := columnOf{elements: make([]any, len(rows))}
			for j, r := range rows {
				if all.elements[j], err = c.value(r); err != nil {
					return "", nil, err
				}
			}
			marks[i], args = "?::"+c.typ+"[]", append(args, all)
		}
		return "SELECT * FROM UNNEST(" + strings.Join(marks, ", ") + ")", args, nil
	}
	first := make([]string, len(columns))
	for i, c := range columns {
		marks[i], first[i] = "?", "CAST(? AS "+c.typ+")" // the first row says of what types all are
	}
	values := make([]string, len(rows))
	for i, r := range rows {
		values[i] = "(" + strings.Join(marks, ", ") + ")"
		for _, c := range columns {
			value, err := c.value(r)
			if err != nil {
				return "", nil, err
			}
			args = append(args, value)
		}
	}
	values[0] = "(" + strings.Join(first, ", ") + ")"
	return "VALUES " + strings.Join(values, ", "), args, nil
}

const (
	text    = "TEXT"
	integer = "BIGINT"
	decimal = "DOUBLE PRECISION"
	boolean = "BOOLEAN"
)

// taskColumns are those that change while a task lives. Its lane and its turn change in another way: see requeue.
var taskColumns = []column[taskRow]{
	plain("id", text, func(r taskRow) any { return r.ID }),
	plain("status", text, func(r taskRow) any { return r.Status }),
	plain("attempt", integer, func(r taskRow) any { return r.Attempt }),
	plain("step", text, func(r taskRow) any { return r.Step }),
	plain("progress", decimal, func(r taskRow) any { return r.Progress }),
	optional("failure", func(r taskRow) *task.Failure { return r.Failure }),
	encoded("params", func(r taskRow) any { return r.Params }),
	plain("run_at", integer, func(r taskRow) any { return r.RunAt }),
	plain("finished_at", integer, func(r taskRow) any { return r.FinishedAt }),
	plain("revision", integer, func(r taskRow) any { return r.Revision }),
	plain("lease_holder", text, func(r taskRow) any { return r.LeaseHolder }),
	plain("cancel", boolean, func(r taskRow) any { return r.Cancel }),
	plain("in_batch", boolean, func(r taskRow) any { return r.InBatch }),
	plain("batch_id", text, func(r taskRow) any { return r.BatchID }),
	plain("stop_by", integer, func(r taskRow) any { return r.StopBy }),
}

// freshColumns are those of a new task, but for its turn.
var freshColumns = append([]column[taskRow]{
	plain("type", text, func(r taskRow) any { return r.Type }),
	plain("workspace_id", text, func(r taskRow) any { return r.WorkspaceID }),
	plain("owner_id", text, func(r taskRow) any { return r.OwnerID }),
	plain("requested_by", text, func(r taskRow) any { return r.RequestedBy }),
	plain("max_attempts", integer, func(r taskRow) any { return r.MaxAttempts }),
	plain("created_at", integer, func(r taskRow) any { return r.CreatedAt }),
	plain("started_at", integer, func(r taskRow) any { return r.StartedAt }),
	plain("lease_token", integer, func(r taskRow) any { return r.LeaseToken }),
	plain("lease_until", integer, func(r taskRow) any { return r.LeaseUntil }),
	plain("lane", integer, func(r taskRow) any { return r.Lane }),
}, taskColumns...)

// insertTask inserts a new task, which gets its turn.
func (db *DB) insertTask(tx *gorm.DB, row taskRow) error {
	names, marks := make([]string, 0, len(freshColumns)), make([]string, 0, len(freshColumns))
	args := make([]any, 0, len(freshColumns)+1)
	for _, c := range freshColumns {
		value, err := c.value(row)
		if err != nil {
			return err
		}
		names, marks, args = append(names, c.name), append(marks, "?"), append(args, value)
	}
	return later(tx).Exec("INSERT INTO tasks ("+strings.Join(names, ", ")+", turn) VALUES ("+strings.Join(marks, ", ")+", ?)",
		append(args, db.nextTurn(task.Lane(row.Lane), row.OwnerID))...).Error
}

// stateColumns are those of a workspace that its tasks change.
var stateColumns = []column[workspaceRow]{
	plain("id", text, func(r workspaceRow) any { return r.ID }),
	plain("desired_state", text, func(r workspaceRow) any { return r.DesiredState }),
	plain("asked_at", integer, func(r workspaceRow) any { return r.AskedAt }),
	encoded("recovery", func(r workspaceRow) any { return r.Recovery }),
	optional("failure", func(r workspaceRow) *task.Failure { return r.Failure }),
	plain("status", text, func(r workspaceRow) any { return r.Status }),
	plain("status_reason", text, func(r workspaceRow) any { return r.StatusReason }),
	plain("status_since", integer, func(r workspaceRow) any { return r.StatusSince }),
	plain("active_task_count", integer, func(r workspaceRow) any { return r.ActiveTaskCount }),
	plain("updated_at", integer, func(r workspaceRow) any { return r.UpdatedAt }),
	plain("version", integer, func(r workspaceRow) any { return r.Version }),
}

// allColumns are all that may change.
var allColumns = append([]column[workspaceRow]{
	plain("name", text, func(r workspaceRow) any { return r.Name }),
	plain("name_key", text, func(r workspaceRow) any { return r.NameKey }),
	plain("image", text, func(r workspaceRow) any { return r.Image }),
	encoded("command", func(r workspaceRow) any { return r.Command }),
	encoded("environment", func(r workspaceRow) any { return r.Environment }),
	encoded("labels", func(r workspaceRow) any { return r.Labels }),
	plain("cpus", decimal, func(r workspaceRow) any { return r.Cpus }),
	plain("memory_bytes", integer, func(r workspaceRow) any { return r.MemoryBytes }),
	plain("pids", integer, func(r workspaceRow) any { return r.Pids }),
	encoded("policy", func(r workspaceRow) any { return r.Policy }),
	optional("health_check", func(r workspaceRow) *workspace.HealthCheck { return r.HealthCheck }),
	optional("last_exit", func(r workspaceRow) *workspace.Exit { return r.LastExit }),
	encoded("observed", func(r workspaceRow) any { return r.Observed }),
}, stateColumns...)
