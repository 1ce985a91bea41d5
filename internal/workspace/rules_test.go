package workspace

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/task"
)

// The tables below are the order rules, for every request beside every live task. Their words:
//
//	none    it is so already, and no task is needed
//	new     a new task
//	join    the live task
//	refuse  a conflict
//	×       what lives is superseded besides
//	a|b     a where it is so already, and b elsewhere; see situations
//	?       left open
//
// Of a task, "waits" is QUEUED and RETRYING, "pulls" is one that runs and waits for an image, and "ends" is one that runs and is being cancelled, as a stop, a restart, a deletion and what
// takes back cannot be. What is settling looks after a task that was cancelled, and nobody has asked for it.

// situations are a desired state, a status that goes with it, and the container; then the verbs for which it is so already.
const situations = `
RUNNING  ACTIVE      RUNNING     CREATE START RECREATE
RUNNING  PENDING     -
RUNNING  STARTING    CREATED
RUNNING  STARTING    PAUSED
RUNNING  RECOVERING  EXITED
RUNNING  RECOVERING  PAUSED
RUNNING  FAILED      EXITED
RUNNING  FAILED      -
STOPPED  INACTIVE    -           STOP
STOPPED  INACTIVE    EXITED      STOP
STOPPED  INACTIVE    PAUSED
STOPPED  STOPPING    RUNNING
STOPPED  STOPPING    PAUSED
STOPPED  ACTIVE      RUNNING     CREATE
STOPPED  STARTING    RESTARTING
STOPPED  PENDING     -
STOPPED  FAILED      RUNNING
STOPPED  FAILED      -
DELETED  DELETING    RUNNING
DELETED  DELETING    -
`

//nolint:dupword // they are tables
var orderRules = map[DesiredState]string{
	WantRunning: `
live                     START/RECREATE  STOP   RESTART  CREATE    SYNC   DELETE
nothing                  none|new        new    new      none|new  new    new
CREATE waits             join            new    new      join      new    new×
CREATE runs              join            new    new      join      new    new×
CREATE pulls             join            new×   new      join      new    new×
CREATE ends              new             new    new      new       new    new×
START waits              join            new×   new×     join      new    new×
START runs               join            new    new      join      new    new×
START pulls              join            new×   new      join      new    new×
START ends               new             new    new      new       new    new×
STOP waits               new×            join   new×     new       new    new×
STOP runs                new             new    new      new       new    new×
RESTART waits            join            new×   new×     join      new    new×
RESTART runs             join            new    join     join      new    new×
RESTART pulls            join            new×   join     join      new    new×
RESTART recovery waits   join            new×   new×     join      join   new×
RESTART recovery runs    join            new    join     join      new    new×
RECREATE waits           join            new×   new×     join      new    new×
RECREATE runs            join            new    new      join      new    new×
RECREATE ends            new             new    new      new       new    new×
RECREATE recovery waits  join            new×   new×     join      join   new×
RECREATE recovery runs   join            new    new      join      new    new×
RECREATE recovery pulls  join            new×   new      join      new    new×
RECREATE recovery ends   new             new    new      new       new    new×
SYNC waits               none|new        new×   new      none|new  join   new×
SYNC runs                none|new        new    new      none|new  new    new×
SYNC pulls               none|new        new×   new      none|new  new    new×
SYNC settling waits      none|new        new    new      none|new  join   new×
SYNC ends                none|new        new    new      none|new  new    new×
SYNC undo waits          new             new    new      new       new    new×
SYNC undo runs           new             new    new      new       new    new×
SYNC recovery waits      none×|new×      new×   new×     none|new  join   new×
SYNC recovery runs       none|new        new    new      none|new  new    new×
SYNC recovery ends       none|new        new    new      none|new  new    new×
SYNC clear waits         new             new×   new      new       new    new×
SYNC clear runs          new             new    new      new       new    new×
SYNC clear ends          new             new    new      new       new    new×`,

	WantStopped: `
live                     START/RECREATE  STOP       RESTART  CREATE    SYNC   DELETE
nothing                  new             none|new   new      none|new  new    new
CREATE waits             join            new        new      join      new    new×
CREATE runs              new             new        new      join      new    new×
CREATE pulls             new             new×       new      join      new    new×
CREATE ends              new             new        new      new       new    new×
START waits              join            new×       new×     new       new    new×
START runs               new             new        new      new       new    new×
START ends               new             new        new      new       new    new×
STOP waits               new×            join       new×     new       new    new×
STOP runs                new             join       new      new       new    new×
RESTART waits            join            new×       new×     new       new    new×
RESTART runs             new             new        new      new       new    new×
RESTART recovery waits   join            new×       new×     new       ?      new×
RESTART recovery runs    new             new        new      new       new    new×
RECREATE waits           join            new×       new×     new       new    new×
RECREATE runs            new             new        new      new       new    new×
RECREATE ends            new             new        new      new       new    new×
RECREATE recovery waits  join            new×       new×     new       ?      new×
RECREATE recovery runs   new             new        new      new       new    new×
RECREATE recovery ends   new             new        new      new       new    new×
SYNC waits               new             none|new×  new      none|new  join   new×
SYNC runs                new             none|new   new      none|new  new    new×
SYNC pulls               new             none|new×  new      none|new  new    new×
SYNC settling waits      new             none|new   new      none|new  join   new×
SYNC ends                new             none|new   new      none|new  new    new×
SYNC undo waits          new             new        new      new       new    new×
SYNC undo runs           new             new        new      new       new    new×
SYNC recovery waits      new×            none|new×  new×     none|new  join   new×
SYNC recovery runs       new             none|new   new      none|new  new    new×
SYNC recovery ends       new             none|new   new      none|new  new    new×
SYNC clear waits         new             new×       new      new       new    new×
SYNC clear runs          new             new        new      new       new    new×
SYNC clear ends          new             new        new      new       new    new×`,

	WantDeleted: `
live                     START/STOP/RESTART/RECREATE/CREATE/SYNC  DELETE
nothing                  refuse                                   new
DELETE waits             refuse                                   join
DELETE runs              refuse                                   join
CREATE waits             refuse                                   new×
CREATE runs              refuse                                   new×
CREATE ends              refuse                                   new×
START waits              refuse                                   new×
START runs               refuse                                   new×
START ends               refuse                                   new×
STOP waits               refuse                                   new×
STOP runs                refuse                                   new×
RESTART waits            refuse                                   new×
RESTART runs             refuse                                   new×
RESTART recovery waits   refuse                                   new×
RESTART recovery runs    refuse                                   new×
RECREATE waits           refuse                                   new×
RECREATE runs            refuse                                   new×
RECREATE recovery waits  refuse                                   new×
RECREATE recovery runs   refuse                                   new×
SYNC waits               refuse                                   new×
SYNC runs                refuse                                   new×
SYNC ends                refuse                                   new×
SYNC undo waits          refuse                                   new×
SYNC undo runs           refuse                                   new×
SYNC recovery waits      refuse                                   new×
SYNC recovery runs       refuse                                   new×
SYNC clear waits         refuse                                   new×
SYNC clear runs          refuse                                   new×`,
}

