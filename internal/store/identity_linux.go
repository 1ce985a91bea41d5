package store

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// fileIdentity names a file by what its file system gave it when it was made: a rename keeps it, a copy has its own. Where the file system does not keep the time
// of birth, it is the inode alone.
func fileIdentity(_ context.Context, path string) (string, error) {
	var said unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &said); err != nil {
		return "", fmt.Errorf("look at %s: %w", path, err)
	}
	born := unix.StatxTimestamp{}
	if said.Mask&unix.STATX_BTIME != 0 {
		born = said.Btime
	}
	return fmt.Sprintf("%d %d.%09d", said.Ino, born.Sec, born.Nsec), nil
}
