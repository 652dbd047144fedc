package tokenstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"outlook-connector/internal/fault"
)

// Errors of [Open]; compare them with errors.Is. A wrong key is
// [seal.ErrWrongKey]. Each comes with a hint that says what to do.
var (
	// ErrLocked says that another process holds the file.
	ErrLocked = errors.New("another process holds the token store")
	// ErrUnsafe says that others could read or replace the file, or that it is
	// no regular file.
	ErrUnsafe = errors.New("the token store is not safe")
	// ErrDamaged says that the file is empty, cut, or was changed by something
	// other than this program. It was left as it is.
	ErrDamaged = errors.New("the token store is damaged")
)

// refuse returns the error with which Open gives up for good.
func refuse(cause error, hint string, args ...any) error {
	return fault.New(fault.Fatal, "open token store: %w", cause).WithHint(hint, args...)
}

// checkFolder makes the folder of the store where it is missing, for this user
// only, and refuses one in which others could put a file of theirs in the place
// of ours. Others may list it: the file itself is closed to them.
func checkFolder(path string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return refuse(fmt.Errorf("make its folder: %w", err), "Make the folder %s, or set token_store.path to a file in a folder that you may write to.", folder)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return refuse(err, "Look at the folder %s.", folder)
	}
	// Root works in other users' folders wherever a container mounts one.
	if !ownedByUs(info) && !ownedByRoot(info) && os.Geteuid() != 0 {
		return refuse(fmt.Errorf("%w: its folder %s belongs to another user, who can put another file in its place", ErrUnsafe, folder),
			"Run as the user who owns it, or: chown %d %s", os.Geteuid(), folder)
	}
	if !hasModes || info.Mode().Perm()&0o022 == 0 || info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	return refuse(fmt.Errorf("%w: others may write to its folder %s (mode %04o)", ErrUnsafe, folder, info.Mode().Perm()),
		"chmod 700 %s", folder)
}

// checkFile looks at the file before anything opens it: bbolt follows links,
// keeps whatever mode a file has, and takes an empty file for a new one. It
// reports whether the file exists.
func checkFile(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, refuse(err, "Look at the file %s.", path)
	}
	return true, checkInfo(path, info)
}

func checkInfo(path string, info fs.FileInfo) error {
	mode := info.Mode()
	switch {
	case mode&fs.ModeSymlink != 0:
		return refuse(fmt.Errorf("%w: %s is a symbolic link", ErrUnsafe, path), "Set token_store.path to the file itself.")
	case !mode.IsRegular():
		return refuse(fmt.Errorf("%w: %s is not a regular file", ErrUnsafe, path), "Set token_store.path to a file.")
	case hasModes && mode.Perm()&0o077 != 0:
		return refuse(fmt.Errorf("%w: others may read or write %s (mode %04o)", ErrUnsafe, path, mode.Perm()),
			"chmod 600 %s", path)
	case !ownedByUs(info):
		return refuse(fmt.Errorf("%w: %s belongs to another user", ErrUnsafe, path),
			"Run as the user who owns it, or: chown %d %s", os.Geteuid(), path)
	case info.Size() == 0:
		return refuse(fmt.Errorf("%w: %s is empty", ErrDamaged, path),
			"Restore it from a backup; or, if there never was a grant in it, remove it and sign in again: rm %s", path)
	}
	return nil
}

// openSafely is how bbolt opens the file: never through a link, and never a
// file other than one that passes the checks. It does not create: [create] does.
func openSafely(path string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag&^os.O_CREATE|noFollow, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = checkInfo(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// publish moves a finished new store to its place without ever replacing a
// file, and makes its name durable.
func publish(finished, path string) error {
	err := os.Link(finished, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links. Two processes that both start for
		// the first time here could replace each other's empty store.
		return os.Rename(finished, path)
	}
	if removeErr := os.Remove(finished); err == nil {
		err = removeErr
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a new name in the folder survive a power cut.
func syncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	if err := dir.Sync(); err != nil && hasModes { // Windows cannot sync a folder
		return errors.Join(err, dir.Close())
	}
	return dir.Close()
}
