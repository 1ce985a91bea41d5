package lifecycle

import (
	"errors"
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