// orderRulesOfTwo are those beside two live tasks, of which the words name the older one 1 and the newer one 2.
//
//nolint:dupword // they are tables
var orderRulesOfTwo = map[DesiredState]string{
	WantRunning: `
older, newer                              START/RECREATE  STOP    RESTART  CREATE    SYNC   DELETE
CREATE waits, SYNC waits                  join1           new×2   new      join1     join2  new×12
CREATE runs, SYNC waits                   join1           new×2   new      join1     join2  new×12
CREATE ends, SYNC waits                   new             new×2   new      new       join2  new×12
START waits, SYNC waits                   join1           new×12  new×1    join1     join2  new×12
START runs, SYNC waits                    join1           new×2   new      join1     join2  new×12
START pulls, SYNC waits                   join1           new×12  new      join1     join2  new×12
START ends, SYNC waits                    new             new×2   new      new       join2  new×12
RESTART waits, SYNC waits                 join1           new×12  new×1    join1     join2  new×12
RESTART runs, SYNC waits                  join1           new×2   join1    join1     join2  new×12
RECREATE waits, SYNC waits                join1           new×12  new×1    join1     join2  new×12
RECREATE runs, SYNC waits                 join1           new×2   new      join1     join2  new×12
RESTART recovery waits, SYNC waits        join1           new×12  new×1    join1     join1  new×12
RECREATE recovery waits, SYNC waits       join1           new×12  new×1    join1     join1  new×12
RECREATE recovery runs, SYNC waits        join1           new×2   new      join1     join2  new×12
SYNC runs, SYNC waits                     none|new        new×2   new      none|new  join2  new×12
SYNC recovery runs, SYNC waits            none|new        new×2   new      none|new  join2  new×12
SYNC clear waits, SYNC waits              new             new×12  new      new       join2  new×12
SYNC clear runs, SYNC waits               new             new×2   new      new       join2  new×12
SYNC waits, CREATE waits                  join2           new×1   new      join2     join1  new×12
SYNC runs, CREATE waits                   join2           new     new      join2     new    new×12
SYNC waits, START waits                   join2           new×12  new×2    join2     join1  new×12
SYNC runs, START waits                    join2           new×2   new×2    join2     new    new×12
SYNC waits, RESTART waits                 join2           new×12  new×2    join2     join1  new×12
SYNC runs, RESTART waits                  join2           new×2   new×2    join2     new    new×12
SYNC waits, RECREATE waits                join2           new×12  new×2    join2     join1  new×12
SYNC runs, RECREATE waits                 join2           new×2   new×2    join2     new    new×12
SYNC recovery waits, CREATE waits         join2×1         new×1   new×1    join2     join1  new×12
SYNC recovery runs, START waits           join2           new×2   new×2    join2     new    new×12
SYNC undo waits, START waits              join2           new×2   new×2    join2     new    new×12
SYNC undo runs, START waits               join2           new×2   new×2    join2     new    new×12
SYNC clear runs, START waits              join2           new×2   new×2    join2     new    new×12
START runs, STOP waits                    new×2           join2   new×2    ?         new    new×12
RESTART runs, STOP waits                  new×2           join2   new×2    ?         new    new×12
STOP runs, START waits                    join2           new×2   new×2    join2     new    new×12
STOP runs, RESTART waits                  join2           new×2   new×2    join2     new    new×12
CREATE ends, START waits                  join2           new×2   new×2    join2     new    new×12
START ends, START waits                   join2           new×2   new×2    join2     new    new×12
START runs, RESTART waits                 join2           new×2   new×2    join1     new    new×12
CREATE waits, RESTART waits               join2           new×2   new×2    join1     new    new×12`,

	WantStopped: `
older, newer                              START/RECREATE  STOP       RESTART  CREATE    SYNC   DELETE
CREATE waits, SYNC waits                  join1           new×2      new      join1     join2  new×12
CREATE runs, SYNC waits                   new             new×2      new      join1     join2  new×12
STOP waits, SYNC waits                    new×1           join1      new×1    new       join2  new×12
STOP runs, SYNC waits                     new             join1      new      new       join2  new×12
START runs, SYNC waits                    new             new×2      new      new       join2  new×12
RESTART runs, SYNC waits                  new             new×2      new      new       join2  new×12
SYNC runs, SYNC waits                     new             none|new×2 new      none|new  join2  new×12
SYNC undo waits, SYNC waits               new             new×2      new      new       join2  new×12
SYNC undo runs, SYNC waits                new             new×2      new      new       join2  new×12
SYNC waits, STOP waits                    new×2           join2×1    new×2    new       join1  new×12
SYNC runs, STOP waits                     new×2           join2      new×2    new       new    new×12
SYNC waits, CREATE waits                  join2           new×1      new      join2     join1  new×12
SYNC runs, CREATE waits                   join2           new        new      join2     new    new×12
SYNC undo waits, STOP waits               new×2           join2      new×2    new       new    new×12
SYNC undo runs, STOP waits                new×2           join2      new×2    new       new    new×12
SYNC recovery runs, STOP waits            new×2           join2      new×2    new       new    new×12
CREATE waits, STOP waits                  join1×2         join2      new×2    join1     new    new×12
CREATE runs, STOP waits                   new×2           join2      new×2    join1     new    new×12
CREATE pulls, SYNC waits                  new             new×12     new      join1     join2  new×12
CREATE ends, STOP waits                   new×2           join2      new×2    new       new    new×12
START runs, STOP waits                    new×2           join2      new×2    new       new    new×12
RESTART runs, STOP waits                  new×2           join2      new×2    new       new    new×12`,

	WantDeleted: `
older, newer                              START/STOP/RESTART/RECREATE/CREATE/SYNC  DELETE
CREATE runs, DELETE waits                 refuse                                   join2×1
CREATE ends, DELETE waits                 refuse                                   join2×1
STOP runs, DELETE waits                   refuse                                   join2×1
SYNC waits, DELETE waits                  refuse                                   join2×1
SYNC runs, DELETE waits                   refuse                                   join2×1
SYNC undo waits, DELETE waits             refuse                                   join2×1
CREATE runs, STOP waits                   refuse                                   new×12`,
}

