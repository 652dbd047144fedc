package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The methods that matter here.
const (
	methodPost   = "POST"
	methodPatch  = "PATCH"
	methodDelete = "DELETE"
)

// site is a call to the outside at which something may go wrong.
type site string

const (
	siteLoad   site = "load"
	siteSave   site = "save"
	siteDo     site = "do"
	siteDead   site = "dead"
	siteResult site = "result"
	siteReply  site = "reply"
	siteTold   site = "told"
)

// mishap is what goes wrong at a site; fine is nothing.
type mishap int

const (
	fine mishap = iota
	errorBefore
	errorAfter
	crashBefore
	crashAfter
	throttled      // 429: siteDo only
	ambiguousEmpty // no answer and no effect: siteDo only
	frozenBefore   // the process sleeps and another gets the message
	frozenAfter
	late // no answer, and the effect comes 20 s after that: siteDo only
)

func (m mishap) String() string {
	return [...]string{"fine", "error before", "error after", "crash before", "crash after", "429", "ambiguous, no effect", "frozen before", "frozen after", "late"}[m]
}

var errNoJournal = errors.New("journal: no answer")

// world is Outlook, the ledger and the listeners of a test. What goes wrong is
// up to choose; the rest happens as in the real one.
type world struct {
	mu     sync.Mutex
	choose func(at site, among []mishap) mishap
	// answer overrides what Outlook answers to the n-th request (from 1).
	answer func(n int, call publisher.Call) (publisher.Answer, error)
	// onDo runs at the start of each request, onSaved after each stored record.
	onDo    func(publisher.Call)
	onSaved func(key string, data []byte)
	// freeze is what happens while a process is frozen; nil: none ever is.
	freeze func()
	asleep bool // it was
	// ready is what Ready answers; nil: always nil.
	ready func(client string) error
	// refuses says that the ledger will never take a text.
	refuses func(data []byte) bool
	// landing are requests that have their effect after their answer.
	landing sync.WaitGroup
	// newEachTime says that each delivery is taken for the first.
	newEachTime bool
	// busy refuses the next slots.
	busy int

	// box is what there is in the mailbox; nil: nothing but what effect counts.
	box *mailbox

	records map[string]entry
	calls   []publisher.Call
	effects int  // requests that had their effect
	gone    bool // the item of a DELETE
	letters []publisher.DeadLetter
	shelves []string // the publishers' names of the dead letters
	buried  int      // dead letters stored, the same ones again included
	results []told
	replies []told
	taken   int // slots in use
	// callsAfter are requests that were made when a result was stored already.
	callsAfter int
	trail      []string

	// openEnd says that a request of unknown effect was left behind.
	openEnd bool
}

type entry struct {
	data     []byte
	revision uint64
}

type told struct {
	to   string
	body []byte
}

func newWorld() *world {
	return &world{records: make(map[string]entry), choose: func(site, []mishap) mishap { return fine }}
}

// crash ends the goroutine of the delivery, as the death of its process would.
// It must not be a panic: the worker would survive that.
func (w *world) crash() {
	w.mu.Lock()
	w.openEnd = w.openEnd || w.anySending()
	w.mu.Unlock()
	runtime.Goexit()
}

func (w *world) anySending() bool {
	for _, e := range w.records {
		if stateOf(e.data) == "sending" {
			return true
		}
	}
	return false
}

func stateOf(data []byte) string {
	var r struct {
		State string `json:"state"`
	}
	_ = json.Unmarshal(data, &r)
	return r.State
}

// sleep freezes the process that calls it.
func (w *world) sleep() {
	freeze := w.freeze
	w.freeze, w.asleep = nil, true // once in a trace
	w.mu.Lock()
	w.openEnd = w.openEnd || w.anySending()
	w.mu.Unlock()
	freeze()
}

func (w *world) at(s site, among ...mishap) mishap {
	if w.freeze != nil && s == siteSave {
		among = append(among, frozenAfter)
	}
	if w.freeze != nil && s == siteResult {
		among = append(among, frozenBefore, frozenAfter)
	}
	if w.freeze != nil && s == siteDo {
		among = append(among, frozenBefore, frozenAfter)
	}
	m := w.choose(s, append([]mishap{fine}, among...))
	w.mu.Lock()
	w.trail = append(w.trail, fmt.Sprintf("%s: %s", s, m))
	w.mu.Unlock()
	return m
}

