package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// errDown is what a call of the world fails with.
var errDown = fault.New(fault.Retry, "nats is gone")

// dlqWorld is NATS and Outlook for the dlq commands, with the real worker as the
// one who carries commands out. One call of a command fails, the failAt-th of
// them, before or after it had its effect; 0: none.
type dlqWorld struct {
	t      *testing.T
	worker *publisher.Worker

	letters map[uint64]jet.DeadLetter
	last    uint64
	known   map[string]bool // dedupe ids of letters
	queue   []publisher.Message
	ended   map[uint64]bool // of the queue, by sequence
	sent    map[string]uint64
	records map[string]jetRecord
	results map[string]string
	effects map[string]int // by body

	clock  time.Time
	refuse bool // Outlook refuses what comes
	lose   bool // Outlook does it and its answer is lost

	calls, failAt int
	after         bool
	between       func(call int) // before each call
}

type jetRecord struct {
	data []byte
	rev  uint64
}

func newDLQWorld(t *testing.T) *dlqWorld {
	t.Helper()
	w := &dlqWorld{
		t: t, letters: map[uint64]jet.DeadLetter{}, known: map[string]bool{}, ended: map[uint64]bool{}, sent: map[string]uint64{},
		records: map[string]jetRecord{}, results: map[string]string{}, effects: map[string]int{},
		clock: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC),
	}
	send, err := catalog.Default().Lookup("mail.message.sendMail")
	if err != nil {
		t.Fatal(err)
	}
	var all []publisher.Publisher
	for _, name := range []string{"send-mail", "other"} {
		all = append(all, publisher.Publisher{
			Name: name, Client: "c", Entities: []*catalog.Operation{send}, Mailboxes: []string{"me"}, Delivery: publisher.AtMostOnce,
		})
	}
	w.worker, err = publisher.New(publisher.Options{
		Publishers: all, Outlook: dlqOutlook{w}, Journal: dlqJournal{w}, Outcomes: dlqOutcomes{w}, Slots: dlqOutlook{w},
		Now: func() time.Time { return w.clock }, Jitter: func(time.Duration) time.Duration { return 0 },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// call runs one call of a command.
func (w *dlqWorld) call(effect func() error) error {
	w.calls++
	if w.between != nil {
		w.between(w.calls)
	}
	if w.calls == w.failAt && !w.after {
		return errDown
	}
	err := effect()
	if w.calls == w.failAt {
		return errDown
	}
	return err
}

// publish stores a command as the queue does.
func (w *dlqWorld) publish(subject string, header jet.Header, data string) jet.Published {
	if key := header["Nats-Msg-Id"]; len(key) > 0 {
		if sequence, ok := w.sent[key[0]]; ok {
			return jet.Published{Stream: "OUTLOOK_PUBLISH", Sequence: sequence, Duplicate: true}
		}
		w.sent[key[0]] = uint64(len(w.queue) + 1)
	}
	name, _, err := jet.Names{}.ParsePublish(subject)
	if err != nil {
		w.t.Fatal(err)
	}
	w.clock = w.clock.Add(time.Second)
	w.queue = append(w.queue, publisher.Message{
		Publisher: name, Subject: subject, Stream: "OUTLOOK_PUBLISH", Sequence: uint64(len(w.queue) + 1),
		Header: maps.Clone(header), Data: []byte(data), Received: w.clock,
	})
	return jet.Published{Stream: "OUTLOOK_PUBLISH", Sequence: uint64(len(w.queue))}
}

// work carries out what is in the queue.
func (w *dlqWorld) work() {
	for i := 0; i < len(w.queue); i++ {
		m := w.queue[i]
		for round := 0; !w.ended[m.Sequence]; round++ {
			if round == 20 {
				w.t.Fatalf("command %d does not end", m.Sequence)
			}
			w.clock = w.clock.Add(time.Minute)
			w.ended[m.Sequence] = w.worker.Handle(w.t.Context(), m).Ack
		}
	}
}

// forget is what ten minutes do to the queue.
func (w *dlqWorld) forget() {
	w.clock = w.clock.Add(11 * time.Minute)
	clear(w.sent)
}

// die publishes a command that dies, and returns its letter.
func (w *dlqWorld) die(subject, key, data string) deadLetter {
	w.t.Helper()
	var header jet.Header
	if key != "" {
		header = jet.Header{"Nats-Msg-Id": {key}, "Outlook-Delivery": {"at_most_once"}}
	}
	was := w.last
	w.publish(subject, header, data)
	w.work()
	if w.last != was+1 {
		w.t.Fatalf("%d letters more, want 1", w.last-was)
	}
	return w.letter(w.last)
}

func (w *dlqWorld) letter(sequence uint64) deadLetter {
	w.t.Helper()
	d, ok := w.letters[sequence]
	if !ok {
		w.t.Fatalf("letter %d is gone", sequence)
	}
	return readLetter(jet.Names{}, d)
}

func (w *dlqWorld) redriver() *redriver {
	return &redriver{
		letters: dlqLetters{w}, queue: dlqQueue{w}, ledger: dlqLedger{w}, now: func() time.Time { return w.clock },
		publishers: []string{"send-mail", "other"},
	}
}

type dlqLetters struct{ w *dlqWorld }

func (l dlqLetters) Delete(_ context.Context, sequence uint64) error {
	return l.w.call(func() error {
		if _, ok := l.w.letters[sequence]; !ok {
			return fault.New(fault.Poison, "letter %d: %w", sequence, jet.ErrNotFound)
		}
		delete(l.w.letters, sequence)
		return nil
	})
}

func (l dlqLetters) Sent(_ context.Context, p jet.Published) (m jet.Message, err error) {
	err = l.w.call(func() error {
		if l.w.ended[p.Sequence] {
			return fault.New(fault.Retry, "command: %w", jet.ErrNotFound)
		}
		stored := l.w.queue[p.Sequence-1]
		m = jet.Message{Subject: stored.Subject, Header: stored.Header, Data: stored.Data}
		return nil
	})
	return m, err
}

type dlqQueue struct{ w *dlqWorld }

func (q dlqQueue) Publish(_ context.Context, subject string, header jet.Header, data []byte) (p jet.Published, err error) {
	err = q.w.call(func() error {
		p = q.w.publish(subject, header, string(data))
		return nil
	})
	if err != nil {
		return jet.Published{}, err
	}
	return p, nil
}

type dlqLedger struct{ w *dlqWorld }

func (l dlqLedger) Load(_ context.Context, key string) (data []byte, rev uint64, err error) {
	err = l.w.call(func() error {
		data, rev = l.w.records[key].data, l.w.records[key].rev
		return nil
	})
	return data, rev, err
}

func (l dlqLedger) Save(_ context.Context, key string, data []byte, rev uint64) (uint64, error) {
	err := l.w.call(func() error {
		if l.w.records[key].rev != rev {
			return fault.New(fault.Retry, "%w", jet.ErrConflict)
		}
		l.w.records[key] = jetRecord{slices.Clone(data), rev + 1}
		return nil
	})
	return rev + 1, err
}

func (l dlqLedger) Put(_ context.Context, id string, _ jet.Header, data []byte) error {
	return l.w.call(func() error {
		l.w.results[id] = string(data)
		return nil
	})
}

// The worker's side: nothing fails there, which the publisher's own tests look
// after.

type dlqOutlook struct{ w *dlqWorld }

func (dlqOutlook) Ready(context.Context, string) error { return nil }

func (o dlqOutlook) Do(_ context.Context, call publisher.Call) (publisher.Answer, error) {
	if o.w.refuse {
		return publisher.Answer{Status: 400}, fault.New(fault.Poison, "no recipients").WithCode("ErrorInvalidRecipients")
	}
	o.w.effects[string(call.Body)]++
	if o.w.lose {
		return publisher.Answer{Status: 504}, &fault.Error{Kind: fault.Retry, Ambiguous: true, Err: errors.New("gateway timeout")}
	}
	return publisher.Answer{Status: 202}, nil
}

func (dlqOutlook) Take(context.Context, string, string) (func(), time.Duration, bool) {
	return func() {}, 0, true
}

type dlqJournal struct{ w *dlqWorld }

func (j dlqJournal) Load(_ context.Context, key string) ([]byte, uint64, error) {
	return j.w.records[key].data, j.w.records[key].rev, nil
}

func (j dlqJournal) Save(_ context.Context, key string, data []byte, rev uint64) (uint64, error) {
	if j.w.records[key].rev != rev {
		return 0, publisher.ErrConflict
	}
	j.w.records[key] = jetRecord{slices.Clone(data), rev + 1}
	return rev + 1, nil
}

type dlqOutcomes struct{ w *dlqWorld }

func (o dlqOutcomes) Begin(_ context.Context, id string, body []byte) func() error {
	o.w.results[id] = string(body)
	return func() error { return nil }
}

func (o dlqOutcomes) Told(_ context.Context, id string) ([]byte, error) {
	if text, ok := o.w.results[id]; ok {
		return []byte(text), nil
	}
	return nil, nil
}

func (dlqOutcomes) Reply(context.Context, string, []byte) error { return nil }

func (o dlqOutcomes) Dead(_ context.Context, name string, l publisher.DeadLetter) error {
	if o.w.known[l.DedupeID] {
		return nil
	}
	o.w.known[l.DedupeID] = true
	text, err := l.Encode()
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	o.w.last++
	o.w.letters[o.w.last] = jet.DeadLetter{Subject: "outlook.dlq.publish." + name, Sequence: o.w.last, Data: text, Time: o.w.clock}
	return nil
}
