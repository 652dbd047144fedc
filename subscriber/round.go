package subscriber

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
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
	resultPaused  = "paused"  // an operator stopped the feed
	resultPanic   = "panic"
)

// walk is one poll on its way through a round.
type walk struct {
	*Subscriber
	sub   *Subscription
	feed  Feed
	reg   registration
	req   Request
	state *state

	cur   *cursor
	seq   uint64
	trail *trail
	peek  peeker

	// now and old are the indexes of the cursor; old is nil where there is none.
	now, old *index.Index
	// named are the pieces that the stored cursor names.
	named map[string]struct{}
	// part is the index of the cursor of a page that is stored in several steps.
	part *index.Index
	// touched says that the index was changed since the page began.
	touched bool

	// marker is the marker of moves as it was before the page was read, mark that
	// the commit writes it anew. See moves.go.
	marker uint64
	mark   bool
	family *family
	fresh  freshest

	// pages is the memory of the page in hand.
	pages *pages

	// seen are the items that the reading of a list has seen; nil in other modes.
	seen map[index.Key]struct{}

	// unsaved counts the pages since the cursor was stored, read the pages and came the
	// items of the poll that may be told.
	unsaved, read, came int
	// repeats counts pages with the same items as the one before.
	repeats int
}

// outcome is how a poll ended that did not fail.
type outcome struct {
	result string
	// after is when the feed is due again. For one that reached the end of a
	// round zero means as the schedule says, for the others at once.
	after time.Duration
	phase phase
	pace  pace
}

// errAgain ends a poll in the middle of a page whose rest has to be read again.
var errAgain = errors.New("the rest of the page is read again")

// run polls the feed once: from the stored cursor to the end of the round, or as
// far as it may go in one poll.
func (s *Subscriber) run(ctx context.Context, sub *Subscription, feed Feed, reg registration, st *state) (outcome, error) {
	value, seq, err := s.stream.Cursor(ctx, feed)
	if err != nil {
		return outcome{}, fmt.Errorf("read cursor: %w", err)
	}
	w := &walk{Subscriber: s, sub: readBy(sub, reg), feed: feed, reg: reg, seq: seq, state: st, trail: &st.trail}
	w.pages = &pages{budget: s.memory, guess: &st.guess}
	defer w.pages.done()
	mailbox := st.mailbox
	if reg.Mailbox != "" {
		mailbox = reg.Mailbox
	}
	asked := w.sub
	if reg.Retire && asked.RequestTransform != nil {
		// Nothing is read by it any more, and it must not stand in the way.
		plain := *asked
		plain.RequestTransform, asked = nil, &plain
	}
	req, ok, err := s.request(ctx, asked, mailbox)
	if err != nil {
		return outcome{}, err
	}
	if !ok {
		return outcome{result: resultSkipped}, nil
	}
	w.req = req
	if err := w.open(ctx, value, mailbox); err != nil {
		return outcome{}, err
	}
	out, err := w.proceed(ctx)
	err = w.beginAnew(ctx, value, err)
	if busy, is := errors.AsType[*busyError](err); is {
		out, err = outcome{result: resultBusy, after: max(busy.after, leastWait)}, nil
	}
	if errors.Is(err, errAgain) {
		out, err = outcome{result: resultMore}, nil
	}
	out.phase, out.pace = w.cur.Phase, w.cur.Pace
	return out, err
}

// proceed reads as the mode of the subscription says.
func (w *walk) proceed(ctx context.Context) (outcome, error) {
	if err := w.follow(ctx); err != nil {
		return outcome{}, err
	}
	if w.reg.Retire {
		return w.retire(ctx)
	}
	switch w.sub.Mode {
	case ModeList:
		return w.list(ctx)
	case ModeSingle:
		return w.single(ctx)
	}
	for {
		step := w.step
		if w.cur.Phase == sweep {
			step = w.sweep
		}
		if out, err := step(ctx); err != nil || out.result != "" {
			return out, err
		}
	}
}

