package auth_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/auth"
)

func TestLink(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	t.Run("a code is good once, however many come at once", func(t *testing.T) {
		l, code := auth.NewLink(now)
		var redeemed atomic.Int32
		var visitors sync.WaitGroup
		for range 50 {
			visitors.Go(func() {
				if l.Redeem(code, now) {
					redeemed.Add(1)
				}
			})
		}
		visitors.Wait()
		if n := redeemed.Load(); n != 1 {
			t.Errorf("it was redeemed %d times", n)
		}
	})
	t.Run("for ten minutes", func(t *testing.T) {
		l, code := auth.NewLink(now)
		if l.Redeem(code, now.Add(10*time.Minute)) {
			t.Error("it was good after them")
		}
		if !l.Redeem(code, now.Add(10*time.Minute-time.Nanosecond)) {
			t.Error("it was not good within them")
		}
	})
	t.Run("and no other is", func(t *testing.T) {
		l, code := auth.NewLink(now)
		_, other := auth.NewLink(now)
		for _, wrong := range []string{"", other, code + "x", code[:len(code)-1]} {
			if l.Redeem(wrong, now) {
				t.Errorf("%q was", wrong)
			}
		}
		if len(code) != 43 || !l.Redeem(code, now) {
			t.Error("the right one was not, after the wrong ones")
		}
	})
}
