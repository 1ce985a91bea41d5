package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"go.uber.org/goleak"

	"github.com/aicli/aicli-web/internal/auth"
	"github.com/aicli/aicli-web/internal/store"
	"github.com/aicli/aicli-web/internal/store/storetest"
	"github.com/aicli/aicli-web/internal/task"
	"github.com/aicli/aicli-web/internal/workspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parts stand for the rooms that an answer needs no more than a word from.
type parts struct{}

func (parts) Check(_, path string) error {
	if strings.HasPrefix(path, "/") {
		return &workspace.Error{Code: workspace.BadUserInput, Message: "The path must be relative.", Field: []string{"input", "projectPath"}}
	}
	return nil
}
func (parts) Workers() int { return 7 }
func (parts) Running() int { return 3 }

func (parts) Sample(_ context.Context, w workspace.Workspace) (workspace.Sample, bool) {
	return workspace.Sample{WorkspaceID: w.ID, MemoryBytes: 1 << 33, Uptime: 90 * time.Second}, w.Status == workspace.Active
}

func (parts) Samples(_ context.Context, id string, interval time.Duration) <-chan workspace.Sample {
	samples := make(chan workspace.Sample, 1)
	samples <- workspace.Sample{WorkspaceID: id, Uptime: interval}
	close(samples)
	return samples
}

// edge is an executor over a real store and service, with no pool: what is asked for is committed and stays as it is. newEdgeOn gives one whose event log is not read.
type edge struct {
	*testing.T
	exec    graphql.GraphExecutor
	service *workspace.Service
	db      *store.DB
	log     *strings.Builder
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	db, _ := storetest.Open(t, store.SQLite)
	e := newEdgeOn(t, db)
	ctx, stop := context.WithCancel(context.Background())
	fed := make(chan error, 1)
	go func() { fed <- e.service.RunFeed(ctx) }()
	t.Cleanup(func() { stop(); <-fed })
	return e
}

func newEdgeOn(t *testing.T, db *store.DB) *edge {
	t.Helper()
	log := &strings.Builder{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	s := workspace.NewService(db, parts{}, workspace.Config{DefaultImage: "alpine", NetworkPool: netip.MustParsePrefix("10.213.0.0/16"), Log: logger})
	t.Cleanup(s.Close)
	r := &Resolver{Service: s, Metrics: parts{}, Pool: parts{}, Version: "1.2.3", Database: db.Describe}
	return &edge{T: t, service: s, db: db, log: log, exec: NewExecutor(r, func(context.Context) string { return "req-1" }, logger)}
}

var (
	ann  = auth.Principal{ID: "ann", Role: auth.User}
	bob  = auth.Principal{ID: "bob", Role: auth.User}
	root = auth.Principal{ID: "root", Role: auth.Admin}
)

// ask runs one operation for somebody, and gives data and errors as JSON.
func (e *edge) ask(who auth.Principal, query string, variables map[string]any) (data, errs string) {
	e.Helper()
	ctx, cancel := context.WithCancel(graphql.StartOperationTrace(auth.WithPrincipal(e.Context(), who)))
	defer cancel()
	resp := e.respond(ctx, query, variables)
	text, err := json.Marshal(resp.Errors)
	if err != nil {
		e.Fatal(err)
	}
	return string(resp.Data), string(text)
}

func (e *edge) respond(ctx context.Context, query string, variables map[string]any) *graphql.Response {
	op, errs := e.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: variables})
	if len(errs) > 0 {
		return e.exec.DispatchError(graphql.WithOperationContext(ctx, op), errs)
	}
	next, ctx := e.exec.DispatchOperation(ctx, op)
	return next(ctx)
}

// get is ask for what must succeed; what it returns is read from the data by a path of names and positions.
func (e *edge) get(who auth.Principal, query string, variables map[string]any, path ...any) any {
	e.Helper()
	data, errs := e.ask(who, query, variables)
	if errs != "null" {
		e.Fatalf("%s\n%s", query, errs)
	}
	var at any
	if err := json.Unmarshal([]byte(data), &at); err != nil {
		e.Fatal(err)
	}
	for _, step := range path {
		switch step := step.(type) {
		case string:
			at = at.(map[string]any)[step]
		case int:
			at = at.([]any)[step]
		}
	}
	return at
}

func (e *edge) create(who auth.Principal, input map[string]any) string {
	e.Helper()
	return e.get(who, `mutation($input: CreateWorkspaceInput!) { createWorkspace(input: $input) { workspace { id } userErrors { message } } }`,
		map[string]any{"input": input}, "createWorkspace", "workspace", "id").(string)
}

