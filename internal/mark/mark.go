// Package mark knows whether what an engine has of an installation belongs to this database, or to another of which this is a copy. It owns the mark, a volume
// on the engine that says so by its labels, and the gate through which nothing reaches an engine that is marked for another. It changes nothing else on the engine.
package mark

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/aicli/aicli-web/internal/engine"
)

// Database is what a copy of it carries (the home) and does not (the identity).
type Database interface {
	Identity(ctx context.Context) (string, error)
	// Home is the identity of the database that the installation belongs to, as far as this one knows.
	Home(ctx context.Context) (string, error)
	Settle(ctx context.Context, home string) error
}

// Mark is an installation's on one engine.
type Mark struct {
	engine   engine.Engine
	database Database
	name     string
	labels   engine.Labels // of all that belongs to the installation
	identity string        // of this database

	mu   sync.Mutex
	home string // as it was last read or written
}

// New asks the database who it is. labels are those of all that belongs to the installation.
func New(ctx context.Context, e engine.Engine, db Database, labels engine.Labels) (*Mark, error) {
	m := &Mark{engine: e, database: db, labels: labels, name: "aicli-" + labels[engine.LabelInstallation]}
	var err error
	if m.identity, err = db.Identity(ctx); err == nil {
		m.home, err = db.Home(ctx)
	}
	return m, err
}

// Name is that of the volume.
func (m *Mark) Name() string { return m.name }

// Owner says whose the things on an engine are.
type Owner string

// The owners.
const (
	Ours   Owner = "ours"   // this database's
	Others Owner = "others" // another database's
	Nobody Owner = "nobody" // nothing says whose, and this database may take them
	Lost   Owner = "lost"   // nothing says whose, and this database is a copy of the one that may take them
)

// Look says whose the engine's things are, and changes nothing.
func (m *Mark) Look(ctx context.Context) (Owner, error) {
	owner, err := m.owner(ctx)
	switch {
	case err != nil:
		return "", err
	case owner == m.identity:
		return Ours, nil
	case owner != "":
		return Others, nil
	}
	home, err := m.database.Home(ctx)
	if err != nil {
		return "", err
	}
	if home == m.identity || home == "" {
		return Nobody, nil
	}
	has, err := m.count(ctx)
	if err != nil || has == (Things{}) {
		return Nobody, err
	}
	return Lost, nil
}

// Check makes sure that the mark says that the engine's things are this database's. Where there is no mark it is made: by the database that the things belong to, and
// by any where there are none. A copy makes none beside them, since the original's may have been removed by hand. The error is ErrNotOurs, or that of a call that failed.
func (m *Mark) Check(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.home != m.identity {
		switch owner, err := m.Look(ctx); {
		case err != nil:
			return err
		case owner == Others, owner == Lost:
			return m.refusal()
		}
		if err := m.settle(ctx, m.identity); err != nil {
			return err
		}
	}
	owner, err := m.make(ctx)
	if err != nil || owner == m.identity {
		return err
	}
	if owner != unknown {
		_ = m.settle(ctx, owner) // what cannot be written is written by the next check
	}
	return m.refusal()
}

// settle writes down which database the installation belongs to. m.mu is held.
func (m *Mark) settle(ctx context.Context, home string) error {
	err := m.database.Settle(ctx, home)
	if err == nil {
		m.home = home
	}
	return err
}

// unknown stands for the owner that a mark without one has: somebody else has made that volume.
const unknown = "unknown"

// make makes the mark for this database unless it is there, and says whose it is.
func (m *Mark) make(ctx context.Context) (owner string, err error) {
	labels := maps.Clone(m.labels)
	labels[engine.LabelDatabase] = m.identity
	made, err := m.engine.CreateVolume(ctx, m.name, labels)
	return ownerOf(made), err
}

func ownerOf(v engine.Volume) string {
	if owner := v.Labels[engine.LabelDatabase]; owner != "" {
		return owner
	}
	return unknown
}

// owner is the database that the mark names; empty when there is no mark.
func (m *Mark) owner(ctx context.Context) (string, error) {
	volumes, err := m.engine.Volumes(ctx, m.labels)
	for _, v := range volumes {
		if v.Name == m.name {
			return ownerOf(v), err
		}
	}
	return "", err
}

// refusal is the error of what is not done because the engine's things are another database's.
func (m *Mark) refusal() error {
	return &engine.Error{Kind: engine.KindUnavailable, Op: "read the mark", Subject: m.name, Err: engine.ErrNotOurs}
}

// Things are how much an engine has of an installation.
type Things struct{ Containers, Networks int }

func (m *Mark) count(ctx context.Context) (Things, error) {
	containers, err := m.engine.Containers(ctx, m.labels)
	if err != nil {
		return Things{}, err
	}
	networks, err := m.engine.Networks(ctx, m.labels)
	return Things{len(containers), len(networks)}, err
}

// Adopted is what Adopt has found.
type Adopted struct {
	Things

	Before Owner
}

// ErrRival is the error of an adoption beside a server of the database from which the things are taken.
var ErrRival = errors.New("another server has put its mark back. Stop it, then run aicli-web adopt again")

// Adopt makes this database the one that the engine's things belong to, whosesoever they were.
func (m *Mark) Adopt(ctx context.Context) (a Adopted, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.Before, err = m.Look(ctx); err != nil {
		return a, err
	}
	if a.Things, err = m.count(ctx); err != nil {
		return a, err
	}
	if err := m.settle(ctx, m.identity); err != nil {
		return a, err
	}
	if a.Before != Ours {
		if err := m.engine.RemoveVolume(ctx, m.name); err != nil {
			return a, fmt.Errorf("remove the mark of another database: %w", err)
		}
	}
	owner, err := m.make(ctx)
	if err == nil && owner != m.identity {
		err = ErrRival
	}
	return a, err
}
