package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"gorm.io/gorm"

	"github.com/aicli/aicli-web/internal/workspace"
)

// Identity tells this database from every copy of it: it is the database's own and not in its rows. Of SQLite it is the file, by its inode and the time of
// its birth: a copy of the file is another file. Of PostgreSQL it is the cluster, by the identifier that it was initialised with, and the database in it, by
// its oid: a restored dump, or a database made of this one as a template, has another oid. It says nothing to whoever reads it.
func (db *DB) Identity(ctx context.Context) (string, error) {
	of := fileIdentity
	if db.dialect == Postgres {
		of = db.clusterIdentity
	}
	said, err := of(ctx, db.file)
	if err != nil {
		return "", fmt.Errorf("tell the database from a copy: %w", err)
	}
	sum := sha256.Sum256([]byte(said))
	return hex.EncodeToString(sum[:identityBytes]), nil
}

// identityBytes of the hash are enough for as many databases as there will ever be beside one engine.
const identityBytes = 12

// clusterIdentity asks PostgreSQL. Where an administrator has taken the right to ask for the cluster's identifier from ordinary users, the oid of a table stands
// for it: a restored dump has another one.
func (db *DB) clusterIdentity(ctx context.Context, _ string) (string, error) {
	read := db.read.WithContext(ctx)
	var may bool
	if err := read.Raw("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')").Scan(&may).Error; err != nil {
		return "", wrap("ask for the cluster's identifier", err)
	}
	cluster := "'installation'::regclass::oid::text"
	if may {
		cluster = "(SELECT system_identifier::text FROM pg_control_system())"
	}
	var said string
	err := read.Raw("SELECT " + cluster + " || ' ' || oid FROM pg_database WHERE datname = current_database()").Scan(&said).Error
	return said, wrap("ask for the cluster's identifier", err)
}

// Installation is the id that this database and its copies have in common, made by whoever asks first. Who asks first also makes this database the installation's home.
func (db *DB) Installation(ctx context.Context) (string, error) {
	id := ""
	identity, err := db.Identity(ctx)
	if err == nil {
		err = db.transact(ctx, func(tx *gorm.DB) error {
			if err := db.lock(tx, lockInstallation); err != nil {
				return err
			}
			if err := tx.Raw("SELECT id FROM installation").Scan(&id).Error; err != nil {
				return err
			}
			if id == "" {
				id = workspace.NewID("inst_")
				return tx.Exec("INSERT INTO installation (id, home) VALUES (?, ?)", id, identity).Error
			}
			return tx.Exec("UPDATE installation SET home = ? WHERE home = ''", identity).Error
		})
	}
	if err != nil {
		return "", fmt.Errorf("read the installation's id: %w", err)
	}
	return id, nil
}

// Home is the identity of the database that the installation belongs to, as this one knows; empty when it has not been asked for the installation yet. In a copy it is
// the original's.
func (db *DB) Home(ctx context.Context) (home string, err error) {
	err = db.read.WithContext(ctx).Raw("SELECT home FROM installation").Scan(&home).Error
	return home, wrap("read which database the installation belongs to", err)
}

// Settle writes down the database that the installation belongs to.
func (db *DB) Settle(ctx context.Context, home string) error {
	return db.transact(ctx, func(tx *gorm.DB) error {
		return wrap("write which database the installation belongs to", tx.Exec("UPDATE installation SET home = ?", home).Error)
	})
}