func (e *edge) want(got any, want string) {
	e.Helper()
	if text := fmt.Sprint(got); text != want {
		e.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestWhatIsAskedForIsAnswered(t *testing.T) {
	e := newEdge(t)
	id := e.create(ann, map[string]any{
		"name": "one", "command": []any{"sleep", "1"}, "labels": []any{map[string]any{"key": "team", "value": "red"}},
		"environment": []any{map[string]any{"name": "KEY", "value": "hidden", "secret": true}, map[string]any{"name": "A", "value": "b"}},
		"resources":   map[string]any{"memoryBytes": json.Number("8589934592"), "cpus": 1.5},
	})
	t.Run("a workspace as it was asked for, without the values of secrets", func(t *testing.T) {
		data, errs := e.ask(ann, `query($id: ID!) { workspace(id: $id) { name ownerId image command environment { name value secret } labels { key value }
			resources { cpus memoryBytes pids } desiredState status statusReason container { id } metrics { pids } activeTaskCount version
			isolation { level networkName subnet user warnings } tasks { totalCount nodes { type status step progress queuePosition error { code } requestedBy workspace { name } } } } }`,
			map[string]any{"id": id})
		if errs != "null" {
			t.Fatal(errs)
		}
		e.want(data, `{"workspace":{"name":"one","ownerId":"ann","image":"alpine","command":["sleep","1"],`+
			`"environment":[{"name":"KEY","value":null,"secret":true},{"name":"A","value":"b","secret":false}],"labels":[{"key":"team","value":"red"}],`+
			`"resources":{"cpus":1.5,"memoryBytes":8589934592,"pids":512},"desiredState":"RUNNING","status":"PENDING","statusReason":null,`+
			`"container":null,"metrics":null,"activeTaskCount":1,"version":1,`+
			`"isolation":{"level":"STANDARD","networkName":"aicli-`+strings.TrimPrefix(id, "ws_")+`","subnet":"10.213.0.0/28","user":"","warnings":[]},`+
			`"tasks":{"totalCount":1,"nodes":[{"type":"CREATE","status":"QUEUED","step":null,"progress":null,"queuePosition":0,"error":null,"requestedBy":"ann","workspace":{"name":"one"}}]}}}`)
	})
	t.Run("a container whose engine cannot be asked is unknown, and the answer is whole all the same", func(t *testing.T) {
		started := time.Now().UTC()
		if _, err := e.service.Record(t.Context(), id, workspace.Observed{Container: &workspace.Container{ID: "c", State: workspace.ContainerRunning, StartedAt: &started}}); err != nil {
			t.Fatal(err)
		}
		got := e.get(ann, `query($id: ID!) { workspace(id: $id) { status container { state uptime lastError } metrics { memoryBytes uptime } } }`, map[string]any{"id": id}, "workspace")
		e.want(got, "map[container:map[lastError:The engine has not been asked yet. state:UNKNOWN uptime:<nil>] metrics:<nil> status:ACTIVE]")
		e.service.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy, Name: "Docker"})
		got = e.get(ann, `query($id: ID!) { workspace(id: $id) { container { state lastError } metrics { memoryBytes uptime } } }`, map[string]any{"id": id}, "workspace")
		e.want(got, "map[container:map[lastError:<nil> state:RUNNING] metrics:map[memoryBytes:8.589934592e+09 uptime:PT1M30S]]")
	})
	t.Run("a sync that waits is joined, and a start while the creation is under way too", func(t *testing.T) {
		ask := func(verb string) any {
			return e.get(ann, fmt.Sprintf(`mutation($id: ID!) { result: %sWorkspace(input: { id: $id }) { task { id } userErrors { message } } }`, verb), map[string]any{"id": id}, "result", "task", "id")
		}
		if first, second := ask("sync"), ask("sync"); first != second {
			t.Errorf("%v and %v", first, second)
		}
	})
	t.Run("a mutation sees what the one before it did", func(t *testing.T) {
		got := e.get(ann, `mutation($id: ID!) { a: stopWorkspace(input: { id: $id }) { task { workspace { desiredState } } } b: startWorkspace(input: { id: $id }) { task { workspace { desiredState } } } }`,
			map[string]any{"id": id})
		e.want(got, "map[a:map[task:map[workspace:map[desiredState:STOPPED]]] b:map[task:map[workspace:map[desiredState:RUNNING]]]]")
	})
	t.Run("the server tells what it is", func(t *testing.T) {
		got := fmt.Sprint(e.get(ann, `{ viewer { id role } server { version database engine { status name version lastError } queue { workers running queued oldestQueuedAge } } }`, nil))
		for _, part := range []string{"id:ann role:USER", "version:1.2.3", "database:SQLite", "lastError:<nil> name:Docker status:HEALTHY version:<nil>", "workers:7", "running:3", "queued:1"} {
			if !strings.Contains(got, part) {
				t.Errorf("%s\nlacks %s", got, part)
			}
		}
	})
	t.Run("an admin sees what no workspace knows of, and nobody else", func(t *testing.T) {
		const query = `{ server { orphans { kind id name workspaceId } } }`
		e.service.RecordOrphans([]workspace.Orphan{{Kind: workspace.OrphanNetwork, ID: "5f0c", Name: "aicli-1", WorkspaceID: "ws_1"}})
		e.want(e.get(root, query, nil, "server", "orphans"), "[map[id:5f0c kind:NETWORK name:aicli-1 workspaceId:ws_1]]")
		if data, errs := e.ask(ann, query, nil); strings.Contains(data, "5f0c") || !strings.Contains(errs, `"code":"FORBIDDEN"`) {
			t.Errorf("got %s %s", data, errs)
		}
	})
	t.Run("nodes are found by any id, in the order asked", func(t *testing.T) {
		task := e.get(ann, `{ tasks(first: 1) { nodes { id } } }`, nil, "tasks", "nodes", 0, "id")
		got := e.get(ann, `query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }`, map[string]any{"ids": []any{task, "ws_none", id, "x"}}, "nodes")
		e.want(got, fmt.Sprintf("[map[__typename:Task id:%s] <nil> map[__typename:Workspace id:%s] <nil>]", task, id))
		e.want(e.get(ann, `query($id: ID!) { node(id: $id) { ... on Workspace { name } } }`, map[string]any{"id": id}, "node"), "map[name:one]")
	})
}

