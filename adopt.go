package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aicli/aicli-web/internal/config"
	"github.com/aicli/aicli-web/internal/doctor"
	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/docker"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/mark"
	"github.com/aicli/aicli-web/internal/store"
)

type adoptCommand struct{}

// Help says when to adopt, and what to do first.
func (*adoptCommand) Help() string {
	return "Containers and networks belong to the database that made them, so that a copy of it touches none of them. After a restore to another place, or a move, the copy is to go " +
		"on in the other's place: stop the server of the other database, then run this with the configuration of the copy. A server that runs on the copy goes on by itself."
}

// Run adopts, and says what was found and done.
func (*adoptCommand) Run(h *host) (err error) {
	e, err := docker.New(docker.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	var adopted mark.Adopted
	var name string
	err = withMark(h.ctx, h.config.Database, e, func(m *mark.Mark) (err error) {
		name = m.Name()
		adopted, err = m.Adopt(h.ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("adopt what the engine has: %w", err)
	}
	found := map[mark.Owner]string{
		mark.Ours:   "belonged to this database already; nothing was changed",
		mark.Others: "belonged to another database, and belongs to this one now. A server of the other one leaves it alone from now on; stop it if it still runs",
		mark.Nobody: "was not marked, and belongs to this database now",
		mark.Lost:   "had lost its mark, and belongs to this database now. If a server of the database that this one is a copy of still runs, stop it",
	}[adopted.Before]
	said := fmt.Sprintf("What the engine has of this installation (%d containers, %d networks) %s.\nThe mark is the volume %s.\n", adopted.Containers, adopted.Networks, found, name)
	if adopted.Before != mark.Ours && adopted.Things != (mark.Things{}) {
		said += fmt.Sprintf("What of it no workspace of this database knows of is removed %s after a server has found it (AICLI_ORPHAN_GRACE): look at it with aicli-web doctor --orphans.\n", h.config.OrphanGrace)
	}
	_, err = fmt.Fprint(h.out, said)
	return err
}

// withMark opens the database that is there, and gives its mark on an engine.
func withMark(ctx context.Context, c config.Database, e engine.Engine, do func(*mark.Mark) error) (err error) {
	if err := isThere(c); err != nil {
		return err
	}
	db, err := store.Open(store.Dialect(c.Dialect), c.DSN.Reveal())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if at, known, err := db.MigrationStatus(ctx); err != nil || at < known {
		return errors.Join(err, fmt.Errorf("the database is at step %d of %d: start the server on it, or run aicli-web migrate, first", at, known))
	}
	installation, err := db.Installation(ctx)
	if err != nil {
		return err
	}
	m, err := mark.New(ctx, e, db, isolation.Installation(installation))
	if err != nil {
		return err
	}
	return do(m)
}

// markFinding says whose the engine's things are. It makes no mark.
func markFinding(ctx context.Context, c config.Database, e engine.Engine) doctor.Finding {
	f := doctor.Finding{Verdict: doctor.OK, Subject: "mark"}
	err := withMark(ctx, c, e, func(m *mark.Mark) error {
		owner, err := m.Look(ctx)
		switch owner {
		case mark.Ours:
			f.Text = fmt.Sprintf("What the engine has of this installation belongs to this database (the volume %s says so).", m.Name())
		case mark.Nobody:
			f.Text = fmt.Sprintf("What the engine has of this installation is not marked yet. A server marks it for this database by the volume %s.", m.Name())
		case mark.Others:
			f.Verdict, f.Text = doctor.Bad, fmt.Sprintf("What the engine has of this installation belongs to another database (the volume %s says so), which this one is a copy of, or which is a copy of this one. "+
				"A server leaves it alone. To go on here, stop the other database's server and run aicli-web adopt.", m.Name())
		case mark.Lost:
			f.Verdict, f.Text = doctor.Bad, fmt.Sprintf("This database is a copy, and the volume %s, which would say whose the engine's things are, is not there. A server leaves them alone. "+
				"The original's server makes the volume again; to go on here, stop that and run aicli-web adopt.", m.Name())
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Text = "What the engine has is marked for the database on the first start."
	case err != nil:
		f.Verdict, f.Text = doctor.Note, fmt.Sprintf("It cannot be told whose the engine's things are: %v.", err)
	}
	return f
}
