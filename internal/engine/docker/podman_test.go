package docker

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
)

// podmanExceptions are the subtests behind podmanLacks, and some on what comes to the same end in another way: images have full names,
// networks are known by name and have no events of their own, health checks are systemd's, there is a bound on processes where none is asked for, and its init gives another exit code.
var podmanExceptions = []string{
	"limits change on a container that was made and on one that runs",
	"more processors than the host has are invalid",
	"less memory than any process needs is invalid",
	"a mount whose source is missing is invalid",
	"a network stays while a running container is attached to it",
	"why a command could not be run is kept with its container",
	"a command that cannot be run below an init is invalid or ends with code 127",
	"a stopped container does not start on a network that was made again before it is connected",
	"a network that a container was put on again stays",
	"names, networks and limits are read back to the letter",
	"a stream names the networks that are made and removed",
	"a container whose checks pass is healthy",
	"a container whose checks fail is unhealthy and says why",
	"the output of a check is bounded",
	"a check ends with the run of its container and begins anew with the next",
	"a container that was paused is not unhealthy before its checks have failed",
}

// podmanConfig keeps all that Podman has in one directory, apart from any other's, asks for no limits that a machine may refuse, and needs
// no systemd.
const podmanConfig = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
static_dir = "%[1]s/libpod"
tmp_dir = "%[1]s/tmp"
volume_path = "%[1]s/volumes"
[network]
network_config_dir = "%[1]s/networks"
`

// TestPodman holds a Podman of the test's own to the contract, but for what the doctor says that it lacks.
func TestPodman(t *testing.T) {
	host := startPodman(t)
	enginetest.Exercise(t, func(t *testing.T) engine.Engine {
		e, err := New(Options{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}, contract("engine-podman-", 214, podmanExceptions))
	e, err := New(Options{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	info, err := e.Info(t.Context())
	if err != nil || info.Name != "Podman" || len(info.Lacks) == 0 {
		t.Errorf("got %+v, %v", info, err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	network := engine.NetworkSpec{Name: "n", Subnet: "10.214.255.0/28"}
	first, err := e.CreateNetwork(t.Context(), network)
	must(err)
	id, err := e.CreateContainer(t.Context(), engine.ContainerSpec{Name: "c", Image: baseImage, Entrypoint: []string{"sleep", "600"}, Network: "n", Init: true})
	must(err)
	if err := e.UpdateContainer(t.Context(), id, engine.Limits{Pids: 10}); slices.Contains(info.Lacks, noLimits) && !engine.Is(err, engine.KindUnsupported) {
		t.Errorf("a change of limits: %v (%s)", err, engine.KindOf(err))
	}
	must(e.StartContainer(t.Context(), id))
	must(e.RemoveNetwork(t.Context(), first)) // which its name would not do
	_, err = e.CreateNetwork(t.Context(), network)
	must(err)
	must(e.ConnectNetwork(t.Context(), "n", id))
	if answer := say(t, e, id, "nc", "-w", "2", "10.214.255.1", "1"); !strings.Contains(answer, "refused") { // by the network's gateway
		t.Errorf("a container whose network was made again while it ran hears %q", answer)
	}
	must(e.RemoveContainer(t.Context(), id))
	must(e.RemoveNetwork(t.Context(), "n"))
}

// say runs a command in a container, and gives what it writes.
func say(t *testing.T, e *Engine, id string, command ...string) string {
	t.Helper()
	made, err := e.api.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := e.api.ContainerExecAttach(t.Context(), made.ID, container.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	said, err := io.ReadAll(stream.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

// startPodman starts one that has the base image, and says where it answers.
func startPodman(t *testing.T) (host string) {
	t.Helper()
	if _, err := exec.LookPath("podman"); err != nil {
		t.Fatalf("this test needs Podman, which `make test` installs: %v", err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, podmanConfig, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	podman := []string{"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run")}
	run := func(command ...string) *exec.Cmd {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+config)
		return cmd
	}
	must := func(args ...string) {
		t.Helper()
		if out, err := run(append(podman, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("podman %v: %v\n%s", args, err, out)
		}
	}
	image := filepath.Join(dir, "image.tar")
	saveImage(t, image)
	must("load", "-i", image)
	must("tag", "localhost/"+baseImage, "docker.io/library/"+baseImage)

	host = "unix://" + filepath.Join(dir, "podman.sock")
	// Bridges, firewall rules and leases of addresses are in namespaces that end with it.
	apart := []string{"unshare", "--net", "--mount", "sh", "-c", `mkdir -p /var/lib/cni && mount -t tmpfs leases /var/lib/cni && exec "$@"`, "sh"}
	service := run(slices.Concat(apart, podman, []string{"system", "service", "--time", "0", host})...)
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Signal(os.Interrupt)
		late := time.AfterFunc(testLimit, func() { _ = service.Process.Kill() })
		_ = service.Wait()
		late.Stop()
		must("rmi", "--all", "--force")
	})
	answers(t, host)
	return host
}

// saveImage writes the base image of the engine of the environment to a file.
func saveImage(t *testing.T, to string) {
	t.Helper()
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	saved, err := e.api.ImageSave(t.Context(), []string{baseImage})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = saved.Close() }()
	file, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(file, saved); err == nil {
		err = file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// answers waits for an engine that is being started.
func answers(t *testing.T, host string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	e, err := New(Options{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	const again = 20 * time.Millisecond
	for {
		_, err := e.Info(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			t.Fatalf("it does not answer: %v", err)
		}
	}
}
