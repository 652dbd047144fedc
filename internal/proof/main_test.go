//go:build unix

package proof_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The flags stand behind -args: go test ./internal/proof -args -long -seed 7.
var (
	long    = flag.Bool("long", false, "the full figures: 2,000 mails in, 500 out, 40 kills; some minutes")
	seed    = flag.Uint64("seed", 0, "seed of the dice; 0 takes a new one")
	program = flag.String("program", "", "the program under proof; empty builds it from this tree")
)

func TestMain(m *testing.M) {
	if job := os.Getenv(jobEnv); job != "" {
		if err := slotsMain(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(buildDir())
		os.Exit(code)
	}))
}

func buildDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("outlook-connector-proof-%d", os.Getpid()))
}

// build builds the program once for all tests, as a user would: without the
// race detector, which would change the moments that a kill can hit.
var build = sync.OnceValues(func() (string, error) {
	if *program != "" {
		return filepath.Abs(*program)
	}
	path := filepath.Join(buildDir(), "outlook-connector")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/outlook-connector").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// binary returns the path of the program under proof.
func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// dice are a test's own, so that tests that run together do not disturb each
// other's throws.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name())) // never fails
	t.Logf("seed %d (again with: -args -seed %d)", *seed, *seed)
	return rand.New(rand.NewPCG(*seed, h.Sum64()))
}

// together lets the short form's tests run side by side. The long form measures
// times, so there each has the machine for itself.
func together(t *testing.T) {
	t.Helper()
	if !*long {
		t.Parallel()
	}
}

// pick returns the first for the short form, the second for the long one.
func pick[T any](short, full T) T {
	if *long {
		return full
	}
	return short
}
