// Package hub fans values out to subscribers in this process. Publish never blocks: each subscriber has a mailbox, and what
// a slow one loses is decided by the kind of its mailbox, which is part of the hub's type. It knows nothing of what it
// carries and never stores a value for somebody who subscribes later: subscribe first, then read the present.
package hub

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// ErrClosed is what a subscriber is told when the hub has closed: the server is going away.
var ErrClosed = errors.New("the stream ends because the server stops")

// Latest fans out the newest value of each key. A subscriber that is slow misses what was overtaken, never the newest,
// and gets nothing older than what it has.
type Latest[K comparable, V any] struct {
	newer func(have, next V) bool

	mu     sync.Mutex
	subs   map[K]map[*Subscription[V]]struct{}
	closed bool
}

// NewLatest makes a hub. newer says whether next overtakes have: two commits may be published in the wrong order, and the
// older one must not replace the newer one in a mailbox.
func NewLatest[K comparable, V any](newer func(have, next V) bool) *Latest[K, V] {
	return &Latest[K, V]{newer: newer, subs: make(map[K]map[*Subscription[V]]struct{})}
}

// Publish puts v into the mailbox of everybody who subscribes to key.
func (h *Latest[K, V]) Publish(key K, v V) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs[key] {
		s.put(v, h.newer)
	}
}

// Subscribe opens a mailbox for key. The subscriber closes it.
func (h *Latest[K, V]) Subscribe(key K) *Subscription[V] {
	s := &Subscription[V]{ready: make(chan struct{}, 1), done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(s.done)
		return s
	}
	if h.subs[key] == nil {
		h.subs[key] = make(map[*Subscription[V]]struct{})
	}
	h.subs[key][s] = struct{}{}
	s.leave = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if delete(h.subs[key], s); len(h.subs[key]) == 0 {
			delete(h.subs, key)
		}
	}
	return s
}

// Subscribers counts the open mailboxes of key.
func (h *Latest[K, V]) Subscribers(key K) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs[key])
}

// Keys lists what is subscribed to.
func (h *Latest[K, V]) Keys() []K {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.subs))
}

// Close ends all subscriptions, now and from now on. What lies in a mailbox can still be taken.
func (h *Latest[K, V]) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for _, subs := range h.subs {
		for s := range subs {
			close(s.done)
		}
	}
	h.subs = make(map[K]map[*Subscription[V]]struct{})
}

// Subscription is one subscriber's mailbox, read by one goroutine.
type Subscription[V any] struct {
	ready chan struct{} // holds a token while there is a value to take
	done  chan struct{}
	leave func()

	mu    sync.Mutex
	full  bool // value has not been taken
	seen  bool // value is the newest so far, taken or not: nothing older comes after it
	value V
}

func (s *Subscription[V]) put(v V, newer func(have, next V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen && !newer(s.value, v) {
		return
	}
	s.value, s.full, s.seen = v, true, true
	select {
	case s.ready <- struct{}{}:
	default: // the token is there already
	}
}

// Ready receives when there may be something to Take: for those who wait for several things at once.
func (s *Subscription[V]) Ready() <-chan struct{} { return s.ready }

// Done is closed when the hub has closed.
func (s *Subscription[V]) Done() <-chan struct{} { return s.done }

// Take empties the mailbox.
func (s *Subscription[V]) Take() (v V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		return v, false
	}
	s.full = false
	return s.value, true
}

// Next waits for a value. It fails with ErrClosed when the hub has closed and the mailbox is empty, else with ctx.Err().
func (s *Subscription[V]) Next(ctx context.Context) (V, error) {
	for {
		if v, ok := s.Take(); ok {
			return v, nil
		}
		var none V
		select {
		case <-s.ready:
		case <-s.done:
			if v, ok := s.Take(); ok {
				return v, nil
			}
			return none, ErrClosed
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// Close leaves the hub. It may be called more than once.
func (s *Subscription[V]) Close() {
	if s.leave != nil {
		s.leave()
	}
}
