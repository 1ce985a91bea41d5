//go:build !race

package simulation

// Runs of so many steps each, on each database.
const runs, steps = 5, 1000
