package jet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestSubjectsOfIndexes(t *testing.T) {
	t.Parallel()
	n := jet.Names{}
	part := jet.Part("AAMkAGI2")
	for _, row := range []struct{ got, want string }{
		{must(n.Index("inbox", part, "abc7", "Ann@Contoso.com")), "outlook.index.inbox." + part + ".abc7.ann@contoso.com"},
		{must(n.Index("inbox", "-", "*", "me")), "outlook.index.inbox.-.*.me"},
		{must(n.Moved("inbox", "ann@contoso.com")), "outlook.index.inbox.moved.0.ann@contoso.com"},
		{must(n.Cursor("inbox", "folders", "me")), "outlook.cursor.inbox.folders.me"},
		{must(n.Feed("inbox", "members", "-")), "outlook.feed.inbox.members.-"},
	} {
		if row.got != row.want {
			t.Errorf("got %s, want %s", row.got, row.want)
		}
	}
	for _, bad := range [][4]string{
		{"inbox", "moved", "a", "me"}, {"inbox", "-", "a.b", "me"}, {"inbox", "-", ">", "me"}, {"inbox", "-", "", "me"}, {"in box", "-", "a", "me"}, {"inbox", "-", "a", "*"},
	} {
		if subject, err := n.Index(bad[0], bad[1], bad[2], bad[3]); err == nil {
			t.Errorf("%q gave %q", bad, subject)
		}
	}
	c := newWorld(t).connect()
	for _, subject := range []string{"outlook.event.inbox.me", "outlook.index.inbox.moved.0.me", "outlook.index.inbox.-.me", "sales.index.inbox.-.a.me", ""} {
		if _, err := c.Segment(t.Context(), subject); fault.Of(err).Code != "bad_subject" {
			t.Errorf("read a piece from %q: %v", subject, err)
		}
		if err := c.PutSegments(t.Context(), []jet.Msg{{Subject: subject}}); fault.Of(err).Code != "bad_subject" {
			t.Errorf("stored a piece at %q: %v", subject, err)
		}
		if err := c.DropSegments(t.Context(), []string{subject}); fault.Of(err).Code != "bad_subject" {
			t.Errorf("deleted a piece at %q: %v", subject, err)
		}
	}
	if _, err := c.Moved(t.Context(), "outlook.index.inbox.-.0.me"); fault.Of(err).Code != "bad_subject" {
		t.Errorf("read a marker from a piece: %v", err)
	}
}

func piece(c *jet.Conn, mailbox, id, text string) jet.Msg {
	return jet.Msg{Subject: must(c.Names().Index("inbox", "-", id, mailbox)), Data: []byte(text)}
}