// desires are what is desired after each verb; CREATE and SYNC leave it as it was.
var desires = map[task.Type]DesiredState{
	task.Start: WantRunning, task.Recreate: WantRunning, task.Restart: WantRunning, task.Stop: WantStopped, task.Delete: WantDeleted,
}

func TestOrderRules(t *testing.T) {
	for _, tables := range []map[DesiredState]string{orderRules, orderRulesOfTwo} {
		for desired, table := range tables {
			header, rows := cellsOf(table)
			for _, row := range rows {
				if len(row) != len(header) {
					t.Fatalf("%s: %q has %d cells and not %d", desired, row, len(row), len(header))
				}
				t.Run(fmt.Sprintf("%s, and %s", desired, row[0]), func(t *testing.T) {
					for i, verbs := range header[1:] {
						for verb := range strings.SplitSeq(verbs, "/") {
							hold(t, task.Type(verb), desired, row[0], row[i+1])
						}
					}
				})
			}
		}
	}
}

// hold compares one cell of a table in all situations with what is decided.
func hold(t *testing.T, verb task.Type, desired DesiredState, live, cell string) {
	t.Helper()
	so, other, differs := strings.Cut(cell, "|")
	if !differs {
		other = so
	}
	held := 0
	for line := range strings.Lines(strings.TrimSpace(situations)) {
		words := strings.Fields(line)
		if words[0] != string(desired) {
			continue
		}
		w := Workspace{DesiredState: desired, Status: Status(words[1])}
		if words[2] != "-" {
			w.Observed.Container = &Container{State: ContainerState(words[2])}
		}
		want := other
		if slices.Contains(words[3:], string(verb)) {
			want = so
		}
		held++
		if want == "?" {
			continue
		}
		for _, tasks := range tasksOf(live) {
			d := Decide(verb, w, tasks)
			if got := wordOf(d, tasks); got != want {
				t.Errorf("%s of what is %s, with the container %s, beside %v: got %s, want %s", verb, w.Status, words[2], statuses(tasks), got, want)
			}
			after := desires[verb]
			if after == "" || want == "refuse" {
				after = desired
			}
			if d.Desired != after {
				t.Errorf("%s of what is %s beside %v: desired is %s then, want %s", verb, w.Status, statuses(tasks), d.Desired, after)
			}
		}
	}
	if held == 0 {
		t.Errorf("there is no situation in which %s is desired", desired)
	}
}

