package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Queue is where tasks are kept. Every method is one transaction.
type Queue interface {
	// Claim leases tasks that are due to holder, no more than there are slots, at most one a workspace and the oldest of it first. A slot goes to the owner
	// who has the fewest busy; owners who have as many take turns.
	Claim(ctx context.Context, holder string, slots Slots, lease time.Duration) ([]Task, error)
	// Extend keeps leases alive, and says of which that cannot be said.
	Extend(ctx context.Context, leases []Lease, lease time.Duration) (Verdict, error)
	// Report writes what a running task is doing. A lost lease is an error.
	Report(ctx context.Context, lease Lease, step string, progress *float64) error
	// Finish writes how a run ended. A lost lease is ErrLeaseLost, and nothing is written.
	Finish(ctx context.Context, lease Lease, outcome Outcome) error
	// Reclaim gives back the tasks whose lease has ended, of whatever holder.
	Reclaim(ctx context.Context) (int, error)
	// Doubt has a workspace looked at: a run that had lost its lease may have done something to it after its successor.
	Doubt(ctx context.Context, workspaceID string) error
}

// Verdict is what Extend found: the leases that are no longer ours, those that are as they were because somebody else is just writing
// their tasks, and the ids of tasks that are no longer wanted or that somebody wants cancelled.
type Verdict struct {
	Lost      []Lease
	Busy      []Lease
	Unwanted  []string
	Cancelled []string
}

// Handler runs one task. It must be idempotent: a task that ran half, twice or never comes to the same end. report may be
// called as often as it likes; what is written is bounded.
type Handler func(ctx context.Context, t Task, report Report) error

// Report says what a task is doing now, and how far it is (0 to 100, nil where it cannot be known).
type Report func(step string, progress *float64)

// Causes of a cancelled work context.
var (
	ErrShutdown   = errors.New("the server is stopping")
	ErrTimeout    = errors.New("the task took longer than it may")
	ErrLeaseLost  = errors.New("another server has taken the task over")
	ErrSuperseded = errors.New("a later request made the task pointless")
	ErrCancelled  = errors.New("the task was cancelled")
)

// Class says what to do about a failure.
type Class int

// The classes.
const (
	Permanent Class = iota // fail now
	Transient              // try again with backoff
	Wait                   // the engine cannot be asked: try again later, and count no try
)

// Options of a pool. All are required, but those with a default.
type Options struct {
	Holder   string // unique among all pools on one queue
	Workers  int    // how many tasks run at once
	Handlers map[Type]Handler
	// Classify tells failures apart; it is never given nil.
	Classify func(error) (Failure, Class)
	// Timeout bounds one run, until it is parked.
	Timeout func(Task) time.Duration
	// Grace is how long running tasks may go on after the pool is told to stop.
	Grace time.Duration
	Log   *slog.Logger

	Lease time.Duration // default 6 s; kept alive three times as often
	Poll  time.Duration // default 1 s: the safety net under Wake, and how late a retry may begin
	Retry Backoff       // default 1 s doubling up to 1 min
}

const (
	// defaultLease is how long the tasks of a server that was killed wait at least: seconds, and yet far more than a pause of the
	// machine.
	defaultLease = 6 * time.Second
	defaultPoll  = time.Second
	// claimGap is the least time between two claims.
	claimGap = time.Millisecond
	// unwritten is how many tasks whose handler has returned, and whose outcome is not written yet, there may be for each worker.
	unwritten = 3
	// finishTimeout bounds the attempts to write an outcome; past it the lease ends and the task is run again.
	finishTimeout = 10 * time.Second
	// stopTimeout bounds how long a cancelled handler may take to return before the pool says so in the log.
	stopTimeout = 30 * time.Second
)

// Pool runs tasks. Run does the work; the other methods may be called from anywhere.
type Pool struct {
	queue Queue
	opts  Options
	wake  chan struct{}
	check chan struct{} // holds a token when leases are to be looked at now

	mu      sync.Mutex
	running map[Lease]*run // one that lost its lease is in it until it has ended, beside its successor
	busy    map[string]int // workers, by the owner of what they run
	parked  map[place]int  // runs that only wait
}

// run is a task that was claimed here and whose outcome is not written yet. Its worker is free for another one while that is being done:
// outcomes are written many at once, and nobody waits for that who could work.
type run struct {
	handled     bool   // the handler has returned
	parked      *place // it only waits; nil: it has a worker, or had one to its end
	workspaceID string
	owner       string
	cancel      context.CancelCauseFunc
	done        chan struct{}
	until       time.Time // when its lease ends, unless that is kept alive
	expiry      *time.Timer
}

