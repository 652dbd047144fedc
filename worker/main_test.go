package worker_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// These tests wait more than they compute: two at a time, as there are
		// processors, would take minutes.
		_ = flag.Set("test.parallel", "8") // a number is always taken
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests. It is long because the machine may
// be busy with other tests; nothing waits that long where all is well.
const patience = 30 * time.Second

// until waits for something to become true and fails the test with what it
// waited for.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("waited %s in vain for: %s", patience, what)
		}
	}
}

// ports keeps two tests of this process from being given one port.
var ports sync.Map

// freeAddress returns a free address on loopback. A worker that is started again
// must find the same port free, so it lies below those that the system gives to
// outgoing connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if _, taken := ports.LoadOrStore(address, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port found")
	return ""
}

// listens reports whether somebody answers at an address.
func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
