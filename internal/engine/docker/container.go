package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	dockernetwork "github.com/docker/docker/api/types/network"

	"github.com/aicli/aicli-web/internal/engine"
)

// CreateContainer makes a container without starting it. It has the network of its spec or, when that names none, no network.
func (e *Engine) CreateContainer(ctx context.Context, spec engine.ContainerSpec) (string, error) {
	networkMode := orElse(spec.Network, "none")
	var id string
	err := e.callOn(ctx, createLimit, "create container", spec.Name, func(ctx context.Context) error {
		said, err := e.api.ContainerCreate(ctx, toConfig(spec, e.api.ClientVersion()), toHostConfig(spec, networkMode), nil, nil, spec.Name)
		id = said.ID
		return err
	})
	return id, err
}

func toConfig(spec engine.ContainerSpec, apiVersion string) *dockercontainer.Config {
	return &dockercontainer.Config{
		Image: spec.Image, Env: spec.Env, Labels: spec.Labels,
		// With an entrypoint the engine takes no command from the image. An empty list would have it forget the image's own: none must be sent.
		Entrypoint: orNone(spec.Entrypoint),
		Hostname:   spec.Hostname, WorkingDir: spec.WorkingDir, User: spec.User,
		Healthcheck: toHealthConfig(spec.HealthCheck, apiVersion),
	}
}

func orNone(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

// toHostConfig leaves Privileged and the seccomp profile alone: never privileged, and the engine's default profile.
func toHostConfig(spec engine.ContainerSpec, networkMode string) *dockercontainer.HostConfig {
	host := &dockercontainer.HostConfig{
		NetworkMode:    dockercontainer.NetworkMode(networkMode),
		RestartPolicy:  dockercontainer.RestartPolicy{Name: dockercontainer.RestartPolicyDisabled},
		LogConfig:      dockercontainer.LogConfig{Type: "json-file", Config: map[string]string{}},
		CapDrop:        []string{"ALL"},
		CapAdd:         spec.Capabilities,
		ReadonlyRootfs: spec.ReadOnlyRoot,
		Init:           &spec.Init,
		Resources:      toResources(spec.Limits),
	}
	if spec.NoNewPrivileges {
		host.SecurityOpt = []string{noNewPrivileges + ":true"}
	}
	if spec.LogMaxSize != "" {
		host.LogConfig.Config["max-size"] = spec.LogMaxSize
		if spec.LogMaxFiles > 0 { // the engine refuses a number of files without a size
			host.LogConfig.Config["max-file"] = strconv.Itoa(spec.LogMaxFiles)
		}
	}
	for _, m := range spec.Mounts {
		// Mounts, unlike binds, are refused when the source is missing, where binds would make a directory of root's.
		host.Mounts = append(host.Mounts, mount.Mount{
			Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
		})
	}
	return host
}

func toResources(limits engine.Limits) dockercontainer.Resources {
	resources := dockercontainer.Resources{
		NanoCPUs: limits.NanoCPUs, Memory: limits.MemoryBytes, MemorySwap: limits.MemoryBytes,
	}
	if limits.Pids > 0 {
		resources.PidsLimit = &limits.Pids
	}
	return resources
}

// StartContainer starts a container; one that runs goes on.
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	return e.callOn(ctx, startLimit, opStart, id, func(ctx context.Context) error {
		return e.api.ContainerStart(ctx, id, dockercontainer.StartOptions{})
	})
}

// StopContainer asks a container to end and kills it after grace. One that is paused goes on first if the engine wants that.
func (e *Engine) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	seconds := int(max(0, (grace+time.Second-1)/time.Second)) // a negative number would mean never to kill
	limit := time.Duration(seconds)*time.Second + stopMargin
	stop := func(ctx context.Context) error {
		return e.api.ContainerStop(ctx, id, dockercontainer.StopOptions{Timeout: &seconds})
	}
	return e.callOn(ctx, limit, "stop container", id, func(ctx context.Context) error {
		err := stop(ctx)
		if err == nil || !isPaused(err) {
			return err
		}
		if err := e.UnpauseContainer(ctx, id); err != nil {
			return err
		}
		return stop(ctx)
	})
}

// isPaused tells from an engine's words that it does not stop a container because that is paused.
func isPaused(err error) bool {
	return strings.Contains(err.Error(), "is paused") || strings.Contains(err.Error(), "is running or paused, refusing") // Podman
}

// UnpauseContainer lets a paused container go on. Engines call it an internal error when it is not paused, so that their words count.
func (e *Engine) UnpauseContainer(ctx context.Context, id string) error {
	return e.callOn(ctx, updateLimit, "unpause container", id, func(ctx context.Context) error {
		err := e.api.ContainerUnpause(ctx, id)
		if err != nil && (strings.Contains(err.Error(), "is not paused") || strings.Contains(err.Error(), "is not running")) {
			return nil
		}
		return err
	})
}

