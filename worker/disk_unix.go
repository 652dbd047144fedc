//go:build linux || darwin || freebsd

package worker

import "golang.org/x/sys/unix"

// roomOf returns the room of the disk that a folder is on.
func roomOf(folder string) (diskRoom, bool) {
	var s unix.Statfs_t
	if unix.Statfs(folder, &s) != nil {
		return diskRoom{}, false
	}
	size := uint64(s.Bsize)
	return diskRoom{free: uint64(s.Bavail) * size, size: s.Blocks * size}, true //nolint:unconvert // as above
}
