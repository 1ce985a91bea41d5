package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/aicli/aicli-web/internal/engine"
)

func said(status error, words string) error {
	return fmt.Errorf("Error response from daemon: %s: %w", words, status) // the client's own capital
}

// unreached is what the client says of a host where no engine listens.
func unreached(t *testing.T, host string) error {
	t.Helper()
	api, err := client.NewClientWithOpts(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	_, err = api.Info(t.Context())
	if !client.IsErrConnectionFailed(err) {
		t.Fatalf("%s is reached: %v", host, err)
	}
	return err
}

func TestClassify(t *testing.T) {
	streamed := func(words string) error { return &pullError{words} }
	internal, missing, denied := errdefs.ErrInternal, errdefs.ErrNotFound, errdefs.ErrPermissionDenied
	const oci = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
	for _, c := range []struct {
		name, op string
		err      error
		want     engine.Kind
	}{
		{"the engine is away", "x", unreached(t, "unix:///nowhere"), engine.KindUnavailable},
		{"the engine is away while it is asked for a pull", opPull, unreached(t, "tcp://127.0.0.1:1"), engine.KindUnavailable},
		{"the engine's connection is reset", opPull, &net.OpError{Op: "read", Err: syscall.ECONNRESET}, engine.KindUnavailable},
		{"the engine goes away in the middle", "x", io.ErrUnexpectedEOF, engine.KindUnavailable},
		{"another engine answers", "x", said(errdefs.ErrInvalidArgument,
			"client version 1.41 is too old. Minimum supported API version is 1.44"), engine.KindUnavailable},
		{"the caller gave up", "x", fmt.Errorf("get: %w", context.Canceled), engine.KindCanceled},
		{"a deadline passed", "x", fmt.Errorf("get: %w", context.DeadlineExceeded), engine.KindTimeout},

		{"a subnet overlaps", "x", said(errdefs.ErrPermissionDenied,
			"Pool overlaps with other one on this address space"), engine.KindAddressInUse},
		{"a subnet overlaps, as newer engines say", "x", said(errdefs.ErrInvalidArgument,
			"invalid pool request: Pool overlaps with other one on this address space"), engine.KindAddressInUse},
		{"a subnet overlaps, as Podman says", "x", said(internal, "subnet 10.215.125.0/28 is already used on the host or by another config"), engine.KindAddressInUse},
		{"a network's name is taken, as Podman says", "x", said(internal, "network name n already used: network already exists"), engine.KindConflict},
		{"a name is taken, as Podman says", "x", said(internal, `creating container storage: the container name "a" is already in use by 1. `+
			`You have to remove that container to be able to reuse that name: that name is already in use`), engine.KindConflict},
		{"containers are on the network", "x", said(errdefs.ErrPermissionDenied,
			"error while removing network: network n id 1 has active endpoints"), engine.KindConflict},
		{"a killed engine has left something of an earlier run", opStart, said(internal,
			"task 19ba77fe0a9828d6c5db8d7efd7d5b50d49ae390daf0b29a4a218dc404977886: already exists"), engine.KindBroken},
		{"what is left of a container that was being started when the engine was killed", opStart,
			said(errdefs.ErrConflict, "Error response from daemon: id already in use"), engine.KindBroken},
		{"something else exists already", opStart, said(internal, "failed to create endpoint e on network n: already exists"), engine.KindInternal},
		{"a network's name is taken", "x", said(errdefs.ErrConflict, "network with name n already exists"), engine.KindConflict},
		{"a name is taken", "x", said(errdefs.ErrConflict, `The container name "/a" is already in use by container "1"`), engine.KindConflict},
		{"an image is missing", "x", said(missing, "No such image: a:b"), engine.KindNotFound},
		{"a mount's source is missing", "x", said(errdefs.ErrInvalidArgument,
			`invalid mount config for type "bind": bind source path does not exist: /a`), engine.KindInvalid},
		{"a command is missing", "x", said(internal,
			`OCI runtime create failed: runc create failed: unable to start container process: exec: "a": executable file not found in $PATH`),
			engine.KindInvalid},
		{"the disk is full", "x", said(internal, "mkdir /var/lib/docker/overlay2/1: no space left on device"), engine.KindStorage},
		{"a container does not run", "x", said(errdefs.ErrConflict, "container 1 is not running"), engine.KindNotRunning},
		{"the engine fails", "x", said(internal, "something broke"), engine.KindInternal},

		{"a plugin of the engine forbids it", "create container", said(denied, "authorization denied by plugin opa: no"), engine.KindInvalid},
		{"the way to the engine wants a login", "create container", said(errdefs.ErrUnauthenticated, "authorization required"), engine.KindInvalid},
		{"an earlier run has left its place on the network", opStart, said(denied, "endpoint with name a already exists in network n"), engine.KindConflict},
		{"the network is being taken down", opStart, said(denied, "another sandbox delete in progress"), engine.KindConflict},
		{"a group is missing", opStart, said(internal, "unable to find group nosuch: no matching entries in group file"), engine.KindInvalid},
		{"the image has a file where the command begins", "x", said(internal, "Cannot mkdir: /workspace is not a directory"), engine.KindInvalid},
		{"the image has a file where it wants a volume", "x", said(internal,
			"cannot mount volume over existing file, file exists /var/lib/docker/overlay2/adf72e/merged/bin/busybox"), engine.KindInvalid},
		{"an image is there for other machines", "x", said(missing, "no match for platform in manifest: not found"), engine.KindInvalid},
		{"the memory in use is more than the new limit", "update container", said(internal, "Cannot update container c335: runc did not terminate successfully: "+
			"exit status 1: unable to set memory limit to 10485760 (current usage: 53022720, peak usage: 54419456)\n: unknown"), engine.KindInvalid},
		{"the memory in use is more than the new limit, as older runtimes say", "update container", said(internal, "Cannot update container c335: runc did not terminate "+
			"successfully: failed to write \"10485760\" to \"/sys/fs/cgroup/memory/docker/c335/memory.limit_in_bytes\": write "+
			"/sys/fs/cgroup/memory/docker/c335/memory.limit_in_bytes: device or resource busy"), engine.KindInvalid},
		{"limits of a container that is about to go", "update container", said(internal, `Cannot update container 1: container is marked for removal and cannot be "update"`), engine.KindConflict},
		{"a network for a container that is about to go", "connect network", said(internal,
			"Container 1 is marked for removal and cannot be connected or disconnected to the network"), engine.KindConflict},
		{"a container is removed already", "remove container", said(errdefs.ErrConflict, "removal of container 1 is already in progress"), engine.KindConflict},
		{"something holds the files of a container", "remove container", said(internal, `container 1: driver "overlay2" failed to remove root filesystem: `+
			"unlinkat /var/lib/docker/overlay2/1/merged: device or resource busy"), engine.KindConflict},
		{"a process cannot be killed", "remove container", said(internal, "Could not kill running container 1, cannot remove - tried to kill container, but did not receive an exit event"), engine.KindInternal},
		{"no memory for the init", opStart, said(internal, oci+"container init was OOM-killed (memory limit too low?): unknown"), engine.KindInvalid},
		{"the machine has no memory", opStart, said(internal, oci+"unable to start init: fork/exec /proc/self/exe: cannot allocate memory: unknown"), engine.KindInternal},
		{"the machine has no processes", opStart, said(internal, oci+"unable to start init: fork/exec /proc/self/exe: resource temporarily unavailable: unknown"), engine.KindInternal},
		{"the machine has no files", opStart, said(internal, oci+"error during container init: open /proc/self/fd: too many open files: unknown"), engine.KindInternal},
		{"the init dies while it is prepared", opStart, said(internal, oci+"can't get final child's PID from pipe: EOF: unknown"), engine.KindInternal},
		{"the kernel has no keys", opStart, said(internal, oci+"error during container init: unable to join session keyring: unable to create session key: disk quota exceeded: unknown"), engine.KindInternal},
		{"the kernel has no control groups", opStart, said(internal, oci+"unable to apply cgroup configuration: mkdir /sys/fs/cgroup/memory/docker/1: no space left on device: unknown"), engine.KindInternal},
		{"the runtime dies before it has said why", opStart, said(internal, "failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error "+
			"(open /run/containerd/io.containerd.runtime.v2.task/moby/1/log.json: no such file or directory): fork/exec runc: resource temporarily unavailable: unknown"), engine.KindInternal},
		{"the runtime is killed", opStart, said(internal, "failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error "+
			"(open /run/containerd/io.containerd.runtime.v2.task/moby/1/log.json: no such file or directory): runc did not terminate successfully: signal: killed: unknown"), engine.KindInternal},
		{"a control group is gone", opStart, said(internal, oci+"unable to apply cgroup configuration: open /sys/fs/cgroup/x/cgroup.procs: no such file or directory: unknown"), engine.KindInternal},
		{"a control group is gone, as older runtimes say", opStart, said(internal, "OCI runtime create failed: container_linux.go:380: starting container process caused: "+
			"process_linux.go:385: applying cgroup configuration for process caused: no such file or directory: unknown"), engine.KindInternal},
		{"the init dies before it is ready", opStart, said(internal, oci+"waiting for init preliminary setup: read init-p: connection reset by peer: unknown"), engine.KindInternal},
		{"the command is missing", opStart, said(internal, oci+`exec: "nosuch": stat nosuch: no such file or directory: unknown`), engine.KindInvalid},
		{"an earlier run holds the place on the network", opStart, said(denied, "another container is attached to the same network endpoint"), engine.KindConflict},
		{"an image names a user that sounds like another engine", opStart, said(internal, "unable to find user maximum supported api version: no matching entries in passwd file"), engine.KindInvalid},
		{"an image names a user that sounds like a full disk", opStart, said(internal, "unable to find user no space left on device: no matching entries in passwd file"), engine.KindInvalid},
		{"a registry that sounds like another engine", opPull, streamed("denied: client version 1.41 is too old. Minimum supported API version is 1.44"), engine.KindNotFound},
		{"containerd is slow", opStart, said(internal, "failed to create shim task: context deadline exceeded: unknown"), engine.KindTimeout},
		{"containerd is away", opStart, said(internal, `connection error: desc = "transport: Error while dialing dial unix /run/containerd/containerd.sock: connect: connection refused": unavailable`), engine.KindInternal},
		{"the firewall cannot be set", "create network", said(internal, "Failed to Setup IP tables: Unable to enable SKIP DNAT rule:  (iptables failed: iptables --wait -t nat "+
			"-I DOCKER -i br-1 -j RETURN: iptables: No chain/target/match by that name.\n (exit status 1))"), engine.KindInternal},
		{"a network is full", "connect network", said(internal, "no available IPv4 addresses on this network's address pools: n (450c)"), engine.KindInternal},
		{"layers cannot be put together", opStart, said(internal, "error creating overlay mount to /var/lib/docker/overlay2/1/merged: no such file or directory"), engine.KindStorage},
		{"the engine's disk is read-only", "x", said(internal, "mkdir /var/lib/docker/overlay2/1: read-only file system"), engine.KindStorage},
		{"a container's files are lost", opStart, said(internal, "RWLayer of container 1 is unexpectedly nil"), engine.KindInvalid},
		{"containers are on the network, as Podman says", "x", said(internal,
			`"n" has associated containers with it. Use -f to forcefully delete containers and pods: network is being used`), engine.KindConflict},
		{"a container is in another state, as Podman says", opStart, said(internal,
			"container 1 must be in Created or Stopped state to be started: container state improper"), engine.KindConflict},
		{"a container has gone meanwhile, as Podman says", "x", said(internal, "container 1: container has already been removed"), engine.KindNotFound},
		{"a command may not be executed, as Podman says", opStart, said(internal, "crun: open executable: Permission denied: OCI permission denied"), engine.KindInvalid},
		{"its init is missing, as Podman says", "x", said(internal,
			"container-init binary not found on the host: stat /usr/libexec/podman/catatonit: no such file or directory"), engine.KindInvalid},

		{"a manifest is unknown", opPull, said(missing, "manifest for a:b not found: manifest unknown: manifest unknown"), engine.KindNotFound},
		{"an image is made for other machines", opPull, said(missing, "no matching manifest for linux/amd64 in the manifest list entries"), engine.KindInvalid},
		{"an image is made for another system", opPull, said(internal, "image operating system \"windows\" cannot be used on this platform"), engine.KindInvalid},
		{"it is no image of a container", opPull, said(internal, "mediaType in manifest should be 'application/vnd.docker.distribution.manifest.v2+json' not ''"), engine.KindInvalid},
		{"an artefact is no image", opPull, said(internal, "unsupported media type application/vnd.cncf.helm.config.v1+json"), engine.KindInvalid},
		{"a repository may not be seen", opPull, said(missing, "pull access denied for a, repository does not exist or may require "+
			"'docker login': denied: requested access to the resource is denied"), engine.KindNotFound},
		{"credentials are wrong", opPull, said(internal, "Head \"https://r/v2/\": unauthorized: incorrect username or password"), engine.KindDenied},
		{"credentials are missing", opPull, said(internal, "Get \"https://r/v2/\": no basic auth credentials"), engine.KindDenied},
		{"a registry's name is unknown", opPull, said(internal, "Get \"https://r/v2/\": dial tcp: lookup r: no such host"), engine.KindNetwork},
		{"a registry refuses", opPull, said(internal, "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"),
			engine.KindNetwork},
		{"a registry's certificate is not trusted", opPull, said(internal,
			"Get \"https://r/v2/\": x509: certificate signed by unknown authority"), engine.KindNetwork},
		{"a registry is slow", opPull, said(internal, "Get \"https://r/v2/\": net/http: TLS handshake timeout"), engine.KindNetwork},
		{"a registry is slow, as the engine says", opPull, said(internal, "Get \"https://r/v2/\": context deadline exceeded"), engine.KindNetwork},
		{"a layer's connection breaks", opPull, streamed("read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer"), engine.KindNetwork},
		{"the disk fills while layers come", opPull, streamed("write /var/lib/docker/tmp/1: no space left on device"), engine.KindStorage},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := translate(c.op, "subject", c.err)
			if got := engine.KindOf(err); got != c.want {
				t.Errorf("kind %q, want %q", got, c.want)
			}
			if !errors.Is(err, c.err) {
				t.Error("the engine's own error is lost")
			}
			if again := translate("outer", "", err); again != err { //nolint:errorlint // the same one
				t.Errorf("translated twice: %v", again)
			}
		})
	}
}