func TestEverybodySeesTheirOwn(t *testing.T) {
	e := newEdge(t)
	id := e.create(ann, map[string]any{"name": "hers"})
	task := e.get(ann, `{ tasks { nodes { id } } }`, nil, "tasks", "nodes", 0, "id")
	ids := map[string]any{"ws": id, "task": task}
	const look = `query($ws: ID!, $task: ID!) { workspace(id: $ws) { id } task(id: $task) { id } node(id: $ws) { id } nodes(ids: [$ws, $task]) { id }
		workspaces { totalCount nodes { id } } tasks { totalCount nodes { id } } byId: workspaces(filter: { ids: [$ws] }) { totalCount } }`
	e.want(e.get(bob, look, ids), "map[byId:map[totalCount:0] node:<nil> nodes:[<nil> <nil>] task:<nil> tasks:map[nodes:[] totalCount:0] workspace:<nil> workspaces:map[nodes:[] totalCount:0]]")
	if got := fmt.Sprint(e.get(root, look, ids)); strings.Contains(got, "nil") || strings.Contains(got, "totalCount:0") {
		t.Errorf("an admin sees %s", got)
	}
	t.Run("somebody else's and none are told alike, and nothing changes", func(t *testing.T) {
		for _, verb := range []string{"update", "start", "stop", "restart", "delete", "sync"} {
			mutation := fmt.Sprintf(`mutation($id: ID!) { result: %sWorkspace(input: { id: $id }) { workspace { id } task { id } userErrors { code message field } } }`, verb)
			his, none := e.get(bob, mutation, map[string]any{"id": id}), e.get(bob, mutation, map[string]any{"id": "ws_none"})
			if fmt.Sprint(his) != fmt.Sprint(none) || !strings.Contains(fmt.Sprint(his), "code:NOT_FOUND field:[input id]") {
				t.Errorf("%s: %v and %v", verb, his, none)
			}
		}
		e.want(e.get(ann, `query($id: ID!) { workspace(id: $id) { version status } }`, map[string]any{"id": id}, "workspace"), "map[status:PENDING version:1]")
	})
	t.Run("subscriptions too", func(t *testing.T) {
		for _, field := range []string{"workspaceStatus", "workspaceMetrics", "taskProgress"} {
			_, his := e.ask(bob, fmt.Sprintf(`subscription($id: ID!) { %s(id: $id) { __typename } }`, field), map[string]any{"id": map[bool]any{true: task, false: id}[field == "taskProgress"]})
			_, none := e.ask(bob, fmt.Sprintf(`subscription($id: ID!) { %s(id: $id) { __typename } }`, field), map[string]any{"id": "ws_none"})
			if his != none || !strings.Contains(his, `"code":"NOT_FOUND"`) {
				t.Errorf("%s: %s and %s", field, his, none)
			}
		}
	})
	t.Run("only an admin names an owner", func(t *testing.T) {
		if _, errs := e.ask(bob, `{ workspaces(filter: { ownerId: "ann" }) { totalCount } }`, nil); !strings.Contains(errs, `"code":"FORBIDDEN"`) {
			t.Error(errs)
		}
		e.want(e.get(root, `{ workspaces(filter: { ownerId: "bob" }) { totalCount } }`, nil, "workspaces", "totalCount"), "0")
	})
	t.Run("who has not signed in sees nothing, whatever the transport let through", func(t *testing.T) {
		resp := e.respond(graphql.StartOperationTrace(t.Context()), `{ viewer { id } }`, nil)
		if resp.Data != nil || len(resp.Errors) != 1 || resp.Errors[0].Extensions["code"] != string(workspace.Unauthenticated) {
			t.Errorf("got %s, %v", resp.Data, resp.Errors)
		}
	})
}

