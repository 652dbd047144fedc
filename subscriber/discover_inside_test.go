package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

var annsFolders = Feed{Subscription: "s", Mailbox: "ann", Part: partFolders}

// discovered is a world with one mailbox after a first discovery.
func discovered(t *testing.T, patterns ...string) (*foldersWorld, *folderBox, *Subscriber) {
	t.Helper()
	w := newFoldersWorld()
	b := w.box("Ann")
	projects := b.add("Projects", "root")
	b.add("A", projects)
	b.add("Other", "root")
	s := w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: patterns})
	w.look(t, s, annsFolders)
	return w, b, s
}

// look polls a feed, which must work.
func (w *foldersWorld) look(t *testing.T, s *Subscriber, feed Feed) outcome {
	t.Helper()
	out, err := w.deliver(t.Context(), s, feed)
	if err != nil {
		t.Fatalf("%s: %v", feed, err)
	}
	return out
}

// folder returns the id of the folder with this name.
func (b *folderBox) folder(t *testing.T, name string) string {
	t.Helper()
	for id, f := range b.folders {
		if f.name == name {
			return id
		}
	}
	t.Fatalf("no folder %s", name)
	return ""
}

// data is what a folder's feed was registered with.
func (w *foldersWorld) data(t *testing.T, id string) (reg registration, registered bool) {
	t.Helper()
	data, registered := w.queue[Feed{Subscription: "s", Mailbox: "ann", Part: Part(id)}]
	if registered && json.Unmarshal(data, &reg) != nil {
		t.Fatalf("registration %s", data)
	}
	return reg, registered
}

func (w *foldersWorld) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := w.found(t); !slices.Equal(got, want) {
		t.Errorf("feeds %q, want %q", got, want)
	}
}

func TestFoldersJoinAndLeave(t *testing.T) {
	t.Parallel()
	w, b, s := discovered(t, "inbox", "Projects/**", "!Projects/Old")
	w.expect(t, "ann:posteingang", "ann:projects", "ann:projects/a")
	a, other := b.folder(t, "A"), b.folder(t, "Other")

	made := b.add("B", b.folder(t, "Projects"))
	b.rename(a, "Renamed")
	w.look(t, s, annsFolders)
	w.expect(t, "ann:posteingang", "ann:projects", "ann:projects/b", "ann:projects/renamed")
	if reg, _ := w.data(t, made); !reg.New || reg.Mailbox != "Ann" {
		t.Errorf("a folder made later: %+v", reg)
	}
	if reg, _ := w.data(t, a); reg.New || reg.Found != 1 {
		t.Errorf("a renamed folder is not the feed that it was: %+v", reg)
	}

	b.move(other, b.folder(t, "Projects"))
	b.rename(a, "Old")
	w.look(t, s, annsFolders)
	w.expect(t, "ann:posteingang", "ann:projects", "ann:projects/b", "ann:projects/other")
	if reg, _ := w.data(t, other); reg.New {
		t.Errorf("a folder moved in counts as made: %+v", reg)
	}
	if reg, _ := w.data(t, a); !reg.Retire || reg.Container != a {
		t.Errorf("a folder that left is not retired: %+v", reg)
	}

	// Back again before it was retired, with an end to the order to retire.
	b.rename(a, "Back")
	w.look(t, s, annsFolders)
	w.expect(t, "ann:posteingang", "ann:projects", "ann:projects/b", "ann:projects/back", "ann:projects/other")

	b.remove(b.folder(t, "Projects"))
	again := b.add("Projects", "root")
	w.look(t, s, annsFolders)
	w.expect(t, "ann:posteingang", "ann:projects")
	if reg, _ := w.data(t, again); !reg.New || reg.Retire {
		t.Errorf("a folder of the same name is not a new one: %+v", reg)
	}
}

func TestQuietDiscoveriesWriteNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "**")
		seq := w.seq
		for range 8 {
			time.Sleep(30 * time.Second)
			b.folders[b.folder(t, "Other")].changed = b.clock + 1 // a count of mails
			b.clock++
			w.look(t, s, annsFolders)
		}
		if w.seq != seq {
			t.Errorf("%d commits for nothing", w.seq-seq)
		}
		time.Sleep(2 * time.Minute)
		w.look(t, s, annsFolders)
		if w.seq != seq+1 {
			t.Errorf("%d commits for a new link", w.seq-seq)
		}
		// A feed that somebody dropped comes back.
		clear(w.queue)
		time.Sleep(10 * time.Minute)
		if w.look(t, s, annsFolders); len(w.found(t)) != 4 {
			t.Errorf("feeds %q", w.found(t))
		}
	})
}

func TestLostTokenOfFolders(t *testing.T) {
	t.Parallel()
	w, b, s := discovered(t, "**", "!inbox")
	other, a := b.folder(t, "Other"), b.folder(t, "A")
	b.remove(other)
	made := b.add("New", "root")
	b.epoch++
	if _, err := w.deliver(t.Context(), s, annsFolders); fault.KindOf(err) != fault.Resync {
		t.Fatalf("lost token: %v", err)
	}
	// Nothing is retired before all has been read again.
	w.expect(t, "ann:?", "ann:projects", "ann:projects/a")
	w.look(t, s, annsFolders)
	w.expect(t, "ann:new", "ann:projects", "ann:projects/a")
	if reg, _ := w.data(t, made); !reg.New {
		t.Error("a folder made while the token was lost is not new")
	}
	if reg, _ := w.data(t, a); reg.New || reg.Found != 1 {
		t.Errorf("a folder that was there all the time: %+v", reg)
	}
	if reg, there := w.data(t, other); !there || !reg.Retire {
		t.Errorf("a folder removed while the token was lost: %+v", reg)
	}
}

func TestBusyDiscoveryKeepsWhatItHasRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "**")
		for i := range 20 {
			b.add(fmt.Sprint("more", i), "root")
		}
		pages := w.pages
		w.crash = func() crashKind {
			if w.pages == pages+2 {
				w.busy = 4 // the third page finds no slot for longer than patience has
				w.pages++
			}
			return sound
		}
		out := w.look(t, s, annsFolders)
		if out.result != resultBusy || out.after != 3*time.Second {
			t.Fatalf("outcome %+v", out)
		}
		w.expect(t, "ann:other", "ann:posteingang", "ann:projects", "ann:projects/a")
		w.asked = nil
		w.look(t, s, annsFolders)
		if len(w.asked) > 5 || !strings.HasPrefix(w.asked[0].Link, "https://graph/link/") {
			t.Errorf("%d pages read for the rest", len(w.asked))
		}
		if got := len(w.found(t)); got != 24 {
			t.Errorf("%d feeds", got)
		}
	})
}

func TestHiddenAndSearchFolders(t *testing.T) {
	t.Parallel()
	w := newFoldersWorld()
	b := w.box("Ann")
	b.folders[b.add("Hidden", "root")].hidden = true
	b.folders[b.add("Unread", "root")].search = true
	s := w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: []string{"**"}})
	w.look(t, s, annsFolders)
	w.expect(t, "ann:posteingang")

	// Another configuration is followed at once.
	s = w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: []string{"Unread"}})
	w.look(t, s, annsFolders)
	w.expect(t, "ann:unread")

	clear(w.cursors)
	clear(w.seqs)
	clear(w.queue)
	s = w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: []string{"**"}, Query: map[string]string{queryHidden: "true"}})
	w.look(t, s, annsFolders)
	w.expect(t, "ann:hidden", "ann:posteingang")
}

func TestWellKnownFoldersAreAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "inbox", "archive", "recoverableitemsdeletions")
		asked := func() (n int) {
			for _, req := range w.asked {
				if req.Operation.ID == "mail.folder.get" {
					n++
				}
			}
			w.asked = nil
			return n
		}
		w.expect(t, "ann:posteingang")
		if n := asked(); n != 3 {
			t.Fatalf("asked %d times", n)
		}
		archive := b.add("Archiv", "root")
		b.known["archive"], b.known["recoverableitemsdeletions"] = archive, "apart"
		w.look(t, s, annsFolders)
		if w.expect(t, "ann:posteingang"); asked() != 0 {
			t.Error("asked each time")
		}
		time.Sleep(missingLife)
		w.look(t, s, annsFolders)
		w.expect(t, "ann:?", "ann:archiv", "ann:posteingang")
		if reg, _ := w.data(t, "apart"); reg.New || reg.Retire {
			t.Errorf("a folder of which delta does not tell: %+v", reg)
		}
		if n := asked(); n != 3 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(missingLife)
		if w.look(t, s, annsFolders); asked() != 0 {
			t.Error("asked again for what is there")
		}
		// The archive is another folder now, the one apart is gone.
		b.known["archive"], b.known["recoverableitemsdeletions"] = b.folder(t, "Other"), ""
		time.Sleep(knownLife)
		w.look(t, s, annsFolders)
		w.expect(t, "ann:other", "ann:posteingang")
	})
}

func TestPagesOfFoldersInACircle(t *testing.T) {
	t.Parallel()
	w, _, s := discovered(t, "**")
	for name, page := range map[string]Page{
		"page_loop": {Next: "round"}, "bad_page": {},
	} {
		s.source = sourceFunc(func(_ Request, _ func([]byte) error) (Page, error) { return page, nil })
		if _, err := w.deliver(t.Context(), s, annsFolders); fault.Of(err).Code != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.source = sourceFunc(func(_ Request, emit func([]byte) error) (Page, error) { return Page{}, emit([]byte(`{"id":""}`)) })
	if _, err := w.deliver(t.Context(), s, annsFolders); fault.Of(err).Code != "bad_page" {
		t.Errorf("a folder without an id: %v", err)
	}
	w.expect(t, "ann:other", "ann:posteingang", "ann:projects", "ann:projects/a")
}

func TestCursorOfDiscovery(t *testing.T) {
	t.Parallel()
	c := newDiscovery()
	for i := range 10_000 {
		id := "AAMkAGVmMDEzMTM4LTZmYWUtNDdkNC1hMDZiLTU1OGY5OTZhYmY4OAAuAAAAAAD" + digest(fmt.Sprint(i))[:32] + "AAA="
		c.places[id] = &foundPlace{ID: id, Parent: "root", Name: fmt.Sprint("Folder ", i), First: 1, Seen: 1}
	}
	c.settle(time.Now(), func(*foundPlace) bool { return true })
	c.Join = nil
	value, err := c.encode(time.Now(), "fewer")
	if err != nil {
		t.Fatalf("10,000 folders: %v", err)
	}
	t.Logf("10,000 folders with feeds need %d bytes", len(value))
	again, err := decodeDiscovery(value)
	if err != nil || len(again.places) != 10_000 || len(again.live()) != 10_000 {
		t.Fatalf("%d places, %v", len(again.places), err)
	}
	for i := range 40_000 {
		id := digest(fmt.Sprint(i)) + digest(fmt.Sprint("x", i))
		c.places[id] = &foundPlace{ID: id}
	}
	if _, err := c.encode(time.Now(), "fewer"); fault.Of(err).Code != "discovery_too_large" || fault.HintOf(err) != "fewer" {
		t.Errorf("too many: %v", err)
	}
	for _, bad := range []string{`{`, `{"v":2,"round":1}`, `{"v":1}`, `{"v":1,"round":1,"packed":"AAAA"}`, `{"v":1,"round":1,"packed":"q1aqAAA="}`, `{"v":1,"round":1,"places":[null]}`} {
		if _, err := decodeDiscovery([]byte(bad)); fault.Of(err).Code != "bad_cursor" || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// sourceFunc is a Source as a function.
type sourceFunc func(req Request, emit func([]byte) error) (Page, error)

func (f sourceFunc) Read(_ context.Context, req Request, emit func([]byte) error) (Page, error) {
	return f(req, emit)
}

func TestErrorsOfTheStreamStopADiscovery(t *testing.T) {
	t.Parallel()
	w, b, s := discovered(t, "**")
	b.add("late", "root")
	for step := range 4 {
		n := 0
		w.crash = func() crashKind {
			if n++; n > step {
				return crashBefore
			}
			return sound
		}
		if _, err := w.deliver(t.Context(), s, annsFolders); !errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", step, err)
		}
		w.dead, w.crash = false, nil
	}
	w.look(t, s, annsFolders)
	w.expect(t, "ann:late", "ann:other", "ann:posteingang", "ann:projects", "ann:projects/a")
}

// TestMessagesOfFrozenWorkersAreSeenThrough puts into the queue what a worker
// writes that was frozen while others went on.
func TestMessagesOfFrozenWorkersAreSeenThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "Projects/**")
		a := b.folder(t, "A")
		feed := Feed{Subscription: "s", Mailbox: "ann", Part: Part(a)}
		joined := w.queue[feed]
		w.look(t, s, feed)

		b.rename(b.folder(t, "Projects"), "Elsewhere")
		w.look(t, s, annsFolders)
		left := w.queue[feed]
		if out := w.look(t, s, feed); out.result != resultRetired || w.queue[feed] != nil {
			t.Fatalf("outcome %+v", out)
		}

		w.queue[feed] = joined // which is not wanted any more
		time.Sleep(standingLife)
		w.look(t, s, feed)
		if w.look(t, s, feed); w.queue[feed] != nil {
			t.Errorf("a feed that nobody wants stays: %s", w.queue[feed])
		}

		b.rename(b.folder(t, "Elsewhere"), "Projects")
		w.look(t, s, annsFolders)
		again := w.queue[feed]
		time.Sleep(standingLife)
		for name, old := range map[string][]byte{"to retire": left, "to join": joined} {
			w.queue[feed] = old
			if out := w.look(t, s, feed); out.result == resultRetired || string(w.queue[feed]) != string(again) {
				t.Errorf("an old order %s is followed: %+v, %s", name, out, w.queue[feed])
			}
		}
	})
}

