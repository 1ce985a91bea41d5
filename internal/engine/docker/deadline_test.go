package docker

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dockerclient "github.com/docker/docker/client"

	"github.com/aicli/aicli-web/internal/engine"
)

// silent answers the ping that negotiates, begins to answer pulls, and leaves everything else without an answer.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Api-Version": {"1.41"}}, Body: http.NoBody, Request: r}
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		return answer, nil
	case strings.HasSuffix(r.URL.Path, "/images/create"):
		answer.Body = io.NopCloser(waiting{r.Context()})
		return answer, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// waiting is a body that has nothing to read while its request lasts.
type waiting struct {
	ctx context.Context //nolint:containedctx // a request's, which its body ends with
}

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func TestDeadlines(t *testing.T) {
	ignore := func(engine.Stats) {}
	for name, call := range map[string]func(context.Context, *Engine) error{
		"information": func(ctx context.Context, e *Engine) error { _, err := e.Info(ctx); return err },
		"a stop":      func(ctx context.Context, e *Engine) error { return e.StopContainer(ctx, "a", time.Minute) },
		"a pull":      func(ctx context.Context, e *Engine) error { return e.Pull(ctx, "a:b", nil) },
		"events":      func(ctx context.Context, e *Engine) error { _, err := e.Events(ctx, nil, time.Now()); return err },
		"readings":    func(ctx context.Context, e *Engine) error { return e.WatchStats(ctx, "a", ignore) },
	} {
		t.Run(name+" of a silent engine ends by itself", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, err := dockerclient.NewClientWithOpts(dockerclient.WithHTTPClient(&http.Client{Transport: silent{}}),
					dockerclient.WithAPIVersionNegotiation())
				if err != nil {
					t.Fatal(err)
				}
				if err := call(t.Context(), &Engine{api: api}); !engine.Is(err, engine.KindTimeout) {
					t.Errorf("got %v (%s)", err, engine.KindOf(err))
				}
			})
		})
	}
}
