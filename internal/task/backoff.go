package task

import (
	"math/rand/v2"
	"time"
)

// Backoff is the wait between tries: First, doubling with each, at most Most, and half of it left to chance, so that what
// failed together does not come back together ("equal jitter").
type Backoff struct{ First, Most time.Duration }

// After is the wait after the given try, counted from 1.
func (b Backoff) After(try int) time.Duration {
	wait := b.Most
	if shift := try - 1; shift < 32 && b.First<<shift < b.Most && b.First<<shift > 0 {
		wait = b.First << shift
	}
	half := wait / 2
	return half + rand.N(half+1)
}
