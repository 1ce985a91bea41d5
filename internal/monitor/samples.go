package monitor

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/hub"
	"github.com/aicli/aicli-web/internal/workspace"
)

const (
	// gapMin is the least time between two readings that a share of the processors is computed from.
	gapMin = 100 * time.Millisecond
	// freshFor is how long a sample stands for now: engines give one a second.
	freshFor = 3 * time.Second
	// sampleLimit bounds the wait for the first sample of a stream, which takes two readings and so up to two seconds.
	sampleLimit = 5 * time.Second
	// lingerFor is how long a stream stays open after it was asked for one sample: panels that poll do so more often.
	lingerFor = 10 * time.Second
	// restreamAfter is the wait before a stream of readings that broke is opened again.
	restreamAfter = time.Second
	// halfPeriod is half of the time between two readings of a stream: a viewer's interval is kept to the nearest reading.
	halfPeriod = 500 * time.Millisecond
)

// watch is one workspace's stream of readings, for all who look at it.
type watch struct {
	viewers int
	cancel  context.CancelFunc
	gone    chan struct{} // closed when the workspace is gone or the monitor ends
	latest  atomic.Pointer[workspace.Sample]
}

// Samples streams a workspace's usage: the latest known at once, then at most one each interval. While it does not run nothing
// comes. The channel is closed when the workspace is gone, ctx ends or the monitor does. The first viewer opens the engine's
// stream, and the last one closes it.
func (m *Monitor) Samples(ctx context.Context, id string, interval time.Duration) <-chan workspace.Sample {
	out := make(chan workspace.Sample)
	mailbox := m.samples.Subscribe(id)
	w := m.join(ctx, id)
	if w == nil {
		mailbox.Close()
		close(out)
		return out
	}
	go func() {
		defer close(out)
		defer m.leave(id, w)
		defer mailbox.Close()
		next := w.fresh()
		for {
			if next == nil {
				s, ok := w.next(ctx, mailbox)
				if !ok {
					return
				}
				next = &s
			}
			if !w.send(ctx, out, *next, mailbox) || !w.rest(ctx, interval-halfPeriod) {
				return
			}
			next = nil
			mailbox.Take() // what came meanwhile is older than what comes now
		}
	}()
	return out
}

// fresh is the latest sample if it stands for now.
func (w *watch) fresh() *workspace.Sample {
	if s := w.latest.Load(); s != nil && time.Since(s.At) <= freshFor {
		return s
	}
	return nil
}

// next waits for a sample; false when there will be none.
func (w *watch) next(ctx context.Context, mailbox *hub.Subscription[workspace.Sample]) (workspace.Sample, bool) {
	for {
		if s, ok := mailbox.Take(); ok {
			return s, true
		}
		select {
		case <-mailbox.Ready():
		case <-w.gone:
			return workspace.Sample{}, false
		case <-ctx.Done():
			return workspace.Sample{}, false
		}
	}
}

