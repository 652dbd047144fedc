package subscriber_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
	"outlook-connector/subscriber"
)

// folder is Graph's side of one feed: a mail folder with delta tokens that mean
// something. One goroutine uses it at a time.
type folder struct {
	*ticks
	name    string
	mails   map[string]letter
	log     []string // ids in the order of their changes
	out     []bool   // whether the change was that the mail left
	size    int      // of a page
	first   int      // of a first page, where that is smaller
	replays *rand.Rand
	// terse says nothing of mails that came and went between two readings, and
	// that no page has shown: shown is how long log was when one did.
	terse bool
	shown map[string]int
	// tokens counts how often all tokens were lost.
	tokens int
}

// ticks are the time and the newest version of a mailbox.
type ticks struct {
	now     time.Time
	version int
}

// letter is one mail in a folder.
type letter struct {
	in       string
	version  int
	received time.Time
	modified time.Time
}

func (l letter) json(id string) string {
	return fmt.Sprintf(`{"@odata.etag":"W/\"%d\"","id":%q,"lastModifiedDateTime":%q,"parentFolderId":%q,"receivedDateTime":%q}`,
		l.version, id, l.modified.Format(time.RFC3339), l.in, l.received.Format(time.RFC3339))
}

// part is the mail in part.
func (l letter) part(id string) string {
	return fmt.Sprintf(`{"@odata.etag":"W/\"%d\"","id":%q,"parentFolderId":%q}`, l.version, id, l.in)
}

// is reports whether a body shows the mail as it is, whole or in part.
func (l letter) is(id, body string) bool { return body == l.json(id) || body == l.part(id) }

func (f *ticks) tick() { f.now = f.now.Add(700 * time.Millisecond) }

func (f *folder) put(id string) {
	f.tick()
	f.version++
	mail, known := f.mails[id]
	if !known {
		mail.received = f.now.Truncate(time.Second)
	}
	mail.version, mail.modified = f.version, f.now.Truncate(time.Second)
	f.restore(id, mail)
}

// restore puts a mail back as it was: moved out of the folder and in again.
func (f *folder) restore(id string, mail letter) {
	mail.in = f.name
	f.mails[id] = mail
	f.log, f.out = append(f.log, id), append(f.out, false)
}

func (f *folder) remove(id string) {
	f.tick()
	delete(f.mails, id)
	f.log, f.out = append(f.log, id), append(f.out, true)
}

// passed reports whether a mail is as absent as it was at a token: it came and
// went in between, of which Graph may say nothing.
func (f *folder) passed(id string, from int) bool {
	if _, there := f.mails[id]; there || f.shown[id] > from {
		return false
	}
	for i := from - 1; i >= 0; i-- {
		if f.log[i] == id {
			return f.out[i]
		}
	}
	return true
}

// Read answers as message delta does: a full read in the order of ids, then
// what changed since, in its state of this moment, now and then with a replay.
func (f *folder) Read(_ context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
	page := subscriber.Page{Date: f.now}
	var items []string
	token, link, _ := strings.Cut(req.Link, ":")
	if req.Link != "" && token != strconv.Itoa(f.tokens) {
		return page, fault.New(fault.Resync, "410 Gone: syncStateNotFound")
	}
	kind, rest, _ := strings.Cut(link, " ")
	if kind == "" {
		kind, rest = "full", strconv.Itoa(len(f.log))+" "
		if f.first > 0 { // as asked by Prefer: odata.maxpagesize
			size := f.size
			defer func() { f.size = size }()
			f.size = min(f.size, f.first)
		}
	}
	switch kind {
	case "full":
		start, after, _ := strings.Cut(rest, " ")
		ids := slices.DeleteFunc(slices.Sorted(maps.Keys(f.mails)), func(id string) bool { return id <= after })
		if len(ids) > f.size {
			ids = ids[:f.size]
			page.Next = "full " + start + " " + ids[len(ids)-1]
		} else {
			page.Delta = "delta " + start
		}
		for _, id := range ids {
			items = append(items, f.item(id))
		}
	case "delta", "more":
		var from, upto int
		var ids []string
		if kind == "delta" {
			from, upto = number(rest), len(f.log)
			for i, id := range f.log[from:upto] {
				if !slices.Contains(f.log[from+i+1:upto], id) && (!f.terse || !f.passed(id, from)) {
					ids = append(ids, id)
				}
			}
		} else {
			var left string
			if _, err := fmt.Sscan(rest, &from, &upto, &left); err != nil {
				return page, err
			}
			ids = strings.Split(left, ",")
		}
		last := min(len(ids), f.size)
		for _, id := range ids[:last] {
			items = append(items, f.changed(id))
		}
		if last < len(ids) {
			page.Next = fmt.Sprintf("more %d %d %s", from, upto, strings.Join(ids[last:], ","))
		} else {
			page.Delta = fmt.Sprintf("delta %d", upto)
		}
		if f.replays.IntN(3) == 0 && len(items) > 0 {
			items = append(items, items[f.replays.IntN(len(items))])
		}
		if f.replays.IntN(3) == 0 && from > 0 {
			items = slices.Insert(items, 0, f.changed(f.log[from-1]))
		}
	default:
		return page, fault.New(fault.Poison, "no such link: %s", req.Link)
	}
	for _, item := range items {
		if err := emit([]byte(item)); err != nil {
			return page, err
		}
	}
	if page.Next != "" {
		page.Next = fmt.Sprintf("%d:%s", f.tokens, page.Next)
	} else {
		page.Delta = fmt.Sprintf("%d:%s", f.tokens, page.Delta)
	}
	return page, nil
}

