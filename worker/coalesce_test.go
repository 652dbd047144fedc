package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
	"outlook-connector/publisher"
	"outlook-connector/worker"
)

// batching is a worker with a publisher that may batch, and a mail in each of
// many mailboxes.
type batching struct {
	*running
	*world
	ids map[string]string // of the mail, by mailbox
}

const (
	routeBatch = "/$batch"
	routeMail  = "/users/{user-id}/messages/{message-id}"
)

var (
	wholeBatch = sandbox.Match{Method: http.MethodPost, Route: routeBatch}
	changes    = sandbox.Match{Method: http.MethodPatch, Route: routeMail}
)

// startBatching starts it. Graph takes a moment for each change, so that commands
// that are published together are under way together.
func startBatching(t *testing.T, delivery, more string) *batching {
	t.Helper()
	w := newWorld(t, withDaemon("Mail.ReadWrite"), sandbox.Mailboxes(40))
	b := &batching{world: w, ids: make(map[string]string)}
	for _, person := range w.People() {
		if _, err := w.Deliver(sandbox.Mail{To: []string{person.UPN}, Subject: "one", Body: "x"}); err != nil {
			t.Fatal(err)
		}
		stored, err := w.Stored(person.UPN, "inbox")
		if err != nil {
			t.Fatal(err)
		}
		b.ids[person.UPN] = stored[len(stored)-1].ID
	}
	b.running = w.start(w.config(setting{clients: w.daemon(), publishers: fmt.Sprintf(`
  - {name: many, client: daemon, entities: [mail.message.update, mail.message.delete, mail.message.move], mailboxes: ["*"],
     delivery: %s, batch: true, settle: 1s%s}`, delivery, more)})).ready()
	return b
}

