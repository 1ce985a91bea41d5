package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

var asJSON = http.Header{"Content-Type": {"application/json"}}

// closeOf reads a connection to its end.
func closeOf(t *testing.T, ws *websocket.Conn) int {
	t.Helper()
	if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		_, _, err := ws.ReadMessage()
		if closed, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // it is never wrapped
			return closed.Code
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhoAsks(t *testing.T) {
	h := newHome(t)
	s := h.start()
	ann, bob, admin := s.as("ann"), s.as("bob"), s.as("root", "--role", "admin")
	id := ann.must("create", map[string]any{"name": "hers", "start": false}).Workspace.ID

	t.Run("nobody without a token, over HTTP and over WebSocket", func(t *testing.T) {
		for _, header := range []http.Header{asJSON, {"Content-Type": asJSON["Content-Type"], "Authorization": {"Bearer " + ann.token + "x"}}} {
			if status, text, err := ann.http(http.MethodPost, "/graphql", header, strings.NewReader(`{"query":"{ viewer { id } }"}`)); status != 401 || !strings.Contains(text, "UNAUTHENTICATED") {
				t.Errorf("%d: %s %v", status, text, err)
			}
		}
		for message, want := range map[string]int{
			`{"type":"connection_init"}`: 4401,
			`{"type":"subscribe","id":"1","payload":{"query":"{ viewer { id } }"}}`:      4401,
			`{"type":"connection_init","payload":{"Authorization":"Bearer nonsense"}}`:   4403,
			`{"type":"connection_init","payload":{"Authorization":["Bearer nonsense"]}}`: 4400,
		} {
			ws := ann.dial()
			if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if code := closeOf(t, ws); code != want {
				t.Errorf("%s: closed with %d, want %d", message, code, want)
			}
			_ = ws.Close()
		}
	})
	t.Run("everybody their own, and an admin all", func(t *testing.T) {
		if bob.workspace(id) != nil || admin.workspace(id) == nil {
			t.Errorf("bob sees %+v, the admin %+v", bob.workspace(id), admin.workspace(id))
		}
		other := bob.subscribe(`subscription($id: ID!) { workspaceStatus(id: $id) { id } }`, map[string]any{"id": id})
		other.end()
		if failed := bob.socket.failed[other.id]; !strings.Contains(failed, "NOT_FOUND") {
			t.Errorf("his stream of hers ended with %q", failed)
		}
		if p := bob.mutate("delete", map[string]any{"id": id}); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "NOT_FOUND" {
			t.Errorf("got %+v", p)
		}
	})
	status := ann.status(id)
	admin.must("delete", map[string]any{"id": id})
	status.end()
	h.nothingLeft(id)
}

func TestBadInputHarmsNobody(t *testing.T) {
	h := newHome(t)
	s := h.start()
	ann, bob := s.as("ann"), s.as("bob")
	made := bob.must("create", map[string]any{"name": "his", "wait": "PT30S"})
	watched := bob.status(made.Workspace.ID)
	watched.until("ACTIVE")

	t.Run("what a user can put right names the field, and nothing is made", func(t *testing.T) {
		outside := filepath.Join(h.data, "projects", "ann", "out")
		if err := os.MkdirAll(filepath.Dir(outside), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc", outside); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			input map[string]any
			field string
		}{
			{map[string]any{"name": " "}, "name"},
			{map[string]any{"name": "n", "projectPath": "../bob"}, "projectPath"},
			{map[string]any{"name": "n", "projectPath": "out/ssh"}, "projectPath"},
			{map[string]any{"name": "n", "resources": map[string]any{"cpus": 4096}}, "cpus"},
			{map[string]any{"name": "n", "resources": map[string]any{"memoryBytes": 1 << 60}}, "memoryBytes"},
			{map[string]any{"name": "n", "image": "--privileged"}, "image"},
		} {
			p := ann.mutate("create", map[string]any{"name": c.input["name"], "projectPath": c.input["projectPath"], "resources": c.input["resources"], "image": c.input["image"]})
			if len(p.UserErrors) != 1 || p.UserErrors[0].Code != "BAD_USER_INPUT" || !strings.Contains(strings.Join(p.UserErrors[0].Field, "."), c.field) || p.Workspace != nil {
				t.Errorf("%v: got %+v", c.input, p)
			}
		}
		var data struct {
			Workspaces, Tasks struct{ TotalCount int }
		}
		if ann.get(&data, `{ workspaces { totalCount } tasks { totalCount } }`, nil); data.Workspaces.TotalCount+data.Tasks.TotalCount != 0 {
			t.Errorf("there are %+v", data)
		}
	})
	t.Run("malformed and huge bodies are refused", func(t *testing.T) {
		signed := http.Header{"Content-Type": asJSON["Content-Type"], "Authorization": {"Bearer " + ann.token}}
		for body, want := range map[string]int{
			"": 400, "{": 400, "[]": 400, "\xff\xfe": 400, `{"query":7}`: 400, `{"query":"{ viewer { id } }"} x`: 400,
			strings.Repeat("[", 1<<20-1): 400, strings.Repeat("x", 2<<20): 413,
		} {
			header := signed.Clone()
			if want == http.StatusRequestEntityTooLarge { // it is answered before it is sent, so that the answer is not lost with the connection
				header.Set("Expect", "100-continue")
			}
			if status, text, err := ann.http(http.MethodPost, "/graphql", header, bytes.NewReader([]byte(body))); status != want || !strings.Contains(text, "BAD_USER_INPUT") {
				t.Errorf("%.20q: %d %.200s %v, want %d", body, status, text, err, want)
			}
		}
	})
	t.Run("unknown words of the protocol end the connection that said them", func(t *testing.T) {
		for message, want := range map[string]int{`{"type":"start"}`: 4400, `{}`: 4400, `nothing`: 4400, `{"type":"ping","payload":[]}`: 4400, strings.Repeat("x", 1<<20): 1009} {
			ws := ann.dial()
			if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if code := closeOf(t, ws); code != want {
				t.Errorf("%.20q: closed with %d, want %d", message, code, want)
			}
			_ = ws.Close()
		}
	})
	t.Run("somebody else's stream goes on through all of that", func(t *testing.T) {
		bob.must("delete", map[string]any{"id": made.Workspace.ID})
		watched.end()
		h.nothingLeft(made.Workspace.ID)
	})
}

// TestACreationThatFailsLeavesNothing asks for an image that its registry does not have: one that knows no image at all.
func TestACreationThatFailsLeavesNothing(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
		}
	}))
	defer registry.Close()
	missing := strings.TrimPrefix(registry.URL, "http://") + "/team/tool:1"
	onEachDatabase(t, func(t *testing.T, h *home) {
		ann := h.start().as("ann")
		t.Run("within the wait: no row, no container, no network, and the answer says why", func(t *testing.T) {
			p := ann.mutate("create", map[string]any{"name": "one", "image": missing, "wait": "PT30S"})
			if len(p.UserErrors) != 1 || p.UserErrors[0].Code != "IMAGE_NOT_FOUND" || strings.Join(p.UserErrors[0].Field, ".") != "input.image" || p.Workspace != nil {
				t.Fatalf("got %+v", p)
			}
			var data struct {
				Workspaces struct{ TotalCount int }
				Tasks      struct{ Nodes []taskNow }
			}
			ann.get(&data, `{ workspaces { totalCount } tasks { nodes { type status error { code } } } }`, nil)
			if data.Workspaces.TotalCount != 0 || len(data.Tasks.Nodes) != 2 || data.Tasks.Nodes[1].Error.Code != "IMAGE_NOT_FOUND" {
				t.Errorf("there are %+v", data)
			}
			if entries, err := os.ReadDir(filepath.Join(h.data, "projects", "ann")); len(entries) > 0 {
				t.Errorf("there are projects %v, %v", entries, err)
			}
		})
		t.Run("without a wait: the workspace stays, says why, and can be deleted", func(t *testing.T) {
			p := ann.must("create", map[string]any{"name": "one", "image": missing})
			status := ann.status(p.Workspace.ID)
			var data struct{ WorkspaceStatus workspaceNow }
			for data.WorkspaceStatus.Status != "FAILED" {
				if !status.read(&data) {
					t.Fatal("the stream ended")
				}
			}
			if !strings.Contains(data.WorkspaceStatus.StatusReason, "no such image") {
				t.Errorf("the reason is %q", data.WorkspaceStatus.StatusReason)
			}
			var again struct{ RetryTask payload }
			ann.get(&again, `mutation($id: ID!) { retryTask(input: { id: $id }) { task { id type status } userErrors { code message field } } }`, map[string]any{"id": p.Task.ID})
			if r := again.RetryTask; r.Task == nil || r.Task.ID == p.Task.ID || r.Task.Type != "CREATE" {
				t.Fatalf("run again, it is %+v", r)
			}
			ended := ann.subscribe(`subscription($id: ID!) { taskProgress(id: $id) { id status } }`, map[string]any{"id": again.RetryTask.Task.ID})
			ended.end()
			ann.must("delete", map[string]any{"id": p.Workspace.ID})
			status.end()
			h.nothingLeft(p.Workspace.ID)
		})
	})
}

