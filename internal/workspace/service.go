package workspace

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/hub"
	"github.com/aicli/aicli-web/internal/task"
)

// Actor is who asks: a user, or an admin, who sees what belongs to everybody.
type Actor struct {
	ID    string
	Admin bool
}

// sees reports whether what belongs to owner exists for the actor.
func (a Actor) sees(owner string) bool { return a.Admin || a.ID == owner }

// scope is the owner that the actor's lists are confined to; empty: none.
func (a Actor) scope() string {
	if a.Admin {
		return ""
	}
	return a.ID
}

// Projects checks project directories. A path that the user can mend is refused with an *Error.
type Projects interface {
	Check(owner, path string) error
}

// Runner is the pool, as far as the service needs it.
type Runner interface {
	Wake()
	Interrupt(taskID string, cause error)
	// Recheck looks at once whether what runs here is still wanted, if it is among these tasks, or works on one of these workspaces.
	Recheck(ids []string)
}

// Config is what the service is told once.
type Config struct {
	DefaultImage string
	Images       ImageRules
	NetworkPool  netip.Prefix
	Workers      int           // of the pool, by which a batch knows how many items to have under way
	EventsFor    time.Duration // how long the event log is kept; zero: a week
	EventsMost   int           // and how many events it has at most; zero: 100,000
	Log          *slog.Logger
}

// Service is what can be asked about workspaces. Every change is committed with its events; whoever waits for it is told by the feed.
type Service struct {
	store    Store
	projects Projects
	config   Config

	runner     atomic.Pointer[Runner]
	workspaces *hub.Latest[string, Change]
	tasks      *hub.Latest[string, task.Task]
	batches    *hub.Latest[string, Batch]
	batchWake  chan struct{}
	moved      chan struct{} // holds a token when the queue has moved since it was looked at
	feed       *feed
	stopped    chan struct{} // closed by Close
	stopping   sync.Once
	engines    *hub.Latest[struct{}, EngineHealth]
	engine     atomic.Pointer[EngineHealth]
	unwritten  sync.Map // ids of workspaces of which something that was seen waits to be written
	orphans    atomic.Pointer[[]Orphan]
}

// nobody is the runner before there is one: tasks wait in the store.
type nobody struct{}

func (nobody) Wake()                   {}
func (nobody) Interrupt(string, error) {}
func (nobody) Recheck([]string)        {}

// NewService makes a service. Its tasks wait until Attach was called and the engine was found.
func NewService(store Store, projects Projects, config Config) *Service {
	config.EventsFor, config.EventsMost = cmp.Or(config.EventsFor, eventsFor), cmp.Or(config.EventsMost, eventsMost)
	s := &Service{
		store: store, projects: projects, config: config,
		workspaces: hub.NewLatest[string](func(have, next Change) bool { return next.Workspace.Version > have.Workspace.Version }),
		tasks:      hub.NewLatest[string](newerTask),
		batches:    hub.NewLatest[string](newerBatch),
		batchWake:  make(chan struct{}, 1),
		moved:      make(chan struct{}, 1),
		feed:       newFeed(),
		stopped:    make(chan struct{}),
		engines:    hub.NewLatest[struct{}](func(_, _ EngineHealth) bool { return true }),
	}
	s.Attach(nobody{})
	s.RecordOrphans(nil)
	s.engine.Store(&EngineHealth{Status: EngineUnavailable, Since: time.Now().UTC(), LastError: "The engine has not been asked yet."})
	return s
}

// Attach says which pool runs the tasks. The pool needs the service as its queue, so it is made after it.
func (s *Service) Attach(r Runner) { s.runner.Store(&r) }

// Close ends all streams.
func (s *Service) Close() {
	s.workspaces.Close()
	s.tasks.Close()
	s.batches.Close()
	s.engines.Close()
	s.stopping.Do(func() { close(s.stopped) })
}

// update is how a workspace changes: committed, and told by the event log.
func (s *Service) update(ctx context.Context, id string, change func(*Draft) error) (Change, error) {
	ch, err := s.store.Update(ctx, id, change)
	if err != nil {
		return Change{}, err
	}
	s.committed(ch)
	return ch, nil
}

// committed has the feed read what a change has added to the event log. The pool is woken where a task waits, also if nothing differs: a claim may have passed over the
// row while it was locked.
func (s *Service) committed(ch Change) {
	if ch.Waiting {
		(*s.runner.Load()).Wake()
	}
	if ch.Differs || len(ch.Batches) > 0 {
		s.logged()
	}
}

// logged has the feed of this server, and those of the others, read on: something was committed.
func (s *Service) logged() {
	signal(s.feed.wake)
	signal(s.feed.notice)
}

