package docker

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	dockerevents "github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/aicli/aicli-web/internal/engine"
)

const opEvents = "follow events"

// errClosed is what a stream gives after Close.
var errClosed = fmt.Errorf("the stream is closed: %w", context.Canceled)

// callOpen opens a stream: f has a deadline until it returns, and what it opened has none. cancel ends f's own context.
func (e *Engine) callOpen(ctx context.Context, op, subject string, cancel context.CancelFunc, f func() error) error {
	late := time.AfterFunc(openLimit, cancel)
	err := e.negotiate(ctx)
	if err == nil {
		err = f()
	}
	if !late.Stop() {
		err = fmt.Errorf("no answer for %s: %w", openLimit, context.DeadlineExceeded)
	}
	return translate(op, subject, err)
}

// Events opens the stream of events.
//
// Docker's events of networks have no labels, and a filter by label would leave all of them out. So the stream asks for the events of
// all containers and networks, and chooses containers here, by the labels in their events.
func (e *Engine) Events(ctx context.Context, labels engine.Labels, since time.Time) (engine.EventStream, error) {
	if since.IsZero() {
		now, err := e.now(ctx)
		if err != nil {
			return nil, err
		}
		since = now
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{engine: e, ctx: ctx, cancel: cancel, labels: labels}
	// The engine answers before it subscribes. What happens between is not lost because since is before both.
	err := e.callOpen(ctx, opEvents, "", cancel, func() error {
		s.messages, s.errs = e.api.Events(ctx, dockerevents.ListOptions{
			Since:   since.Format(time.RFC3339Nano),
			Filters: filters.NewArgs(filters.Arg("type", "container"), filters.Arg("type", "network")),
		})
		return nil
	})
	if err == nil {
		_, err = e.now(ctx) // fails when the stream could not be opened because the engine is away
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// now is the time by the engine's clock, which need not be ours.
func (e *Engine) now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := e.call(ctx, lookLimit, "ask the engine", "", func(ctx context.Context) error {
		said, err := e.api.Info(ctx)
		if err != nil {
			return err
		}
		now, err = time.Parse(time.RFC3339Nano, said.SystemTime)
		return err
	})
	return now, err
}

// stream keeps the context because Next, which has none of its own, ends with it.
type stream struct {
	engine   *Engine
	ctx      context.Context //nolint:containedctx // the contract ties the stream to the context it was opened with
	cancel   context.CancelFunc
	labels   engine.Labels
	messages <-chan dockerevents.Message
	errs     <-chan error

	mu     sync.Mutex
	closed bool
}

// Next blocks until the next event of a container that carries the labels, or of a network.
func (s *stream) Next() (engine.Event, error) {
	for s.ctx.Err() == nil {
		select {
		case message := <-s.messages:
			if message.Action == "remove" { // Podman's word
				message.Action = dockerevents.ActionDestroy
			}
			if s.chosen(&message) {
				return toEvent(&message), nil
			}
		case err := <-s.errs:
			return engine.Event{}, s.ended(err)
		}
	}
	return engine.Event{}, s.ended(s.ctx.Err())
}

func (s *stream) ended(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		err = errClosed
	case s.ctx.Err() != nil:
		err = s.ctx.Err()
	case err == nil:
		err = io.EOF
	}
	return translate(opEvents, "", err)
}

func (s *stream) chosen(message *dockerevents.Message) bool {
	return message.Type == dockerevents.NetworkEventType || carries(message.Actor.Attributes, s.labels)
}

func toEvent(message *dockerevents.Message) engine.Event {
	event := engine.Event{
		At: time.Unix(0, message.TimeNano), Kind: engine.ObjectKind(message.Type),
		Action: string(message.Action), ID: message.Actor.ID,
	}
	if event.Kind == engine.NetworkObject {
		if message.Actor.Attributes["podId"] == "" { // Podman's are of the container, and do not say which network
			event.Name = message.Actor.Attributes["name"]
		}
		return event
	}
	event.Labels = message.Actor.Attributes // which are the labels and a few of the engine's own, such as image and name
	if message.Action == dockerevents.ActionDie {
		if code, err := strconv.Atoi(message.Actor.Attributes["exitCode"]); err == nil {
			event.ExitCode = &code
		}
	}
	return event
}

// Close ends the stream.
func (s *stream) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
}