// RemoveContainer removes a container. While the engine is about to remove it already, that is a conflict.
func (e *Engine) RemoveContainer(ctx context.Context, id string) error {
	err := e.callOn(ctx, removeLimit, "remove container", id, func(ctx context.Context) error {
		return e.api.ContainerRemove(ctx, id, dockercontainer.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	return unless(err, engine.KindNotFound)
}

// UpdateContainer changes the limits of a container, and has it not started by the engine. Docker cannot lift a bound on processors or memory: where there was one and
// shall be none, it becomes all that the host has.
func (e *Engine) UpdateContainer(ctx context.Context, id string, limits engine.Limits) error {
	now, err := e.Container(ctx, id)
	if err != nil {
		return err
	}
	had := now.Enforced.Limits
	if limits.NanoCPUs == 0 && had.NanoCPUs != 0 || limits.MemoryBytes == 0 && had.MemoryBytes != 0 {
		info, err := e.Info(ctx)
		if err != nil {
			return err
		}
		if limits.NanoCPUs == 0 && had.NanoCPUs != 0 {
			limits.NanoCPUs = int64(info.CPUs) * nanoCPUs
		}
		if limits.MemoryBytes == 0 && had.MemoryBytes != 0 {
			limits.MemoryBytes = info.MemoryBytes
		}
	}
	resources := toResources(limits)
	if resources.PidsLimit == nil {
		resources.PidsLimit = new(int64(-1)) // nil would leave it as it is
	}
	return e.callOn(ctx, updateLimit, "update container", id, func(ctx context.Context) error {
		_, err := e.api.ContainerUpdate(ctx, id, dockercontainer.UpdateConfig{
			Resources: resources, RestartPolicy: dockercontainer.RestartPolicy{Name: dockercontainer.RestartPolicyDisabled},
		})
		if errdefs.IsNotFound(err) && !strings.Contains(strings.ToLower(err.Error()), "no such container") {
			return &unsupported{fmt.Errorf("the engine has no call for it: %w", err)} // Podman
		}
		return err
	})
}

// nanoCPUs is one core.
const nanoCPUs = 1_000_000_000

// Containers lists the containers, in every state, that carry all of the labels.
func (e *Engine) Containers(ctx context.Context, labels engine.Labels) ([]engine.Summary, error) {
	var found []engine.Summary
	err := e.call(ctx, lookLimit, "list containers", "", func(ctx context.Context) error {
		said, err := e.api.ContainerList(ctx, dockercontainer.ListOptions{All: true, Filters: labelled(labels)})
		if err != nil {
			return err
		}
		found = make([]engine.Summary, 0, len(said))
		for _, c := range said {
			one := engine.Summary{ID: c.ID, Name: nameOf(c.Names), State: toState(c.State), Labels: c.Labels, Health: listedHealth(c.Status)}
			if c.NetworkSettings != nil {
				one.Networks = toAttachments(c.NetworkSettings.Networks)
			}
			found = append(found, one)
		}
		return nil
	})
	return found, err
}

// nameOf picks a container's own name, /name, among those that links give it, /other/name.
func nameOf(names []string) string {
	for _, name := range names {
		if own := strings.TrimPrefix(name, "/"); !strings.Contains(own, "/") {
			return own
		}
	}
	return ""
}

func toState(state string) engine.State { return engine.State(strings.ToUpper(state)) }

// Container inspects one container.
func (e *Engine) Container(ctx context.Context, id string) (engine.Container, error) {
	var found engine.Container
	if e.seccomp.Load() == nil { // nobody has asked for Info yet
		if _, err := e.Info(ctx); err != nil {
			return found, err
		}
	}
	err := e.callOn(ctx, lookLimit, "look up container", id, func(ctx context.Context) error {
		said, err := e.api.ContainerInspect(ctx, id)
		if err != nil {
			return err
		}
		found, err = toContainer(said, *e.seccomp.Load())
		return err
	})
	return found, err
}

func toContainer(c dockercontainer.InspectResponse, seccomp engine.Seccomp) (engine.Container, error) {
	if c.ContainerJSONBase == nil || c.State == nil || c.Config == nil || c.HostConfig == nil {
		return engine.Container{}, errors.New("the engine left out parts of the answer")
	}
	out := engine.Container{
		Summary: engine.Summary{
			ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), State: toState(c.State.Status), Labels: c.Config.Labels,
		},
		Image: c.Config.Image, ImageID: c.Image,
		StartedAt: toTime(c.State.StartedAt), FinishedAt: toTime(c.State.FinishedAt),
		ExitCode: c.State.ExitCode, OOMKilled: c.State.OOMKilled, Error: c.State.Error, Pid: c.State.Pid,
		Enforced: toEnforced(c.Config, c.HostConfig, seccomp),
	}
	out.Enforced.Mounts = toMounts(c.Mounts)
	out.Health, out.Checked = toHealth(c)
	if c.NetworkSettings != nil {
		out.Networks = toAttachments(c.NetworkSettings.Networks)
	}
	if out.State == engine.Exited && out.FinishedAt.Before(out.StartedAt) {
		out.FinishedAt = out.StartedAt // Podman notes the start of what ends at once after its end
	}
	return out, nil
}

func toAttachments(endpoints map[string]*dockernetwork.EndpointSettings) (on []engine.Attachment) {
	for name, n := range endpoints {
		if n == nil {
			continue
		}
		a := engine.Attachment{NetworkID: n.NetworkID, NetworkName: name, Address: n.IPAddress}
		if a.NetworkID == name { // Podman knows the name alone
			a.NetworkID = ""
		}
		on = append(on, a)
	}
	return on
}

// toTime reads a time of the engine, which writes year 1 for never.
func toTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
