package store_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
)

// silencer passes bytes on to an address, until it takes them and gives none back.
type silencer struct {
	net.Listener

	silent atomic.Bool
	passes sync.WaitGroup

	mu     sync.Mutex
	closed bool // it lets nobody in
	conns  []net.Conn
}

// cut ends all connections.
func (s *silencer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
}

// close has it cut all connections and let nobody in, or let in again.
func (s *silencer) close(closed bool) {
	s.mu.Lock()
	s.closed = closed
	s.mu.Unlock()
	if closed {
		s.cut()
	}
}

// enters notes a connection, unless it may not come in.
func (s *silencer) enters(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns = append(s.conns, conn)
	}
	return !s.closed
}

func silence(t *testing.T, address string) *silencer {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silencer{Listener: l}
	s.passes.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			if !s.enters(client) {
				_ = client.Close()
				continue
			}
			server, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			s.passes.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
			s.passes.Go(func() { s.pass(client, server); _ = client.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); s.passes.Wait() })
	return s
}

func (s *silencer) pass(to io.Writer, from io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if s.silent.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestAnIdleConnectionThatIsSilentIsNotWaitedAtForEver(t *testing.T) {
	at, err := url.Parse(storetest.CreateDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	s := silence(t, at.Host)
	at.Host = s.Addr().String()
	conn, err := pgx.Connect(t.Context(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if store.Ping(t.Context(), conn, time.Minute); conn.IsClosed() {
		t.Fatal("one that answers is closed")
	}
	s.silent.Store(true)
	if store.Ping(t.Context(), conn, 50*time.Millisecond); !conn.IsClosed() {
		t.Error("it would be used again")
	}
}
