package worker_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"outlook-connector/internal/jet"
)

func TestMessagesAreLinkedToTheSpansTheyComeFrom(t *testing.T) {
	t.Parallel()
	to := newReceiver(t)
	w := newWorld(t)
	r := w.start(w.config(otlp(to.URL))).signedIn().primed()
	const sender, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	id := r.publish("send-mail", jet.Header{"traceparent": {"00-" + sender + "-" + span + "-01"}, "tracestate": {"vendor=1"}}, mail("Traced"))
	r.done(id)
	outcome, err := r.Conn().Results().Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	// Every carrier's spelling is understood, and what is none does no harm.
	r.done(r.publish("send-mail", jet.Header{"Traceparent": {"00-" + sender + "-" + span + "-01"}}, mail("Traced as in HTTP")))
	r.done(r.publish("send-mail", jet.Header{"traceparent": {"00-nonsense"}}, mail("Not traced")))
	w.deliver("From outside")
	event := r.events(1)[0]
	r.stop() // sends what is left

	to.mu.Lock()
	defer to.mu.Unlock()
	var commands, linked int
	for _, s := range to.spans {
		if s.GetName() != "command" {
			continue
		}
		commands++
		for _, link := range s.GetLinks() {
			if hex.EncodeToString(link.GetTraceId()) == sender && hex.EncodeToString(link.GetSpanId()) == span {
				linked++
			}
		}
		if s.GetKind() != tracepb.Span_SPAN_KIND_CONSUMER || hex.EncodeToString(s.GetTraceId()) == sender || len(s.GetParentSpanId()) != 0 {
			t.Errorf("a command's span is %v in trace %x under %x", s.GetKind(), s.GetTraceId(), s.GetParentSpanId())
		}
	}
	if commands != 3 || linked != 2 {
		t.Errorf("%d spans of commands, %d of them linked to the sender's", commands, linked)
	}
	for what, is := range map[string]struct {
		header jet.Header
		span   string
	}{"outcome": {outcome.Header, "command"}, "event": {event.Header, "poll"}} {
		parts := strings.Split(strings.Join(is.header["traceparent"], " "), "-")
		if len(parts) != 4 {
			t.Errorf("the %s has the headers %v", what, is.header)
			continue
		}
		at, err := hex.DecodeString(parts[2])
		found := ""
		for _, s := range to.spans {
			if bytes.Equal(s.GetSpanId(), at) {
				found = s.GetName()
			}
		}
		if err != nil || found != is.span {
			t.Errorf("the %s comes from the span %q, want %s", what, found, is.span)
		}
	}
}

func TestWithoutTracesMessagesSayNothingOfThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{})).signedIn().primed()
	id := r.publish("send-mail", jet.Header{"traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, mail("Untraced"))
	r.done(id)
	outcome, err := r.Conn().Results().Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w.deliver("From outside")
	if event := r.events(1)[0]; len(event.Header["traceparent"])+len(outcome.Header["traceparent"]) > 0 {
		t.Errorf("headers %v and %v", event.Header, outcome.Header)
	}
}
