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
// all containers and networks and chooses here: containers by the labels in the event, networks by looking up each that is met for
// the first time. Events of a network that was removed before it could be looked up are left out, and no network's have labels.
func (e *Engine) Events(ctx context.Context, labels engine.Labels, since time.Time) (engine.EventStream, error) {
	if since.IsZero() {
		now, err := e.now(ctx)
		if err != nil {
			return nil, err
		}
		since = now
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{engine: e, ctx: ctx, cancel: cancel, labels: labels, networks: make(map[string]bool)}
	// The engine answers before it subscribes. What happens between is not lost because since is before both.
	err := e.callOpen(ctx, opEvents, "", cancel, func() error {
		s.messages, s.errs = e.api.Events(ctx, dockerevents.ListOptions{
			Since:   since.Format(time.RFC3339Nano),
			Filters: filters.NewArgs(filters.Arg("type", "container"), filters.Arg("type", "network")),
		})
		return nil
	})
	if err == nil {
		err = s.learnNetworks() // fails, too, when the stream could not be opened because the engine is away
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
	networks map[string]bool // by id, whether it carries the labels; as many as the engine has, since removal forgets
	messages <-chan dockerevents.Message
	errs     <-chan error

	mu     sync.Mutex
	closed bool
}

func (s *stream) learnNetworks() error {
	networks, err := s.engine.Networks(s.ctx, s.labels)
	for _, n := range networks {
		s.networks[n.ID] = true
	}
	return err
}

// Next blocks until the next event of what carries the labels.
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
	if message.Type == dockerevents.NetworkEventType {
		return s.chosenNetwork(message)
	}
	for name, value := range s.labels {
		if got, ok := message.Actor.Attributes[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func (s *stream) chosenNetwork(message *dockerevents.Message) bool {
	id := message.Actor.ID
	if message.Action == dockerevents.ActionDestroy {
		defer delete(s.networks, id)
		return s.networks[id]
	}
	ours, known := s.networks[id]
	if known {
		return ours
	}
	network, err := s.engine.network(s.ctx, id)
	if err != nil {
		// One that is gone is nobody's. Of one that cannot be looked up now a needless hint is better than none, and so it is where Podman,
		// whose events have the id of a pod, names the container that was taken off a network and not the network.
		_, podman := message.Actor.Attributes["podId"]
		return podman || !engine.Is(err, engine.KindNotFound)
	}
	ours = true
	for name, value := range s.labels {
		if got, ok := network.Labels[name]; !ok || got != value {
			ours = false
		}
	}
	s.networks[id] = ours
	return ours
}

func toEvent(message *dockerevents.Message) engine.Event {
	event := engine.Event{
		At: time.Unix(0, message.TimeNano), Kind: engine.ObjectKind(message.Type),
		Action: string(message.Action), ID: message.Actor.ID,
	}
	if event.Kind == engine.ContainerObject {
		event.Labels = message.Actor.Attributes // which are the labels and a few of the engine's own, such as image and name
	}
	if event.Kind == engine.ContainerObject && message.Action == dockerevents.ActionDie {
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
