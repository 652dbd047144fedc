package jet_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestStreamsAreMadeAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect(func(o *jet.Options) { o.AckWait = 0 })
	js := must(jetstream.New(w.raw()))

	type shape struct {
		Subjects                            string
		Retention                           jetstream.RetentionPolicy
		Discard                             jetstream.DiscardPolicy
		PerSubject                          int64
		DiscardNewPerSubject                bool
		MaxAge                              time.Duration
		Atomic, Rollup, TTL, Direct         bool
		Duplicates                          time.Duration
		Storage                             jetstream.StorageType
		Replicas, Consumers                 int
		MaxMsgs, MaxBytes                   int64
		DenyPurge, DenyDelete, AllowBatched bool
	}
	const dedupe = 10 * time.Minute
	usual := shape{PerSubject: -1, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute, Replicas: 1, Consumers: -1, MaxMsgs: -1, MaxBytes: -1}
	with := func(f func(*shape)) shape { s := usual; f(&s); return s }
	want := map[string]shape{
		"OUTLOOK_EVENTS": with(func(s *shape) {
			s.Subjects, s.Atomic, s.Rollup, s.TTL = "outlook.event.> outlook.cursor.> outlook.index.>", true, true, true
		}),
		"OUTLOOK_FEEDS": with(func(s *shape) {
			s.Subjects, s.Retention, s.PerSubject, s.Discard = "outlook.feed.>", jetstream.WorkQueuePolicy, 1, jetstream.DiscardOld
		}),
		"OUTLOOK_PUBLISH": with(func(s *shape) {
			s.Subjects, s.Retention, s.Duplicates, s.Consumers = "outlook.publish.>", jetstream.WorkQueuePolicy, dedupe, 10_000
		}),
		"OUTLOOK_LEDGER": with(func(s *shape) {
			s.Subjects, s.PerSubject, s.MaxAge, s.Atomic = "outlook.ledger.>", 1, 14*24*time.Hour, true
		}),
		"OUTLOOK_RESULT": with(func(s *shape) {
			s.Subjects, s.PerSubject, s.MaxAge, s.Discard = "outlook.result.>", 1, 72*time.Hour, jetstream.DiscardOld
			s.Atomic = true
		}),
		"OUTLOOK_DLQ": with(func(s *shape) {
			s.Subjects, s.MaxAge, s.Duplicates = "outlook.dlq.>", 30*24*time.Hour, 3*24*time.Hour
		}),
		"OUTLOOK_SEM": with(func(s *shape) {
			s.Subjects = "outlook.sem.> outlook.park.> outlook.use.> outlook.who.>"
			s.PerSubject, s.DiscardNewPerSubject, s.Rollup, s.TTL, s.Storage = 1, true, true, true, jetstream.MemoryStorage
		}),
		"OUTLOOK_TOKEN": with(func(s *shape) {
			s.Subjects, s.PerSubject, s.Discard = "outlook.token.v1.owner", 1, jetstream.DiscardOld
		}),
	}
	got := map[string]shape{}
	for info := range js.ListStreams(t.Context()).Info() {
		c := info.Config
		if c.Name == "OBJ_OUTLOOK_BLOB" {
			if c.MaxAge != 45*24*time.Hour || c.Storage != jetstream.FileStorage {
				t.Errorf("bucket: age %s, storage %s", c.MaxAge, c.Storage)
			}
			continue
		}
		got[c.Name] = shape{
			Subjects: strings.Join(c.Subjects, " "), Retention: c.Retention, Discard: c.Discard, PerSubject: c.MaxMsgsPerSubject,
			DiscardNewPerSubject: c.DiscardNewPerSubject, MaxAge: c.MaxAge, Atomic: c.AllowAtomicPublish, Rollup: c.AllowRollup,
			TTL: c.AllowMsgTTL, Direct: c.AllowDirect, Duplicates: c.Duplicates, Storage: c.Storage, Replicas: c.Replicas,
			Consumers: c.MaxConsumers, MaxMsgs: c.MaxMsgs, MaxBytes: c.MaxBytes, DenyPurge: c.DenyPurge, DenyDelete: c.DenyDelete,
			AllowBatched: c.AllowBatchPublish,
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams differ (-want +got):\n%s", diff)
	}
	for stream, row := range map[string]struct{ name, filter string }{
		"OUTLOOK_FEEDS": {"poll", "outlook.feed.>"}, "OUTLOOK_PUBLISH": {"publish", "outlook.publish.*"},
	} {
		c := must(js.Consumer(t.Context(), stream, row.name)).CachedInfo().Config
		if c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxAckPending != -1 || c.MaxDeliver != -1 || c.AckWait != 15*time.Second || len(c.BackOff) != 0 || c.FilterSubject != row.filter {
			t.Errorf("%s.%s is %+v", stream, row.name, c)
		}
	}
}

