package transport

import (
	"time"

	"golang.org/x/time/rate"
)

// limits bounds what peers can make the server hold or wait for. Tests order smaller ones.
type limits struct {
	body        int64 // bytes of a POST body: a document and its variables; the largest input is a few kB of environment
	message     int64 // bytes of a WebSocket message; the same as a body, since it carries the same
	initMessage int64 // bytes of a message before somebody has signed in: a token and room around it
	operations  int   // active on one connection; a wall of panels shows about as many
	queue       int   // frames that wait for one connection's writer; more only delays the news

	// Messages and control frames of one connection: as many a second, and so many at once. A wall that opens 256 subscriptions at once, and completes
	// them, sends 512.
	rate  rate.Limit
	burst int

	initWait  time.Duration // for connection_init: a client sends it at once, so this is a lost packet or two
	writeWait time.Duration // for one frame: a reader that has not taken it whole by then is stuck
	closeWait time.Duration // for the peer to take what was queued and answer a close
	pingEvery time.Duration // below the minute after which proxies drop a silent connection
	pongWait  time.Duration // silence after which the peer is gone: two pings unanswered
}

func defaultLimits() limits {
	return limits{
		body:        1 << 20,
		message:     1 << 20,
		initMessage: 16 << 10,
		operations:  256,
		queue:       32,
		rate:        100,
		burst:       1000,
		initWait:    3 * time.Second,
		writeWait:   10 * time.Second,
		closeWait:   2 * time.Second,
		pingEvery:   25 * time.Second,
		pongWait:    60 * time.Second,
	}
}

const (
	operationIDMax = 128 // bytes: a UUID has 36
	requestIDMax   = 64  // characters: a trace id has 32
)
