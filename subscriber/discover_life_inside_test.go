package subscriber

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/folders"
)

// folderLife is a random life of folders and members with workers that crash, and
// some that freeze and write what was decided long ago.
type folderLife struct {
	*foldersWorld
	t   *rapid.T
	tt  *testing.T
	sub Subscription
	s   *Subscriber
}

// mailbox draws one.
func (l *folderLife) mailbox() *folderBox {
	return l.boxes[rapid.SampledFrom(slices.Sorted(maps.Keys(l.boxes))).Draw(l.t, "mailbox")]
}

// folder draws one, or the root.
func (l *folderLife) folder(b *folderBox, root bool) string {
	ids := slices.Sorted(maps.Keys(b.folders))
	if root {
		ids = append(ids, "root")
	}
	if len(ids) == 0 {
		return ""
	}
	return rapid.SampledFrom(ids).Draw(l.t, "folder")
}

func (l *folderLife) create(*rapid.T) {
	b := l.mailbox()
	b.add(l.name(), l.folder(b, true))
}

func (l *folderLife) name() string {
	return rapid.SampledFrom([]string{"Projects", "Old", "A", "B", "inbox"}).Draw(l.t, "name")
}

func (l *folderLife) rename(*rapid.T) {
	b := l.mailbox()
	if id := l.folder(b, false); id != "" {
		b.rename(id, l.name())
	}
}

func (l *folderLife) move(*rapid.T) {
	b := l.mailbox()
	if id := l.folder(b, false); id != "" {
		b.move(id, l.folder(b, true))
	}
}

func (l *folderLife) remove(*rapid.T) {
	b := l.mailbox()
	if id := l.folder(b, false); id != "" && id != b.known["inbox"] && !slices.Contains(l.above(b, b.known["inbox"]), id) {
		b.remove(id)
	}
}

func (l *folderLife) above(b *folderBox, id string) (above []string) {
	for at := b.folders[id]; at != nil; at = b.folders[at.parent] {
		above = append(above, at.id)
	}
	return above
}

// recreate makes a folder with the name and place of one that goes.
func (l *folderLife) recreate(*rapid.T) {
	b := l.mailbox()
	id := l.folder(b, false)
	if id == "" || slices.Contains(l.above(b, b.known["inbox"]), id) {
		return
	}
	f := *b.folders[id]
	b.remove(id)
	b.add(f.name, f.parent)
}

func (l *folderLife) lose(*rapid.T) { l.mailbox().epoch++ }

// join and quit are for members.
func (l *folderLife) join(*rapid.T) {
	id := fmt.Sprint("id-", rapid.IntRange(1, 3).Draw(l.t, "member"))
	l.users[id] = "u" + id + "@contoso.example"
	l.box(id)
}

func (l *folderLife) quit(*rapid.T) {
	delete(l.users, fmt.Sprint("id-", rapid.IntRange(1, 3).Draw(l.t, "member")))
}

// pass lets time go by.
func (l *folderLife) pass(*rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 6 * time.Minute, 2 * time.Hour}).Draw(l.t, "time"))
}

// thaw lets a frozen worker do what it was about to do.
func (l *folderLife) thaw(*rapid.T) {
	if len(l.late) == 0 {
		return
	}
	i := rapid.IntRange(0, len(l.late)-1).Draw(l.t, "frozen")
	l.late[i]()
	l.late = slices.Delete(l.late, i, i+1)
}

// poll delivers some feeds to a worker that may crash at any step.
func (l *folderLife) poll(*rapid.T) {
	steps, kind := rapid.IntRange(0, 25).Draw(l.t, "steps"), rapid.SampledFrom([]crashKind{sound, crashBefore, crashAfter, crashFrozen}).Draw(l.t, "crash")
	l.crash = func() crashKind {
		if steps--; steps == 0 {
			return kind
		}
		return sound
	}
	l.all()
	l.crash = nil
	if l.dead {
		l.s = l.worker(l.tt, l.sub)
	}
}

