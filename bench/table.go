package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aicli/aicli-web/internal/store"
)

// What a result is: within its bound, over it, or without one.
const (
	within  = "ok"
	over    = "over"
	unbound = "-"
)

// result is a row of the table. What does not apply is empty.
type result struct {
	name     string
	database store.Dialect
	ours     string
	peer     string
	ratio    string // to the peer, or of the end to the beginning
	bound    string
	verdict  string
}

func verdict(good bool) string {
	if good {
		return within
	}
	return over
}

func printTable(w io.Writer, machine string, results []result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := make([]string, 0, 2+len(results))
	lines = append(lines, machine, "measurement\tdatabase\tours\tpeer\tratio\tbound\tverdict")
	for _, r := range results {
		cells := []string{r.name, string(r.database), r.ours, r.peer, r.ratio, r.bound, r.verdict}
		for i, c := range cells {
			if c == "" {
				cells[i] = unbound
			}
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	_, err := fmt.Fprintln(table, strings.Join(lines, "\n"))
	return errors.Join(err, table.Flush())
}

// describe says what machine this is and which versions are measured.
func (b *bench) describe(ctx context.Context) (string, error) {
	info, err := b.engine.Info(ctx)
	if err != nil {
		return "", err
	}
	const gib = 1 << 30
	text := fmt.Sprintf("%d cores, %.1f GiB of memory, %s, kernel %s, %s\n",
		runtime.NumCPU(), float64(info.MemoryBytes)/gib, info.OperatingSystem, info.KernelVersion, runtime.Version())
	versions := []string{fmt.Sprintf("%s %s (%s, cgroup %s)", info.Name, info.Version, info.StorageDriver, info.CgroupVersion)}
	for _, dialect := range dialects {
		made, err := b.databases.create(ctx, dialect)
		if err != nil {
			return "", err
		}
		db, err := made.open(ctx)
		if err != nil {
			return "", err
		}
		name, askErr := db.Describe(ctx)
		if err := errors.Join(askErr, db.Close()); err != nil {
			return "", err
		}
		versions = append(versions, name)
	}
	return text + strings.Join(append(versions, "River "+riverVersion()), ", ") + "\n", nil
}

// dialects are those that are measured.
var dialects = []store.Dialect{store.Postgres, store.SQLite}

// percentile is the least value that p of 100 are not above.
func percentile(values []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func median(values []time.Duration) time.Duration { return percentile(values, 50) }

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
