package worker

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/jet"
)

// registerMetrics registers what is worked out when somebody asks.
func (w *Worker) registerMetrics() error {
	if err := errors.Join(w.o.registry.Register(newStockCollector(w)), w.o.registry.Register(newSelfCollector(w))); err != nil {
		return fault.New(fault.Fatal, "register metrics: %w", err)
	}
	return nil
}

// stockCollector tells what NATS holds. Every worker tells the same: the maximum
// over the workers is right, and their sum is not. Where NATS has not answered for
// a minute it tells nothing.
type stockCollector struct {
	w *Worker

	messages, bytes, limit             *prometheus.Desc
	ready, held, lanes, inLanes, feeds *prometheus.Desc
	dead, deadAge, uncertain, lookedAt *prometheus.Desc
}

func newStockCollector(w *Worker) *stockCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("outlook_"+name, help+" The same in every worker: take the maximum.", labels, nil)
	}
	return &stockCollector{
		w:         w,
		messages:  desc("stream_messages", "Messages in a stream.", "stream"),
		bytes:     desc("stream_bytes", "Bytes in a stream.", "stream"),
		limit:     desc("stream_limit_bytes", "Bytes that a stream may have, where it has a bound.", "stream"),
		ready:     desc("commands_ready", "Commands that could be carried out now and that no worker has begun: without those that wait for their mailbox or their time, and those of mailbox tails."),
		held:      desc("commands_held", "Commands that workers have, or have put off: for their mailbox, for their time, or after a failure."),
		lanes:     desc("lanes", "Mailbox tails that have commands, which are carried out one after the other."),
		inLanes:   desc("lane_commands", "Commands of mailbox tails, those that are being carried out included."),
		feeds:     desc("feeds_unpolled", "Feeds that no worker has taken yet, ever."),
		dead:      desc("dead_letters", "Stored dead letters by kind: publish (commands) and event (entities).", "kind"),
		deadAge:   desc("dead_letter_oldest_seconds", "Age of the oldest dead letter; zero where there is none."),
		uncertain: desc("dead_letters_uncertain", "Dead letters of commands that may or may not have had their effect."),
		lookedAt: prometheus.NewDesc("outlook_stock_age_seconds",
			"How long ago this worker asked NATS for what it holds: streams, dead letters, lanes, commands ready and held.", nil, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *stockCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.messages, c.bytes, c.limit, c.ready, c.held, c.lanes, c.inLanes, c.feeds, c.dead, c.deadAge, c.uncertain, c.lookedAt,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *stockCollector) Collect(ch chan<- prometheus.Metric) {
	stock, ok := c.w.stock.now()
	if !ok {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.lookedAt, time.Since(stock.at).Seconds())
	for _, s := range stock.streams {
		if s.Missing {
			continue
		}
		gauge(c.messages, float64(s.Messages), s.Name)
		gauge(c.bytes, float64(s.Bytes), s.Name)
		if s.MaxBytes > 0 {
			gauge(c.limit, float64(s.MaxBytes), s.Name)
		}
	}
	names := c.w.conn.Names()
	if consumer, ok := stock.consumer(names.PublishStream()); ok {
		gauge(c.ready, float64(consumer.Pending))
		gauge(c.held, float64(consumer.Held))
	}
	if consumer, ok := stock.consumer(names.FeedsStream()); ok {
		gauge(c.feeds, float64(consumer.Pending))
	}
	gauge(c.lanes, float64(stock.lanes.Lanes))
	gauge(c.inLanes, float64(stock.lanes.Commands))
	for _, kind := range []string{deadPublish, deadEvent} {
		gauge(c.dead, float64(stock.dead[kind]), kind)
	}
	age := 0.0
	if letters, ok := stock.stream(names.DeadStream()); ok && !letters.First.IsZero() {
		age = time.Since(letters.First).Seconds()
	}
	gauge(c.deadAge, age)
	if stock.uncertain >= 0 {
		gauge(c.uncertain, float64(stock.uncertain))
	}
}

// consumer returns the shared consumer of a stream.
func (h holdings) consumer(stream string) (jet.ConsumerStatus, bool) {
	s, ok := h.stream(stream)
	if !ok || len(s.Consumers) == 0 {
		return jet.ConsumerStatus{}, false
	}
	return s.Consumers[0], true
}

// selfCollector tells the state of this process: its conditions, its disks, its
// clock, and the credentials of its clients.
type selfCollector struct {
	w *Worker

	conditions, free, size, skew, credential *prometheus.Desc
}

func newSelfCollector(w *Worker) *selfCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("outlook_"+name, help, labels, nil)
	}
	return &selfCollector{
		w: w,
		conditions: desc("conditions", "1 where a condition fails by itself, 0 where it holds or fails because of another one. The client is that which it is about, or empty.",
			"code", "client", "severity"),
		free:       desc("disk_free_bytes", "Free room of the disk where something is kept: nats (the embedded server's streams) or tokens.", "place"),
		size:       desc("disk_size_bytes", "Size of that disk.", "place"),
		skew:       desc("clock_skew_seconds", "How far the clock of this machine is ahead of Microsoft Graph's, within a second or two; negative where it is behind."),
		credential: desc("credential_expiry_seconds", "Seconds until the certificate of a client ends, in the worker that owns the tokens; negative when it has ended.", "client"),
	}
}

// Describe implements [prometheus.Collector].
func (c *selfCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.conditions, c.free, c.size, c.skew, c.credential} {
		ch <- d
	}
}

// collectPatience bounds the checks of one scrape.
const collectPatience = 5 * time.Second

// Collect implements [prometheus.Collector].
func (c *selfCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectPatience)
	defer cancel()
	for _, condition := range c.w.checks.List(ctx) {
		gauge(c.conditions, failsItself(condition), condition.Family(), condition.About(), string(condition.Severity))
	}
	for place, room := range c.w.disks() {
		gauge(c.free, float64(room.free), place)
		gauge(c.size, float64(room.size), place)
	}
	if skew, seen := c.w.clock.now(); seen {
		gauge(c.skew, skew.Seconds())
	}
	for _, client := range c.w.tokens.Status().Clients {
		if !client.CredentialEnds.IsZero() {
			gauge(c.credential, time.Until(client.CredentialEnds).Seconds(), client.Client)
		}
	}
}

func failsItself(c health.Condition) float64 {
	if c.OK || c.Because != "" {
		return 0
	}
	return 1
}
