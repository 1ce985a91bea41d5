package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"
)

// What PostgreSQL is told in a transaction is sent together where nothing between needs an answer: BEGIN with the first statement, what is only written with
// the next one that is asked for something, COMMIT with the last. Each answer that is waited for costs the way to the database and back, and the rows that
// are locked are locked for so long. SQLite is in the process: there each statement is run where it stands.

// later has what tx runs sent with the next statement that is waited for, at the latest with COMMIT. What becomes of it is told there; it says of no rows
// how many they were.
func later(tx *gorm.DB) *gorm.DB { return tx.WithContext(mark(tx, queued{})) }

// exactly has a statement change n rows, or the transaction fail with otherwise. It is sent as by later.
func (db *DB) exactly(tx *gorm.DB, n int, otherwise error, query string, args ...any) error {
	if db.dialect == SQLite {
		done := tx.Exec(query, args...)
		if done.Error == nil && done.RowsAffected != int64(n) {
			return otherwise
		}
		return done.Error
	}
	// The server itself must refuse, since COMMIT may be on its way already. It divides by zero then.
	return tx.WithContext(mark(tx, queued{otherwise: otherwise})).
		Exec("WITH changed AS ("+query+" RETURNING 1) SELECT 1 / (COUNT(*) = ?)::INT FROM changed", append(args, n)...).Error
}

// refuse is for what must not go on for a reason. What became of what was left for later is told before that.
func (db *DB) refuse(tx *gorm.DB, reason error) error {
	if reason == nil || db.dialect == SQLite {
		return reason
	}
	return cmp.Or(tx.Exec("SELECT 1").Error, reason)
}

// question is a query, and what its rows are read into.
type question struct {
	into  any
	query string
	args  []any
}

// readTogether reads the answers of several queries, of which none needs that of another one.
func (db *DB) readTogether(tx *gorm.DB, questions ...question) error {
	last := len(questions) - 1
	if db.dialect == SQLite || last == 0 || tx.Statement.Context.Value(togetherKey{}) == nil {
		for _, q := range questions {
			if err := tx.Raw(q.query, q.args...).Scan(q.into).Error; err != nil {
				return err
			}
		}
		return nil
	}
	ahead := tx.WithContext(mark(tx, queued{answers: true}))
	for _, q := range questions[:last] {
		if err := ahead.Exec(q.query, q.args...).Error; err != nil {
			return err
		}
	}
	rows, err := tx.Raw(questions[last].query, questions[last].args...).Rows()
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for _, q := range questions {
		if rows.Next() {
			if err := tx.ScanRows(rows, q.into); err != nil {
				return err
			}
		}
		rows.NextResultSet()
	}
	return rows.Err()
}

type (
	togetherKey struct{}
	laterKey    struct{}
)

// together marks a transaction as one whose statements may be sent together.
func together(ctx context.Context) context.Context {
	return context.WithValue(ctx, togetherKey{}, true)
}

func mark(tx *gorm.DB, s queued) context.Context {
	return context.WithValue(tx.Statement.Context, laterKey{}, s)
}

// queued is a statement that waits to be sent.
type queued struct {
	query     string
	args      []any
	answers   bool  // its rows are wanted
	otherwise error // what a division by zero means
}

// connector makes the connections to PostgreSQL.
type connector struct{ driver.Connector }

// Connect is part of driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: made.(*stdlib.Conn)}, nil //nolint:forcetypeassert,errcheck // there is no other
}

// conn is a connection. database/sql has one caller at a time use it.
type conn struct {
	*stdlib.Conn

	together bool // in a transaction that is sent together
	sent     bool // of which something was sent
	waiting  []queued
}

// BeginTx is part of driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if ctx.Value(togetherKey{}) == nil || opts != (driver.TxOptions{}) {
		return c.Conn.BeginTx(ctx, opts)
	}
	if c.Conn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	c.together, c.sent, c.waiting = true, false, []queued{{query: "BEGIN"}}
	return transaction{ctx, c}, nil
}

// IsValid is part of driver.Validator: a transaction whose context has ended leaves a connection that can be used again, unless it was closed.
func (c *conn) IsValid() bool { return !c.Conn.Conn().IsClosed() }

// ExecContext is part of driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !c.together {
		return c.Conn.ExecContext(ctx, query, args)
	}
	s, waits := ctx.Value(laterKey{}).(queued)
	s.query, s.args = query, values(args)
	if waits {
		c.waiting = append(c.waiting, s)
		return driver.RowsAffected(0), nil
	}
	affected, _, err := c.send(ctx, s)
	return driver.RowsAffected(affected), err
}

// QueryContext is part of driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !c.together {
		return c.Conn.QueryContext(ctx, query, args)
	}
	_, sets, err := c.send(ctx, queued{query: query, args: values(args), answers: true})
	if err != nil {
		return nil, err
	}
	return &answers{sets}, nil
}

