//go:build !unix

package sandbox

import "os"

// lockFile opens the file without a lock: here two sandboxes on one folder are
// the user's mistake to avoid.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

func unlockFile(f *os.File) error { return f.Close() }