// readBy is the subscription as a found feed reads it.
func readBy(sub *Subscription, reg registration) *Subscription {
	if len(reg.Path) == 0 {
		return sub
	}
	own := *sub
	own.Path = make(map[string]string, len(sub.Path)+len(reg.Path))
	for _, path := range []map[string]string{sub.Path, reg.Path} {
		maps.Copy(own.Path, path)
	}
	return &own
}

// open takes up the stored cursor, or begins one.
func (w *walk) open(ctx context.Context, value []byte, mailbox string) error {
	request := requestID(w.sub, mailbox)
	w.cur = w.begin(request)
	if value != nil {
		stored, err := decodeCursor(value)
		if err != nil {
			return err
		}
		if w.sub.Mode == ModeDelta && stored.Link == "" && (stored.Phase == changes || stored.Phase == sweep) {
			return badCursor(errors.New("cursor has no link"))
		}
		if stored.Phase == retired && !w.reg.Retire {
			// It came back: what it told before it was taken back. What it knows of
			// that still counts.
			w.cur.Round, w.cur.Index = stored.Round+1, stored.Index
			stored = w.cur
		}
		w.cur = stored
	}
	w.name()
	if w.cur.Version < cursorVersion {
		w.log.InfoContext(ctx, "cursor of an earlier version, quiet full read begins", "feed", w.feed.String())
		w.cur.upgrade()
	}
	w.refresh(ctx, request)
	if w.cur.Phase == primer && w.cur.Link == "" && !w.reg.Retire && !selects(w.req.Query, memberReceived) {
		w.log.WarnContext(ctx, "mails that arrive during the first read cannot be told from old ones",
			"feed", w.feed.String(), "try", "add "+memberReceived+" to $select")
	}
	if w.cur.Phase == snapshot && !w.reg.Retire && w.sub.Start.needsReceived() && !selects(w.req.Query, memberReceived) {
		return fault.New(fault.Poison, "start at a date needs %s in $select", memberReceived).WithCode("start_date").
			WithHint("add %s to $select of subscription %s", memberReceived, w.sub.Name)
	}
	w.peek.until = w.sub.Window != Window{}
	w.trail.resume(w.seed, w.cur.Round)
	return w.reopen()
}

// begin is the cursor of a feed that has none yet. Of a folder or mailbox that
// came to be after the subscription everything is new.
func (w *walk) begin(request string) *cursor {
	c := begin(w.sub.Start, w.reg.Registered, request)
	c.Resync = w.reg.Resync
	if w.reg.New && c.Phase == primer {
		c.Phase = resync
	}
	return c
}

// refresh begins a full read where there is a reason for one.
func (w *walk) refresh(ctx context.Context, request string) {
	why := ""
	switch {
	case w.reg.Retire || w.cur.Phase == retired:
		return
	case w.cur.Request != request:
		// $select and the like live in the token, so only a new round brings the
		// new ones.
		why = "request changed"
	case w.reg.Resync != "" && w.cur.Resync != w.reg.Resync:
		why = "asked for"
	}
	w.cur.Request, w.cur.Resync = request, w.reg.Resync
	wholly := w.sub.Mode != ModeDelta // each reading is a full one
	from, upto := w.sub.Window.at(time.Now())
	if why == "" && !w.cur.From.Equal(from) && (w.cur.Link == "" || w.cur.Phase == changes) {
		if !w.cur.From.IsZero() {
			why = "window moved on"
		}
	}
	switch {
	case w.cur.Link == "" || why != "" || wholly:
		w.cur.From, w.cur.Upto = from, upto
	}
	w.window()
	if wholly {
		return
	}
	if why != "" {
		w.log.InfoContext(ctx, "full read begins", "feed", w.feed.String(), "because", why)
		w.cur.restart()
		return
	}
	if w.cur.full() && w.cur.Link == "" && !w.cur.Index.IsZero() {
		// The first page was stored in part, and there is no link by which to read
		// the same page again.
		w.cur.restart()
	}
}

// reopen makes the indexes those of the cursor.
func (w *walk) reopen() error {
	store := w.pieces(w.feed)
	w.now, w.old, w.part, w.touched = index.Open(store, w.cur.Index), nil, nil, false
	if !w.cur.Old.IsZero() {
		w.old = index.Open(store, w.cur.Old)
	}
	return nil
}

