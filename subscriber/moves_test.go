package subscriber_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
	"outlook-connector/subscriber"
)

// mailbox is a mailbox with folders that a subscription follows and one that it
// does not.
type mailbox struct {
	*ticks
	folders map[string]*folder
	// blind says that nobody can look at single items.
	blind bool
}

// followed are the folders that the subscription reads, away the one that it
// does not.
var followed = []string{"folder-a", "folder-b", "folder-d"}

const away = "folder-c"

func newMailbox(size int, replays uint64) *mailbox {
	m := &mailbox{ticks: &ticks{now: registeredAt.Add(-time.Minute)}, folders: map[string]*folder{}}
	for i, name := range append(slices.Clone(followed), away) {
		m.folders[name] = &folder{
			ticks: m.ticks, name: name, mails: map[string]letter{}, size: size, first: 3,
			replays: rand.New(rand.NewPCG(replays, uint64(i))),
		}
	}
	return m
}

// bulk moves all mails of a folder.
func (m *mailbox) bulk(from, to string, version bool) {
	for _, id := range slices.Sorted(maps.Keys(m.folders[from].mails)) {
		m.move(id, to, version)
	}
}

// where returns the folder that a mail is in; nil: none.
func (m *mailbox) where(id string) *folder {
	for _, f := range m.folders {
		if _, there := f.mails[id]; there {
			return f
		}
	}
	return nil
}

// move moves a mail. Outlook gives it a new version for that, or not.
func (m *mailbox) move(id, to string, version bool) {
	from := m.where(id)
	if from == nil || from.name == to {
		return
	}
	mail := from.mails[id]
	from.remove(id)
	if version {
		m.version++
		mail.version, mail.modified = m.version, m.now.Truncate(time.Second)
	}
	m.folders[to].restore(id, mail)
}

func (m *mailbox) Read(ctx context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
	if strings.HasPrefix(req.Operation.ID, "mail.folder.") {
		for name := range m.folders {
			if req.Link != "" {
				break
			}
			if err := emit(fmt.Appendf(nil, `{"id":%q,"displayName":%q,"parentFolderId":"root"}`, name, name)); err != nil {
				return subscriber.Page{}, err
			}
		}
		return subscriber.Page{Delta: "folders"}, nil
	}
	return m.folders[req.Path["mailFolder-id"]].Read(ctx, req, emit)
}

// actorItems is the actor as [subscriber.Items].
type actorItems actor

func (*actorItems) Object(context.Context, subscriber.Request, int64) ([]byte, subscriber.Page, error) {
	return nil, subscriber.Page{}, fault.New(fault.Poison, "404").WithCode("ErrorItemNotFound") // no well-known folder
}

func (*actorItems) Open(context.Context, string, string, subscriber.Get) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("nothing is opened here")
}

func (s *actorItems) Batch(_ context.Context, _, _ string, gets []subscriber.Get) (got []subscriber.Got, err error) {
	err = (*actor)(s).call("batch", func() error {
		if s.world.mailbox.blind {
			return fault.New(fault.Retry, "503")
		}
		for _, get := range gets {
			id, err := url.PathUnescape(get.Path[strings.LastIndex(get.Path, "/")+1:])
			if err != nil {
				return err
			}
			if f := s.world.mailbox.where(id); f != nil {
				got = append(got, subscriber.Got{Status: http.StatusOK, Body: fmt.Appendf(nil, `{"id":%q,"parentFolderId":%q}`, id, f.name)})
				continue
			}
			missing := fault.New(fault.Poison, "404").WithCode("ErrorItemNotFound")
			got = append(got, subscriber.Got{Status: http.StatusNotFound, Code: "ErrorItemNotFound", Err: missing})
		}
		return nil
	})
	return got, err
}

// TestMovesAreToldOnceAndInOrder lets two workers poll the two folders of one
// subscription in any order, stopping, failing and dying at any call, while
// mails are born, change, move between the folders and out of them and back,
// and die. What a consumer then sees must be the mailbox: each mail in its
// newest version and its last folder, no event id twice, no version going back.
func TestMovesAreToldOnceAndInOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ all, blind bool }{
		"start all": {all: true}, "start now": {}, "nobody can look": {all: true, blind: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sub := inbox(t)
			sub.Start.All = test.all
			sub.Path, sub.Folders = nil, followed
			rapid.Check(t, func(rt *rapid.T) { checkMoves(t, rt, sub, test.blind) })
		})
	}
}

