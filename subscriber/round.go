package subscriber

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"outlook-connector/internal/fault"
)

const (
	// saveEvery is how often a quiet feed stores its newest delta link. Between
	// that an empty round writes nothing: the next poll asks with the stored
	// link again, which Graph answers as well (links are not used up), and a
	// mailbox where nothing happens costs no disk.
	saveEvery = 5 * time.Minute
	// maxUnsaved bounds the empty pages of a round that are read again after a
	// failure.
	maxUnsaved = 10
	// maxPages is how many pages one poll reads before the feed goes back to the
	// queue, so that a first full read of a large mailbox leaves room for others.
	maxPages = 200
	// maxRound is how many pages a round may have at all: 10 million items.
	maxRound = 100_000
	// maxRepeats is how many times a page may have the same items as the page
	// before it.
	maxRepeats = 3
)

// The outcomes of a poll, as in the metric's label. A failed one has the name of
// its remedy instead.
const (
	resultOK      = "ok"      // something came
	resultEmpty   = "empty"   // nothing has changed
	resultMore    = "more"    // the round goes on with the next poll
	resultBusy    = "busy"    // no slot of the mailbox was free
	resultSkipped = "skipped" // the request transform left the poll out
	resultFenced  = "fenced"  // another worker has the feed
	resultPanic   = "panic"
)

// walk is one poll on its way through a round.
type walk struct {
	*Subscriber
	sub  *Subscription
	feed Feed
	req  Request

	cur   *cursor
	seq   uint64
	told  *told
	trail *trail
	peek  peeker

	// unsaved counts the pages since the cursor was stored, read the pages and
	// items the items of the poll.
	unsaved, read, items int
	// repeats counts pages with the same items as the one before.
	repeats int
}

// outcome is how a poll ended that did not fail.
type outcome struct {
	result string
	after  time.Duration
	phase  phase
}

// run polls the feed once: from the stored cursor to the end of the round, or as
// far as it may go in one poll.
func (s *Subscriber) run(ctx context.Context, sub *Subscription, feed Feed, registered time.Time, st *state) (outcome, error) {
	value, seq, err := s.stream.Cursor(ctx, feed)
	if err != nil {
		return outcome{}, fmt.Errorf("read cursor: %w", err)
	}
	mailbox := s.feeds[feed].mailbox
	req, ok, err := s.request(ctx, sub, mailbox)
	if err != nil {
		return outcome{}, err
	}
	if !ok {
		return outcome{result: resultSkipped, after: sub.Every}, nil
	}
	w := &walk{Subscriber: s, sub: sub, feed: feed, req: req, seq: seq, trail: &st.trail}
	if err := w.open(ctx, value, registered, requestID(sub, mailbox)); err != nil {
		return outcome{}, err
	}
	for {
		out, err := w.step(ctx)
		if err != nil || out.result != "" {
			out.phase = w.cur.Phase
			return out, err
		}
	}
}

// open takes up the stored cursor, or begins one.
func (w *walk) open(ctx context.Context, value []byte, registered time.Time, request string) error {
	w.cur = begin(w.sub.Start, registered, request)
	if value != nil {
		stored, err := decodeCursor(value)
		if err != nil {
			return err
		}
		w.cur = stored
	}
	if w.cur.Request != request {
		// $select and the like live in the token, so only a new round brings the
		// new ones.
		w.cur.restart(request)
		w.log.WarnContext(ctx, "request changed, full read begins",
			"feed", w.feed.String(), "phase", string(w.cur.Phase), "new_from", w.cur.cut(),
			"limit", "changes of older items since the last round are not told")
	}
	if w.cur.Phase == primer && w.cur.Link == "" && !selects(w.req.Query, memberReceived) {
		w.log.WarnContext(ctx, "mails that arrive during the first read cannot be told from old ones",
			"feed", w.feed.String(), "try", "add "+memberReceived+" to $select")
	}
	if w.cur.Phase == snapshot && w.sub.Start.needsReceived() && !selects(w.req.Query, memberReceived) {
		return fault.New(fault.Poison, "start at a date needs %s in $select", memberReceived).WithCode("start_date").
			WithHint("add %s to $select of subscription %s", memberReceived, w.sub.Name)
	}
	w.told = newTold(w.cur.Told)
	w.trail.resume(w.seed, w.cur.Round)
	return nil
}

// step reads one page and makes it durable. An outcome with a result ends the
// poll.
func (w *walk) step(ctx context.Context) (outcome, error) {
	kept := w.told.keep(max(toldKept, len(w.cur.Told)))
	release, wait, ok := w.slots.Take(ctx, w.req.Client, w.req.Mailbox)
	if !ok {
		return outcome{result: resultBusy, after: max(wait, leastWait)}, nil
	}
	page, changes, err := w.readPage(ctx, release)
	if err != nil {
		return outcome{}, w.lost(ctx, err)
	}
	w.read++
	w.items += len(changes.all)
	repeated, err := w.guard(page, changes)
	if err != nil {
		return outcome{}, err
	}
	link := w.cur.Link
	wasFull, quiet := w.cur.full(), changes.seen == 0
	ended, yield := page.Delta != "", w.read >= maxPages

	events, err := w.events(ctx, page, changes.all)
	if err != nil {
		return outcome{}, err
	}
	before := *w.cur
	w.cur.advance(page, time.Now())
	w.trail.pass(link)
	w.unsaved++
	save := wasFull || !quiet || w.unsaved >= maxUnsaved || time.Since(before.At) >= saveEvery
	if (save && !repeated) || len(events) > 0 {
		if err := w.commit(ctx, before, events, kept, changes.seen); err != nil {
			return outcome{}, err
		}
	}
	switch {
	case ended && w.items == 0:
		return outcome{result: resultEmpty, after: w.sub.Every}, nil
	case ended:
		return outcome{result: resultOK, after: w.sub.Every}, nil
	case yield:
		return outcome{result: resultMore}, nil
	default:
		return outcome{}, nil
	}
}

