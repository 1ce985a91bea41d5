// Package docker is the engine.Engine of Docker, and of Podman as far as that speaks Docker's API. It owns every word spoken with the Docker API: requests, answers, streams, and
// what the engine's errors mean. It never decides what should run, keeps nothing about containers between calls, and lets no
// type of the Docker client out.
package docker

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/aicli/aicli-web/internal/engine"
)

// Deadlines of calls. An engine that is busy with many containers answers late; these are far beyond that and only end calls that
// would never end. The streams of events and stats have none once they are open.
const (
	lookLimit    = 20 * time.Second // lists and inspections, milliseconds each
	networkLimit = 60 * time.Second // a network is made in 80 ms, and engines make one after another
	volumeLimit  = 30 * time.Second // a directory is made or removed
	createLimit  = 2 * time.Minute  // a container's root may have to be prepared on a slow disk
	startLimit   = 2 * time.Minute  // as long as creating: mounts, network and first process
	stopMargin   = 30 * time.Second // beyond the grace: the kill, and taking mounts and network down
	removeLimit  = 2 * time.Minute  // a kill and the deletion of all that the container wrote
	updateLimit  = 30 * time.Second // a few writes to cgroup files
	openLimit    = 20 * time.Second // until a stream's headers are there
	pullIdle     = 2 * time.Minute  // between two messages: checking a large layer is silent work
)

// Options says where the engine is.
type Options struct {
	Host string // such as unix:///var/run/docker.sock; empty: what the environment says, in the Docker client's own variables
}

// Engine is a Docker engine, or another one that speaks its API.
type Engine struct {
	api     *client.Client
	product atomic.Pointer[product]        // that answered last
	seccomp atomic.Pointer[engine.Seccomp] // of containers that name no profile, when Info was last asked
}

var _ engine.Engine = (*Engine)(nil)

// New prepares to talk to the engine and does not connect: an engine that is away is the error of the first call. The version of
// the API is negotiated with the engine.
func New(options Options) (*Engine, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if options.Host != "" {
		opts = append(opts, client.WithHost(options.Host))
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, &engine.Error{Kind: engine.KindInvalid, Op: "configure the engine", Subject: options.Host, Err: err}
	}
	return &Engine{api: api}, nil
}

// Close lets go of the connections.
func (e *Engine) Close() error { return translate("close the engine", "", e.api.Close()) }

// Info says what the engine is.
func (e *Engine) Info(ctx context.Context) (engine.Info, error) {
	var info engine.Info
	err := e.call(ctx, lookLimit, "ask the engine", "", func(ctx context.Context) error {
		said, err := e.api.Info(ctx)
		if err != nil {
			return err
		}
		made, err := e.madeBy(ctx, said.ServerVersion)
		if err != nil {
			return err
		}
		profile := defaultSeccomp(said.SecurityOptions)
		e.seccomp.Store(&profile)
		info = engine.Info{
			Name: made.name, ID: said.ID, Lacks: made.lacks, Version: said.ServerVersion, APIVersion: e.api.ClientVersion(),
			CPUs: said.NCPU, MemoryBytes: said.MemTotal,
			OperatingSystem: said.OperatingSystem, KernelVersion: said.KernelVersion,
			CgroupVersion:   orElse(said.CgroupVersion, "1"), // engines that don't say know no other
			SecurityOptions: securityNames(said.SecurityOptions),
			StorageDriver:   said.Driver, Warnings: said.Warnings,
		}
		return nil
	})
	return info, err
}

// securityNames takes the names out of options such as "name=seccomp,profile=default".
func securityNames(options []string) []string {
	var names []string
	for _, option := range options {
		for field := range strings.SplitSeq(option, ",") {
			if name, ok := strings.CutPrefix(field, "name="); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// call runs one call that should end. Its error is translated here and nowhere else.
func (e *Engine) call(ctx context.Context, limit time.Duration, op, subject string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := e.negotiate(ctx)
	if err == nil {
		err = f(ctx)
	}
	return translate(op, subject, err)
}

// negotiate settles the version of the API, once. The client would do so by itself, but would go on with a version of its own when
// the engine does not answer, and some of its methods read the version before it is settled.
func (e *Engine) negotiate(ctx context.Context) error { return e.api.NewVersionError(ctx, "", "") }

// idPattern is what ids and names look like. They become part of a request's path, where others could name another resource.
var idPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func checkID(id string) error {
	if !idPattern.MatchString(id) {
		return &refusal{fmt.Errorf("%q is neither an id nor a name", id)}
	}
	return nil
}

// callOn is call for what has an id or a name.
func (e *Engine) callOn(ctx context.Context, limit time.Duration, op, id string, f func(context.Context) error) error {
	if err := checkID(id); err != nil {
		return translate(op, id, err)
	}
	return e.call(ctx, limit, op, id, f)
}

// labelled is the filter for what carries all of the labels.
func labelled(labels engine.Labels) filters.Args {
	args := filters.NewArgs()
	for name, value := range labels {
		args.Add("label", name+"="+value)
	}
	return args
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
