package store

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	channel = "aicli"
	// noticeMost bounds the ids of one notice: PostgreSQL takes 8,000 bytes, and an id has about 32.
	noticeMost = 200
)

// Shared reports whether other servers may be on this database.
func (db *DB) Shared() bool { return db.dialect == Postgres }

// Notify tells the other servers on this database that what has these ids was changed.
func (db *DB) Notify(ctx context.Context, ids []string) error {
	if !db.Shared() {
		return nil
	}
	for len(ids) > 0 {
		n := min(len(ids), noticeMost)
		if err := db.write.WithContext(ctx).Exec("SELECT pg_notify(?, ?)", channel, db.name+" "+strings.Join(ids[:n], " ")).Error; err != nil {
			return wrap("tell other servers", err)
		}
		ids = ids[n:]
	}
	return nil
}

// Listen hears what other servers say, until ctx ends, which is no error, or the connection is lost. ready is called once nothing that is
// said from now on is missed.
func (db *DB) Listen(ctx context.Context, ready func(), heard func(ids []string)) (err error) {
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
		if from, ids, _ := strings.Cut(n.Payload, " "); from != db.name {
			heard(strings.Fields(ids))
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
