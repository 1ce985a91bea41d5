package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTypedClients runs each client of docs/clients.md, which scripts/build-clients.sh has made of the schema, on a server.
func TestTypedClients(t *testing.T) { //nolint:tparallel // what its group has left is looked at behind it
	t.Parallel()
	h := newHome(t)
	s := h.start()
	node := func(file string) []string { return []string{"node", "--experimental-websocket", file} } // as browsers have it
	t.Run("all", func(t *testing.T) {
		for name, command := range map[string][]string{
			"apollo": node("apollo/check.mjs"), "relay": node("relay/check.mjs"), "urql": node("urql/check.mjs"), "go": {"./go/check"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := exec.CommandContext(t.Context(), command[0], append(command[1:], "http://"+s.address, h.token(name))...)
				var err error
				if c.Dir, err = filepath.Abs("../../clients/built"); err != nil {
					t.Fatal(err)
				}
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	})
	var data struct{ Workspaces struct{ TotalCount int } }
	s.as("root", "--role", "admin").get(&data, `{ workspaces { totalCount } }`, nil)
	if data.Workspaces.TotalCount > 0 {
		t.Errorf("%d workspaces are left", data.Workspaces.TotalCount)
	}
}
