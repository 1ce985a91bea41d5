package workspace

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aicli/aicli-web/internal/hub"
)

// Servers on one database tell each other which rows they have changed, by id, after the commit. Who hears an id that somebody here
// watches reads its row and publishes that. What is said while nobody listens is lost, as is what a server has yet to say when it is
// killed; so what is watched is read anew now and then, and whenever a connection was lost.

// wakeNotice stands for an id where there may be something to claim.
const wakeNotice = "queue"

const (
	// pendingMost bounds what is yet to be said. Above it the others are told to read all that they watch.
	pendingMost = 10_000
	// rereadAll stands for all ids.
	rereadAll = "all"
	// rereadEvery is how late a change may be seen that another server was killed before telling of.
	rereadEvery = 10 * time.Second
	// reconnectAfter is the pause before a lost connection is made again.
	reconnectAfter = time.Second
	// lastWords bounds how long a server that stops tries to tell the others.
	lastWords = time.Second
	// noticeGap is the least time between two notices: with much to tell it gathers meanwhile.
	noticeGap = 5 * time.Millisecond
	// rereadAtOnce is how many rows are read by one statement.
	rereadAtOnce = 200
)

// notices are what is yet to be told to the other servers.
type notices struct {
	wake chan struct{}

	mu      sync.Mutex
	pending map[string]struct{}
}

func newNotices() *notices {
	return &notices{wake: make(chan struct{}, 1), pending: make(map[string]struct{})}
}

func (n *notices) add(ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		n.pending[id] = struct{}{}
	}
	if len(n.pending) > pendingMost {
		n.pending = map[string]struct{}{rereadAll: {}, wakeNotice: {}}
	}
	select {
	case n.wake <- struct{}{}:
	default: // a wake is pending already
	}
}

func (n *notices) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := slices.Collect(maps.Keys(n.pending))
	clear(n.pending)
	return ids
}

// tell notes what the other servers are to be told. A server that has its database for itself keeps quiet.
func (s *Service) tell(ids ...string) {
	if s.store.Shared() {
		s.notices.add(ids...)
	}
}

// RunNotices tells the other servers of changes, and takes in what they tell, until ctx ends.
func (s *Service) RunNotices(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { s.sendNotices(ctx) })
	parts.Go(func() { s.hearNotices(ctx) })
	parts.Wait()
	return nil
}

func (s *Service) sendNotices(ctx context.Context) {
	for {
		select {
		case <-s.notices.wake:
		case <-ctx.Done():
			s.sendLast(ctx)
			return
		}
		if !s.sendPending(ctx) {
			pause(ctx, reconnectAfter)
		}
		pause(ctx, noticeGap)
	}
}

// sendLast tells what was given back at the end, for the others to take up.
func (s *Service) sendLast(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	s.sendPending(last)
}

func (s *Service) sendPending(ctx context.Context) (sent bool) {
	ids := s.notices.take()
	if err := s.store.Notify(ctx, ids); err != nil {
		s.config.Log.ErrorContext(ctx, "tell other servers of changes", "error", err)
		s.notices.add(ids...)
		return false
	}
	return true
}

func (s *Service) hearNotices(ctx context.Context) {
	if !s.store.Shared() {
		return
	}
	var rereading sync.WaitGroup
	defer rereading.Wait()
	rereading.Go(func() { s.rereadNowAndThen(ctx) })
	for ctx.Err() == nil {
		err := s.store.Listen(ctx, func() { s.heard(ctx, []string{rereadAll, wakeNotice}) }, func(ids []string) { s.heard(ctx, ids) })
		if err != nil && ctx.Err() == nil {
			s.config.Log.ErrorContext(ctx, "hear of changes from other servers", "error", err)
			pause(ctx, reconnectAfter)
		}
	}
}

func (s *Service) rereadNowAndThen(ctx context.Context) {
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.heard(ctx, []string{rereadAll})
		case <-ctx.Done():
			return
		}
	}
}

// heard publishes what was changed elsewhere, as it is now, to those who watch it here.
func (s *Service) heard(ctx context.Context, ids []string) {
	(*s.runner.Load()).Recheck(ids)
	var workspaces, tasks, batches []string
	for _, id := range ids {
		switch kind, _, _ := strings.Cut(id, "_"); kind + "_" {
		case WorkspacePrefix:
			workspaces = watched(s.workspaces, workspaces, id)
		case TaskPrefix:
			tasks = watched(s.tasks, tasks, id)
		case BatchPrefix:
			batches = watched(s.batches, batches, id)
			s.wakeBatches()
		case rereadAll + "_":
			workspaces, tasks, batches = s.workspaces.Keys(), s.tasks.Keys(), s.batches.Keys()
		case wakeNotice + "_":
			(*s.runner.Load()).Wake()
			s.wakeBatches()
		}
		s.queueMoved()
	}
	if err := errors.Join(
		inChunks(workspaces, func(ids []string) error { return s.rereadWorkspaces(ctx, ids) }),
		inChunks(tasks, func(ids []string) error { return republish(ctx, s.tasks, s.store.TasksByID, ids) }),
		inChunks(batches, func(ids []string) error { return republish(ctx, s.batches, s.store.BatchesByID, ids) }),
	); err != nil && ctx.Err() == nil {
		s.config.Log.ErrorContext(ctx, "read what other servers have changed", "error", err)
	}
}

func (s *Service) rereadWorkspaces(ctx context.Context, ids []string) error {
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
}

func republish[T any](ctx context.Context, to *hub.Latest[string, T], find func(context.Context, []string) (map[string]T, error), ids []string) error {
	found, err := find(ctx, ids)
	for id, value := range found {
		to.Publish(id, value)
	}
	return err
}

// watched adds an id to a list if somebody here watches it.
func watched[T any](h *hub.Latest[string, T], list []string, id string) []string {
	if h.Subscribers(id) == 0 {
		return list
	}
	return append(list, id)
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
