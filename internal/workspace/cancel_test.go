package workspace

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aicli/aicli-web/internal/task"
)

// story is a workspace without a store: requests are decided and applied as the service does.
type story struct {
	*testing.T
	w     Workspace
	live  []task.Task
	next  int
	clock time.Time
}

// draft makes one change.
func (s *story) draft(change func(*Draft)) {
	s.clock = s.clock.Add(time.Second)
	d := NewDraft(s.w, s.live, s.clock)
	change(d)
	for i := range d.Live { // short names instead of ids, which sort alike
		if t := &d.Live[i]; strings.HasPrefix(t.ID, TaskPrefix) {
			s.next++
			t.ID = fmt.Sprint("t", s.next)
		}
	}
	d.Seal()
	s.w, s.live = d.Workspace, d.Live
}

func (s *story) ask(verb task.Type) {
	s.draft(func(d *Draft) {
		if decision := Decide(verb, d.Workspace, d.Live); decision.Refusal == nil {
			d.Ask(decision, Request{Verb: verb, By: "ann", At: d.Now()})
		}
	})
}

// do is one word of a story.
func (s *story) do(word string) {
	verb, id, _ := strings.Cut(word, " ")
	at := func(d *Draft) *task.Task {
		t := find(d.Live, func(t task.Task) bool { return t.ID == id })
		if t == nil {
			s.Fatalf("%s: there is no %s in %v", word, id, d.Live)
		}
		return t
	}
	switch verb {
	case "run":
		s.draft(func(d *Draft) { t := at(d); t.Status, t.StartedAt, t.Attempt = task.Running, &s.clock, t.Attempt+1 })
	case "lose": // its server is killed, and it is given back
		s.draft(func(d *Draft) { t := at(d); t.Status, t.Attempt = task.Queued, t.Attempt-1 })
	case "fail":
		s.draft(func(d *Draft) { d.Finish(id, task.Outcome{Status: task.Failed, Failure: &task.Failure{Message: "no"}}) })
	case "succeed":
		s.draft(func(d *Draft) { d.Finish(id, task.Outcome{Status: task.Succeeded}) })
	case "cut":
		s.draft(func(d *Draft) { d.Finish(id, task.Outcome{Status: task.Cancelled}) })
	case "cancel":
		s.draft(func(d *Draft) {
			if err := d.Cancel(id); err != nil {
				s.Fatalf("%s: %v", word, err)
			}
		})
	case "see":
		s.draft(func(d *Draft) {
			seen := Observed{Network: &Network{}, Serial: d.Workspace.Observed.Serial}
			if id != "none" {
				seen.Container = &Container{State: ContainerState(id)}
			}
			if err := d.Observe(seen); err != nil {
				s.Error(err)
			}
		})
	default:
		s.ask(task.Type(verb))
	}
}