func checkMoves(t *testing.T, rt *rapid.T, sub subscriber.Subscription, blind bool) {
	t.Helper()
	w := &world{stream: newMemStream(), dead: &letters{}, sub: sub}
	w.mailbox = newMailbox(rapid.IntRange(1, 6).Draw(rt, "page size"), rapid.Uint64().Draw(rt, "replays"))
	w.mailbox.blind = blind
	for _, name := range followed {
		w.mailbox.folders[name].terse = rapid.Bool().Draw(rt, "terse")
	}
	for i := range rapid.IntRange(0, 8).Draw(rt, "mails at the start") {
		w.mailbox.folders[followed[i%len(followed)]].put(fmt.Sprintf("m%02d", i))
	}
	before := map[string]letter{}
	for _, name := range followed {
		maps.Copy(before, w.mailbox.folders[name].mails)
	}
	w.mailbox.now = registeredAt.Add(time.Second)
	actors := []*actor{w.worker(t), w.worker(t)}
	defer func() {
		for _, a := range actors {
			for a.polling {
				a.step(dieBefore)
			}
		}
		for _, free := range w.frees {
			free()
		}
	}()
	finder := subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: "folders"}
	finish := func(a *actor, feed subscriber.Feed) {
		a.rig.feed = feed
		for a.begin(t.Context()); a.polling; {
			a.step(proceed)
		}
	}
	finish(actors[0], finder)
	data := map[subscriber.Feed][]byte{}
	var feeds []subscriber.Feed
	for _, name := range followed {
		feed := subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part(name)}
		found := actors[0].rig.queue.dataOf(feed)
		if found == nil {
			rt.Fatalf("folder %s was not found: %+v", name, actors[0].rig.Status())
		}
		data[feed] = registeredThen(rt, found)
		feeds = append(feeds, feed)
	}
	id := rapid.Custom(func(rt *rapid.T) string { return fmt.Sprintf("m%02d", rapid.IntRange(0, 9).Draw(rt, "mail")) })
	place := rapid.SampledFrom(append(slices.Repeat(followed, 2), away))
	work := func(i int) func(*rapid.T) {
		return func(rt *rapid.T) {
			if a := actors[i]; !a.polling {
				a.rig.feed = rapid.SampledFrom(feeds).Draw(rt, "feed")
				a.rig.data = data[a.rig.feed]
				a.begin(t.Context())
				return
			}
			verdict := proceed
			if rapid.IntRange(0, 9).Draw(rt, "trouble") == 0 {
				verdict = rapid.IntRange(failBefore, dieAfter).Draw(rt, "verdict")
			}
			actors[i].step(verdict)
			if verdict == dieBefore || verdict == dieAfter {
				for actors[i].polling { // it dies after the calls within that call
					actors[i].step(proceed)
				}
				actors[i] = w.worker(t)
			}
		}
	}
	change := func(rt *rapid.T) {
		id := id.Draw(rt, "id")
		f := w.mailbox.where(id)
		if f == nil {
			f = w.mailbox.folders[place.Draw(rt, "folder")]
		}
		f.put(id)
	}
	move := func(rt *rapid.T) {
		w.mailbox.move(id.Draw(rt, "id"), place.Draw(rt, "folder"), rapid.Bool().Draw(rt, "new version"))
	}
	rt.Repeat(map[string]func(*rapid.T){
		"worker 1": work(0), "worker 1 once more": work(0), "worker 1 again": work(0), "worker 1 still": work(0),
		"worker 2": work(1), "worker 2 once more": work(1), "worker 2 again": work(1),
		"put": change, "move": move, "move once more": move,
		"move all": func(rt *rapid.T) {
			w.mailbox.bulk(place.Draw(rt, "from"), place.Draw(rt, "to"), rapid.Bool().Draw(rt, "new version"))
		},
		"there and back": func(rt *rapid.T) {
			id := id.Draw(rt, "id")
			if f := w.mailbox.where(id); f != nil {
				w.mailbox.move(id, place.Draw(rt, "folder"), true)
				w.mailbox.move(id, f.name, true)
			}
		},
		"look away": func(*rapid.T) { w.mailbox.blind = true },
		"look":      func(*rapid.T) { w.mailbox.blind = blind },
		"remove": func(rt *rapid.T) {
			id := id.Draw(rt, "id")
			if f := w.mailbox.where(id); f != nil {
				f.remove(id)
			}
		},
		"lose the tokens": func(rt *rapid.T) {
			if rapid.IntRange(0, 3).Draw(rt, "lost") == 0 {
				w.mailbox.folders[rapid.SampledFrom(followed).Draw(rt, "folder")].tokens++
			}
		},
	})
	for _, a := range actors {
		for a.polling {
			a.step(proceed)
		}
	}
	w.mailbox.blind = blind
	for range 12 { // a page that goes in several commits is read again for each
		for _, feed := range feeds {
			actors[0].rig.data = data[feed]
			finish(actors[0], feed)
		}
	}
	compareMoves(rt, w, before)
}