// mishaps counts what went wrong.
func (w *world) mishaps() (n int) {
	for _, s := range w.trail {
		if !strings.HasSuffix(s, ": fine") {
			n++
		}
	}
	return n
}

func (w *world) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	switch w.at(siteLoad, errorBefore, crashBefore) {
	case errorBefore:
		return nil, 0, errNoJournal
	case crashBefore:
		w.crash()
	}
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.records[key]
	return slices.Clone(e.data), e.revision, nil
}

func (w *world) Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	m := w.at(siteSave, errorBefore, errorAfter, crashBefore, crashAfter)
	switch m {
	case errorBefore:
		return 0, errNoJournal
	case crashBefore:
		w.crash()
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if w.refuses != nil && w.refuses(data) {
		return 0, fault.New(fault.Poison, "%d bytes: maximum payload exceeded", len(data)).WithCode("too_large")
	}
	w.mu.Lock()
	e := w.records[key]
	if e.revision != revision {
		w.mu.Unlock()
		return 0, publisher.ErrConflict
	}
	e = entry{data: slices.Clone(data), revision: revision + 1}
	w.records[key] = e
	w.mu.Unlock()
	if w.onSaved != nil {
		w.onSaved(key, data)
	}
	switch m {
	case frozenAfter:
		w.sleep()
	case errorAfter:
		return 0, errNoJournal
	case crashAfter:
		w.crash()
	}
	return e.revision, nil
}

func (w *world) Ready(_ context.Context, client string) error {
	if w.ready == nil {
		return nil
	}
	return w.ready(client)
}

func (w *world) Do(_ context.Context, call publisher.Call) (publisher.Answer, error) {
	if w.onDo != nil {
		w.onDo(call)
	}
	w.mu.Lock()
	w.calls = append(w.calls, call)
	if len(w.results) > 0 {
		w.callsAfter++
	}
	n := len(w.calls)
	w.mu.Unlock()
	if w.answer != nil {
		return w.answer(n, call)
	}
	m := w.at(siteDo, errorBefore, errorAfter, crashBefore, crashAfter, throttled, ambiguousEmpty, late)
	switch m {
	case errorBefore:
		return publisher.Answer{}, notSent()
	case crashBefore:
		w.crash()
	case throttled:
		return publisher.Answer{Status: 429, RequestID: "throttled"}, &fault.Error{
			Kind: fault.Retry, Code: "TooManyRequests", After: 3 * time.Second, Err: errors.New("429 TooManyRequests"),
		}
	case ambiguousEmpty:
		w.leaveOpen()
		return publisher.Answer{}, noAnswer()
	case late:
		w.leaveOpen()
		w.landing.Go(func() {
			<-time.After(20 * time.Second)
			_, _ = w.effect(call)
		})
		return publisher.Answer{Status: 504}, noAnswer()
	case frozenBefore:
		w.sleep()
	}
	answer, err := w.effect(call)
	switch m {
	case frozenAfter:
		w.sleep()
	case errorAfter:
		w.leaveOpen()
		return publisher.Answer{Status: 504}, noAnswer()
	case crashAfter:
		w.crash()
	}
	return answer, err
}

func (w *world) leaveOpen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.openEnd = true
}

// effect does what the request asks for.
func (w *world) effect(call publisher.Call) (publisher.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.box != nil {
		return w.box.do(call)
	}
	switch {
	case call.Method == methodDelete && w.gone:
		return publisher.Answer{Status: 404, RequestID: "gone"}, &fault.Error{
			Kind: fault.Poison, Code: "ErrorItemNotFound", Err: errors.New("404 ErrorItemNotFound"),
		}
	case call.Method == methodDelete:
		w.gone = true
		w.effects++
		return publisher.Answer{Status: 204, RequestID: "r"}, nil
	case call.Method == methodPatch:
		w.effects = 1 // the second leaves things as the first
		return publisher.Answer{Status: 200, RequestID: "r", Body: []byte(`{"id":"AAA","subject":"s"}`)}, nil
	default:
		w.effects++
		return publisher.Answer{Status: 202, RequestID: "r"}, nil
	}
}

func notSent() error {
	return &fault.Error{Kind: fault.Retry, Code: "not_sent", Err: errors.New("connection refused")}
}

func noAnswer() error {
	return &fault.Error{Kind: fault.Retry, Ambiguous: true, Code: "no_answer", Err: errors.New("504 Gateway Timeout")}
}

