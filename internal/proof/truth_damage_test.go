//go:build unix

package proof_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// trueStory is a life of three items and the news of it, in which all went well:
// x came, changed, went to another folder and came back; y came and went for
// good; z is somewhere else.
type trueStory struct {
	writes []sandbox.Write
	events []told
	named  bool             // it is about folders with names
	shown  map[string]int64 // it is about a calendar
}

func story() *trueStory {
	s := &trueStory{}
	write := func(seq int64, id, in string, gone bool) {
		w := sandbox.Write{Seq: seq, Mailbox: person, What: "message", ID: id, In: in, Gone: gone}
		s.writes = append(s.writes, w)
	}
	write(1, "x", "inbox", false)
	write(2, "y", "inbox", false)
	write(3, "x", "inbox", false)
	write(4, "x", "other", false)
	write(5, "z", "other", false)
	write(6, "x", "inbox", false)
	write(7, "y", "inbox", true)
	tell := func(kind, id string, seq int64, at int64) {
		n := len(s.events) + 1
		e := told{
			stream: uint64(n), id: fmt.Sprint("e", n), subscription: "inbox", mailbox: "me", item: id, change: kind,
			subject: "outlook.event.inbox.me", body: storyBody(id, seq, "inbox"), at: storyTime(at).Add(time.Second),
		}
		s.events = append(s.events, e)
	}
	tell("snapshot", "x", 1, 1)
	tell(news1, "y", 2, 2)
	tell(news2, "x", 3, 3)
	tell("deleted", "x", 0, 4)
	tell(news1, "x", 6, 6)
	tell("deleted", "y", 0, 7)
	return s
}

// storyTime is when something was written.
func storyTime(seq int64) time.Time { return time.Unix(1_700_000_000+10*seq, 0) }

// news1 and news2 are what a new and a changed item are called.
var news1, news2 = map[bool]string{true: "created", false: "changed"}[tellsKinds], map[bool]string{true: "updated", false: "changed"}[tellsKinds]

func storyBody(id string, seq int64, in string) []byte {
	if seq == 0 {
		return fmt.Appendf(nil, `{"id":%q,"@removed":{"reason":"deleted"}}`, id)
	}
	return fmt.Appendf(nil, `{"@odata.etag":"W/\"%s\"","id":%q,"parentFolderId":%q}`, changeKeyOf(seq), id, in)
}

// judge puts the story through the view, the ledger and the judge.
func (s *trueStory) judge() (verdict, []string) {
	l, v := newLedger(), newView(person)
	for _, w := range s.writes {
		l.note(w, storyTime(w.Seq))
	}
	for _, e := range s.events {
		v.take(e)
	}
	scopes := []*scope{{subscription: "inbox", what: "message", inside: func(_, in string) bool { return in == "inbox" }}}
	switch {
	case s.named:
		scopes = []*scope{{
			subscription: "mail", what: "message", named: meant, inside: func(_, in string) bool { return in == "inbox" },
			root: func(string) string { return "root" },
		}}
	case s.shown != nil:
		scopes = []*scope{{subscription: "calendar", shown: map[string]map[string]int64{person: s.shown}}}
	}
	f, problems := v.judge(l, scopes)
	if agreed := v.agree(l, scopes); agreed != (f.lost+f.ghosts+f.stale == 0) {
		problems = append(problems, fmt.Sprintf("agree says %v of %+v", agreed, f))
	}
	return f, problems
}

func TestTheTruthIsFoundInATrueStory(t *testing.T) {
	t.Parallel()
	f, problems := story().judge()
	if len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	if want := (verdict{items: 1, events: 6, deletions: 2}); f != want {
		t.Errorf("figures %+v, want %+v", f, want)
	}
}

