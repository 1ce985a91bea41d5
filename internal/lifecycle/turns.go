package lifecycle

import (
	"context"
	"sync"
)

// turns lets one caller at a time have a key. The zero value is ready; it holds as many keys as are wanted now.
type turns struct {
	mu   sync.Mutex
	keys map[string]*turn
}

type turn struct {
	free   chan struct{} // holds a token while nobody has the key
	wanted int           // who has it and who waits
}

// take waits for the key and returns what gives it back.
func (t *turns) take(ctx context.Context, key string) (leave func(), err error) {
	t.mu.Lock()
	if t.keys == nil {
		t.keys = make(map[string]*turn)
	}
	k := t.keys[key]
	if k == nil {
		k = &turn{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		t.keys[key] = k
	}
	k.wanted++
	t.mu.Unlock()
	select {
	case <-k.free:
		return func() { k.free <- struct{}{}; t.forget(key, k) }, nil
	case <-ctx.Done():
		t.forget(key, k)
		return nil, ctx.Err()
	}
}

func (t *turns) forget(key string, k *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.wanted--; k.wanted == 0 {
		delete(t.keys, key)
	}
}