// New makes a pool. Nothing runs before Run.
func New(queue Queue, opts Options) *Pool {
	if opts.Lease == 0 {
		opts.Lease = defaultLease
	}
	if opts.Poll == 0 {
		opts.Poll = defaultPoll
	}
	if opts.Retry == (Backoff{}) {
		opts.Retry = Backoff{First: time.Second, Most: time.Minute}
	}
	return &Pool{queue: queue, opts: opts, wake: make(chan struct{}, 1), check: make(chan struct{}, 1), running: make(map[Lease]*run), busy: make(map[string]int), parked: make(map[place]int)}
}

// Wake says that there may be something to claim.
func (p *Pool) Wake() {
	select {
	case p.wake <- struct{}{}:
	default: // a wake is pending already
	}
}

// Interrupt ends a task's run with a cause, ErrSuperseded or ErrCancelled, if it runs here.
func (p *Pool) Interrupt(taskID string, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for lease, r := range p.running {
		if lease.TaskID == taskID {
			r.cancel(cause)
		}
	}
}

// Recheck asks whether what runs here is still wanted, if it is among these tasks or works on one of these workspaces: somebody else has changed
// them.
func (p *Pool) Recheck(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for lease := range p.running {
		if slices.Contains(ids, lease.TaskID) || slices.Contains(ids, lease.WorkspaceID) {
			select {
			case p.check <- struct{}{}:
			default: // a look is due already
			}
			return
		}
	}
}

// Workers is how many tasks run at once at most, but for those that only wait.
func (p *Pool) Workers() int { return p.opts.Workers }

// Running is how many tasks run now, with those that only wait.
func (p *Pool) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := 0
	for _, r := range p.running {
		if !r.handled {
			running++
		}
	}
	return running
}

// Run claims and runs tasks until ctx ends. Then it claims no more, lets running tasks go on for Options.Grace, cancels them
// with ErrShutdown, and returns when all have ended and what was cut has been given back.
func (p *Pool) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	// Leases are kept to the very end: who is slow to let go must not have a successor beside it.
	keeping, release := context.WithCancel(context.WithoutCancel(ctx))
	var tasks, keeper sync.WaitGroup
	keeper.Go(func() { p.keepLeases(keeping) })
	defer keeper.Wait()
	defer release()

	poll := time.NewTicker(p.opts.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		p.claim(ctx, work, &tasks)
		<-time.After(claimGap) // what ends meanwhile frees its slot too: one claim for all
		select {
		case <-p.wake:
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	p.drain(&tasks, cancel)
	return nil
}

// claim fills the free slots. Claimed tasks that wait would be invisible to other servers, so it asks for no more than that.
func (p *Pool) claim(ctx, work context.Context, tasks *sync.WaitGroup) {
	slots := p.slots()
	if slots.Free <= 0 {
		return
	}
	// Bounded, so that a database that does not answer is asked again: as long as the lease, past which what it gives is void. A stop does not cut it: what
	// the database had just given out would be nobody's until the lease has ended.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.Lease)
	defer cancel()
	until := time.Now().Add(p.opts.Lease)
	claimed, err := p.queue.Claim(bounded, p.opts.Holder, slots, p.opts.Lease)
	if err != nil {
		if ctx.Err() == nil {
			p.opts.Log.Error("claim tasks", "error", err)
		}
		return
	}
	for _, t := range claimed {
		if ctx.Err() != nil {
			tasks.Go(func() {
				p.finish(context.WithoutCancel(ctx), t, Outcome{Status: Queued, Unburned: true}, p.opts.Log.With("task_id", t.ID))
			})
			continue
		}
		runCtx, cancel := context.WithCancelCause(work)
		before := p.begin(t, cancel, until)
		tasks.Go(func() {
			defer p.Wake() // the next task of its workspace may begin
			defer p.end(t.Lease)
			for _, r := range before { // they were told: two never work on one workspace at once
				<-r.done
			}
			if p.expire(t.Lease) { // the process stood still, or the database did: somebody else may be at it by now
				p.opts.Log.Warn("a task was not begun: its lease had ended", "task_id", t.ID, "workspace_id", t.WorkspaceID)
				return
			}
			p.run(runCtx, t)
		})
	}
}

func (p *Pool) slots() Slots {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.parked[place{what: ForContainer}] + p.parked[place{what: ForImage}]
	s := Slots{Free: p.opts.Workers, Busy: maps.Clone(p.busy)}
	for _, n := range p.busy {
		s.Free -= n
	}
	s.Free = min(s.Free, (1+unwritten)*p.opts.Workers-(len(p.running)-waiting))
	return s
}

// free lets another task begin in the place of one whose handler has returned.
func (p *Pool) free(lease Lease) {
	p.mu.Lock()
	p.leave(p.running[lease])
	p.mu.Unlock()
	p.Wake()
}

// begin notes a run whose lease ends at until, and cancels those on the same workspace that have not ended: their lease was lost, or
// this task could not have been claimed. It returns them.
func (p *Pool) begin(t Task, cancel context.CancelCauseFunc, until time.Time) (before []*run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.running {
		if r.workspaceID == t.WorkspaceID {
			r.cancel(ErrLeaseLost)
			before = append(before, r)
		}
	}
	p.busy[t.OwnerID]++
	p.running[t.Lease] = &run{
		workspaceID: t.WorkspaceID, owner: t.OwnerID, cancel: cancel, done: make(chan struct{}), until: until,
		expiry: time.AfterFunc(time.Until(until), func() { p.expire(t.Lease) }),
	}
	return before
}

// expire cuts a run whose lease has ended, as far as can be known here: from then on somebody else may be at it. It reports whether it has.
func (p *Pool) expire(lease Lease) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.running[lease]
	if r == nil || time.Now().Before(r.until) {
		return false
	}
	r.cancel(ErrLeaseLost)
	return true
}