func TestEveryDamageToTheTruthIsSeen(t *testing.T) {
	t.Parallel()
	drop := func(s *trueStory, n int) { s.events = append(s.events[:n], s.events[n+1:]...) }
	for name, test := range map[string]struct {
		damage func(s *trueStory)
		want   string
	}{
		"an item's last news is lost": {func(s *trueStory) { drop(s, 4) }, "x is lost"},
		"an item was never told":      {func(s *trueStory) { drop(s, 1) }, "the item was not there by the events before"},
		"its newest version is lost": {func(s *trueStory) {
			s.writes = append(s.writes, sandbox.Write{Seq: 8, Mailbox: person, What: "message", ID: "x", In: "inbox"})
		}, "lost in its newest version 8: the events have 6"},
		"a new item is lost": {func(s *trueStory) {
			s.writes = append(s.writes, sandbox.Write{Seq: 8, Mailbox: person, What: "message", ID: "n", In: "inbox"})
		}, "n is lost"},
		"a deletion is lost":             {func(s *trueStory) { drop(s, 5) }, "y is not there any more"},
		"an event is there twice":        {func(s *trueStory) { e := s.events[5]; e.stream = 7; s.events = append(s.events, e) }, "its id e6 is that of event 6"},
		"a version is told twice":        {func(s *trueStory) { e := s.events[4]; e.stream, e.id = 7, "e7"; s.events = append(s.events, e) }, "it has version 6, and 6 was told before"},
		"a deletion is told twice":       {func(s *trueStory) { e := s.events[5]; e.stream, e.id = 7, "e7"; s.events = append(s.events, e) }, "the item was not there by the events before"},
		"two events change their places": {func(s *trueStory) { s.events[0], s.events[2] = s.events[2], s.events[0] }, "it has version 1, and 3 was told before"},
		"a deletion of what never left":  {func(s *trueStory) { s.events[3].item, s.events[3].body = "y", storyBody("y", 0, "") }, "the item never left"},
		"a deletion too early":           {func(s *trueStory) { s.events[2], s.events[3] = s.events[3], s.events[2] }, "the item never left between its versions 1 and 3"},
		"a version that never was":       {func(s *trueStory) { s.events[2].body = storyBody("x", 2, "inbox") }, "it has the version 2, which never was"},
		"an event without a version":     {func(s *trueStory) { s.events[2].body = []byte(`{"id":"x"}`) }, "it has the version 0, which never was"},
		"an item that never was":         {func(s *trueStory) { s.events[1].item, s.events[1].body = "q", storyBody("q", 2, "inbox") }, "tells of q, which never was"},
		"an item of another folder":      {func(s *trueStory) { s.events[2].body = storyBody("x", 4, "other") }, "the item was not in the subscription's folders"},
		"an item with a wrong folder":    {func(s *trueStory) { s.events[2].body = storyBody("x", 3, "other") }, "the item lay in inbox, not in other"},
		"an item in a wrong mailbox":     {func(s *trueStory) { s.events[1].mailbox, s.events[1].subject = friend, "outlook.event.inbox."+friend }, "tells of y in ben@contoso.example"},
		"an event without an id":         {func(s *trueStory) { s.events[1].id = "" }, "it has no ce-id"},
		"an event on a wrong subject":    {func(s *trueStory) { s.events[1].subject = "outlook.event.inbox.you" }, "it is on outlook.event.inbox.you"},
		"a body of another item":         {func(s *trueStory) { s.events[1].body = storyBody("x", 2, "inbox") }, "its body has the id x"},
		"a body that is none":            {func(s *trueStory) { s.events[1].body = []byte(`{"id"`) }, "its body is no JSON"},
		"a subscription of nobody's":     {func(s *trueStory) { s.events[1].subscription, s.events[1].subject = "x", "outlook.event.x.me" }, "which is not known"},
		"a snapshot of what is there":    {func(s *trueStory) { s.events[2].change = "snapshot" }, "by the events before, the item was there: true"},
		"an update of what is not there": {func(s *trueStory) { s.events[4].change = "updated" }, "by the events before, the item was there: false"},
		"a creation of what is there":    {func(s *trueStory) { s.events[2].change = "created" }, "by the events before, the item was there: true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := story()
			test.damage(s)
			if _, problems := s.judge(); !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("problems %q, want one with %q", problems, test.want)
			}
		})
	}
}

// TestFoldersComeAndGoInTheTruth has a folder change its name, by which all in it
// leaves and comes back, without a new version.
func TestFoldersComeAndGoInTheTruth(t *testing.T) {
	t.Parallel()
	newStory := func() *trueStory {
		s := &trueStory{named: true}
		folder := func(seq int64, id, in, name string) {
			s.writes = append(s.writes, sandbox.Write{Seq: seq, Mailbox: person, What: "mailFolder", ID: id, In: in, Name: name})
		}
		folder(1, "p", "root", projects)
		folder(2, "f", "p", "Here")
		s.writes = append(s.writes, sandbox.Write{Seq: 3, Mailbox: person, What: "message", ID: "x", In: "f"})
		folder(4, "f", "p", off+" now")
		folder(5, "f", "p", "Here again")
		tell := func(kind string, seq, at int64) {
			n := len(s.events) + 1
			s.events = append(s.events, told{
				stream: uint64(n), id: fmt.Sprint("e", n), subscription: "mail", mailbox: "me", item: "x", change: kind,
				subject: "outlook.event.mail.me", body: storyBody("x", seq, "f"), at: storyTime(at).Add(time.Second),
			})
		}
		tell("snapshot", 3, 3)
		tell("deleted", 0, 4)
		tell(news1, 3, 5)
		return s
	}
	if f, problems := newStory().judge(); len(problems) > 0 || f.items != 1 {
		t.Errorf("%d items, problems: %q", f.items, problems)
	}
	for name, test := range map[string]struct {
		damage func(s *trueStory)
		want   string
	}{
		"it was not told that it left":    {func(s *trueStory) { s.events = slices.Delete(s.events, 1, 2) }, "it has version 3, and 3 was told before"},
		"it was not told that it is back": {func(s *trueStory) { s.events = s.events[:2] }, "x is lost"},
		"it left again, and nobody said so": {func(s *trueStory) {
			s.writes = append(s.writes, sandbox.Write{Seq: 6, Mailbox: person, What: "mailFolder", ID: "p", In: "other", Name: projects})
		}, "x is not there any more"},
		"it left before its folder did": {func(s *trueStory) { s.events[1].at = storyTime(3) }, "the item never left"},
		"its folder was never meant":    {func(s *trueStory) { s.writes[0].Name = "Work" }, "the item was not in the subscription's folders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory()
			test.damage(s)
			if _, problems := s.judge(); !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("problems %q, want one with %q", problems, test.want)
			}
		})
	}
}

