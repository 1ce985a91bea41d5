package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// channel is what servers tell each other on that there is more in the event log. A notice carries the name of its server alone.
const channel = "aicli"

// Shared reports whether other servers may be on this database.
func (db *DB) Shared() bool { return db.dialect == Postgres }

// Notify tells the other servers on this database that there is more in the event log.
func (db *DB) Notify(ctx context.Context) error {
	if !db.Shared() {
		return nil
	}
	return wrap("tell other servers", db.write.WithContext(ctx).Exec("SELECT pg_notify(?, ?)", channel, db.name).Error)
}

// Listen hears what other servers say, until ctx ends, which is no error, or the connection is lost. ready is called once nothing that is
// said from now on is missed.
func (db *DB) Listen(ctx context.Context, ready, heard func()) (err error) {
	if !db.Shared() {
		<-ctx.Done()
		return nil
	}
	conn := db.joined.Swap(nil)
	if conn == nil {
		conn, err = db.connect(ctx)
	}
	if err != nil {
		return wrap("listen to other servers", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return wrap("listen to other servers", err)
	}
	ready()
	for {
		n, err := db.next(ctx, conn)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return wrap("listen to other servers", err)
		}
		if n.Payload != db.name {
			heard()
		}
	}
}

// next waits for a notice. Where there is none for long, it asks whether the connection still lives.
func (db *DB) next(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	for {
		quiet, cancel := context.WithTimeout(ctx, quietMost)
		n, err := conn.WaitForNotification(quiet)
		cancel()
		if err == nil || quiet.Err() == nil || ctx.Err() != nil {
			return n, err
		}
		answer, cancel := context.WithTimeout(ctx, answerMost)
		err = conn.Ping(answer)
		cancel()
		if err != nil {
			db.outage.doubt()
			return nil, err
		}
	}
}