// changed is an item of a delta, of which Graph now and then sends only a part.
func (f *folder) changed(id string) string {
	if mail, there := f.mails[id]; there && f.replays.IntN(4) == 0 {
		f.show(id)
		return mail.part(id)
	}
	return f.item(id)
}

func (f *folder) show(id string) {
	if f.shown == nil {
		f.shown = map[string]int{}
	}
	f.shown[id] = len(f.log)
}

func (f *folder) item(id string) string {
	if mail, there := f.mails[id]; there {
		f.show(id)
		return mail.json(id)
	}
	return removed(id)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// What a worker may meet at a call to the outside.
const (
	proceed = iota
	failBefore
	dieBefore
	failAfter // the answer is lost: the call had its effect
	dieAfter
)

var errBroken = errors.New("connection reset")

// actor is a worker that stops at each call to the outside until it is told how
// the call goes. Between two calls nothing else runs, so a run can be repeated.
type actor struct {
	world   *world
	rig     *rig
	at      chan string
	verdict chan int
	done    chan struct{}
	polling bool
}

// world is a folder, a stream, and workers on the same feed.
type world struct {
	folder *folder
	// mailbox is in place of folder where the worker reads several.
	mailbox *mailbox
	stream  *memStream
	dead    *letters
	sub     subscriber.Subscription
	frees   []func()
}

func (w *world) source() subscriber.Source {
	if w.mailbox != nil {
		return w.mailbox
	}
	return w.folder
}

func (w *world) worker(t *testing.T) *actor {
	t.Helper()
	a := &actor{world: w, at: make(chan string), verdict: make(chan int)}
	a.rig = &rig{queue: newHandQueue(), slots: &freeSlots{}, data: registration(registeredAt)}
	a.rig.feed = subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part("inbox")}
	opts := subscriber.Options{
		Subscriptions: []subscriber.Subscription{w.sub},
		Source:        a, Stream: (*actorStream)(a), Queue: a.rig.queue, DeadLetters: a, Slots: a.rig.slots,
		MaxMessages: 4,
	}
	if w.mailbox != nil {
		opts.Items = (*actorItems)(a)
	}
	s, err := subscriber.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	a.rig.Subscriber = s
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = s.Run(ctx)
	}()
	<-a.rig.queue.ready
	w.frees = append(w.frees, func() { cancel(); <-stopped })
	return a
}

// begin starts a poll and waits until it stands at its first call.
func (a *actor) begin(ctx context.Context) {
	a.done, a.polling = make(chan struct{}), true
	go func() {
		defer close(a.done)
		a.rig.queue.poll(ctx, a.rig.feed, a.rig.data)
	}()
	a.wait()
}

// step lets the poll go on to its next call or to its end.
func (a *actor) step(verdict int) {
	a.verdict <- verdict
	a.wait()
}

func (a *actor) wait() {
	select {
	case <-a.at:
	case <-a.done:
		a.polling = false
	}
}

