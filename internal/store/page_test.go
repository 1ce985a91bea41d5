package store

import (
	"testing"

	"github.com/aicli/aicli-web/internal/workspace"
)

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "x", "e30", "eyJ2IjoxLCJpIjoid3NfMSJ9", encodeCursor("name", "ws_1"), encodeCursor(micros(5), "ws_1"), "bnVsbA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		if value, id, err := decodeCursor[int64](cursor, "after"); err == nil {
			if again, sameID, err := decodeCursor[int64](encodeCursor(value, id), "after"); err != nil || again != value || sameID != id {
				t.Fatalf("%q: %d and %q became %d and %q, %v", cursor, value, id, again, sameID, err)
			}
		} else if workspace.CodeOf(err) != workspace.BadUserInput {
			t.Fatalf("%q: %v", cursor, err)
		}
		if _, _, err := decodeCursor[nameKey](cursor, "after"); err != nil && workspace.CodeOf(err) != workspace.BadUserInput {
			t.Fatalf("%q: %v", cursor, err)
		}
	})
}
