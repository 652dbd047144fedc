//go:build unix

package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is the program running as a process of its own.
type process struct {
	t       *testing.T
	name    string
	cmd     *exec.Cmd
	started time.Time
	// log is the file with its standard error; stdout the one with its output.
	log, stdout string

	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed
}

// spawn starts the program in a folder. It is killed, with all that it started,
// at the end of the test at the latest; if the test failed, the end of its log
// is shown.
func spawn(t *testing.T, dir, logs, name string, args ...string) *process {
	t.Helper()
	p := &process{
		t: t, name: name, done: make(chan struct{}),
		log: filepath.Join(logs, name+".log"), stdout: filepath.Join(logs, name+".out"),
	}
	p.cmd = exec.Command(binary(t), args...)
	p.cmd.Dir, p.cmd.SysProcAttr = dir, leash()
	// Nothing of the tester's own: no proxy, no configuration, no credentials.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "GOTRACEBACK=all"}
	stdout, err := os.Create(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the end of %s:\n%s", p.log, tail(p.log, 25))
		}
	})
	return p
}

// kill ends the process and its group with SIGKILL and returns when it is gone:
// the moment before the signal and the one when the process was seen dead.
func (p *process) kill() (before, after time.Time) {
	before = time.Now()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
	<-p.done
	return before, time.Now()
}

// signal sends a signal to the process.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// alive fails the test where the process has ended by itself.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.done:
		p.t.Fatalf("%s ended by itself: %v\n%s", p.name, p.err, tail(p.log, 25))
	default:
	}
}

// stop asks for an orderly end and demands one.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Errorf("%s did not stop cleanly: %v", p.name, p.err)
		}
	case <-time.After(40 * time.Second):
		p.t.Errorf("%s did not stop within 40 s of SIGTERM", p.name)
	}
}

// logged returns the first line of the log, which is JSON, with this message.
func (p *process) logged(message string) (map[string]any, bool) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return nil, false
	}
	for line := range bytes.Lines(text) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil && entry["msg"] == message {
			return entry, true
		}
	}
	return nil, false
}

// stumbles returns the lines of the log that no kill explains: panics, data
// races, and everything at level error but for the commands that a kill left
// uncertain.
func (p *process) stumbles() []string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range bytes.Lines(text) {
		var entry struct{ Level, Msg string }
		switch {
		case json.Unmarshal(line, &entry) != nil:
			if bytes.HasPrefix(line, []byte("panic:")) || bytes.HasPrefix(line, []byte("fatal error:")) {
				found = append(found, p.name+": "+string(bytes.TrimSpace(line)))
			}
		case entry.Level == "ERROR" && entry.Msg != "command uncertain":
			found = append(found, p.name+": "+string(bytes.TrimSpace(line)))
		}
	}
	return found
}

// call runs a command of the program to its end and returns what it printed.
func call(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path := binary(t) // it may have to be built, which takes its time
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errOut.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatalf("run %v: %v", args, err)
	}
	return out.String(), errOut.String(), 0
}

// until waits for something to become true, looking every so often, and fails
// the test with what it waited for.
func until(t *testing.T, atMost, every time.Duration, what string, ok func() bool) {
	t.Helper()
	if !waited(t.Context(), atMost, every, ok) {
		t.Fatalf("waited %s in vain for: %s", atMost, what)
	}
}

// waited waits for something to become true and says whether it did.
func waited(ctx context.Context, atMost, every time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ok()
		}
	}
	return true
}

// pause waits for a time, or less where the test ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprint(err)
	}
	all := bytes.SplitAfter(text, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines-1):], nil))
}
