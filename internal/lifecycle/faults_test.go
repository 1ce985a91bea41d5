package lifecycle

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// kinds are all that a call may fail with.
// looking are the calls that change nothing.
var looking = map[string]bool{"Image": true, "Networks": true, "Containers": true, "Container": true, "Tail": true}

// stage is a workspace on an engine of its own.
type stage struct {
	*testing.T
	fake *enginetest.Fake
	desk *desk
	l    *Lifecycle
	runs int64
}

func newStage(t *testing.T) *stage {
	t.Helper()
	fake, d, l := rig()
	fake.Pullable("alpine", nil)
	d.w.Image = "alpine"
	return &stage{T: t, fake: fake.Fake, desk: d, l: l}
}

func (s *stage) run(t task.Task) error {
	t.WorkspaceID = "ws_1"
	s.runs++
	t.Lease.Token = s.runs
	return s.l.Handlers()[t.Type](s.Context(), t, func(string, *float64) {})
}

// made is a workspace whose container runs.
func (s *stage) made() {
	s.Helper()
	if err := s.run(task.Task{Type: task.Create}); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) container() string { return s.desk.w.Observed.Container.ID }

func (s *stage) stopped() {
	s.made()
	s.fake.Exit(s.container(), 1)
	s.fake.Write(s.container(), "the last word")
}

func (s *stage) robbed() {
	s.made()
	s.fake.Disconnect(s.container())
	if err := s.fake.RemoveNetwork(s.Context(), s.desk.w.Observed.Network.ID); err != nil {
		s.Fatal(err)
	}
}

// story is a task that meets something. Its goal is in the desired state.
type story struct {
	before  func(*stage)
	task    task.Task
	desired workspace.DesiredState
}

var stories = map[string]story{
	"a creation":                                 {func(*stage) {}, task.Task{Type: task.Create}, workspace.WantRunning},
	"a creation that is not to start":            {func(*stage) {}, task.Task{Type: task.Create}, workspace.WantStopped},
	"a creation on addresses in use":             {func(s *stage) { s.fake.Occupy("10.213.0.0/28") }, task.Task{Type: task.Create}, workspace.WantRunning},
	"a creation that was cut":                    {(*stage).made, task.Task{Type: task.Create}, workspace.WantRunning},
	"a start of what was stopped":                {(*stage).stopped, task.Task{Type: task.Start}, workspace.WantRunning},
	"a start of what is paused":                  {func(s *stage) { s.made(); s.fake.Pause(s.container()) }, task.Task{Type: task.Start}, workspace.WantRunning},
	"a start of what is gone":                    {func(s *stage) { s.made(); s.fake.Remove(s.container()) }, task.Task{Type: task.Start}, workspace.WantRunning},
	"a restart of what runs":                     {(*stage).made, task.Task{Type: task.Restart}, workspace.WantRunning},
	"a restart of what ended":                    {(*stage).stopped, task.Task{Type: task.Restart}, workspace.WantRunning},
	"a recreation":                               {func(s *stage) { s.made(); s.fake.Remove(s.container()) }, task.Task{Type: task.Recreate}, workspace.WantRunning},
	"a stop of what runs":                        {(*stage).made, task.Task{Type: task.Stop}, workspace.WantStopped},
	"a stop of what is paused":                   {func(s *stage) { s.made(); s.fake.Pause(s.container()) }, task.Task{Type: task.Stop}, workspace.WantStopped},
	"a deletion of what runs":                    {(*stage).made, task.Task{Type: task.Delete}, workspace.WantDeleted},
	"a deletion of what was stopped":             {(*stage).stopped, task.Task{Type: task.Delete}, workspace.WantDeleted},
	"a sync of what is off its network":          {func(s *stage) { s.made(); s.fake.Disconnect(s.container()) }, task.Task{Type: task.Sync}, workspace.WantRunning},
	"a sync of what was robbed of its network":   {(*stage).robbed, task.Task{Type: task.Sync}, workspace.WantRunning},
	"a sync of what has new limits":              {func(s *stage) { s.made(); s.desk.w.Resources.Pids = 20 }, task.Task{Type: task.Sync}, workspace.WantRunning},
	"a sync that takes a creation back":          {(*stage).made, task.Task{Type: task.Sync, Params: task.Params{Undo: true}}, workspace.WantStopped},
	"a sync that clears away after the last try": {(*stage).stopped, task.Task{Type: task.Sync, Params: task.Params{Clear: true}}, workspace.WantRunning},
	"a sync of what has two networks": {func(s *stage) {
		s.made()
		twin := isolation.Network(s.desk.w, "inst_1")
		twin.Subnet = "10.213.0.32/28"
		s.fake.Twin(twin)
	}, task.Task{Type: task.Sync}, workspace.WantRunning},
}

// call is one call of a run: the nth of an operation.
type call struct {
	op  string
	nth int
}

