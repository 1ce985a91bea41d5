// Command aicli-web serves container workspaces over GraphQL. This file puts the parts together: configuration, database,
// engine, service, pool, monitor and transport, started in this order and stopped in another (see run). Only here is the
// environment read, and only here do the rooms meet.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/aicli/aicli-web/graph"
	"github.com/aicli/aicli-web/internal/auth"
	"github.com/aicli/aicli-web/internal/config"
	"github.com/aicli/aicli-web/internal/doctor"
	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/docker"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/lifecycle"
	"github.com/aicli/aicli-web/internal/mark"
	"github.com/aicli/aicli-web/internal/monitor"
	"github.com/aicli/aicli-web/internal/project"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/transport"
	"github.com/aicli/aicli-web/internal/workspace"
	"github.com/aicli/aicli-web/web"
)

// The token that the link gives which is printed at the start: whoever follows it sits at this machine.
const (
	linkUser = "admin"
	linkTTL  = 12 * time.Hour
)

type commands struct {
	Serve   serveCommand   `cmd:"" default:"1" help:"Serve the API and the explorer. The default."`
	Token   tokenCommand   `cmd:"" help:"Print a bearer token."`
	Adopt   adoptCommand   `cmd:"" help:"Take what the engine has of this installation over for this database, after a restore."`
	Migrate migrateCommand `cmd:"" help:"Bring the database up to date, as serve does by itself."`
	Backup  backupCommand  `cmd:"" help:"Copy the database of SQLite to a file, also beside a running server."`
	Schema  schemaCommand  `cmd:"" help:"Print the GraphQL schema, for tools that make typed clients of it."`
	Doctor  doctorCommand  `cmd:"" help:"Say what engine, database, image and kernel can and cannot do."`
}

type serveCommand struct{}

// Help lists the variables of the environment.
func (*serveCommand) Help() string { return config.Help() }

type migrateCommand struct {
	Status bool `help:"Only say which step the database is at and which one this version knows; also beside a running server."`
}

type backupCommand struct {
	File string `arg:"" help:"Where the copy goes. There must be no such file."`
}

type schemaCommand struct{}

type doctorCommand struct {
	Orphans bool `help:"List also the containers, networks and subnets of this installation that no workspace knows of."`
}

type tokenCommand struct {
	User string        `required:"" help:"Whose token it is."`
	Role string        `default:"user" enum:"user,admin" help:"What it may do: user or admin. An admin sees what belongs to everybody."`
	TTL  time.Duration `default:"1h" help:"How long it is good for, for example 1h. At most 2160h, which are 90 days."`
}

