package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
)

const (
	// publisherName is the publisher that is measured.
	publisherName = "bench"
	// emptyEvery is how often the queue is looked at.
	emptyEvery = 20 * time.Millisecond
	// minCommand is the smallest command in bytes.
	minCommand = 512
	// maxCommands is how many commands the sink can tell apart.
	maxCommands = 1 << 26
)

// line is a measurement that runs: the queue, who takes from it and the sink.
type line struct {
	p      Publish
	queue  *events
	names  jet.Names
	sink   *process
	taker  *process   // the worker, or the bare loop
	more   []*process // further workers
	server server
	web    *http.Client
	sent   int // commands so far
	text   []byte
}

// one measures the worker or the bare loop with a server of its own.
func (p Publish) one(ctx context.Context, run PublishRun, bare bool) (m PublishMeasured, err error) {
	what := "worker"
	if bare {
		what = "bare loop"
	}
	f := frame{command: p.Command, nats: p.NATS, profile: p.Profile, progress: p.Progress}
	f.tell("commands to a sink that takes %s, %s%s", run.Delay, what, synced(run.SyncAlways))
	name := fmt.Sprintf("%s-%s", run.Delay, strings.ReplaceAll(what, " ", "-"))
	err = f.withServer(ctx, run.SyncAlways, f.profileOf(run.SyncAlways, run.Round, name+".server.cpu"), func(s server) (err error) {
		l := &line{p: p, server: s, web: &http.Client{Timeout: 10 * time.Second}, text: commandOf(p.Size)}
		defer l.web.CloseIdleConnections()
		if l.queue, err = openStream(s.url); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.queue.close(ctx, s.own == nil)) }()
		if err := l.makeStreams(ctx); err != nil {
			return err
		}
		if l.sink, err = spawn(ctx, "sink", p.Command, Spec{Effects: &EffectsSpec{Delay: run.Delay}}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.sink.end()) }()
		spec, err := l.taking(bare, func(kind string) string { return f.profileOf(run.SyncAlways, run.Round, name+"."+kind) })
		if err != nil {
			return err
		}
		if l.taker, err = spawn(ctx, what, p.Command, spec); err != nil {
			return err
		}
		defer func() {
			if failed := l.taker.end(); err == nil {
				err = failed
			}
		}()
		if !bare {
			for range p.workers() - 1 {
				spec.Worker.CPUProfile, spec.Worker.HeapProfile = "", "" // those of one say what they all do
				other, err := spawn(ctx, what, p.Command, spec)
				if err != nil {
					return err
				}
				defer func() { _ = other.end() }() // the first one says what went wrong
				l.more = append(l.more, other)
			}
		}
		if m, err = l.measure(ctx, run.Delay); err == nil && !bare {
			err = l.checkOutcomes(ctx)
		}
		return err
	})
	return m, err
}

// makeStreams makes the streams as a worker does, so that the bare loop has the
// same ones.
func (l *line) makeStreams(ctx context.Context) (err error) {
	if l.server.own == nil {
		if err := l.queue.remove(ctx); err != nil { // of a measurement that was broken off
			return err
		}
	}
	conn, err := jet.Connect(ctx, jet.Options{URL: l.server.url, Prefix: prefix, ManageStreams: true, FailFast: true})
	if err != nil {
		return err
	}
	l.names = conn.Names()
	return errors.Join(conn.EnsureStreams(ctx), conn.Close(ctx))
}

// taking says who takes the commands.
func (l *line) taking(bare bool, profile func(kind string) string) (Spec, error) {
	if bare {
		return Spec{Bare: &BareSpec{
			URL: l.server.url, Stream: l.names.PublishStream(), Consumer: jet.PublishConsumer,
			Target: l.sink.url + sinkBase + "/users/bench/sendMail", InFlight: l.p.InFlight, CPUProfile: profile("cpu"),
		}}, nil
	}
	text, err := json.Marshal(map[string]any{
		"nats":        map[string]any{"url": l.server.url, "prefix": prefix},
		"token_store": map[string]any{"path": filepath.Join(l.server.dir, "tokens.db"), "key": strings.Repeat("00", 32)},
		"clients": []any{map[string]any{
			"name": "bench", "tenant": "contoso.example", "grant": "client_credentials", "client_id": "bench", "client_secret": "bench",
			"token_url": l.sink.url + sinkToken, "base_url": l.sink.url + sinkBase,
		}},
		"publishers": []any{map[string]any{
			"name": publisherName, "client": "bench", "entity": "mail.message.sendMail", "mailboxes": []string{"*"},
			"delivery": l.p.Delivery, "in_flight": l.p.InFlight,
		}},
		"http": map[string]any{"listen": "127.0.0.1:0"},
		"log":  map[string]any{"level": "warn", "format": "text"},
	})
	if err != nil {
		return Spec{}, err
	}
	file := filepath.Join(l.server.dir, "outlook-connector.yaml")
	spec := Spec{Worker: &WorkerSpec{Config: file, CPUProfile: profile("cpu"), HeapProfile: profile("heap")}}
	return spec, os.WriteFile(file, text, 0o600)
}

