package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for something: far longer than it takes,
// because the machine may be busy with other tests.
const patience = 60 * time.Second

// session is what one script has running. A script is one goroutine.
type session struct {
	names     []string // of the variables that processes in the background get
	processes map[string]*process
}

type sessionKey struct{}

func newSession(env *testscript.Env) *session {
	s := &session{processes: make(map[string]*process)}
	for _, pair := range env.Vars {
		name, _, _ := strings.Cut(pair, "=")
		s.names = append(s.names, name)
	}
	return s
}

func sessionOf(ts *testscript.TestScript) *session {
	s, ok := ts.Value(sessionKey{}).(*session)
	if !ok {
		ts.Fatalf("no session")
	}
	return s
}

// setenv sets a variable for the script, for what it runs and for what it
// starts.
func (s *session) setenv(ts *testscript.TestScript, name, value string) {
	ts.Setenv(name, value)
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
}

// process is a program in the background. Its output goes to NAME.out and
// NAME.err, where waitfile and grep find it while it runs.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // once ended is closed
}

// cmdStart starts a program in the background: start NAME PROGRAM ARGUMENT….
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGUMENT…")
	}
	s, name := sessionOf(ts), args[0]
	if s.processes[name] != nil {
		ts.Fatalf("%s runs already", name)
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	p := &process{cmd: exec.Command(path, args[2:]...), ended: make(chan struct{})}
	p.cmd.Dir = ts.MkAbs(".")
	for _, name := range s.names {
		p.cmd.Env = append(p.cmd.Env, name+"="+ts.Getenv(name))
	}
	stdout, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	ts.Check(p.cmd.Start())
	s.processes[name] = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	ts.Defer(func() {
		select {
		case <-p.ended:
			return // the script has asked how
		default:
		}
		_ = p.cmd.Process.Kill() // it may have ended meanwhile
		<-p.ended
		ts.Logf("[%s: still running at the end of the script; the end of its log]\n%s", name, tail(ts.MkAbs(name+".err")))
	})
}

// tail returns the last lines of a file, for the log of a script that failed.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

// cmdFinish waits for the end of a process and demands its exit code: finish
// NAME CODE.
func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: finish NAME CODE")
	}
	finish(ts, args[0], args[1])
}

// cmdEnd asks a process to end, as service managers do, and demands its exit
// code: end NAME CODE.
func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: end NAME CODE")
	}
	if p := sessionOf(ts).processes[args[0]]; p != nil {
		ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	}
	finish(ts, args[0], args[1])
}

// cmdHup sends SIGHUP to a process: hup NAME.
func cmdHup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || sessionOf(ts).processes[args[0]] == nil {
		ts.Fatalf("usage: hup NAME")
	}
	ts.Check(sessionOf(ts).processes[args[0]].cmd.Process.Signal(syscall.SIGHUP))
}

func finish(ts *testscript.TestScript, name, want string) {
	s := sessionOf(ts)
	p := s.processes[name]
	if p == nil {
		ts.Fatalf("nothing named %s runs", name)
	}
	delete(s.processes, name)
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("%s did not end within %s", name, patience)
	}
	if log := ts.ReadFile(name + ".err"); broken.MatchString(log) {
		ts.Fatalf("%s broke:\n%s", name, log)
	}
	code, err := exitCode(p.err)
	ts.Check(err)
	if fmt.Sprint(code) != want {
		ts.Fatalf("%s exited with %d, want %s; the end of its log:\n%s", name, code, want, tail(ts.MkAbs(name+".err")))
	}
}

// eventually tries until ok, for as long as patience lasts.
func eventually(ok func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ok()
		case <-ticker.C:
		}
	}
	return true
}

// cmdWaitFile waits until a file, such as a process's output, matches: waitfile
// FILE PATTERN. It fails early where the process that writes it has ended.
func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfile FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	name, _, _ := strings.Cut(args[0], ".")
	writer := sessionOf(ts).processes[name]
	matched := false
	eventually(func() bool {
		ended := false
		if writer != nil {
			select {
			case <-writer.ended:
				ended = true
			default:
			}
		}
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		matched = err == nil && pattern.Match(text)
		return matched || ended
	})
	if !matched {
		ts.Fatalf("%s never matched %s; its end:\n%s\nand the log's:\n%s", args[0], args[1], tail(ts.MkAbs(args[0])), tail(ts.MkAbs(name+".err")))
	}
}

// cmdEventual repeats a program until its output matches: eventual PATTERN
// PROGRAM ARGUMENT…. Its output is the last one's.
func cmdEventual(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventual PATTERN PROGRAM ARGUMENT…")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	if !eventually(func() bool {
		_ = ts.Exec(args[1], args[2:]...) // what it prints decides
		return pattern.MatchString(ts.ReadFile("stdout"))
	}) {
		ts.Fatalf("the output never matched %s", args[0])
	}
}