// host is what a command may use of the process.
type host struct {
	ctx    context.Context //nolint:containedctx // the process's own: it ends with the first signal
	config config.Config
	log    *slog.Logger
	out    io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command runs one command line and gives the exit code: 1 for a failure, 2 for a mistake in how it was called.
func command(ctx context.Context, args []string, out, problems io.Writer) int {
	parser, err := kong.New(&commands{}, kong.Name("aicli-web"), kong.Writers(out, problems), kong.UsageOnError(),
		kong.Description("A GraphQL API server with live subscriptions for container workspaces."))
	if err != nil {
		panic(err) // a fault in the table above
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", err)
		return 2
	}
	c, err := config.Load(os.Getenv)
	if err != nil {
		_, _ = fmt.Fprintf(problems, "The configuration has mistakes:\n%v\n", err)
		return 2
	}
	h := &host{ctx: ctx, config: c, log: newLog(c, problems), out: out}
	for _, name := range config.Unknown(os.Environ()) {
		h.log.Warn("a variable of the environment is not known", "name", name)
	}
	if err := chosen.Run(h); err != nil {
		_, _ = fmt.Fprintf(problems, "aicli-web: %v\n", err)
		return 1
	}
	return 0
}

func newLog(c config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == config.LogJSON {
		return slog.New(quiet{slog.NewJSONHandler(w, options)})
	}
	return slog.New(quiet{slog.NewTextHandler(w, options)})
}

// quiet leaves out what failed because the database is away: the store says so once, and whatever needs it is tried again.
type quiet struct{ slog.Handler }

// Handle is part of slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	away := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		away = ok && workspace.CodeOf(err) == workspace.DatabaseLost
		return !away
	})
	if away {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs is part of slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup is part of slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// Run prints a token.
func (t *tokenCommand) Run(h *host) error {
	tokens, err := openTokens(h.config)
	if err != nil {
		return err
	}
	role := auth.User
	if t.Role == "admin" {
		role = auth.Admin
	}
	token, err := tokens.Issue(auth.Principal{ID: t.User, Role: role}, t.TTL, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(h.out, token)
	return err
}

// isThere refuses a database that only serve and migrate make: what looks at one makes none.
func isThere(c config.Database) error {
	if c.Dialect != config.SQLite {
		return nil
	}
	if _, err := os.Stat(c.DSN.Reveal()); err != nil {
		return fmt.Errorf("there is no database at %s yet: %w", c, err)
	}
	return nil
}

// Run migrates, or says what there would be to do.
func (m *migrateCommand) Run(h *host) error {
	if m.Status {
		if err := isThere(h.config.Database); err != nil {
			return err
		}
	}
	db, err := store.Open(store.Dialect(h.config.Database.Dialect), h.config.Database.DSN.Reveal())
	if err != nil {
		return err
	}
	said := ""
	if m.Status {
		var at, known int64
		at, known, err = db.MigrationStatus(h.ctx)
		said = fmt.Sprintf("The database is at step %d, and this version knows %d.", at, known)
	} else if err = db.Own(); err == nil {
		var steps int
		steps, err = db.Migrate(h.ctx)
		said = fmt.Sprintf("The database is up to date (%d steps were taken).", steps)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(h.out, said)
	return err
}

// Run prints the schema.
func (*schemaCommand) Run(h *host) error { return graph.PrintSchema(h.out) }

// Run makes a backup. It makes no database.
func (b *backupCommand) Run(h *host) error {
	if err := isThere(h.config.Database); err != nil {
		return err
	}
	db, err := store.Open(store.Dialect(h.config.Database.Dialect), h.config.Database.DSN.Reveal())
	if err != nil {
		return err
	}
	if err := errors.Join(db.Backup(h.ctx, b.File), db.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.out, "The database is copied to %s. It holds secrets: keep it as you keep those.\n", b.File)
	return err
}

var errUnwell = errors.New("something above is marked BAD: mend it, then run doctor again")

// Run looks at the machine.
func (d *doctorCommand) Run(h *host) error {
	e, err := docker.New(docker.Options{})
	if err != nil {
		return err
	}
	findings := doctor.Engine(h.ctx, e, h.config.DefaultImage, h.config.NetworkPool)
	findings = append(findings, doctor.Mounts(h.ctx, e, func(c engine.Container) bool { return processOf(c).Visible() }),
		databaseFinding(h.ctx, h.config.Database), markFinding(h.ctx, h.config.Database, e), explorerFinding())
	if d.Orphans {
		findings = append(findings, orphanFindings(h.ctx, h.config, e)...)
	}
	if !doctor.Print(h.out, findings) {
		err = errUnwell
	}
	return errors.Join(err, e.Close())
}

// databaseFinding makes no database: a file that is missing is made by serve.
func databaseFinding(ctx context.Context, c config.Database) doctor.Finding {
	if errors.Is(isThere(c), fs.ErrNotExist) {
		return doctor.Finding{Verdict: doctor.OK, Subject: "database", Text: fmt.Sprintf("%s is made on the first start.", c)}
	}
	db, err := store.Open(store.Dialect(c.Dialect), c.DSN.Reveal())
	var name string
	if err == nil {
		name, err = db.Describe(ctx)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		return doctor.Finding{Verdict: doctor.Bad, Subject: "database", Text: fmt.Sprintf("%s does not answer: %v. Check AICLI_DATABASE_URL, and that it runs.", c, err)}
	}
	return doctor.Finding{Verdict: doctor.OK, Subject: "database", Text: fmt.Sprintf("%s at %s.", name, c)}
}

// orphanFindings lists what a server would remove after its grace.
func orphanFindings(ctx context.Context, c config.Config, e engine.Engine) []doctor.Finding {
	const subject = "orphans"
	orphans, err := findOrphans(ctx, c, e)
	switch {
	case err != nil:
		return []doctor.Finding{{Verdict: doctor.Bad, Subject: subject, Text: fmt.Sprintf("They cannot be told: %v", err)}}
	case len(orphans) == 0:
		return []doctor.Finding{{Verdict: doctor.OK, Subject: subject, Text: "There is nothing that no workspace knows of."}}
	}
	findings := make([]doctor.Finding, 0, len(orphans))
	for _, o := range orphans {
		what := fmt.Sprintf("%s %s", strings.ToLower(string(o.Kind)), o.Name)
		if o.ID != o.Name {
			what += fmt.Sprintf(" (%.12s)", o.ID)
		}
		findings = append(findings, doctor.Finding{Verdict: doctor.Note, Subject: subject, Text: fmt.Sprintf(
			"No workspace knows of the %s of %s. A running server removes it %s after finding it (AICLI_ORPHAN_GRACE).", what, o.WorkspaceID, c.OrphanGrace)})
	}
	return findings
}

// findOrphans lists before it reads the rows, as a census wants it.
func findOrphans(ctx context.Context, c config.Config, e engine.Engine) (_ []workspace.Orphan, err error) {
	if err := isThere(c.Database); err != nil {
		return nil, err
	}
	db, err := store.Open(store.Dialect(c.Database.Dialect), c.Database.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	installation, err := db.Installation(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := e.Containers(ctx, isolation.Installation(installation))
	if err != nil {
		return nil, err
	}
	networks, err := e.Networks(ctx, isolation.Installation(installation))
	if err != nil {
		return nil, err
	}
	census := isolation.NewCensus(containers, networks)
	rows := workspace.NewService(db, nil, workspace.Config{Log: slog.New(slog.DiscardHandler)})
	defer rows.Close()
	if err := rows.Each(ctx, func(w workspace.Workspace) error {
		census.Account(w)
		return nil
	}); err != nil {
		return nil, err
	}
	lost, err := rows.LostSubnets(ctx)
	return append(census.Orphans(), lost...), err
}

func explorerFinding() doctor.Finding {
	if web.Built() {
		return doctor.Finding{Verdict: doctor.OK, Subject: "explorer", Text: "It is in this binary."}
	}
	return doctor.Finding{Verdict: doctor.Note, Subject: "explorer", Text: "It is not in this binary. Run make web, then build again."}
}

// openTokens signs with the key that is configured, or with the one that is kept in the data directory.
func openTokens(c config.Config) (*auth.Tokens, error) {
	key := []byte(c.JWTSecret.Reveal())
	if len(key) == 0 {
		var err error
		if key, err = auth.Key(c.DataDir); err != nil {
			return nil, err
		}
	}
	return auth.New(key)
}

// Run serves until the process is told to stop.
func (*serveCommand) Run(h *host) error {
	s, err := open(h.ctx, h.config, h.log)
	if err != nil {
		return err
	}
	if err = s.announce(h.out); err == nil {
		err = s.run(h.ctx)
	}
	return errors.Join(err, s.close())
}

// server is all parts, open and not yet running.
type server struct {
	config   config.Config
	log      *slog.Logger
	tokens   *auth.Tokens
	service  *workspace.Service
	pool     *task.Pool
	monitor  *monitor.Monitor
	edge     *transport.Server
	link     atomic.Pointer[auth.Link] // that was printed; nil: none was
	stopping atomic.Bool
	closers  []func() error // of what is open, the newest last
}

// open makes the parts, each of those before it. What was opened is closed again when a later part fails.
func open(ctx context.Context, c config.Config, log *slog.Logger) (_ *server, err error) {
	s := &server{config: c, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.tokens, err = openTokens(c); err != nil {
		return nil, err
	}
	db, err := store.Open(store.Dialect(c.Database.Dialect), c.Database.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, db.Close)
	db.UseLog(log)
	if err := db.Own(); err != nil {
		return nil, err
	}
	if _, err = db.Migrate(ctx); err != nil {
		return nil, err
	}
	installation, err := db.Installation(ctx)
	if err != nil {
		return nil, err
	}
	root, err := project.Open(c.ProjectsRoot)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, root.Close)
	e, err := docker.New(docker.Options{})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, e.Close)
	if db.Shared() {
		if err := db.Join(ctx, s.settings(ctx, e)); err != nil {
			return nil, err
		}
	}
	ours, err := mark.New(ctx, e, db, isolation.Installation(installation))
	if err != nil {
		return nil, err
	}
	log.Info("what the engine has of this installation is marked by a volume", "volume", ours.Name())
	s.assemble(db, projects{root}, mark.NewGate(e, ours.Check, log), installation)
	if err := s.listen(ctx, db); err != nil {
		return nil, err
	}
	return s, nil
}

// engineAsked bounds the question which engine it is: one that does not answer keeps no server from starting.
const engineAsked = 2 * time.Second

// settings are those that servers on one database must agree on. An engine that cannot be asked now is taken for the others'.
func (s *server) settings(ctx context.Context, e engine.Engine) []store.Setting {
	ctx, cancel := context.WithTimeout(ctx, engineAsked)
	defer cancel()
	all := []store.Setting{
		{Name: "signing key (AICLI_JWT_SECRET, or that of AICLI_DATA_DIR)", Value: s.tokens.Fingerprint()},
		{Name: "AICLI_PROJECTS_ROOT", Value: s.config.ProjectsRoot},
		{Name: "AICLI_NETWORK_POOL", Value: s.config.NetworkPool.String()},
	}
	if info, err := e.Info(ctx); err == nil && info.ID != "" {
		all = append(all, store.Setting{Name: "container engine (DOCKER_HOST)", Value: info.ID})
	}
	return all
}

// assemble joins what changes workspaces. The pool takes its tasks from the service, and the service wakes the pool. All of them reach the engine through the gate.
func (s *server) assemble(db *store.DB, projects projects, e *mark.Gate, installation string) {
	s.service = workspace.NewService(db, projects, workspace.Config{
		EventsFor: s.config.EventsFor, EventsMost: s.config.EventsMost,
		DefaultImage: s.config.DefaultImage, Images: s.config.AllowedImages, NetworkPool: s.config.NetworkPool, Workers: s.config.Workers, Log: s.log,
	})
	life := lifecycle.New(e, s.service, projects, installation, s.log)
	s.pool = task.New(s.service, task.Options{
		Holder: workspace.NewID("pool_"), Workers: s.config.Workers, Handlers: life.Handlers(), Classify: lifecycle.Classify,
		Timeout: lifecycle.Timeout, Grace: s.config.ShutdownGrace, Log: s.log,
	})
	s.service.Attach(s.pool)
	s.monitor = monitor.New(monitor.Options{
		Engine: e, Confirm: e.Confirm, Workspaces: s.service, Looker: life, Labels: isolation.Installation(installation),
		Resync: s.config.Resync, OrphanGrace: s.config.OrphanGrace, Log: s.log,
	})
}

// listen makes the edge and takes the port.
func (s *server) listen(ctx context.Context, db *store.DB) error {
	resolver := &graph.Resolver{Service: s.service, Metrics: s.monitor, Pool: s.pool, Version: version(), Database: db.Describe}
	handler, err := transport.New(transport.Options{
		Executor: graph.NewExecutor(resolver, transport.RequestID, s.log), Verifier: s.tokens, Explorer: web.Explorer(), Redeem: s.redeem,
		Ready: func(ctx context.Context) error { return s.ready(ctx, db) }, AllowedOrigins: s.config.AllowedOrigins, Bounds: bounds(s.config.Sockets), Logger: s.log,
	})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Addr)
	if err != nil {
		return fmt.Errorf("take the address of AICLI_ADDR: %w", err)
	}
	if s.config.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.config.TLSCert, s.config.TLSKey)
		if err != nil {
			return errors.Join(fmt.Errorf("read AICLI_TLS_CERT and AICLI_TLS_KEY: %w", err), listener.Close())
		}
		listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	} else if a, ok := listener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		s.log.Warn("others can reach this address, and tokens travel to it in clear: set AICLI_TLS_CERT and AICLI_TLS_KEY, or listen on 127.0.0.1 behind a proxy that speaks TLS",
			"address", a.String())
	}
	s.edge = transport.NewServer(listener, handler)
	return nil
}