// tell plays a story up to its task, which is then run for the first time, and says how many calls that took.
func (st story) tell(t *testing.T) (s *stage, calls int) {
	t.Helper()
	s = newStage(t)
	st.before(s)
	s.desk.w.DesiredState = st.desired
	s.runs = 0
	return s, len(s.fake.Calls())
}

// callsOf are the calls of a run on which nothing fails.
func (st story) callsOf(t *testing.T) (calls []call, end string) {
	t.Helper()
	s, before := st.tell(t)
	if err := s.run(st.task); err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, said := range s.fake.Calls()[before:] {
		op, _, _ := strings.Cut(said, " ")
		calls = append(calls, call{op, count[op]})
		count[op]++
	}
	return calls, s.real()
}

// real is what the engine has of the workspace.
func (s *stage) real() string {
	s.Helper()
	seen, err := s.l.observe(s.Context(), s.desk.w, recorded(s.desk.w), true)
	if err != nil {
		s.Fatal(err)
	}
	said := fmt.Sprintf("network %t, %d more", seen.network != nil, len(seen.surplus))
	if c := seen.container; c != nil {
		said += fmt.Sprintf(", %s on it %t with %v", c.State, seen.network != nil && c.On(*seen.network), c.Enforced.Limits)
	}
	return said
}

// told reports whether what is recorded is what the engine has.
func (s *stage) told() bool {
	s.Helper()
	seen, err := s.l.observe(s.Context(), s.desk.w, recorded(s.desk.w), true)
	if err == nil {
		err = s.l.checkMount(s.Context(), s.desk.w, &seen)
	}
	if err != nil {
		s.Fatal(err)
	}
	now, recorded := observed(s.desk.w, seen), s.desk.w.Observed
	now.Tail, recorded.Tail, recorded.Serial = nil, nil, now.Serial
	return reflect.DeepEqual(now, recorded)
}

// An engine that was killed may have left what keeps a container from ever starting again.
func TestAContainerThatCanNeverStartIsMadeAnew(t *testing.T) {
	s := newStage(t)
	s.stopped()
	broken := s.container()
	s.fake.FailNext("StartContainer", enginetest.Fault(engine.KindBroken))
	if err := s.run(task.Task{Type: task.Start}); !engine.Is(err, engine.KindBroken) || s.desk.w.Observed.Container != nil {
		t.Errorf("got %v, recorded is %+v", err, s.desk.w.Observed)
	}
	if err := s.run(task.Task{Type: task.Start}); err != nil || s.container() == broken || s.desk.w.Observed.State() != workspace.ContainerRunning {
		t.Errorf("got %v, recorded is %+v", err, s.desk.w.Observed)
	}
}

// TestEveryFaultAtEveryCall lets every call of every kind of task fail in every way, before and after it had its effect. Then what is
// recorded is true, or still what was recorded before when the look itself failed; a task that says it succeeded has; its failure is
// told in words that are about the engine; and the same task once more comes to the same end as if nothing had happened.
func TestEveryFaultAtEveryCall(t *testing.T) {
	for name, st := range stories {
		t.Run(name, func(t *testing.T) {
			calls, end := st.callsOf(t)
			for _, c := range calls {
				for _, kind := range engine.Kinds() {
					if c.op == "UpdateContainer" && kind == engine.KindUnsupported {
						continue // that is no failure
					}
					for _, after := range []bool{false, true} {
						st.fail(t, c, kind, after, end)
					}
				}
			}
			t.Logf("%d calls, to %s", len(calls), end)
		})
	}
}

func (st story) fail(t *testing.T, c call, kind engine.Kind, after bool, end string) {
	t.Helper()
	s, _ := st.tell(t)
	order := s.fake.FailNext
	if after {
		order = s.fake.FailAfter
	}
	for range c.nth {
		order(c.op, nil) // those before it succeed
	}
	order(c.op, enginetest.Fault(kind))
	what := fmt.Sprintf("%s as call %d of its kind that fails with %q, its effect there: %t", c.op, c.nth+1, kind, after)

	before := s.desk.w.Observed
	err := s.run(st.task)
	s.fake.Calm() // a call that failed of itself has not met what was ordered for after it
	switch {
	case err == nil && s.real() != end:
		t.Errorf("%s: it succeeds, and leaves %s", what, s.real())
	case !s.told() && (err == nil || !looking[c.op] || !reflect.DeepEqual(s.desk.w.Observed, before)):
		t.Errorf("%s: it ends with %v; recorded is %+v, and there is %s", what, err, s.desk.w.Observed, s.real())
	}
	if err != nil {
		if failure, _ := Classify(err); failure.Code == string(workspace.Internal) || failure.Message == "" {
			t.Errorf("%s: it is told as %+v", what, failure)
		}
	}
	if err := s.run(st.task); err != nil {
		t.Errorf("%s: the second run ends with %v", what, err)
	}
	if got := s.real(); got != end || !s.told() {
		t.Errorf("%s: after a second run there is %s, want %s; recorded is %+v", what, got, end, s.desk.w.Observed)
	}
}
