package store

import (
	"slices"
	"sync"
	"testing"

	"gorm.io/gorm/schema"
)

// TestEveryColumnThatMayChangeIsRewritten holds that none is forgotten when one is added.
func TestEveryColumnThatMayChangeIsRewritten(t *testing.T) {
	check := func(row any, written []string, fixed ...string) {
		t.Helper()
		parsed, err := schema.Parse(row, &sync.Map{}, schema.NamingStrategy{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range parsed.DBNames {
			if slices.Contains(written, name) == slices.Contains(fixed, name) {
				t.Errorf("%s.%s: is it written, or does it never change?", parsed.Table, name)
			}
		}
	}
	check(&workspaceRow{}, names(allColumns), "owner_id", "project_path", "project_key", "created_at", "slot", "now")
	check(&taskRow{}, names(taskColumns), "type", "workspace_id", "owner_id", "requested_by", "max_attempts", "created_at", "started_at",
		"lease_token", "lease_until", "lane", "turn")
	check(&taskRow{}, names(freshColumns), "turn")
}

func names[R any](columns []column[R]) (names []string) {
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}
