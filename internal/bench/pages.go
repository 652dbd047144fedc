package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// prefix keeps the streams apart from those of real workers.
	prefix = "outlook-bench"
	// together is how many feeds a worker polls at a time.
	together = 64
	// lookEvery is how often the sink is asked how far it is; rarely, because that
	// costs what is measured. lookClosely is for the end, which is timed by it.
	lookEvery   = 100 * time.Millisecond
	lookClosely = 5 * time.Millisecond
	// settled is after which time no more feeds are waited for: of large pages a
	// worker reads fewer at a time than it has feeds.
	settled = 4 * time.Second
	// stuckAfter is how long nothing may happen.
	stuckAfter = time.Minute
)

// pages measures the way of pages into the stream.
func (i Ingest) pages(ctx context.Context, s server, run *IngestRun) (err error) {
	i.frame().tell("pages of %d × %d bytes from %d feeds%s", i.Items, i.Size, i.Feeds, synced(run.SyncAlways))
	sink, err := spawn(ctx, "sink", i.Command, Spec{Sink: &SinkSpec{Feeds: i.Feeds, Pages: i.Pages, Items: i.Items, Size: i.Size, For: i.For}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.end()) }()
	file, err := i.writeConfig(s, sink.url)
	if err != nil {
		return err
	}
	stream, err := openStream(s.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.close(ctx, s.own == nil)) }()
	if s.own == nil {
		if err := stream.remove(ctx); err != nil { // of a measurement that was broken off
			return err
		}
	}
	spec := WorkerSpec{Config: file, CPUProfile: i.profile(run, "cpu"), HeapProfile: i.profile(run, "heap")}
	worker, err := spawn(ctx, "worker", i.Command, Spec{Worker: &spec})
	if err != nil {
		return err
	}
	defer func() {
		if failed := worker.end(); err == nil {
			err = failed
		}
	}()
	return i.watch(ctx, sink, worker, s, stream, run)
}