// names are the mailboxes, sorted.
func (b *batching) names() (list []string) {
	for name := range b.ids {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// change publishes a command that sets the categories of the mail of a mailbox.
func (b *batching) change(mailbox, category, more string) string {
	return b.publish("many", jet.Header{"Nats-Msg-Id": {strings.NewReplacer("@", "-", ".", "-").Replace(mailbox + category)}}, fmt.Sprintf(
		`{"entity":"mail.message.update","mailbox":%q,"path":{"message-id":%q},"payload":{"categories":[%q]}%s}`, mailbox, b.ids[mailbox], category, more))
}

// parts returns the requests that came in batches, and how many each had.
func (b *batching) parts(method string) (list []sandbox.Call, sizes map[string]int) {
	sizes = make(map[string]int)
	for _, call := range b.calls(method, routeMail) {
		if call.Batch != "" {
			list = append(list, call)
			sizes[call.Batch]++
		}
	}
	return list, sizes
}

// TestChangesInManyMailboxesGoTogetherAndEndEachByItself has parts that are done,
// not there, refused by If-Match, and throttled.
func TestChangesInManyMailboxesGoTogetherAndEndEachByItself(t *testing.T) {
	t.Parallel()
	b := startBatching(t, "at_least_once", "")
	names := b.names()
	gone, conflict, throttled := names[3], names[7], names[11]
	for range 2 { // into Deleted Items, and from there
		b.hand(gone).send(http.MethodDelete, "/me/messages/"+b.ids[gone], "", nil)
	}
	slow := changes
	slow.Mailbox = throttled
	b.Control(slow, sandbox.FailBefore(429, "TooManyRequests", "4"))
	b.KeepControl(changes, sandbox.Delay(30*time.Millisecond))
	outcomes := make(map[string]string)
	for _, name := range names {
		more := ""
		if name == conflict {
			more = `,"headers":{"If-Match":"W/\"another\""}`
		}
		outcomes[name] = b.change(name, "Red", more)
	}
	for _, name := range names {
		if name == throttled {
			continue
		}
		got := b.outcome(outcomes[name])
		switch name {
		case gone:
			if got.Outcome != "failed" || got.Status != 404 || got.RequestID == "" {
				t.Errorf("not there: %+v", got)
			}
		case conflict:
			if got.Outcome != "failed" || got.Status != 412 || got.Error.Code != "conflict" {
				t.Errorf("If-Match: %+v %+v", got, got.Error)
			}
		default:
			if got.Outcome != "done" || got.Status != 200 || got.Attempts != 1 || !strings.Contains(string(got.Body), `"Red"`) || !strings.Contains(string(got.Body), b.ids[name]) {
				t.Errorf("%s: %+v %+v", name, got, got.Error)
			}
		}
	}
	got := b.outcome(outcomes[throttled])
	if got.Outcome != "done" || got.Attempts != 2 {
		t.Errorf("throttled: %+v %+v", got, got.Error)
	}
	var first, second, others sandbox.Call
	for _, call := range b.calls(http.MethodPatch, routeMail) {
		if !strings.EqualFold(call.Mailbox, throttled) {
			others = call
			continue
		}
		first, second = second, call
	}
	if second.Arrived.Sub(first.Finished) < 4*time.Second || first.Status != 429 || !others.Finished.Before(second.Arrived) {
		t.Errorf("throttled at %v, again at %v, the last of the others at %v", first.Finished, second.Arrived, others.Finished)
	}
	if got := b.Stats(); got.Offences != 0 {
		t.Errorf("%d requests came too early", got.Offences)
	}
	// Each effect once, and most of them in batches.
	done := make(map[string]int)
	for _, call := range b.calls(http.MethodPatch, routeMail) {
		if call.Status == 200 {
			done[call.Mailbox]++
		}
	}
	for name, n := range done {
		if n != 1 {
			t.Errorf("%s was changed %d times", name, n)
		}
	}
	parts, sizes := b.parts(http.MethodPatch)
	if len(done) != len(names)-2 || len(parts) < len(names)/2 {
		t.Errorf("%d were changed, %d of %d in batches", len(done), len(parts), len(names))
	}
	for id, n := range sizes {
		if n > 20 {
			t.Errorf("the batch %s has %d parts", id, n)
		}
	}
	if n := b.counted(`outlook_graph_requests_total{client="daemon",code="200",method="POST"}`); n != len(sizes) {
		t.Errorf("%d batches counted, %d came", n, len(sizes))
	}
	if n := b.counted(`outlook_graph_requests_total{client="daemon",code="200",method="PATCH"}`); n != len(done) {
		t.Errorf("%d changes counted, %d were made", n, len(done))
	}
}

// TestALostAnswerOfABatchIsALostAnswerOfEachPart: changes are looked at and not
// made again; a deleted mail is in Deleted Items and not gone.
func TestALostAnswerOfABatchIsALostAnswerOfEachPart(t *testing.T) {
	t.Parallel()
	b := startBatching(t, "exactly_once", "")
	b.KeepControl(changes, sandbox.Delay(30*time.Millisecond))
	b.KeepControl(sandbox.Match{Method: http.MethodDelete, Route: routeMail}, sandbox.Delay(30*time.Millisecond))
	lost := b.ControlN(wholeBatch, 2, sandbox.ResetAfterEffect())
	names := b.names()
	var changed, deleted []string
	for i, name := range names {
		if i%2 == 0 {
			changed = append(changed, b.change(name, "Red", ""))
			continue
		}
		deleted = append(deleted, b.publish("many", jet.Header{"Nats-Msg-Id": {fmt.Sprint("delete-", i)}}, fmt.Sprintf(
			`{"entity":"mail.message.delete","mailbox":%q,"path":{"message-id":%q}}`, name, b.ids[name])))
	}
	found := 0
	for _, id := range slices.Concat(changed, deleted) {
		if b.done(id).Found {
			found++
		}
	}
	if lost.Hits() != 2 || found < 4 {
		t.Errorf("%d batches lost, %d found", lost.Hits(), found)
	}
	requests := make(map[string]int)
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		for _, call := range b.calls(method, routeMail) {
			requests[call.Mailbox]++
		}
	}
	for i, name := range names {
		if requests[strings.ToLower(name)] != 1 {
			t.Errorf("%s: %d requests that write, want 1", name, requests[strings.ToLower(name)])
		}
		folder := map[bool]string{true: "inbox", false: "deleteditems"}[i%2 == 0]
		stored, err := b.Stored(name, folder)
		if err != nil || !slices.ContainsFunc(stored, func(s sandbox.Stored) bool { return s.ID == b.ids[name] }) {
			t.Errorf("the mail of %s is not in %s: %v", name, folder, err)
		}
	}
	if letters := b.dead(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

// TestABatchIsOneRequestOfItsPublisher: with one request at a time, what comes
// while it is at Graph goes behind it, in one other.
func TestABatchIsOneRequestOfItsPublisher(t *testing.T) {
	t.Parallel()
	came, held := make(chan int, 10), make(chan struct{})
	graph := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Requests []struct{ ID string } }
		_ = json.NewDecoder(r.Body).Decode(&in) // one that goes alone has none
		came <- max(len(in.Requests), 1)
		<-held
		if len(in.Requests) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		var answers []string
		for _, one := range in.Requests {
			answers = append(answers, fmt.Sprintf(`{"id":%q,"status":204}`, one.ID))
		}
		_, _ = fmt.Fprintf(w, `{"responses":[%s]}`, strings.Join(answers, ","))
	}))
	t.Cleanup(graph.Close)
	w := newWorld(t)
	c := w.publishing(graph.URL, `{name: many, client: contoso, entity: mail.message.update, mailboxes: ["*"], delivery: at_least_once, batch: true, in_flight: 1}`,
		// It has connections of its own, so that the first is not bounded by those.
		`{name: others, client: contoso, entity: mail.message.update, in_flight: 8}`)
	pubs, err := worker.PublishersOf(c)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	outlook, stop, err := worker.BatchingOutlookOf(c, token("x"), worker.Options{Config: c, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	k := &sharedKept{kept: kept{records: make(map[string][]byte), revisions: make(map[string]uint64)}}
	p, err := publisher.New(publisher.Options{Publishers: pubs, Outlook: outlook, Journal: k, Outcomes: k, Slots: k, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	run := func(n int) {
		all.Go(func() {
			verdict := p.Handle(t.Context(), publisher.Message{
				Publisher: "many", Subject: "outlook.publish.many", Stream: "OUTLOOK_PUBLISH", Sequence: uint64(n + 1), Received: time.Now(), Fresh: true,
				Data: fmt.Appendf(nil, `{"mailbox":"user%d@contoso.com","path":{"message-id":"M%d"},"payload":{"isRead":true}}`, n, n),
			})
			if !verdict.Ack {
				t.Errorf("command %d: %+v", n, verdict)
			}
		})
	}
	run(0)
	if n := <-came; n != 1 {
		t.Fatalf("%d parts in the first request", n)
	}
	for n := 1; n <= 3; n++ {
		run(n)
	}
	select {
	case n := <-came:
		t.Errorf("a second request, of %d parts, while the first is at Graph", n)
	case <-time.After(100 * time.Millisecond):
	}
	close(held)
	all.Wait()
	close(came)
	var then []int
	for n := range came {
		then = append(then, n)
	}
	if !slices.Equal(then, []int{3}) {
		t.Errorf("requests of %v parts after the first, want one of the three that came meanwhile", then)
	}
}

// sharedKept is kept for several commands at a time.
type sharedKept struct {
	mu sync.Mutex
	kept
}

func (k *sharedKept) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Load(ctx, key)
}

func (k *sharedKept) Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Save(ctx, key, data, revision)
}

func (k *sharedKept) Begin(ctx context.Context, id string, body []byte) func() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Begin(ctx, id, body)
}

