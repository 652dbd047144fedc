//go:build unix

package tokenstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outlook-connector/internal/fault"
)

// strangers is a file as it would be if somebody else owned it.
type strangers struct{ fs.FileInfo }

func (s strangers) Sys() any {
	stat := *s.FileInfo.Sys().(*syscall.Stat_t)
	stat.Uid = uint32(os.Geteuid()) + 4711
	return &stat
}

func TestAFileOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkInfo(path, info); err != nil {
		t.Fatalf("our own: %v", err)
	}
	if err := checkInfo(path, strangers{info}); !errors.Is(err, ErrUnsafe) || !strings.Contains(fault.HintOf(err), "chown") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if ownedByUs(strangers{info}) || ownedByRoot(strangers{info}) {
		t.Error("a folder of another user would pass")
	}
}
