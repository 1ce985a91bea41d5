//go:build !linux

package store

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// fileIdentity names a file by its inode: a rename keeps it, a copy has its own.
func fileIdentity(_ context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	said, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s has no inode", path)
	}
	return fmt.Sprint(said.Ino), nil
}
