package enginetest

import (
	"context"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aicli/aicli-web/internal/engine"
)

// minMemory is the least memory that a container may be given, in bytes: Docker's bound.
const minMemory = 6 << 20

// minNanoCPUs is the least share of a core that a container may be given: Docker's bound.
const minNanoCPUs = 1e7

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

type container struct {
	id, imageID string
	network     string // the id that its name stood for when it was last looked up: at the creation and at each start
	networkName string
	spec        engine.ContainerSpec
	enforced    engine.Enforced

	state             engine.State
	runs              int // how often it was started: tells one run from the next
	started, finished time.Time
	exitCode          int
	oomKilled         bool
	err               string
	address           string // while it runs
	usage             *engine.Stats
	output            []string
	health            engine.HealthStatus // while it runs and is checked
	checked           engine.Checked
}

func (c *container) alive() bool { return c.state == engine.Running || c.state == engine.Paused }

// CreateContainer implements engine.Engine.
func (f *Fake) CreateContainer(ctx context.Context, spec engine.ContainerSpec) (string, error) {
	var id string
	err := f.do(ctx, "CreateContainer", spec.Name, func() error {
		if err := checkSpec(spec); err != nil {
			return err
		}
		image, ok := f.images[tagged(spec.Image)]
		n := f.network(spec.Network)
		switch {
		case !ok:
			return refuse(engine.KindNotFound, "no such image: %s", spec.Image)
		case f.find(spec.Name) != nil:
			return refuse(engine.KindConflict, "the container name %s is already in use", spec.Name)
		}
		id = f.newID()
		if spec.HealthCheck == nil {
			spec.HealthCheck = image.HealthCheck
		}
		c := &container{id: id, imageID: image.ID, spec: cloneSpec(spec), enforced: enforced(spec), state: engine.Created}
		if c.networkName = spec.Network; n != nil {
			c.network = n.ID
		}
		f.containers[id] = c
		f.publishContainer("create", c)
		return nil
	})
	return result(id, err)
}

// UpdateContainer implements engine.Engine.
func (f *Fake) UpdateContainer(ctx context.Context, id string, limits engine.Limits) error {
	return f.doOn(ctx, "UpdateContainer", id, func(c *container) error {
		if err := checkLimits(limits); err != nil {
			return err
		}
		c.enforced.Limits, c.enforced.SwapBytes, c.enforced.RestartPolicy = limits, 0, engine.NoRestart
		f.publishContainer("update", c)
		return nil
	})
}

// Container implements engine.Engine.
func (f *Fake) Container(ctx context.Context, id string) (engine.Container, error) {
	var out engine.Container
	err := f.doOn(ctx, "Container", id, func(c *container) error {
		out = f.inspect(c)
		return nil
	})
	return result(out, err)
}

// Containers implements engine.Engine.
func (f *Fake) Containers(ctx context.Context, labels engine.Labels) ([]engine.Summary, error) {
	var found []engine.Summary
	err := f.do(ctx, "Containers", "", func() error {
		for _, c := range f.containers {
			if carries(c.spec.Labels, labels) {
				found = append(found, c.summary())
			}
		}
		slices.SortFunc(found, func(a, b engine.Summary) int { return strings.Compare(a.ID, b.ID) })
		return nil
	})
	return result(found, err)
}

// Spec returns what a container was asked to be, by id or name. It is not a call of the engine.
func (f *Fake) Spec(id string) (engine.ContainerSpec, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.find(id)
	if c == nil {
		return engine.ContainerSpec{}, false
	}
	return cloneSpec(c.spec), true
}

// doOn is do for a call on a container that must exist.
func (f *Fake) doOn(ctx context.Context, op, id string, effect func(*container) error) error {
	return f.do(ctx, op, id, func() error {
		c, err := f.mustFind(id)
		if err != nil {
			return err
		}
		return effect(c)
	})
}

// find looks a container up by id or name. f.mu is held.
func (f *Fake) find(id string) *container {
	if c, ok := f.containers[id]; ok {
		return c
	}
	for _, c := range f.containers {
		if c.spec.Name == id {
			return c
		}
	}
	return nil
}

