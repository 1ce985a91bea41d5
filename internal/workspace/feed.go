package workspace

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// The feed is the tail of the event log on this server, and the one way by which a change reaches whoever waits for it, here and on other servers. One goroutine reads
// what is new: after each commit of this server, when another one says that there is more, and now and then in any case. Whoever streams events reads the
// newest from memory and older ones from the log, at its own pace: there is no queue for a slow one that could run over. Whoever watches one workspace, task or
// batch gets its newest state from a hub.

const (
	// feedMost is how many of the newest events stay in memory when older ones are let go, which is when there are twice as many: cutting at each new one would copy all.
	feedMost = 2000
	// feedAtOnce is how many are read by one statement.
	feedAtOnce = 200
	// feedEvery is how late an event may be read of which nobody has told.
	feedEvery = 10 * time.Second
	// feedAgain is the wait before the log is read, or a lost connection to other servers is made, again.
	feedAgain = time.Second
	// noticeGap is the least time between two notices to other servers.
	noticeGap = 5 * time.Millisecond
	// lastWords bounds how long a server that stops tries to tell the others.
	lastWords = time.Second
	// rereadAtOnce is how many rows are read by one statement.
	rereadAtOnce = 200
)

// feed is what has been read of the log, and who waits for more.
type feed struct {
	wake   chan struct{} // holds a token while there may be more to read
	notice chan struct{} // holds one while other servers are to be told so

	mu     sync.Mutex
	begun  bool          // the end of the log was found
	begin  int64         // the position behind which all events are in memory
	end    int64         // the position up to which the log was read
	events []Event       // behind begin, in order
	more   chan struct{} // closed when there is more than that
}

func newFeed() *feed {
	return &feed{wake: make(chan struct{}, 1), notice: make(chan struct{}, 1), more: make(chan struct{})}
}

// signal puts a token into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there
	}
}

// position is where reading goes on.
func (f *feed) position() (end int64, begun bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end, f.begun
}

// start begins, or begins anew, at a position.
func (f *feed) start(at int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun, f.begin, f.end, f.events = true, at, at, nil
	f.tell()
}

// add appends what was read.
func (f *feed) add(events []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, events...)
	f.end = events[len(events)-1].Seq
	if over := len(f.events) - feedMost; over >= feedMost {
		f.begin = f.events[over-1].Seq
		f.events = slices.Clone(f.events[over:])
	}
	f.tell()
}

// tell has those who wait look again. f.mu is held.
func (f *feed) tell() {
	close(f.more)
	f.more = make(chan struct{})
}

// behind gives events behind a position that are in memory. Where some are not, known is false, and end is up to where the log may be read. more is closed once there is
// anything new.
func (f *feed) behind(position int64) (events []Event, known bool, end int64, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begun || position < f.begin {
		return nil, false, f.end, f.more
	}
	i, _ := slices.BinarySearchFunc(f.events, position+1, func(e Event, seq int64) int {
		switch {
		case e.Seq < seq:
			return -1
		case e.Seq > seq:
			return 1
		default:
			return 0
		}
	})
	part := f.events[i:min(len(f.events), i+feedAtOnce)]
	return slices.Clone(part), true, f.end, f.more
}

// RunFeed reads the event log as it grows and hands on what is new, until ctx ends.
func (s *Service) RunFeed(ctx context.Context) error {
	var parts sync.WaitGroup
	if s.store.Shared() {
		parts.Go(func() { s.sendNotices(ctx) })
		parts.Go(func() { s.hearNotices(ctx) })
	}
	parts.Go(func() { s.tellPlaces(ctx) })
	s.readLog(ctx)
	parts.Wait()
	return nil
}

// sendNotices tells other servers that there is more in the log.
func (s *Service) sendNotices(ctx context.Context) {
	for {
		select {
		case <-s.feed.notice:
		case <-ctx.Done():
			s.sendLast(ctx)
			return
		}
		if err := s.store.Notify(ctx); err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "tell other servers of changes", "error", err)
			signal(s.feed.notice)
			pause(ctx, feedAgain)
		}
		pause(ctx, noticeGap)
	}
}

// sendLast tells of what was given back at the end. The others read the log now and then in any case.
func (s *Service) sendLast(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = s.store.Notify(last)
}

// hearNotices has the log read when another server says that there is more.
func (s *Service) hearNotices(ctx context.Context) {
	for ctx.Err() == nil {
		more := func() { signal(s.feed.wake) }
		if err := s.store.Listen(ctx, more, more); err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "hear of changes from other servers", "error", err)
			pause(ctx, feedAgain)
		}
	}
}

