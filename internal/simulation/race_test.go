//go:build race

package simulation

// With the race detector, which makes SQLite fourteen times slower, a few steps show what it finds: the others run without it.
const runs, steps = 1, 100