// pageItems are the items of one page that are to be told.
type pageItems struct {
	all []change
	// seen counts the items of the page, also those that are not told.
	seen int
	// sum is a hash of all their bytes.
	sum uint64
}

// readPage reads a page and decides about its items as they come, so that of a
// quiet full read none is kept in memory. It releases the slot before it returns.
func (w *walk) readPage(ctx context.Context, release func()) (Page, pageItems, error) {
	defer release()
	var items pageItems
	var sum maphash.Hash
	sum.SetSeed(w.seed)
	page, err := w.source.Read(ctx, w.req.at(w.cur.Link, w.sub.PageSize), func(raw []byte) error {
		items.seen++
		w.told.room(items.seen)
		_, _ = sum.Write(raw)
		if c, tell := w.judge(raw); tell {
			c.raw = bytes.Clone(raw)
			items.all = append(items.all, c)
		}
		return nil
	})
	if err != nil {
		return Page{}, pageItems{}, fmt.Errorf("read page: %w", err)
	}
	items.sum = sum.Sum64()
	return page, items, nil
}

// judge decides whether an item is told, and as what.
func (w *walk) judge(raw []byte) (change, bool) {
	it, err := w.peek.peek(raw)
	if err != nil {
		return change{item: item{}, kind: Changed, version: digest(string(raw)), bad: err}, true
	}
	round := w.cur.Round
	if it.removed {
		// The quiet first read has told nothing of most items, and then there is
		// nothing to take back.
		if w.cur.Phase == primer && !w.told.knows(it.id) {
			return change{}, false
		}
		entry := w.told.remove(it.id, round)
		if entry == "" || !w.sub.Deletions {
			return change{}, false
		}
		return change{item: it, kind: Deleted, version: entry[keyLen:], entry: entry}, true
	}
	kind, tell := w.kind(&it)
	if !tell {
		return change{}, false
	}
	version := it.version
	if version == "" {
		version = fmt.Sprintf("bytes:%d:%s", round, digest(string(raw)))
	}
	if w.told.has(it.id, version) {
		return change{}, false
	}
	c := change{item: it, kind: kind, version: version, life: w.told.reborn(it.id)}
	c.entry = w.told.add(it.id, version)
	return c, true
}

// kind is the word for an item that exists, and whether it is told at all.
func (w *walk) kind(it *item) (string, bool) {
	switch {
	case !w.cur.full():
		return Changed, true
	case w.cur.Phase != snapshot:
		return Changed, it.fresh(w.cur.cut())
	case !it.received.Before(w.cur.Since): // always, where everything is told
		return Snapshot, true
	default:
		// Older than the start, but changed while the snapshot is being read.
		return Changed, !w.cur.Began.IsZero() && it.modified.After(w.cur.Began)
	}
}

// guard refuses a page that does not lead on. repeated reports that the page has
// the items of the page before: it moves the stored cursor no further, so that
// an endless row of such pages is an error at a cursor that stands still.
func (w *walk) guard(page Page, items pageItems) (repeated bool, err error) {
	endless := func(format string, args ...any) error {
		return fault.New(fault.Retry, format, args...).WithCode("page_loop").
			WithHint("the answers of Graph go round in a circle; if it lasts, purge the cursor of feed %s to begin anew", w.feed)
	}
	switch {
	case (page.Next == "") == (page.Delta == ""):
		return false, fault.New(fault.Retry, "page has both or neither of nextLink and deltaLink").WithCode("bad_page")
	case page.Next == "":
		return false, nil
	case page.Next == w.cur.Link || w.trail.circles(page.Next):
		return false, endless("nextLink leads back to a page of this round")
	case w.cur.Pages >= maxRound:
		return false, endless("round has more than %d pages", maxRound)
	}
	repeated = items.seen > 0 && items.sum == w.trail.items
	w.trail.items = items.sum
	if !repeated {
		w.repeats = 0
		return false, nil
	}
	if w.repeats++; w.repeats > maxRepeats {
		return true, endless("%d pages with new links and the same items", w.repeats+1)
	}
	return true, nil
}

// lost answers a link that Graph no longer knows: it stores a cursor at the
// beginning of a full read, which the next poll does. The error comes back, so
// that a server that forgets every link is asked less and less.
func (w *walk) lost(ctx context.Context, err error) error {
	if fault.KindOf(err) != fault.Resync || w.cur.Link == "" {
		return err
	}
	kept := w.told.keep(toldKept)
	w.cur.restart(w.cur.Request)
	w.log.WarnContext(ctx, "delta token lost, full read begins",
		"feed", w.feed.String(), "phase", string(w.cur.Phase), "new_from", w.cur.cut(),
		"limit", "deletions and changes of older items since the last round may not be told")
	w.cur.Told = kept
	if failed := w.store(ctx, nil, w.cur); failed != nil {
		return failed
	}
	return err
}
