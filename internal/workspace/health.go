package workspace

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// HealthCheck is what a workspace says in place of its image's health check.
type HealthCheck struct {
	Command     []string      `json:"command"` // run by exec; empty: the container is not checked
	Interval    time.Duration `json:"interval"`
	Timeout     time.Duration `json:"timeout"`
	StartPeriod time.Duration `json:"startPeriod"` // in which checks that fail do not count, until one passes
	Retries     int           `json:"retries"`     // in a row that fail before it is unhealthy
}

// HealthCheckInput is a health check asked for. Nil means the default.
type HealthCheckInput struct {
	Command     []string
	Interval    *time.Duration
	Timeout     *time.Duration
	StartPeriod *time.Duration
	Retries     *int
}

// Defaults of a health check, which are Docker's, and bounds: a check begins a process in the container, and has the engine write its state down.
const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 30 * time.Second
	defaultRetries  = 3
	// MinHealthInterval is the least time between two checks, also of those that images ask for.
	MinHealthInterval = time.Second
	maxHealthTime     = time.Hour
	maxHealthRetries  = 100
)

// Health is what the health check of a running container says.
type Health struct {
	Status        HealthStatus  `json:"status"`
	FailingStreak int           `json:"failingStreak,omitempty"` // checks in a row that failed
	Output        string        `json:"output,omitempty"`        // of the last check
	CheckedAt     *time.Time    `json:"checkedAt,omitempty"`     // by the engine's clock; nil: no check has ended
	Since         *time.Time    `json:"since,omitempty"`         // the check after which it had this status first
	Before        time.Duration `json:"before,omitempty"`        // how long it was healthy before it became unhealthy
}

// HealthStatus says in one word what a health check has come to.
type HealthStatus string

// The health statuses.
const (
	HealthStarting  HealthStatus = "STARTING"
	HealthHealthy   HealthStatus = "HEALTHY"
	HealthUnhealthy HealthStatus = "UNHEALTHY"
)

// maxOutput bounds what is kept of a check's output, in bytes.
const maxOutput = 4 << 10

// CheckOutput makes text of what a check has written, which may be anything.
func CheckOutput(written string) string {
	text := strings.ToValidUTF8(written, string(utf8.RuneError))
	if len(text) <= maxOutput {
		return text
	}
	end := maxOutput
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// Unhealthy reports whether the container runs and its health check has failed too often.
func (o Observed) Unhealthy() bool {
	c := o.Container
	return c != nil && c.State == ContainerRunning && c.Health != nil && c.Health.Status == HealthUnhealthy
}

// after completes what was seen now by what was seen before, of the same run of a container.
func (h *Health) after(before *Health) {
	h.Since, h.Before = h.CheckedAt, 0
	switch {
	case before == nil:
	case before.Status == h.Status:
		h.Since, h.Before = before.Since, before.Before
	case before.Status == HealthHealthy && h.Status == HealthUnhealthy && before.Since != nil && h.CheckedAt != nil:
		h.Before = max(0, h.CheckedAt.Sub(*before.Since))
	}
}

// whyUnhealthy says what a health check has found.
func whyUnhealthy(o Observed) string {
	if n := o.Container.Health.FailingStreak; n > 1 {
		return fmt.Sprintf("The container is unhealthy: its last %d health checks failed.", n)
	}
	return "The container is unhealthy: its last health check failed."
}

// over puts what is asked for over the defaults; nil: what the image says.
func (in *HealthCheckInput) over() *HealthCheck {
	if in == nil {
		return nil
	}
	check := HealthCheck{Command: in.Command, Interval: defaultInterval, Timeout: defaultTimeout, Retries: defaultRetries}
	if in.Interval != nil {
		check.Interval = *in.Interval
	}
	if in.Timeout != nil {
		check.Timeout = *in.Timeout
	}
	if in.StartPeriod != nil {
		check.StartPeriod = *in.StartPeriod
	}
	if in.Retries != nil {
		check.Retries = *in.Retries
	}
	return &check
}

func checkHealthCheck(check *HealthCheck) error {
	if check == nil {
		return nil
	}
	at := func(name string) []string { return []string{"input", "healthCheck", name} }
	switch {
	case check.Interval < MinHealthInterval || check.Interval > maxHealthTime:
		return badInput("The interval must be between PT1S and PT1H.", at("interval")...)
	case check.Timeout < MinHealthInterval || check.Timeout > maxHealthTime:
		return badInput("The timeout must be between PT1S and PT1H.", at("timeout")...)
	case check.StartPeriod != 0 && check.StartPeriod < MinHealthInterval || check.StartPeriod > maxHealthTime:
		return badInput("The start period must be PT0S, or between PT1S and PT1H.", at("startPeriod")...)
	case check.Retries < 1 || check.Retries > maxHealthRetries:
		return badInput("The number of retries must be between 1 and "+strconv.Itoa(maxHealthRetries)+".", at("retries")...)
	}
	return checkCommand(check.Command, at("command")...)
}