// TestARegistryThatDoesNotAnswer holds up creations: what is quick goes past them, and one is cancelled.
func TestARegistryThatDoesNotAnswer(t *testing.T) {
	release := make(chan struct{})
	registry := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			<-release // the engine does not hang up when its client does
		}
	}))
	defer registry.Close()
	defer close(release)
	silent := strings.TrimPrefix(registry.URL, "http://") + "/team/tool:1"
	onEachDatabase(t, func(t *testing.T, h *home) {
		ann := h.start().as("ann")
		quick := ann.must("create", map[string]any{"name": "quick", "wait": "PT30S"})
		p := ann.must("create", map[string]any{"name": "slow", "image": silent})
		ids := []string{p.Workspace.ID}
		for i := range 8 { // more than there are workers
			ids = append(ids, ann.must("create", map[string]any{"name": fmt.Sprint("slow ", i), "image": silent}).Workspace.ID)
		}
		progress := ann.subscribe(`subscription($id: ID!) { taskProgress(id: $id) { id status step } }`, map[string]any{"id": p.Task.ID})
		var data struct{ TaskProgress taskNow }
		for data.TaskProgress.Step != "pull image" {
			if !progress.read(&data) {
				t.Fatalf("it ended before it pulled anything: %+v", data)
			}
		}
		if done := ann.must("delete", map[string]any{"id": quick.Workspace.ID, "wait": "PT30S"}); done.Task.Status != "SUCCEEDED" {
			t.Errorf("a deletion waits behind pulls: %+v", done.Task)
		}
		var cancelled struct{ CancelTask payload }
		ann.get(&cancelled, `mutation($id: ID!) { cancelTask(input: { id: $id }) { task { id status } userErrors { code message field } } }`, map[string]any{"id": p.Task.ID})
		for progress.read(&data) {
		}
		if w := ann.workspace(p.Workspace.ID); data.TaskProgress.Status != "CANCELLED" || len(cancelled.CancelTask.UserErrors) > 0 || w.Status != "INACTIVE" {
			t.Errorf("the task is %+v, the answer %+v, the workspace %+v", data, cancelled, w)
		}
		h.nothingLeft(p.Workspace.ID)
		ann.deleteAll(ids)
	})
}

