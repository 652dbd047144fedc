package jet_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
)

func audited(o *jet.Options) { o.Audit, o.AuditAge = true, 365*24*time.Hour }

func TestAChainIsOnlyAddedToByWhoKnowsItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.connect(audited).Audit()
	first := must(a.Append(t.Context(), "one", []byte("1"), 0))
	if _, err := a.Append(t.Context(), "one", []byte("other"), 0); !errors.Is(err, jet.ErrConflict) {
		t.Errorf("a second beginning: %v", err)
	}
	must(a.Append(t.Context(), "two", []byte("2"), 0))
	last := must(a.Append(t.Context(), "one", []byte("3"), first))
	if _, err := a.Append(t.Context(), "one", []byte("4"), first); !errors.Is(err, jet.ErrConflict) {
		t.Errorf("behind a message that is not the last: %v", err)
	}
	if data, at, err := a.Last(t.Context(), "one"); string(data) != "3" || at != last || err != nil {
		t.Errorf("last %q at %d: %v", data, at, err)
	}
	if data, at, err := a.Last(t.Context(), "none"); data != nil || at != 0 || err != nil {
		t.Errorf("last of none %q at %d: %v", data, at, err)
	}
	if _, err := a.Append(t.Context(), "a.*", []byte("1"), 0); err == nil {
		t.Error("a chain with a wildcard is taken")
	}
	state := must(a.State(t.Context()))
	if state.First != 1 || state.Last != 3 || state.Keep != 365*24*time.Hour || !state.Locked {
		t.Errorf("state %+v", state)
	}
	var got []string
	if err := a.Each(t.Context(), time.Time{}, 2, func(m jet.AuditMessage) error {
		got = append(got, fmt.Sprintf("%d %s %s", m.Sequence, m.Chain, m.Data))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[1 one 1 2 two 2]" {
		t.Errorf("messages %q", got)
	}
}

func TestNobodyTakesAMessageOutOfTheAuditRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.connect(audited).Audit()
	must(a.Append(t.Context(), "one", []byte("1"), 0))
	js := must(jetstream.New(w.raw()))
	s := must(js.Stream(t.Context(), "OUTLOOK_AUDIT"))
	if err := s.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a message can be deleted")
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("the stream can be purged")
	}
	c := s.CachedInfo().Config
	c.DenyDelete, c.DenyPurge = false, false
	if _, err := js.UpdateStream(t.Context(), c); err == nil {
		t.Error("the locks can be taken off")
	}
	if c.AllowRollup || c.AllowMsgTTL || c.MaxMsgsPerSubject != -1 || c.Discard != jetstream.DiscardNew || c.MaxAge != 365*24*time.Hour {
		t.Errorf("settings %+v", c)
	}
}

func TestAnAuditRecordWithoutLocksGetsThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	js := must(jetstream.New(w.raw()))
	must(js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OUTLOOK_AUDIT", Subjects: []string{"outlook.audit.>"}, Discard: jetstream.DiscardNew}))
	a := w.connect(audited).Audit()
	if state := must(a.State(t.Context())); !state.Locked {
		t.Errorf("state %+v", state)
	}
}

func TestAMessageOfTheLengthThatItTellsIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.connect(audited).Audit()
	most := a.MaxMessage()
	if most < 256<<10 || most >= 1<<20 { // the server has 1 MiB
		t.Fatalf("at most %d bytes", most)
	}
	must(a.Append(t.Context(), "one", make([]byte, most), 0))
}

func TestWithoutTheRecordThereIsNoStreamOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	js := must(jetstream.New(w.raw()))
	if _, err := js.Stream(t.Context(), "OUTLOOK_AUDIT"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("stream: %v", err)
	}
	if _, err := c.Audit().Append(t.Context(), "one", []byte("1"), 0); err == nil {
		t.Error("a message of a record that is off is stored")
	}
}

// BenchmarkAuditEach reads the record as verify does, 2,000 messages of some 40 rows.
func BenchmarkAuditEach(b *testing.B) {
	w := newWorld(b)
	a := w.connect(audited).Audit()
	after := uint64(0)
	for range 2000 {
		var err error
		if after, err = a.Append(b.Context(), "one", make([]byte, 20<<10), after); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(2000 * 20 << 10)
	for b.Loop() {
		n := 0
		if err := a.Each(b.Context(), time.Time{}, after, func(jet.AuditMessage) error { n++; return nil }); err != nil || n != 2000 {
			b.Fatalf("%d messages: %v", n, err)
		}
	}
}
