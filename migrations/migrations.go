// Package migrations holds the numbered SQL that makes the database, one folder a dialect. It runs nothing.
package migrations

import "embed"

// FS has the folders postgres and sqlite.
//
//go:embed postgres/*.sql sqlite/*.sql
var FS embed.FS

// Columns are what the tables have once all steps are taken, on both dialects: table.column, one a line.
//
//go:embed columns.txt
var Columns string