func bounds(c config.Sockets) transport.Bounds {
	return transport.Bounds{
		Sockets: c.Most, Unsigned: c.Unsigned, SocketsPerUser: c.PerUser, SocketsPerAddress: c.PerAddress, OperationsPerUser: c.UserOperations,
	}
}

var errStopping = errors.New("the server is stopping")

func (s *server) ready(ctx context.Context, db *store.DB) error {
	if s.stopping.Load() {
		return errStopping
	}
	return db.Ready(ctx)
}

// redeem gives a token for the code of the link.
func (s *server) redeem(code string) (string, bool) {
	now := time.Now()
	l := s.link.Load()
	if l == nil || !l.Redeem(code, now) {
		return "", false
	}
	token, err := s.tokens.Issue(auth.Principal{ID: linkUser, Role: auth.Admin}, linkTTL, now)
	if err != nil {
		s.log.Error("make the token of a link", "error", err)
		return "", false
	}
	return token, true
}

// announce says where to go. A link that signs in is printed to a terminal only: what else reads this may keep it.
func (s *server) announce(w io.Writer) error {
	address := s.edge.Addr().String()
	if a, ok := s.edge.Addr().(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	scheme := "http"
	if s.config.TLSCert != "" {
		scheme = "https"
	}
	address = scheme + "://" + address
	signIn := ""
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l, code := auth.NewLink(time.Now())
		s.link.Store(l)
		signIn = fmt.Sprintf("  Sign in   %s%s%s  (as %s, once, within %g minutes)\n", address, transport.LinkPath, code, linkUser, auth.LinkLife.Minutes())
	}
	_, err := fmt.Fprintf(w, "aicli-web %s serves on %s\n%s  Explorer  %s/explorer/\n  API       %s/graphql\n  Tokens    aicli-web token --user NAME\n",
		version(), address, signIn, address, address)
	return err
}

