package lifecycle

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

// TestRefusals has what engines really say: Docker 20.10 and 28, and Podman 4.3.
func TestRefusals(t *testing.T) {
	const oci = "Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
	for said, want := range map[string]struct{ message, field string }{
		"Error response from daemon: unable to find user nosuch: no matching entries in passwd file":                                                                                   {"The image names a user or a group nosuch that it does not have.", "input.image"},
		"unable to find group staff: no matching entries in group file":                                                                                                                {"a user or a group staff", "input.image"},
		oci + `exec: "/etc/passwd": permission denied: unknown`:                                                                                                                        {"The command /etc/passwd may not be executed.", "input.command"},
		oci + `exec: "tool": executable file not found in $PATH: unknown`:                                                                                                              {"does not have the command tool.", "input.command"},
		oci + `exec: "/no/such": stat /no/such: no such file or directory: unknown`:                                                                                                    {"does not have the command /no/such.", "input.command"},
		"crun: executable file `tool` not found in $PATH: No such file or directory: OCI runtime attempted to invoke":                                                                  {"does not have the command tool.", "input.command"},
		oci + "exec /bin/sh: exec format error: unknown":                                                                                                                               {"another kind of processor", "input.image"},
		"Error response from daemon: Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available":                                                                           {"from 0.01 to 2.00", "input.resources.cpus"},
		"Error response from daemon: Minimum memory limit allowed is 6MB":                                                                                                              {"at least 6MB", "input.resources.memoryBytes"},
		`Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /srv/data/projects/ann/x`:                                                  {"The project directory is missing", "input.projectPath"},
		"container create: statfs /srv/data/projects/ann/x: no such file or directory":                                                                                                 {"The project directory is missing", "input.projectPath"},
		"Error response from daemon: Cannot mkdir: /workspace is not a directory":                                                                                                      {"has a file at /workspace", "input.image"},
		`Error response from daemon: invalid CapAdd: unknown capability: "CAP_NOPE"`:                                                                                                   {`refuses this workspace: invalid CapAdd: unknown capability: "CAP_NOPE".`, ""},
		oci + `error mounting "/srv/data/projects/ann/x" to rootfs at "/workspace": mount /srv/data/projects/ann/x:/workspace (via /proc/self/fd/6): operation not permitted: unknown`: {`error mounting "…" to rootfs at "…"`, ""},
		"something about 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nand /var/lib/docker/overlay2":                                                               {"refuses this workspace: something about … and ….", ""},
		strings.Repeat("x ", 400): {"…", ""},
	} {
		message, field := refusal(&engine.Error{Kind: engine.KindInvalid, Op: "start container", Err: errors.New(said)})
		if !strings.Contains(message, want.message) || strings.Join(field, ".") != want.field {
			t.Errorf("%s\ngot %q, %v", said, message, field)
		}
		for _, secret := range []string{"/srv", "/var", "/proc", "0123456789ab", "daemon:", "\n"} {
			if strings.Contains(message, secret) {
				t.Errorf("%q has %q in it", message, secret)
			}
		}
		if !strings.HasSuffix(message, ".") || len([]rune(message)) > refusedMost+100 {
			t.Errorf("%q is no sentence, or a long one", message)
		}
	}
	failure, class := Classify(&engine.Error{Kind: engine.KindInvalid, Op: "start container", Err: errors.New("unable to find user nosuch: no matching entries in passwd file")})
	if class != task.Permanent || strings.Join(failure.Field, ".") != "input.image" || !strings.Contains(failure.Message, "nosuch") {
		t.Errorf("got %+v, class %d", failure, class)
	}
}

