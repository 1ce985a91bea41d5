package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aicli/aicli-web/internal/workspace"
)

// coded is an error of SQLite.
type coded int

func (c coded) Error() string { return fmt.Sprint("sqlite ", int(c)) }
func (c coded) Code() int     { return int(c) }

func TestLosses(t *testing.T) {
	pg := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, c := range []struct {
		err  error
		want loss
	}{
		{nil, noLoss}, {errors.New("a fault"), noLoss}, {context.Canceled, noLoss}, {workspace.ErrStale, noLoss},
		{pg("23505"), noLoss}, {pg("40001"), noLoss}, {pg("42P01"), noLoss}, {coded(19), noLoss}, {coded(2067), noLoss},
		{errNoConnection, busy}, {pg("53300"), busy}, {coded(5), busy}, {coded(517), busy},
		{pg("53100"), unwritable}, {pg("53200"), unwritable}, {pg("58030"), unwritable}, {pg("25006"), unwritable}, {coded(13), unwritable}, {coded(10 | 3<<8), unwritable}, {coded(8), unwritable},
		{errAway, away}, {pg("57P01"), away}, {pg("57P03"), away}, {pg("08006"), away}, {context.DeadlineExceeded, away}, {driver.ErrBadConn, away},
		{io.EOF, away}, {io.ErrUnexpectedEOF, away}, {net.ErrClosed, away}, {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, away},
	} {
		if got := lossOf(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := lossOf(fmt.Errorf("change a workspace: %w", c.err)); got != c.want {
			t.Errorf("%v, wrapped: got %d, want %d", c.err, got, c.want)
		}
		told := wrap("change a workspace", c.err)
		if lost := workspace.CodeOf(told) == workspace.DatabaseLost; lost != (c.want != noLoss) || !errors.Is(told, c.err) {
			t.Errorf("%v is told as %v", c.err, told)
		}
	}
	if told := wrap("change a workspace", fmt.Errorf("%w: %w", errUncommitted, io.EOF)); !errors.Is(told, workspace.ErrDatabaseUncertain) {
		t.Errorf("a loss at the commit is told as %v", told)
	}
	if told := wrap("change a workspace", fmt.Errorf("%w: %w", errUncommitted, pg("40001"))); workspace.CodeOf(told) != workspace.Internal {
		t.Errorf("a refusal at the commit is told as %v", told)
	}
}
