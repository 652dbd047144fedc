package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"outlook-connector/internal/cli"
	"outlook-connector/internal/sandbox"
)

// update writes what commands print now into the scripts' expected files:
// go test ./internal/cli -update. Look at the difference before you keep it.
var update = flag.Bool("update", false, "rewrite the expected output in testdata/*.txtar")

// TestMain makes this test binary the program, too: under the name of
// outlook-connector it is what a user starts. Under the names of what opens a
// browser it is the browser with a person in front, so that no script opens a
// real one.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"outlook-connector": program,
		"xdg-open":          browser, "open": browser, "rundll32": browser,
	})
}

// program does what cmd/outlook-connector does.
func program() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// browser signs in at the address that it is given, as the account in SIGN_IN_AS.
// Without one it fails, as on a machine without a screen.
func browser() {
	account := os.Getenv("SIGN_IN_AS")
	if account == "" {
		os.Exit(3)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	_, err := sandbox.SignIn(ctx, nil, os.Args[len(os.Args)-1], account)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// leakChecked fails where the tests' own helpers leave a goroutine behind.
type leakChecked struct{ *testing.M }

// scriptsAtOnce is how many scripts run side by side unless -parallel says
// otherwise: they wait for polls more than they compute.
const scriptsAtOnce = "6"

func (m leakChecked) Run() int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", scriptsAtOnce); err != nil {
			panic(err) // the flag is not a number any more
		}
	}
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs what users type: each script of testdata is a terminal
// session in a folder of its own. The commands that testscript does not have
// are in this file, process_test.go and commands_test.go.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"start":    cmdStart,
			"finish":   cmdFinish,
			"end":      cmdEnd,
			"hup":      cmdHup,
			"waitfile": cmdWaitFile,
			"eventual": cmdEventual,
			"freeport": cmdFreePort,
			"occupy":   cmdOccupy,
			"sandbox":  cmdSandbox,
			"signin":   cmdSignIn,
			"capture":  cmdCapture,
			"jq":       cmdJQ,
			"mode":     cmdMode,
			"empty":    cmdEmpty,
			"edit":     cmdEdit,
			"post":     cmdPost,
		},
		Setup: func(env *testscript.Env) error {
			if os.Getenv("GORACE") == "" {
				// The race detector holds each process for a second at its end.
				env.Setenv("GORACE", "atexit_sleep_ms=0")
			}
			// A script that fails must not leave a browser or a proxy in its way.
			env.Setenv("NO_PROXY", "*")
			env.Values[sessionKey{}] = newSession(env)
			return nil
		},
		// A command that hangs is ended with its stack.
		Deadline:            time.Now().Add(4 * patience),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	})
}

// broken is what no exit code excuses. A panic exits with 2, as wrong usage does.
var broken = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE)`)

// cmdExits runs a program and demands its exit code: exits 2 outlook-connector
// publish.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, err := exitCode(ts.Exec(args[1], args[2:]...))
	ts.Check(err)
	if broken.MatchString(ts.ReadFile("stderr")) {
		ts.Fatalf("%s broke", strings.Join(args[1:], " "))
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// exitCode reads the exit code from the error of a command that has run.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.ExitCode() < 0 {
			return 0, err // killed by a signal
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}
