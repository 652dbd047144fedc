package bench

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestRawMessagesAreLikeTheEvents(t *testing.T) {
	t.Parallel()
	const id = "AAMkAGI2" + mark
	event := nats.Header{
		"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"7"}, "Nats-Expected-Last-Subject-Sequence": {"1"},
		"Nats-TTL": {"604800"}, "Outlook-Id": {id}, "ce-subject": {id}, "ce-id": {"an-id-of-more-than-16-digits"}, "ce-type": {"outlook.message.snapshot"},
	}
	const subject = prefix + ".event.bench.ann@contoso.example"
	sample := sampled(subject, event)
	seen := make(map[string]bool)
	for n := range uint64(3) {
		m := rawMessage([]Sample{sample}, n)
		if len(m.Subject) != len(subject) {
			t.Errorf("the subject %s is not as long as %s", m.Subject, subject)
		}
		if len(m.Header) != 5 || m.Header.Get("Nats-TTL") != "604800" || m.Header.Get("ce-type") != "outlook.message.snapshot" {
			t.Errorf("the header is %v", m.Header)
		}
		for _, name := range varying {
			value := m.Header.Get(name)
			if seen[name+value] || len(value) != len(event.Get(name)) {
				t.Errorf("message %d has the %s %q", n, name, value)
			}
			seen[name+value] = true
		}
	}
	if !slices.Equal(event["Outlook-Id"], []string{id}) || !slices.Equal(sample.Header["Outlook-Id"], []string{id}) {
		t.Error("the sample was changed")
	}
	if m := rawMessage(nil, 1); m.Header != nil || m.Subject == "" {
		t.Errorf("a bare message is %+v", m)
	}
}