func (w *world) Dead(ctx context.Context, name string, letter publisher.DeadLetter) error {
	return w.tell(ctx, siteDead, func() {
		w.shelves = append(w.shelves, name)
		w.buried++
		if !slices.ContainsFunc(w.letters, func(l publisher.DeadLetter) bool { return l.DedupeID == letter.DedupeID }) {
			w.letters = append(w.letters, letter)
		}
	})
}

// Begin stores a result at once.
func (w *world) Begin(ctx context.Context, id string, body []byte) func() error {
	err := w.tell(ctx, siteResult, func() { w.results = append(w.results, told{id, body}) })
	return func() error { return err }
}

func (w *world) Told(ctx context.Context, id string) ([]byte, error) {
	switch w.at(siteTold, errorBefore, crashBefore) {
	case errorBefore:
		return nil, errNoJournal
	case crashBefore:
		w.crash()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range slices.Backward(w.results) {
		if r.to == id {
			return slices.Clone(r.body), nil
		}
	}
	return nil, nil
}

func (w *world) Reply(ctx context.Context, subject string, body []byte) error {
	return w.tell(ctx, siteReply, func() { w.replies = append(w.replies, told{subject, body}) })
}

func (w *world) tell(ctx context.Context, s site, store func()) error {
	m := w.at(s, errorBefore, errorAfter, crashBefore, crashAfter)
	switch m {
	case errorBefore:
		return errNoJournal
	case crashBefore:
		w.crash()
	case frozenBefore:
		w.sleep()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.mu.Lock()
	store()
	w.mu.Unlock()
	switch m {
	case frozenAfter:
		w.sleep()
	case errorAfter:
		return errNoJournal
	case crashAfter:
		w.crash()
	}
	return nil
}

func (w *world) Take(ctx context.Context, _, _ string) (func(), time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return nil, 0, false
	}
	if w.busy > 0 {
		w.busy--
		return nil, 700 * time.Millisecond, false
	}
	w.taken++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken--
	}, 0, true
}

// worker starts a process in this world. change may alter its options.
func (w *world) worker(t *testing.T, change ...func(*publisher.Options)) *publisher.Worker {
	t.Helper()
	o := publisher.Options{
		Publishers: []publisher.Publisher{definition(t, "send-mail", "mail.message.sendMail")},
		Outlook:    w, Journal: w, Outcomes: w, Slots: w,
	}
	for _, f := range change {
		f(&o)
	}
	worker, err := publisher.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return worker
}

// with replaces the publishers.
func with(publishers ...publisher.Publisher) func(*publisher.Options) {
	return func(o *publisher.Options) { o.Publishers = publishers }
}

func definition(tb testing.TB, name string, entities ...string) publisher.Publisher {
	tb.Helper()
	p := publisher.Publisher{Name: name, Client: "contoso", Mailboxes: []string{"me"}}
	for _, id := range entities {
		found := catalog.Default().Select(id)
		if len(found) == 0 {
			tb.Fatalf("no entity %s", id)
		}
		p.Entities = append(p.Entities, found...)
	}
	return p
}

// message is a command for a publisher, as stored now.
func message(name, data string, headers ...string) publisher.Message {
	m := publisher.Message{
		Publisher: name, Subject: "outlook.publish." + name,
		Stream: "OUTLOOK_PUBLISH", Sequence: 17,
		Data: []byte(data), Received: time.Now(), Header: map[string][]string{},
	}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	return m
}

const aMail = `{"payload":{"message":{"subject":"hi","toRecipients":[{"emailAddress":{"address":"ann@contoso.com"}}]}}}`

// deliver hands a message to a worker in a goroutine of its own; ok is false
// where the process died over it.
func deliver(ctx context.Context, worker *publisher.Worker, m publisher.Message) (v publisher.Verdict, ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		v = worker.Handle(ctx, m)
		ok = true
	}()
	<-done
	return v, ok
}

// outcome returns the last result.
func (w *world) outcome(t *testing.T) publisher.Outcome {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.results) == 0 {
		t.Fatalf("no result; trail %q", w.trail)
	}
	var o publisher.Outcome
	if err := json.Unmarshal(w.results[len(w.results)-1].body, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// record returns the only ledger record.
func (w *world) record(t *testing.T) map[string]any {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.records) != 1 {
		t.Fatalf("%d ledger records, want 1", len(w.records))
	}
	for _, e := range w.records {
		var r map[string]any
		if err := json.Unmarshal(e.data, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	return nil
}