func TestAKeyGivesTheFirstAnswerAgain(t *testing.T) {
	e := newEdge(t)
	create := func(who auth.Principal, name, key string) string {
		t.Helper()
		return fmt.Sprint(e.get(who, `mutation($input: CreateWorkspaceInput!) { createWorkspace(input: $input) { workspace { id } task { id } userErrors { code field } } }`,
			map[string]any{"input": map[string]any{"name": name, "idempotencyKey": key}}, "createWorkspace"))
	}
	answers := make([]string, 8)
	var askers sync.WaitGroup
	for i := range answers { // at once
		askers.Go(func() {
			data, errs := e.ask(ann, `mutation { createWorkspace(input: { name: "one", idempotencyKey: "k1" }) { workspace { id } task { id } userErrors { code field } } }`, nil)
			answers[i] = data + errs
		})
	}
	askers.Wait()
	for _, answer := range answers {
		if answer != answers[0] || !strings.Contains(answer, "task_") {
			t.Errorf("got %s and %s", answer, answers[0])
		}
	}
	e.want(e.get(ann, `{ workspaces { totalCount } tasks { totalCount } }`, nil), "map[tasks:map[totalCount:1] workspaces:map[totalCount:1]]")
	e.want(create(ann, "two", "k1"), "map[task:<nil> userErrors:[map[code:CONFLICT field:[input idempotencyKey]]] workspace:<nil>]")
	e.want(create(ann, "two", ""), "map[task:<nil> userErrors:[map[code:BAD_USER_INPUT field:[input idempotencyKey]]] workspace:<nil>]")
	if his, hers := create(bob, "one", "k1"), create(ann, "one", "k1"); his == hers || !strings.Contains(his, "task_") {
		t.Errorf("somebody else's key gave %s", his)
	}
	id := e.get(ann, `{ workspaces { nodes { id } } }`, nil, "workspaces", "nodes", 0, "id")
	ask := func(mutation string) string {
		t.Helper()
		return fmt.Sprint(e.get(ann, mutation, map[string]any{"id": id}, "result"))
	}
	const update = `mutation($id: ID!) { result: updateWorkspace(input: { id: $id, version: 1, name: "renamed", idempotencyKey: "k2" }) { workspace { name version } task { id } userErrors { code } } }`
	if first, second := ask(update), ask(update); first != second || !strings.Contains(first, "renamed") {
		t.Errorf("got %s and %s: the same update is not a lost one", first, second)
	}
	const stop = `mutation($id: ID!) { result: stopWorkspace(input: { id: $id, idempotencyKey: "k3" }) { task { id type } userErrors { code } } }`
	if first, second := ask(stop), ask(stop); first != second || !strings.Contains(first, "STOP") {
		t.Errorf("got %s and %s", first, second)
	}
	e.want(ask(strings.Replace(stop, "stopWorkspace", "deleteWorkspace", 1)), "map[task:<nil> userErrors:[map[code:CONFLICT]]]")
}

func TestTasksAreCancelledAndRunAgain(t *testing.T) {
	e := newEdge(t)
	id := e.create(ann, map[string]any{"name": "one"})
	task := e.get(ann, `{ tasks { nodes { id } } }`, nil, "tasks", "nodes", 0, "id")
	ask := func(who auth.Principal, verb string, id any) string {
		t.Helper()
		return fmt.Sprint(e.get(who, fmt.Sprintf(`mutation($id: ID!) { result: %sTask(input: { id: $id }) { task { type status } userErrors { code field } } }`, verb), map[string]any{"id": id}, "result"))
	}
	for _, verb := range []string{"cancel", "retry"} {
		if his, none := ask(bob, verb, task), ask(bob, verb, "task_none"); his != none || !strings.Contains(his, "code:NOT_FOUND field:[input id]") {
			t.Errorf("%s: somebody else's is told as %s, none as %s", verb, his, none)
		}
	}
	e.want(ask(ann, "retry", task), "map[task:<nil> userErrors:[map[code:CONFLICT field:[input id]]]]")
	e.want(ask(ann, "cancel", task), "map[task:map[status:CANCELLED type:CREATE] userErrors:[]]")
	e.want(ask(ann, "cancel", task), "map[task:<nil> userErrors:[map[code:CONFLICT field:[input id]]]]")
	e.want(e.get(ann, `query($id: ID!) { workspace(id: $id) { status desiredState activeTaskCount } }`, map[string]any{"id": id}, "workspace"),
		"map[activeTaskCount:0 desiredState:STOPPED status:INACTIVE]")
	t.Run("a deletion cannot be cancelled", func(t *testing.T) {
		deletion := e.get(ann, `mutation($id: ID!) { deleteWorkspace(input: { id: $id }) { task { id } } }`, map[string]any{"id": id}, "deleteWorkspace", "task", "id")
		e.want(ask(ann, "cancel", deletion), "map[task:<nil> userErrors:[map[code:CONFLICT field:[input id]]]]")
	})
}