// TestStopAndStart stops the server while it works and is watched.
func TestStopAndStart(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, h *home) {
		s := h.start()
		ann := s.as("ann")
		id := ann.must("create", map[string]any{"name": "stubborn", "command": []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}, "wait": "PT30S"}).Workspace.ID
		status := ann.status(id)
		status.until("ACTIVE")
		// It takes longer to end than the server may take to stop.
		ann.must("stop", map[string]any{"id": id, "grace": "PT6S"})
		status.until("STOPPING")
		waitUntil(t, func() bool {
			var data struct {
				Server struct{ Queue struct{ Running int } }
			}
			ann.get(&data, `{ server { queue { running } } }`, nil)
			return data.Server.Queue.Running == 1
		})
		s.stop()
		<-ann.socket.closed
		if ann.socket.reason == nil || ann.socket.reason.Code != websocket.CloseServiceRestart {
			t.Errorf("the socket was closed with %v, want 1012: it makes clients come back", ann.socket.reason)
		}
		ann = h.start().as("ann")
		var data struct{ Tasks struct{ Nodes []taskNow } }
		ann.get(&data, `{ tasks(filter: { type: [STOP] }) { nodes { id type status attempt } } }`, nil)
		if n := data.Tasks.Nodes; len(n) != 1 || n[0].Attempt > 1 || n[0].Status == "FAILED" {
			t.Errorf("there are %+v: what was cut goes back, and the try does not count", n)
		}
		again := ann.status(id)
		again.until("INACTIVE")
		ann.must("delete", map[string]any{"id": id})
		again.end()
		h.nothingLeft(id)
	})
}

// waitUntil asks again and again; for what no stream tells of.
func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
	}
}

