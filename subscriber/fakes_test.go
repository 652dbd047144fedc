package subscriber_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
	"outlook-connector/subscriber"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registeredAt is when the tests' feeds were registered; the fraction of the
// second is there because Graph's times have none.
var registeredAt = time.Date(2026, 3, 1, 10, 0, 0, 700_000_000, time.UTC)

// asked is a Source as a function.
type asked func(ctx context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error)

func (f asked) Read(ctx context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
	return f(ctx, req, emit)
}

// page is one scripted answer.
type page struct {
	items []string
	next  string
	delta string
	date  time.Time
	err   error
}

// script answers by link and remembers what it was asked.
type script struct {
	mu    sync.Mutex
	pages map[string]page
	asked []subscriber.Request
}

func (s *script) Read(_ context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	p, ok := s.pages[req.Link]
	s.mu.Unlock()
	if !ok {
		return subscriber.Page{}, fmt.Errorf("the script has no page %q", req.Link)
	}
	for _, item := range p.items {
		buf := []byte(item)
		if err := emit(buf); err != nil {
			return subscriber.Page{}, err
		}
		clear(buf) // the bytes are the source's again
	}
	return subscriber.Page{Next: p.next, Delta: p.delta, Date: p.date}, p.err
}

// set changes the answer to a link.
func (s *script) set(link string, p page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[link] = p
}

// links returns the links that were asked for, in order, and forgets them.
func (s *script) links() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	links := make([]string, 0, len(s.asked))
	for _, req := range s.asked {
		links = append(links, req.Link)
	}
	s.asked = nil
	return links
}

// memStream keeps what is committed, under one count of sequences as the real
// one. It refuses what a batch of the real one would refuse, and what would be
// the end of an index: a cursor that names a piece that is not there.
type memStream struct {
	mu      sync.Mutex
	cursors map[subscriber.Feed][]byte
	seqs    map[subscriber.Feed]uint64
	seq     uint64
	events  []subscriber.Event
	pieces  map[subscriber.Feed]map[string]piece
	markers map[string]uint64
	commits int
	failing error
	limit   int // messages per commit, cursor included; 0: 1,000
	broken  []string
}

// piece is a stored segment.
type piece struct {
	data []byte
	seq  uint64
}

func newMemStream() *memStream {
	return &memStream{
		cursors: map[subscriber.Feed][]byte{}, seqs: map[subscriber.Feed]uint64{},
		pieces: map[subscriber.Feed]map[string]piece{}, markers: map[string]uint64{},
	}
}

func (m *memStream) Cursor(_ context.Context, feed subscriber.Feed) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[feed], m.seqs[feed], nil
}

func (m *memStream) Commit(_ context.Context, c subscriber.Commit) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing != nil {
		return 0, m.failing
	}
	limit := m.limit
	if limit == 0 {
		limit = 1000
	}
	if len(c.Events)+1 > limit {
		return 0, fmt.Errorf("batch of %d messages", len(c.Events)+1)
	}
	marker := c.Feed.Subscription + " " + c.Feed.Mailbox
	if m.seqs[c.Feed] != c.After || (c.Moves != nil && m.markers[marker] != c.Moves.After) {
		return 0, fmt.Errorf("commit: %w", subscriber.ErrFenced)
	}
	m.commits++
	for _, event := range c.Events {
		event.Body = bytes.Clone(event.Body)
		m.events = append(m.events, event)
		m.seq++
	}
	m.put(c.Feed, c.Segments)
	if c.Moves != nil && c.Moves.Mark {
		m.seq++
		m.markers[marker] = m.seq
	}
	m.seq++
	m.cursors[c.Feed], m.seqs[c.Feed] = bytes.Clone(c.Cursor), m.seq
	m.check(c.Feed)
	return m.seq, nil
}

// check looks whether the cursor's pieces are there.
func (m *memStream) check(feed subscriber.Feed) {
	for _, id := range named(m.cursors[feed]) {
		if _, there := m.pieces[feed][id]; !there {
			m.broken = append(m.broken, fmt.Sprintf("%s: piece %s of the cursor is not there", feed, id))
		}
	}
}

// named returns the pieces that a cursor names.
func named(value []byte) []string {
	var cur struct{ Index, Old index.Manifest }
	if value == nil || json.Unmarshal(value, &cur) != nil {
		return nil
	}
	return append(cur.Index.Segments(), cur.Old.Segments()...)
}

