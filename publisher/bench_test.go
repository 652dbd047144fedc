package publisher_test

import (
	"fmt"
	"strings"
	"testing"

	"outlook-connector/publisher"
)

// BenchmarkHandle is what the core itself costs for a command of 1 KB: decoding,
// policy, the ledger's texts and the outcome, with everything else in memory.
func BenchmarkHandle(b *testing.B) {
	w := newWorld()
	worker, err := publisher.New(publisher.Options{
		Publishers: []publisher.Publisher{definition(b, "send-mail", "mail.message.sendMail")},
		Outlook:    w, Journal: w, Outcomes: w, Slots: w,
	})
	if err != nil {
		b.Fatal(err)
	}
	data := fmt.Sprintf(`{"payload":{"message":{"subject":"hi","body":{"contentType":"html","content":%q}}}}`, strings.Repeat("<p>x</p>", 115))
	m := message("send-mail", data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		m.Sequence++
		if v := worker.Handle(b.Context(), m); !v.Ack {
			b.Fatalf("verdict %+v", v)
		}
	}
}
