package store

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
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