// all delivers every feed once.
func (l *folderLife) all() {
	for _, feed := range l.feeds() {
		if l.queue[feed] == nil {
			continue
		}
		out, _ := l.deliver(l.tt.Context(), l.s, feed) // what fails is tried again
		if out.result == resultRetired && !l.dead {
			l.unwanted(feed)
		}
	}
}

func (l *folderLife) feeds() []Feed {
	feeds := slices.Collect(maps.Keys(l.queue))
	slices.SortFunc(feeds, func(a, b Feed) int { return strings.Compare(a.String(), b.String()) })
	return feeds
}

// unwanted checks that no feed is retired that its discovery wants.
func (l *folderLife) unwanted(feed Feed) {
	finder := Feed{Subscription: "s", Mailbox: feed.Mailbox, Part: partFolders}
	if feed.Part == partFolders {
		finder = theMembers
	}
	cur, err := decodeDiscovery(l.cursors[finder])
	if err != nil {
		l.t.Fatal(err)
	}
	for _, place := range cur.live() {
		if of, _ := l.s.subs["s"].foundFeed(finder, "", place); of == feed {
			l.t.Fatalf("%s is retired and wanted", feed)
		}
	}
}

// check polls until all is quiet and compares.
func (l *folderLife) check(t *rapid.T) {
	for len(l.late) > 0 {
		l.thaw(t)
	}
	for range 6 {
		time.Sleep(11 * time.Minute)
		l.all()
	}
	patterns, err := folders.Parse(l.sub.Folders, folders.MailNames)
	if err != nil {
		t.Fatal(err)
	}
	want := map[Feed]bool{}
	mailboxes := map[string]string{"ann": "Ann"}
	if l.sub.Members != (Members{}) {
		mailboxes = map[string]string{}
		want[theMembers] = true
		for id, name := range l.users {
			mailboxes[name] = id
		}
	}
	for name, mailbox := range mailboxes {
		want[Feed{Subscription: "s", Mailbox: name, Part: partFolders}] = true
		b := l.box(mailbox)
		for id := range b.folders {
			if patterns.Match(b.path(id)) {
				want[Feed{Subscription: "s", Mailbox: name, Part: Part(id)}] = true
			}
		}
	}
	got := map[Feed]bool{}
	for feed, data := range l.queue {
		var reg registration
		if err := json.Unmarshal(data, &reg); err != nil || reg.Retire {
			t.Fatalf("%s has %s", feed, data)
		}
		got[feed] = true
	}
	if !maps.Equal(got, want) {
		t.Fatalf("feeds %v\nwant  %v", slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
	}
}

func TestLifeOfFolders(t *testing.T) {
	t.Parallel()
	liveWith(t, Subscription{Mailboxes: []string{"Ann"}}, func(l *folderLife) { l.box("Ann") })
}

func TestLifeOfMembers(t *testing.T) {
	t.Parallel()
	liveWith(t, Subscription{Members: Members{Group: "g"}}, func(l *folderLife) { l.join(l.t) })
}

func liveWith(t *testing.T, sub Subscription, begin func(*folderLife)) {
	t.Helper()
	sub.Folders = []string{"inbox", "Projects/**", "!Projects/Old", "*/B", "!**/A"}
	rapid.Check(t, func(rt *rapid.T) {
		var caught any
		synctest.Test(t, func(tt *testing.T) {
			defer func() { caught = recover() }() // rapid ends a check by a panic, which must not end the bubble
			l := &folderLife{foldersWorld: newFoldersWorld(), t: rt, tt: tt, sub: sub}
			begin(l)
			l.s = l.worker(tt, sub)
			actions := map[string]func(*rapid.T){
				"create": l.create, "rename": l.rename, "move": l.move, "remove": l.remove, "recreate": l.recreate, "lose": l.lose,
				"pass": l.pass, "thaw": l.thaw, "poll": l.poll, "poll again": l.poll, "poll once more": l.poll,
			}
			if sub.Members != (Members{}) {
				actions["join"], actions["quit"] = l.join, l.quit
			}
			rt.Repeat(actions)
			l.check(rt)
		})
		if caught != nil {
			panic(caught)
		}
	})
}