func (s *Service) readLog(ctx context.Context) {
	poll := time.NewTicker(feedEvery)
	defer poll.Stop()
	for ctx.Err() == nil {
		n, err := s.readFeed(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.config.Log.ErrorContext(ctx, "read the event log", "error", err)
			pause(ctx, feedAgain)
			continue
		case n == feedAtOnce: // there may be more
			continue
		}
		select {
		case <-s.feed.wake:
		case <-poll.C:
		case <-ctx.Done():
		}
	}
}

// readFeed reads what is new, as much as one statement gives.
func (s *Service) readFeed(ctx context.Context) (n int, err error) {
	at, begun := s.feed.position()
	var events []Event
	if begun {
		events, err = s.store.Events(ctx, "", at, feedAtOnce)
	}
	if !begun || errors.Is(err, ErrPruned) {
		if at, err = s.store.LogEnd(ctx); err == nil {
			s.feed.start(at)
			err = s.publishWatched(ctx)
		}
		return 0, err
	}
	if err == nil && len(events) > 0 {
		s.feed.add(events)
		for _, e := range events {
			s.publish(e)
		}
	}
	return len(events), err
}

// publish hands an event on to all who wait for what it tells, whoever committed it.
func (s *Service) publish(e Event) {
	if e.Workspace != nil {
		s.workspaces.Publish(e.WorkspaceID, Change{Workspace: *e.Workspace, Removed: e.Type == EventDeleted})
	}
	if t := e.Task; t != nil {
		s.tasks.Publish(t.ID, *t)
		runner := *s.runner.Load()
		if t.Status != task.Running { // something may be claimed
			runner.Wake()
		}
		if t.Status.Waiting() || t.Cancel { // what runs may not be wanted any more
			runner.Recheck([]string{t.ID, t.WorkspaceID})
		}
		signal(s.moved)
	}
	if e.Batch != nil {
		s.batches.Publish(e.Batch.ID, *e.Batch)
		s.wakeBatches()
		signal(s.moved)
	}
}

// publishWatched hands on the rows of all that is watched, where events may be missing.
func (s *Service) publishWatched(ctx context.Context) error {
	(*s.runner.Load()).Wake()
	s.wakeBatches()
	signal(s.moved)
	return errors.Join(
		inChunks(s.workspaces.Keys(), func(ids []string) error {
			found, err := s.store.WorkspacesByID(ctx, ids)
			if err != nil {
				return err
			}
			for _, id := range ids {
				w, exists := found[id]
				if !exists { // nothing comes after that
					w = Workspace{ID: id, Version: math.MaxInt64}
				}
				s.workspaces.Publish(id, Change{Workspace: w, Removed: !exists})
			}
			return nil
		}),
		inChunks(s.tasks.Keys(), func(ids []string) error {
			found, err := s.store.TasksByID(ctx, ids)
			for id, t := range found {
				s.tasks.Publish(id, t)
			}
			return err
		}),
		inChunks(s.batches.Keys(), func(ids []string) error {
			found, err := s.store.BatchesByID(ctx, ids)
			for id, b := range found {
				s.batches.Publish(id, b)
			}
			return err
		}),
	)
}

