//go:build unix

package tokenstore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// TestWhatIsNoFileIsRefused would hang where a pipe were opened: nobody writes
// to it.
func TestWhatIsNoFileIsRefused(t *testing.T) {
	t.Parallel()
	whole := filled(t)
	for name, make := range map[string]func(path string) error{
		"a folder":           func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":             func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":             func(path string) error { return os.Symlink(whole, path) },
		"a link to nothing":  func(path string) error { return os.Symlink(path+".gone", path) },
		"a link to itself":   func(path string) error { return os.Symlink(path, path) },
		"a link to a device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens.db")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
			if !errors.Is(err, tokenstore.ErrUnsafe) || fault.KindOf(err) != fault.Fatal || !strings.Contains(err.Error(), path) ||
				!strings.Contains(fault.HintOf(err), "token_store.path") {
				t.Errorf("got %v, hint %q", err, fault.HintOf(err))
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("refused after %s", took)
			}
			left, err := os.ReadDir(filepath.Dir(path))
			if err != nil || len(left) != 1 {
				t.Errorf("the folder has %v, %v", left, err)
			}
		})
	}
}

// TestAFolderThatIsNone is one whose name a file has, and one that cannot be
// made.
func TestAFolderThatIsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "tokens.db"), filepath.Join(file, "deep", "tokens.db")} {
		_, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
		if fault.KindOf(err) != fault.Fatal || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Lstat(file); err != nil || info.Mode() != fs.FileMode(0o600) || info.Size() != 0 {
		t.Errorf("the file was changed: %v, %v", info, err)
	}
}