func TestBatches(t *testing.T) {
	e := newEdge(t)
	one, two := e.create(ann, map[string]any{"name": "one"}), e.create(ann, map[string]any{"name": "two"})
	his := e.create(bob, map[string]any{"name": "one"})
	start := func(who auth.Principal, input map[string]any) any {
		t.Helper()
		return e.get(who, `mutation($input: StartBatchInput!) { startBatch(input: $input) { batch {
			id operation status dryRun total succeeded failed skipped cancelled finishedAt
			items(first: 10) { totalCount nodes { workspaceId status task { id } error { code } workspace { name } } } } userErrors { code field } } }`,
			map[string]any{"input": input}, "startBatch")
	}
	began := start(ann, map[string]any{"operation": "STOP", "workspaceIds": []any{two, his, one}, "idempotencyKey": "k"}).(map[string]any)["batch"].(map[string]any)
	id := began["id"].(string)
	e.want(began, fmt.Sprintf("map[cancelled:0 dryRun:false failed:0 finishedAt:<nil> id:%s items:map[nodes:["+
		"map[error:<nil> status:QUEUED task:<nil> workspace:map[name:two] workspaceId:%s] map[error:map[code:NOT_FOUND] status:SKIPPED task:<nil> workspace:<nil> workspaceId:%s] "+
		"map[error:<nil> status:QUEUED task:<nil> workspace:map[name:one] workspaceId:%s]] totalCount:3] operation:STOP skipped:1 status:RUNNING succeeded:0 total:3]", id, two, his, one))
	dry := start(ann, map[string]any{"operation": "STOP", "filter": map[string]any{"nameContains": "one"}, "dryRun": true}).(map[string]any)["batch"].(map[string]any)
	e.want(fmt.Sprint(dry["status"], dry["dryRun"], dry["total"], dry["succeeded"], dry["finishedAt"] == nil), "SUCCEEDEDtrue 1 1 false")
	e.want(start(ann, map[string]any{"operation": "STOP"}), "map[batch:<nil> userErrors:[map[code:BAD_USER_INPUT field:[input workspaceIds]]]]")
	e.want(start(ann, map[string]any{"operation": "STOP", "filter": map[string]any{"ownerId": "bob"}}), "map[batch:<nil> userErrors:[map[code:FORBIDDEN field:[input filter ownerId]]]]")

	e.want(e.get(ann, `query($id: ID!) { node(id: $id) { ... on Batch { operation } } batch(id: $id) { status } batches(first: 1) { totalCount pageInfo { hasNextPage } } tasks(filter: { batchId: $id }) { totalCount } }`,
		map[string]any{"id": id}), "map[batch:map[status:RUNNING] batches:map[pageInfo:map[hasNextPage:true] totalCount:2] node:map[operation:STOP] tasks:map[totalCount:0]]")
	e.want(e.get(bob, `query($id: ID!) { node(id: $id) { id } batch(id: $id) { id } batches { totalCount } }`, map[string]any{"id": id}), "map[batch:<nil> batches:map[totalCount:0] node:<nil>]")
	e.want(e.get(root, `query($id: ID!) { batch(id: $id) { total } batches { totalCount } }`, map[string]any{"id": id}), "map[batch:map[total:3] batches:map[totalCount:2]]")

	ask := func(who auth.Principal, verb string) any {
		t.Helper()
		return e.get(who, fmt.Sprintf(`mutation($id: ID!) { result: %sBatch(input: { id: $id }) { batch { status cancelled } userErrors { code field } } }`, verb), map[string]any{"id": id}, "result")
	}
	ids := func() any {
		t.Helper()
		return e.get(ann, `query($id: ID!) { batch(id: $id) { items(first: 10) { nodes { id } } } }`, map[string]any{"id": id}, "batch", "items", "nodes")
	}
	before := ids()
	e.want(before, fmt.Sprintf("[map[id:%[1]s.%[2]s] map[id:%[1]s.%[3]s] map[id:%[1]s.%[4]s]]", id, two, his, one))
	for _, verb := range []string{"cancel", "retry"} {
		e.want(ask(bob, verb), "map[batch:<nil> userErrors:[map[code:NOT_FOUND field:[input id]]]]")
	}
	e.want(ask(ann, "retry"), "map[batch:<nil> userErrors:[map[code:CONFLICT field:[input id]]]]")
	e.want(ask(ann, "cancel"), "map[batch:map[cancelled:2 status:CANCELLED] userErrors:[]]")
	e.want(ask(ann, "cancel"), "map[batch:<nil> userErrors:[map[code:CONFLICT field:[input id]]]]")
	e.want(ask(ann, "retry"), "map[batch:map[cancelled:0 status:RUNNING] userErrors:[]]")
	e.want(ids(), fmt.Sprint(before)) // the same items
	data, errs := e.ask(ann, `subscription($id: ID!) { batchProgress(id: $id) { status cancelled } }`, map[string]any{"id": id})
	e.want(data+errs, `{"batchProgress":{"status":"CANCELLED","cancelled":2}}null`)
}