// part is something that runs until it is stopped.
type part struct {
	stop context.CancelFunc
	done chan struct{}
	err  error // once done is closed
}

// start runs f in a goroutine; failed is told when it ends with an error.
func start(f func(context.Context) error, failed chan<- struct{}) *part {
	ctx, stop := context.WithCancel(context.Background())
	p := &part{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if p.err = f(ctx); p.err != nil {
			select {
			case failed <- struct{}{}:
			default: // somebody else was first
			}
		}
	}()
	return p
}

func (p *part) end() error {
	p.stop()
	<-p.done
	return p.err
}

// run works until ctx ends or a part fails. It stops in this order: no longer ready; the pool, whose running work may end, while
// clients still see it; the edge, whose sockets tell clients to come back before their streams run dry; the monitor; the hubs.
func (s *server) run(ctx context.Context) error {
	failed := make(chan struct{}, 1)
	watching := start(s.monitor.Run, failed)
	working := start(s.pool.Run, failed)
	serving := start(s.edge.Run, failed)
	tidying := start(s.service.KeepTidy, failed)
	batching := start(s.service.RunBatches, failed)
	feeding := start(s.service.RunFeed, failed)
	select {
	case <-ctx.Done():
	case <-failed:
	}
	s.log.Info("stopping")
	s.stopping.Store(true)
	err := errors.Join(batching.end(), working.end(), serving.end(), tidying.end(), watching.end(), feeding.end())
	s.service.Close()
	return err
}

