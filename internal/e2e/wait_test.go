package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhatWaitsHoldsNobodyUp has one owner's tasks wait, for containers that do not heed their stop and for a registry that does not answer, in more than there are
// workers, and another owner, who needs neither, work beside them.
func TestWhatWaitsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	registry := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			<-release
		}
	}))
	defer registry.Close()
	defer close(release)
	const many, workers = 6, 4
	h := newHome(t, fmt.Sprint("AICLI_WORKERS=", workers))
	s := h.start()
	ann, bob := s.as("ann"), s.as("bob")
	his := bob.must("create", map[string]any{"name": "his", "wait": "PT30S"}).Workspace.ID

	var ids []string
	for i := range many {
		ids = append(ids, ann.must("create", map[string]any{"name": fmt.Sprint("deaf-", i), "command": []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}}).Workspace.ID)
	}
	ann.allActive(ids)
	var waiting []string // tasks
	for _, id := range ids {
		waiting = append(waiting, ann.must("stop", map[string]any{"id": id, "grace": "PT5M"}).Task.ID)
	}
	for i := range many {
		p := ann.must("create", map[string]any{"name": fmt.Sprint("pulled-", i), "image": fmt.Sprintf("%s/team/tool:%d", strings.TrimPrefix(registry.URL, "http://"), i)})
		ids, waiting = append(ids, p.Workspace.ID), append(waiting, p.Task.ID)
	}
	allWait := func() {
		t.Helper()
		for i, id := range waiting {
			step := "stop container"
			if i >= many {
				step = "pull image"
			}
			waitUntil(t, func() bool {
				var data struct{ Task taskNow }
				ann.get(&data, `query($id: ID!) { task(id: $id) { id type status step } }`, map[string]any{"id": id})
				if data.Task.Status != "RUNNING" && data.Task.Status != "QUEUED" {
					t.Fatalf("it waits no more: %+v", data.Task)
				}
				return data.Task.Status == "RUNNING" && data.Task.Step == step
			})
		}
	}
	allWait()

	// Nothing of this needs what they wait for.
	if p := bob.must("create", map[string]any{"name": "beside", "wait": "PT30S"}); p.Workspace.Status != "ACTIVE" {
		t.Errorf("a creation: %+v", p)
	} else if p := bob.must("delete", map[string]any{"id": p.Workspace.ID, "wait": "PT30S"}); p.Task.Status != "SUCCEEDED" {
		t.Errorf("a deletion: %+v", p.Task)
	}
	if p := bob.must("restart", map[string]any{"id": his, "grace": "PT0S", "wait": "PT30S"}); p.Task.Status != "SUCCEEDED" {
		t.Errorf("a restart: %+v", p.Task)
	}
	status := bob.status(his)
	h.behind("kill", h.running(his).ID)
	status.until("RECOVERING")
	status.until("ACTIVE")
	allWait()

	// What waits for its image is stopped and deleted at once.
	if p := ann.must("stop", map[string]any{"id": ids[many], "wait": "PT30S"}); p.Task == nil || p.Task.Status != "SUCCEEDED" || p.Workspace.Status != "INACTIVE" {
		t.Errorf("a stop: %+v", p)
	}
	if p := ann.must("delete", map[string]any{"id": ids[many+1], "wait": "PT30S"}); p.Task.Status != "SUCCEEDED" {
		t.Errorf("a deletion: %+v", p.Task)
	}
	// So is what waits for its container.
	if p := ann.must("delete", map[string]any{"id": ids[0], "wait": "PT30S"}); p.Task.Status != "SUCCEEDED" {
		t.Errorf("a deletion: %+v", p.Task)
	}
	ann.deleteAll(append(ids[1:many+1], ids[many+2:]...))
	bob.deleteAll([]string{his})
}
