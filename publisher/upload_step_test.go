package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
)

// memoryLedger is a journal, and takes outcomes without looking.
type memoryLedger struct {
	mu      sync.Mutex
	records map[string][]byte
	rev     uint64
	texts   []string // every record that was ever stored
}

func (l *memoryLedger) Load(_ context.Context, key string) ([]byte, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[key], l.rev, nil
}

func (l *memoryLedger) Save(_ context.Context, key string, data []byte, revision uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision != l.rev {
		return 0, ErrConflict
	}
	l.rev++
	l.records[key] = data
	l.texts = append(l.texts, string(data))
	return l.rev, nil
}

func (l *memoryLedger) Begin(context.Context, string, []byte) func() error {
	return func() error { return nil }
}
func (l *memoryLedger) Told(context.Context, string) ([]byte, error)   { return nil, nil }
func (l *memoryLedger) Reply(context.Context, string, []byte) error    { return nil }
func (l *memoryLedger) Dead(context.Context, string, DeadLetter) error { return nil }

// oneSlot is a mailbox with a single slot: a step that held the turn's while it
// asks for its own would wait for itself.
type oneSlot struct{ free chan struct{} }

func (s oneSlot) Take(context.Context, string, string) (func(), time.Duration, bool) {
	select {
	case <-s.free:
		return func() { s.free <- struct{}{} }, 0, true
	default:
		return nil, time.Millisecond, false
	}
}

// TestTheStepGoesOnFromTheRecord ends the step half-way and makes it again from
// what the ledger has, as another worker does.
func TestTheStepGoesOnFromTheRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, 3*pieceSize))
	op := r.operation("mail.message.create")
	slim, big, err := splitAttachments(t.Context(), r.files, op, blobMail("large"))
	if err != nil {
		t.Fatal(err)
	}
	id := r.post(op.ID, nil, slim)
	ledger := &memoryLedger{records: map[string][]byte{}}
	slot := oneSlot{make(chan struct{}, 1)}
	w := &Worker{
		catalog: catalog.Default(), outlook: r, journal: ledger, outcomes: ledger, slots: slot, now: time.Now,
		log: slog.New(slog.DiscardHandler), unstored: map[string]record{},
	}
	p := &plan{op: op, mailbox: "me", call: Call{Client: "contoso", Mailbox: "me", Operation: op, Params: catalog.Params{Mailbox: "me"}}}
	behind := uint64(0)
	again := func(ctx context.Context, rec record) (*turn, Answer, error) {
		up := r.process()
		up.slots = slot
		release, _, ok := slot.Take(ctx, "", "")
		if !ok {
			t.Fatal("the slot was not given back")
		}
		tn := &turn{job: &job{w: w, who: identity{key: "p.k"}, log: *w.log, rec: rec, rev: ledger.rev - behind}, p: p, slot: sync.OnceFunc(release)}
		s := up.step(p, big)
		if s.doubt != repeat || s.name != stepAttach {
			t.Fatalf("step %+v", s)
		}
		answer, err := s.work(ctx, tn)
		return tn, answer, err
	}
	slot.free <- struct{}{}
	ctx, kill := context.WithCancel(t.Context())
	r.onPut = func(n int, _ Piece) error {
		if n == 2 {
			kill()
		}
		return nil
	}
	tn, _, err := again(ctx, record{Version: recordVersion, State: stateSending, Item: id, Attempts: 1})
	if fault.KindOf(err) != fault.Retry || fault.Of(err).Ambiguous {
		t.Fatalf("%v", err)
	}
	tn.release()
	r.onPut = nil
	var rec record
	if err := json.Unmarshal(ledger.records["p.k"], &rec); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(rec.Upload), "authtoken=") {
		t.Errorf("the ledger has %s", rec.Upload)
	}
	tn, answer, err := again(t.Context(), rec)
	if err != nil || answer.Status != 201 || itemID(answer.Body) != id {
		t.Fatalf("%+v: %s: %v", answer, answer.Body, err)
	}
	if _, _, ok := slot.Take(t.Context(), "", ""); ok {
		t.Error("the next step has no slot")
	}
	tn.release()
	r.wantAttached(uploadWork{kind: ofMail, params: map[string]string{"message-id": id}}, "large")
	if got := r.calls("POST", routeSession); got != 1 {
		t.Errorf("%d sessions", got)
	}
	if last := ledger.texts[len(ledger.texts)-1]; strings.Contains(last, "authtoken=") {
		t.Errorf("the address stays in the ledger: %s", last)
	}
	// Somebody else has the record: nothing is sent.
	puts := r.puts
	rec.Upload, behind = nil, 1
	if tn, _, err = again(t.Context(), rec); !errors.Is(err, ErrConflict) || r.puts != puts {
		t.Errorf("%v, %d pieces", err, r.puts-puts)
	}
	tn.release()
}

// TestAnAttachmentByItselfIsUploaded: the item is the one that the command names.
func TestAnAttachmentByItselfIsUploaded(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Mailboxes(2))
	r.files.put("large", noise(1, 4_000_000))
	id := r.post("mail.message.create", nil, []byte(`{"subject":"s"}`))
	op := r.operation("mail.messageAttachment.create")
	slim, big, err := splitAttachments(t.Context(), r.files, op, []byte(`{"name":"large","blob":"OUTLOOK_BLOB/large"}`))
	if err != nil || slim != nil || len(big) != 1 {
		t.Fatalf("%s, %d: %v", slim, len(big), err)
	}
	ledger := &memoryLedger{records: map[string][]byte{}}
	w := &Worker{
		catalog: catalog.Default(), outlook: r, journal: ledger, outcomes: ledger, slots: r, now: time.Now,
		log: slog.New(slog.DiscardHandler), unstored: map[string]record{},
	}
	params := catalog.Params{Mailbox: "me", Path: map[string]string{"MessageId": id}}
	p := &plan{op: op, mailbox: "me", call: Call{Client: "contoso", Mailbox: "me", Operation: op, Params: params}}
	tn := &turn{job: &job{w: w, who: identity{key: "p.k"}, log: *w.log}, p: p, slot: func() {}}
	answer, err := r.up.step(p, big).work(t.Context(), tn)
	if err != nil || answer.Status != 201 || itemID(answer.Body) == "" || itemID(answer.Body) == id {
		t.Fatalf("%+v: %s: %v", answer, answer.Body, err)
	}
	tn.release()
	r.wantAttached(uploadWork{kind: ofMail, params: map[string]string{"message-id": id}}, "large")
}
