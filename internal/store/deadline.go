package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// answerMost is how long PostgreSQL may take for one statement: far more than any of ours needs. Past it the connection is taken for lost
	// and closed: one whose other end has vanished without a word would be waited at for ever.
	answerMost = 5 * time.Second
	// freeMost is how long a statement or a transaction waits for a connection, which is apart from the time that it has then. Both together are less than
	// the ten seconds within which every request is answered.
	freeMost = 4 * time.Second
	// connectMost is how long connecting may take, where the address of the database does not say so.
	connectMost = 4 * time.Second
	// idleMost is how long PostgreSQL waits in the middle of a transaction for a server that has gone, or stands still, before it takes its locks
	// back: less than a lease lasts, so that it costs nobody else theirs.
	idleMost  = 3 * time.Second
	idleParam = "idle_in_transaction_session_timeout"
	// idleTrusted is how long a connection may have been idle to be used again unasked; pingMost is how long it may take to say that it lives. The driver's
	// own ping has no bound but the request's, and was waited at for ever where the other end had vanished without a word.
	idleTrusted = 10 * time.Second
	pingMost    = 2 * time.Second
	// quietMost is how long a connection that hears notices may be quiet before it is asked whether it still lives.
	quietMost = 15 * time.Second
)

// bounded reads the address of a PostgreSQL server and bounds what is waited for there: for a connection, for an answer, and by the server for us.
func bounded(dsn string, o *outage) (*pgx.ConnConfig, error) {
	at, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the address of the database: %w", err)
	}
	at.Tracer, at.ConnectTimeout = tracer{o}, cmp.Or(at.ConnectTimeout, connectMost)
	if _, said := at.RuntimeParams[idleParam]; !said {
		at.RuntimeParams[idleParam] = strconv.FormatInt(idleMost.Milliseconds(), 10)
	}
	return at, nil
}

// epochOf is where a connection has the epoch that it was made in.
const epochOf = "epoch"

// reuse has the driver drop idle connections that do not live any more, and make none while the database is away.
func (o *outage) reuse() []stdlib.OptionOpenDB {
	return []stdlib.OptionOpenDB{
		stdlib.OptionBeforeConnect(func(context.Context, *pgx.ConnConfig) error { return o.gate() }),
		stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
			conn.PgConn().CustomData()[epochOf] = o.now()
			return nil
		}),
		stdlib.OptionShouldPing(func(ctx context.Context, p stdlib.ShouldPingParams) bool {
			if p.IdleDuration >= o.trusted && p.Conn.PgConn().CustomData()[epochOf] == o.now() {
				if ping(ctx, p.Conn, pingMost); p.Conn.IsClosed() {
					o.doubt()
				}
			}
			return false // it is done
		}),
		stdlib.OptionResetSession(func(_ context.Context, conn *pgx.Conn) error {
			if conn.IsClosed() || conn.PgConn().CustomData()[epochOf] != o.now() {
				return driver.ErrBadConn
			}
			return nil
		}),
	}
}

// ping asks whether a connection lives. One that does not say so in time is closed by the driver.
func ping(ctx context.Context, conn *pgx.Conn, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	_ = conn.PgConn().Ping(ctx) // what came of it is whether it is closed
}

// tracer gives every statement its deadline, and notes what becomes of it. It is what the driver calls a tracer: of those it takes the context for
// the statement.
type tracer struct{ *outage }

type statementKey struct{}

// statement is one under way.
type statement struct {
	cancel context.CancelFunc
	silent *time.Timer
}

// TraceQueryStart begins the time of a statement.
func (t tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if w := waitOf(ctx); w != nil {
		w.over()
	}
	t.begin(conn)
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	return context.WithValue(ctx, statementKey{}, &statement{cancel, time.AfterFunc(silentMost, t.doubt)})
}

// TraceQueryEnd is called when the last row has been read.
func (t tracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	t.done(conn)
	if s, ok := ctx.Value(statementKey{}).(*statement); ok {
		s.silent.Stop()
		s.cancel()
	}
	if w := waitOf(ctx); w != nil && !w.held {
		if data.Err == nil || w.begun.Load() {
			w.end()
		} else {
			w.timer.Reset(freeMost) // it may be tried again on another connection
		}
	}
	t.heed(data.Err)
}

// TraceBatchStart is TraceQueryStart for statements that are sent together: one deadline is for all.
func (t tracer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return t.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{})
}

// TraceBatchQuery is part of pgx.BatchTracer.
func (tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd is TraceQueryEnd for them.
func (t tracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	t.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{Err: data.Err})
}

// TraceConnectStart is part of pgx.ConnectTracer.
func (tracer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd is told of connections that could not be made.
func (t tracer) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) { t.heed(data.Err) }

// wait is that for a connection. The context that has it ends with errNoConnection when it takes too long.
type wait struct {
	ctx    context.Context //nolint:containedctx // it is asked why it has ended
	cancel context.CancelCauseFunc
	timer  *time.Timer
	let    func() bool // lets go of the context that it was made of
	held   bool        // it lasts longer than a statement
	begun  atomic.Bool // the statement has an answer: it is not tried on another connection
}

type waitKey struct{}

func waitOf(ctx context.Context) *wait {
	w, _ := ctx.Value(waitKey{}).(*wait)
	return w
}

// waits gives a context for what needs a connection. It ends with the one that it is made of until it is let go: not when the last row has been read,
// since who reads them would take that for their failure.
func (o *outage) waits(from context.Context, held bool) (context.Context, *wait) {
	w := &wait{held: held}
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(from))
	w.let = context.AfterFunc(from, func() { w.cancel(context.Cause(from)) })
	w.timer = time.AfterFunc(freeMost, func() {
		w.cancel(errNoConnection)
		o.heed(errNoConnection)
		o.doubt()
	})
	return context.WithValue(w.ctx, waitKey{}, w), w
}

// over ends the wait: there is a connection.
func (w *wait) over() { w.timer.Stop() }

// end lets go of the context.
func (w *wait) end() {
	w.over()
	w.let()
}

// why says errNoConnection, or that the caller's time is over, where that is why something failed: the driver knows of a context only that it has ended.
func (w *wait) why(err error) error {
	switch cause := context.Cause(w.ctx); {
	case err == nil:
		return nil
	case errors.Is(cause, errNoConnection):
		return errNoConnection
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", err.Error(), context.DeadlineExceeded)
	default:
		return err
	}
}

// pool bounds the wait for a connection of what is no transaction, and refuses what needs a database that is away.
type pool struct {
	*sql.DB

	outage *outage
}

// GetDBConn is part of gorm.GetDBConnector.
func (p pool) GetDBConn() (*sql.DB, error) { return p.DB, nil }

// QueryContext is part of gorm.ConnPool. Its context ends with the last row.
func (p pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := p.outage.gate(); err != nil {
		return nil, err
	}
	ctx, w := p.outage.waits(ctx, false)
	rows, err := p.DB.QueryContext(ctx, query, args...)
	if err != nil {
		w.end()
		return nil, w.why(err)
	}
	w.begun.Store(true)
	return rows, nil
}

// ExecContext is part of gorm.ConnPool.
func (p pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := p.outage.gate(); err != nil {
		return nil, err
	}
	ctx, w := p.outage.waits(ctx, true)
	defer w.end()
	result, err := p.DB.ExecContext(ctx, query, args...)
	return result, w.why(err)
}