func (s *server) close() error {
	var errs []error
	for _, closer := range slices.Backward(s.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// version is that of the module, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

// projects gives the service the errors that it may show.
type projects struct{ *project.Root }

// Check refuses a path with an error that names the field.
func (p projects) Check(owner, path string) error { return pathError(p.Root.Check(owner, path)) }

// Make is for a task, whose failure is shown too.
func (p projects) Make(owner, path string) (string, error) {
	found, err := p.Root.Make(owner, path)
	return found, pathError(err)
}

// Find is for a task, as Make is.
func (p projects) Find(owner, path string) (string, error) {
	found, err := p.Root.Find(owner, path)
	return found, pathError(err)
}

// Mounted looks into a container through its first process.
func (p projects) Mounted(owner, path, target string, c engine.Container) (same, known bool, err error) {
	return p.Root.Mounted(owner, path, target, processOf(c))
}

// Begun looks at a container's first process, which is its init.
func (projects) Begun(c engine.Container) (begun, known bool) { return processOf(c).Begun() }

func processOf(c engine.Container) project.Process {
	return project.Process{Container: c.ID, Pid: c.Pid}
}

func pathError(err error) error {
	if refused, ok := errors.AsType[*project.PathError](err); ok {
		return &workspace.Error{Code: workspace.BadUserInput, Message: refused.Reason, Field: []string{"input", "projectPath"}}
	}
	return err
}
