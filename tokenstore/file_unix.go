//go:build unix

package tokenstore

import (
	"io/fs"
	"os"
	"syscall"
)

const (
	// hasModes says that permission bits mean something here.
	hasModes = true
	// noFollow makes opening a symbolic link an error.
	noFollow = syscall.O_NOFOLLOW
)

func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// ownedByRoot: who can do everything anyway.
func ownedByRoot(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == 0
}
