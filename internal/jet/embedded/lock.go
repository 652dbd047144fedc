package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"outlook-connector/internal/fault"
)

// ErrLocked says that another process, or another server of this process,
// holds the data folder. Test it with [errors.Is].
var ErrLocked = errors.New("data folder is in use")

// lockFile is locked, never read. It stays after a stop: removing it would let
// two processes lock two different files of that name.
const lockFile = "embedded.lock"

// folderLock is the right to run a server in a folder. nats-server takes none:
// two of them on one folder both start and ruin each other's files. The kernel
// drops it with the process, so a kill leaves no stale lock.
type folderLock struct{ file *os.File }

func lockFolder(dir string) (*folderLock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Fatal, "lock data folder: %w", err).WithHint("run as the user who owns %s", dir)
	}
	if err := tryLock(f); err != nil {
		if errors.Is(err, errTaken) {
			err = fault.New(fault.Fatal, "%s: %w", dir, ErrLocked).WithHint("another process runs NATS in %s: stop it, or connect to it", dir)
		} else {
			err = fault.New(fault.Fatal, "lock data folder %s: %w", dir, err).WithHint("the folder must be on a file system with locks")
		}
		return nil, errors.Join(err, f.Close())
	}
	return &folderLock{file: f}, nil
}

// release gives the folder back; closing the file drops the lock.
func (l *folderLock) release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("unlock data folder: %w", err)
	}
	return nil
}

// errTaken is what tryLock returns where somebody else holds the lock.
var errTaken = errors.New("lock is taken")