func (p *Pool) end(lease Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.running[lease]
	r.expiry.Stop()
	r.cancel(nil)
	close(r.done)
	delete(p.running, lease)
	p.leave(r)
}

func (p *Pool) drain(tasks *sync.WaitGroup, cancel context.CancelCauseFunc) {
	ended := make(chan struct{})
	go func() { tasks.Wait(); close(ended) }()
	p.cutParked()
	grace := time.NewTimer(p.opts.Grace)
	defer grace.Stop()
	select {
	case <-ended:
		return
	case <-grace.C:
	}
	cancel(ErrShutdown)
	late := time.NewTimer(stopTimeout)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		p.opts.Log.Error("tasks do not end although they were cancelled", "running", p.Running())
		<-ended
	}
}

// cutParked has what only waits given back at once: whoever takes it over waits on.
func (p *Pool) cutParked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.running {
		if r.parked != nil {
			r.cancel(ErrShutdown)
		}
	}
}

// run runs one task and writes its outcome.
func (p *Pool) run(ctx context.Context, t Task) {
	log := p.opts.Log.With("task_id", t.ID, "type", t.Type, "workspace_id", t.WorkspaceID, "attempt", t.Attempt)
	began := time.Now()
	if t.Cancel { // whoever ran it before was gone before it saw that
		p.finish(context.WithoutCancel(ctx), t, Outcome{Status: Cancelled}, log)
		return
	}
	err := p.handle(ctx, t)
	cause := context.Cause(ctx)
	p.free(t.Lease)
	if errors.Is(cause, ErrLeaseLost) {
		log.Warn("task was taken over by another server")
		p.doubt(context.WithoutCancel(ctx), t, log)
		return
	}
	outcome := p.outcome(t, err, cause)
	switch outcome.Status {
	case Failed, Retrying:
		log.Warn("task failed", "status", outcome.Status, "code", outcome.Failure.Code, "error", err, "again_after", outcome.After)
	default:
		log.Info("task ended", "status", outcome.Status, "took", time.Since(began))
	}
	p.finish(context.WithoutCancel(ctx), t, outcome, log)
}

// doubt has the workspace looked at of a task whose run went on beside that of another server, for a moment.
func (p *Pool) doubt(ctx context.Context, t Task, log *slog.Logger) {
	err := persist(ctx, func(ctx context.Context) error { return p.queue.Doubt(ctx, t.WorkspaceID) })
	if err != nil {
		log.Error("have a workspace looked at", "error", err)
	}
}

