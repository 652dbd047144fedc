package jet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
)

// victimEnv names the data folder of a process that is there to be killed.
const victimEnv = "OUTLOOK_JET_TEST_VICTIM"

const victimFeeds = 6

// TestAKilledProcessLosesRepeatsAndTearsNothing runs server and workers in a
// child process, kills it again and again in the middle of commits, and looks
// at what is on disk.
// rounds is how often the victim is killed. Each kill may leave one record that
// was stored and not acknowledged any more.
const rounds = 6

func TestAKilledProcessLosesRepeatsAndTearsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[string]int{} // the last number that the victim was told is stored
	for round := range rounds {
		if n := killAfter(t, dir, time.Duration(40+round*35)*time.Millisecond, acked); n == 0 {
			t.Errorf("round %d: nothing was stored before the kill", round)
		}
	}
	w := &world{t: t, dir: dir}
	w.start()
	t.Cleanup(w.stop)
	c := w.connect()
	for i := range victimFeeds {
		mailbox := fmt.Sprintf("m%d", i)
		data, _, err := c.Cursor(t.Context(), must(c.Names().Cursor("inbox", "-", mailbox)))
		if err != nil {
			t.Fatal(err)
		}
		at, err := strconv.Atoi(string(data))
		if err != nil || at < acked[mailbox] {
			t.Errorf("%s: cursor %q (%v), but %d was acknowledged", mailbox, data, err, acked[mailbox])
		}
		checkRun(t, stored(t, w, mailbox), at)
		// Each page had a piece of the index, of the same name as its cursor.
		if got := pieces(t, c, mailbox); len(got) != at/3 || !slices.Contains(got, fmt.Sprintf("p%d", at)) {
			t.Errorf("%s: %d pieces at cursor %d", mailbox, len(got), at)
		}
		record, _, err := c.Ledger().Load(t.Context(), "p."+mailbox)
		if n, _ := strconv.Atoi(string(record)); err != nil || n < acked["p."+mailbox] || n > acked["p."+mailbox]+rounds {
			t.Errorf("record of %s says %q (%v), but %d was acknowledged", mailbox, record, err, acked["p."+mailbox])
		}
	}
}

// killAfter starts a victim over dir, kills it some time after its first
// commit, takes down what it was told is stored, and returns how many lines it
// wrote.
func killAfter(t *testing.T, dir string, after time.Duration, acked map[string]int) (lines int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), self)
	victim.Env = append(os.Environ(), victimEnv+"="+dir)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
		name, number, ok := strings.Cut(scanner.Text(), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue // cut short by the kill
		}
		acked[name] = n
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = victim.Process.Kill() })
			defer timer.Stop()
		}
	}
	if err := victim.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the victim ended by itself: %v", err)
	}
	return lines
}

// runVictim commits pages and ledger records for ever, and writes a line for
// each that was acknowledged.
func runVictim(dir string) error {
	ctx := context.Background()
	server, err := embedded.Start(ctx, embedded.Options{StoreDir: dir})
	if err != nil {
		return err
	}
	c, err := jet.Connect(ctx, jet.Options{InProcess: server.InProcess(), ManageStreams: true})
	if err != nil {
		return err
	}
	if err := c.EnsureStreams(ctx); err != nil {
		return err
	}
	failed := make(chan error)
	var mu sync.Mutex
	say := func(name string, n int) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %d\n", name, n)
	}
	for i := range victimFeeds {
		mailbox := fmt.Sprintf("m%d", i)
		go func() { failed <- victimFeed(ctx, c, mailbox, say) }()
		go func() { failed <- victimRecord(ctx, c, mailbox, say) }()
	}
	return <-failed
}

func victimFeed(ctx context.Context, c *jet.Conn, mailbox string, say func(string, int)) error {
	subject := must(c.Names().Cursor("inbox", "-", mailbox))
	data, seq, err := c.Cursor(ctx, subject)
	if err != nil {
		return err
	}
	at := 0
	if data != nil {
		if at, err = strconv.Atoi(string(data)); err != nil {
			return err
		}
	}
	for {
		at += 3
		p := page(c, mailbox, seq, at-2, at-1, at)
		p.Segments = []jet.Msg{piece(c, mailbox, fmt.Sprintf("p%d", at), "x")}
		if seq, err = c.Commit(ctx, p); err != nil {
			return err
		}
		say(mailbox, at)
	}
}

func victimRecord(ctx context.Context, c *jet.Conn, mailbox string, say func(string, int)) error {
	id := "p." + mailbox
	data, seq, err := c.Ledger().Load(ctx, id)
	if err != nil {
		return err
	}
	n := 0
	if data != nil {
		if n, err = strconv.Atoi(string(data)); err != nil {
			return err
		}
	}
	for {
		n++
		if seq, err = c.Ledger().Save(ctx, id, []byte(strconv.Itoa(n)), seq); err != nil {
			return err
		}
		say(id, n)
	}
}

func TestTheSamePageAgainIsFenced(t *testing.T) {
	t.Parallel()
	// What a worker that lost its answer would do at worst: the same page again.
	w := newWorld(t)
	c := w.connect()
	if _, err := c.Commit(t.Context(), page(c, "me", 0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Commit(t.Context(), page(c, "me", 0, 1, 2)); !errors.Is(err, jet.ErrFenced) {
		t.Errorf("the same page again: %v", err)
	}
	js := must(jetstream.New(w.raw()))
	if n := must(js.Stream(t.Context(), "OUTLOOK_EVENTS")).CachedInfo().State.Msgs; n != 3 {
		t.Errorf("%d messages stored, want 3", n)
	}
}
