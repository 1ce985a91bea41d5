// Package enginetest stands in for an engine in tests. It owns Fake, an engine in memory whose faults can be ordered, and
// Exercise, the contract that every engine passes. It never starts a process, opens a socket or reads a file, and only
// tests import it.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aicli/aicli-web/internal/engine"
)

// BaseImage is the image that tests run: a busybox root with a shell. Every new Fake has it.
const BaseImage = "aicli-base:busybox"

// Missing is a place that no host and no image has. To a Fake, commands and mount sources at or below it don't exist, and
// all others do.
const Missing = "/no/such"

// What a Fake says of its host.
const (
	fakeCPUs   = 4
	fakeMemory = 8 << 30
)

// callsMax bounds the call log. A test that makes more calls than this looks at the newest ones only.
const callsMax = 10_000

// A Fake is an engine.Engine in memory. Its methods may be called from many goroutines. One that is used in a synctest bubble is
// made in that bubble.
//
// A container's command is not run but read: what is below Missing cannot be run, `true`, `false` and `sh -c "exit N"` end at
// once, with what it echoes before, a shell whose script begins with an empty trap of TERM must be killed, and every other command runs until it is
// told to end.
type Fake struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change, to wake who waits for one
	down    bool
	lastID  uint64
	calls   []string
	before  map[string][]error // by operation, the next one first
	after   map[string][]error

	images     map[string]engine.Image // by reference
	pullable   map[string]<-chan struct{}
	occupied   []string
	networks   map[string]*network      // by id
	volumes    map[string]engine.Labels // by name
	containers map[string]*container    // by id

	streams map[*stream]struct{}
	history []engine.Event
}

var _ engine.Engine = (*Fake)(nil)

// New makes a Fake that is up and has BaseImage and nothing else.
func New() *Fake {
	f := &Fake{
		changed:    make(chan struct{}),
		before:     make(map[string][]error),
		after:      make(map[string][]error),
		images:     make(map[string]engine.Image),
		pullable:   make(map[string]<-chan struct{}),
		networks:   make(map[string]*network),
		volumes:    make(map[string]engine.Labels),
		containers: make(map[string]*container),
		streams:    make(map[*stream]struct{}),
	}
	f.AddImage(BaseImage)
	return f
}

// Fault makes an error of a kind, for FailNext and FailAfter.
func Fault(kind engine.Kind) error {
	return &engine.Error{Kind: kind, Err: errors.New("a fault that the test ordered")}
}

// FailNext makes the next call of op, a method's name such as "CreateContainer", fail with err before it has any effect. Orders for
// one op add up: each serves one call.
func (f *Fake) FailNext(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before[op] = append(f.before[op], err)
}

// FailAfter makes the next call of op that would succeed fail with err when its effect is there, as when an answer is lost. WatchStats
// fails after its first reading.
func (f *Fake) FailAfter(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after[op] = append(f.after[op], err)
}

// Calm forgets the faults that were ordered and have not come.
func (f *Fake) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.before)
	clear(f.after)
}

// SetDown makes every call fail with KindUnavailable and ends what is under way, open streams too, until it is called with false.
// Containers live on; what happens to them meanwhile never comes as an event.
func (f *Fake) SetDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	if down {
		f.endStreams()
	}
	f.wake()
}

// Calls returns the calls so far, oldest first, each a method's name and, where there is one, what it was called on, such as
// "StartContainer 5f0c…" or "CreateContainer ws-1".
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Info implements engine.Engine.
func (f *Fake) Info(ctx context.Context) (engine.Info, error) {
	info := engine.Info{
		Name: "Fake", Version: "1.0", APIVersion: "1.0",
		CPUs: fakeCPUs, MemoryBytes: fakeMemory,
		OperatingSystem: "none", KernelVersion: "0", CgroupVersion: "2",
		SecurityOptions: []string{"seccomp"}, StorageDriver: "memory",
	}
	return result(info, f.do(ctx, "Info", "", func() error { return nil }))
}

// Close implements engine.Engine. It ends the open streams.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endStreams()
	return nil
}

// do makes one call that takes no time: the log, the ordered faults, the effect under the lock.
func (f *Fake) do(ctx context.Context, op, subject string, effect func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(ctx, op, subject); err != nil {
		return err
	}
	if err := effect(); err != nil {
		return named(err, op, subject)
	}
	return f.leave(op, subject)
}

// enter logs a call and says whether it fails before its effect. f.mu is held.
func (f *Fake) enter(ctx context.Context, op, subject string) error {
	if len(f.calls) == callsMax {
		f.calls = slices.Delete(f.calls, 0, 1)
	}
	f.calls = append(f.calls, strings.TrimSpace(op+" "+subject))
	if err := ctx.Err(); err != nil {
		return named(err, op, subject)
	}
	if f.down {
		return named(errDown(), op, subject)
	}
	return named(take(f.before, op), op, subject)
}

// leave says whether a call that did its work fails all the same. f.mu is held.
func (f *Fake) leave(op, subject string) error {
	return named(take(f.after, op), op, subject)
}

// wake tells everyone who waits to look again. f.mu is held.
func (f *Fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// await gives up the lock until something changes, timer fires or ctx ends, and says which of the last two it was. f.mu is held
// before and after. A nil timer never fires.
func (f *Fake) await(ctx context.Context, timer <-chan time.Time) (fired bool, err error) {
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-changed:
		return false, nil
	case <-timer:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// newID makes an id that looks like Docker's: 64 hexadecimal digits of which the first 12 tell it from all others. f.mu is held.
func (f *Fake) newID() string {
	f.lastID++
	return fmt.Sprintf("%012x%052x", 0xfa4e00000000+f.lastID, f.lastID)
}

func take(orders map[string][]error, op string) error {
	queue := orders[op]
	if len(queue) == 0 {
		return nil
	}
	orders[op] = queue[1:]
	return queue[0]
}

func errDown() error { return refuse(engine.KindUnavailable, "the engine does not answer") }

func refuse(kind engine.Kind, format string, args ...any) error {
	return &engine.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// named turns err into an *engine.Error that says what was attempted, and leaves nil as it is. The error that a test ordered is copied, not
// changed.
func named(err error, op, subject string) error {
	if err == nil {
		return nil
	}
	out := engine.Error{Kind: engine.KindOf(err), Err: err}
	if known, ok := errors.AsType[*engine.Error](err); ok {
		out = *known
	}
	if out.Op == "" {
		out.Op, out.Subject = words(op), subject
	}
	return &out
}

// words makes "create container" of "CreateContainer".
func words(op string) string {
	var b strings.Builder
	for i, r := range op {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// result is value, or nothing when the call failed.
func result[T any](value T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return value, nil
}

// carries reports whether labels has all of wanted.
func carries(labels, wanted engine.Labels) bool {
	for name, value := range wanted {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func isMissing(path string) bool { return path == Missing || strings.HasPrefix(path, Missing+"/") }