// step reads one page and makes it durable. An outcome with a result ends the
// poll.
func (w *walk) step(ctx context.Context) (outcome, error) {
	if err := w.gather(ctx); err != nil {
		return outcome{}, err
	}
	if err := w.pages.next(ctx, w.req.asked(w.cur.Link, w.sub.PageSize), w.cur.full()); err != nil {
		return outcome{}, fmt.Errorf("wait for memory: %w", err)
	}
	release, wait, ok := w.slots.Take(ctx, w.req.Client, w.req.Mailbox)
	if !ok {
		return outcome{result: resultBusy, after: max(wait, leastWait)}, nil
	}
	before := *w.cur
	page, items, err := w.readPage(ctx, before.Link, release)
	if err != nil {
		return outcome{}, w.lost(ctx, before, err)
	}
	w.read++
	w.came += len(items.all)
	repeated, err := w.guard(page, before.Link, items)
	if err != nil {
		return outcome{}, err
	}
	ended, yield := page.Delta != "", w.read >= maxPages
	rest, err := w.prepare(ctx, page, &before, items.all)
	if err != nil {
		return outcome{}, err
	}
	w.cur.advance(page, time.Now())
	w.trail.pass(before.Link)
	w.unsaved++
	save := before.full() || items.seen > 0 || w.unsaved >= maxUnsaved || time.Since(before.At) >= saveEvery
	if (save && !repeated) || len(rest) > 0 {
		if err := w.commit(ctx, before, rest); err != nil {
			return outcome{}, err
		}
	}
	switch {
	case ended && w.cur.Phase == sweep:
		return outcome{}, nil
	case ended:
		return w.ended(), nil
	case yield:
		return outcome{result: resultMore}, nil
	case w.sub.OnePage && !before.full():
		return outcome{result: resultOK}, nil
	default:
		return outcome{}, nil
	}
}

// ended is the outcome of a poll that reached the end of a round.
func (w *walk) ended() outcome {
	if w.came == 0 {
		return outcome{result: resultEmpty}
	}
	return outcome{result: resultOK}
}

// prepare makes events of a page's changes: deletions are looked at, items
// completed, what is done meanwhile is stored if it is much. It returns the
// events that are left for the last commit.
func (w *walk) prepare(ctx context.Context, page Page, before *cursor, all []*change) ([]toldEvent, error) {
	w.settleMark(page)
	if err := w.settle(ctx, all); err != nil {
		return nil, err
	}
	for {
		done, failed := w.complete(ctx, all)
		events, err := w.events(ctx, page, all[:done])
		if err != nil {
			return nil, err
		}
		if done == len(all) && failed == nil {
			return events, nil
		}
		if err := w.storePart(ctx, before, events); err != nil {
			return nil, err
		}
		if failed != nil {
			return nil, failed
		}
		all = all[done:]
	}
}

// guard refuses a page that does not lead on. repeated reports that the page has
// the items of the page before: it moves the stored cursor no further, so that
// an endless row of such pages is an error at a cursor that stands still.
func (w *walk) guard(page Page, link string, items pageItems) (repeated bool, err error) {
	endless := func(format string, args ...any) error {
		return fault.New(fault.Retry, format, args...).WithCode("page_loop").
			WithHint("the answers of Graph go round in a circle; if it lasts, ask for a full read of feed %s", w.feed)
	}
	switch {
	case w.sub.Mode == ModeDelta && (page.Next == "") == (page.Delta == ""):
		return false, fault.New(fault.Retry, "page has both or neither of nextLink and deltaLink").WithCode("bad_page")
	case page.Next == "":
		return false, nil
	case page.Next == link || w.trail.circles(page.Next):
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
func (w *walk) lost(ctx context.Context, before cursor, err error) error {
	if fault.KindOf(err) != fault.Resync || before.Link == "" {
		return err
	}
	before.restart()
	*w.cur = before
	w.touched, w.mark = false, false
	w.log.WarnContext(ctx, "delta token lost, full read begins", "feed", w.feed.String(), "phase", string(w.cur.Phase))
	if failed := w.store(ctx, nil, nil, w.cur); failed != nil {
		return failed
	}
	return err
}