func TestAFullQueueIsToldToWhoAsks(t *testing.T) {
	e := newEdge(t)
	busy := e.create(ann, map[string]any{"name": "busy"})
	id := e.create(ann, map[string]any{"name": "stopped", "start": false})
	creation := e.get(ann, `{ tasks(first: 1) { nodes { id } } }`, nil, "tasks", "nodes", 0, "id")
	e.get(ann, `mutation($id: ID!) { cancelTask(input: { id: $id }) { task { id } } }`, map[string]any{"id": creation})
	if _, err := e.db.Update(t.Context(), busy, func(d *workspace.Draft) error {
		for range 1999 { // and the CREATE
			d.Enqueue(task.Sync, "ann", task.Params{})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for who, whose := range map[auth.Principal]string{ann: "your tasks", root: "the tasks of the workspace's owner"} {
		got := e.get(who, `mutation($id: ID!) { startWorkspace(input: { id: $id }) { workspace { id } task { id } userErrors { code message retryable } } }`, map[string]any{"id": id}, "startWorkspace")
		e.want(got, "map[task:<nil> userErrors:[map[code:QUOTA_EXCEEDED message:2000 of "+whose+
			" are waiting or running, which is the most. Ask again when some have ended, or delete workspaces. retryable:true]] workspace:<nil>]")
	}
}

func TestTheWaitsOfOneOperationAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		began := time.Now()
		got := e.get(ann, `mutation { a: createWorkspace(input: { name: "a", wait: "PT20S" }) { task { id } userErrors { code } }
			b: createWorkspace(input: { name: "b", wait: "PT20S" }) { task { status } userErrors { code } }
			c: syncWorkspace(input: { id: "ws_none", wait: "PT20S" }) { userErrors { code } }
			d: createWorkspace(input: { name: "d", wait: "PT30S" }) { task { status } userErrors { code } } }`, nil).(map[string]any)
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("it took %s", took)
		}
		for _, alias := range []string{"b", "d"} {
			e.want(got[alias], "map[task:map[status:QUEUED] userErrors:[]]")
		}
	})
}

func TestBadInputNamesTheField(t *testing.T) {
	e := newEdge(t)
	e.create(ann, map[string]any{"name": "taken"})
	for _, c := range []struct {
		input map[string]any
		want  string // code and field
	}{
		{map[string]any{"name": ""}, "BAD_USER_INPUT [input name]"},
		{map[string]any{"name": strings.Repeat("x", 101)}, "BAD_USER_INPUT [input name]"},
		{map[string]any{"name": "taken"}, "CONFLICT [input name]"},
		{map[string]any{"name": "n", "image": "No Image"}, "BAD_USER_INPUT [input image]"},
		{map[string]any{"name": "n", "projectPath": "/etc"}, "BAD_USER_INPUT [input projectPath]"},
		{map[string]any{"name": "n", "resources": map[string]any{"cpus": 0}}, "BAD_USER_INPUT [input resources cpus]"},
		{map[string]any{"name": "n", "resources": map[string]any{"memoryBytes": 1}}, "BAD_USER_INPUT [input resources memoryBytes]"},
		{map[string]any{"name": "n", "resources": map[string]any{"pids": 1 << 20}}, "BAD_USER_INPUT [input resources pids]"},
		{map[string]any{"name": "n", "environment": []any{map[string]any{"name": "A=B", "value": ""}}}, "BAD_USER_INPUT [input environment 0 name]"},
		{map[string]any{"name": "n", "wait": "PT31S"}, "BAD_USER_INPUT [input wait]"},
		{map[string]any{"name": "n", "command": []any{""}}, "BAD_USER_INPUT [input command 0]"},
	} {
		got := e.get(ann, `mutation($input: CreateWorkspaceInput!) { createWorkspace(input: $input) { workspace { id } task { id } userErrors { code message field retryable } } }`,
			map[string]any{"input": c.input}, "createWorkspace").(map[string]any)
		failure := got["userErrors"].([]any)[0].(map[string]any)
		if text := fmt.Sprint(failure["code"], " ", failure["field"]); text != c.want || got["workspace"] != nil || got["task"] != nil {
			t.Errorf("%v: got %v, want %s", c.input, got, c.want)
		}
	}
	e.want(e.get(ann, `{ workspaces { totalCount } }`, nil, "workspaces", "totalCount"), "1")

	t.Run("what cannot be read stops the operation, with its path", func(t *testing.T) {
		for _, c := range []struct {
			query     string
			variables map[string]any
			want      []string
		}{
			{`mutation($w: Duration) { createWorkspace(input: { name: "n", wait: $w }) { task { id } } }`, map[string]any{"w": "soon"}, []string{"BAD_USER_INPUT", "PT30S", `"input","wait"`}},
			{`mutation($n: String!) { createWorkspace(input: { name: $n }) { task { id } } }`, map[string]any{"n": "a\x00b"}, []string{"BAD_USER_INPUT", "U+0000", `"input","name"`}},
			{`query($id: ID!) { workspace(id: $id) { id } }`, map[string]any{"id": "a\x00"}, []string{"BAD_USER_INPUT", "U+0000"}},
			{`query($n: Int) { workspaces(first: $n) { totalCount } }`, map[string]any{"n": "5"}, []string{"BAD_USER_INPUT", "Int"}},
			{`{ workspaces(first: 101) { totalCount } }`, nil, []string{"BAD_USER_INPUT", `"field":["first"]`}},
			{`{ workspaces(first: 0) { totalCount } }`, nil, []string{"BAD_USER_INPUT", `"field":["first"]`}},
			{`{ workspaces(first: 1, last: 1) { totalCount } }`, nil, []string{"BAD_USER_INPUT", `"field":["last"]`}},
			{`{ workspaces(after: "x") { totalCount } }`, nil, []string{"BAD_USER_INPUT", `"field":["after"]`}},
			{`query($w: ID) { tasks(filter: { workspaceId: $w }) { totalCount } }`, map[string]any{"w": ""}, []string{"BAD_USER_INPUT", `"field":["filter","workspaceId"]`}},
			{`{ workspaces { nodes { tasks(filter: { batchId: "" }) { totalCount } } } }`, nil, []string{"BAD_USER_INPUT", `"field":["filter","batchId"]`}},
			{`{ nothing }`, nil, []string{"BAD_USER_INPUT", "nothing"}},
			{`{`, nil, []string{"BAD_USER_INPUT"}},
			{`subscription { workspaceMetrics(id: "x", interval: "PT0.5S") { pids } }`, nil, []string{"BAD_USER_INPUT", `"field":["interval"]`}},
		} {
			data, errs := e.ask(ann, c.query, c.variables)
			for _, part := range append(c.want, `"requestId":"req-1"`) {
				if !strings.Contains(errs, part) {
					t.Errorf("%s: got %s %s, which lacks %s", c.query, data, errs, part)
				}
			}
		}
	})
}

