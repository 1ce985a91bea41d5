package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

const redacted = "[redacted]"

// Secret is a string that prints as "[redacted]" by every verb, logger and encoder.
type Secret string

// String says whether there is a secret, not which.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format writes the same for every verb: fmt prints the bare value for a verb that it finds wrong for a Stringer.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// Reveal gives the secret itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Database says which one holds the rows.
type Database struct {
	Dialect string // SQLite or Postgres
	DSN     Secret // SQLite: the path of its file. Postgres: the whole URL, which may hold a password.
}

// String says where the database is: a PostgreSQL URL without its user, password and options.
func (d Database) String() string {
	switch d.Dialect {
	case SQLite:
		return sqliteScheme + d.DSN.Reveal()
	case Postgres:
		u, err := url.Parse(d.DSN.Reveal())
		if err != nil {
			return "postgres://" + redacted
		}
		return (&url.URL{Scheme: "postgres", Host: u.Host, Path: u.Path}).String()
	}
	return ""
}

// LogValue is String.
func (d Database) LogValue() slog.Value { return slog.StringValue(d.String()) }