// call stands at a gate and then makes the call.
func (a *actor) call(name string, effect func() error) error {
	a.at <- name
	verdict := <-a.verdict
	switch verdict {
	case failBefore:
		return errBroken
	case dieBefore:
		runtime.Goexit()
	}
	err := effect()
	switch verdict {
	case failAfter:
		return errBroken
	case dieAfter:
		runtime.Goexit()
	}
	return err
}

func (a *actor) Read(ctx context.Context, req subscriber.Request, emit func([]byte) error) (page subscriber.Page, err error) {
	err = a.call("read", func() error {
		page, err = a.world.source().Read(ctx, req, emit)
		return err
	})
	return page, err
}

func (a *actor) Put(ctx context.Context, letter subscriber.DeadLetter) error {
	return a.call("put", func() error { return a.world.dead.Put(ctx, letter) })
}

// actorStream is the actor as a Stream.
type actorStream actor

func (s *actorStream) Cursor(ctx context.Context, feed subscriber.Feed) (value []byte, seq uint64, err error) {
	err = (*actor)(s).call("cursor", func() error {
		value, seq, err = s.world.stream.Cursor(ctx, feed)
		return err
	})
	return value, seq, err
}

func (s *actorStream) Commit(ctx context.Context, c subscriber.Commit) (seq uint64, err error) {
	err = (*actor)(s).call("commit", func() error {
		seq, err = s.world.stream.Commit(ctx, c)
		return err
	})
	return seq, err
}

func (s *actorStream) Segment(ctx context.Context, feed subscriber.Feed, id string) (data []byte, err error) {
	err = (*actor)(s).call("segment", func() error {
		data, err = s.world.stream.Segment(ctx, feed, id)
		return err
	})
	return data, err
}

func (s *actorStream) PutSegments(ctx context.Context, feed subscriber.Feed, segments []index.Segment) error {
	return (*actor)(s).call("put segments", func() error { return s.world.stream.PutSegments(ctx, feed, segments) })
}

func (s *actorStream) DropSegments(ctx context.Context, feed subscriber.Feed, ids []string) error {
	return (*actor)(s).call("drop segments", func() error { return s.world.stream.DropSegments(ctx, feed, ids) })
}

func (s *actorStream) Orphans(ctx context.Context, feed subscriber.Feed, keep []string, at uint64) (ids []string, err error) {
	err = (*actor)(s).call("orphans", func() error {
		ids, err = s.world.stream.Orphans(ctx, feed, keep, at)
		return err
	})
	return ids, err
}

func (s *actorStream) Moved(ctx context.Context, subscription, mailbox string) (seq uint64, err error) {
	err = (*actor)(s).call("moved", func() error {
		seq, err = s.world.stream.Moved(ctx, subscription, mailbox)
		return err
	})
	return seq, err
}

// TestCrashesAndRivalsLoseAndRepeatNothing lets two workers poll one feed at the
// same time, each stopping, failing or dying at any call to the outside, while
// the folder lives on; at the end one healthy worker finishes. What a consumer
// then sees must be the folder, no event id may be there twice, and no item may
// go back to an older version.
func TestCrashesAndRivalsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	for name, all := range map[string]bool{"start all": true, "start now": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sub := inbox(t)
			sub.Start.All = all
			// Every seventh version is one that the transform cannot bear.
			sub.Transform = compile(t, `if .["@odata.etag"] | test("[07]\"$") then error("bad") else . end`)
			rapid.Check(t, func(rt *rapid.T) { checkTruth(t, rt, sub) })
		})
	}
}