func (m *memStream) put(feed subscriber.Feed, segments []index.Segment) {
	if m.pieces[feed] == nil {
		m.pieces[feed] = map[string]piece{}
	}
	for _, segment := range segments {
		m.seq++
		m.pieces[feed][segment.ID] = piece{data: bytes.Clone(segment.Data), seq: m.seq}
	}
}

func (m *memStream) Segment(_ context.Context, feed subscriber.Feed, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, there := m.pieces[feed][id]
	if !there {
		return nil, fault.New(fault.Retry, "no piece %s of %s", id, feed).WithCode("index_missing")
	}
	return found.data, nil
}

func (m *memStream) PutSegments(_ context.Context, feed subscriber.Feed, segments []index.Segment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(feed, segments)
	return nil
}

func (m *memStream) DropSegments(_ context.Context, feed subscriber.Feed, ids []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.pieces[feed], id)
	}
	m.check(feed)
	return nil
}

func (m *memStream) Orphans(_ context.Context, feed subscriber.Feed, keep []string, at uint64) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var orphans []string
	for id, found := range m.pieces[feed] {
		if found.seq < at && !slices.Contains(keep, id) {
			orphans = append(orphans, id)
		}
	}
	return orphans, nil
}

func (m *memStream) Moved(_ context.Context, subscription, mailbox string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.markers[subscription+" "+mailbox], nil
}

// told returns "change id" of every event, in order.
func (m *memStream) told() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := make([]string, 0, len(m.events))
	for _, event := range m.events {
		told = append(told, event.Header["Outlook-Change"]+" "+event.Header["Outlook-Id"])
	}
	return told
}

// cursor returns the stored cursor of the feed as JSON members.
func (m *memStream) cursor(t *testing.T, feed subscriber.Feed) map[string]any {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var members map[string]any
	if m.cursors[feed] == nil {
		return nil
	}
	if err := json.Unmarshal(m.cursors[feed], &members); err != nil {
		t.Fatalf("cursor is not JSON: %v", err)
	}
	return members
}

// twice returns the event ids that are in the stream more than once.
func (m *memStream) twice() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := map[string]int{}
	for _, event := range m.events {
		count[event.ID]++
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 1 })
	return slices.Sorted(maps.Keys(count))
}

// handQueue gives the poll function to the test, which calls it itself.
type handQueue struct {
	ready chan struct{}
	poll  func(ctx context.Context, feed subscriber.Feed, data []byte) subscriber.Next

	mu         sync.Mutex
	registered map[subscriber.Feed][]byte
}

func newHandQueue() *handQueue {
	return &handQueue{ready: make(chan struct{}), registered: map[subscriber.Feed][]byte{}}
}

func (q *handQueue) Register(_ context.Context, feed subscriber.Feed, data []byte) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.registered[feed] != nil
	if !known {
		q.registered[feed] = data
	}
	return known, nil
}

// dataOf returns what a feed was registered with; nil: it was not.
func (q *handQueue) dataOf(feed subscriber.Feed) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.registered[feed]
}

func (q *handQueue) Update(_ context.Context, feed subscriber.Feed, change func([]byte) ([]byte, error)) error {
	old := q.dataOf(feed)
	if old == nil {
		return nil
	}
	data, err := change(old) // it may wait
	if err == nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.registered[feed] = data
	}
	return err
}

func (q *handQueue) Run(ctx context.Context, _ int, poll func(context.Context, subscriber.Feed, []byte) subscriber.Next) error {
	q.poll = poll
	close(q.ready)
	<-ctx.Done()
	return nil
}

// letters keeps dead letters by id.
type letters struct {
	mu   sync.Mutex
	puts int
	byID map[string]subscriber.DeadLetter
	err  error
}

func (l *letters) Put(_ context.Context, letter subscriber.DeadLetter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.puts++
	if l.byID == nil {
		l.byID = map[string]subscriber.DeadLetter{}
	}
	letter.Body = bytes.Clone(letter.Body)
	l.byID[letter.ID] = letter
	return nil
}

// freeSlots gives a slot to everybody, or to nobody for the wait.
type freeSlots struct {
	mu    sync.Mutex
	held  int
	taken int
	busy  time.Duration
}