func inChunks(ids []string, do func([]string) error) error {
	for chunk := range slices.Chunk(ids, rereadAtOnce) {
		if err := do(chunk); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, but not for long once ctx has ended.
func pause(ctx context.Context, d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// Place is where a stream of events goes on: behind an event, or at the beginning of a snapshot that was not sent to its end.
type Place struct {
	Seq  int64
	Anew bool
}

// The kinds of places, as cursors have them.
const (
	placeBehind = "event:"
	placeAnew   = "snapshot:"
)

// Cursor is the place as a client has it.
func (p Place) Cursor() string {
	kind := placeBehind
	if p.Anew {
		kind = placeAnew
	}
	return base64.RawURLEncoding.EncodeToString([]byte(kind + strconv.FormatInt(p.Seq, 10)))
}

// ParsePlace reads a cursor; false when no event had it.
func ParsePlace(cursor string) (p Place, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		for _, kind := range []string{placeBehind, placeAnew} {
			number, ok := strings.CutPrefix(string(text), kind)
			if seq, err := strconv.ParseInt(number, 10, 64); ok && err == nil && seq >= 0 {
				return Place{Seq: seq, Anew: kind == placeAnew}, true
			}
		}
	}
	return p, false
}

// WatchEvents streams what happens to the workspaces that a query without a window selects. Without a place it begins with a snapshot. The channel is closed when ctx
// ends or the server stops.
func (s *Service) WatchEvents(ctx context.Context, actor Actor, q Query, after *Place) (<-chan Event, error) {
	owner, err := ownerFor(actor, q.OwnerID)
	if err == nil {
		q, err = checkFilter(q)
	}
	if err != nil {
		return nil, err
	}
	q.OwnerID = owner
	out := make(chan Event)
	go func() {
		defer close(out)
		t := stream{Service: s, query: q, out: out}
		if after == nil || after.Anew {
			t.run(ctx, t.snapshot)
		} else {
			t.at = after.Seq
			t.run(ctx, t.resume)
		}
	}()
	return out, nil
}

// stream is one reader of events.
type stream struct {
	*Service

	query Query
	at    int64 // all events up to it were sent, or belong to somebody else
	out   chan<- Event
}

// run sends until ctx ends or the server stops. next is what it begins with.
func (t *stream) run(ctx context.Context, next func(context.Context) error) {
	for {
		err := next(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errStopped):
			return
		case errors.Is(err, ErrPruned):
			if err := t.gap(ctx); err != nil {
				return
			}
			next = t.snapshot
		case err != nil: // the database is away, which the server tells elsewhere
			pause(ctx, feedAgain)
		default:
			next = t.events
		}
	}
}

// resume refuses to go on behind the end of the log: it is another one by now, of a backup that was put back.
func (t *stream) resume(ctx context.Context) error {
	end, err := t.store.LogEnd(ctx)
	if err == nil && t.at > end {
		return ErrPruned
	}
	return err
}

var errStopped = errors.New("the stream ends because the server stops")

// gap says, once, that events are missing. A snapshot follows in their place.
func (t *stream) gap(ctx context.Context) error {
	return t.send(ctx, Event{At: time.Now().UTC(), Type: EventGap, Actor: ActorReconciler, Anew: true,
		Message: "The log does not reach back to where the stream was. The workspaces follow as they are now."})
}

// snapshot sends all workspaces that are selected, as they are at one moment.
func (t *stream) snapshot(ctx context.Context) error {
	list, end, err := t.store.Snapshot(ctx, t.query)
	if err != nil {
		return err
	}
	for i, w := range list {
		if err := t.send(ctx, Event{Seq: end, At: time.Now().UTC(), Type: EventSnapshot, OwnerID: w.OwnerID, WorkspaceID: w.ID, Workspace: &w, Actor: ActorReconciler,
			Message: "The workspace as it is now.", Anew: i < len(list)-1}); err != nil {
			return err
		}
	}
	t.at = end
	return nil
}

// events sends what is behind the last one, or waits for more.
func (t *stream) events(ctx context.Context) (err error) {
	events, known, end, more := t.feed.behind(t.at)
	if !known {
		events, err = t.store.Events(ctx, t.query.OwnerID, t.at, feedAtOnce)
		if err != nil {
			return err
		}
		if len(events) < feedAtOnce { // what others own up to there is not for this stream
			events = append(events, Event{Seq: max(end, t.at)})
		}
	}
	before := t.at
	for _, e := range events {
		if e.Seq > t.at && t.query.Match(e) {
			if err := t.send(ctx, e); err != nil {
				return err
			}
		}
		t.at = max(t.at, e.Seq)
	}
	if t.at > before {
		return nil
	}
	select {
	case <-more:
		return nil
	case <-t.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *stream) send(ctx context.Context, e Event) error {
	select {
	case t.out <- e:
		return nil
	case <-t.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WorkspaceEvents gives a page of the events of one workspace, as far as the log has them, the oldest first.
func (s *Service) WorkspaceEvents(ctx context.Context, actor Actor, workspaceID string, first int, after *Place) (p Page[Event], err error) {
	if _, err := s.Workspace(ctx, actor, workspaceID); err != nil {
		return p, err
	}
	at := Place{}
	if after != nil {
		at = *after
	}
	events, err := s.store.WorkspaceEvents(ctx, workspaceID, at.Seq, first+1)
	if err != nil {
		return p, err
	}
	p.HasNext, p.HasPrevious = len(events) > first, at.Seq > 0
	p.Items = events[:min(first, len(events))]
	for _, e := range p.Items {
		p.Cursors = append(p.Cursors, e.Place().Cursor())
	}
	return p, nil
}
