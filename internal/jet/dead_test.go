package jet_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"outlook-connector/internal/jet"
)

func TestDeadLettersAreReadOneByOne(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	d := c.DeadLetters()
	if err := d.Each(t.Context(), jet.DeadQuery{}, func(jet.DeadLetter, uint64) bool { t.Error("a letter where there is none"); return true }); err != nil {
		t.Fatal(err)
	}
	const letters = 45 // more than are read ahead
	var middle time.Time
	for i := range letters {
		subject := must(c.Names().DeadCommand("send-mail"))
		if i%3 == 0 {
			subject = must(c.Names().DeadEvent("inbox", "ann@contoso.com"))
		}
		if i == 30 {
			middle = time.Now()
		}
		if err := d.Put(t.Context(), subject, fmt.Sprintf("id-%d", i), nil, fmt.Appendf(nil, "letter %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(q jet.DeadQuery, most int) (list []jet.DeadLetter, left uint64) {
		t.Helper()
		if err := d.Each(t.Context(), q, func(l jet.DeadLetter, behind uint64) bool {
			list, left = append(list, l), behind
			return len(list) != most
		}); err != nil {
			t.Fatal(err)
		}
		return list, left
	}

	all, left := read(jet.DeadQuery{}, 0)
	if len(all) != letters || left != 0 || string(all[44].Data) != "letter 44" || all[44].DedupeID() != "id-44" || all[44].Sequence != 45 || all[44].Time.IsZero() {
		t.Errorf("%d letters, %d left, the last %+v", len(all), left, all[len(all)-1])
	}
	some, left := read(jet.DeadQuery{Filter: "outlook.dlq.event.>"}, 4)
	if len(some) != 4 || left != 11 || string(some[3].Data) != "letter 9" {
		t.Errorf("%d letters, %d left", len(some), left)
	}
	if late, _ := read(jet.DeadQuery{Since: middle}, 0); len(late) != 15 || string(late[0].Data) != "letter 30" {
		t.Errorf("%d letters since then", len(late))
	}
	if heads, _ := read(jet.DeadQuery{HeadersOnly: true}, 0); len(heads) != letters || len(heads[0].Data) != 0 || heads[0].DedupeID() != "id-0" {
		t.Errorf("%d headers, the first %+v", len(heads), heads[0])
	}

	// Letters may go while they are read, and new ones come.
	n := 0
	if err := d.Each(t.Context(), jet.DeadQuery{}, func(l jet.DeadLetter, _ uint64) bool {
		n++
		if err := d.Delete(t.Context(), l.Sequence); err != nil {
			t.Error(err)
		}
		if err := d.Put(t.Context(), "outlook.dlq.publish.send-mail", fmt.Sprintf("new-%d", n), nil, []byte("new")); err != nil {
			t.Error(err)
		}
		return true
	}); err != nil || n != letters {
		t.Errorf("%d letters read: %v", n, err)
	}
	if rest, _ := read(jet.DeadQuery{}, 0); len(rest) != letters || string(rest[0].Data) != "new" {
		t.Errorf("%d letters stay", len(rest))
	}
}

func TestReadingDeadLettersEndsWhereTheRestIsRemoved(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect(func(o *jet.Options) { o.Timeout = time.Second })
	d := c.DeadLetters()
	for i := range 60 {
		if err := d.Put(t.Context(), "outlook.dlq.publish.send-mail", fmt.Sprint(i), nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := d.Each(t.Context(), jet.DeadQuery{}, func(jet.DeadLetter, uint64) bool {
		if n++; n == 1 {
			for sequence := uint64(2); sequence <= 60; sequence++ {
				if err := d.Delete(t.Context(), sequence); err != nil {
					t.Error(err)
				}
			}
		}
		return true
	})
	if err != nil || n == 60 {
		t.Errorf("%d letters read: %v", n, err)
	}
}

func TestACommandIsFoundByItsReceiptUntilItEnds(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	subject := must(c.Names().Publish("send-mail"))
	first := must(c.Commands().Publish(t.Context(), subject, jet.Header{"Nats-Msg-Id": {"k/r1"}}, []byte("a")))
	again := must(c.Commands().Publish(t.Context(), subject, jet.Header{"Nats-Msg-Id": {"k/r1"}}, []byte("b")))
	if !again.Duplicate || again.Sequence != first.Sequence {
		t.Fatalf("%+v, %+v", first, again)
	}
	m, err := c.DeadLetters().Sent(t.Context(), again)
	if err != nil || string(m.Data) != "a" || m.Subject != subject || m.Header["Nats-Msg-Id"][0] != "k/r1" {
		t.Errorf("%+v, %v", m, err)
	}
	again.Sequence = 99
	if _, err := c.DeadLetters().Sent(t.Context(), again); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
