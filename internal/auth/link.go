package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"
)

// LinkLife is how long a link may be followed.
const LinkLife = 10 * time.Minute

// Link is a code that is good for one sign-in, for a short time. Only its hash is kept. All methods may be called from many goroutines.
type Link struct {
	hash [sha256.Size]byte
	ends time.Time

	mu   sync.Mutex
	used bool
}

// NewLink makes a link and its code: 256 random bits, in characters that an address may have.
func NewLink(now time.Time) (l *Link, code string) {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	code = base64.RawURLEncoding.EncodeToString(bits[:])
	return &Link{hash: sha256.Sum256([]byte(code)), ends: now.Add(LinkLife)}, code
}

// Redeem reports whether the code is the link's, and is used for the first time, in time. Of two calls at once one is the first.
func (l *Link) Redeem(code string, now time.Time) bool {
	hash := sha256.Sum256([]byte(code))
	if subtle.ConstantTimeCompare(hash[:], l.hash[:]) != 1 || !now.Before(l.ends) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.used
	l.used = true
	return first
}
