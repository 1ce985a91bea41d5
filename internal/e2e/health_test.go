package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// healthNow is what a watcher of a workspace's health sees.
type healthNow struct {
	Status, StatusReason string
	RestartCount         int
	Container            *struct {
		State     string
		StartedAt time.Time
		Health    *struct {
			Status        string
			FailingStreak int
			LastOutput    *string
			CheckedAt     *time.Time
		}
	}
}

// watchHealth gives a function that reads the workspace's stream until something holds.
func (c *client) watchHealth(id string) (until func(what string, holds func(healthNow) bool) healthNow) {
	c.Helper()
	stream := c.subscribe(`subscription($id: ID!) { workspaceStatus(id: $id) { status statusReason restartCount
		container { state startedAt health { status failingStreak lastOutput checkedAt } } } }`, map[string]any{"id": id})
	return func(what string, holds func(healthNow) bool) healthNow {
		c.Helper()
		for {
			var data struct{ WorkspaceStatus healthNow }
			if !stream.read(&data) {
				c.Fatalf("the stream ended before it was %s", what)
			}
			if holds(data.WorkspaceStatus) {
				return data.WorkspaceStatus
			}
		}
	}
}

func is(status string) func(healthNow) bool {
	return func(w healthNow) bool {
		return w.Container != nil && w.Container.Health != nil && w.Container.Health.Status == status
	}
}

func TestHealth(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, h *home) {
		ann := h.start().as("ann")
		t.Run("it is told when its status changes, and recovered from where the policy says so", func(t *testing.T) {
			id := ann.must("create", map[string]any{
				"name": "sick", "projectPath": "sick", "command": []string{"sh", "-c", "rm -f bad; exec sleep 600"},
				"healthCheck":    map[string]any{"command": []string{"sh", "-c", "test ! -e bad || { echo it is bad; exit 1; }"}, "interval": "PT1S", "retries": 2},
				"recoveryPolicy": map[string]any{"backoff": "PT0.1S"},
			}).Workspace.ID
			until := ann.watchHealth(id)
			w := until("healthy", is("HEALTHY"))
			if w.Status != "ACTIVE" || w.StatusReason != "" || w.Container.Health.FailingStreak != 0 || w.Container.Health.CheckedAt == nil || *w.Container.Health.LastOutput != "" {
				t.Errorf("got %+v, %+v", w, w.Container.Health)
			}
			if err := os.WriteFile(filepath.Join(h.data, "projects", "ann", "sick", "bad"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w = until("unhealthy", is("UNHEALTHY"))
			if w.Status != "ACTIVE" || !strings.Contains(w.StatusReason, "its last 2 health checks failed") || w.Container.Health.FailingStreak != 2 || *w.Container.Health.LastOutput != "it is bad\n" {
				t.Errorf("got %+v, %+v", w, w.Container.Health)
			}
			first := w.Container.StartedAt
			ann.must("update", map[string]any{"id": id, "recoveryPolicy": map[string]any{"restartWhenUnhealthy": true}})
			until("being recovered", func(w healthNow) bool { return strings.Contains(w.StatusReason, "Try 1 of 5") })
			w = until("healthy again", is("HEALTHY"))
			if !w.Container.StartedAt.After(first) || w.RestartCount != 1 || w.Status != "ACTIVE" || w.StatusReason != "" {
				t.Errorf("got %+v", w)
			}
			ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
			h.nothingLeft(id)
		})
		t.Run("what never becomes healthy is given up and stopped, and its output may be anything", func(t *testing.T) {
			id := ann.must("create", map[string]any{
				"name": "hopeless", "healthCheck": map[string]any{"command": []string{"sh", "-c", "head -c 9000 /dev/urandom; exit 1"}, "interval": "PT1S", "retries": 1},
				"recoveryPolicy": map[string]any{"backoff": "PT0.1S", "maxRetries": 1, "restartWhenUnhealthy": true},
			}).Workspace.ID
			until := ann.watchHealth(id)
			output := *until("unhealthy", is("UNHEALTHY")).Container.Health.LastOutput
			if output == "" || len(output) > 4096 || !utf8.ValidString(output) {
				t.Errorf("its output is %q", output)
			}
			w := until("given up", func(w healthNow) bool { return w.Status == "FAILED" })
			if !strings.Contains(w.StatusReason, "unhealthy") || !strings.Contains(w.StatusReason, "gave up after one try: the container is kept for a look") {
				t.Errorf("got %+v", w)
			}
			waitUntil(t, func() bool { return ann.workspace(id).Container.State == "EXITED" })
			ann.must("delete", map[string]any{"id": id, "wait": "PT30S"})
		})
		t.Run("what the image says is kept within bounds, replaced, or switched off", func(t *testing.T) {
			busy := h.says("busy", []string{"--health-cmd", "true", "--health-interval", "1ms", "--health-retries", "7"})
			for want, check := range map[string]any{
				`{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":7}`: nil,
				`{"Test":["NONE"]}`: map[string]any{"command": []string{}},
				`{"Test":["CMD","true"],"Interval":60000000000,"Timeout":2000000000,"StartPeriod":3000000000,"Retries":4}`: map[string]any{
					"command": []string{"true"}, "interval": "PT1M", "timeout": "PT2S", "startPeriod": "PT3S", "retries": 4,
				},
			} {
				made := ann.must("create", map[string]any{"name": "busy", "image": busy, "healthCheck": check, "wait": "PT30S"}).Workspace
				var wanted, got map[string]any
				if err := json.Unmarshal([]byte(want), &wanted); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(h.behind("inspect", "-f", "{{json .Config.Healthcheck}}", made.Container.ID)), &got); err != nil {
					t.Fatal(err)
				}
				for field, value := range wanted {
					if !reflect.DeepEqual(got[field], value) {
						t.Errorf("%v: %s is %v, want %v", check, field, got[field], value)
					}
				}
				var data struct {
					Workspace struct {
						HealthCheck *struct {
							Command                        []string
							Interval, Timeout, StartPeriod string
							Retries                        int
						}
					}
				}
				ann.get(&data, `query($id: ID!) { workspace(id: $id) { healthCheck { command interval timeout startPeriod retries } } }`, map[string]any{"id": made.ID})
				if told := data.Workspace.HealthCheck; (told == nil) != (check == nil) || told != nil && len(told.Command) == 1 && (told.Interval != "PT1M" || told.StartPeriod != "PT3S" || told.Retries != 4) {
					t.Errorf("%v: it is told as %+v", check, told)
				}
				ann.must("delete", map[string]any{"id": made.ID, "wait": "PT30S"})
			}
		})
		t.Run("a check that is refused names its field", func(t *testing.T) {
			p := ann.mutate("create", map[string]any{"name": "refused", "healthCheck": map[string]any{"command": []string{"true"}, "interval": "PT0.1S"}})
			if len(p.UserErrors) != 1 || strings.Join(p.UserErrors[0].Field, ".") != "input.healthCheck.interval" {
				t.Errorf("got %+v", p)
			}
		})
	})
}
