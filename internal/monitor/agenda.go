package monitor

import (
	"context"
	"sync"
)

// agenda is what is to be looked at: each workspace once, however many events tell of it. One that is added while it is looked
// at is looked at again. It holds no more than there are workspaces.
type agenda struct {
	mu    sync.Mutex
	more  *sync.Cond
	queue []string
	state map[string]stage
}

type stage int

const (
	waiting stage = iota + 1
	looking
	lookingAndWaiting
)

func newAgenda() *agenda {
	a := &agenda{state: make(map[string]stage)}
	a.more = sync.NewCond(&a.mu)
	return a
}

// add ignores the empty id, which is what an unknown network has.
func (a *agenda) add(id string) {
	if id == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.state[id] {
	case waiting, lookingAndWaiting:
	case looking:
		a.state[id] = lookingAndWaiting
	default:
		a.put(id)
	}
}

func (a *agenda) put(id string) {
	a.state[id] = waiting
	a.queue = append(a.queue, id)
	a.more.Signal()
}

// take waits for the next one. Its done must be called.
func (a *agenda) take(ctx context.Context) (string, error) {
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
		return "", ctx.Err()
	}
	id := a.queue[0]
	a.queue = a.queue[1:]
	a.state[id] = looking
	return id, nil
}

func (a *agenda) done(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state[id] == lookingAndWaiting {
		a.put(id)
		return
	}
	delete(a.state, id)
}
