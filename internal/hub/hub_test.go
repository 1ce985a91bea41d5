package hub_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLatest(t *testing.T) {
	newHub := func() *hub.Latest[string, int] {
		return hub.NewLatest[string](func(have, next int) bool { return next > have })
	}
	t.Run("a slow subscriber gets the newest, whatever the order of publishing", func(t *testing.T) {
		h := newHub()
		s := h.Subscribe("a")
		defer s.Close()
		for _, v := range []int{1, 3, 2} {
			h.Publish("a", v)
		}
		h.Publish("b", 9)
		if v, err := s.Next(t.Context()); v != 3 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
		if v, ok := s.Take(); ok {
			t.Errorf("got %d a second time", v)
		}
	})
	t.Run("what lies in the mailbox outlives the hub, then the end is told", func(t *testing.T) {
		h := newHub()
		s := h.Subscribe("a")
		h.Publish("a", 1)
		h.Close()
		h.Close()
		late := h.Subscribe("a")
		if v, err := s.Next(t.Context()); v != 1 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
		for _, s := range []*hub.Subscription[int]{s, late} {
			if _, err := s.Next(t.Context()); !errors.Is(err, hub.ErrClosed) {
				t.Errorf("got %v", err)
			}
			s.Close()
		}
	})
	t.Run("waiting ends with its context, and a closed mailbox is forgotten", func(t *testing.T) {
		h := newHub()
		s := h.Subscribe("a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		s.Close()
		s.Close()
		if n := h.Subscribers("a"); n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
	t.Run("every subscriber sees the last value of many publishers", func(t *testing.T) {
		h := newHub()
		const last = 1000
		var readers, writers sync.WaitGroup
		for range 10 {
			s := h.Subscribe("a")
			readers.Go(func() {
				defer s.Close()
				for v := 0; v < last; {
					next, err := s.Next(t.Context())
					if err != nil || next <= v {
						t.Errorf("got %d after %d, %v", next, v, err)
						return
					}
					v = next
				}
			})
		}
		for w := range 4 {
			writers.Go(func() {
				for v := w + 1; v <= last; v += 4 {
					h.Publish("a", v)
				}
			})
		}
		writers.Wait()
		readers.Wait()
	})
}
