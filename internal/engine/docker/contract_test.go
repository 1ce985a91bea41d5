package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/docker/docker/api/types/versions"

	"github.com/aicli/aicli-web/internal/engine"
	"github.com/aicli/aicli-web/internal/engine/enginetest"
)

// TestContract holds the real daemon to what the fake is held to.
func TestContract(t *testing.T) {
	opts := contract("engine-contract-", 215, nil)
	if makesTwins(t) {
		opts.Twin = func(t *testing.T, e engine.Engine, spec engine.NetworkSpec) string {
			t.Helper()
			return twin(t, e.(*Engine), spec)
		}
	}
	enginetest.Exercise(t, func(t *testing.T) engine.Engine {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}, opts)
}

// contract is what the suite may use of an engine: addresses of 10.second.0.0/16, of which two runs on one engine seldom use the same.
func contract(prefix string, second int, except []string) enginetest.ExerciseOptions {
	third := os.Getpid() % 256
	var subnets []string
	for host := 0; host < 48; host += 16 {
		subnets = append(subnets, fmt.Sprintf("10.%d.%d.%d/28", second, third, host))
	}
	return enginetest.ExerciseOptions{
		Image: enginetest.BaseImage, Prefix: fmt.Sprint(prefix, os.Getpid()), Subnets: subnets, Except: except,
		Pause: func(t *testing.T, e engine.Engine, id string) {
			t.Helper()
			if err := e.(*Engine).api.ContainerPause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		},
		Disconnect: func(t *testing.T, e engine.Engine, network, id string) {
			t.Helper()
			if err := e.(*Engine).api.NetworkDisconnect(t.Context(), network, id, true); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// makesTwins reports whether the engine makes a second network of one name when it is not asked to check. From API 1.44 on it always does.
func makesTwins(t *testing.T) bool {
	t.Helper()
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	said, err := e.api.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return versions.LessThan(said.APIVersion, "1.44")
}

// twin makes a second network of one name.
func twin(t *testing.T, e *Engine, spec engine.NetworkSpec) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"Name": spec.Name, "CheckDuplicate": false, "Driver": "bridge", "Labels": spec.Labels,
		"IPAM": map[string]any{"Config": []map[string]string{{"Subnet": spec.Subnet}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dial := e.api.Dialer()
	plain := &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://docker/v1.41/networks/create", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := plain.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var said struct{ ID, Message string }
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || said.ID == "" {
		t.Fatalf("a second network of one name: %v, %s", err, said.Message)
	}
	return said.ID
}
