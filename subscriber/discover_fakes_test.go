package subscriber

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/folders"
)

// foldersWorld is a Graph with folders and a directory, a stream and a queue,
// for tests of discoveries. Everything is in one goroutine's hands but what
// discoveries do at the same time, which its lock orders.
type foldersWorld struct {
	lock  chan struct{}
	boxes map[string]*folderBox // by mailbox as in requests
	users map[string]string     // members: id → principal name

	cursors map[Feed][]byte
	seqs    map[Feed]uint64
	seq     uint64
	queue   map[Feed][]byte
	// late are writes of frozen workers that have not happened yet.
	late []func()

	// crash, if set, says what becomes of the next step: not done, done without
	// an answer, or (of writes to the queue) done later.
	crash func() crashKind
	dead  bool // the worker is: nothing that it does works any more
	busy  int  // how many slots are refused before the next one is given
	pages int
	asked []Request
}

type crashKind int

const (
	sound crashKind = iota
	crashBefore
	crashAfter
	crashFrozen
)

var errCrash = errors.New("the worker has crashed")

// folderBox is one mailbox.
type folderBox struct {
	folders map[string]*testFolder
	clock   int
	gone    map[string]int // removed folders and when
	epoch   int            // tokens of an earlier one are lost
	known   map[string]string
	links   map[string]testLink
	missing bool // there is no mailbox
}

type testFolder struct {
	id, name, parent string
	hidden, search   bool
	changed          int
	made             int
}

type testLink struct {
	epoch int
	rest  []string // items of the round that are still to come
	end   int
	from  int
}

func newFoldersWorld() *foldersWorld {
	w := &foldersWorld{
		lock: make(chan struct{}, 1), boxes: map[string]*folderBox{}, users: map[string]string{},
		cursors: map[Feed][]byte{}, seqs: map[Feed]uint64{}, queue: map[Feed][]byte{},
	}
	w.lock <- struct{}{}
	return w
}

// box returns a mailbox, which is made with an inbox.
func (w *foldersWorld) box(name string) *folderBox {
	b := w.boxes[name]
	if b == nil {
		b = &folderBox{folders: map[string]*testFolder{}, gone: map[string]int{}, known: map[string]string{}, links: map[string]testLink{}}
		w.boxes[name] = b
		b.known["inbox"] = b.add("Posteingang", "root")
	}
	return b
}

// add makes a folder and returns its id.
func (b *folderBox) add(name, parent string) string {
	b.clock++
	id := "AAMkAGVmMDEzMTM4LTZmYWUtNDdkNC1hMDZiLTU1OGY5OTZhYmY4OAAuAAAAAAD" + strconv.Itoa(b.clock)
	b.folders[id] = &testFolder{id: id, name: name, parent: parent, changed: b.clock, made: b.clock}
	return id
}

func (b *folderBox) rename(id, name string) {
	b.clock++
	b.folders[id].name, b.folders[id].changed = name, b.clock
}

func (b *folderBox) move(id, parent string) {
	for above := parent; above != "root"; above = b.folders[above].parent {
		if above == id {
			return // into itself
		}
	}
	b.clock++
	b.folders[id].parent, b.folders[id].changed = parent, b.clock
}

func (b *folderBox) remove(id string) {
	for _, child := range slices.Sorted(maps.Keys(b.folders)) {
		if b.folders[child] != nil && b.folders[child].parent == id {
			b.remove(child)
		}
	}
	b.clock++
	delete(b.folders, id)
	b.gone[id] = b.clock
}

// path is where the folder stands, and the well-known names of it.
func (b *folderBox) path(id string) folders.Path {
	path := folders.Path{Search: b.folders[id].search}
	for at := b.folders[id]; at != nil; at = b.folders[at.parent] {
		var known []string
		for name, of := range b.known {
			if of == at.id {
				known = append(known, name)
			}
		}
		path.Names, path.Known = append(path.Names, folders.Fold(at.name)), append(path.Known, known)
	}
	slices.Reverse(path.Names)
	slices.Reverse(path.Known)
	return path
}

