package docker

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	dockerclient "github.com/docker/docker/client"
	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	baseImage = "aicli-base:busybox"
	testLimit = 2 * time.Minute // ends a run that hangs
)

// rig is one test's engine, which is emptied of what the test made.
type rig struct {
	*testing.T
	*Engine
	ctx    context.Context //nolint:containedctx // the test's own, for every call of it
	name   string
	labels engine.Labels
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("engine-docker-%d-%d", os.Getpid(), time.Now().UnixNano())
	r := &rig{T: t, Engine: e, ctx: ctx, name: name, labels: engine.Labels{
		engine.LabelManaged: "true", engine.LabelInstallation: "engine-docker-test", engine.LabelWorkspace: name,
	}}
	t.Cleanup(func() {
		defer cancel()
		r.clean()
		r.must(e.Close())
	})
	if _, err := e.Image(ctx, baseImage); err != nil {
		t.Fatalf("these tests need a Docker engine that has %s; run them with `make test`: %v", baseImage, err)
	}
	return r
}

func (r *rig) clean() {
	containers, _ := r.Containers(r.ctx, r.labels)
	for _, c := range containers {
		r.must(r.RemoveContainer(r.ctx, c.ID))
	}
	networks, _ := r.Networks(r.ctx, r.labels)
	for _, n := range networks {
		r.must(r.RemoveNetwork(r.ctx, n.ID))
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%v (%s)", err, engine.KindOf(err))
	}
}

func (r *rig) fails(err error, want engine.Kind) {
	r.Helper()
	if _, ok := err.(*engine.Error); !ok || !engine.Is(err, want) { //nolint:errorlint // bare is what the contract promises
		r.Fatalf("%T %v (%s), want an *engine.Error of kind %q", err, err, engine.KindOf(err), want)
	}
}

func (r *rig) spec() engine.ContainerSpec {
	return engine.ContainerSpec{
		Name: r.name, Image: baseImage, Entrypoint: []string{"sleep", "600"}, Labels: r.labels, Init: true,
		Limits: engine.Limits{NanoCPUs: 500_000_000, MemoryBytes: 64 << 20, Pids: 64},
	}
}

func (r *rig) started(spec engine.ContainerSpec) string {
	r.Helper()
	id, err := r.CreateContainer(r.ctx, spec)
	r.must(err)
	r.must(r.StartContainer(r.ctx, id))
	return id
}

func (r *rig) in(id string, want engine.State) engine.Container {
	r.Helper()
	c, err := r.Container(r.ctx, id)
	r.must(err)
	if c.State != want {
		r.Fatalf("container is %s, want %s", c.State, want)
	}
	return c
}

// pause pauses a container, which the seam has no call for.
func (r *rig) pause(id string) {
	r.Helper()
	api, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	r.must(err)
	defer func() { r.must(api.Close()) }()
	r.must(api.ContainerPause(r.ctx, id))
}
