package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RawSpec is plain publishing of the same bodies, and nothing else.
type RawSpec struct {
	// URL is the NATS server's.
	URL string `json:"url"`
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

const (
	// rawStream keeps what is published raw. It is as plain as a stream can be.
	rawStream  = "OUTLOOK_BENCH_RAW"
	rawSubject = "outlook-bench-raw"
	// rawPending is how many answers may be outstanding, the library's default.
	rawPending = 4000
)

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
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: rawStream, Subjects: []string{rawSubject}, Storage: jetstream.FileStorage})
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
		body := all.appendTo(make([]byte, 0, len(all.one)), uint64(result.Count))
		if spec.Async {
			_, err = js.PublishMsgAsync(&nats.Msg{Subject: rawSubject, Data: body})
		} else {
			asked := time.Now()
			_, err = js.PublishMsg(ctx, &nats.Msg{Subject: rawSubject, Data: body})
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