// measure lets everybody get warm with one command for each mailbox, then fills
// the queue while the sink holds what comes, then takes the time.
func (l *line) measure(ctx context.Context, delay time.Duration) (m PublishMeasured, err error) {
	m.Commands = l.p.Messages
	if delay > 0 {
		m.Commands = min(m.Commands, max(int(float64(l.inFlight())*l.p.For.Seconds()/delay.Seconds()), 1))
	}
	if err := l.send(ctx, min(l.p.Mailboxes, m.Commands)); err != nil {
		return m, err
	}
	if err := l.untilEmpty(ctx); err != nil {
		return m, err
	}
	if err := l.ask(ctx, http.MethodPost, sinkHold, nil); err != nil {
		return m, err
	}
	if err := l.send(ctx, m.Commands); err != nil {
		return m, err
	}
	if err := l.untilWaiting(ctx, min(l.inFlight(), m.Commands)); err != nil {
		return m, err
	}
	before, serverBefore, sinkBefore := l.usage(), l.server.usage(), l.sink.usage()
	began := time.Now()
	if err := l.ask(ctx, http.MethodPost, sinkGo, nil); err != nil {
		return m, err
	}
	if err := l.untilEmpty(ctx); err != nil {
		return m, err
	}
	m.Seconds = time.Since(began).Seconds()
	after, serverAfter, sinkAfter := l.usage(), l.server.usage(), l.sink.usage()
	var state EffectsState
	if err := l.ask(ctx, http.MethodGet, sinkState, &state); err != nil {
		return m, err
	}
	m.Rate, m.Calls = float64(m.Commands)/m.Seconds, float64(state.Requests)/float64(m.Commands)
	each := float64(m.Commands) / 10_000
	m.CPU, m.ServerCPU, m.SinkCPU = (after.CPU-before.CPU)/each, (serverAfter.CPU-serverBefore.CPU)/each, (sinkAfter.CPU-sinkBefore.CPU)/each
	m.MostInFlight = state.MostInFlight
	if m.P50, m.P99, err = l.paced(ctx); err != nil {
		return m, err
	}
	if err := l.ask(ctx, http.MethodGet, sinkState, &state); err != nil {
		return m, err
	}
	if state.Commands != l.sent {
		return m, fmt.Errorf("%d of %d commands were done; it says: %s", state.Commands, l.sent, l.taker.err)
	}
	m.RSSPeak, m.Connections, m.Repeats = l.usage().Peak, state.Connections, state.Repeats
	return m, nil
}

// inFlight is how many requests all of them make at a time.
func (l *line) inFlight() int { return l.p.InFlight * (1 + len(l.more)) }

// usage is what all of them have used: the sum of their CPU time, and the memory
// of the one that takes most.
func (l *line) usage() usage {
	all := l.taker.usage()
	for _, other := range l.more {
		used := other.usage()
		all.CPU += used.CPU
		all.Peak = max(all.Peak, used.Peak)
	}
	return all
}

// commandOf returns a command of a size, with room for its mailbox and number.
func commandOf(size int) []byte {
	head := `{"mailbox":"user00000@contoso.example","payload":{"message":{"subject":"` + commandMark + mark +
		`","toRecipients":[{"emailAddress":{"address":"bob@contoso.example"}}],"body":{"contentType":"text","content":"`
	const tail, line = `"}}}}`, `The quick brown fox jumps over the lazy dog. `
	room := max(size, minCommand) - len(head) - len(tail)
	return []byte(head + strings.Repeat(line, room/len(line)+1)[:room] + tail)
}

