package sandbox_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"outlook-connector/internal/sandbox"
)

func TestKeepDropsTheOldestMailAndDeltaTellsOfIt(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Keep(5))
	draft := w.draft("my own", ben)
	w.deliver(ann, "m0")
	r := newReader(w, "inbox", "").round()
	for n := range 3 {
		w.deliver(ann, fmt.Sprint("m", n+1))
	}
	w.do(http.MethodPost, "/me/sendMail", sendMail("sent", "out@fabrikam.example")).is(202)
	if got := w.in("inbox"); !slices.Equal(got, []string{"m3", "m2", "m1"}) {
		t.Errorf("inbox %v", got)
	}
	if got := w.in("sentitems"); !slices.Equal(got, []string{"sent"}) {
		t.Errorf("sent items %v", got)
	}
	w.get("/me/messages/" + draft).is(200) // it is the oldest, but it is nobody's to take
	if r.round(); len(r.removed) != 1 || !slices.Equal(r.subjects(), []string{"m1 false", "m2 false", "m3 false"}) {
		t.Errorf("delta told %v", r.items)
	}
}

func TestADeltaTokenFromBeforeWhatWasForgottenIsLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, sandbox.Keep(3), sandbox.JournalSlack(1))
	w.deliver(ann, "first")
	old := newReader(w, "inbox", "").round()
	for n := range 2 {
		w.deliver(ann, fmt.Sprint("n", n))
	}
	half := newReader(w.with("Prefer", "odata.maxpagesize=1"), "inbox", "")
	half.page()
	for n := range 200 { // enough for a compaction, too
		w.deliver(ann, fmt.Sprint("m", n))
	}
	half.round() // a first round tells of no departures
	next := newReader(w, "inbox", "").round()
	w.deliver(ann, "last")
	w.get(old.link).is(410, "SyncStateNotFound")
	if next.round(); len(next.items) != 2 || len(next.removed) != 1 {
		t.Errorf("the younger token told %v", next.items)
	}
	tail := old.link[len(w.URL()):]
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, sandbox.Keep(3))
	again.token = w.token
	again.get(again.URL() + tail).is(410)
}

func TestKeepBoundsLogAndLedgerAndSaysHowMuchIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, sandbox.Keep(10))
	for n := range 35 {
		w.do(http.MethodPost, "/me/sendMail", sendMail(fmt.Sprint("s", n), "out@fabrikam.example")).is(202)
	}
	check := func(w *world) {
		t.Helper()
		effects := w.Effects()
		if len(effects) != 10 || effects[0].Subject != "s25" || effects[9].Subject != "s34" {
			t.Errorf("%d effects: %+v", len(effects), effects)
		}
		if st := w.Stats(); st.EffectsForgotten != 25 {
			t.Errorf("%+v", st)
		}
	}
	check(w)
	if st, log := w.Stats(), w.Requests(); len(log) != 10 || st.Requests != 35 || st.RequestsForgotten != 25 {
		t.Errorf("%d requests, %+v", len(log), st)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w = open(t, dir, sandbox.Keep(10))
		check(w)
	}
}

func TestTheJournalIsCompactedWhileTheSandboxRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, sandbox.Keep(4), sandbox.JournalSlack(1))
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, "sandbox.journal"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for n := range 30 { // until everything is full
		w.deliver(ann, fmt.Sprint("m", n))
	}
	full, longest := size(), int64(0)
	for n := range 1500 {
		w.deliver(ann, fmt.Sprint("m", n))
		longest = max(longest, size())
	}
	if longest > 10*full {
		t.Errorf("%d bytes, from %d", longest, full)
	}
	want := w.in("inbox")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir, sandbox.Keep(4)).in("inbox"); len(got) != 4 || !slices.Equal(got, want) {
		t.Errorf("%v after reopening, %v before", got, want)
	}
}
