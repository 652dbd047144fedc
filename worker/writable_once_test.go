package worker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/seal"
	"outlook-connector/publisher"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

// exact is a command with delivery exactly_once, of which one answer is lost, and
// the requests that it consists of then.
type exact struct {
	class   catalog.Class
	id      string
	message string // its members, without the entity and the payload
	payload string
	// lost is the request whose answer does not arrive, counted among those that
	// write, from 1; with a minus the request itself does not arrive; 0: none.
	lost    int
	outcome string
	// requests are all requests in their order: method, address below …/v1.0 and,
	// where there is one, the body. «marker» and «answer» are the command's marker
	// and the id in the first answer that has one.
	requests []string
}

// TestExactlyOnceLooksBeforeItRepeats drives a publisher with the Graph client of
// a worker against the sandbox, which takes the request and says nothing. What
// follows must be what Graph is documented to understand, and must find it.
func TestExactlyOnceLooksBeforeItRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := &making{hand: w.hand(ben), group: w.Groups()[0].ID}
	m.hooks = m.listener()
	var rows []exact
	for _, row := range exacts {
		filled := m.furnish(writable{message: row.message, request: strings.Join(row.requests, "\n"), payload: row.payload})
		row.message, row.payload, row.requests = filled.message, filled.payload, strings.Split(filled.request, "\n")
		rows = append(rows, row)
	}
	seen := w.watched("https://hooks.contoso.example/outlook", m.hooks)
	p := m.drive(seen)
	for i, row := range rows {
		outcome := p.handle(fmt.Sprintf("once-%d", i), writable{id: row.id, message: row.message, payload: row.payload}.text(), row.lost)
		if outcome.Outcome != row.outcome {
			t.Errorf("%s: %s (%+v), want %s", row.id, outcome.Outcome, outcome.Error, row.outcome)
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "everything.once-%d", i))
		var want []string
		requests, answer := seen.inOrder()
		for _, request := range row.requests {
			request = strings.NewReplacer("«marker»", hex.EncodeToString(sum[:16]), "«answer»", answer).Replace(request)
			want = append(want, sorted(request))
		}
		if diff := cmp.Diff(want, requests); diff != "" {
			t.Errorf("%s, class %s, answer %d lost (-want +got):\n%s", row.id, row.class, row.lost, diff)
		}
		if op, err := catalog.Default().Lookup(row.id); err != nil || op.Class() != row.class {
			t.Errorf("%s is said to be of class %s: %v", row.id, row.class, err)
		}
	}
}

// sorted writes a request with the members of its body in the order of their
// names.
func sorted(request string) string {
	at := strings.Index(request, " {")
	if at < 0 {
		return request
	}
	var body any
	if err := json.Unmarshal([]byte(request[at:]), &body); err != nil {
		return request
	}
	text, err := json.Marshal(body)
	if err != nil {
		return request
	}
	return request[:at] + " " + string(text)
}

// driven is a publisher whose clock is wound on by what it wants to wait.
type driven struct {
	*publisher.Worker
	t    *testing.T
	seen *watcher
	kept *kept

	mu  sync.Mutex
	now time.Time
}

// drive makes a publisher of everything, with exactly_once.
func (m *making) drive(seen *watcher) *driven {
	m.t.Helper()
	c := m.publishing(seen.url, fmt.Sprintf(`
    name: everything
    client: contoso
    entities: ["*"]
    mailboxes: [me, %s, %s]
    limits: {notification_hosts: [hooks.contoso.example]}
    delivery: exactly_once`, ben, m.group))
	pubs, err := worker.PublishersOf(c)
	if err != nil {
		m.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(m.t.Output(), nil))
	outlook, stop, err := worker.OutlookOf(c, token(m.token), worker.Options{Config: c, Log: log}, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(stop)
	d := &driven{t: m.t, seen: seen, kept: &kept{records: make(map[string][]byte), revisions: make(map[string]uint64)}, now: time.Now()}
	if d.Worker, err = publisher.New(publisher.Options{
		Publishers: pubs, Outlook: outlook, Journal: d.kept, Outcomes: d.kept, Slots: d.kept, Log: log, Now: d.clock,
	}); err != nil {
		m.t.Fatal(err)
	}
	return d
}

func (d *driven) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// handle hands a command over until it has ended.
func (d *driven) handle(key, text string, lost int) publisher.Outcome {
	d.t.Helper()
	d.mu.Lock()
	d.now = time.Now() // what is made now is looked for by its time
	d.mu.Unlock()
	d.seen.start(lost)
	message := publisher.Message{
		Publisher: "everything", Subject: "outlook.publish.everything", Stream: "OUTLOOK_PUBLISH", Sequence: 1,
		Header: map[string][]string{"Nats-Msg-Id": {key}}, Data: []byte(text), Received: d.clock(),
	}
	for range 20 {
		verdict := d.Handle(d.t.Context(), message)
		if verdict.Ack {
			break
		}
		d.mu.Lock()
		d.now = d.now.Add(verdict.After)
		d.mu.Unlock()
	}
	return d.kept.outcome
}

// token is an access token that never changes.
type token string

func (t token) Token(context.Context, string, time.Duration) (tokenstore.Token, error) {
	return tokenstore.Token{Access: seal.Secret(t), Issued: time.Now(), Expiry: time.Now().Add(time.Hour), Generation: 1}, nil
}

func (token) Reject(context.Context, string, tokenstore.Token) {}

// kept is the ledger, and the newest outcome.
type kept struct {
	records   map[string][]byte
	revisions map[string]uint64
	outcome   publisher.Outcome
}

func (k *kept) Load(_ context.Context, key string) ([]byte, uint64, error) {
	return k.records[key], k.revisions[key], nil
}

func (k *kept) Save(_ context.Context, key string, data []byte, revision uint64) (uint64, error) {
	if revision != k.revisions[key] {
		return 0, publisher.ErrConflict
	}
	k.records[key], k.revisions[key] = data, revision+1
	return revision + 1, nil
}

func (k *kept) Begin(_ context.Context, _ string, body []byte) func() error {
	k.outcome = publisher.Outcome{}
	err := json.Unmarshal(body, &k.outcome)
	return func() error { return err }
}

// Told knows of no outcome: here each command has a key.
func (*kept) Told(context.Context, string) ([]byte, error) { return nil, nil }

func (*kept) Reply(context.Context, string, []byte) error { return nil }

func (*kept) Dead(context.Context, string, publisher.DeadLetter) error { return nil }

func (*kept) Take(context.Context, string, string) (release func(), wait time.Duration, ok bool) {
	return func() {}, 0, true
}
