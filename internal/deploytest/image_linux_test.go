//go:build deploy

package deploytest_test

import (
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestToolImage puts the file system of the image together as the last stage of the
// Dockerfile says, without an engine, looks at what is in it, and runs the program there
// as the image's user.
func TestToolImage(t *testing.T) {
	parts := stages(read(t, dockerfilePath))
	build, last := parts[0], parts[len(parts)-1]
	work, image := t.TempDir(), t.TempDir()
	binary := filepath.Join(work, "outlook-connector")
	compile(t, build, binary)
	for _, c := range all(last, "COPY") {
		to := filepath.Join(image, c.args[1])
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		switch c.args[0] {
		case "/out/outlook-connector":
			put(t, binary, to, 0o555)
		case "/etc/ssl/certs/ca-certificates.crt": // those of this machine
			put(t, c.args[0], to, 0o444)
		case "/out/data":
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("it is not known where %s comes from", c.args[0])
		}
	}
	var found []string
	err := filepath.WalkDir(image, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			info, _ := entry.Info()
			found = append(found, strings.TrimPrefix(path, image))
			t.Logf("%s %9d %s", info.Mode(), info.Size(), strings.TrimPrefix(path, image))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/outlook-connector"}; !slices.Equal(found, want) {
		t.Errorf("the image holds %q, want %q", found, want)
	}
	static(t, binary)
	if out := inside(t, image, "version"); !strings.Contains(out, "outlook-connector 1.2.3\n") {
		t.Errorf("version says %s", out)
	}
	// It needs nothing else than what every engine brings (/etc/hosts) and what is given to
	// it (/tmp): the whole way, in its own file system.
	if err := os.WriteFile(filepath.Join(image, "etc/hosts"), []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(image, "tmp"), 0o700), os.Chmod(filepath.Join(image, "tmp"), 0o777)); err != nil {
		t.Fatal(err)
	}
	if out := inside(t, image, "demo", "--once", "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0"); !strings.Contains(out, "done 202") {
		t.Errorf("demo says %s", out)
	}
}

// compile builds the program with the flags of the Dockerfile.
func compile(t *testing.T, build []instruction, to string) {
	t.Helper()
	for _, run := range all(build, "RUN") {
		text := strings.Join(run.args, " ")
		if !strings.Contains(text, "go build") {
			continue
		}
		found := regexp.MustCompile(`go build (.*) -ldflags="([^"]*)" -o (\S+) (\S+)$`).FindStringSubmatch(strings.TrimSpace(text))
		if found == nil {
			t.Fatalf("not understood: %s", text)
		}
		flags := append(strings.Fields(found[1]), "-ldflags="+strings.ReplaceAll(found[2], "$VERSION", "1.2.3"), "-o", to, found[4])
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, flags...)...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	t.Fatal("the Dockerfile does not build the program")
}

func put(t *testing.T, from, to string, mode fs.FileMode) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		t.Fatal(err)
	}
}

// static demands a program that needs no loader and no library.
func static(t *testing.T, binary string) {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %s", p.Type)
		}
	}
}

// inside runs the program with the image as its root, as user 65532.
func inside(t *testing.T, image string, args ...string) string {
	t.Helper()
	if err := os.Chmod(image, 0o755); err != nil { // not readable by others until now
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/outlook-connector", args...)
	cmd.Dir, cmd.Env = "/", []string{"OUTLOOK_CONNECTOR_CONFIG=/etc/outlook-connector/outlook-connector.yaml"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: image}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65532, Gid: 65532}
	} else {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("outlook-connector %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
