//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// view is what a consumer makes of the events: for each subscription and item,
// all that was told, in the order of the stream. It is a client that the
// connector knows nothing of.
type view struct {
	// me is whose mailbox the events call me.
	me string

	mu     sync.Mutex
	tracks map[trackKey]*track
	ids    map[string]uint64 // ce-id → sequence in the stream
	last   uint64            // sequence of the newest event
	events int
	moved  time.Time // when the newest event came
	kinds  map[string]int
	// folders are the news that items are in a folder, in the order of the stream.
	folders  map[folderKey][]telling
	names    map[string]bool // of the subscriptions
	problems []string        // that need no truth to be seen
	// where counts what differed in the end, by subscription and mailbox.
	where map[string]int
}

type trackKey struct{ subscription, item string }

type folderKey struct{ subscription, folder string }

// telling is when something was told of a folder's items.
type telling struct {
	stream uint64
	at     time.Time
}

// track is what was told of an item.
type track struct {
	mailbox string
	news    []news
}

// news is one event.
type news struct {
	nth     int    // how manieth event it is, from 1
	stream  uint64 // sequence in the stream
	kind    string // Outlook-Change
	version int64  // of the item; 0: the event has none
	folder  string
	at      time.Time // when it was stored
	doubted bool      // Outlook-Verified: false
	moved   bool      // Outlook-Reason: moved
}

// String says what is told.
func (n news) String() string {
	switch {
	case n.kind != "deleted":
		return fmt.Sprintf("%s, version %d in %s", n.kind, n.version, shortID(n.folder))
	case n.doubted:
		return "deleted, unverified"
	case n.moved:
		return "deleted, moved"
	}
	return "deleted"
}

func newView(me string) *view {
	return &view{me: me, tracks: map[trackKey]*track{}, ids: map[string]uint64{}, kinds: map[string]int{}, folders: map[folderKey][]telling{}, names: map[string]bool{}, moved: time.Now()}
}

// told is an event as it lies in the stream.
type told struct {
	stream                            uint64
	id, subscription, mailbox, item   string
	change, verified, entity, subject string
	reason                            string
	body                              []byte
	at                                time.Time
}

func readTold(m jetstream.Msg) (told, error) {
	meta, err := m.Metadata()
	if err != nil {
		return told{}, err
	}
	h := m.Headers()
	return told{
		stream: meta.Sequence.Stream, id: h.Get("ce-id"), subscription: h.Get("Outlook-Subscription"), mailbox: h.Get("Outlook-Mailbox"),
		item: h.Get("Outlook-Id"), change: h.Get("Outlook-Change"), verified: h.Get("Outlook-Verified"), reason: h.Get("Outlook-Reason"), entity: h.Get("Outlook-Entity"),
		subject: m.Subject(), body: m.Data(), at: meta.Timestamp,
	}, nil
}

// take puts an event into the view.
func (v *view) take(e told) {
	v.mu.Lock()
	defer v.mu.Unlock()
	say := func(format string, args ...any) {
		v.problems = append(v.problems, fmt.Sprintf("event %d (%s of %s): ", e.stream, e.change, shortID(e.item))+fmt.Sprintf(format, args...))
	}
	v.last, v.moved = e.stream, time.Now()
	v.events++
	v.kinds[e.change]++
	v.names[e.subscription] = true
	switch first, again := v.ids[e.id]; {
	case e.id == "":
		say("it has no ce-id")
	case again:
		say("its id %s is that of event %d", e.id, first)
	default:
		v.ids[e.id] = e.stream
	}
	if want := "outlook.event." + e.subscription + "." + e.mailbox; e.subject != want {
		say("it is on %s, want %s", e.subject, want)
	}
	n := news{nth: v.events, stream: e.stream, kind: e.change, at: e.at, doubted: e.verified == "false", moved: e.reason == "moved"}
	var body struct {
		ID      string          `json:"id"`
		ETag    string          `json:"@odata.etag"`
		Folder  string          `json:"parentFolderId"`
		Removed json.RawMessage `json:"@removed"`
	}
	if err := json.Unmarshal(e.body, &body); err != nil {
		say("its body is no JSON: %v", err)
	}
	if body.ID != e.item {
		say("its body has the id %s", shortID(body.ID))
	}
	n.version, n.folder = version(body.ETag), body.Folder
	mailbox := e.mailbox
	if mailbox == "me" {
		mailbox = v.me
	}
	key := trackKey{e.subscription, e.item}
	t := v.tracks[key]
	if t == nil {
		t = &track{mailbox: mailbox}
		v.tracks[key] = t
	}
	if t.mailbox != mailbox {
		say("it was told of the mailbox %s before, now of %s", t.mailbox, mailbox)
	}
	if last := len(t.news) - 1; n.folder == "" && last >= 0 {
		n.folder = t.news[last].folder // a part of an item does not say what is as it was
	}
	t.news = append(t.news, n)
	if n.kind != "deleted" {
		folder := folderKey{e.subscription, n.folder}
		v.folders[folder] = append(v.folders[folder], telling{e.stream, e.at})
	}
}

// newest is the end of a track that is in the view; ok is false where the item
// is not, because it was deleted last.
func (t *track) newest() (n news, ok bool) {
	n = t.news[len(t.news)-1]
	return n, n.kind != "deleted"
}

// shortID is what tells ids of one sandbox apart.
func shortID(id string) string {
	if len(id) > 24 {
		return "…" + id[len(id)-16:]
	}
	return id
}

// follow reads the stream of events until ctx ends, however often the server
// goes: after each loss it goes on behind the newest event that it has. A reader
// that got a message out of turn begins again as well.
func (v *view) follow(ctx context.Context, js jetstream.JetStream) {
	for ctx.Err() == nil {
		if err := v.read(ctx, js); err != nil {
			pause(ctx, 100*time.Millisecond)
		}
	}
}

func (v *view) read(ctx context.Context, js jetstream.JetStream) error {
	v.mu.Lock()
	from := v.last + 1
	v.mu.Unlock()
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	consumer, err := js.CreateConsumer(asking, "OUTLOOK_EVENTS", jetstream.ConsumerConfig{
		FilterSubject: "outlook.event.>", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 30 * time.Second, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	for turn := uint64(1); ctx.Err() == nil; {
		batch, err := consumer.Fetch(1000, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Consumer != turn {
				return fmt.Errorf("message %d of the consumer came as number %d", meta.Sequence.Consumer, turn)
			}
			turn++
			e, err := readTold(m)
			if err != nil {
				return err
			}
			v.take(e)
		}
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
			return err
		}
	}
	return nil
}

// count is how many events there were.
func (v *view) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.events
}

// quiet says for how long no event has come.
func (v *view) quiet() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.moved)
}
