package monitor

import (
	"context"
	"sync"
	"time"
)

// agenda is what is to be done for workspaces: each once, however many events tell of it, with what was told of it. One that
// is added while it is being done is done again. It holds no more than there are workspaces, and networks with names like theirs.
type agenda[T any] struct {
	both  func(have, next T) T // what two hints tell together
	mu    sync.Mutex
	more  *sync.Cond
	queue []string
	state map[string]stage
	told  map[string]T
	later map[string]T // what is to be added after a while
}

type stage int

const (
	waiting stage = iota + 1
	doing
	doingAndWaiting
)

func newAgenda[T any](both func(have, next T) T) *agenda[T] {
	a := &agenda[T]{both: both, state: make(map[string]stage), told: make(map[string]T), later: make(map[string]T)}
	a.more = sync.NewCond(&a.mu)
	return a
}

// add ignores the empty id, which is that of a network of somebody else.
func (a *agenda[T]) add(id string, told T) {
	if id == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if have, waits := a.told[id]; waits {
		told = a.both(have, told)
	}
	a.told[id] = told
	switch a.state[id] {
	case waiting, doingAndWaiting:
	case doing:
		a.state[id] = doingAndWaiting
	default:
		a.put(id)
	}
}

// again adds one after a while, once, with what was told of it last.
func (a *agenda[T]) again(ctx context.Context, id string, told T, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, waits := a.later[id]
	if a.later[id] = told; waits {
		return
	}
	time.AfterFunc(after, func() {
		a.mu.Lock()
		told := a.later[id]
		delete(a.later, id)
		newer, waits := a.told[id]
		if waits {
			a.told[id] = a.both(told, newer)
		}
		a.mu.Unlock()
		if !waits && ctx.Err() == nil {
			a.add(id, told)
		}
	})
}

func (a *agenda[T]) put(id string) {
	a.state[id] = waiting
	a.queue = append(a.queue, id)
	a.more.Signal()
}

// take waits for the next one. Its done must be called.
func (a *agenda[T]) take(ctx context.Context) (id string, told T, err error) {
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock() // else the broadcast could fall between the check and the wait
		defer a.mu.Unlock()
		a.more.Broadcast()
	})
	defer stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) == 0 && ctx.Err() == nil {
		a.more.Wait()
	}
	if ctx.Err() != nil {
		return "", told, ctx.Err()
	}
	id = a.queue[0]
	a.queue = a.queue[1:]
	a.state[id] = doing
	told = a.told[id]
	delete(a.told, id)
	return id, told, nil
}

func (a *agenda[T]) done(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state[id] == doingAndWaiting {
		a.put(id)
		return
	}
	delete(a.state, id)
}
