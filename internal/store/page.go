package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// position is what a cursor hides: the value of the order field, and the id that breaks ties. Pages are found by it, not by
// counting, so what is inserted or deleted meanwhile neither repeats nor hides a row.
type position struct {
	Value json.RawMessage `json:"v"`
	ID    string          `json:"i"`
}

func encodeCursor(value any, id string) string {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // a number or a string
	}
	text, err := json.Marshal(position{raw, id})
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// maxCursor bounds what is decoded: a name of 100 characters in JSON and base64, and some room.
const maxCursor = 2048

// decodeCursor gives the value as *T and the id.
func decodeCursor[T any](cursor, argument string) (value T, id string, err error) {
	var p position
	bad := &workspace.Error{Code: workspace.BadUserInput, Message: "The cursor is not one that this list has given. Leave it out to begin at the start.", Field: []string{argument}}
	text, decodeErr := base64.RawURLEncoding.DecodeString(cursor)
	if len(cursor) > maxCursor || decodeErr != nil || json.Unmarshal(text, &p) != nil || json.Unmarshal(p.Value, &value) != nil || p.ID == "" || strings.ContainsRune(p.ID, 0) {
		return value, "", bad
	}
	return value, p.ID, nil
}

// nameKey is the key of a name in a cursor. Older cursors hold the name itself, of which it is made here; of a key it is the same key.
type nameKey string

// UnmarshalJSON refuses what no name has and PostgreSQL does not take.
func (k *nameKey) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	if strings.ContainsRune(name, 0) {
		return errNoName
	}
	*k = nameKey(workspace.Key(name))
	return nil
}

var errNoName = errors.New("it has a character that no name has")

// window narrows a query to a page by (column, id), both in the same direction.
func window[T any](q *gorm.DB, column string, descending bool, w workspace.Window) (*gorm.DB, error) {
	after, before, backward := ">", "<", w.Last > 0
	if descending {
		after, before = before, after
	}
	for _, edge := range []struct{ cursor, argument, operator string }{{w.After, "after", after}, {w.Before, "before", before}} {
		if edge.cursor == "" {
			continue
		}
		value, id, err := decodeCursor[T](edge.cursor, edge.argument)
		if err != nil {
			return nil, err
		}
		q = q.Where("("+column+", id) "+edge.operator+" (?, ?)", value, id)
	}
	direction := "ASC"
	if descending != backward {
		direction = "DESC"
	}
	return q.Order(column + " " + direction + ", id " + direction).Limit(max(w.First, w.Last) + 1), nil
}

// pageOf cuts the row that was read too many, and turns a backward page round.
func pageOf[R, T any](rows []R, w workspace.Window, convert func(R) T, cursor func(R) string) workspace.Page[T] {
	size := max(w.First, w.Last)
	more := len(rows) > size
	if more {
		rows = rows[:size]
	}
	p := workspace.Page[T]{Items: make([]T, len(rows)), Cursors: make([]string, len(rows))}
	p.HasNext, p.HasPrevious = more, w.After != ""
	if w.Last > 0 {
		slices.Reverse(rows)
		p.HasNext, p.HasPrevious = w.Before != "", more
	}
	for i, r := range rows {
		p.Items[i], p.Cursors[i] = convert(r), cursor(r)
	}
	return p
}

// list reads a page of what a query selects, ordered by a column of numbers.
func list[R, T any](where func() *gorm.DB, noun, column string, descending bool, w workspace.Window, convert func(R) T, cursor func(R) string) (workspace.Page[T], error) {
	total, err := count(where, noun, w)
	if err != nil {
		return workspace.Page[T]{}, err
	}
	selected, err := window[int64](where(), column, descending, w)
	if err != nil {
		return workspace.Page[T]{}, err
	}
	var rows []R
	if err := selected.Find(&rows).Error; err != nil {
		return workspace.Page[T]{}, wrap("list "+noun, err)
	}
	p := pageOf(rows, w, convert, cursor)
	p.Total = total
	return p, nil
}