func TestCommands(t *testing.T) {
	h := newHome(t)
	t.Run("doctor says what is there, and makes nothing", func(t *testing.T) {
		out, code := h.run("doctor")
		for _, part := range []string{"engine", "Docker Engine", "kernel", "The engine has the default image", "is made on the first start", "seccomp"} {
			if !strings.Contains(out, part) {
				t.Errorf("it lacks %q:\n%s", part, out)
			}
		}
		if entries, err := os.ReadDir(h.data); code != 0 || err != nil || len(entries) > 0 {
			t.Errorf("it ended with %d, and left %v (%v)", code, entries, err)
		}
	})
	t.Run("what holds secrets is for the server's own eyes", func(t *testing.T) {
		if err := os.Chmod(h.data, 0o755); err != nil { // as an operator may have made it
			t.Fatal(err)
		}
		s := h.start()
		s.as("ann").must("create", map[string]any{"name": "kept", "start": false, "wait": "PT30S"})
		for _, name := range []string{"aicli.db", "aicli.db-wal", "signing.key"} {
			if info, err := os.Stat(filepath.Join(h.data, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		s.stop()
	})
	t.Run("migrate may be run twice", func(t *testing.T) {
		for range 2 {
			if out, code := h.run("migrate"); code != 0 || !strings.Contains(out, "up to date") {
				t.Errorf("%d: %s", code, out)
			}
		}
	})
	t.Run("mistakes of the configuration are told all at once", func(t *testing.T) {
		bad := &home{T: t, env: append(h.env, "AICLI_ADDR=nowhere", "AICLI_WORKERS=many", "AICLI_NETWORK_POOL=x")}
		out, code := bad.run()
		for _, name := range []string{"AICLI_ADDR", "AICLI_WORKERS", "AICLI_NETWORK_POOL"} {
			if code != 2 || !strings.Contains(out, name) {
				t.Errorf("%d: %s", code, out)
			}
		}
	})
	t.Run("serve --help lists the variables", func(t *testing.T) {
		if out, code := h.run("serve", "--help"); code != 0 || !strings.Contains(out, "AICLI_DATABASE_URL") {
			t.Errorf("%d: %s", code, out)
		}
	})
	t.Run("schema prints the whole schema", func(t *testing.T) {
		out, code := h.run("schema")
		for _, part := range []string{"type Workspace implements Node {", "scalar Int64", "type Subscription {", "DATABASE_UNAVAILABLE"} {
			if code != 0 || !strings.Contains(out, part) {
				t.Errorf("%d: it lacks %q", code, part)
			}
		}
	})
	t.Run("a token needs a user and a known role", func(t *testing.T) {
		for _, args := range [][]string{{"token"}, {"token", "--user", "x", "--role", "king"}, {"token", "--user", "a/b"}, {"fly"}} {
			if out, code := h.run(args...); code == 0 {
				t.Errorf("%v: %s", args, out)
			}
		}
	})
	t.Run("an address that is taken is said so", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		taken := &home{T: t, env: append(h.env, "AICLI_ADDR="+l.Addr().String())}
		if out, code := taken.run(); code != 1 || !strings.Contains(out, "AICLI_ADDR") {
			t.Errorf("%d: %s", code, out)
		}
	})
	t.Run("nothing that signs in is printed where it may be kept", func(t *testing.T) {
		s := h.start()
		defer s.stop()
		if said := s.said.String() + s.log.String(); strings.Contains(said, "/link/") || !strings.Contains(said, "aicli-web token --user NAME") || strings.Contains(said, "eyJ") {
			t.Errorf("it says\n%s", said)
		}
	})
	t.Run("a terminal is shown a link that signs in once", func(t *testing.T) {
		s := h.startIn(terminal(t))
		defer s.stop()
		found := regexp.MustCompile(`http://\S+/link/\S+`).FindString(s.said.String())
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
		for _, want := range []int{http.StatusSeeOther, http.StatusGone} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, found, http.NoBody)
			if err != nil {
				t.Fatalf("%v, of\n%s", err, s.said)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s: %d, want %d", found, response.StatusCode, want)
			}
			if _, token, is := strings.Cut(response.Header.Get("Location"), "#token="); is {
				admin := s.withToken(token)
				var data struct{ Viewer struct{ ID, Role string } }
				if admin.get(&data, `{ viewer { id role } }`, nil); data.Viewer.ID != "admin" || data.Viewer.Role != "ADMIN" {
					t.Errorf("it signs in %+v", data)
				}
			}
		}
	})
	t.Run("health and readiness are there for anybody", func(t *testing.T) {
		c := h.start().as("ann")
		for _, path := range []string{"/healthz", "/readyz"} {
			status, text, err := c.http(http.MethodGet, path, http.Header{}, nil)
			var answer struct{ Status string }
			if err = errors.Join(err, json.Unmarshal([]byte(text), &answer)); status != 200 || err != nil || answer.Status == "" {
				t.Errorf("%s: %d %s %v", path, status, text, err)
			}
		}
	})
}

// TestTheExplorer opens the explorer in a browser that can reach nothing else, and runs queries, a mutation and subscriptions.
func TestTheExplorer(t *testing.T) {
	s := newHome(t).start()
	cmd := exec.CommandContext(t.Context(), "node", "--test", "test/explorer.test.mjs")
	cmd.Dir = filepath.Join("..", "..", "web")
	cmd.Env = append(os.Environ(), "EXPLORER_URL=http://"+s.address+"/explorer/#token="+s.token("admin", "--role", "admin"), "AICLI_TEST_IMAGE="+image)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v (the explorer must be built: make web)\n%s", err, out)
	}
	if !strings.Contains(string(out), "# fail 0") || strings.Contains(string(out), "# pass 0") {
		t.Error(fmt.Sprint("no test ran:\n", string(out)))
	}
}