func TestSettingUpAgainAndAtTheSameTimeChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all sync.WaitGroup
	for range 4 {
		c := w.dial()
		all.Go(func() {
			if err := c.EnsureStreams(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c := w.connect(func(o *jet.Options) { o.ManageStreams = false })
	if err := c.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestWithoutManageStreamsEveryProblemIsListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	js := must(jetstream.New(w.raw()))
	must(js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "OUTLOOK_EVENTS", Subjects: []string{"outlook.event.>"}, MaxAge: time.Hour, AllowDirect: true, Storage: jetstream.MemoryStorage,
	}))
	c := w.dial(audited, func(o *jet.Options) { o.ManageStreams = false; o.Replicas = 3 })
	err := c.EnsureStreams(t.Context())
	setup, ok := errors.AsType[*jet.SetupError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"OUTLOOK_EVENTS.max_age: is 1h0m0s, should be 0s",
		"OUTLOOK_EVENTS.allow_direct: is true, should be false",
		"OUTLOOK_EVENTS.allow_atomic_publish: is false, should be true",
		"OUTLOOK_EVENTS.allow_msg_ttl: is false, should be true",
		"OUTLOOK_EVENTS.discard: is DiscardOld, should be DiscardNew",
		"OUTLOOK_EVENTS.storage: is Memory, should be File",
		"OUTLOOK_EVENTS.replicas: is 1, should be 3",
		"OUTLOOK_EVENTS.subjects: is outlook.event.>, should be outlook.event.> outlook.cursor.> outlook.index.>",
		"OUTLOOK_FEEDS: missing", "OUTLOOK_PUBLISH: missing", "OUTLOOK_LEDGER: missing", "OUTLOOK_RESULT: missing", "OUTLOOK_DLQ: missing", "OUTLOOK_BLOB: missing",
		"OUTLOOK_AUDIT: missing",
	} {
		if !slices.Contains(setup.Problems, want) {
			t.Errorf("%q is not among %q", want, setup.Problems)
		}
	}
	if fault.KindOf(err) != fault.Fatal {
		t.Errorf("kind %s", fault.KindOf(err))
	}
	for _, want := range []string{"outlook-connector setup", "who may make streams", "manage_streams", "audit: {enabled: false}"} {
		if !strings.Contains(fault.HintOf(err), want) {
			t.Errorf("the hint lacks %q: %q", want, fault.HintOf(err))
		}
	}
	hint := fault.HintOf(w.dial(func(o *jet.Options) { o.ManageStreams = false }).EnsureStreams(t.Context()))
	if !strings.Contains(hint, "outlook-connector setup") || strings.Contains(hint, "audit") {
		t.Errorf("without an audit record the hint is %q", hint)
	}
	if ready := c.Ready(); !errors.Is(ready, err) {
		t.Errorf("ready says %v", ready)
	}
}

func TestHarmlessDifferencesAreCorrectedAndAnOperatorsChoicesKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	js := must(jetstream.New(w.raw()))
	change := func(name string, f func(*jetstream.StreamConfig)) {
		config := must(js.Stream(t.Context(), name)).CachedInfo().Config
		f(&config)
		must(js.UpdateStream(t.Context(), config))
	}
	change("OUTLOOK_EVENTS", func(c *jetstream.StreamConfig) {
		c.AllowDirect, c.Discard, c.MaxAge, c.MaxBytes, c.Description = true, jetstream.DiscardOld, time.Hour, 1<<20, "mine"
		c.Subjects = []string{"outlook.event.>", "outlook.cursor.>"}
	})
	change("OUTLOOK_DLQ", func(c *jetstream.StreamConfig) { c.MaxAge = 365 * 24 * time.Hour })
	change("OUTLOOK_PUBLISH", func(c *jetstream.StreamConfig) { c.Subjects = []string{"outlook.publish.*"} }) // as before there were lanes
	consumer := must(js.Consumer(t.Context(), "OUTLOOK_PUBLISH", "publish")).CachedInfo().Config
	consumer.MaxAckPending, consumer.AckWait = 1000, time.Minute
	must(js.UpdateConsumer(t.Context(), "OUTLOOK_PUBLISH", consumer))

	c := w.dial(func(o *jet.Options) { o.ManageStreams = false })
	if err := c.EnsureStreams(t.Context()); err == nil || !strings.Contains(err.Error(), "OUTLOOK_PUBLISH.publish.max_ack_pending: is 1000, should be -1") {
		t.Errorf("got %v", err)
	}
	w.stop() // the first update after a restart of the server answers with the old settings
	w.start()
	w.connect()
	config := must(js.Stream(t.Context(), "OUTLOOK_EVENTS")).CachedInfo().Config
	if config.AllowDirect || config.Discard != jetstream.DiscardNew || config.MaxAge != 0 || len(config.Subjects) != 3 {
		t.Errorf("not corrected: %+v", config)
	}
	if config.MaxBytes != 1<<20 || config.Description != "mine" {
		t.Errorf("not kept: %d, %q", config.MaxBytes, config.Description)
	}
	if got := must(js.Stream(t.Context(), "OUTLOOK_PUBLISH")).CachedInfo().Config.Subjects; !slices.Equal(got, []string{"outlook.publish.>"}) {
		t.Errorf("the stream of commands takes %v", got)
	}
	if age := must(js.Stream(t.Context(), "OUTLOOK_DLQ")).CachedInfo().Config.MaxAge; age != 365*24*time.Hour {
		t.Errorf("dead letters are kept %s now", age)
	}
	if got := must(js.Consumer(t.Context(), "OUTLOOK_PUBLISH", "publish")).CachedInfo().Config; got.MaxAckPending != -1 || got.AckWait != 600*time.Millisecond {
		t.Errorf("consumer not corrected: %+v", got)
	}
}

func TestWhatCannotBeChangedWithoutLossIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	js := must(jetstream.New(w.raw()))
	must(js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OUTLOOK_FEEDS", Subjects: []string{"outlook.feed.>"}, MaxMsgsPerSubject: 10}))
	err := w.dial().EnsureStreams(t.Context())
	if fault.KindOf(err) != fault.Fatal || !strings.Contains(err.Error(), "OUTLOOK_FEEDS.retention: is Limits, should be WorkQueue") ||
		!strings.Contains(err.Error(), "OUTLOOK_FEEDS.max_msgs_per_subject: is 10, should be 1") {
		t.Errorf("got %v", err)
	}
	if got := must(js.Stream(t.Context(), "OUTLOOK_FEEDS")).CachedInfo().Config; got.MaxMsgsPerSubject != 10 {
		t.Error("a refused stream was changed all the same")
	}
}

func TestAPassingTroubleIsWaitedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dial()
	w.mute()
	set := make(chan error, 1)
	go func() { set <- c.EnsureStreams(t.Context()) }()
	select {
	case err := <-set:
		t.Fatalf("ended with %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.cut()
	if err := <-set; err != nil {
		t.Error(err)
	}
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
}

func TestTwoPrefixesShareAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.connect(), w.connect(func(o *jet.Options) { o.Prefix = "sales" })
	commit(t, a, "me", 0, 1)
	if _, seq, err := b.Cursor(t.Context(), must(b.Names().Cursor("inbox", "-", "me"))); seq != 0 || err != nil {
		t.Errorf("the other prefix sees sequence %d (%v)", seq, err)
	}
	for _, s := range must(b.Status(t.Context())) {
		if s.Missing || s.Messages != 0 || !strings.HasPrefix(s.Name, "SALES_") {
			t.Errorf("status %+v", s)
		}
	}
}
