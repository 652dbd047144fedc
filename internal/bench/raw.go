package bench

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RawSpec is plain publishing, and nothing else.
type RawSpec struct {
	// URL is the NATS server's.
	URL string `json:"url"`
	// Like are stored events. What is published is like them: their subjects and
	// headers, with other ids, one event after the other. Empty means bare bodies
	// without headers on one subject.
	Like []Sample `json:"like,omitempty"`
	// Async sends without waiting for each answer, the fastest that a client
	// has; else each message waits for its answer.
	Async bool `json:"async"`
	// Count is how many messages at most, Size how many bytes each.
	Count int `json:"count"`
	Size  int `json:"size"`
	// For bounds the time; zero means no bound.
	For time.Duration `json:"for"`
}

// RawResult is what it came to.
type RawResult struct {
	Count   int           `json:"count"`
	Seconds float64       `json:"seconds"`
	P50     time.Duration `json:"p50"` // of one message; zero where Async
	P99     time.Duration `json:"p99"`
}

// Sample is a stored event without its body.
type Sample struct {
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header"`
}

const (
	// rawStream keeps what is published raw. It is as plain as a stream can be.
	rawStream = "OUTLOOK_BENCH_RAW"
	// rawPrefix stands in its subjects for that of the events, and is as long.
	rawPrefix = "bench-outlook"
	// rawPending is how many answers may be outstanding, the library's default.
	rawPending = 4000
)

// varying are the headers of an event that are its own.
var varying = [...]string{"Outlook-Id", "ce-id", "ce-subject"}

// publishRaw publishes into a stream of its own, which it makes and deletes.
func publishRaw(ctx context.Context, spec RawSpec) (result RawResult, err error) {
	nc, err := nats.Connect(spec.URL, nats.Name("bench"))
	if err != nil {
		return result, fmt.Errorf("connect to nats: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(rawPending))
	if err != nil {
		return result, err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: rawStream, Subjects: []string{rawPrefix + ".>"}, Storage: jetstream.FileStorage, AllowMsgTTL: true,
	})
	if err != nil {
		return result, fmt.Errorf("make stream %s: %w", rawStream, err)
	}
	defer func() {
		if failed := js.DeleteStream(context.WithoutCancel(ctx), rawStream); err == nil {
			err = failed
		}
	}()
	all := newItems(spec.Size)
	var took []time.Duration
	began := time.Now()
	for result.Count < spec.Count && (spec.For == 0 || time.Since(began) < spec.For) {
		// The library may still hold the bytes after it returns.
		m := rawMessage(spec.Like, uint64(result.Count))
		m.Data = all.appendTo(make([]byte, 0, len(all.one)), uint64(result.Count))
		if spec.Async {
			_, err = js.PublishMsgAsync(m)
		} else {
			asked := time.Now()
			_, err = js.PublishMsg(ctx, m)
			took = append(took, time.Since(asked))
		}
		if err != nil {
			return result, fmt.Errorf("publish: %w", err)
		}
		result.Count++
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return result, context.Cause(ctx)
	}
	result.Seconds = time.Since(began).Seconds()
	result.P50, result.P99 = quantiles(took)
	info, err := stream.Info(ctx)
	if err == nil && info.State.Msgs != uint64(result.Count) {
		err = fmt.Errorf("%d of %d messages are in the stream", info.State.Msgs, result.Count)
	}
	return result, err
}

// rawMessage returns the message with that number, without its body. What all
// messages have in common is shared: whoever publishes for a living does so.
func rawMessage(like []Sample, number uint64) *nats.Msg {
	if len(like) == 0 {
		return &nats.Msg{Subject: rawPrefix + ".bare"}
	}
	one := &like[number%uint64(len(like))]
	header := make(nats.Header, len(one.Header))
	maps.Copy(header, one.Header)
	var digits [len(mark)]byte
	putHex(digits[:], number)
	for _, name := range varying {
		if was := one.Header[name]; len(was) == 1 && len(was[0]) >= len(mark) {
			header[name] = []string{was[0][:len(was[0])-len(mark)] + string(digits[:])}
		}
	}
	return &nats.Msg{Subject: one.Subject, Header: header}
}

// sampled makes a sample of a stored event: without what only its batch needed,
// and on a subject of the raw stream that is as long.
func sampled(subject string, header nats.Header) Sample {
	s := Sample{Subject: rawPrefix + strings.TrimPrefix(subject, prefix), Header: make(nats.Header, len(header))}
	for name, values := range header {
		if !strings.HasPrefix(name, "Nats-Batch-") && !strings.HasPrefix(name, "Nats-Expected-") {
			s.Header[name] = values
		}
	}
	return s
}