// pieces returns the ids of a mailbox's pieces.
func pieces(t *testing.T, c *jet.Conn, mailbox string) []string {
	t.Helper()
	list, err := c.Orphans(t.Context(), must(c.Names().Index("inbox", "-", "*", mailbox)), nil, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestPiecesAreStoredWithTheirCursorOrNotAtAll(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	p := page(c, "me", 0, 1, 2)
	p.Segments = []jet.Msg{piece(c, "me", "a", "first"), piece(c, "me", "b", "second")}
	seq, err := c.Commit(t.Context(), p)
	if err != nil || seq != 5 {
		t.Fatalf("cursor at %d, %v; want 5", seq, err)
	}
	if data, err := c.Segment(t.Context(), p.Segments[1].Subject); string(data) != "second" || err != nil {
		t.Errorf("piece %q, %v", data, err)
	}
	p.Segments = []jet.Msg{piece(c, "me", "c", "third")}
	p.After = 3
	if _, err := c.Commit(t.Context(), p); !errors.Is(err, jet.ErrFenced) {
		t.Errorf("a stale page: %v", err)
	}
	if got := pieces(t, c, "me"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("pieces %v", got)
	}
	_, err = c.Segment(t.Context(), p.Segments[0].Subject)
	if !errors.Is(err, jet.ErrNotFound) || fault.Of(err).Code != "index_missing" || fault.KindOf(err) != fault.Retry || fault.HintOf(err) == "" {
		t.Errorf("a piece that is not there: %v", err)
	}
	p.Segments[0].Subject = must(c.Names().Event("inbox", "me"))
	if _, err := c.Commit(t.Context(), p); fault.Of(err).Code != "bad_subject" {
		t.Errorf("a piece on the subject of an event: %v", err)
	}
	p.Segments = make([]jet.Msg, 20)
	for i := range p.Segments {
		p.Segments[i] = piece(c, "me", fmt.Sprintf("x%d", i), "x")
	}
	p.Events = slices.Repeat(p.Events[:1], 985)
	if _, err := c.Commit(t.Context(), p); !errors.Is(err, jet.ErrPageTooBig) {
		t.Errorf("more messages than a batch takes: %v", err)
	}
}

func TestPiecesArePutReadAndDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	var list []jet.Msg
	var names []string
	large := strings.Repeat("x", 512<<10)
	for i := range 30 {
		list = append(list, piece(c, "me", fmt.Sprintf("p%02d", i), large))
		names = append(names, fmt.Sprintf("p%02d", i))
	}
	for range 2 { // once more is no harm
		if err := c.PutSegments(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(c.Status(t.Context()))[0].Messages; got != 30 {
		t.Errorf("%d messages for 30 pieces", got)
	}
	other := piece(c, "you", "p00", "of another mailbox")
	if err := c.PutSegments(t.Context(), []jet.Msg{other}); err != nil {
		t.Fatal(err)
	}
	seq := commit(t, c, "me", 0, 1)
	late := piece(c, "me", "late", "stored after the cursor, by a worker that goes on from it")
	if err := c.PutSegments(t.Context(), []jet.Msg{late}); err != nil {
		t.Fatal(err)
	}
	filter := must(c.Names().Index("inbox", "-", "*", "me"))
	orphans, err := c.Orphans(t.Context(), filter, names[:10], seq)
	if err != nil || !slices.Equal(orphans, names[10:]) {
		t.Errorf("orphans %v, %v", orphans, err)
	}
	var subjects []string
	for _, m := range list[10:] {
		subjects = append(subjects, m.Subject)
	}
	for range 2 { // those that are gone are no error
		if err := c.DropSegments(t.Context(), subjects); err != nil {
			t.Fatal(err)
		}
	}
	if got := pieces(t, c, "me"); !slices.Equal(got, append([]string{"late"}, names[:10]...)) {
		t.Errorf("left are %v", got)
	}
	if data, err := c.Segment(t.Context(), other.Subject); err != nil || !bytes.Equal(data, other.Data) {
		t.Errorf("the other mailbox's piece: %q, %v", data, err)
	}
	w.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.PutSegments(ctx, list); err == nil {
		t.Error("pieces were stored without a server")
	}
}

// moves returns the fence of a mailbox's marker as it is now.
func moves(t *testing.T, c *jet.Conn, mailbox string, mark bool) *jet.Moves {
	t.Helper()
	subject := must(c.Names().Moved("inbox", mailbox))
	at, err := c.Moved(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return &jet.Moves{Subject: subject, After: at, Mark: mark}
}

func TestTheMarkerOfMovesIsASecondFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	early := moves(t, c, "me", false)
	if early.After != 0 {
		t.Fatalf("a marker at %d before anything moved", early.After)
	}
	a := page(c, "me", 0, 1)
	a.Moves = early
	at, err := c.Commit(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	mark := page(c, "me", at, 2)
	mark.Moves = moves(t, c, "me", true)
	if at, err = c.Commit(t.Context(), mark); err != nil || at != 5 {
		t.Fatalf("cursor at %d, %v; want 5", at, err)
	}
	now := moves(t, c, "me", false)
	if now.After != at-1 {
		t.Errorf("marker at %d, want %d", now.After, at-1)
	}
	// What was read before the move comes too late, with events, with pieces
	// alone, and as another move; a cursor alone tells nobody anything.
	for name, change := range map[string]func(*jet.Page){
		"events": func(*jet.Page) {},
		"pieces": func(p *jet.Page) {
			p.Segments, p.Events = []jet.Msg{piece(c, "me", "a", "x")}, nil
		},
		"a move": func(p *jet.Page) { p.Moves = &jet.Moves{Subject: early.Subject, Mark: true} },
	} {
		p := page(c, "me", at, 3)
		p.Moves = early
		change(&p)
		if _, err := c.Commit(t.Context(), p); !errors.Is(err, jet.ErrFenced) || fault.KindOf(err) != fault.Retry {
			t.Errorf("late %s: %v", name, err)
		}
	}
	p := page(c, "me", at)
	p.Moves = early
	if at, err = c.Commit(t.Context(), p); err != nil {
		t.Errorf("a cursor alone: %v", err)
	}
	p = page(c, "me", at, 3)
	p.Moves = now
	if at, err = c.Commit(t.Context(), p); err != nil {
		t.Errorf("a page read after the move: %v", err)
	}
	p = page(c, "me", at-1, 4)
	p.Moves = now
	if _, err := c.Commit(t.Context(), p); !errors.Is(err, jet.ErrFenced) {
		t.Errorf("the marker is right and the cursor is not: %v", err)
	}
	again := page(c, "me", at)
	again.Moves = &jet.Moves{Subject: now.Subject, After: now.After, Mark: true}
	if _, err = c.Commit(t.Context(), again); err != nil {
		t.Errorf("a move without events: %v", err)
	}
	checkRun(t, stored(t, w, "me"), 3)
	if got := must(c.Status(t.Context()))[0].Messages; got != 5 {
		t.Errorf("%d messages stored: want 3 events, a cursor and a marker", got)
	}
	p.Moves = &jet.Moves{Subject: must(c.Names().Cursor("inbox", "-", "me"))}
	if _, err := c.Commit(t.Context(), p); fault.Of(err).Code != "bad_subject" {
		t.Errorf("a cursor as a marker: %v", err)
	}
	err = c.Events(withTimeout(t, 10*time.Second), "outlook.event.>", time.Unix(1, 0), func(e jet.Event) bool {
		for name := range e.Header {
			if strings.HasPrefix(name, "Nats-Expected") {
				t.Errorf("a listener sees %s", name)
			}
		}
		return e.Sequence < 6
	})
	if err != nil {
		t.Error(err)
	}
}

// told is a commit that succeeded.
type told struct {
	cursor, after uint64
	mark          bool
}

func TestNoLatePageComesAfterAMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	checkMoves(t, w.connect(), w.connect())
}

// checkMoves commits pages of eight folders of a mailbox through two workers at
// the same time, some of which move items, and looks for pages that were read
// before a move and stored after it.
func checkMoves(t *testing.T, conns ...*jet.Conn) {
	t.Helper()
	const folders, pages = 8, 25
	var mu sync.Mutex
	var all []told
	fenced := 0
	var group sync.WaitGroup
	for i := range folders {
		c := conns[i%len(conns)]
		group.Go(func() {
			subject, marker := must(c.Names().Cursor("inbox", jet.Part(fmt.Sprint(i)), "me")), must(c.Names().Moved("inbox", "me"))
			seq, done := uint64(0), 0
			for n := 0; done < pages; n++ {
				if n > 100*pages {
					t.Error("pages are refused for ever")
					return
				}
				at, err := c.Moved(t.Context(), marker)
				if err != nil {
					t.Error(err)
					return
				}
				p := page(c, "me", seq, n, n)
				p.CursorSubject, p.Moves = subject, &jet.Moves{Subject: marker, After: at, Mark: rand.IntN(10) == 0}
				next, err := c.Commit(t.Context(), p)
				mu.Lock()
				switch {
				case errors.Is(err, jet.ErrFenced):
					fenced++
				case err != nil:
					t.Error(err)
				default:
					all = append(all, told{next, at, p.Moves.Mark})
					seq, done = next, done+1
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	marks := 0
	for _, m := range all {
		if !m.mark {
			continue
		}
		marks++
		for _, p := range all {
			if at := m.cursor - 1; p.after < at && at < p.cursor-1 && p != m {
				t.Errorf("the page at %d expected the marker at %d and was stored after the one at %d", p.cursor, p.after, at)
			}
		}
	}
	if marks == 0 || fenced == 0 {
		t.Errorf("%d moves and %d refused pages: nothing was tested", marks, fenced)
	}
	t.Logf("%d pages, %d moves, %d refused", len(all), marks, fenced)
}

func TestAMoveWhoseAnswerIsLostIsFoundStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.Timeout = time.Minute })
	p := page(c, "me", 0, 1)
	p.Moves = moves(t, c, "me", true)
	w.mute()
	var seq uint64
	done := make(chan error, 1)
	go func() {
		var err error
		seq, err = c.Commit(t.Context(), p)
		done <- err
	}()
	other := w.connect()
	eventually(t, "the page is stored", func() bool {
		_, seq, err := other.Cursor(t.Context(), p.CursorSubject)
		return err == nil && seq > 0
	})
	w.cut()
	if err := <-done; err != nil || seq != 3 {
		t.Errorf("got %d, %v", seq, err)
	}
}

func TestAFullStreamTakesNothingOfAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.EventsMaxBytes = 256 << 10 })
	var seq uint64
	count := 0
	for n := 1; ; n++ {
		p := page(c, "me", seq, n)
		p.Moves = moves(t, c, "me", true)
		p.Segments = []jet.Msg{piece(c, "me", fmt.Sprintf("p%d", n), strings.Repeat("x", 30<<10))}
		next, err := c.Commit(t.Context(), p)
		if err == nil {
			seq, count = next, n
			if n > 20 {
				t.Fatal("the stream takes more than it may")
			}
			continue
		}
		if marked := fault.Of(err); marked.Kind != fault.Retry || marked.Code != "store_full" || marked.Hint == "" || marked.Ambiguous {
			t.Fatalf("got %+v", marked)
		}
		if got := moves(t, c, "me", false).After; got != seq-1 {
			t.Errorf("marker at %d, want %d", got, seq-1)
		}
		break
	}
	if got := pieces(t, c, "me"); len(got) != count {
		t.Errorf("%d pieces after %d pages", len(got), count)
	}
	checkRun(t, stored(t, w, "me"), count)
	if err := c.PutSegments(t.Context(), []jet.Msg{piece(c, "me", "big", strings.Repeat("x", 30<<10))}); fault.Of(err).Code != "store_full" {
		t.Errorf("a piece alone: %v", err)
	}
	// Dropping pieces makes room.
	var subjects []string
	for _, id := range pieces(t, c, "me") {
		subjects = append(subjects, piece(c, "me", id, "").Subject)
	}
	if err := c.DropSegments(t.Context(), subjects); err != nil {
		t.Fatal(err)
	}
	commit(t, c, "me", seq, count+1)
}
