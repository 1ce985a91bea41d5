package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/lifecycle"
	"github.com/aicli/aicli-web/internal/monitor"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// server is one that works on the database, put together as the real one is. It can be killed, and cut off from its database.
type server struct {
	*workspace.Service
	db   *store.DB
	line *line
	life *lifecycle.Lifecycle
	cut  atomic.Bool
	// frozen is closed when a server that stands still goes on; nil while it does not.
	frozen atomic.Pointer[chan struct{}]
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

const (
	// resync is how often servers compare all with the engine.
	resync = 30 * time.Second
	// orphanGrace is how long they leave what no row knows.
	orphanGrace = time.Minute
)

var errCut = errors.New("the database does not answer")

// queue is what the pool has of the database, unless that is cut off.
type queue struct {
	task.Queue
	server *server
}

func (q queue) Claim(ctx context.Context, holder string, slots task.Slots, lease time.Duration) ([]task.Task, error) {
	if err := q.server.reach(); err != nil {
		return nil, err
	}
	return q.Queue.Claim(ctx, holder, slots, lease)
}

func (q queue) Extend(ctx context.Context, leases []task.Lease, lease time.Duration) (task.Verdict, error) {
	if err := q.server.reach(); err != nil {
		return task.Verdict{}, err
	}
	return q.Queue.Extend(ctx, leases, lease)
}

func (q queue) Report(ctx context.Context, lease task.Lease, step string, progress *float64) error {
	if err := q.server.reach(); err != nil {
		return err
	}
	return q.Queue.Report(ctx, lease, step, progress)
}

func (q queue) Finish(ctx context.Context, lease task.Lease, o task.Outcome) error {
	if err := q.server.reach(); err != nil {
		return err
	}
	return q.Queue.Finish(ctx, lease, o)
}

func (q queue) Reclaim(ctx context.Context) (int, error) {
	if err := q.server.reach(); err != nil {
		return 0, err
	}
	return q.Queue.Reclaim(ctx)
}

func (q queue) Doubt(ctx context.Context, workspaceID string) error {
	if err := q.server.reach(); err != nil {
		return err
	}
	return q.Queue.Doubt(ctx, workspaceID)
}

// desk is what the lifecycle has of the database, unless that is cut off.
type desk struct{ server *server }

func (d desk) Get(ctx context.Context, id string) (workspace.Workspace, error) {
	if err := d.server.reach(); err != nil {
		return workspace.Workspace{}, err
	}
	return d.server.Service.Get(ctx, id)
}

func (d desk) Record(ctx context.Context, id string, seen workspace.Observed) (workspace.Workspace, error) {
	if err := d.server.reach(); err != nil {
		return workspace.Workspace{}, err
	}
	return d.server.Service.Record(ctx, id, seen)
}

func (d desk) RecordEnd(ctx context.Context, id string, e workspace.End) (bool, error) {
	if err := d.server.reach(); err != nil {
		return false, err
	}
	return d.server.Service.RecordEnd(ctx, id, e)
}

func (d desk) StopBy(ctx context.Context, lease task.Lease, grace time.Duration) (time.Duration, error) {
	if err := d.server.reach(); err != nil {
		return 0, err
	}
	return d.server.Service.StopBy(ctx, lease, grace)
}

func (d desk) MoveSubnet(ctx context.Context, id string, taken []netip.Prefix) (workspace.Workspace, error) {
	if err := d.server.reach(); err != nil {
		return workspace.Workspace{}, err
	}
	return d.server.Service.MoveSubnet(ctx, id, taken)
}

func (d desk) CheckImage(image string) error { return d.server.Service.CheckImage(image) }

func (d desk) Enclosing(ctx context.Context, w workspace.Workspace) (string, error) {
	if err := d.server.reach(); err != nil {
		return "", err
	}
	return d.server.Service.Enclosing(ctx, w)
}

func (d desk) SharesProject(ctx context.Context, w workspace.Workspace) (bool, error) {
	if err := d.server.reach(); err != nil {
		return false, err
	}
	return d.server.Service.SharesProject(ctx, w)
}

func (d desk) Known(ctx context.Context, o workspace.Orphan) (bool, error) {
	if err := d.server.reach(); err != nil {
		return false, err
	}
	return d.server.Service.Known(ctx, o)
}

func (d desk) ReleaseSubnet(ctx context.Context, o workspace.Orphan) error {
	if err := d.server.reach(); err != nil {
		return err
	}
	return d.server.Service.ReleaseSubnet(ctx, o)
}

// projects are directories that are always there.
type projects struct{}

func (projects) Check(string, string) error          { return nil }
func (projects) Make(string, string) (string, error) { return "/projects/p", nil }
func (projects) Find(string, string) (string, error) { return "/projects/p", nil }
func (projects) RemoveEmpty(string, string) error    { return nil }
func (projects) Mounted(string, string, string, engine.Container) (same, known bool, err error) {
	return true, true, nil
}

func (projects) Begun(engine.Container) (begun, known bool) { return true, true }

// serve starts a server.
func (w *world) serve() *server {
	w.Helper()
	db, err := store.Open(w.dialect, w.dsn)
	if err == nil {
		err = db.Hurry(w.Context())
	}
	if err != nil {
		w.Fatal(err)
	}
	db.UseClock(w.now)
	log := slog.New(slog.DiscardHandler)
	s := &server{db: db, line: &line{Engine: w.fake, chance: &w.chance, faults: &w.faults, slow: w.slow}}
	s.line.stall, s.line.late = s.stall, w.lateNetwork
	s.Service = workspace.NewService(storetest.Alone{DB: db}, projects{}, workspace.Config{DefaultImage: image, NetworkPool: netip.MustParsePrefix("10.213.0.0/20"), Log: log})
	life := lifecycle.New(s.line, desk{s}, projects{}, installation, log)
	s.life = life
	handlers := life.Handlers()
	for typ, handler := range handlers {
		handlers[typ] = w.watched(s, handler)
	}
	pool := task.New(queue{s.Service, s}, task.Options{
		Holder: workspace.NewID("pool_"), Workers: 3, Handlers: handlers, Classify: lifecycle.Classify, Timeout: lifecycle.Timeout, Log: log,
	})
	s.Attach(pool)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	watching := monitor.New(monitor.Options{
		Engine: s.line, Confirm: func(context.Context) error { return nil }, Workspaces: s, Looker: life, Labels: isolation.Installation(installation), Resync: resync, OrphanGrace: orphanGrace, Log: log,
	})
	for _, run := range []func(context.Context) error{pool.Run, s.RunBatches, s.RunFeed, watching.Run} {
		s.ended.Go(func() {
			if err := run(ctx); err != nil {
				w.Error(err)
			}
		})
	}
	return s
}

// lateNetwork makes a network that a killed server had asked for: it had its addresses before the others, which have moved since.
func (w *world) lateNetwork(spec engine.NetworkSpec) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late[spec.Labels[engine.LabelWorkspace]] = struct{}{}
	spec.Subnet = fmt.Sprintf("10.214.%d.%d/28", len(w.late)/16, len(w.late)%16*16)
	w.fake.Twin(spec)
}

