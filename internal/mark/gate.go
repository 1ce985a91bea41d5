package mark

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// Gate is an engine of which nothing is asked unless its mark says that it may be. Each call goes through pass, and the engine is not embedded, so that a method
// that the interface gains does not get around it. Calls under way when it shuts are cut.
type Gate struct {
	engine engine.Engine
	check  func(context.Context) error
	log    *slog.Logger

	mu   sync.Mutex
	open atomic.Pointer[opening] // nil: it is shut
	why  atomic.Pointer[error]   // it is shut; nil: it was never opened
}

// opening is the time from an opening of the gate to its next shutting.
type opening struct {
	ctx  context.Context //nolint:containedctx // it ends with the shutting, and those of the calls under way with it
	shut context.CancelFunc
}

var _ engine.Engine = (*Gate)(nil)

// NewGate gives a gate that is shut until the engine is found to be ours.
func NewGate(e engine.Engine, check func(context.Context) error, log *slog.Logger) *Gate {
	return &Gate{engine: e, check: check, log: log}
}

// Confirm checks the mark, and opens or shuts the gate. A check that fails for another reason leaves it as it was.
func (g *Gate) Confirm(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.check(ctx)
	open := g.open.Load()
	switch {
	case err == nil && open == nil:
		ctx, shut := context.WithCancel(context.Background())
		g.open.Store(&opening{ctx, shut})
		if g.why.Swap(nil) != nil {
			g.log.Info("what the engine has of this installation belongs to this database again")
		}
	case errors.Is(err, engine.ErrNotOurs):
		if g.why.Swap(&err) == nil {
			g.log.Error("the engine is left alone", "error", err)
		}
		if open != nil {
			g.open.Store(nil)
			open.shut()
		}
	}
	return err
}

// errUnconfirmed is why nothing is asked of an engine before its mark has been read.
var errUnconfirmed = errors.New("it is not known yet whether what the engine has belongs to this installation")

// refusal is the error of a call that the gate does not let through.
func (g *Gate) refusal(op string) error {
	why := errUnconfirmed
	if known := g.why.Load(); known != nil {
		why = *known
	}
	return &engine.Error{Kind: engine.KindUnavailable, Op: op, Err: why}
}

// pass makes a call while the gate is open.
func (g *Gate) pass(ctx context.Context, op string, call func(context.Context) error) error {
	open := g.open.Load()
	if open == nil {
		return g.refusal(op)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(open.ctx, cancel)()
	err := call(ctx)
	if err != nil && open.ctx.Err() != nil {
		return g.refusal(op)
	}
	return err
}

// passFor is pass for what has an answer.
func passFor[T any](ctx context.Context, g *Gate, op string, call func(context.Context) (T, error)) (answer T, err error) {
	err = g.pass(ctx, op, func(ctx context.Context) (err error) {
		answer, err = call(ctx)
		return err
	})
	return answer, err
}

// Info says what the engine is. Of one that must not be asked it checks the mark first, so that whoever asks for a sign of life opens the gate as soon as that may be.
func (g *Gate) Info(ctx context.Context) (engine.Info, error) {
	if g.open.Load() == nil {
		if err := g.Confirm(ctx); err != nil {
			return engine.Info{}, err
		}
	}
	return passFor(ctx, g, "ask the engine", g.engine.Info)
}

// Image implements engine.Engine, as the methods below.
func (g *Gate) Image(ctx context.Context, ref string) (engine.Image, error) {
	return passFor(ctx, g, "look up image", func(ctx context.Context) (engine.Image, error) { return g.engine.Image(ctx, ref) })
}

// Pull fetches an image.
func (g *Gate) Pull(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	return g.pass(ctx, "pull image", func(ctx context.Context) error { return g.engine.Pull(ctx, ref, progress) })
}

// CreateNetwork makes a network.
func (g *Gate) CreateNetwork(ctx context.Context, spec engine.NetworkSpec) (string, error) {
	return passFor(ctx, g, "create network", func(ctx context.Context) (string, error) { return g.engine.CreateNetwork(ctx, spec) })
}

// Networks lists networks.
func (g *Gate) Networks(ctx context.Context, labels engine.Labels) ([]engine.Network, error) {
	return passFor(ctx, g, "list networks", func(ctx context.Context) ([]engine.Network, error) { return g.engine.Networks(ctx, labels) })
}

// RemoveNetwork removes a network.
func (g *Gate) RemoveNetwork(ctx context.Context, id string) error {
	return g.pass(ctx, "remove network", func(ctx context.Context) error { return g.engine.RemoveNetwork(ctx, id) })
}

// ConnectNetwork puts a container on a network.
func (g *Gate) ConnectNetwork(ctx context.Context, networkID, containerID string) error {
	return g.pass(ctx, "connect network", func(ctx context.Context) error { return g.engine.ConnectNetwork(ctx, networkID, containerID) })
}

// CreateVolume makes a volume.
func (g *Gate) CreateVolume(ctx context.Context, name string, labels engine.Labels) (engine.Volume, error) {
	return passFor(ctx, g, "create volume", func(ctx context.Context) (engine.Volume, error) { return g.engine.CreateVolume(ctx, name, labels) })
}

// Volumes lists volumes.
func (g *Gate) Volumes(ctx context.Context, labels engine.Labels) ([]engine.Volume, error) {
	return passFor(ctx, g, "list volumes", func(ctx context.Context) ([]engine.Volume, error) { return g.engine.Volumes(ctx, labels) })
}

// RemoveVolume removes a volume.
func (g *Gate) RemoveVolume(ctx context.Context, name string) error {
	return g.pass(ctx, "remove volume", func(ctx context.Context) error { return g.engine.RemoveVolume(ctx, name) })
}

// CreateContainer makes a container.
func (g *Gate) CreateContainer(ctx context.Context, spec engine.ContainerSpec) (string, error) {
	return passFor(ctx, g, "create container", func(ctx context.Context) (string, error) { return g.engine.CreateContainer(ctx, spec) })
}

// StartContainer starts a container.
func (g *Gate) StartContainer(ctx context.Context, id string) error {
	return g.pass(ctx, "start container", func(ctx context.Context) error { return g.engine.StartContainer(ctx, id) })
}

// StopContainer stops a container.
func (g *Gate) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	return g.pass(ctx, "stop container", func(ctx context.Context) error { return g.engine.StopContainer(ctx, id, grace) })
}