// TestARemovedFolderTakesWhatIsBelowAlong reads rounds that do not tell of each
// folder below the removed one.
func TestARemovedFolderTakesWhatIsBelowAlong(t *testing.T) {
	t.Parallel()
	w, _, s := discovered(t, "**")
	round := func(items ...string) {
		t.Helper()
		s.source = sourceFunc(func(_ Request, emit func([]byte) error) (Page, error) {
			for _, item := range items {
				if err := emit([]byte(item)); err != nil {
					return Page{}, err
				}
			}
			return Page{Delta: "next"}, nil
		})
		w.look(t, s, annsFolders)
	}
	for id := range w.box("Ann").folders {
		round(fmt.Sprintf(`{"id":%q,"@removed":{"reason":"deleted"}}`, id))
	}
	round(`{"id":"1","displayName":"top","parentFolderId":"root"}`, `{"id":"2","displayName":"below","parentFolderId":"1"}`,
		`{"id":"3","displayName":"deep","parentFolderId":"2"}`, `{"id":"4","displayName":"saved","parentFolderId":"2"}`)
	live := func() string {
		var ids []string
		for feed, data := range w.queue {
			if reg := s.registered(t.Context(), feed, data); !reg.Retire && len(reg.Container) == 1 {
				ids = append(ids, reg.Container)
			}
		}
		slices.Sort(ids)
		return strings.Join(ids, "")
	}
	if live() != "1234" {
		t.Fatalf("feeds of %s", live())
	}
	since, _ := w.data(t, "4")
	round(`{"id":"1","@removed":{"reason":"deleted"}}`, `{"id":"4","parentFolderId":"root"}`) // a partial item, after the removal
	if live() != "4" {
		t.Errorf("feeds of %s", live())
	}
	if reg, _ := w.data(t, "4"); reg.Found != since.Found {
		t.Errorf("a folder that was moved out in time is another one: %+v", reg)
	}
	// Removed and told of again in one round: it is there.
	round(`{"id":"4","@removed":{"reason":"changed"}}`, `{"id":"4","displayName":"saved"}`)
	// Parents in a ring are no end of everything.
	round(`{"id":"5","displayName":"a","parentFolderId":"6"}`, `{"id":"6","displayName":"b","parentFolderId":"5"}`)
	if live() != "456" {
		t.Errorf("feeds of %s", live())
	}
}

