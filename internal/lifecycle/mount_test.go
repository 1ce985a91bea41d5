package lifecycle

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// replaced are directories of which another process says what is at their path, and what containers have mounted.
type replaced struct {
	projects
	refused     error // by Make and Find
	same, known bool
	missing     bool
}

func (r *replaced) Make(string, string) (string, error) { return "/projects/p", r.refused }
func (r *replaced) Find(string, string) (string, error) { return "/projects/p", r.refused }
func (r *replaced) Mounted(string, string, string, engine.Container) (same, known bool, err error) {
	if r.missing {
		return false, false, fs.ErrNotExist
	}
	return r.same, r.known, nil
}

func (r *replaced) Begun(engine.Container) (begun, known bool) { return true, true }

var errSwapped = &workspace.Error{Code: workspace.BadUserInput, Message: "The path goes through p, which is a link.", Field: []string{"input", "projectPath"}}

// starting are the stories of tasks that start a container.
func starting() map[string]story {
	chosen := make(map[string]story)
	for name, st := range stories {
		if st.desired == workspace.WantRunning && !strings.Contains(name, "clears") && name != "a start of what is paused" {
			chosen[name] = st
		}
	}
	return chosen
}

func starts(calls []string) bool {
	return slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call, "StartContainer") })
}

// TestNoStartOfWhatWasReplaced has the path of a project lead elsewhere before each task that would start a container.
func TestNoStartOfWhatWasReplaced(t *testing.T) {
	for name, st := range starting() {
		for reason, prepare := range map[string]func(*stage, *replaced){
			"its path goes through a link":                      func(_ *stage, r *replaced) { r.refused = errSwapped },
			"its project lies within that of another workspace": func(s *stage, _ *replaced) { s.desk.enclosing = "outer" },
		} {
			t.Run(name+", and "+reason, func(t *testing.T) {
				s, before := st.tell(t)
				r := &replaced{same: true, known: true}
				s.l.projects = r
				prepare(s, r)
				err := s.run(st.task)
				calls := s.fake.Calls()[before:]
				if starts(calls) {
					t.Errorf("it was started: %v", calls)
				}
				// What runs already goes on: a sync of it mounts nothing.
				if _, class := Classify(err); err != nil && class != task.Permanent || err == nil && s.desk.w.Observed.State() != workspace.ContainerRunning {
					t.Errorf("%v, and it is %s", err, s.desk.w.Observed.State())
				}
			})
		}
	}
}

// TestWhatHasSomethingElseMountedIsRemoved has the engine mount something else than was checked.
func TestWhatHasSomethingElseMountedIsRemoved(t *testing.T) {
	for name, st := range starting() {
		t.Run(name, func(t *testing.T) {
			s, before := st.tell(t)
			s.l.projects = &replaced{known: true}
			err := s.run(st.task)
			if !starts(s.fake.Calls()[before:]) {
				return // what runs was compared when it was started
			}
			list, listErr := s.fake.Containers(t.Context(), nil)
			if !errors.Is(err, workspace.ErrForeignMount) || listErr != nil || len(list) > 0 || s.desk.w.Observed.Container != nil {
				t.Errorf("%v; the engine has %+v, and %+v is recorded", err, list, s.desk.w.Observed)
			}
			if _, class := Classify(err); class != task.Permanent {
				t.Errorf("%v would be tried again", err)
			}
		})
	}
	t.Run("a container that somebody else has started", func(t *testing.T) {
		s := newStage(t)
		s.stopped()
		s.l.projects = &replaced{known: true}
		if err := s.fake.StartContainer(t.Context(), s.container()); err != nil {
			t.Fatal(err)
		}
		var recorded workspace.Observed
		s.desk.onRecord = func() {}
		if err := s.l.Look(t.Context(), "ws_1", nil); err != nil {
			t.Fatal(err)
		}
		recorded = s.desk.w.Observed
		if recorded.Container != nil || !recorded.Foreign {
			t.Errorf("recorded %+v", recorded)
		}
	})
	t.Run("and that is recorded also when somebody else has recorded something meanwhile", func(t *testing.T) {
		s := newStage(t)
		s.stopped()
		s.l.projects = &replaced{known: true}
		if err := s.fake.StartContainer(t.Context(), s.container()); err != nil {
			t.Fatal(err)
		}
		looks := 0
		s.desk.onRecord = func() {
			if looks++; looks == 1 {
				s.desk.w.Observed.Serial++
			}
		}
		if err := s.l.Look(t.Context(), "ws_1", nil); err != nil || looks != 2 || !s.desk.w.Observed.Foreign {
			t.Errorf("%v, %d looks, %+v", err, looks, s.desk.w.Observed)
		}
	})
	t.Run("one that cannot be removed now is an error, and no container that is fine", func(t *testing.T) {
		s := newStage(t)
		s.l.projects = &replaced{known: true}
		s.fake.FailNext("RemoveContainer", enginetest.Fault(engine.KindConflict))
		if err := s.run(task.Task{Type: task.Create}); err == nil || s.desk.w.Observed.Container != nil {
			t.Errorf("%v, recorded %+v", err, s.desk.w.Observed)
		}
	})
}