func (f *Fake) mustFind(id string) (*container, error) {
	if c := f.find(id); c != nil {
		return c, nil
	}
	return nil, refuse(engine.KindNotFound, "no such container")
}

func (c *container) summary() engine.Summary {
	out := engine.Summary{ID: c.id, Name: c.spec.Name, State: c.state, Labels: maps.Clone(c.spec.Labels), Health: c.health}
	if c.networkName != "" { // also where it is gone: it is known by what it was
		out.Networks = []engine.Attachment{{NetworkID: c.network, NetworkName: c.networkName, Address: c.address}}
	}
	return out
}

func (f *Fake) inspect(c *container) engine.Container {
	out := engine.Container{
		Summary: c.summary(), Image: c.spec.Image, ImageID: c.imageID,
		StartedAt: c.started, FinishedAt: c.finished, ExitCode: c.exitCode, OOMKilled: c.oomKilled, Error: c.err, Pid: c.pid(),
		Checked: c.checked, Enforced: c.enforced,
	}
	out.Enforced.Capabilities, out.Enforced.Mounts = slices.Clone(c.enforced.Capabilities), slices.Clone(c.enforced.Mounts)
	out.Enforced.Besides = slices.Clone(c.enforced.Besides)
	return out
}

func enforced(spec engine.ContainerSpec) engine.Enforced {
	return engine.Enforced{
		Limits:          spec.Limits,
		Capabilities:    capabilities(spec.Capabilities),
		NoNewPrivileges: spec.NoNewPrivileges,
		ReadOnlyRoot:    spec.ReadOnlyRoot,
		Seccomp:         engine.SeccompDefault,
		User:            spec.User,
		Init:            spec.Init,
		RestartPolicy:   engine.NoRestart,
		Mounts:          slices.Clone(spec.Mounts),
	}
}

func capabilities(kept []string) []string {
	var out []string
	for _, name := range kept {
		out = append(out, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	slices.Sort(out)
	return out
}

func checkSpec(spec engine.ContainerSpec) error {
	if !validName.MatchString(spec.Name) {
		return refuse(engine.KindInvalid, "invalid container name %q", spec.Name)
	}
	for _, m := range spec.Mounts {
		switch {
		case !path.IsAbs(m.Source) || !path.IsAbs(m.Target):
			return refuse(engine.KindInvalid, "invalid mount %s on %s: both must be absolute paths", m.Source, m.Target)
		case isMissing(m.Source):
			return refuse(engine.KindInvalid, "bind source path does not exist: %s", m.Source)
		}
	}
	return checkLimits(spec.Limits)
}

func checkLimits(l engine.Limits) error {
	switch {
	case l.NanoCPUs != 0 && l.NanoCPUs < minNanoCPUs, l.NanoCPUs > fakeCPUs*1e9:
		return refuse(engine.KindInvalid, "range of CPUs is from 0.01 to %d", fakeCPUs)
	case l.MemoryBytes != 0 && l.MemoryBytes < minMemory:
		return refuse(engine.KindInvalid, "minimum memory limit allowed is 6MB")
	case l.Pids < 0:
		return refuse(engine.KindInvalid, "invalid limit of processes %d", l.Pids)
	}
	return nil
}

func cloneSpec(spec engine.ContainerSpec) engine.ContainerSpec {
	spec.Entrypoint = slices.Clone(spec.Entrypoint)
	spec.Env = slices.Clone(spec.Env)
	spec.Labels = maps.Clone(spec.Labels)
	spec.Mounts = slices.Clone(spec.Mounts)
	spec.Capabilities = slices.Clone(spec.Capabilities)
	if check := spec.HealthCheck; check != nil {
		check = new(*check)
		check.Test = slices.Clone(check.Test)
		spec.HealthCheck = check
	}
	return spec
}

// pid is a process that is on no machine: one number for each run.
func (c *container) pid() int {
	if !c.alive() {
		return 0
	}
	return math.MaxInt32 - c.runs
}
