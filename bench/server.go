package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aicli/aicli-web/internal/store"
)

const (
	// serverPool is where the server under test cuts networks from.
	serverPool = "10.230.0.0/16"
	// look is how often the server is asked how far it is: often enough for what takes half a minute.
	look = 100 * time.Millisecond
	// askers is how many requests are sent at once. They are answered in milliseconds, whatever the engine does.
	askers = 8
)

// server is the real server, a process of its own, and one user of its API.
type server struct {
	*client

	cmd          *exec.Cmd
	log          bytes.Buffer // to be read once it has ended
	ended        chan error
	installation string
}

// client is a user of a server's API.
type client struct {
	http    http.Client
	address string
	token   string
	names   int // of workspaces asked for
}

var addressLine = regexp.MustCompile(`serves on (http://\S+)`)

// startServer starts the binary on a database of its own, with more in its environment, and waits until it takes requests.
func startServer(ctx context.Context, binary, dir string, on database, more ...string) (*server, error) {
	s := &server{client: &client{}, ended: make(chan error, 1)}
	var err error
	if s.installation, err = installation(ctx, on); err != nil {
		return nil, err
	}
	environment := append([]string{
		"AICLI_DATA_DIR=" + filepath.Join(dir, "server-"+string(on.dialect)), "AICLI_ADDR=127.0.0.1:0", "AICLI_DATABASE_URL=" + on.url(),
		"AICLI_DEFAULT_IMAGE=" + image, "AICLI_NETWORK_POOL=" + serverPool,
	}, more...)
	s.cmd = exec.Command(binary, "serve") //nolint:noctx // it is told to stop, not killed with a context
	s.cmd.Env, s.cmd.Stderr = append(s.cmd.Environ(), environment...), &s.log
	if s.token, err = s.sign(ctx, owner); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	lines := bufio.NewScanner(out)
	for s.address == "" && lines.Scan() {
		if found := addressLine.FindStringSubmatch(lines.Text()); found != nil {
			s.address = found[1]
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, out) // the rest of what it prints
		s.ended <- s.cmd.Wait()
	}()
	if s.address == "" {
		return nil, errors.Join(errors.New("the server ended before it served"), s.stop())
	}
	return s, nil
}

// sign makes a token for a user.
func (s *server) sign(ctx context.Context, user string) (string, error) {
	token := exec.CommandContext(ctx, s.cmd.Path, "token", "--user", user) //nolint:gosec // the server's own binary
	token.Env = s.cmd.Env
	said, err := token.Output()
	if err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return strings.TrimSpace(string(said)), nil
}

// as is another user of the same server.
func (s *server) as(ctx context.Context, user string) (*client, error) {
	token, err := s.sign(ctx, user)
	return &client{address: s.address, token: token}, err
}

// installation is the id by which the engine's things of a database's server are told from others.
func installation(ctx context.Context, on database) (string, error) {
	db, err := on.open(ctx)
	if err != nil {
		return "", err
	}
	id, err := db.Installation(ctx)
	return id, errors.Join(err, db.Close())
}

// url is what the server takes for AICLI_DATABASE_URL.
func (d database) url() string {
	if d.dialect == store.SQLite {
		return "sqlite:" + d.dsn
	}
	return d.dsn
}

// stop tells the server to end, and says what it logged last when it does not end well.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // one that has ended says so below
	late := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	if err := <-s.ended; err != nil {
		log := s.log.String()
		return fmt.Errorf("the server ended with %w; its log ends with\n%s", err, log[max(0, len(log)-4000):])
	}
	return nil
}

// ask sends one operation and reads its data.
func (c *client) ask(ctx context.Context, into any, query string, variables map[string]any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	text, readErr := io.ReadAll(response.Body)
	if err := errors.Join(readErr, response.Body.Close()); err != nil {
		return err
	}
	answer := struct {
		Data   any               `json:"data"`
		Errors []json.RawMessage `json:"errors"`
	}{Data: into}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%w in %s", err, text)
	}
	if len(answer.Errors) > 0 {
		return fmt.Errorf("%s was answered with %s", query, text)
	}
	return nil
}

// make asks for n workspaces and waits until they and those from before are ACTIVE. It says how long that took.
func (c *client) make(ctx context.Context, n int) (time.Duration, error) {
	first := c.names
	c.names += n
	began := time.Now()
	err := each(ctx, n, askers, func(ctx context.Context, i int) error {
		return c.mutate(ctx, "create", map[string]any{"name": fmt.Sprint("bench ", first+i)})
	})
	if err == nil {
		err = c.until(ctx, "ACTIVE", c.names)
	}
	return time.Since(began), err
}