// TestProjectsAreMadeWhileNothingCanBeInThem holds that a directory that is missing later is told of, and not made anew.
func TestProjectsAreMadeWhileNothingCanBeInThem(t *testing.T) {
	s := newStage(t)
	dirs := &directories{}
	s.l.projects = dirs
	s.made()
	made := len(dirs.made)
	if made == 0 || len(dirs.found) > 0 {
		t.Errorf("before its first run: made %v, found %v", dirs.made, dirs.found)
	}
	s.fake.Exit(s.container(), 0)
	dirs.missing = &workspace.Error{Code: workspace.BadUserInput, Message: "The project directory is missing."}
	for _, prepare := range []func() error{
		func() error { return nil },
		func() error { return s.fake.RemoveContainer(t.Context(), s.container()) },
	} {
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		err := s.run(task.Task{Type: task.Start})
		if _, class := Classify(err); !errors.Is(err, dirs.missing) || class != task.Permanent || len(dirs.made) != made {
			t.Errorf("got %v, made %v", err, dirs.made)
		}
	}
	dirs.missing = nil
	if err := s.run(task.Task{Type: task.Start}); err != nil || s.desk.w.Observed.State() != workspace.ContainerRunning {
		t.Errorf("when it is back: %v, %s", err, s.desk.w.Observed.State())
	}
}

func TestMountsAreCompared(t *testing.T) {
	s := newStage(t)
	r := &replaced{same: true, known: true}
	s.l.projects = r
	look := func(want workspace.Mount, warned string) {
		t.Helper()
		if err := s.l.Look(t.Context(), "ws_1", nil); err != nil {
			t.Fatal(err)
		}
		got := s.desk.w.Observed.Container
		if got == nil || got.Mount != want || strings.Contains(strings.Join(got.Enforced.Warnings, "\n"), "mount") != (warned != "") ||
			!strings.Contains(strings.Join(got.Enforced.Warnings, "\n"), warned) {
			t.Errorf("recorded %+v, want %q and a warning of %q", got, want, warned)
		}
	}
	s.made()
	look(workspace.MountVerified, "")
	r.known = false // for a moment
	look(workspace.MountVerified, "")
	r.same, r.known = false, true
	look(workspace.MountReplaced, "Restart the workspace to mount")
	r.missing = true
	look(workspace.MountReplaced, "Restart the workspace to mount")
	r.missing, r.same = false, true
	look(workspace.MountVerified, "")
	s.fake.Exit(s.container(), 0)
	look("", "")
	r.missing = true
	if err := s.fake.StartContainer(t.Context(), s.container()); err != nil {
		t.Fatal(err)
	}
	look(workspace.MountUnknown, "was not checked")
	r.missing, r.same = false, false
	if err := s.l.Look(t.Context(), "ws_1", nil); err != nil || !s.desk.w.Observed.Foreign {
		t.Errorf("%v: what was never found to have the right directory is removed, recorded %+v", err, s.desk.w.Observed)
	}

	t.Run("where they cannot be compared, its owner is warned, and the next look tries again", func(t *testing.T) {
		s := newStage(t)
		r := &replaced{}
		s.l.projects = r
		s.made()
		if got := s.desk.w.Observed.Container; got.Mount != workspace.MountUnknown || len(got.Enforced.Warnings) != 1 || !strings.Contains(got.Enforced.Warnings[0], "mounted") {
			t.Errorf("recorded %+v", got)
		}
		r.same, r.known = true, true
		if err := s.l.Look(t.Context(), "ws_1", nil); err != nil || s.desk.w.Observed.Container.Mount != workspace.MountVerified {
			t.Errorf("%v, recorded %+v", err, s.desk.w.Observed.Container)
		}
	})
}