func checkTruth(t *testing.T, rt *rapid.T, sub subscriber.Subscription) {
	t.Helper()
	w := &world{stream: newMemStream(), dead: &letters{}, sub: sub}
	w.stream.limit = 4
	w.folder = &folder{
		ticks: &ticks{now: registeredAt.Add(-time.Minute)}, mails: map[string]letter{}, size: rapid.IntRange(1, 6).Draw(rt, "page size"), first: 3,
		replays: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "replays"), 1)),
	}
	for i := range rapid.IntRange(0, 12).Draw(rt, "mails at the start") {
		w.folder.put(fmt.Sprintf("m%02d", i))
	}
	before := maps.Clone(w.folder.mails)
	w.folder.now = registeredAt.Add(time.Second)

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
	outside := map[string]letter{}
	id := rapid.Custom(func(rt *rapid.T) string { return fmt.Sprintf("m%02d", rapid.IntRange(0, 15).Draw(rt, "mail")) })
	work := func(i int) func(*rapid.T) {
		return func(rt *rapid.T) {
			if a := actors[i]; !a.polling {
				a.begin(t.Context())
				return
			}
			verdict := proceed
			if rapid.IntRange(0, 5).Draw(rt, "trouble") == 0 {
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
	rt.Repeat(map[string]func(*rapid.T){
		"worker 1": work(0), "worker 1 once more": work(0), "worker 1 again": work(0),
		"worker 2": work(1), "worker 2 once more": work(1),
		"put": func(rt *rapid.T) {
			id := id.Draw(rt, "id")
			delete(outside, id) // an id is never in two places
			w.folder.put(id)
		},
		"remove": func(rt *rapid.T) { w.folder.remove(id.Draw(rt, "id")) },
		"lose the tokens": func(rt *rapid.T) {
			if rapid.IntRange(0, 3).Draw(rt, "lost") == 0 {
				w.folder.tokens++
			}
		},
		"move out": func(rt *rapid.T) {
			id := id.Draw(rt, "id")
			if mail, there := w.folder.mails[id]; there {
				outside[id] = mail
				w.folder.remove(id)
			}
		},
		"move in": func(rt *rapid.T) {
			id := id.Draw(rt, "id")
			if mail, there := outside[id]; there && w.folder.mails[id] == (letter{}) {
				w.folder.restore(id, mail)
				delete(outside, id)
			}
		},
	})
	for _, a := range actors {
		for a.polling {
			a.step(proceed)
		}
	}
	for range 4 { // a lost token, a full read, what changed meanwhile, nothing
		actors[0].begin(t.Context())
		for actors[0].polling {
			actors[0].step(proceed)
		}
		if status := actors[0].rig.Status()[0]; status.Error != "" && status.Kind != fault.Resync {
			rt.Fatalf("healthy worker: %s", status.Error)
		}
	}
	compareTruth(rt, w, before)
}

func compareTruth(rt *rapid.T, w *world, before map[string]letter) {
	if twice := w.stream.twice(); len(twice) > 0 || len(w.stream.broken) > 0 {
		rt.Fatalf("event ids that are there twice: %v; broken: %v", twice, w.stream.broken)
	}
	type told struct {
		body    string
		deleted bool
	}
	view, versions := map[string]told{}, map[string]int{}
	for _, event := range w.stream.events {
		id := event.Header["Outlook-Id"]
		if event.Header["Outlook-Change"] == "deleted" {
			view[id] = told{deleted: true}
			delete(versions, id) // a mail that is moved in again has its old version
			continue
		}
		version := versionIn(rt, event.Body)
		if version < versions[id] {
			rt.Fatalf("%s went from version %d back to %d; %v; log %v; %s", id, versions[id], version, w.stream.told(), w.folder.log, w.stream.cursors)
		}
		versions[id] = version
		view[id] = told{body: string(event.Body)}
	}
	buried := map[string]bool{}
	for _, letter := range w.dead.byID {
		buried[string(letter.Body)] = true
	}
	for id, mail := range w.folder.mails {
		got, known := view[id]
		want := mail.json(id)
		quiet := !w.sub.Start.All && before[id] == mail && !known // old, and never changed
		switch {
		case quiet:
		case mail.version%10 == 0 || mail.version%10 == 7:
			if !buried[want] && !buried[mail.part(id)] {
				rt.Fatalf("version %d of %s is no dead letter", mail.version, id)
			}
		case !mail.is(id, got.body):
			rt.Fatalf("%s: told %q (deleted %t), is %s", id, got.body, got.deleted, want)
		}
	}
	for id, got := range view {
		if _, there := w.folder.mails[id]; !there && !got.deleted {
			rt.Fatalf("%s is gone, told %s; log %v, cursor %s, events %v", id, got.body, w.folder.log, w.stream.cursors, w.stream.told())
		}
	}
}

// versionIn reads the version in the body of a mail.
func versionIn(rt *rapid.T, body []byte) (version int) {
	if _, err := fmt.Sscanf(string(body[bytes.Index(body, []byte(`\"`)):]), `\"%d`, &version); err != nil {
		rt.Fatalf("body %s: %v", body, err)
	}
	return version
}