func (s *freeSlots) Take(context.Context, string, string) (func(), time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy > 0 {
		return nil, s.busy, false
	}
	s.held++
	s.taken++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held--
	}, 0, true
}

// rig is a subscriber with its surroundings.
type rig struct {
	*subscriber.Subscriber
	script *script
	stream *memStream
	queue  *handQueue
	dead   *letters
	slots  *freeSlots
	feed   subscriber.Feed
	data   []byte
}

// newRig starts a subscriber of one subscription; change may alter its options.
func newRig(t *testing.T, sub subscriber.Subscription, change ...func(*subscriber.Options)) *rig {
	t.Helper()
	r := &rig{
		script: &script{pages: map[string]page{}}, stream: newMemStream(), queue: newHandQueue(), dead: &letters{}, slots: &freeSlots{},
	}
	opts := subscriber.Options{
		Subscriptions: []subscriber.Subscription{sub},
		Source:        r.script, Stream: r.stream, Queue: r.queue, DeadLetters: r.dead, Slots: r.slots,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&opts)
	}
	r.feed = subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part("inbox")}
	r.data = registration(registeredAt)
	r.start(t, opts)
	return r
}

// restarted is a new worker on the same stream: it has forgotten everything else.
func (r *rig) restarted(t *testing.T, sub subscriber.Subscription) *rig {
	t.Helper()
	fresh := *r
	fresh.queue, fresh.slots = newHandQueue(), &freeSlots{}
	fresh.start(t, subscriber.Options{
		Subscriptions: []subscriber.Subscription{sub},
		Source:        r.script, Stream: r.stream, Queue: fresh.queue, DeadLetters: r.dead, Slots: fresh.slots,
	})
	return &fresh
}

func (r *rig) start(t *testing.T, opts subscriber.Options) {
	t.Helper()
	s, err := subscriber.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Subscriber = s
	run(t, s, r.queue)
}

// run runs the subscriber until the test ends.
func run(t *testing.T, s *subscriber.Subscriber, q *handQueue) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-q.ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// poll polls the rig's feed once.
func (r *rig) poll(t *testing.T) subscriber.Next {
	t.Helper()
	return r.queue.poll(t.Context(), r.feed, r.data)
}

// status returns the status of the rig's feed.
func (r *rig) status(t *testing.T) subscriber.FeedStatus {
	t.Helper()
	for _, status := range r.Status() {
		if status.Feed == r.feed {
			return status
		}
	}
	t.Fatalf("no status of feed %s", r.feed)
	return subscriber.FeedStatus{}
}

func registration(at time.Time) []byte {
	return fmt.Appendf(nil, `{"v":1,"registered":%q}`, at.Format(time.RFC3339Nano))
}

// inbox is the usual subscription.
func inbox(t *testing.T) subscriber.Subscription {
	t.Helper()
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		t.Fatal(err)
	}
	return subscriber.Subscription{
		Name: "inbox", Client: "contoso", Tenant: "contoso.onmicrosoft.com", Operation: op, Mailboxes: []string{"me"},
		Path: map[string]string{"mailFolder-id": "inbox"}, ImmutableIDs: true, TTL: 168 * time.Hour,
	}
}

// everything is the subscription that begins with what is there.
func everything(t *testing.T) subscriber.Subscription {
	t.Helper()
	sub := inbox(t)
	sub.Start.All = true
	return sub
}

// mail is an item with a version, received at a time of day on the day of
// registration.
func mail(id string, version int, clock string) string {
	return fmt.Sprintf(`{"@odata.etag":"W/\"%s-%d\"","id":%q,"receivedDateTime":"2026-03-01T%sZ","subject":"v%d"}`,
		id, version, id, clock, version)
}

func removed(id string) string {
	return fmt.Sprintf(`{"@odata.type":"#microsoft.graph.message","id":%q,"@removed":{"reason":"deleted"}}`, id)
}

// failingStream fails every commit after the first few.
type failingStream struct {
	*memStream
	left int
	err  error
}

func (f *failingStream) Commit(ctx context.Context, c subscriber.Commit) (uint64, error) {
	if f.left == 0 {
		return 0, f.err
	}
	f.left--
	return f.memStream.Commit(ctx, c)
}