func (s *story) String() string {
	words := []string{string(s.w.DesiredState)}
	if len(s.live) == 0 && s.w.Policy != (RecoveryPolicy{}) {
		words = append(words, string(s.w.Status))
	}
	for _, t := range s.live {
		word := string(t.Type)
		if t.Params.Undo {
			word += "(undo)"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestCancelling(t *testing.T) {
	for _, c := range []struct{ name, begins, story, want string }{
		{"a creation that waits is as if it were made without a start", "CREATE", "cancel t1", "STOPPED"},
		{"a creation that has begun is taken back", "CREATE", "run t1, cancel t1, cut t1", "STOPPED SYNC(undo)"},
		{"so is one that was given back by a server that was killed", "CREATE", "run t1, lose t1, cancel t1", "STOPPED SYNC(undo)"},
		{"so is one that a sync follows, which then starts nothing", "CREATE", "run t1, SYNC, cancel t1, cut t1", "STOPPED SYNC SYNC(undo)"},
		{"so is one that a stop follows", "CREATE", "run t1, STOP, cancel t1, cut t1", "STOPPED STOP SYNC(undo)"},
		{"a start that comes while a creation is being cancelled counts", "CREATE", "run t1, cancel t1, START, cut t1", "RUNNING START"},
		{"a stop does not overtake what takes back", "CREATE", "run t1, cancel t1, cut t1, STOP", "STOPPED SYNC(undo) STOP"},
		{"a creation that is run again beside a container takes nothing back", "CREATE", "run t1, fail t1, see EXITED, CREATE, run t2, cancel t2, cut t2", "STOPPED SYNC"},
		{"a creation is not run again where it runs", "CREATE", "run t1, fail t1, see RUNNING, CREATE", "RUNNING"},

		{"a start that waits is as if it were never asked for", "STOPPED", "START, cancel t1", "STOPPED"},
		{"a start that has begun is stopped again, whatever was seen last", "STOPPED", "START, run t1, cancel t1, cut t1", "STOPPED SYNC"},
		{"a start of what had failed leaves it as it was", "FAILED", "START, cancel t1", "RUNNING FAILED"},
		{"a start that has begun of what had failed is stopped again", "FAILED", "START, run t1, cancel t1, cut t1", "STOPPED SYNC"},
		{"so is a start of what was given up", "GIVEN UP", "START, cancel t1", "RUNNING FAILED"},
		{"so is a restart", "GIVEN UP", "RESTART, cancel t1", "RUNNING FAILED"},
		{"so is a restart that was given back", "GIVEN UP", "RESTART, run t1, lose t1, cancel t1", "STOPPED SYNC"},
		{"so is a stop", "GIVEN UP", "STOP, cancel t1", "RUNNING FAILED"},
		{"so is a sync", "GIVEN UP", "SYNC, cancel t1", "RUNNING FAILED"},
		{"so is a sync that has begun", "GIVEN UP", "SYNC, run t1, cancel t1, cut t1", "RUNNING FAILED"},
		{"so is a stop that overtook a start", "GIVEN UP", "START, STOP, cancel t2", "RUNNING FAILED"},
		{"but not what somebody else started meanwhile", "GIVEN UP", "START, see RUNNING, cancel t1", "RUNNING ACTIVE"},
		{"a container that is made anew by hand is stopped again", "GIVEN UP", "RECREATE, run t1, cancel t1, cut t1", "STOPPED SYNC"},
		{"a stop of what is being recovered lets that go on", "RECOVERING", "STOP, cancel t1", "RUNNING RESTART"},
		{"a start behind a stop that runs leaves the stop", "RUNNING", "STOP, run t1, START, cancel t2", "STOPPED STOP SYNC"},
		{"a start behind a sync that runs, and may have begun to start it, is undone", "STOPPED", "SYNC, run t1, START, cancel t2", "STOPPED SYNC SYNC"}, //nolint:dupword // the second undoes
		{"a start behind a creation that runs, and may have begun to start it, is undone", "MADE", "run t1, START, cancel t2", "STOPPED CREATE SYNC"},
		{"a start behind what takes back leaves nothing", "CREATE", "run t1, cancel t1, cut t1, run t2, START, cancel t3", "STOPPED SYNC(undo) SYNC(undo)"}, //nolint:dupword // the second undoes what the first may have begun
		{"a start that is cancelled with the stop behind it leaves it stopped", "STOPPED", "START, run t1, STOP, cancel t1, cut t1, cancel t2", "STOPPED"},
		{"a creation that is cancelled with the stop behind it is taken back", "CREATE", "run t1, STOP, cancel t1, cut t1, cancel t2", "STOPPED SYNC(undo)"},
		{"a start that ends well although it is cancelled is stopped again", "STOPPED", "START, run t1, cancel t1, succeed t1", "STOPPED SYNC"},
		{"a creation that ends well although it is cancelled is taken back", "CREATE", "run t1, cancel t1, succeed t1", "STOPPED SYNC(undo)"},
		{"a creation that fails although it is cancelled is taken back", "CREATE", "run t1, cancel t1, fail t1", "STOPPED SYNC(undo)"},
		{"a start that is being cancelled is not joined", "STOPPED", "START, run t1, cancel t1, START", "RUNNING START START"}, //nolint:dupword // one is being cancelled

		{"a stop that waits leaves it running", "RUNNING", "STOP, cancel t1", "RUNNING"},
		{"a stop behind a start that runs leaves the start", "STOPPED", "START, run t1, STOP, cancel t2", "RUNNING START SYNC"},
		{"a stop that overtook a start leaves what was before both", "STOPPED", "START, STOP, cancel t2", "STOPPED"},
		{"a stop that overtook a start, which what runs may have begun with, leaves what was before both", "STOPPED", "SYNC, run t1, START, STOP, cancel t3", "STOPPED SYNC SYNC"}, //nolint:dupword // the second undoes
		{"a start that overtook a stop, which what runs may have begun with, leaves it running", "RUNNING", "SYNC, run t1, STOP, START, cancel t3", "RUNNING SYNC SYNC"},           //nolint:dupword // the second undoes
		{"a stop that was given back is taken back", "RUNNING", "STOP, run t1, lose t1, cancel t1", "RUNNING SYNC"},

		{"a stop that overtook a restart leaves it running, whatever a sync between them had seen", "RUNNING", "SYNC, run t1, STOP, SYNC, RESTART, STOP, cancel t5", "RUNNING SYNC SYNC"}, //nolint:dupword // what runs, and what looks again
		{"a sync changes nothing of what was asked for since", "RUNNING", "SYNC, run t1, STOP, SYNC, START, cancel t3", "RUNNING SYNC START"},
		{"nor do both", "RUNNING", "SYNC, run t1, STOP, SYNC, START, cancel t3, cancel t4", "RUNNING SYNC SYNC"}, //nolint:dupword // what runs, and what looks again

		{"a stop does not overtake what settles, so that it can be cancelled", "STOPPED", "START, run t1, see RUNNING, cancel t1, cut t1, STOP, cancel t3", "STOPPED SYNC"},

		{"a restart that waits leaves it running", "RUNNING", "RESTART, cancel t1", "RUNNING"},
		{"a restart of what is stopped leaves it stopped", "STOPPED", "RESTART, cancel t1", "STOPPED"},
		{"a sync changes nothing", "RUNNING", "SYNC, run t1, cancel t1, cut t1", "RUNNING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &story{T: t, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), w: Workspace{DesiredState: WantRunning}}
			switch c.begins {
			case "CREATE":
				s.draft(func(d *Draft) { d.Enqueue(task.Create, "ann", task.Params{}) })
			case "MADE":
				s.w.DesiredState = WantStopped
				s.draft(func(d *Draft) { d.Enqueue(task.Create, "ann", task.Params{}) })
			case "RUNNING":
				s.do("see RUNNING")
			case "FAILED":
				s.w.Policy, s.w.Failure = DefaultRecovery, &task.Failure{Code: string(ImageNotFound), Message: "There is no such image."}
				s.do("see none")
			case "GIVEN UP":
				s.w.Policy, s.w.Recovery = DefaultRecovery, Recovery{Tries: 5, GaveUp: true, Why: "The container exited."}
				s.do("see EXITED")
			case "RECOVERING":
				s.w.Policy = DefaultRecovery
				s.do("see EXITED")
			case "STOPPED":
				s.w.DesiredState = WantStopped
				s.do("see EXITED")
			}
			for word := range strings.SplitSeq(c.story, ", ") {
				s.do(word)
			}
			if got := s.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	t.Run("what has been signalled, what takes back, and a deletion cannot be cancelled", func(t *testing.T) {
		for _, tk := range []task.Task{
			{Type: task.Stop, Status: task.Running}, {Type: task.Restart, Status: task.Running},
			{Type: task.Delete, Status: task.Queued}, {Type: task.Sync, Status: task.Queued, Params: task.Params{Undo: true}},
			{Type: task.Sync, Status: task.Queued}, // nobody has asked for it: it settles what was cancelled
		} {
			tk.ID = "t1"
			d := NewDraft(Workspace{DesiredState: WantRunning}, []task.Task{tk}, time.Now())
			if err := d.Cancel("t1"); CodeOf(err) != Conflict || d.Live[0].Cancel {
				t.Errorf("%s %s: got %v, %+v", tk.Status, tk.Type, err, d.Live[0])
			}
		}
	})
}
