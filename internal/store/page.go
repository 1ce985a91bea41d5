package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// listing is what a cursor is a place in. In another list, order or filter it would tell of a wrong page, so it is refused there.
type listing struct {
	noun, column string
	descending   bool
	filter       any // without its window, and with its sets in order
}

// mark is what cursors carry of it. It is no secret: whoever makes one up reads no more than the filter gives. Where a filter gets a new field in a later version,
// cursors of the version before are refused.
func (l listing) mark() string {
	text, err := json.Marshal([]any{l.noun, l.column, l.descending, l.filter})
	if err != nil {
		panic(err) // texts and numbers
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// position is what a cursor hides: what it is a place in, the value of the order field, and the id that breaks ties. Pages are found by it,
// not by counting, so what is inserted or deleted meanwhile neither repeats nor hides a row.
type position struct {
	Listing string          `json:"l"`
	Value   json.RawMessage `json:"v"`
	ID      string          `json:"i"`
}

func encodeCursor(mark string, value any, id string) string {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // a number or a string
	}
	text, err := json.Marshal(position{mark, raw, id})
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// maxCursor bounds what is decoded: a name of 100 characters in JSON and base64, and some room.
const maxCursor = 2048

// decodeCursor gives the value as *T and the id, of a cursor that the listing with this mark has given.
func decodeCursor[T any](cursor, mark, argument string) (value T, id string, err error) {
	var p position
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if len(cursor) > maxCursor || err != nil || json.Unmarshal(text, &p) != nil || p.ID == "" || strings.ContainsRune(p.ID, 0) {
		return value, "", badCursor(argument, "The cursor is not one that this list has given. Leave it out to begin at the start.")
	}
	if p.Listing != "" && p.Listing != mark {
		return value, "", badCursor(argument, "The cursor was given for another list, order or filter. Use it with the arguments that it was given for, or leave it out to begin at the start.")
	}
	if p.Listing == "" || json.Unmarshal(p.Value, &value) != nil {
		return value, "", badCursor(argument, "The cursor is not one that this list has given. Leave it out to begin at the start.")
	}
	return value, p.ID, nil
}

func badCursor(argument, message string) error {
	return &workspace.Error{Code: workspace.BadUserInput, Message: message, Field: []string{argument}}
}

// nameKey is the key of a name in a cursor.
type nameKey string

// UnmarshalJSON refuses what no name has and PostgreSQL does not take.
func (k *nameKey) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, (*string)(k)); err != nil {
		return err
	}
	if strings.ContainsRune(string(*k), 0) {
		return errNoName
	}
	return nil
}

var errNoName = errors.New("it has a character that no name has")

// window narrows a query to a page by (column, id), both in the same direction.
func window[T any](q *gorm.DB, l listing, w workspace.Window) (*gorm.DB, error) {
	after, before, backward := ">", "<", w.Last > 0
	if l.descending {
		after, before = before, after
	}
	for _, edge := range []struct{ cursor, argument, operator string }{{w.After, "after", after}, {w.Before, "before", before}} {
		if edge.cursor == "" {
			continue
		}
		value, id, err := decodeCursor[T](edge.cursor, l.mark(), edge.argument)
		if err != nil {
			return nil, err
		}
		q = q.Where("("+l.column+", id) "+edge.operator+" (?, ?)", value, id)
	}
	direction := "ASC"
	if l.descending != backward {
		direction = "DESC"
	}
	return q.Order(l.column + " " + direction + ", id " + direction).Limit(max(w.First, w.Last) + 1), nil
}

// pageOf cuts the row that was read too many, and turns a backward page round. place is where a row stands in the listing.
func pageOf[R, T any](rows []R, l listing, w workspace.Window, convert func(R) T, place func(R) (value any, id string)) workspace.Page[T] {
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
	mark := l.mark()
	for i, r := range rows {
		value, id := place(r)
		p.Items[i], p.Cursors[i] = convert(r), encodeCursor(mark, value, id)
	}
	return p
}

// list reads a page of what a query selects, ordered by a column of numbers.
func list[R, T any](where func() *gorm.DB, l listing, w workspace.Window, convert func(R) T, place func(R) (any, string)) (workspace.Page[T], error) {
	total, err := count(where, l.noun, w)
	if err != nil {
		return workspace.Page[T]{}, err
	}
	selected, err := window[int64](where(), l, w)
	if err != nil {
		return workspace.Page[T]{}, err
	}
	var rows []R
	if err := selected.Find(&rows).Error; err != nil {
		return workspace.Page[T]{}, wrap("list "+l.noun, err)
	}
	p := pageOf(rows, l, w, convert, place)
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
	l := listing{"workspaces", "created_at", q.Descending, workspaceFilter(q)}
	place := func(r workspaceRow) (any, string) { return r.CreatedAt, r.ID }
	switch q.OrderBy {
	case workspace.ByName:
		l.column, place = "name_key", func(r workspaceRow) (any, string) { return r.NameKey, r.ID }
		selected, err = window[nameKey](selected, l, q.Window)
	case workspace.ByUpdatedAt:
		l.column, place = "updated_at", func(r workspaceRow) (any, string) { return r.UpdatedAt, r.ID }
		selected, err = window[int64](selected, l, q.Window)
	default:
		selected, err = window[int64](selected, l, q.Window)
	}
	if err != nil {
		return none, err
	}
	var rows []workspaceRow
	if err := selected.Find(&rows).Error; err != nil {
		return none, wrap("list workspaces", err)
	}
	p := pageOf(rows, l, q.Window, workspaceRow.toWorkspace, place)
	p.Total = total
	return p, nil
}

// workspaceFilter is what a query selects, the same for the same sets.
func workspaceFilter(q workspace.Query) workspace.Query {
	q.Window, q.OrderBy, q.Descending = workspace.Window{}, "", false // the listing has its order, with its default
	q.NameContains = workspace.Key(q.NameContains)
	q.IDs, q.Status, q.Labels = inOrder(q.IDs), inOrder(q.Status), append([]workspace.Label(nil), q.Labels...) // no labels, and none given, are the same
	slices.SortFunc(q.Labels, func(a, b workspace.Label) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
	})
	q.Labels = slices.Compact(q.Labels)
	return q
}

// inOrder sorts a copy of a set and has each value once; none and an empty one stay what they are.
func inOrder[T cmp.Ordered](set []T) []T {
	set = slices.Clone(set)
	slices.Sort(set)
	return slices.Compact(set)
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
	filter := q
	filter.Window, filter.Types, filter.Status = workspace.Window{}, inOrder(q.Types), inOrder(q.Status)
	return list(where, listing{"tasks", "created_at", true, filter}, q.Window, taskRow.toTask, func(r taskRow) (any, string) { return r.CreatedAt, r.ID })
}