// reach is the way to the database: none while that is cut off, and nobody takes it while the server is frozen.
func (s *server) reach() error {
	s.stall()
	if s.cut.Load() {
		return errCut
	}
	return nil
}

// Each and LostSubnets are what the monitor has of the database, unless that is cut off.
func (s *server) Each(ctx context.Context, visit func(workspace.Workspace) error) error {
	if err := s.reach(); err != nil {
		return err
	}
	return s.Service.Each(ctx, visit)
}

func (s *server) LostSubnets(ctx context.Context) ([]workspace.Orphan, error) {
	if err := s.reach(); err != nil {
		return nil, err
	}
	return s.Service.LostSubnets(ctx)
}

// stall waits while the server is frozen.
func (s *server) stall() {
	if thaw := s.frozen.Load(); thaw != nil {
		<-*thaw
	}
}

// kill ends a server as if its power were cut: nothing that it does from now on reaches the database.
func (s *server) kill() error {
	s.line.dead.Store(true)
	s.cut.Store(true)
	err := s.db.Close()
	s.stop()
	return err
}

// watched holds that no two handlers are at one workspace at once. One that was told to end does not count, nor does a dead server's.
func (w *world) watched(s *server, handler task.Handler) task.Handler {
	return func(ctx context.Context, t task.Task, report task.Report) error {
		me := &visit{ctx: ctx, server: s, task: t}
		s.stall()
		w.mu.Lock()
		for other := range w.visits[t.WorkspaceID] {
			if other.ctx.Err() == nil && !other.server.line.dead.Load() {
				w.faultsFound = append(w.faultsFound, fmt.Sprintf("%s %s began while %s %s was at %s", t.Type, t.ID, other.task.Type, other.task.ID, t.WorkspaceID))
			}
		}
		if w.visits[t.WorkspaceID] == nil {
			w.visits[t.WorkspaceID] = make(map[*visit]struct{})
		}
		w.visits[t.WorkspaceID][me] = struct{}{}
		w.mu.Unlock()
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.visits[t.WorkspaceID], me)
		}()
		return handler(ctx, t, report)
	}
}

// visit is a handler at work.
type visit struct {
	ctx    context.Context //nolint:containedctx // that is what is looked at
	server *server
	task   task.Task
}