// makeAtOnce asks for n workspaces at once and waits until all are ACTIVE. It says how long that took. A request waits for its outcome by itself, as long as
// it may; of those that take longer it is asked how far they are.
func (c *client) makeAtOnce(ctx context.Context, n int) (time.Duration, error) {
	first := c.names
	c.names += n
	var late atomic.Bool
	began := time.Now()
	err := each(ctx, n, n, func(ctx context.Context, i int) error {
		_, status, err := c.outcome(ctx, "create", map[string]any{"name": fmt.Sprint("bench ", first+i), "wait": "PT30S"})
		if err == nil && status != "ACTIVE" {
			late.Store(true)
		}
		return err
	})
	if err == nil && late.Load() {
		err = c.until(ctx, "ACTIVE", c.names)
	}
	return time.Since(began), err
}

// workers is how many tasks the server runs at once.
func (c *client) workers(ctx context.Context) (int, error) {
	var data struct {
		Server struct{ Queue struct{ Workers int } }
	}
	err := c.ask(ctx, &data, `{ server { queue { workers } } }`, nil)
	return data.Server.Queue.Workers, err
}

// clear deletes all workspaces through the API, whatever they are at, and waits until they are gone.
func (c *client) clear(ctx context.Context) error {
	for {
		var data struct {
			Workspaces struct{ Nodes []struct{ ID string } }
		}
		if err := c.ask(ctx, &data, `{ workspaces(first: 100, filter: {
			status: [PENDING, STARTING, ACTIVE, STOPPING, INACTIVE, RECOVERING, FAILED] }) { nodes { id } } }`, nil); err != nil {
			return err
		}
		list := data.Workspaces.Nodes
		if len(list) == 0 {
			return c.until(ctx, "", 0)
		}
		if err := each(ctx, len(list), askers, func(ctx context.Context, i int) error {
			return c.mutate(ctx, "delete", map[string]any{"id": list[i].ID})
		}); err != nil {
			return err
		}
	}
}

// mutate runs a mutation of one workspace, such as createWorkspace.
func (c *client) mutate(ctx context.Context, verb string, input map[string]any) error {
	_, err := c.change(ctx, verb, input)
	return err
}

// change is mutate with the id of the workspace.
func (c *client) change(ctx context.Context, verb string, input map[string]any) (id string, err error) {
	id, _, err = c.outcome(ctx, verb, input)
	return id, err
}

// outcome is change with the status of the workspace.
func (c *client) outcome(ctx context.Context, verb string, input map[string]any) (id, status string, err error) {
	var data struct {
		Result struct {
			Workspace  struct{ ID, Status string }
			UserErrors []struct{ Message string }
		}
	}
	query := fmt.Sprintf("mutation($input: %s%sWorkspaceInput!) { result: %sWorkspace(input: $input) { workspace { id status } userErrors { message } } }",
		strings.ToUpper(verb[:1]), verb[1:], verb)
	err = c.ask(ctx, &data, query, map[string]any{"input": input})
	if err == nil && len(data.Result.UserErrors) > 0 {
		err = fmt.Errorf("%s %v: %s", verb, input, data.Result.UserErrors[0].Message)
	}
	return data.Result.Workspace.ID, data.Result.Workspace.Status, err
}

// perWorkspace is far more than an engine takes that is slow: one on two cores was seen to make one container a second.
const perWorkspace = 3 * time.Second

// until waits until so many workspaces have a status; without one, until there are so many at all.
func (c *client) until(ctx context.Context, status string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience+time.Duration(n)*perWorkspace)
	defer cancel()
	filter := map[string]any{}
	if status != "" {
		filter["status"] = []string{status}
	}
	for {
		var data struct {
			Workspaces, Failed struct{ TotalCount int }
		}
		if err := c.ask(ctx, &data, `query($filter: WorkspaceFilter) { workspaces(first: 1, filter: $filter) { totalCount }
			failed: workspaces(first: 1, filter: { status: [FAILED] }) { totalCount } }`, map[string]any{"filter": filter}); err != nil {
			return err
		}
		switch {
		case data.Failed.TotalCount > 0:
			return fmt.Errorf("%d workspaces have failed", data.Failed.TotalCount)
		case data.Workspaces.TotalCount == n:
			return nil
		}
		if err := pause(ctx, look); err != nil {
			return fmt.Errorf("%d workspaces, of %d to be: %w", data.Workspaces.TotalCount, n, err)
		}
	}
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
