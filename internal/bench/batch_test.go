package bench

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/config"
	"outlook-connector/internal/jet"
	"outlook-connector/worker"
)

// partSwitch in the environment makes TestPart a part of a benchmark.
const partSwitch = "OUTLOOK_CONNECTOR_BENCH_PART"

// TestPart is a process that BenchmarkBatches starts, and nothing without it.
func TestPart(t *testing.T) {
	if os.Getenv(partSwitch) == "" {
		return
	}
	if err := Part(t.Context(), os.Stdin, os.Stdout, runWorker); err != nil {
		t.Error(err)
	}
}

func runWorker(ctx context.Context, spec WorkerSpec, ready func() error) error {
	c, err := config.Load(spec.Config)
	if err != nil {
		return err
	}
	w, err := worker.New(worker.Options{
		Config: c, Version: "bench", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if err = w.Start(ctx); err == nil {
		if err = ready(); err == nil {
			<-ctx.Done()
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	return errors.Join(err, w.Stop(ctx))
}

// changesSink takes changes, alone and in batches, after a delay.
type changesSink struct {
	delay time.Duration
	// each says that each part of a batch takes the delay, four at a time, as Graph
	// says of Outlook; else the whole does, as a network would.
	each bool

	requests atomic.Int64
	seen     sync.Map // addresses of what was changed
}

func (s *changesSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == sinkToken:
		_, _ = fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"bench"}`)
	case r.Method == http.MethodGet:
		sum := sha256.Sum256([]byte(r.URL.Path))
		_, _ = fmt.Fprintf(w, `{"id":"%x-%x-%x-%x-%x"}`, sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	case strings.HasSuffix(r.URL.Path, "/$batch"):
		s.requests.Add(1)
		var in struct{ Requests []struct{ ID, URL string } }
		if json.NewDecoder(r.Body).Decode(&in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		rounds := 1
		if s.each {
			rounds = (len(in.Requests) + 3) / 4
		}
		for range rounds {
			_ = pause(r.Context(), s.delay)
		}
		answers := make([]string, len(in.Requests))
		for i, one := range in.Requests {
			s.seen.Store(one.URL, true)
			answers[i] = fmt.Sprintf(`{"id":%q,"status":200,"headers":{"Content-Type":"application/json"},"body":{"id":"AAMk","isRead":true}}`, one.ID)
		}
		_, _ = fmt.Fprintf(w, `{"responses":[%s]}`, strings.Join(answers, ","))
	default:
		s.requests.Add(1)
		_ = pause(r.Context(), s.delay)
		s.seen.Store(strings.TrimPrefix(r.URL.Path, sinkBase), true)
		_, _ = fmt.Fprint(w, `{"id":"AAMk","isRead":true}`)
	}
}

// BenchmarkBatches measures small changes in 500 mailboxes, with batch and without,
// in turn: each with a worker and a NATS server (default sync) of its own.
//
//	go test ./internal/bench -run '^$' -bench Batches -benchtime 8000x
func BenchmarkBatches(b *testing.B) {
	b.Setenv(partSwitch, "1")
	for _, delivery := range []string{"at_least_once", "exactly_once"} {
		for _, where := range []string{"network", "graph"} {
			for _, batch := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/20ms-in-the-%s/batch-%v", delivery, where, batch), func(b *testing.B) {
					benchmarkBatch(b, delivery, batch, &changesSink{delay: 20 * time.Millisecond, each: where == "graph"})
				})
			}
		}
	}
}

func benchmarkBatch(b *testing.B, delivery string, batch bool, sink *changesSink) {
	b.Helper()
	const mailboxes = 500
	graph := httptest.NewServer(sink)
	defer graph.Close()
	ctx := b.Context()
	f := frame{command: []string{"-test.run=^TestPart$"}}
	err := f.withServer(ctx, false, "", func(stored server) error {
		queue, err := openStream(stored.url)
		if err != nil {
			return err
		}
		defer queue.nc.Close()
		conn, err := jet.Connect(ctx, jet.Options{URL: stored.url, Prefix: prefix, ManageStreams: true, FailFast: true})
		if err != nil {
			return err
		}
		if err := errors.Join(conn.EnsureStreams(ctx), conn.Close(ctx)); err != nil {
			return err
		}
		text, err := json.Marshal(map[string]any{
			"nats":        map[string]any{"url": stored.url, "prefix": prefix},
			"token_store": map[string]any{"path": filepath.Join(stored.dir, "tokens.db"), "key": strings.Repeat("00", 32)},
			"clients": []any{map[string]any{
				"name": "bench", "tenant": "contoso.example", "grant": "client_credentials", "client_id": "bench", "client_secret": "bench",
				"token_url": graph.URL + sinkToken, "base_url": graph.URL + sinkBase,
			}},
			"publishers": []any{map[string]any{
				"name": publisherName, "client": "bench", "entity": "mail.message.update", "mailboxes": []string{"*"},
				"delivery": delivery, "in_flight": 64, "batch": batch,
			}},
			"http": map[string]any{"listen": "127.0.0.1:0"},
		})
		if err != nil {
			return err
		}
		file := filepath.Join(stored.dir, "outlook-connector.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
		taker, err := spawn(ctx, "worker", f.command, Spec{Worker: &WorkerSpec{Config: file}})
		if err != nil {
			return err
		}
		defer func() {
			graph.CloseClientConnections() // the worker leaves idle ones to the other side
			if err := taker.end(); err != nil {
				b.Error(err)
			}
		}()
		sent := 0
		run := func(n int) error {
			if err := sendChanges(ctx, queue, sent, n, mailboxes); err != nil {
				return err
			}
			sent += n
			return untilNone(ctx, queue, taker)
		}
		if err := run(2 * mailboxes); err != nil {
			return err
		}
		requests, before, began := sink.requests.Load(), taker.usage(), time.Now()
		b.ResetTimer()
		if err := run(b.N); err != nil {
			return err
		}
		b.StopTimer()
		after, took := taker.usage(), time.Since(began).Seconds()
		done := 0
		sink.seen.Range(func(any, any) bool { done++; return true })
		if done != sent {
			return fmt.Errorf("%d of %d changes were made: %s", done, sent, taker.err)
		}
		n := float64(b.N)
		b.ReportMetric(n/took, "commands/s")
		b.ReportMetric((after.CPU-before.CPU)*1e6/n, "cpu-µs/command")
		b.ReportMetric(n/float64(sink.requests.Load()-requests), "commands/request")
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// sendChanges puts commands into the queue, each for another mailbox than the one
// before.
func sendChanges(ctx context.Context, queue *events, from, n, mailboxes int) error {
	var last jetstream.PubAckFuture
	for i := from; i < from+n; i++ {
		var err error
		text := fmt.Sprintf(`{"mailbox":"user%05d@contoso.example","path":{"message-id":"M%08d"},"payload":{"isRead":true}}`, i%mailboxes, i)
		last, err = queue.js.PublishMsgAsync(&nats.Msg{Subject: prefix + ".publish." + publisherName, Data: []byte(text)}, jetstream.WithStallWait(endWithin))
		if err != nil {
			return err
		}
	}
	select {
	case <-last.Ok():
		return nil
	case err := <-last.Err():
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// untilNone waits until the queue is empty.
func untilNone(ctx context.Context, queue *events, taker *process) error {
	_, err := until(ctx, emptyEvery, taker, func() (uint64, bool, error) {
		stream, err := queue.js.Stream(ctx, jet.Names{Prefix: prefix}.PublishStream())
		if err != nil {
			return 0, false, err
		}
		left := stream.CachedInfo().State.Msgs
		return left, left == 0, nil
	})
	return err
}