// aliased writes a selection n times under different names.
func aliased(n int, selection string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d: %s", i, selection)
	}
	return b.String()
}

// wholeSchema asks for as much of the schema as GraphiQL does.
const wholeSchema = `query { __schema { description queryType { name kind } mutationType { name kind } subscriptionType { name kind }
	types { ...FullType } directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } } } }
	fragment FullType on __Type { kind name description specifiedByURL
		fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
		inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef }
		enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
	fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
	fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
		ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }`

func TestCost(t *testing.T) {
	e := newEdge(t)
	e.create(ann, map[string]any{"name": "one"})
	nested := func(depth int) string { // each fragment spreads the next one twice
		var b strings.Builder
		b.WriteString("{ workspaces(first: 1) { nodes { ...F0 } } }")
		for i := range depth {
			fmt.Fprintf(&b, " fragment F%d on Workspace { tasks(first: 1) { nodes { a: workspace { ...F%d } b: workspace { ...F%d } } } }", i, i+1, i+1)
		}
		fmt.Fprintf(&b, " fragment F%d on Workspace { id }", depth)
		return b.String()
	}
	for name, c := range map[string]struct {
		query     string
		variables map[string]any
		refused   bool
	}{
		"a full page with usage and tasks":   {`{ workspaces(first: 100) { nodes { id name status container { state } metrics { cpuPercent } tasks(first: 5) { nodes { id status } } } } }`, nil, false},
		"a page of pages":                    {`{ workspaces(first: 100) { nodes { tasks(first: 100) { nodes { id type } } } } }`, nil, true},
		"the same by variables":              {`query($n: Int) { workspaces(first: $n) { nodes { tasks(first: $n) { nodes { id type } } } } }`, map[string]any{"n": json.Number("100")}, true},
		"a page of one item by a variable":   {`query($n: Int) { workspaces(first: $n) { nodes { tasks(first: $n) { nodes { id type } } } } }`, map[string]any{"n": json.Number("1")}, false},
		"one id that is no list":             {`{ nodes(ids: "ws_x") { ... on Workspace { tasks(first: 100) { nodes { workspace { tasks(first: 100) { nodes { id type } } } } } } } }`, nil, true},
		"the same by a variable":             {`query($ids: [ID!]!) { nodes(ids: $ids) { ... on Workspace { tasks(first: 100) { nodes { workspace { tasks(first: 100) { nodes { id type } } } } } } } }`, map[string]any{"ids": "ws_x"}, true},
		"what an explorer asks of a schema":  {wholeSchema, nil, false},
		"lists of a schema within lists":     {`{ __schema { types { fields { type { fields {` + aliased(10, "type { "+aliased(60, "name")+" }") + ` } } } } } }`, nil, true},
		"the same in pieces":                 {`{` + aliased(10, `__schema { types { fields { `+aliased(60, "name")+` } } }`) + `}`, nil, true},
		"ten mutations":                      {`mutation {` + aliased(10, `deleteWorkspace(input: { id: "ws_x" }) { task { id } }`) + `}`, nil, true},
		"a few mutations":                    {`mutation {` + aliased(5, `deleteWorkspace(input: { id: "ws_x" }) { task { id } }`) + `}`, nil, false},
		"many large pages":                   {`{` + aliased(30, `workspaces(first: 100) { nodes { command environment { value } } }`) + `}`, nil, true},
		"many ids":                           {`query($ids: [ID!]!) { nodes(ids: $ids) { ... on Workspace { tasks(first: 50) { nodes { id workspace { id } step } } } } }`, map[string]any{"ids": make([]any, 100)}, true},
		"fragments that double at each step": {nested(40), nil, true},
		"more words than anybody writes":     {"{" + strings.Repeat(" viewer { id }", 1000) + "}", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if ids, ok := c.variables["ids"].([]any); ok {
				for i := range ids {
					ids[i] = "ws_x"
				}
			}
			_, errs := e.ask(ann, c.query, c.variables)
			if refused := strings.Contains(errs, "QUERY_TOO_COMPLEX"); refused != c.refused || !refused && errs != "null" {
				t.Errorf("got %.300s", errs)
			}
		})
	}
}

