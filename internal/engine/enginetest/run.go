package enginetest

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// The exit codes that a shell and Docker give.
const (
	exitNotFound = 127     // the command cannot be run
	exitKilled   = 128 + 9 // SIGKILL
	exitEnded    = 128 + 15
)

// StartContainer implements engine.Engine. As with Docker, a command that cannot be run is refused only without an init: with
// one the container starts, and ends at once with code 127.
func (f *Fake) StartContainer(ctx context.Context, id string) error {
	return f.doOn(ctx, "StartContainer", id, func(c *container) error {
		switch c.state {
		case engine.Running:
			return nil
		case engine.Paused:
			return refuse(engine.KindConflict, "cannot start a paused container, unpause it")
		default: // what does not run can be started
		}
		n, err := f.networkOf(c)
		if err != nil {
			return err
		}
		code, ends := c.outcome()
		if ends && code == exitNotFound && !c.spec.Init {
			c.exitCode, c.err = code, fmt.Sprintf("exec: %q: no such file or directory", c.spec.Entrypoint[0])
			return refuse(engine.KindInvalid, "%s", c.err)
		}
		if n != nil {
			if c.address = f.freeAddress(n); c.address == "" {
				return refuse(engine.KindInternal, "no available IPv4 addresses on this network")
			}
		}
		if n != nil {
			c.network = n.ID
		}
		c.state, c.started = engine.Running, time.Now() // when the last run ended stays, as with Docker
		c.exitCode, c.oomKilled, c.err, c.usage = 0, false, "", nil
		c.runs++
		c.output = append(c.output, c.says()...)
		f.publishContainer("start", c)
		f.beginChecks(c)
		if ends {
			f.end(c, code)
		}
		return nil
	})
}

// StopContainer implements engine.Engine.
func (f *Fake) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter(ctx, "StopContainer", id); err != nil {
		return err
	}
	c, err := f.mustFind(id)
	if err == nil {
		err = f.stop(ctx, c, grace)
	}
	if err != nil {
		return named(err, "StopContainer", id)
	}
	return f.leave("StopContainer", id)
}

func (f *Fake) stop(ctx context.Context, c *container, grace time.Duration) error {
	if !c.alive() {
		return nil
	}
	if c.state == engine.Paused {
		f.resume(c)
	}
	run, code := c.runs, exitEnded
	if c.ignoresTerm() {
		code = exitKilled
		timer := time.NewTimer((grace + time.Second - 1).Truncate(time.Second))
		defer timer.Stop()
		for fired := false; !fired && c.alive() && c.runs == run; {
			var err error
			if fired, err = f.await(ctx, timer.C); err != nil {
				return err
			}
			if f.down {
				return errDown()
			}
		}
	}
	if c.alive() && c.runs == run {
		f.end(c, code)
		f.publishContainer("stop", c)
	}
	return nil
}

// UnpauseContainer implements engine.Engine.
func (f *Fake) UnpauseContainer(ctx context.Context, id string) error {
	return f.doOn(ctx, "UnpauseContainer", id, func(c *container) error {
		if c.state == engine.Paused {
			f.resume(c)
		}
		return nil
	})
}

// Rename gives a container another name, as somebody does by hand.
func (f *Fake) Rename(id, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(id); c != nil {
		c.spec.Name = name
		f.publishContainer("rename", c)
	}
}

// Change gives a container other bounds and rights, as somebody does by hand.
func (f *Fake) Change(id string, change func(*engine.Enforced)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.find(id); c != nil {
		change(&c.enforced)
		f.publishContainer("update", c)
	}
}

// RemoveContainer implements engine.Engine.
func (f *Fake) RemoveContainer(ctx context.Context, id string) error {
	return f.do(ctx, "RemoveContainer", id, func() error {
		f.remove(id)
		return nil
	})
}

// Exit ends a running container with a code, as when its process ends by itself, and reports whether it ran.
func (f *Fake) Exit(id string, code int) bool {
	return f.behind(id, func(c *container) { f.end(c, code) })
}

// OOM ends a running container as the kernel does when it uses more memory than it may, and reports whether it ran.
func (f *Fake) OOM(id string) bool {
	return f.behind(id, func(c *container) {
		c.oomKilled = true
		f.publishContainer("oom", c)
		f.end(c, exitKilled)
	})
}

// Pause pauses a running container behind everyone's back and reports whether it ran.
func (f *Fake) Pause(id string) bool {
	return f.behind(id, func(c *container) {
		c.state, c.health = engine.Paused, ""
		f.publishContainer("pause", c)
	})
}

// Remove removes a container in any state behind everyone's back and reports whether there was one.
func (f *Fake) Remove(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(id)
}

// behind acts on a container that runs, without a call of the engine and even while that is down.
func (f *Fake) behind(id string, act func(*container)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.find(id)
	if c == nil || !c.alive() {
		return false
	}
	act(c)
	return true
}

func (f *Fake) remove(id string) bool {
	c := f.find(id)
	if c == nil {
		return false
	}
	if c.alive() {
		f.end(c, exitKilled)
	}
	delete(f.containers, c.id)
	f.publishContainer("destroy", c)
	return true
}

func (f *Fake) resume(c *container) {
	c.state = engine.Running
	f.publishContainer("unpause", c)
	f.beginChecks(c)
}

func (f *Fake) end(c *container, code int) {
	c.state, c.finished, c.exitCode, c.address, c.health = engine.Exited, time.Now(), code, "", ""
	f.publishContainer("die", c)
}

// outcome reads the command: whether it ends by itself at once, and how.
func (c *container) outcome() (code int, ends bool) {
	command := c.spec.Entrypoint
	if len(command) == 0 {
		return 0, false
	}
	switch name := path.Base(command[0]); {
	case isMissing(command[0]):
		return exitNotFound, true
	case name == "true":
		return 0, true
	case name == "false":
		return 1, true
	case name == "sh" && len(command) == 3 && command[1] == "-c":
		last := command[2][strings.LastIndex(command[2], ";")+1:]
		n, err := fmt.Sscanf(strings.TrimSpace(last), "exit %d", &code)
		return code, n == 1 && err == nil
	}
	return 0, false
}

// says is what the command writes, which is what a shell echoes before it ends, or the init that cannot run it.
func (c *container) says() (lines []string) {
	command := c.spec.Entrypoint
	if len(command) > 0 && isMissing(command[0]) && c.spec.Init {
		return []string{"[FATAL tini (7)] exec " + command[0] + " failed: No such file or directory"}
	}
	if len(command) != 3 || command[1] != "-c" {
		return nil
	}
	for part := range strings.SplitSeq(command[2], ";") {
		if line, ok := strings.CutPrefix(strings.TrimSpace(part), "echo "); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

func (c *container) ignoresTerm() bool {
	return strings.Contains(strings.Join(c.spec.Entrypoint, " "), "trap '' TERM")
}