// send waits for the reader to take a sample, and replaces it meanwhile by each that is newer; false when there is nobody to send to.
func (w *watch) send(ctx context.Context, out chan<- workspace.Sample, s workspace.Sample, mailbox *hub.Subscription[workspace.Sample]) bool {
	for {
		select {
		case out <- s:
			return true
		case <-mailbox.Ready():
			if newer, ok := mailbox.Take(); ok {
				s = newer
			}
		case <-w.gone:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// rest lets time pass; false when there is nothing to rest for.
func (w *watch) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.gone:
	case <-ctx.Done():
	}
	return false
}

// join counts a viewer in, and starts the stream for the first; nil when the monitor has ended.
func (m *Monitor) join(ctx context.Context, id string) *watch {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	w := m.watches[id]
	if w == nil {
		streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the first viewer
		w = &watch{cancel: cancel, gone: make(chan struct{})}
		m.watches[id] = w
		m.streams.Go(func() {
			defer m.end(id, w)
			for streamCtx.Err() == nil {
				err := m.stream(streamCtx, id, w)
				if err == nil || workspace.CodeOf(err) == workspace.NotFound {
					return // the workspace is gone
				}
				m.Log.Warn("watch the usage of a workspace", "workspace_id", id, "error", err)
				pause(streamCtx, restreamAfter)
			}
		})
	}
	w.viewers++
	return w
}

func (m *Monitor) leave(id string, w *watch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.viewers--; w.viewers == 0 {
		w.cancel()
		if m.watches[id] == w { // the next viewer opens another
			delete(m.watches, id)
		}
	}
}

// end tells the viewers that there will be no more.
func (m *Monitor) end(id string, w *watch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.cancel()
	close(w.gone)
	if m.watches[id] == w {
		delete(m.watches, id)
	}
}

func (m *Monitor) closeWatches() {
	m.mu.Lock()
	m.closed = true
	for _, w := range m.watches {
		w.cancel()
	}
	m.mu.Unlock()
	m.streams.Wait()
}

// run is one run of a container: it begins anew with each start.
type run struct {
	container string
	started   time.Time
}

func runOf(w workspace.Workspace) run {
	c := w.Observed.Container
	if c == nil || c.State != workspace.ContainerRunning || c.StartedAt == nil {
		return run{}
	}
	return run{c.ID, *c.StartedAt}
}

// stream follows a workspace from run to run until it is gone.
func (m *Monitor) stream(ctx context.Context, id string, w *watch) error {
	changes, err := m.Workspaces.Watch(ctx, workspace.Actor{Admin: true}, id)
	if err != nil {
		return err
	}
	var now run
	stop, ended := func() {}, make(chan struct{})
	defer func() { stop() }() //nolint:gocritic // it changes
	for {
		select {
		case ws, open := <-changes:
			if !open {
				return nil
			}
			next := runOf(ws)
			if next == now {
				continue
			}
			stop()
			w.latest.Store(nil)
			now, stop = next, func() {}
			if next != (run{}) {
				stop = m.readRun(ctx, id, w, next, ended)
			}
		case <-ended: // the run is over, which a change will tell, or the engine is away
			stop()
			stop = m.readRun(ctx, id, w, now, ended)
		}
	}
}

// readRun reads one run in a goroutine of its own, which stop ends and waits for. Unless it is stopped first, it says so on ended
// when the stream has ended and it is time to try again.
func (m *Monitor) readRun(ctx context.Context, id string, w *watch, r run, ended chan<- struct{}) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		meter := meter{workspaceID: id, started: r.started}
		if reading, err := m.Engine.Stats(ctx, r.container); err == nil {
			meter.add(reading) // the first one of the stream comes up to a second later, and can be compared with this
		}
		err := m.Engine.WatchStats(ctx, r.container, func(reading engine.Stats) {
			if s, ok := meter.add(reading); ok {
				w.latest.Store(&s)
				m.samples.Publish(id, s)
			}
		})
		if err != nil && ctx.Err() == nil {
			m.Log.Debug("a stream of readings broke", "workspace_id", id, "error", err)
		}
		pause(ctx, restreamAfter)
		select {
		case ended <- struct{}{}:
		case <-ctx.Done():
		}
	}()
	return func() { cancel(); <-done }
}

// Sample is the usage of a workspace now; false when it does not run, or the engine does not say within sampleLimit. Who asks for
// it counts as a viewer and stays one for a while, so that a client that asks again and again is answered from the open stream.
func (m *Monitor) Sample(ctx context.Context, ws workspace.Workspace) (workspace.Sample, bool) {
	if runOf(ws) == (run{}) {
		return workspace.Sample{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	mailbox := m.samples.Subscribe(ws.ID)
	defer mailbox.Close()
	w := m.join(ctx, ws.ID)
	if w == nil {
		return workspace.Sample{}, false
	}
	defer m.leaveLater(ws.ID, w)
	if s := w.fresh(); s != nil {
		return *s, true
	}
	return w.next(ctx, mailbox)
}

// leaveLater is leave, after lingerFor.
func (m *Monitor) leaveLater(id string, w *watch) {
	time.AfterFunc(lingerFor, func() { m.leave(id, w) })
}

// meter makes samples of readings, each compared with the one before.
type meter struct {
	workspaceID string
	started     time.Time
	before      engine.Stats
}

// add gives no sample for the first reading, nor for one that comes too soon after the one before.
func (m *meter) add(r engine.Stats) (workspace.Sample, bool) {
	gap := r.At.Sub(m.before.At)
	if m.before.At.IsZero() || r.CPUNanos < m.before.CPUNanos {
		m.before = r
		return workspace.Sample{}, false
	}
	if gap < gapMin {
		return workspace.Sample{}, false
	}
	used := r.CPUNanos - m.before.CPUNanos
	m.before = r
	return workspace.Sample{
		WorkspaceID: m.workspaceID, At: r.At.UTC(), CPUPercent: 100 * float64(used) / float64(gap),
		MemoryBytes: r.MemoryBytes, MemoryLimitBytes: r.MemoryLimitBytes,
		NetworkRxBytes: r.NetworkRxBytes, NetworkTxBytes: r.NetworkTxBytes,
		BlockReadBytes: r.BlockReadBytes, BlockWriteBytes: r.BlockWriteBytes,
		Pids: r.Pids, Uptime: max(0, r.At.Sub(m.started)),
	}, true
}