// interrupt ends the runs of tasks, of those that run here.
func (s *Service) interrupt(taskIDs []string, cause error) {
	for _, id := range taskIDs {
		(*s.runner.Load()).Interrupt(id, cause)
	}
}

// Engine is what is known of the engine.
func (s *Service) Engine() EngineHealth { return *s.engine.Load() }

// RecordEngine takes in what was learnt of the engine. Since is kept while the status stays the same, and what the engine is
// while it is away.
func (s *Service) RecordEngine(h EngineHealth) {
	have := s.Engine()
	if h.Status != EngineHealthy {
		h.Name, h.Version, h.APIVersion, h.CPUs, h.MemoryBytes = have.Name, have.Version, have.APIVersion, have.CPUs, have.MemoryBytes
	}
	if have.Status == h.Status {
		h.Since = have.Since
		if have == h {
			return
		}
	}
	s.engine.Store(&h)
	s.engines.Publish(struct{}{}, h)
	if h.Status == EngineHealthy {
		(*s.runner.Load()).Wake()
	}
}

// Record takes in what the engine was seen to have of a workspace; ErrStale when something that was seen later is recorded already. It is
// the one writer of what was observed. A workspace that is gone meanwhile is no error: there is nothing left to know.
func (s *Service) Record(ctx context.Context, id string, seen Observed) (Workspace, error) {
	ch, err := s.update(ctx, id, func(d *Draft) error { return d.Observe(seen) })
	s.noteUnwritten(id, err)
	if CodeOf(err) == NotFound {
		return Workspace{}, nil
	}
	return ch.Workspace, err
}

// noteUnwritten notes whether something that was seen of a workspace could not be written, so that its row is not claimed as certain.
func (s *Service) noteUnwritten(id string, err error) {
	if CodeOf(err) == DatabaseLost {
		s.unwritten.Store(id, nil)
		return
	}
	s.unwritten.Delete(id)
}

// RecordEnd takes in that the container of a workspace has ended, as an event told, and says whether that was news. One that is gone is nobody's any
// more.
func (s *Service) RecordEnd(ctx context.Context, id string, e End) (news bool, err error) {
	_, err = s.update(ctx, id, func(d *Draft) error {
		news = d.End(e)
		return nil
	})
	if CodeOf(err) == DatabaseLost {
		s.noteUnwritten(id, err)
	}
	if CodeOf(err) == NotFound {
		return false, nil
	}
	return news, err
}

// Get finds a workspace without asking who wants it: for tasks and the monitor.
func (s *Service) Get(ctx context.Context, id string) (Workspace, error) {
	return s.store.Workspace(ctx, id)
}

// Each visits every workspace, a page at a time.
func (s *Service) Each(ctx context.Context, visit func(Workspace) error) error {
	const page = 200 // rows held at once
	q := Query{Window: Window{First: page, Uncounted: true}, OrderBy: ByCreatedAt}
	for {
		p, err := s.store.Workspaces(ctx, q)
		if err != nil {
			return err
		}
		for _, w := range p.Items {
			if err := visit(w); err != nil {
				return err
			}
		}
		if !p.HasNext {
			return nil
		}
		q.After = p.Cursors[len(p.Cursors)-1]
	}
}

// CheckImage refuses an image that may not be named. The default image is the operator's own choice.
func (s *Service) CheckImage(image string) error {
	if image == s.config.DefaultImage {
		return nil
	}
	return s.config.Images.Check(image)
}

// Enclosing gives the name of a workspace whose project contains that of w; empty when there is none. Creation refuses such a pair, so it
// can only be one from before that was refused.
func (s *Service) Enclosing(ctx context.Context, w Workspace) (string, error) {
	if !strings.Contains(w.ProjectPath, "/") {
		return "", nil // nothing lies above it but the owner's directory
	}
	return s.store.Enclosing(ctx, w)
}

// SharesProject reports whether another workspace of the same owner, which is not being deleted, has the very project of w.
func (s *Service) SharesProject(ctx context.Context, w Workspace) (bool, error) {
	return s.store.SharesProject(ctx, w)
}

// subnetBlock is how long a subnet that turned out to be taken by somebody else is left alone.
const subnetBlock = time.Hour

// MoveSubnet gives a workspace another subnet, because its own turned out to be in use outside this server, as are those taken.
func (s *Service) MoveSubnet(ctx context.Context, id string, taken []netip.Prefix) (Workspace, error) {
	ch, err := s.store.MoveSubnet(ctx, id, s.config.NetworkPool, taken, subnetBlock)
	if err != nil {
		return Workspace{}, err
	}
	s.committed(ch)
	return ch.Workspace, nil
}
