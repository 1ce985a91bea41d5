package transport

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Bounds are how much of the WebSockets a server has room for, one user may take, and one remote address. All are required.
type Bounds struct {
	Sockets           int // open at once
	Unsigned          int // of these, those of which nobody has signed in yet
	SocketsPerUser    int
	SocketsPerAddress int // of an IPv6 network, 64 bits; behind a proxy all have the proxy's address
	OperationsPerUser int // active at once, on all of a user's sockets
}

func (b Bounds) valid() bool {
	return min(b.Sockets, b.Unsigned, b.SocketsPerUser, b.SocketsPerAddress, b.OperationsPerUser) > 0
}

// places counts what is taken. A socket takes a place before it is opened, and another one of its user's once somebody has signed in.
type places struct {
	bounds Bounds

	mu        sync.Mutex
	taken     int
	unsigned  int
	addresses map[string]int
	users     map[string]*share
	shut      bool          // no new ones
	idle      chan struct{} // closed when shut and no place is taken
}

// share is what one user has taken.
type share struct{ sockets, operations int }

func newPlaces(b Bounds) *places {
	return &places{bounds: b, addresses: make(map[string]int), users: make(map[string]*share), idle: make(chan struct{})}
}

// place is that of one socket. user is empty until somebody has signed in.
type place struct {
	*places

	address, user string
}

func busy(format string, args ...any) *problem {
	return &problem{code: codeRateLimited, retryable: true, message: fmt.Sprintf(format, args...)}
}

// take gives a socket from a remote address its place, or says why there is none.
func (p *places) take(remote string) (*place, *problem) {
	address := addressOf(remote)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.shut:
		return nil, busy("The server is stopping. Try again in a few seconds.")
	case p.taken >= p.bounds.Sockets:
		return nil, busy("The server's WebSockets are limited to %d. Try again in a few seconds.", p.bounds.Sockets)
	case p.addresses[address] >= p.bounds.SocketsPerAddress:
		return nil, busy("The WebSockets of your address are limited to %d at once. Close one.", p.bounds.SocketsPerAddress)
	case p.unsigned >= p.bounds.Unsigned:
		return nil, busy("WebSockets that have not signed in are limited to %d. Try again in a few seconds.", p.bounds.Unsigned)
	}
	p.taken++
	p.unsigned++
	p.addresses[address]++
	return &place{places: p, address: address}, nil
}

// signIn counts the socket among its user's, or says why it is one too many.
func (p *place) signIn(user string) *problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.users[user]
	if s == nil {
		s = &share{}
	}
	if s.sockets >= p.bounds.SocketsPerUser {
		return busy("Your WebSockets are limited to %d at once. Close one.", p.bounds.SocketsPerUser)
	}
	s.sockets++
	p.users[user] = s
	p.user = user
	p.unsigned--
	return nil
}

// begin counts an operation among its user's, or says why it is one too many.
func (p *place) begin() *problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.users[p.user]
	if s.operations >= p.bounds.OperationsPerUser {
		return busy("Your operations over WebSockets are limited to %d at once. Complete one.", p.bounds.OperationsPerUser)
	}
	s.operations++
	return nil
}

// end is called for each operation that has begun. Those of a socket end before it does.
func (p *place) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[p.user].operations--
}

// leave gives the place back.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.addresses[p.address]--; p.addresses[p.address] == 0 {
		delete(p.addresses, p.address)
	}
	if p.user == "" {
		p.unsigned--
	} else if s := p.users[p.user]; s.sockets == 1 {
		delete(p.users, p.user)
	} else {
		s.sockets--
	}
	if p.shut && p.taken == 0 {
		close(p.idle)
	}
}

// close gives out no more places.
func (p *places) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.shut = true
		if p.taken == 0 {
			close(p.idle)
		}
	}
}

func (p *places) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shut
}

func (p *places) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// addressOf is what a bound by address counts: an IPv4 address, or the network of an IPv6 address, of which anybody has as many as they like.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	const network = 64
	prefix, err := a.WithZone("").Prefix(network)
	if err != nil {
		return a.String()
	}
	return prefix.String()
}
