package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// lost holds that the loss of the database is told as such, over HTTP and in a mutation, and that /readyz knows of it.
func (c *client) lost() {
	c.Helper()
	for accept, want := range map[string]int{"application/graphql-response+json": http.StatusServiceUnavailable, "application/json": http.StatusOK} {
		for _, document := range []string{
			`{"query": "{ workspaces(first: 1) { totalCount } }"}`,
			`{"query": "mutation { createWorkspace(input: { name: \"lost\" }) { userErrors { message } } }"}`,
		} {
			request, err := http.NewRequestWithContext(c.Context(), http.MethodPost, "http://"+c.server.address+"/graphql", strings.NewReader(document))
			if err != nil {
				c.Fatal(err)
			}
			request.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {accept}, "Authorization": {"Bearer " + c.token}}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				c.Fatal(err)
			}
			text, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			var a struct {
				Errors []struct {
					Extensions struct {
						Code      string
						Retryable bool
					}
				}
			}
			if err == nil {
				err = json.Unmarshal(text, &a)
			}
			if err != nil || response.StatusCode != want || response.Header.Get("Retry-After") != "1" || len(a.Errors) != 1 || a.Errors[0].Extensions.Code != "DATABASE_UNAVAILABLE" || !a.Errors[0].Extensions.Retryable {
				c.Errorf("%s, as %s: %v, %s, Retry-After %q, %s", document, accept, err, response.Status, response.Header.Get("Retry-After"), text)
			}
		}
	}
	if status, text, err := c.http(http.MethodGet, "/readyz", http.Header{}, nil); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, "database") {
		c.Errorf("readyz: %d %s, %v", status, text, err)
	}
}