// TestEngineFailures has failures of other kinds that somebody can put right. The words are those of Docker 20.10 and 28, runc 1.1 and Podman 4.3.
func TestEngineFailures(t *testing.T) {
	const oci = "Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		kind           engine.Kind
		said           string
		message, field string
	}{
		{engine.KindConflict, `Conflict. The container name "/aicli-1" is already in use by container "` + id + `". You have to remove (or rename) that container to be able to reuse that name.`, "Another container of the engine has the name aicli-1,", ""},
		{engine.KindConflict, `creating container storage: the container name "aicli-1" is already in use by ` + id + `. You have to remove that container`, "has the name aicli-1,", ""},
		{engine.KindConflict, "Error response from daemon: network with name aicli-1 already exists", "Another network of the engine has the name aicli-1,", ""},
		{engine.KindConflict, "network name aicli-1 already used: network already exists", "has the name aicli-1,", ""},
		{engine.KindConflict, "network aicli-1 is ambiguous (2 matches found on name)", "Two networks", ""},
		{engine.KindConflict, "error while removing network: network aicli-1 id " + id + " has active endpoints", "disconnect what is on it", ""},
		{engine.KindConflict, `"aicli-1" has associated containers with it. Use -f to forcefully delete containers and pods: network is being used`, "disconnect what is on it", ""},
		{engine.KindConflict, "endpoint with name aicli-1 already exists in network aicli-1", "disconnect it by force", ""},
		{engine.KindConflict, "cannot start a paused container, try unpause instead", "has paused the container", ""},
		{engine.KindConflict, "container is marked for removal and cannot be started", "removing the container", ""},
		{engine.KindConflict, "removal of container " + id + " is already in progress", "removing the container", ""},
		{engine.KindConflict, "container " + id + `: driver "overlay2" failed to remove root filesystem: unlinkat /var/lib/docker/overlay2/1/merged: device or resource busy`, "cannot remove the container's files", ""},
		{engine.KindConflict, "unable to remove filesystem: unlinkat /var/lib/docker/containers/1/mounts/shm: device or resource busy", "cannot remove the container's files", ""},
		{engine.KindNotFound, "No such image: alpine:3", "removed from the engine", ""},
		{engine.KindNotFound, "network aicli-1 not found", "Another one is made", ""},
		{engine.KindNotFound, "failed to set up container networking: network " + id + " not found", "Another one is made", ""},
		{engine.KindStorage, "error creating overlay mount to /var/lib/docker/overlay2/1/merged: no such file or directory", "have the container removed", ""},
		{engine.KindStorage, "mkdir /var/lib/docker/overlay2/1: read-only file system", "fails or is read-only", ""},
		{engine.KindStorage, "mkdir /var/lib/docker/overlay2/1: no space left on device", "no space left", ""},
		{engine.KindInternal, "Error response from daemon: stat /var/lib/docker/overlay2/" + id + ": no such file or directory", "have the container removed", ""},
		{engine.KindInternal, "no available IPv4 addresses on this network's address pools: aicli-1 (" + id + ")", "All addresses of the workspace's network are taken", ""},
		{engine.KindInternal, "IPAM error: failed to find free IP in range: 10.1.0.2 - 10.1.0.14", "All addresses of the workspace's network are taken", ""},
		{engine.KindInternal, "Failed to Setup IP tables: Unable to enable SKIP DNAT rule:  (iptables failed: iptables --wait -t nat -I DOCKER -i br-1 -j RETURN: iptables: No chain/target/match by that name.\n (exit status 1))", "the machine's firewall", ""},
		{engine.KindInternal, "Unable to enable NAT rule:  (iptables failed: iptables --wait -t nat -I POSTROUTING: iptables: Resource temporarily unavailable.\n (exit status 4))", "the machine's firewall", ""},
		{engine.KindInternal, "driver failed programming external connectivity on endpoint aicli-1 (" + id + "): x", "the machine's firewall", ""},
		{engine.KindInternal, "failed to create endpoint aicli-1 on network aicli-1: failed to add the host (veth1) <=> sandbox (veth2) pair interfaces: operation not supported", "since its kernel was updated", ""},
		{engine.KindInternal, "Could not kill running container " + id + ", cannot remove - tried to kill container, but did not receive an exit event", "do not end", ""},
		{engine.KindInternal, "cannot stop container: aicli-1: Cannot kill container " + id + ": container 1 PID 7 is zombie and can not be killed. Use the --init option", "do not end", ""},
		{engine.KindInternal, oci + "unable to start init: fork/exec /proc/self/exe: cannot allocate memory: unknown", "no memory left", ""},
		{engine.KindInternal, oci + "unable to start init: fork/exec /proc/self/exe: resource temporarily unavailable: unknown", "bound on processes", "input.resources.pids"},
		{engine.KindInternal, oci + "error during container init: open /proc/self/fd: too many open files: unknown", "bound on open files", ""},
		{engine.KindInternal, oci + "can't get final child's PID from pipe: EOF: unknown", "for want of memory", ""},
		{engine.KindInternal, oci + "error during container init: unable to join session keyring: unable to create session key: disk quota exceeded: unknown", "bound on keys", ""},
		{engine.KindInternal, oci + "unable to apply cgroup configuration: mkdir /sys/fs/cgroup/memory/docker/1: no space left on device: unknown", "control groups", ""},
		{engine.KindInternal, "failed to create shim task: cgroups: cgroup mountpoint does not exist: unknown", "control groups", ""},
		{engine.KindInternal, "AppArmor enabled on system but the docker-default profile could not be loaded: running apparmor_parser failed", "AppArmor", ""},
		{engine.KindInternal, "failed to create task for container: failed to initialize logging driver: open /var/lib/docker/containers/1/1-json.log: permission denied", "the container's log", ""},
		{engine.KindInternal, `connection error: desc = "transport: Error while dialing dial unix /run/containerd/containerd.sock: connect: connection refused": unavailable`, "containerd", ""},
		{engine.KindInternal, "ttrpc: closed: unknown", "containerd", ""},
		{engine.KindInternal, "something broke in /var/lib/docker", "does not know", ""},
		{engine.KindInvalid, "RWLayer of container " + id + " is unexpectedly nil", "have the container removed", ""},
		{engine.KindInvalid, "Cannot update container " + id + ": runc did not terminate successfully: exit status 1: unable to set memory limit to 10485760 (current usage: 53022720, peak usage: 54419456)\n: unknown", "uses 53022720 bytes of memory, which is more than the 10485760", "input.resources.memoryBytes"},
		{engine.KindInvalid, `failed to write "10485760": write /sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes: device or resource busy`, "more memory than it is to have", "input.resources.memoryBytes"},
		{engine.KindInvalid, oci + "container init was OOM-killed (memory limit too low?): unknown", "too little memory", "input.resources.memoryBytes"},
		{engine.KindInvalid, "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted", "control groups", ""},
		{engine.KindInvalid, oci + `error during container init: error mounting "/nosuch-init" to rootfs at "/sbin/docker-init": stat /nosuch-init: no such file or directory: unknown`, "its own program docker-init", ""},
		{engine.KindInvalid, `exec: "docker-init": executable file not found in $PATH`, "its own program docker-init", ""},
		{engine.KindInvalid, `OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/1/log.json: no such file or directory): exec: "runc": executable file not found in $PATH: unknown`, "its own program runc", ""},
		{engine.KindInvalid, "container-init binary not found on the host: stat /usr/libexec/podman/catatonit: no such file or directory", "its own program container-init", ""},
		{engine.KindInvalid, "crun: open executable: Permission denied: OCI permission denied", "may not be executed", "input.command"},
		{engine.KindInvalid, oci + `error during container init: error mounting "/srv/x" to rootfs at "/workspace": mount /srv/x:/workspace (via /proc/self/fd/6), flags: 0x5000: not a directory: unknown: Are you trying to mount a directory onto a file`, "a file where the other has a directory", "input.projectPath"},
		{engine.KindInvalid, oci + "error during container init: unable to apply apparmor profile: apparmor failed to apply profile: write /proc/self/attr/apparmor/exec: no such file or directory: unknown", "AppArmor", ""},
		{engine.KindInvalid, oci + "error during container init: unable to init seccomp: error loading seccomp filter into kernel: invalid argument: unknown", "seccomp", ""},
		{engine.KindInvalid, "cannot mount volume over existing file, file exists /var/lib/docker/overlay2/1/merged/bin/busybox", "wants a volume", "input.image"},
		{engine.KindInvalid, "no match for platform in manifest: not found", "another kind of machine", "input.image"},
		{engine.KindInvalid, "invalid reference format", "image's name", "input.image"},
		{engine.KindInvalid, "No command specified", "no command of its own", "input.command"},
		{engine.KindInvalid, "Interval in Healthcheck cannot be less than 1ms", "the Interval of the health check", "input.healthCheck"},
		{engine.KindInvalid, `invalid environment variable: "=x"`, "one of the variables", "input.environment"},
		{engine.KindInvalid, "authorization denied by plugin opa: no", "A plugin of the engine", ""},
	} {
		failure, _ := Classify(&engine.Error{Kind: c.kind, Op: "start container", Err: errors.New(c.said)})
		if !strings.Contains(failure.Message, c.message) || strings.Join(failure.Field, ".") != c.field {
			t.Errorf("%s\ngot %q, %v", c.said, failure.Message, failure.Field)
		}
		for _, secret := range []string{"/srv", "/var", "/run", "/proc", "/sys", "0123456789ab", "daemon", "\n"} {
			if strings.Contains(failure.Message, secret) {
				t.Errorf("%q has %q in it", failure.Message, secret)
			}
		}
		if !strings.HasSuffix(failure.Message, ".") {
			t.Errorf("%q is no sentence", failure.Message)
		}
	}
}

