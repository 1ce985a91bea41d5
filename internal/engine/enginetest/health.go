package enginetest

import (
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// defaultInterval and defaultRetries are Docker's.
const (
	defaultInterval = 30 * time.Second
	defaultRetries  = 3
)

// Check has one health check of a running container come to its end, as if its time had come: it passed, or failed with that output. It reports whether
// there is one to check.
func (f *Fake) Check(id string, passed bool, output string) bool {
	checked := false
	f.behind(id, func(c *container) {
		if checked = c.health != ""; checked {
			f.check(c, passed, output)
		}
	})
	return checked
}

// beginChecks begins the checks of a container that has begun to run. They come to the same each time, so that no more are made than it takes to decide.
func (f *Fake) beginChecks(c *container) {
	check := c.spec.HealthCheck
	if check == nil || len(check.Test) == 0 || check.Test[0] == "NONE" {
		return
	}
	c.health, c.checked = engine.HealthStarting, engine.Checked{}
	command := container{spec: engine.ContainerSpec{Entrypoint: check.Test[1:]}}
	if check.Test[0] == "CMD-SHELL" {
		command.spec.Entrypoint = append([]string{"sh", "-c"}, check.Test[1:]...)
	}
	code, ends := command.outcome()
	if !ends { // it is for Check to say what comes of it
		return
	}
	interval, run := check.Interval, c.runs
	if interval == 0 {
		interval = defaultInterval
	}
	var next func()
	next = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if c.state != engine.Running || c.runs != run || c.health != engine.HealthStarting {
			return
		}
		f.check(c, code == 0, strings.Join(command.says(), "\n"))
		time.AfterFunc(interval, next)
	}
	time.AfterFunc(interval, next)
}

// check takes in what came of one. f.mu is held.
func (f *Fake) check(c *container, passed bool, output string) {
	before := c.health
	c.checked.At, c.checked.Output = time.Now(), output[:min(len(output), engine.OutputMost)]
	retries := c.spec.HealthCheck.Retries
	if retries == 0 {
		retries = defaultRetries
	}
	switch c.checked.FailingStreak++; {
	case passed:
		c.health, c.checked.FailingStreak = engine.Healthy, 0
	case c.checked.FailingStreak >= retries:
		c.health = engine.Unhealthy
	}
	if c.health != before {
		f.publishContainer("health_status: "+strings.ToLower(string(c.health)), c)
	}
}