func values(args []driver.NamedValue) []any {
	plain := make([]any, len(args))
	for i, a := range args {
		plain[i] = a.Value
	}
	return plain
}

// send sends what waits and one statement more, and gives how many rows that one changed and the rows of those that answer.
func (c *conn) send(ctx context.Context, last queued) (affected int64, sets []set, err error) {
	all := slices.Concat(c.waiting, []queued{last})
	c.waiting, c.sent = nil, true
	var b pgx.Batch
	for _, s := range all {
		b.Queue(s.query, s.args...)
	}
	results := c.Conn.Conn().SendBatch(ctx, &b)
	defer func() { err = cmp.Or(err, results.Close()) }()
	for _, s := range all {
		rows, err := results.Query()
		if err != nil {
			return 0, nil, s.why(err)
		}
		read, err := setOf(rows, s.answers)
		if err != nil {
			return 0, nil, s.why(err)
		}
		if s.answers {
			sets = append(sets, read)
		}
		affected = rows.CommandTag().RowsAffected()
		if rows.CommandTag().String() == "ROLLBACK" && s.query == commit {
			return 0, nil, pgx.ErrTxCommitRollback
		}
	}
	return affected, sets, nil
}

const divisionByZero = "22012"

func (s queued) why(err error) error {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok && said.Code == divisionByZero && s.otherwise != nil {
		return s.otherwise
	}
	return err
}

// transaction is one that is sent together.
type transaction struct {
	ctx  context.Context //nolint:containedctx // driver.Tx has none of its own
	conn *conn
}

const (
	commit = "COMMIT"
	idle   = 'I' // a session's state outside of a transaction
)

// Commit is part of driver.Tx. What waits is sent with it.
func (t transaction) Commit() error {
	c := t.conn
	if !c.sent && len(c.waiting) == 1 {
		return t.end() // nothing was asked for
	}
	// Whoever asked may go away meanwhile. What is on its way is committed or not all the same, and somebody has to know which.
	if _, _, err := c.send(context.WithoutCancel(t.ctx), queued{query: commit}); err != nil {
		_ = t.Rollback() // where that fails too, the connection is not used again
		return err
	}
	return t.end()
}

// Rollback is part of driver.Tx.
func (t transaction) Rollback() error {
	c := t.conn
	if !c.sent || c.Conn.Conn().IsClosed() || c.Conn.Conn().PgConn().TxStatus() == idle {
		return t.end()
	}
	_, err := c.Conn.Conn().Exec(context.WithoutCancel(t.ctx), "ROLLBACK")
	return errors.Join(err, t.end())
}

func (t transaction) end() error {
	t.conn.together, t.conn.sent, t.conn.waiting = false, false, nil
	return nil
}

// set is what a query has answered, which is read as a whole: in a transaction little is asked for at once.
type set struct {
	columns []string
	rows    [][]driver.Value
}

// setOf reads rows to their end.
func setOf(rows pgx.Rows, wanted bool) (s set, err error) {
	defer rows.Close()
	if wanted {
		for _, f := range rows.FieldDescriptions() {
			s.columns = append(s.columns, f.Name)
		}
	}
	for rows.Next() {
		if !wanted {
			continue
		}
		row, err := rows.Values()
		if err != nil {
			return s, err
		}
		read := make([]driver.Value, len(row))
		for i, v := range row {
			if read[i], err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return s, fmt.Errorf("read the column %s: %w", s.columns[i], err)
			}
		}
		s.rows = append(s.rows, read)
	}
	rows.Close()
	return s, rows.Err()
}

// answers are the rows of several queries, one after another.
type answers struct{ sets []set }

var _ driver.RowsNextResultSet = (*answers)(nil)

// Columns is part of driver.Rows.
func (a *answers) Columns() []string { return a.sets[0].columns }

// Close is part of driver.Rows.
func (a *answers) Close() error { return nil }

// Next is part of driver.Rows.
func (a *answers) Next(into []driver.Value) error {
	now := &a.sets[0]
	if len(now.rows) == 0 {
		return io.EOF
	}
	copy(into, now.rows[0])
	now.rows = now.rows[1:]
	return nil
}

// HasNextResultSet is part of driver.RowsNextResultSet.
func (a *answers) HasNextResultSet() bool { return len(a.sets) > 1 }

// NextResultSet is part of driver.RowsNextResultSet.
func (a *answers) NextResultSet() error {
	if !a.HasNextResultSet() {
		return io.EOF
	}
	a.sets = a.sets[1:]
	return nil
}

// openPostgres makes the pool of connections to PostgreSQL.
func openPostgres(at pgx.ConnConfig, opts ...stdlib.OptionOpenDB) *sql.DB {
	return sql.OpenDB(connector{stdlib.GetConnector(at, opts...)})
}
