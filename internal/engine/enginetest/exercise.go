package enginetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// callLimit bounds each wait of Exercise. It is far more than a loaded engine needs and only ends a run that hangs.
const callLimit = 60 * time.Second

// subnetsNeeded is how many networks one subtest of Exercise has at once.
const subnetsNeeded = 2

// ExerciseOptions says what Exercise may use of the engine.
type ExerciseOptions struct {
	Image   string   // one that the engine has, with sh, sleep, true and `trap` in it
	Prefix  string   // begins the name of everything that is made; unique among those who use the engine now
	Subnets []string // at least two in CIDR form that are free and do not overlap; smaller than a /8

	// Pause pauses a running container without engine.Engine, which cannot. Without it nothing about paused containers is exercised.
	Pause func(t *testing.T, e engine.Engine, id string)
	// Disconnect takes a container off its network, which engine.Engine cannot. Without it nothing about such is exercised.
	Disconnect func(t *testing.T, e engine.Engine, network, id string)
	// Twin makes a network whose name is taken, which engine.Engine refuses to. Without it nothing about such is exercised.
	Twin func(t *testing.T, e engine.Engine, spec engine.NetworkSpec) string
	// Except are subtests that are known not to hold for the engine. They are not run.
	Except []string
	// Pullable is an image that Pull can fetch. Without it only failing pulls are exercised.
	Pullable string
}

// Exercise is the contract of engine.Engine as a suite that every implementation passes. newEngine is called once a subtest, and
// Exercise closes what it returns. All that is made is removed again, even when a subtest fails. Subtests run one after another.
func Exercise(t *testing.T, newEngine func(*testing.T) engine.Engine, opts ExerciseOptions) {
	t.Helper()
	if len(opts.Subnets) < subnetsNeeded || opts.Image == "" || opts.Prefix == "" {
		t.Fatalf("Exercise needs an image, a prefix and %d subnets, got %+v", subnetsNeeded, opts)
	}
	var made atomic.Int64
	except := slices.Clone(opts.Except)
	run := func(name string, test func(*bench)) {
		if i := slices.Index(except, name); i >= 0 {
			except = slices.Delete(except, i, i+1)
			return
		}
		t.Run(name, func(t *testing.T) {
			test(newBench(t, newEngine(t), opts, made.Add(1)))
		})
	}
	exerciseEngine(run)
	if opts.Pullable != "" {
		exercisePull(run)
	}
	exerciseNetworks(run)
	exerciseVolumes(run)
	exerciseCreation(run)
	exerciseRuns(run)
	exerciseRemoval(run)
	exerciseHealth(run)
	exerciseEvents(run)
	exerciseStats(run)
	if opts.Disconnect != nil {
		exerciseDisconnected(run)
	}
	if opts.Twin != nil {
		exerciseTwins(run)
	}
	if opts.Pause != nil {
		exercisePaused(run)
		exercisePausedHealth(run)
	}
	if len(except) > 0 {
		t.Errorf("there are no subtests %q to leave out", except)
	}
}

// runner runs one subtest on a bench of its own.
type runner func(name string, test func(*bench))

// bench is one subtest's engine and what it made there.
type bench struct {
	*testing.T
	engine engine.Engine
	opts   ExerciseOptions
	ctx    context.Context //nolint:containedctx // a subtest's own, for every call of it
	labels engine.Labels
	prefix string
	nets   []string // by index of the subnet
}

func newBench(t *testing.T, e engine.Engine, opts ExerciseOptions, n int64) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	prefix := fmt.Sprintf("%s-%d", opts.Prefix, n)
	b := &bench{
		T: t, engine: e, opts: opts, ctx: ctx, prefix: prefix, nets: make([]string, len(opts.Subnets)),
		labels: engine.Labels{
			engine.LabelManaged: "true", engine.LabelInstallation: opts.Prefix, engine.LabelWorkspace: prefix,
		},
	}
	t.Cleanup(func() {
		cancel()
		b.clean()
		if err := e.Close(); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return b
}

// clean removes all that carries the subtest's labels.
func (b *bench) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	containers, err := b.engine.Containers(ctx, b.labels)
	b.check(err)
	for _, c := range containers {
		b.check(b.engine.RemoveContainer(ctx, c.ID))
	}
	networks, err := b.engine.Networks(ctx, b.labels)
	b.check(err)
	for _, n := range networks {
		b.check(b.engine.RemoveNetwork(ctx, n.ID))
	}
	b.check(b.engine.RemoveVolume(ctx, b.prefix))
}

