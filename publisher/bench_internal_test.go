package publisher

import (
	"context"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
)

// quiet is another side that does nothing.
type quiet struct {
	Outlook
	Journal
	Outcomes
	Slots
}

// BenchmarkPlan is what a command costs before its request: the look at whose slot it
// needs, and the plan.
func BenchmarkPlan(b *testing.B) {
	w, err := New(Options{
		Publishers: []Publisher{{
			Name: "mail", Client: "acme", Entities: catalog.Default().Select("mail.message.*"), Mailboxes: []string{"*"}, ImmutableIDs: true,
		}},
		Outlook: quiet{}, Journal: quiet{}, Outcomes: quiet{}, Slots: quiet{},
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, data string }{
		{
			"a mail of 1 KB",
			`{"mailbox":"ann@contoso.example","entity":"mail.message.sendMail","payload":{"message":{"subject":"hi",` +
				`"toRecipients":[{"emailAddress":{"address":"bob@contoso.example"}}],"body":{"contentType":"text","content":"` +
				strings.Repeat(`The quick brown fox jumps over the lazy dog. `, 18) + `"}}}}`,
		},
		{
			"a change",
			`{"mailbox":"ann@contoso.example","entity":"mail.message.update","path":{"id":"AAMkAGI2TAAA="},` +
				`"headers":{"If-Match":"W/\"CQAAABYAAAA\""},"payload":{"isRead":true}}`,
		},
	} {
		header := map[string][]string{
			"Content-Type": {"application/json"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		}
		m := Message{
			Publisher: "mail", Stream: "OUTLOOK_PUBLISH", Sequence: 123456, Header: header, Data: []byte(c.data),
			Received: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		}
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			for b.Loop() {
				m := m
				if _, ok := w.Glance(context.Background(), &m); !ok {
					b.Fatal("no glance")
				}
				j := w.open(m)
				if _, err := w.plan(context.Background(), &j.m, j.def); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
