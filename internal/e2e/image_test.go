package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// says makes an image of a container with some options that says something, until the end of the test.
func (h *home) says(name string, options []string, changes ...string) string {
	h.Helper()
	ref := fmt.Sprintf("aicli-e2e-%s:%d", name, os.Getpid())
	made := h.behind(append(append([]string{"create"}, options...), image, "true")...)
	args := []string{"commit"}
	for _, change := range changes {
		args = append(args, "-c", change)
	}
	h.behind(append(args, made, ref)...)
	h.behind("rm", made)
	h.discard(ref)
	return ref
}

// discard removes an image at the end of the test.
func (h *home) discard(ref string) {
	h.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(h.Context()), "docker", "rmi", "-f", ref).CombinedOutput(); err != nil {
			h.Errorf("%v: %s", err, out)
		}
	})
}

// TestWhatAnImageSays has the command absent, empty and given, on images that say all that an image may.
func TestWhatAnImageSays(t *testing.T) {
	h := newHome(t)
	ann := h.start().as("ann")
	full := h.says("full", []string{"--stop-signal", "SIGUSR1", "--health-cmd", "true", "--health-interval", "1h"}, `ENTRYPOINT ["sh","-c","sleep 3600"]`, `CMD ["x"]`, "USER 65534", "WORKDIR /tmp", "ENV SAID=image", "ENV BOTH=image",
		"VOLUME /said", "VOLUME /workspace", "LABEL io.aicli.workspace=ws_forged", "LABEL said=image")
	only := h.says("only", nil, "ENTRYPOINT []", `CMD ["sh","-c","sleep 3599"]`)
	for _, c := range []struct {
		name, image string
		command     any // nil: absent
		runs        []string
	}{
		{"an image of all, and no command", full, nil, []string{"sleep", "infinity"}},
		{"an image of all, and an empty command", full, []string{}, []string{"sh", "-c", "sleep 3600", "x"}},
		{"an image of all, and a command", full, []string{"sleep", "77"}, []string{"sleep", "77"}},
		{"an image with a CMD alone, and no command", only, nil, []string{"sleep", "infinity"}},
		{"an image with a CMD alone, and an empty command", only, []string{}, []string{"sh", "-c", "sleep 3599"}},
		{"an image with a CMD alone, and a command", only, []string{"sleep", "78"}, []string{"sleep", "78"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := map[string]any{"name": c.name, "image": c.image, "wait": "PT30S", "environment": []any{map[string]any{"name": "BOTH", "value": "owner"}}}
			if c.command != nil {
				input["command"] = c.command
			}
			made := ann.must("create", input)
			if made.Workspace.Status != "ACTIVE" {
				t.Fatalf("got %+v", made.Workspace)
			}
			id := made.Workspace.Container.ID
			inspect := func(format string) string { return h.behind("inspect", "-f", format, id) }
			said := append([]string{inspect("{{.Path}}")}, strings.Split(strings.TrimSpace(inspect(`{{range .Args}}{{.}}\n{{end}}`)), `\n`)...)
			if got := slices.DeleteFunc(said, func(word string) bool { return word == "" }); !slices.Equal(got, c.runs) {
				t.Errorf("it runs %q, want %q", got, c.runs)
			}
			if got := inspect("{{.Config.WorkingDir}} {{index .Config.Labels \"io.aicli.workspace\"}}"); got != "/workspace "+made.Workspace.ID {
				t.Errorf("working directory and label are %s", got)
			}
			if c.image == full {
				if got := inspect("{{.Config.User}} {{.Config.StopSignal}} {{.State.Health.Status}} {{index .Config.Labels \"said\"}}"); got != "65534 SIGUSR1 starting image" {
					t.Errorf("of the image it has %s", got)
				}
				if got := inspect("{{.Config.Env}}"); !strings.Contains(got, "SAID=image") || !strings.Contains(got, "BOTH=owner") || strings.Contains(got, "BOTH=image") {
					t.Errorf("its environment is %s", got)
				}
				if got := inspect(`{{range .Mounts}}{{.Type}} {{.Destination}},{{end}}`); !strings.Contains(got, "bind /workspace,") || !strings.Contains(got, "volume /said,") || strings.Count(got, "/workspace") != 1 {
					t.Errorf("it has mounted %s", got)
				}
			}
			volumes := inspect(`{{range .Mounts}}{{.Name}} {{end}}`)
			ann.must("delete", map[string]any{"id": made.Workspace.ID, "wait": "PT30S"})
			h.nothingLeft(made.Workspace.ID)
			for volume := range strings.FieldsSeq(volumes) {
				if left := h.behind("volume", "ls", "-q", "-f", "name="+volume); left != "" {
					t.Errorf("the volume %s is left", left)
				}
			}
		})
	}
	t.Run("a command that cannot be run fails at once, with its field, and is not tried again", func(t *testing.T) {
		for reason, command := range map[string][]string{"No such file or directory": {"/no/such"}, "Permission denied": {"/etc/passwd"}} {
			p := ann.mutate("create", map[string]any{"name": reason, "command": command, "wait": "PT30S"})
			if p.Workspace != nil || len(p.UserErrors) != 1 || p.UserErrors[0].Code != "BAD_USER_INPUT" || strings.Join(p.UserErrors[0].Field, ".") != "input.command" || !strings.Contains(p.UserErrors[0].Message, reason) {
				t.Errorf("waited for: %+v", p)
			}
			id := ann.must("create", map[string]any{"name": reason, "command": command}).Workspace.ID
			waitUntil(t, func() bool { return ann.workspace(id).Status == "FAILED" })
			if now := ann.health(id); !strings.Contains(now.StatusReason, reason) || now.RestartCount != 0 || fmt.Sprint(now.tasks()) != "[CREATE]" {
				t.Errorf("not waited for: %+v", now)
			}
			ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		}
	})
	t.Run("an image whose user does not exist is said so", func(t *testing.T) {
		stranger := h.says("stranger", nil, "USER nosuch")
		p := ann.mutate("create", map[string]any{"name": "stranger", "image": stranger, "wait": "PT30S"})
		if len(p.UserErrors) != 1 || !strings.Contains(p.UserErrors[0].Message, "a user or a group nosuch") || strings.Join(p.UserErrors[0].Field, ".") != "input.image" {
			t.Errorf("got %+v", p)
		}
	})
	t.Run("an image without sleep says that it needs a command", func(t *testing.T) {
		bare := fmt.Sprintf("aicli-e2e-bare:%d", os.Getpid())
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		archive := filepath.Join(t.TempDir(), "bare.tar")
		if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-cf", archive, "empty").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		h.behind("import", archive, bare)
		h.discard(bare)
		p := ann.mutate("create", map[string]any{"name": "bare", "image": bare, "wait": "PT30S"})
		if len(p.UserErrors) != 1 || !strings.Contains(p.UserErrors[0].Message, "The image has no sleep") || strings.Join(p.UserErrors[0].Field, ".") != "input.command" {
			t.Errorf("got %+v", p)
		}
	})
}