// check fails the subtest and goes on; must ends it.
func (b *bench) check(err error) {
	b.Helper()
	if err != nil {
		b.Errorf("unexpected error: %v (%s)", err, engine.KindOf(err))
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("unexpected error: %v (%s)", err, engine.KindOf(err))
	}
}

// fails wants an *engine.Error of one of the kinds.
func (b *bench) fails(err error, kinds ...engine.Kind) {
	b.Helper()
	if err == nil {
		b.Fatalf("no error, want one of kind %q", kinds)
	}
	if !saysWhat(err) {
		b.Errorf("%T is not an *engine.Error that says what was attempted: %v", err, err)
	}
	for _, kind := range kinds {
		if engine.Is(err, kind) {
			return
		}
	}
	b.Errorf("error of kind %q, want one of %q: %v", engine.KindOf(err), kinds, err)
}

// rivals is how many callers ask for the same thing at once.
const rivals = 8

// oneWins makes the call from several goroutines at once and wants one success, and of all others an error of one of the kinds.
func (b *bench) oneWins(call func() error, kinds ...engine.Kind) {
	b.Helper()
	results := make(chan error, rivals)
	for range rivals {
		go func() { results <- call() }()
	}
	won := 0
	for range rivals {
		if err := <-results; err == nil {
			won++
		} else {
			b.fails(err, kinds...)
		}
	}
	if won != 1 {
		b.Errorf("%d of %d calls succeeded, want 1", won, rivals)
	}
}

// network makes the subtest's network on the i-th subnet, once.
func (b *bench) network(i int) string {
	b.Helper()
	if b.nets[i] == "" {
		id, err := b.engine.CreateNetwork(b.ctx, b.networkSpec(i))
		b.must(err)
		b.nets[i] = id
	}
	return b.nets[i]
}

// named makes a network of the subtest, once, and gives its name.
func (b *bench) named(i int) string {
	b.Helper()
	b.network(i)
	return b.networkSpec(i).Name
}

func (b *bench) networkSpec(i int) engine.NetworkSpec {
	return engine.NetworkSpec{Name: fmt.Sprintf("%s-net%d", b.prefix, i), Subnet: b.opts.Subnets[i], Labels: b.labels}
}

// spec asks for a container on the first network that runs until it is told to end.
func (b *bench) spec(name string) engine.ContainerSpec {
	b.Helper()
	return engine.ContainerSpec{
		Name: b.prefix + "-" + name, Image: b.opts.Image, Entrypoint: []string{"sleep", "600"},
		Labels: b.labels, Network: b.named(0), Init: true,
	}
}

func (b *bench) create(spec engine.ContainerSpec) string {
	b.Helper()
	id, err := b.engine.CreateContainer(b.ctx, spec)
	b.must(err)
	return id
}

// started is a container that runs.
func (b *bench) started(spec engine.ContainerSpec) string {
	b.Helper()
	id := b.create(spec)
	b.must(b.engine.StartContainer(b.ctx, id))
	return id
}

func (b *bench) inspect(id string) engine.Container {
	b.Helper()
	c, err := b.engine.Container(b.ctx, id)
	b.must(err)
	return c
}

func (b *bench) inState(id string, want engine.State) engine.Container {
	b.Helper()
	c := b.inspect(id)
	if c.State != want {
		b.Errorf("container is %s, want %s", c.State, want)
	}
	return c
}

// events opens a stream of the subtest's own events from now on.
func (b *bench) events() engine.EventStream {
	b.Helper()
	s, err := b.engine.Events(b.ctx, b.labels, time.Time{})
	b.must(err)
	b.Cleanup(s.Close)
	return s
}

// until reads events up to the action on the container or network, and returns it.
func (b *bench) until(s engine.EventStream, id, action string) engine.Event {
	b.Helper()
	for {
		e, err := s.Next()
		if err != nil {
			b.Fatalf("waiting for %s of %s: %v", action, id, err)
		}
		if e.ID == id && e.Action == action {
			return e
		}
	}
}
