package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aicli/aicli-web/internal/task"
)

// Idempotency keys: the same key and input from the same caller within KeysFor gives the first answer again. The key is committed
// with the change that it stands for, so of two requests at once, on whatever server, one makes the change and the other finds the key.
const (
	KeysFor = 24 * time.Hour
	maxKey  = 200 // characters: a UUID has 36
)

// Once is a key and what was asked for with it. The zero value is none.
type Once struct {
	Caller, Key string
	Fingerprint string // of the mutation and its input
	// Where the answer is: a workspace and, where one was needed, its task, or a batch.
	WorkspaceID, TaskID, BatchID string
}

// ErrKeyUsed is what the store says of a change whose key is there already: nothing was changed.
var ErrKeyUsed = errors.New("the idempotency key was used before")

// answered is a key together with where its answer is.
func (o Once) answered(workspaceID string, by *task.Task) Once {
	if o.Key == "" {
		return o
	}
	o.WorkspaceID = workspaceID
	if by != nil {
		o.TaskID = by.ID
	}
	return o
}

// newOnce checks a key; nil is none. The input must not hold the key itself.
func newOnce(actor Actor, key *string, mutation string, input any) (Once, error) {
	if key == nil {
		return Once{}, nil
	}
	n := utf8.RuneCountInString(*key)
	if n == 0 || n > maxKey || strings.ContainsFunc(*key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Once{}, badInput(fmt.Sprintf("An idempotency key has 1 to %d printable characters.", maxKey), "input", "idempotencyKey")
	}
	text, err := json.Marshal(input)
	if err != nil {
		return Once{}, fmt.Errorf("take the fingerprint of an input: %w", err)
	}
	sum := sha256.Sum256(append([]byte(mutation+" "), text...))
	return Once{Caller: actor.ID, Key: *key, Fingerprint: hex.EncodeToString(sum[:])}, nil
}

// once makes a change that has a key, or gives the answer that the key was given before, as it is now. The key is looked up before
// the input is checked: what has changed since then must not refuse what was done then.
func once[T any](ctx context.Context, s *Service, o Once, change func() (T, error), again func(Once) (T, error)) (answer T, err error) {
	if o.Key == "" {
		return change()
	}
	before, err := s.first(ctx, o)
	if CodeOf(err) == NotFound {
		made, changeErr := change()
		if changeErr == nil {
			return made, nil
		}
		// Somebody may have made it meanwhile with the same key, and so be the reason why it cannot be made now.
		if before, err = s.first(ctx, o); CodeOf(err) == NotFound {
			return answer, changeErr
		}
	}
	if err != nil {
		return answer, err
	}
	return again(before)
}

// first finds the answer that a key was given before; an error when it was asked for something else then.
func (s *Service) first(ctx context.Context, o Once) (Once, error) {
	before, err := s.store.Once(ctx, o.Caller, o.Key)
	if err == nil && before.Fingerprint != o.Fingerprint {
		return Once{}, &Error{Code: Conflict, Field: []string{"input", "idempotencyKey"},
			Message: "You have used this idempotency key for another request within the last 24 hours. Use a new one."}
	}
	return before, err
}