// registeredThen is the registration with the tests' moment.
func registeredThen(rt *rapid.T, data []byte) []byte {
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		rt.Fatal(err)
	}
	members["registered"] = registeredAt
	data, err := json.Marshal(members)
	if err != nil {
		rt.Fatal(err)
	}
	return data
}

func compareMoves(rt *rapid.T, w *world, before map[string]letter) {
	if twice := w.stream.twice(); len(twice) > 0 || len(w.stream.broken) > 0 {
		rt.Fatalf("event ids that are there twice: %v; broken: %v", twice, w.stream.broken)
	}
	view, versions := map[string]string{}, map[string]int{}
	for i, event := range w.stream.events {
		id, change := event.Header["Outlook-Id"], event.Header["Outlook-Change"]
		was, told := view[id]
		there := told && was != "deleted"
		// What was read quietly the consumer is taken to know.
		if known := change == "updated" || change == "deleted"; known != there && (told || w.sub.Start.All) {
			rt.Fatalf("event %d: %s is %s, by the events before it is there: %v; %v", i, id, change, there, history(w))
		}
		if there && sameState(rt, was, string(event.Body)) {
			rt.Fatalf("event %d: %s is told once more; %v", i, id, history(w))
		}
		if change == "deleted" {
			view[id] = "deleted"
			delete(versions, id)
			continue
		}
		version := versionIn(rt, event.Body)
		if version < versions[id] {
			rt.Fatalf("%s went from version %d back to %d; %v", id, versions[id], version, history(w))
		}
		versions[id], view[id] = version, string(event.Body)
	}
	for i := range 10 {
		id := fmt.Sprintf("m%02d", i)
		got, known := view[id]
		f := w.mailbox.where(id)
		if f == nil || f.name == away {
			if known && got != "deleted" {
				rt.Fatalf("%s is not in the folders, told %s; %v", id, got, history(w))
			}
			continue
		}
		mail := f.mails[id]
		// Where the mail was when its folder was first read nobody can tell here.
		quiet := !w.sub.Start.All && before[id].version == mail.version && !known
		if !quiet && !mail.is(id, got) {
			rt.Fatalf("%s: told %q, is %s; %v", id, got, mail.json(id), history(w))
		}
	}
}

// sameState reports whether two bodies show a mail in one version in one folder.
func sameState(rt *rapid.T, one, other string) bool {
	state := func(body string) string {
		var mail struct {
			ETag   string `json:"@odata.etag"`
			Folder string `json:"parentFolderId"`
		}
		if err := json.Unmarshal([]byte(body), &mail); err != nil {
			rt.Fatal(err)
		}
		return mail.ETag + " " + mail.Folder
	}
	return state(one) == state(other)
}

// history is all that was told, for a failure's message.
func history(w *world) []string {
	var told []string
	for _, event := range w.stream.events {
		told = append(told, fmt.Sprintf("\n%s by %s: %s", event.Header["Outlook-Change"], event.Header["ce-source"], event.Body))
	}
	return told
}
