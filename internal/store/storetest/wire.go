package storetest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Wire stands between a server and PostgreSQL, and counts what is waited for there: each time that PostgreSQL says it is ready for more, one round trip
// has ended. One by which a connection has only learnt a statement is not counted: it is the first time alone that costs one more.
type Wire struct {
	trips    atomic.Int64
	upstream string
	open     sync.WaitGroup
}

// NewWire gives a wire to a database, until the end of the test, and the address at which the database is reached through it.
func NewWire(t *testing.T, database string) (w *Wire, dsn string) {
	t.Helper()
	at, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &Wire{upstream: at.Host}
	at.Host = listener.Addr().String()
	t.Cleanup(func() {
		_ = listener.Close()
		w.open.Wait()
	})
	w.open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			w.open.Go(func() { w.pass(client) })
		}
	})
	return w, at.String()
}

// Trips is how many round trips there have been.
func (w *Wire) Trips() int { return int(w.trips.Load()) }

func (w *Wire) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", w.upstream)
	if err != nil {
		return
	}
	w.open.Go(func() { // either end ends both
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	from := bufio.NewReader(server)
	var head [5]byte // of a message: its type, and its length with that of the length
	learnt := true   // nothing else since it was last ready
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		switch head[0] {
		case '1', 't', 'T', 'n': // a statement was parsed, these are its parameters, these its columns or none
		case 'Z':
			if !learnt {
				w.trips.Add(1)
			}
			learnt = true
		default:
			learnt = false
		}
		if _, err := client.Write(head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(client, from, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return
		}
	}
}