// delta answers a page of folders, three at a time, in no good order.
func (b *folderBox) delta(link string, hidden bool) (items []string, page Page, err error) {
	var l testLink
	if link == "" {
		l = testLink{epoch: b.epoch, end: b.clock}
		l.rest = b.since(0, hidden)
	} else {
		var ok bool
		if l, ok = b.links[link]; !ok || l.epoch != b.epoch {
			return nil, Page{}, fault.New(fault.Resync, "sync state not found").WithCode("SyncStateNotFound")
		}
		if l.end == 0 {
			l.end = b.clock
			l.rest = b.since(l.from, hidden)
		}
	}
	n := min(3, len(l.rest))
	items = l.rest[:n]
	l.rest = l.rest[n:]
	name := fmt.Sprintf("https://graph/link/%d/%d", len(b.links), b.clock)
	if len(l.rest) == 0 {
		b.links[name] = testLink{epoch: l.epoch, from: l.end}
		return items, Page{Delta: name}, nil
	}
	b.links[name] = l
	return items, Page{Next: name}, nil
}

// since lists what changed after a moment.
func (b *folderBox) since(from int, hidden bool) []string {
	var items []string
	for _, id := range slices.Sorted(maps.Keys(b.folders)) {
		f := b.folders[id]
		if f.changed <= from || f.hidden && !hidden {
			continue
		}
		kind := "#microsoft.graph.mailFolder"
		if f.search {
			kind = searchFolder
		}
		items = append(items, fmt.Sprintf(`{"@odata.type":%q,"id":%q,"displayName":%q,"parentFolderId":%q,"isHidden":%t}`, kind, f.id, f.name, f.parent, f.hidden))
	}
	if from > 0 {
		for _, id := range slices.Sorted(maps.Keys(b.gone)) {
			if b.gone[id] > from {
				items = append(items, fmt.Sprintf(`{"id":%q,"@removed":{"reason":"deleted"}}`, id))
			}
		}
	}
	random := rand.New(rand.NewPCG(uint64(b.clock), uint64(from)))
	random.Shuffle(len(items), func(i, k int) { items[i], items[k] = items[k], items[i] })
	return items
}

// step is one thing that a worker does to the world.
func (w *foldersWorld) step(do func() error) error {
	<-w.lock
	defer func() { w.lock <- struct{}{} }()
	if w.dead {
		return errCrash
	}
	kind := sound
	if w.crash != nil {
		kind = w.crash()
	}
	switch kind {
	case crashBefore:
		w.dead = true
		return errCrash
	case crashAfter:
		w.dead = true
		_ = do()
		return errCrash
	case crashFrozen:
		w.dead = true
		w.late = append(w.late, func() { _ = do() })
		return errCrash
	}
	return do()
}

func (w *foldersWorld) Read(_ context.Context, req Request, emit func([]byte) error) (page Page, err error) {
	var items []string
	err = w.step(func() error {
		w.pages++
		w.asked = append(w.asked, req)
		if req.Operation.ID == "mail.folder.delta" {
			b := w.box(req.Mailbox)
			if b.missing {
				return fault.New(fault.Poison, "no mailbox").WithCode("MailboxNotEnabledForRESTAPI")
			}
			items, page, err = b.delta(req.Link, req.Query[queryHidden] == "true")
			return err
		}
		ids := slices.Sorted(maps.Keys(w.users))
		from, _ := strconv.Atoi(req.Link)
		from = min(from, len(ids)) // who was listed may have gone since
		to := min(from+2, len(ids))
		for _, id := range ids[from:to] {
			items = append(items, fmt.Sprintf(`{"id":%q,"userPrincipalName":%q}`, id, w.users[id]))
		}
		if to < len(ids) {
			page.Next = strconv.Itoa(to)
		}
		return nil
	})
	if err != nil {
		return Page{}, err
	}
	for _, item := range items {
		if err := emit([]byte(item)); err != nil {
			return Page{}, err
		}
	}
	return page, nil
}

// Object answers for well-known folders.
func (w *foldersWorld) Object(_ context.Context, req Request, _ int64) (body []byte, _ Page, err error) {
	err = w.step(func() error {
		w.asked = append(w.asked, req)
		b := w.box(req.Mailbox)
		id := b.known[req.Path["mailFolder-id"]]
		switch {
		case b.missing:
			return fault.New(fault.Poison, "no mailbox").WithCode("MailboxNotEnabledForRESTAPI")
		case id == "":
			return fault.New(fault.Poison, "no such folder").WithCode("ErrorFolderNotFound")
		}
		body = fmt.Appendf(nil, `{"id":%q}`, id)
		return nil
	})
	return body, Page{}, err
}

func (w *foldersWorld) Batch(context.Context, string, string, []Get) ([]Got, error) {
	return nil, errors.New("discoveries make no batches")
}

func (w *foldersWorld) Open(context.Context, string, string, Get) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("discoveries open nothing")
}