// TestTheFirstFoldersBeginWithTheSubscription: what came while nobody had signed
// in, or the mailbox was throttled, came after the subscription's start.
func TestTheFirstFoldersBeginWithTheSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFoldersWorld()
		b := w.box("Ann")
		other := b.add("Other", "root")
		s := w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: []string{"inbox", "Later"}})
		var finder registration
		if err := json.Unmarshal(w.queue[annsFolders], &finder); err != nil || finder.Registered.IsZero() {
			t.Fatalf("registration %s: %v", w.queue[annsFolders], err)
		}
		time.Sleep(time.Hour)
		w.look(t, s, annsFolders)
		if reg, _ := w.data(t, b.folder(t, "Posteingang")); !reg.Registered.Equal(finder.Registered) {
			t.Errorf("the inbox begins at %v, the subscription at %v", reg.Registered, finder.Registered)
		}
		first := time.Now()
		time.Sleep(time.Hour)
		b.rename(other, "Later")
		w.look(t, s, annsFolders)
		if reg, _ := w.data(t, other); reg.Registered.Before(first) || reg.Registered.Equal(time.Now()) {
			t.Errorf("a folder that joined begins at %v, not after the look before, at %v", reg.Registered, first)
		}
	})
}

func TestOnlyWhatLiesInFoldersHasFolders(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"mail.message.delta": "mailFolder-id", "contacts.contact.delta": "contactFolder-id", "mail.folder.listMessages": "mailFolder-id",
		"calendar.event.delta": "", "mail.folder.get": "", "mail.folder.delta": "", "mail.message.get": "",
	} {
		op, err := catalog.Default().Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		kind, got := folderKindOf(op), ""
		if kind != nil {
			got = kind.param
		}
		if got != want {
			t.Errorf("%s is read by %q, want %q", id, got, want)
		}
		sub := Subscription{Name: "s", Client: "c", Operation: op, Mailboxes: []string{"me"}, Folders: []string{"**"}}
		if err := sub.fill(); want == "" && fault.HintOf(err) == "" || want != "" && err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestTheRosterSaysOfWhichFoldersTheDiscoveryHasHeard: a mail that went to one of
// which it has not may be in a folder of the subscription.
func TestTheRosterSaysOfWhichFoldersTheDiscoveryHasHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "inbox", "Projects/**")
		inbox := Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.folder(t, "Posteingang"))}
		made := b.add("B", b.folder(t, "Projects"))
		for _, looked := range []bool{false, true} {
			for folder, want := range map[string]bool{b.folder(t, "Other"): true, made: looked} {
				if heard, err := s.roster.heard(t.Context(), inbox, folder); err != nil || heard != want {
					t.Errorf("heard of %s: %v, %v, want %v (looked again: %v)", folder, heard, err, want, looked)
				}
				_, known, err := s.roster.home(t.Context(), inbox, folder)
				if wanted := folder == made && looked; err != nil || known != wanted {
					t.Errorf("%s is read: %v, %v, want %v", folder, known, err, wanted)
				}
			}
			w.look(t, s, annsFolders)
			time.Sleep(2 * viewLife)
		}
	})
}
