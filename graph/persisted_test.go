package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"github.com/aicli/aicli-web/internal/auth"
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// askByHash runs an operation of which the hash is sent and, unless it is empty, the text.
func (e *edge) askByHash(hash, text string, version any) (data, errs string) {
	e.Helper()
	ctx := graphql.StartOperationTrace(auth.WithPrincipal(e.Context(), ann))
	op, list := e.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: text, Extensions: map[string]any{"persistedQuery": map[string]any{"version": version, "sha256Hash": hash}}})
	var resp *graphql.Response
	if len(list) > 0 {
		resp = e.exec.DispatchError(graphql.WithOperationContext(ctx, op), list)
	} else {
		next, inner := e.exec.DispatchOperation(ctx, op)
		resp = next(inner)
	}
	encoded, err := json.Marshal(resp.Errors)
	if err != nil {
		e.Fatal(err)
	}
	return string(resp.Data), string(encoded)
}

func TestPersistedQueries(t *testing.T) {
	e := newEdge(t)
	const one = json.Number("1")
	const text = "{ viewer { id } }"
	expect := func(hash, document string, version any, want string) {
		t.Helper()
		if data, errs := e.askByHash(hash, document, version); !strings.Contains(data+errs, want) {
			t.Errorf("got %s %s, want %s", data, errs, want)
		}
	}
	expect(hashOf(text), "", one, `"message":"PersistedQueryNotFound"`)
	expect(hashOf(text), "", one, `"code":"PERSISTED_QUERY_NOT_FOUND"`)
	expect(hashOf(text), text, one, `{"viewer":{"id":"ann"}}`)
	expect(hashOf(text), "", one, `{"viewer":{"id":"ann"}}`)
	expect(hashOf(text), "{ viewer { role } }", one, "is not that of the document")
	expect(hashOf(text), "", one, `{"viewer":{"id":"ann"}}`)
	for _, version := range []any{json.Number("2"), "1", nil} {
		expect(hashOf(text), "", version, "persistedQuery must be")
	}
	expect("abc", "", one, "persistedQuery must be")

	t.Run("what is not valid is not kept", func(t *testing.T) {
		for _, bad := range []string{"{ nothing }", "{", "{ viewer {" + strings.Repeat(" id", 500) + " } }"} {
			e.askByHash(hashOf(bad), bad, one)
			expect(hashOf(bad), "", one, "PersistedQueryNotFound")
		}
	})
	t.Run("nor what is large, which is run all the same", func(t *testing.T) {
		large := text + strings.Repeat("#", documentMax)
		expect(hashOf(large), large, one, `{"viewer":{"id":"ann"}}`)
		expect(hashOf(large), "", one, "PersistedQueryNotFound")
	})
	t.Run("as many as there is room for are kept", func(t *testing.T) {
		for i := range persistedMax {
			other := fmt.Sprintf("%s # %d", text, i)
			e.askByHash(hashOf(other), other, one)
		}
		expect(hashOf(text), "", one, "PersistedQueryNotFound")
	})
}
