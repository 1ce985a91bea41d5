// Command go uses the API by a client that genqlient has made of the schema: it makes a workspace, waits until it is active, lists what there is, and deletes it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Khan/genqlient/graphql"
	"github.com/gorilla/websocket"
)

//go:generate go tool genqlient

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go URL TOKEN")
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// signedIn adds a token to each request.
type signedIn struct{ token string }

func (s signedIn) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+s.token)
	return http.DefaultClient.Do(r)
}

// dialer opens the connection for subscriptions.
type dialer struct{ *websocket.Dialer }

func (d dialer) DialContext(ctx context.Context, url string, header http.Header) (graphql.WSConn, error) {
	conn, response, err := d.Dialer.DialContext(ctx, url, header)
	if response != nil {
		_ = response.Body.Close()
	}
	return conn, err
}

func run(ctx context.Context, url, token string) error {
	client := graphql.NewClient(url+"/graphql", signedIn{token})
	streams := graphql.NewClientUsingWebSocket(strings.Replace(url, "http", "ws", 1)+"/graphql", dialer{websocket.DefaultDialer},
		graphql.WithConnectionParams(map[string]any{"authorization": "Bearer " + token}))

	made, err := create(ctx, client, &CreateWorkspaceInput{Name: "go-one"})
	if err != nil {
		return err
	}
	if problems := made.CreateWorkspace.UserErrors; len(problems) > 0 {
		return errors.New(problems[0].Message)
	}
	id := made.CreateWorkspace.Workspace.Id
	if err := active(ctx, streams, id); err != nil {
		return err
	}
	all, err := list(ctx, client, 10, nil)
	if err != nil {
		return err
	}
	for _, w := range all.Workspaces.Nodes {
		fmt.Println(w.Id, w.Status, w.CreatedAt.Format(time.RFC3339), w.Resources.MemoryBytes)
	}
	_, err = remove(ctx, client, id)
	return err
}

// active waits until a workspace is active.
func active(ctx context.Context, streams graphql.WebSocketClient, id string) error {
	failed, err := streams.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = streams.Close() }()
	changes, _, err := watch(ctx, streams, id)
	if err != nil {
		return err
	}
	for {
		select {
		case c := <-changes:
			if c.Errors != nil {
				return c.Errors
			}
			if c.Data.WorkspaceStatus.Status == WorkspaceStatusActive {
				return nil
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