// count says how many a query selects, where that is wanted: it reads them all.
func count(where func() *gorm.DB, noun string, w workspace.Window) (int, error) {
	if w.Uncounted {
		return 0, nil
	}
	var total int64
	err := where().Count(&total).Error
	return int(total), wrap("count "+noun, err)
}

// WorkspaceIDs lists some of those that a query selects, in the order of their creation.
func (db *DB) WorkspaceIDs(ctx context.Context, q workspace.Query, limit int) (ids []string, err error) {
	err = db.filterWorkspaces(db.read.WithContext(ctx).Table("workspaces"), q).Order("created_at, id").Limit(limit).Pluck("id", &ids).Error
	return ids, wrap("list workspaces", err)
}

// Workspaces lists a page.
func (db *DB) Workspaces(ctx context.Context, q workspace.Query) (workspace.Page[workspace.Workspace], error) {
	none := workspace.Page[workspace.Workspace]{}
	where := func() *gorm.DB { return db.filterWorkspaces(db.read.WithContext(ctx).Table("workspaces"), q) }
	total, err := count(where, "workspaces", q.Window)
	if err != nil {
		return none, err
	}
	selected := where().Select("workspaces.*, (SELECT s.slot FROM subnets s WHERE s.workspace_id = workspaces.id) AS slot")
	cursor := func(r workspaceRow) string { return encodeCursor(r.CreatedAt, r.ID) }
	switch q.OrderBy {
	case workspace.ByName:
		cursor = func(r workspaceRow) string { return encodeCursor(r.NameKey, r.ID) }
		selected, err = window[nameKey](selected, "name_key", q.Descending, q.Window)
	case workspace.ByUpdatedAt:
		cursor = func(r workspaceRow) string { return encodeCursor(r.UpdatedAt, r.ID) }
		selected, err = window[int64](selected, "updated_at", q.Descending, q.Window)
	default:
		selected, err = window[int64](selected, "created_at", q.Descending, q.Window)
	}
	if err != nil {
		return none, err
	}
	var rows []workspaceRow
	if err := selected.Find(&rows).Error; err != nil {
		return none, wrap("list workspaces", err)
	}
	p := pageOf(rows, q.Window, workspaceRow.toWorkspace, cursor)
	p.Total = total
	return p, nil
}

func (db *DB) filterWorkspaces(g *gorm.DB, q workspace.Query) *gorm.DB {
	if q.OwnerID != "" {
		g = g.Where("owner_id = ?", q.OwnerID)
	}
	if q.IDs != nil {
		g = g.Where("id ?", among(db, q.IDs))
	}
	if q.Status != nil {
		g = g.Where("status ?", among(db, q.Status))
	}
	if q.NameContains != "" {
		escaped := strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(workspace.Key(q.NameContains))
		g = g.Where("name_key LIKE ? ESCAPE '!'", "%"+escaped+"%")
	}
	for _, l := range q.Labels {
		g = g.Where("EXISTS (SELECT 1 FROM workspace_labels l WHERE l.workspace_id = workspaces.id AND l.key = ? AND l.value = ?)", l.Key, l.Value)
	}
	return g
}

// Tasks lists a page, newest first.
func (db *DB) Tasks(ctx context.Context, q workspace.TaskQuery) (workspace.Page[task.Task], error) {
	where := func() *gorm.DB {
		g := db.read.WithContext(ctx).Table("tasks")
		if q.OwnerID != "" {
			g = g.Where("owner_id = ?", q.OwnerID)
		}
		if q.WorkspaceID != "" {
			g = g.Where("workspace_id = ?", q.WorkspaceID)
		}
		if q.BatchID != "" {
			g = g.Where("batch_id = ? AND batch_id <> ''", q.BatchID) // as its index says
		}
		if q.Types != nil {
			g = g.Where("type ?", among(db, q.Types))
		}
		if q.Status != nil {
			g = g.Where("status ?", among(db, q.Status))
		}
		return g
	}
	return list(where, "tasks", "created_at", true, q.Window, taskRow.toTask, func(r taskRow) string { return encodeCursor(r.CreatedAt, r.ID) })
}