// next returns the next command.
func (l *line) next() []byte {
	text := append([]byte(nil), l.text...)
	copy(text[len(`{"mailbox":"user`):], fmt.Sprintf("%05d", l.sent%l.p.Mailboxes))
	putHex(text[strings.Index(string(text), commandMark)+len(commandMark):], uint64(l.sent))
	l.sent++
	return text
}

// subject is where the commands go.
func (l *line) subject() (string, error) { return l.names.Publish(publisherName) }

// send puts commands into the queue.
func (l *line) send(ctx context.Context, n int) error {
	subject, err := l.subject()
	if err != nil {
		return err
	}
	futures := make([]jetstream.PubAckFuture, 0, n)
	for range n {
		future, err := l.queue.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: l.next()}, jetstream.WithStallWait(endWithin))
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// untilEmpty waits until every command is acknowledged.
func (l *line) untilEmpty(ctx context.Context) error {
	stream, err := l.queue.js.Stream(ctx, l.names.PublishStream())
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	left, err := until(ctx, emptyEvery, l.taker, func() (uint64, bool, error) {
		info, err := stream.Info(ctx)
		if err != nil {
			return 0, false, fmt.Errorf("read the queue: %w", err)
		}
		return info.State.Msgs, info.State.Msgs == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%d commands are left: %w", left, err)
	}
	return nil
}

// untilWaiting waits until the sink has that many requests, or has had no more
// for a while.
func (l *line) untilWaiting(ctx context.Context, n int) error {
	most, since := 0, time.Now()
	_, err := until(ctx, emptyEvery, l.taker, func() (int, bool, error) {
		var state EffectsState
		err := l.ask(ctx, http.MethodGet, sinkState, &state)
		if state.InFlight != most {
			most, since = state.InFlight, time.Now()
		}
		return most, most >= n || most > 0 && time.Since(since) > settled, err
	})
	return err
}

// ask asks the sink for something, and tells it something.
func (l *line) ask(ctx context.Context, method, path string, answer any) error {
	return askFor(ctx, l.web, method, l.sink.url+path, answer)
}

// paced sends commands at an even pace and takes the time from sending each to
// its acknowledgment, which anybody can listen to.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference#acknowledging-messages
func (l *line) paced(ctx context.Context) (p50, p99 float64, err error) {
	subject, err := l.subject()
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	ends := make(map[uint64]time.Time)
	sub, err := l.queue.nc.Subscribe("$JS.ACK.>", func(m *nats.Msg) {
		now := time.Now()
		if text := string(m.Data); text != "" && text != "+ACK" {
			return // given back, or still in work
		}
		meta, err := (&nats.Msg{Reply: m.Subject, Sub: m.Sub}).Metadata()
		if err != nil || meta.Stream != l.names.PublishStream() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, ok := ends[meta.Sequence.Stream]; !ok {
			ends[meta.Sequence.Stream] = now
		}
	})
	if err != nil {
		return 0, 0, fmt.Errorf("listen to acknowledgments: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only with the connection
	ticker := time.NewTicker(time.Second / time.Duration(l.p.Pace))
	defer ticker.Stop()
	begins := make(map[uint64]time.Time, l.p.Paced)
	for range l.p.Paced {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
		began := time.Now()
		ack, err := l.queue.js.Publish(ctx, subject, l.next())
		if err != nil {
			return 0, 0, fmt.Errorf("publish: %w", err)
		}
		begins[ack.Sequence] = began
	}
	if err := l.untilEmpty(ctx); err != nil {
		return 0, 0, err
	}
	if err := l.queue.nc.Flush(); err != nil { // what was sent to us before is here
		return 0, 0, fmt.Errorf("listen to acknowledgments: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	var took []time.Duration
	for sequence, began := range begins {
		if end, ok := ends[sequence]; ok {
			took = append(took, end.Sub(began))
		}
	}
	if len(took) == 0 {
		return 0, 0, errors.New("no acknowledgment was heard")
	}
	median, high := quantiles(took)
	return milliseconds(median), milliseconds(high), nil
}

// checkOutcomes looks that the outcome of each command is stored, and no command
// has become a dead letter.
func (l *line) checkOutcomes(ctx context.Context) error {
	for name, want := range map[string]int{l.names.ResultStream(): l.sent, l.names.DeadStream(): 0} {
		stream, err := l.queue.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if got := stream.CachedInfo().State.Msgs; got != uint64(want) {
			return fmt.Errorf("%s has %d messages, want %d", name, got, want)
		}
	}
	return nil
}
