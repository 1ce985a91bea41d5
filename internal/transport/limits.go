package transport

import "time"

// limits bounds what peers can make the server hold or wait for. Tests order smaller ones.
type limits struct {
	body        int64 // bytes of a POST body: a document and its variables; the largest input is a few kB of environment
	message     int64 // bytes of a WebSocket message; the same as a body, since it carries the same
	initMessage int64 // bytes of a message before somebody has signed in: a token and room around it
	sockets     int   // open at once; at about 40 kB each with a subscription, 160 MB
	operations  int   // active on one connection; a wall of panels shows about as many
	queue       int   // frames that wait for one connection's writer; more only delays the news

	initWait  time.Duration // for connection_init: a client sends it at once, so this is a few lost packets
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
		sockets:     4096,
		operations:  256,
		queue:       32,
		initWait:    10 * time.Second,
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