// foldersStream is the world as a stream.
type foldersStream struct {
	Indexes
	*foldersWorld
}

func (s foldersStream) Cursor(_ context.Context, feed Feed) (value []byte, seq uint64, err error) {
	err = s.step(func() error {
		value, seq = slices.Clone(s.cursors[feed]), s.seqs[feed]
		return nil
	})
	return value, seq, err
}

func (s foldersStream) Commit(_ context.Context, c Commit) (seq uint64, err error) {
	err = s.step(func() error {
		if s.seqs[c.Feed] != c.After {
			return ErrFenced
		}
		s.seq++
		s.cursors[c.Feed], s.seqs[c.Feed], seq = slices.Clone(c.Cursor), s.seq, s.seq
		return nil
	})
	return seq, err
}

// foldersQueue is the world as a queue.
type foldersQueue struct{ *foldersWorld }

func (q foldersQueue) Register(_ context.Context, feed Feed, data []byte) (known bool, err error) {
	err = q.step(func() error {
		if known = q.queue[feed] != nil; !known {
			q.queue[feed] = data
		}
		return nil
	})
	return known, err
}

func (q foldersQueue) Update(_ context.Context, feed Feed, change func([]byte) ([]byte, error)) error {
	return q.step(func() error {
		if q.queue[feed] == nil {
			return nil
		}
		data, err := change(q.queue[feed])
		if err == nil {
			q.queue[feed] = data
		}
		return err
	})
}

func (q foldersQueue) Run(context.Context, int, func(context.Context, Feed, []byte) Next) error {
	return nil
}

func (w *foldersWorld) Take(context.Context, string, string) (func(), time.Duration, bool) {
	<-w.lock
	defer func() { w.lock <- struct{}{} }()
	if w.busy > 0 {
		w.busy--
		return nil, 3 * time.Second, false
	}
	return func() {}, 0, true
}

// worker is a new worker in the world: it has forgotten everything.
func (w *foldersWorld) worker(t *testing.T, sub Subscription) *Subscriber {
	t.Helper()
	w.dead = false
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		t.Fatal(err)
	}
	sub.Name, sub.Client, sub.Operation = "s", "contoso", op
	if sub.Every == 0 {
		sub.Every = 30 * time.Second
	}
	stream := foldersStream{foldersWorld: w}
	s := &Subscriber{
		subs: map[string]*Subscription{"s": &sub}, source: w, stream: stream, queue: foldersQueue{w}, slots: w, items: w,
		log: slog.New(slog.DiscardHandler),
	}
	s.roster = newRoster(s.subs, stream)
	for feed := range s.roster.named {
		data, err := registration{Registered: time.Now()}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if w.queue[feed] == nil {
			w.queue[feed] = data
		}
	}
	return s
}

// deliver polls a feed as a worker does, as far as discovery goes.
func (w *foldersWorld) deliver(ctx context.Context, s *Subscriber, feed Feed) (outcome, error) {
	data := w.queue[feed]
	reg := s.registered(ctx, feed, data)
	sub, st, ok := s.roster.find(feed, reg, time.Now())
	if !ok {
		return outcome{result: "stranger"}, nil
	}
	reg, err := s.standing(ctx, feed, reg, data)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{result: resultOK}
	if feed.Part == partFolders || feed.Part == partMembers {
		out, err = s.discover(ctx, sub, feed, reg, st)
		if calm, rests := rest(reg, err); rests {
			out, err = calm, nil
		}
		if err != nil {
			return out, err
		}
	} else if reg.Retire {
		out.result = resultRetired
	}
	if out.result == resultRetired {
		err = w.step(func() error {
			if bytes.Equal(w.queue[feed], data) { // else it is another message by now
				delete(w.queue, feed)
			}
			return nil
		})
	}
	return out, err
}

// found are the feeds in the queue that read items: mailbox and folder's name.
func (w *foldersWorld) found(t *testing.T) []string {
	t.Helper()
	var names []string
	for feed, data := range w.queue {
		var r registration
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		if feed.Part == partFolders || feed.Part == partMembers || r.Retire {
			continue
		}
		name := feed.Mailbox
		if r.Container != "" {
			at := "?"
			if f := w.box(r.Mailbox).folders[r.Container]; f != nil {
				at = strings.Join(w.box(r.Mailbox).path(f.id).Names, "/")
			}
			name += ":" + at
			if Part(r.Container) != feed.Part || r.Path["mailFolder-id"] != r.Container {
				t.Errorf("feed %s reads %+v", feed, r)
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