// cellsOf splits a table at what separates its columns: of the first, which may have single spaces in it, where the second begins.
func cellsOf(table string) (header []string, rows [][]string) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	second := strings.Index(lines[0], "START")
	for _, line := range lines {
		row := append([]string{strings.TrimSpace(line[:second])}, strings.Fields(line[second:])...)
		rows = append(rows, row)
	}
	return rows[0], rows[1:]
}

// tasksOf makes live tasks from words such as "SYNC undo waits, START waits", in each status that the words stand for.
func tasksOf(words string) (all [][]task.Task) {
	all = [][]task.Task{nil}
	if words == "nothing" {
		return all
	}
	for i, one := range strings.Split(words, ", ") {
		parts := strings.Fields(one)
		tk := task.Task{ID: fmt.Sprint("task_", i+1), Type: task.Type(parts[0]), Status: task.Running, RequestedBy: "ann"}
		statuses := []task.Status{task.Running}
		for _, part := range parts[1:] {
			switch part {
			case "waits":
				statuses = []task.Status{task.Queued, task.Retrying}
			case "runs":
			case "pulls":
				tk.Step = task.StepPull
			case "ends":
				tk.Cancel = true
			case "undo":
				tk.Params.Undo, tk.RequestedBy = true, ""
			case "settling":
				tk.RequestedBy = ""
			case "clear":
				tk.Params.Clear, tk.RequestedBy = true, ""
			case "recovery":
				tk.Params.Recovery, tk.RequestedBy = true, ""
			default:
				panic("no such word: " + part)
			}
		}
		var more [][]task.Task
		for _, before := range all {
			for _, tk.Status = range statuses {
				more = append(more, append(slices.Clone(before), tk))
			}
		}
		all = more
	}
	return all
}

// wordOf says a decision in the words of the tables.
func wordOf(d Decision, live []task.Task) (word string) {
	number := func(t task.Task) string {
		if len(live) == 1 && t.ID == live[0].ID {
			return ""
		}
		return strings.TrimPrefix(t.ID, "task_")
	}
	switch {
	case d.Refusal != nil && (d.Refusal.Code != Conflict || d.Enqueue || d.Reuse != nil):
		return fmt.Sprintf("%+v", d)
	case d.Refusal != nil:
		word = "refuse"
	case d.Reuse != nil && d.Enqueue:
		word = "both"
	case d.Reuse != nil:
		word = "join" + number(*d.Reuse)
	case d.Enqueue:
		word = "new"
	default:
		word = "none"
	}
	if len(d.Supersede) > 0 {
		word += "×"
	}
	for _, t := range d.Supersede {
		word += number(t)
	}
	return word
}

func statuses(tasks []task.Task) (words []string) {
	for _, t := range tasks {
		words = append(words, fmt.Sprint(t.Type, " ", t.Status))
	}
	return words
}