func TestFaultsStayInside(t *testing.T) {
	e := newEdge(t)
	e.exec = NewExecutor(&Resolver{
		Service: e.service, Pool: parts{}, // no Metrics: asking for them panics
		Database: func(context.Context) (string, error) { return "", errors.New("password=secret") },
	}, func(context.Context) string { return "req-1" }, slog.New(slog.NewTextHandler(e.log, nil)))
	e.service.RecordEngine(workspace.EngineHealth{Status: workspace.EngineHealthy})
	id := e.create(ann, map[string]any{"name": "one"})
	for _, query := range []string{`{ server { database } }`, `query { workspaces { nodes { metrics { pids } } } }`} {
		data, errs := e.ask(ann, query, nil)
		if strings.Contains(errs, "secret") || !strings.Contains(errs, `"code":"INTERNAL"`) || !strings.Contains(errs, "req-1") {
			t.Errorf("%s: got %s %s", query, data, errs)
		}
	}
	for _, part := range []string{"password=secret", "panic in a resolver", "request_id=req-1"} {
		if !strings.Contains(e.log.String(), part) {
			t.Errorf("the log lacks %q", part)
		}
	}
	e.want(e.get(ann, `query($id: ID!) { workspace(id: $id) { name } }`, map[string]any{"id": id}, "workspace", "name"), "one")
}

func TestSubscriptions(t *testing.T) {
	e := newEdge(t)
	id := e.create(ann, map[string]any{"name": "one"})
	open := func(t *testing.T, query string) (func() string, context.CancelFunc) {
		t.Helper()
		ctx, cancel := context.WithCancel(graphql.StartOperationTrace(auth.WithPrincipal(t.Context(), ann)))
		op, errs := e.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: map[string]any{"id": id}})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		next, ctx := e.exec.DispatchOperation(ctx, op)
		return func() string {
			resp := next(ctx)
			if resp == nil {
				return "end"
			}
			return string(resp.Data) + resp.Errors.Error()
		}, cancel
	}
	t.Run("a workspace now, then each change, with what each event's fields ask for", func(t *testing.T) {
		next, cancel := open(t, `subscription($id: ID!) { workspaceStatus(id: $id) { desiredState version tasks { nodes { status workspace { version } } } } }`)
		defer cancel()
		e.want(next(), `{"workspaceStatus":{"desiredState":"RUNNING","version":1,"tasks":{"nodes":[{"status":"QUEUED","workspace":{"version":1}}]}}}`)
		e.get(ann, `mutation($id: ID!) { stopWorkspace(input: { id: $id }) { task { id } } }`, map[string]any{"id": id})
		e.want(next(), `{"workspaceStatus":{"desiredState":"STOPPED","version":2,"tasks":{"nodes":[{"status":"QUEUED","workspace":{"version":2}},{"status":"QUEUED","workspace":{"version":2}}]}}}`)
	})
	t.Run("usage by the interval asked for, to the end", func(t *testing.T) {
		next, cancel := open(t, `subscription($id: ID!) { workspaceMetrics(id: $id, interval: "PT2S") { uptime } }`)
		defer cancel()
		e.want(next(), `{"workspaceMetrics":{"uptime":"PT2S"}}`)
		e.want(next(), "end")
		e.want(fmt.Sprint(intervalOf(nil)), "1s <nil>")
	})
}