// UnpauseContainer lets a container go on.
func (g *Gate) UnpauseContainer(ctx context.Context, id string) error {
	return g.pass(ctx, "unpause container", func(ctx context.Context) error { return g.engine.UnpauseContainer(ctx, id) })
}

// RemoveContainer removes a container.
func (g *Gate) RemoveContainer(ctx context.Context, id string) error {
	return g.pass(ctx, "remove container", func(ctx context.Context) error { return g.engine.RemoveContainer(ctx, id) })
}

// UpdateContainer changes limits.
func (g *Gate) UpdateContainer(ctx context.Context, id string, limits engine.Limits) error {
	return g.pass(ctx, "update container", func(ctx context.Context) error { return g.engine.UpdateContainer(ctx, id, limits) })
}

// Container inspects a container.
func (g *Gate) Container(ctx context.Context, id string) (engine.Container, error) {
	return passFor(ctx, g, "inspect container", func(ctx context.Context) (engine.Container, error) { return g.engine.Container(ctx, id) })
}

// Containers lists containers.
func (g *Gate) Containers(ctx context.Context, labels engine.Labels) ([]engine.Summary, error) {
	return passFor(ctx, g, "list containers", func(ctx context.Context) ([]engine.Summary, error) { return g.engine.Containers(ctx, labels) })
}

// Tail reads a container's last lines.
func (g *Gate) Tail(ctx context.Context, id string, lines int) ([]string, error) {
	return passFor(ctx, g, "read the last lines", func(ctx context.Context) ([]string, error) { return g.engine.Tail(ctx, id, lines) })
}

// Events opens a stream. It outlasts the call, and so is closed by whoever reads it when the gate shuts.
func (g *Gate) Events(ctx context.Context, labels engine.Labels, since time.Time) (engine.EventStream, error) {
	if g.open.Load() == nil {
		return nil, g.refusal("open the event stream")
	}
	return g.engine.Events(ctx, labels, since)
}

// Stats takes a reading.
func (g *Gate) Stats(ctx context.Context, id string) (engine.Stats, error) {
	return passFor(ctx, g, "read the counters", func(ctx context.Context) (engine.Stats, error) { return g.engine.Stats(ctx, id) })
}

// WatchStats takes readings. It ends without an error when its context does, which the gate's shutting is not to be taken for.
func (g *Gate) WatchStats(ctx context.Context, id string, each func(engine.Stats)) error {
	return g.pass(ctx, "watch the counters", func(cut context.Context) error {
		err := g.engine.WatchStats(cut, id, each)
		if err == nil && ctx.Err() == nil {
			err = cut.Err()
		}
		return err
	})
}

// Close lets go of the connections, whosesoever the engine's things are.
func (g *Gate) Close() error { return g.engine.Close() }