// watch lets the sink begin and looks until everything is stored.
func (i Ingest) watch(ctx context.Context, sink, worker *process, nats server, stream *events, run *IngestRun) error {
	web := &http.Client{Timeout: 10 * time.Second}
	defer web.CloseIdleConnections()
	waiting, since := 0, time.Now()
	state, err := until(ctx, lookEvery, worker, func() (SinkState, bool, error) {
		state, err := askSink(ctx, web, http.MethodGet, sink.url+sinkState)
		if state.Waiting != waiting {
			waiting, since = state.Waiting, time.Now()
		}
		return state, waiting >= min(i.Feeds, together) || waiting > 0 && time.Since(since) > settled, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d feeds have begun: %w", state.Waiting, i.Feeds, err)
	}
	before, sinkBefore, serverBefore := worker.usage(), sink.usage(), nats.usage()
	began := time.Now()
	if _, err := askSink(ctx, web, http.MethodPost, sink.url+sinkGo); err != nil {
		return err
	}
	if state, err = until(ctx, lookEvery, worker, func() (SinkState, bool, error) {
		state, err := askSink(ctx, web, http.MethodGet, sink.url+sinkState)
		return state, state.Ended >= i.Feeds, err
	}); err != nil {
		return fmt.Errorf("%d of %d feeds were read to their end: %w", state.Ended, i.Feeds, err)
	}
	want := state.Pages * i.Items
	stored, err := until(ctx, lookClosely, worker, func() (int, bool, error) {
		n, err := stream.count(ctx)
		return n, n >= want, err
	})
	run.Seconds = time.Since(began).Seconds()
	if err != nil {
		return fmt.Errorf("%d of %d entities are stored: %w", stored, want, err)
	}
	if stored != want {
		return fmt.Errorf("%d entities are stored, %d were read", stored, want)
	}
	after, sinkAfter, serverAfter := worker.usage(), sink.usage(), nats.usage()
	if run.like, err = stream.samples(ctx); err != nil {
		return err
	}
	run.Entities, run.Rate = stored, float64(stored)/run.Seconds
	run.MBps = run.Rate * float64(i.Size) / 1e6
	run.P50, run.P99 = milliseconds(state.P50), milliseconds(state.P99)
	each := float64(stored) / 10_000
	run.WorkerCPU, run.SinkCPU = (after.CPU-before.CPU)/each, (sinkAfter.CPU-sinkBefore.CPU)/each
	run.RSSIdle, run.RSSPeak = before.RSS, after.Peak
	run.ServerCPU = (serverAfter.CPU - serverBefore.CPU) / each
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// until asks until it is done. It gives up where the answer stays the same for
// long: the worker's log then says more.
func until[T comparable](ctx context.Context, every time.Duration, worker *process, ask func() (T, bool, error)) (last T, err error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	changed := time.Now()
	for {
		now, done, err := ask()
		switch {
		case err != nil:
			return last, err
		case done:
			return now, nil
		case now != last:
			last, changed = now, time.Now()
		case time.Since(changed) > stuckAfter:
			return last, fmt.Errorf("nothing has happened for %v; the worker says: %s", stuckAfter, worker.err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return last, context.Cause(ctx)
		}
	}
}

func askSink(ctx context.Context, web *http.Client, method, url string) (state SinkState, err error) {
	err = askFor(ctx, web, method, url, &state)
	return state, err
}

// askFor asks a sink; a nil answer means that there is nothing to know.
func askFor(ctx context.Context, web *http.Client, method, url string, to any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := web.Do(req)
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && to != nil {
		err = json.Unmarshal(body, to)
	}
	if err != nil {
		return fmt.Errorf("ask the sink: %w", err)
	}
	return nil
}

// writeConfig writes the worker's configuration. JSON is YAML, too.
func (i Ingest) writeConfig(s server, sink string) (string, error) {
	mailboxes := make([]string, i.Feeds)
	for n := range mailboxes {
		mailboxes[n] = fmt.Sprintf("user-%05d@contoso.example", n)
	}
	text, err := json.Marshal(map[string]any{
		"nats":        map[string]any{"url": s.url, "prefix": prefix},
		"token_store": map[string]any{"path": filepath.Join(s.dir, "tokens.db"), "key": strings.Repeat("00", 32)},
		"clients": []any{map[string]any{
			"name": "bench", "tenant": "contoso.example", "grant": "client_credentials", "client_id": "bench", "client_secret": "bench",
			"token_url": sink + sinkToken, "base_url": sink + sinkBase,
			"limits": map[string]any{"requests": "1000000/10m"},
		}},
		"subscriptions": []any{map[string]any{
			"name": "bench", "client": "bench", "entity": "mail.message.delta", "mailboxes": mailboxes,
			"path": map[string]any{"mailFolder-id": "inbox"}, "start": "all", "every": "24h",
			"headers": map[string]any{"Prefer": fmt.Sprintf("odata.maxpagesize=%d", i.Items)},
		}},
		"http": map[string]any{"listen": "127.0.0.1:0"},
		"log":  map[string]any{"level": "warn", "format": "text"},
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "outlook-connector.yaml")
	return file, os.WriteFile(file, text, 0o600)
}

// events is the stream that the worker fills, as an onlooker sees it.
type events struct {
	nc *nats.Conn
	js jetstream.JetStream
}

func openStream(url string) (*events, error) {
	nc, err := nats.Connect(url, nats.Name("bench"))
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &events{nc, js}, nil
}

// count returns how many events are stored.
func (e *events) count(ctx context.Context) (int, error) {
	stream, err := e.js.Stream(ctx, eventsStream)
	if err != nil {
		return 0, fmt.Errorf("read the stream: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+".event.>"))
	if err != nil {
		return 0, fmt.Errorf("read the stream: %w", err)
	}
	total := 0
	for _, n := range info.State.Subjects {
		total += int(n)
	}
	return total, nil
}

// samples returns an event of each mailbox, or of so many that it makes no
// difference.
func (e *events) samples(ctx context.Context) ([]Sample, error) {
	const enough = 64
	stream, err := e.js.Stream(ctx, eventsStream)
	if err != nil {
		return nil, fmt.Errorf("read the stream: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+".event.>"))
	if err != nil {
		return nil, fmt.Errorf("read the stream: %w", err)
	}
	subjects := slices.Sorted(maps.Keys(info.State.Subjects))
	var list []Sample
	for _, subject := range subjects[:min(len(subjects), enough)] {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return nil, fmt.Errorf("read an event: %w", err)
		}
		list = append(list, sampled(subject, msg.Header))
	}
	return list, nil
}

// eventsStream is the stream's name with the prefix.
const eventsStream = "OUTLOOK-BENCH_EVENTS"

// close ends the connection and, where the server is not ours, removes what the
// worker has made there.
func (e *events) close(ctx context.Context, remove bool) error {
	defer e.nc.Close()
	if !remove {
		return nil
	}
	return e.remove(ctx)
}

// remove removes what a worker has made there.
func (e *events) remove(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var problems []error
	names := e.js.StreamNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(strings.TrimPrefix(name, "OBJ_"), strings.ToUpper(prefix)+"_") {
			problems = append(problems, e.js.DeleteStream(ctx, name))
		}
	}
	return errors.Join(append(problems, names.Err())...)
}
