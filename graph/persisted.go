package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/aicli/aicli-web/internal/workspace"
)

// persistedMax is how many documents are kept by their hash: with documentMax each, at most 8 MB. One that is pushed out is sent again by the
// client that next asks for it.
const persistedMax = 1_000

// persisted are automatic persisted queries, as Apollo's links speak them: a client sends the hash of a document alone, and the document with it when it
// is told that nobody knows the hash. Only documents that are valid are kept.
// Source: https://www.apollographql.com/docs/apollo-server/performance/apq, version 1.
type persisted struct {
	documents graphql.Cache[string] // by hash
}

func newPersisted() persisted { return persisted{lru.New[string](persistedMax)} }

var _ interface {
	graphql.HandlerExtension
	graphql.OperationParameterMutator
	graphql.OperationContextMutator
} = persisted{}

// The message is the protocol's own: links look for it.
var errNotPersisted = workspace.Error{Code: "PERSISTED_QUERY_NOT_FOUND", Message: "PersistedQueryNotFound", Retryable: true}

// ExtensionName is part of graphql.HandlerExtension.
func (persisted) ExtensionName() string { return "PersistedQueries" }

// Validate is part of graphql.HandlerExtension.
func (persisted) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters is part of graphql.OperationParameterMutator: it finds the document of a hash that comes alone.
func (p persisted) MutateOperationParameters(ctx context.Context, params *graphql.RawParams) *gqlerror.Error {
	hash, err := hashIn(params.Extensions)
	switch {
	case err != nil:
		return gqlerror.Wrap(err)
	case hash == "":
		return nil
	case params.Query != "":
		if sum := sha256.Sum256([]byte(params.Query)); hex.EncodeToString(sum[:]) != hash {
			return gqlerror.Wrap(badExtension("The hash in extensions.persistedQuery is not that of the document. Send the SHA-256 of query in hexadecimal, in lower case."))
		}
		return nil
	}
	text, known := p.documents.Get(ctx, hash)
	if !known {
		return gqlerror.Wrap(new(errNotPersisted))
	}
	params.Query = text
	return nil
}

// MutateOperationContext is part of graphql.OperationContextMutator: it keeps a document that came with its hash and is valid.
func (p persisted) MutateOperationContext(ctx context.Context, op *graphql.OperationContext) *gqlerror.Error {
	if hash, err := hashIn(op.Extensions); err == nil && hash != "" && len(op.RawQuery) <= documentMax {
		p.documents.Add(ctx, hash, op.RawQuery)
	}
	return nil
}

// hashIn reads the hash of a persisted query; empty when there is none.
func hashIn(extensions map[string]any) (string, error) {
	value := extensions["persistedQuery"]
	if value == nil {
		return "", nil
	}
	fields, _ := value.(map[string]any)
	hash, _ := fields["sha256Hash"].(string)
	version, _ := fields["version"].(json.Number)
	if version != "1" || len(hash) != hex.EncodedLen(sha256.Size) {
		return "", badExtension(`The extension persistedQuery must be {"version": 1, "sha256Hash": "…"} with a hash of 64 hexadecimal digits.`)
	}
	return hash, nil
}

func badExtension(message string) *workspace.Error {
	return &workspace.Error{Code: workspace.BadUserInput, Message: message, Field: []string{"extensions", "persistedQuery"}}
}
