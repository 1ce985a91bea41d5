package lifecycle

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/isolation"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// slowInit begins its command only when it is asked that often, and what it does then may be to end.
type slowInit struct {
	projects

	polls int
	then  func()
}

func (s *slowInit) Begun(engine.Container) (begun, known bool) {
	if s.polls--; s.polls > 0 {
		return false, true
	}
	if s.then != nil {
		s.then()
		return false, false
	}
	return true, true
}

func TestACommandThatHasNotBegunIsNotSeenToRun(t *testing.T) {
	for name, st := range starting() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, before := st.tell(t)
				asked := 0
				s.l.projects = &slowInit{polls: 5, then: func() {
					if asked++; asked == 3 { // the engine is late to notice
						s.fake.Exit(isolation.Name("ws_1"), 127)
					}
				}}
				s.desk.states = nil
				<-time.After(time.Second) // a run is known by when it began
				err := s.run(st.task)
				if starts(s.fake.Calls()[before:]) && (slices.Contains(s.desk.states, workspace.ContainerRunning) || s.desk.w.Observed.State() != workspace.ContainerExited) {
					t.Errorf("%v: %v is recorded", err, s.desk.states)
				}
			})
		})
	}
	t.Run("what cannot be looked into is waited for once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := stories["a start of what was stopped"].tell(t)
			s.l.projects = &slowInit{then: func() {}}
			for i, most := range []time.Duration{2 * beginsWithin, 0} {
				<-time.After(time.Second)
				began := time.Now()
				if err := s.run(task.Task{Type: task.Restart}); err != nil || s.desk.w.Observed.State() != workspace.ContainerRunning {
					t.Errorf("got %v, %+v", err, s.desk.w.Observed)
				}
				if took := time.Since(began); took > most {
					t.Errorf("restart %d took %s", i, took)
				}
			}
		})
	})
	t.Run("one that begins late is waited for, and not for ever", func(t *testing.T) {
		for polls, most := range map[int]time.Duration{100: 100 * beginsPoll, 1 << 20: beginsWithin} {
			synctest.Test(t, func(t *testing.T) {
				s, _ := stories["a start of what was stopped"].tell(t)
				s.l.projects = &slowInit{polls: polls}
				<-time.After(time.Second)
				began := time.Now()
				if err := s.run(stories["a start of what was stopped"].task); err != nil || s.desk.w.Observed.State() != workspace.ContainerRunning {
					t.Errorf("got %v, %+v", err, s.desk.w.Observed)
				}
				if took := time.Since(began); took > most || took < most/2 {
					t.Errorf("it took %s", took)
				}
			})
		}
	})
}