// TestWhatIsNoRepeatableWriteNeverGoesInABatch: moves go alone, and so does
// everything of a publisher that does not ask for batches.
func TestWhatIsNoRepeatableWriteNeverGoesInABatch(t *testing.T) {
	t.Parallel()
	b := startBatching(t, "at_least_once", "}\n  - {name: single, client: daemon, entity: mail.message.update, mailboxes: [\"*\"]")
	b.KeepControl(changes, sandbox.Delay(20*time.Millisecond))
	b.KeepControl(sandbox.Match{Method: http.MethodPost, Route: routeMail + "/move"}, sandbox.Delay(20*time.Millisecond))
	var ids []string
	for _, name := range b.names() {
		ids = append(ids, b.publish("single", nil, fmt.Sprintf(`{"mailbox":%q,"path":{"message-id":%q},"payload":{"isRead":true}}`, name, b.ids[name])))
	}
	for _, id := range ids {
		b.done(id)
	}
	ids = nil
	for _, name := range b.names() {
		ids = append(ids, b.publish("many", nil, fmt.Sprintf(
			`{"entity":"mail.message.move","mailbox":%q,"path":{"message-id":%q},"payload":{"destinationId":"archive"}}`, name, b.ids[name])))
	}
	for _, id := range ids {
		b.done(id)
	}
	if n := len(b.calls(http.MethodPost, routeBatch)); n != 0 {
		t.Errorf("%d batches", n)
	}
}
