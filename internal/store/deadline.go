package store

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// answerMost is how long PostgreSQL may take for one statement: far more than any of ours needs. Past it the connection is taken for lost
	// and closed: one whose other end has vanished without a word would be waited at for ever.
	answerMost = 15 * time.Second
	// connectMost is how long connecting may take, where the address of the database does not say so.
	connectMost = 10 * time.Second
	// idleMost is how long PostgreSQL waits in the middle of a transaction for a server that has gone, or stands still, before it takes its locks
	// back: less than a lease lasts, so that it costs nobody else theirs.
	idleMost  = 3 * time.Second
	idleParam = "idle_in_transaction_session_timeout"
	// idleTrusted is how long a connection may have been idle to be used again unasked; pingMost is how long it may take to say that it lives. The driver's
	// own ping has no bound but the request's, and was waited at for ever where the other end had vanished without a word.
	idleTrusted = time.Second
	pingMost    = 2 * time.Second
	// quietMost is how long a connection that hears notices may be quiet before it is asked whether it still lives.
	quietMost = 15 * time.Second
)

// bounded reads the address of a PostgreSQL server and bounds what is waited for there: for a connection, for an answer, and by the server for us.
func bounded(dsn string) (*pgx.ConnConfig, error) {
	at, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the address of the database: %w", err)
	}
	at.Tracer, at.ConnectTimeout = deadlines{}, cmp.Or(at.ConnectTimeout, connectMost)
	if _, said := at.RuntimeParams[idleParam]; !said {
		at.RuntimeParams[idleParam] = strconv.FormatInt(idleMost.Milliseconds(), 10)
	}
	return at, nil
}

// reuse has the driver drop idle connections that do not live any more.
func reuse() []stdlib.OptionOpenDB {
	return []stdlib.OptionOpenDB{
		stdlib.OptionShouldPing(func(ctx context.Context, p stdlib.ShouldPingParams) bool {
			if p.IdleDuration > idleTrusted {
				ping(ctx, p.Conn, pingMost)
			}
			return false // it is done
		}),
		stdlib.OptionResetSession(func(_ context.Context, conn *pgx.Conn) error {
			if conn.IsClosed() {
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

// deadlines gives every statement its deadline. It is what the driver calls a tracer: of those it takes the context for the statement.
type deadlines struct{}

type endOfStatement struct{}

// TraceQueryStart begins the time of a statement.
func (deadlines) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	return context.WithValue(ctx, endOfStatement{}, cancel)
}

// TraceQueryEnd is called when the last row has been read.
func (deadlines) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if cancel, ok := ctx.Value(endOfStatement{}).(context.CancelFunc); ok {
		cancel()
	}
}