// TestARegistrysWordsAreNotExplained has the kinds whose words stay in the log.
func TestARegistrysWordsAreNotExplained(t *testing.T) {
	for _, kind := range []engine.Kind{engine.KindDenied, engine.KindNetwork, engine.KindUnavailable} {
		failure, _ := Classify(&engine.Error{Kind: kind, Op: "pull image", Err: errors.New("error while dialing: no available IPv4 addresses")})
		if failure.Message != verdicts[kind].message || failure.Field != nil {
			t.Errorf("%s: got %+v", kind, failure)
		}
	}
}

// TestADeletionSaysWhatHoldsItsNetwork has a container of somebody else on the network of a workspace that is deleted.
func TestADeletionSaysWhatHoldsItsNetwork(t *testing.T) {
	s := newStage(t)
	s.made()
	strange := engine.ContainerSpec{Name: "somebody-elses", Image: enginetest.BaseImage, Network: s.desk.w.Observed.Network.Name}
	id, err := s.fake.CreateContainer(t.Context(), strange)
	if err == nil {
		err = s.fake.StartContainer(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.desk.w.DesiredState = workspace.WantDeleted
	failure, class := Classify(s.run(task.Task{Type: task.Delete}))
	if !strings.Contains(failure.Message, "somebody-elses") || class != task.Transient {
		t.Errorf("got %+v", failure)
	}
	if err := s.fake.RemoveContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := s.run(task.Task{Type: task.Delete}); err != nil {
		t.Errorf("when it has gone: %v", err)
	}
}

func TestItsOwnContainerIsNoHolder(t *testing.T) {
	busy := func() error {
		return &engine.Error{Kind: engine.KindConflict, Err: errors.New("busy"), Holders: []string{"own", "somebody-elses"}}
	}
	if failure, _ := Classify(foreign(busy(), "own")); strings.Contains(failure.Message, "own,") || !strings.Contains(failure.Message, "somebody-elses") {
		t.Errorf("got %q", failure.Message)
	}
	if failure, _ := Classify(foreign(foreign(busy(), "own"), "somebody-elses")); failure.Message != verdicts[engine.KindConflict].message {
		t.Errorf("got %q", failure.Message)
	}
}

func TestManyHoldersAreNotAllNamed(t *testing.T) {
	names := make([]string, 100)
	for i := range names {
		names[i] = strings.Repeat("n", 200)
	}
	if said := held(names); !strings.Contains(said, "97 more") || len(said) > 2*refusedMost {
		t.Errorf("got %q", said)
	}
}

// TestAnEngineThatIsNotOursIsWaitedFor, and is not said to be out of reach.
func TestAnEngineThatIsNotOursIsWaitedFor(t *testing.T) {
	failure, class := Classify(&engine.Error{Kind: engine.KindUnavailable, Op: "stop container", Err: fmt.Errorf("read the mark: %w", engine.ErrNotOurs)})
	if class != task.Wait || failure.Code != string(workspace.EngineUnreachable) || !strings.Contains(failure.Message, "aicli-web adopt") {
		t.Errorf("got %+v, %v", failure, class)
	}
}
