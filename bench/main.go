// Command bench measures the server beside its peers and prints one table: what it does, what the peer does in the same run, and
// the bound. It ends with 1 when something is over its bound, and with 2 when something could not be measured. make bench gives
// it all that it needs; docs/benchmarks.md says what is measured and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/docker"
	"github.com/aicli/aicli-web/internal/store"
)

// longest bounds a whole run, which takes about twenty minutes on two cores.
const longest = 45 * time.Minute

// Exit codes.
const (
	exitOver       = 1
	exitUnmeasured = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	server := flag.String("server", "", "path of the server's binary")
	only := flag.String("only", strings.Join(names(), ","), "what to measure")
	flag.Parse()
	os.Exit(measureAll(ctx, options{
		postgres: os.Getenv("AICLI_TEST_POSTGRES"), server: *server, only: strings.Split(*only, ","),
	}, os.Stdout, os.Stderr))
}

type options struct {
	postgres string // where the PostgreSQL cluster is
	server   string // path of the server's binary
	only     []string
}

// measurement is one of the things that are measured.
type measurement struct {
	name    string
	measure func(b *bench, ctx context.Context) ([]result, error)
}

func measurements() []measurement {
	return []measurement{
		{"pool", (*bench).pool}, {"start", (*bench).start}, {"batch", (*bench).batch}, {"growth", (*bench).growth}, {"engine", (*bench).containers},
		{"live", (*bench).live}, {"fair", (*bench).fair},
	}
}

func names() (all []string) {
	for _, m := range measurements() {
		all = append(all, m.name)
	}
	return all
}

// measureAll measures, prints the table and gives the exit code.
func measureAll(ctx context.Context, o options, out, progress io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	results, machine, err := run(ctx, o, progress)
	if err != nil {
		_, _ = fmt.Fprintf(progress, "bench: %v\n", err)
	}
	printErr := printTable(out, machine, results)
	switch {
	case err != nil || printErr != nil:
		return exitUnmeasured
	case slices.ContainsFunc(results, func(r result) bool { return r.verdict == over }):
		return exitOver
	default:
		return 0
	}
}

// run measures what is asked for, and gives back what could be measured also when something could not.
func run(ctx context.Context, o options, progress io.Writer) (results []result, machine string, err error) {
	b, err := open(o, progress)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	if machine, err = b.describe(ctx); err != nil {
		return nil, "", err
	}
	for _, m := range measurements() {
		if !slices.Contains(o.only, m.name) {
			continue
		}
		b.progress.Info("measuring", "what", m.name)
		more, err := m.measure(b, ctx)
		results = append(results, more...)
		if err != nil {
			return results, machine, fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	return results, machine, nil
}

// bench is what all measurements share.
type bench struct {
	options

	dir       string // for what is thrown away in the end
	databases *databases
	engine    engine.Engine
	progress  *slog.Logger
	waiting   map[store.Dialect]database // databases with waiting tasks, to be copied
}

func open(o options, progress io.Writer) (_ *bench, err error) {
	b := &bench{options: o, progress: slog.New(slog.NewTextHandler(progress, nil)), waiting: make(map[store.Dialect]database)}
	if o.postgres == "" || o.server == "" {
		return nil, errors.New("it is not known where PostgreSQL and the server's binary are: run it by make bench")
	}
	if b.dir, err = os.MkdirTemp("", "aicli-bench-"); err != nil {
		return nil, err
	}
	if b.databases, err = newDatabases(o.postgres, b.dir); err == nil {
		b.engine, err = docker.New(docker.Options{})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	return b, nil
}

func (b *bench) close(ctx context.Context) error {
	return errors.Join(b.databases.close(ctx), b.engine.Close(), os.RemoveAll(b.dir))
}

// path is a new place below the directory that is thrown away.
func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// filled is a closed database with waiting tasks, made once.
func (b *bench) filled(ctx context.Context, dialect store.Dialect) (database, error) {
	if made, known := b.waiting[dialect]; known {
		return made, nil
	}
	made, err := b.databases.filled(ctx, dialect)
	if err == nil {
		b.waiting[dialect] = made
	}
	return made, err
}