// handle calls the handler, with the type's timeout. A panic fails this task alone.
func (p *Pool) handle(ctx context.Context, t Task) (err error) {
	handler := p.opts.Handlers[t.Type]
	if handler == nil {
		return fmt.Errorf("no handler for task type %s", t.Type)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := time.AfterFunc(p.opts.Timeout(t), func() { cancel(ErrTimeout) })
	defer timeout.Stop()
	ctx = context.WithValue(ctx, parkKey{}, &parking{p, p.find(t.Lease), timeout})
	report, stop := p.reporter(ctx, t.Lease)
	defer stop()
	defer func() {
		if r := recover(); r != nil {
			p.opts.Log.Error("panic in a task", "task_id", t.ID, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if err = handler(ctx, t, report); err != nil && errors.Is(context.Cause(ctx), ErrTimeout) {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return err
}

func (p *Pool) find(lease Lease) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[lease]
}

// outcome decides what becomes of a task whose handler has returned. cause is why its context was cancelled, if it was.
func (p *Pool) outcome(t Task, err, cause error) Outcome {
	switch {
	case err == nil:
		return Outcome{Status: Succeeded}
	case errors.Is(cause, ErrSuperseded), errors.Is(err, ErrSuperseded):
		return Outcome{Status: Superseded}
	case errors.Is(cause, ErrCancelled):
		return Outcome{Status: Cancelled}
	case errors.Is(cause, ErrShutdown):
		return Outcome{Status: Queued, Unburned: true}
	case errors.Is(err, ErrAgain):
		return Outcome{Status: Queued, Unburned: true}
	case errors.Is(err, ErrFull):
		return Outcome{Status: Queued, After: parkAgain, Unburned: true}
	}
	failure, class := p.opts.Classify(err)
	switch {
	case class == Wait:
		return Outcome{Status: Queued, Failure: &failure, After: p.opts.Retry.First, Unburned: true}
	case class == Transient && t.Attempt < t.MaxAttempts:
		return Outcome{Status: Retrying, Failure: &failure, After: p.opts.Retry.After(t.Attempt)}
	default:
		return Outcome{Status: Failed, Failure: &failure}
	}
}

// finish writes the outcome: a task that ran must not look as if it hadn't.
func (p *Pool) finish(ctx context.Context, t Task, outcome Outcome, log *slog.Logger) {
	err := persist(ctx, func(ctx context.Context) error { return p.queue.Finish(ctx, t.Lease, outcome) })
	switch {
	case errors.Is(err, ErrLeaseLost):
		log.Warn("task was taken over before its outcome was written")
	case err != nil:
		log.Error("write the outcome of a task: it runs again when its lease has ended", "error", err)
	}
}

// persist calls write again and again for a while when the database fails; a lease that was lost is an answer.
func persist(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	pause := Backoff{First: 50 * time.Millisecond, Most: time.Second}
	for try := 1; ; try++ {
		err := write(ctx)
		if err == nil || errors.Is(err, ErrLeaseLost) {
			return err
		}
		wait := time.NewTimer(pause.After(try))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

// keepLeases keeps the leases of running tasks alive, cancels the tasks whose lease is lost or that are no longer wanted, and
// gives back what others have let go of.
func (p *Pool) keepLeases(ctx context.Context) {
	tick := time.NewTicker(p.opts.Lease / 3)
	defer tick.Stop()
	p.reclaim(ctx)
	for {
		select {
		case <-p.check:
			p.extend(ctx)
		case <-tick.C:
			p.extend(ctx)
			p.reclaim(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (p *Pool) reclaim(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, p.opts.Lease/3)
	defer cancel()
	if n, err := p.queue.Reclaim(bounded); err != nil && ctx.Err() == nil {
		p.opts.Log.Error("give back tasks whose lease has ended", "error", err)
	} else if n > 0 {
		p.opts.Log.Warn("tasks were given back because their lease had ended", "tasks", n)
		p.Wake()
	}
}

func (p *Pool) extend(ctx context.Context) {
	p.mu.Lock()
	leases := slices.Collect(maps.Keys(p.running))
	p.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	asked := time.Now()
	bounded, cancel := context.WithTimeout(ctx, p.opts.Lease/3)
	defer cancel()
	verdict, err := p.queue.Extend(bounded, leases, p.opts.Lease)
	if err != nil && ctx.Err() == nil {
		p.opts.Log.Error("keep the leases of running tasks", "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lease := range leases {
		r := p.running[lease]
		switch {
		case r == nil: // it has ended meanwhile
		case slices.Contains(verdict.Lost, lease):
			r.cancel(ErrLeaseLost)
		case err != nil || slices.Contains(verdict.Busy, lease): // until it ends
		default:
			r.until = asked.Add(p.opts.Lease)
			r.expiry.Reset(time.Until(r.until))
			switch {
			case slices.Contains(verdict.Unwanted, lease.TaskID):
				r.cancel(ErrSuperseded)
			case slices.Contains(verdict.Cancelled, lease.TaskID):
				r.cancel(ErrCancelled)
			}
		}
	}
}
