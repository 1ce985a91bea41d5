package auth

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keyFile holds a key of 32 random bytes in hexadecimal.
const keyFile = "signing.key"

// Key reads the signing key that is kept in dir, and makes it when there is none. Of many who make it at once one wins.
func Key(dir string) ([]byte, error) {
	path := filepath.Join(dir, keyFile)
	key, err := os.ReadFile(path) //nolint:gosec // the operator's own directory
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the signing key: %w", err)
	}
	random := make([]byte, secretMin)
	_, _ = rand.Read(random) // never fails
	// Written whole before it has its name, so that nobody reads half a key.
	draft, err := os.CreateTemp(dir, keyFile+".*") // for its owner alone
	if err != nil {
		return nil, fmt.Errorf("write the signing key: %w", err)
	}
	defer func() { _ = os.Remove(draft.Name()) }() // its other name stays
	_, err = draft.WriteString(hex.EncodeToString(random))
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return nil, fmt.Errorf("write the signing key: %w", err)
	}
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("keep the signing key: %w", err)
	}
	return os.ReadFile(path) //nolint:gosec // as above
}
