package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aicli/aicli-web/internal/workspace"
)

var (
	errAway         = errors.New("the database is away")
	errNoConnection = errors.New("no connection to the database became free in time")
	// errUncommitted is joined to what went wrong when a transaction was to be committed: it may have been all the same.
	errUncommitted = errors.New("whether the transaction was committed is not known")
)

// States of PostgreSQL that are about it as a whole, by their beginnings: connections, resources, an operator who stops it, a disk that fails, a standby.
// Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
var (
	busyStates       = []string{"53300"} // no connection is free: those that there are work
	awayStates       = []string{"08", "57P", idleEnded}
	unwritableStates = []string{"53", "58030", readOnlyState}
)

const readOnlyState = "25006"

// Codes of SQLite, the primary ones. Source: https://www.sqlite.org/rescode.html
const (
	sqliteIsBusy   = 5
	sqliteReadOnly = 8
	sqliteIO       = 10
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqlitePrimary  = 0xff
)

// loss is what an error says of the database as a whole.
type loss int

const (
	noLoss     loss = iota // it is about the statement, or the caller has given up
	busy                   // it had no time for this one
	unwritable             // it answers, and cannot be written
	away                   // it cannot be reached or does not answer
)

// lossOf tells errors about the database as a whole from those about a statement.
func lossOf(err error) loss {
	switch {
	case err == nil:
		return noLoss
	case errors.Is(err, errAway):
		return away
	case errors.Is(err, errNoConnection):
		return busy
	}
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		has := func(states []string) bool {
			for _, s := range states {
				if strings.HasPrefix(said.Code, s) {
					return true
				}
			}
			return false
		}
		switch {
		case has(busyStates):
			return busy
		case has(awayStates):
			return away
		case has(unwritableStates):
			return unwritable
		}
		return noLoss
	}
	if said, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok {
		switch said.Code() & sqlitePrimary {
		case sqliteIsBusy:
			return busy
		case sqliteFull, sqliteIO, sqliteReadOnly, sqliteCantOpen:
			return unwritable
		}
		return noLoss
	}
	if errors.Is(err, context.Canceled) {
		return noLoss
	}
	for _, target := range []error{context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, target) {
			return away
		}
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	if connecting || network || pgconn.SafeToRetry(err) {
		return away
	}
	return noLoss
}

// idleEnded is the state of a session that PostgreSQL has ended since its transaction was idle for too long: what comes after that is not heard.
const idleEnded = "25P03"

// refused reports whether it is certain that a transaction was not committed: PostgreSQL has refused a statement of it, or was never sent its end.
func refused(err error) bool {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok && (said.SeverityUnlocalized == "ERROR" || said.Code == idleEnded) {
		return true
	}
	_, unsent := errors.AsType[pgx.ErrPreprocessingBatch](err)
	return unsent || pgconn.SafeToRetry(err)
}

func isReadOnly(err error) bool {
	said, ok := errors.AsType[*pgconn.PgError](err)
	return ok && said.Code == readOnlyState
}

// wrap says what was attempted, unless the error is one for the caller as it is. The loss of the database is for the caller.
func wrap(attempt string, err error) error {
	switch {
	case err == nil || workspace.CodeOf(err) != workspace.Internal:
		return err
	case lossOf(err) == noLoss:
		return fmt.Errorf("%s: %w", attempt, err)
	case errors.Is(err, errUncommitted):
		return fmt.Errorf("%s: %w: %w", attempt, workspace.ErrDatabaseUncertain, err)
	default:
		return fmt.Errorf("%s: %w: %w", attempt, workspace.ErrDatabaseUnavailable, err)
	}
}
