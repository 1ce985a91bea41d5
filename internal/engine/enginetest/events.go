package enginetest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// historyMax bounds what can be replayed: Docker keeps as many events.
const historyMax = 256

// streamMax bounds what waits for a reader of a stream. It holds a replay and a burst of events for a thousand containers; a reader
// that falls behind further loses the stream, since it may not miss an event.
const streamMax = historyMax + 4096

// copied is the event for one stream, whose reader may change the labels.
func copied(e engine.Event) engine.Event {
	e.Labels = maps.Clone(e.Labels)
	return e
}

// tells reports whether an event belongs to a stream of what carries labels, as all of networks do.
func tells(e engine.Event, labels engine.Labels) bool {
	return e.Kind == engine.NetworkObject || carries(e.Labels, labels)
}

// stream keeps the context because Next, which has none of its own, ends with it.
type stream struct {
	fake   *Fake
	ctx    context.Context //nolint:containedctx // the contract ties the stream to the context it was opened with
	labels engine.Labels
	events chan engine.Event
	lost   chan struct{} // closed when the engine is lost; fake.mu guards the close
	closed chan struct{}
	once   sync.Once
}

// Events implements engine.Engine. The newest 256 events can be replayed.
func (f *Fake) Events(ctx context.Context, labels engine.Labels, since time.Time) (engine.EventStream, error) {
	s := &stream{
		fake: f, ctx: ctx, labels: maps.Clone(labels),
		events: make(chan engine.Event, streamMax),
		lost:   make(chan struct{}),
		closed: make(chan struct{}),
	}
	err := f.do(ctx, "Events", "", func() error {
		f.streams[s] = struct{}{}
		if since.IsZero() {
			return nil
		}
		for _, e := range f.history {
			if !e.At.Before(since) && tells(e, labels) {
				s.events <- copied(e)
			}
		}
		return nil
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// DropStreams ends the open event streams as a lost connection does, while the engine stays up.
func (f *Fake) DropStreams() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endStreams()
}

// Next implements engine.EventStream. What came before the engine was lost is still given.
func (s *stream) Next() (engine.Event, error) {
	select {
	case <-s.closed:
		return engine.Event{}, named(context.Canceled, "Events", "")
	default:
	}
	if err := s.ctx.Err(); err != nil {
		return engine.Event{}, named(err, "Events", "")
	}
	select {
	case e := <-s.events:
		return e, nil
	default:
	}
	select {
	case e := <-s.events:
		return e, nil
	case <-s.ctx.Done():
		return engine.Event{}, named(s.ctx.Err(), "Events", "")
	case <-s.closed:
		return engine.Event{}, named(context.Canceled, "Events", "")
	case <-s.lost:
	}
	select {
	case e := <-s.events: // both were ready
		return e, nil
	default:
		return engine.Event{}, named(refuse(engine.KindUnavailable, "the event stream was cut"), "Events", "")
	}
}

// Close implements engine.EventStream.
func (s *stream) Close() {
	s.once.Do(func() { close(s.closed) })
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	delete(s.fake.streams, s)
}

func (f *Fake) publishContainer(action string, c *container) {
	e := engine.Event{At: time.Now(), Kind: engine.ContainerObject, Action: action, ID: c.id, Labels: c.spec.Labels}
	if action == "die" {
		e.ExitCode = new(c.exitCode)
	}
	f.publish(e)
}

func (f *Fake) publishNetwork(action string, n *network) {
	f.publish(engine.Event{At: time.Now(), Kind: engine.NetworkObject, Action: action, ID: n.ID, Name: n.Name})
}

// publish wakes who waits for a change and, while the engine is up, tells the streams. f.mu is held.
func (f *Fake) publish(e engine.Event) {
	f.wake()
	if f.down {
		return
	}
	if len(f.history) == historyMax {
		f.history = slices.Delete(f.history, 0, 1)
	}
	f.history = append(f.history, e)
	for s := range f.streams {
		if s.ctx.Err() != nil {
			delete(f.streams, s)
			continue
		}
		if !tells(e, s.labels) {
			continue
		}
		select {
		case s.events <- copied(e):
		default:
			f.cut(s)
		}
	}
}

func (f *Fake) endStreams() {
	for s := range f.streams {
		f.cut(s)
	}
}

func (f *Fake) cut(s *stream) {
	delete(f.streams, s)
	close(s.lost)
}
