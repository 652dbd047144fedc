package publisher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"outlook-connector/publisher"
)

// BenchmarkHandle is what the core itself costs for a command of 1 KB: decoding,
// policy, the ledger's texts and the outcome, with everything else in memory.
func BenchmarkHandle(b *testing.B) {
	data := fmt.Sprintf(`{"payload":{"message":{"subject":"hi","body":{"contentType":"html","content":%q}}}}`, strings.Repeat("<p>x</p>", 115))
	for _, c := range []struct {
		name     string
		delivery publisher.Delivery
		fresh    bool
	}{
		{"at_most_once", publisher.AtMostOnce, false},
		{"at_least_once", publisher.AtLeastOnce, true},
		{"exactly_once", publisher.ExactlyOnce, true}, // two requests
	} {
		b.Run(c.name, func(b *testing.B) {
			def := definition(b, "send-mail", "mail.message.sendMail")
			def.Delivery = c.delivery
			s := &still{}
			worker, err := publisher.New(publisher.Options{
				Publishers: []publisher.Publisher{def}, Outlook: s, Journal: s, Outcomes: s, Slots: s,
			})
			if err != nil {
				b.Fatal(err)
			}
			m := message("send-mail", data)
			m.Fresh = c.fresh
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				m.Sequence++
				if v := worker.Handle(b.Context(), m); !v.Ack {
					b.Fatalf("verdict %+v", v)
				}
			}
		})
	}
}

// still is a world that takes everything and keeps nothing.
type still struct{}

func (*still) Load(context.Context, string) ([]byte, uint64, error) { return nil, 0, nil }

func (*still) Save(_ context.Context, _ string, _ []byte, revision uint64) (uint64, error) {
	return revision + 1, nil
}

func (*still) Ready(context.Context, string) error { return nil }

func (*still) Do(_ context.Context, call publisher.Call) (publisher.Answer, error) {
	if call.Operation.ID == "mail.message.create" {
		return publisher.Answer{Status: 201, RequestID: "r", Body: []byte(`{"id":"AAMkAGI2TAAA="}`)}, nil
	}
	return publisher.Answer{Status: 202, RequestID: "r"}, nil
}

func (*still) Begin(context.Context, string, []byte) (stored func() error) {
	return func() error { return nil }
}

func (*still) Told(context.Context, string) ([]byte, error) { return nil, nil }

func (*still) Reply(context.Context, string, []byte) error { return nil }

func (*still) Dead(context.Context, string, publisher.DeadLetter) error { return nil }

func (*still) Take(context.Context, string, string) (release func(), wait time.Duration, ok bool) {
	return func() {}, 0, true
}