// TestAFolderJoinsWhenItIsHeardOf has a mail go to a folder that was renamed into
// the subscription a moment before.
func TestAFolderJoinsWhenItIsHeardOf(t *testing.T) {
	t.Parallel()
	newStory := func() *trueStory {
		s := &trueStory{named: true}
		write := func(seq int64, what, id, in, name string) {
			s.writes = append(s.writes, sandbox.Write{Seq: seq, Mailbox: person, What: what, ID: id, In: in, Name: name})
		}
		write(1, "mailFolder", "p", "root", projects)
		write(2, "mailFolder", "f", "p", off+" now")
		write(3, "message", "x", "inbox", "")
		write(4, "message", "y", "f", "")
		write(5, "mailFolder", "f", "p", "Here")
		write(6, "message", "x", "f", "")
		tell := func(kind, id string, seq int64, in, reason string, at int64) {
			n := len(s.events) + 1
			s.events = append(s.events, told{
				stream: uint64(n), id: fmt.Sprint("e", n), subscription: "mail", mailbox: "me", item: id, change: kind, reason: reason,
				subject: "outlook.event.mail.me", body: storyBody(id, seq, in), at: storyTime(at).Add(time.Second),
			})
		}
		tell("snapshot", "x", 3, "inbox", "", 3)
		tell("deleted", "x", 0, "", "moved", 6)
		tell("snapshot", "y", 4, "f", "", 7)
		tell("snapshot", "x", 6, "f", "", 7)
		return s
	}
	if f, problems := newStory().judge(); len(problems) > 0 || f.early != 1 {
		t.Errorf("%d early deletions, problems: %q", f.early, problems)
	}
	for name, damage := range map[string]func(s *trueStory){
		"the folder was known":      func(s *trueStory) { s.events[2].at, s.events[2].stream = storyTime(5).Add(time.Second), 0 },
		"nobody looked where it is": func(s *trueStory) { s.events[1].reason = "" },
		"it was told minutes later": func(s *trueStory) { s.events[1].at = storyTime(5 + 7) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory()
			damage(s)
			if _, problems := s.judge(); !strings.Contains(strings.Join(problems, "\n"), "the item never left") {
				t.Errorf("problems %q, want one that says that the item never left", problems)
			}
		})
	}
}

func TestDamageToACalendarIsSeen(t *testing.T) {
	t.Parallel()
	newStory := func() *trueStory {
		s := &trueStory{shown: map[string]int64{"date": 0, "event": 7}}
		for i, e := range []struct {
			kind, id string
			seq      int64
		}{{"snapshot", "date", 1}, {"snapshot", "event", 2}, {"snapshot", "past", 3}, {news2, "event", 7}, {"deleted", "past", 0}} {
			s.events = append(s.events, told{
				stream: uint64(i + 1), id: fmt.Sprint("e", i), subscription: "calendar", mailbox: "me", item: e.id, change: e.kind,
				subject: "outlook.event.calendar.me", body: storyBody(e.id, e.seq, ""), at: storyTime(e.seq),
			})
		}
		return s
	}
	if f, problems := newStory().judge(); len(problems) > 0 || f.items != 2 {
		t.Errorf("%d items, problems: %q", f.items, problems)
	}
	for name, test := range map[string]struct {
		damage func(s *trueStory)
		want   string
	}{
		"a date is lost":       {func(s *trueStory) { s.shown["next"] = 0 }, "next is lost"},
		"a version is lost":    {func(s *trueStory) { s.shown["event"] = 8 }, "event is lost in its newest version 8"},
		"an end is lost":       {func(s *trueStory) { s.events = s.events[:4] }, "past is not there any more"},
		"a deletion too many":  {func(s *trueStory) { e := s.events[4]; e.stream, e.id = 6, "e6"; s.events = append(s.events, e) }, "it was there: false"},
		"a version once more":  {func(s *trueStory) { e := s.events[3]; e.stream, e.id = 6, "e6"; s.events = append(s.events, e) }, "it has version 7, and 7 was told before"},
		"an older one is last": {func(s *trueStory) { s.events[1], s.events[3] = s.events[3], s.events[1] }, "it has version 2, and 7 was told before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory()
			test.damage(s)
			if _, problems := s.judge(); !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("problems %q, want one with %q", problems, test.want)
			}
		})
	}
}
