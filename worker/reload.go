package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
)

// checkCommand tells all that is wrong with a configuration.
const checkCommand = "outlook-connector config check"

// reloadPatience bounds how long a reload waits for the streams to have the ages
// that a configuration needs. Where NATS is away they get them when it is back.
const reloadPatience = 15 * time.Second

// reloads are the attempts to take another configuration.
type reloads struct {
	turn    sync.Mutex // one at a time
	metrics *reloadMetrics

	mu  sync.Mutex
	err error // why the newest one was not taken
}

// refused is the condition of the configuration.
func (r *reloads) refused(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *reloads) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// The results of a reload.
const (
	reloadTaken     = "taken"
	reloadUnchanged = "unchanged"
	reloadInvalid   = "invalid" // the file has mistakes
	reloadRefused   = "refused" // it needs a restart
	reloadFailed    = "failed"  // something else is in the way
)

type reloadMetrics struct {
	total *prometheus.CounterVec
	last  prometheus.Gauge
}

func newReloadMetrics(reg prometheus.Registerer) *reloadMetrics {
	m := &reloadMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_config_reloads_total",
			Help: "Configurations that were read while the process ran, by result (taken, unchanged, invalid, refused, failed).",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "outlook_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last read and found good, at the start or later.",
		}),
	}
	for _, result := range []string{reloadTaken, reloadUnchanged, reloadInvalid, reloadRefused, reloadFailed} {
		m.total.WithLabelValues(result)
	}
	reg.MustRegister(m.total, m.last)
	return m
}

func (m *reloadMetrics) taken() { m.last.SetToCurrentTime() }

// Reload takes the configuration that load returns, whole or not at all.
// Subscriptions and publishers come, go and change without a restart; where
// anything else differs, or load fails, everything stays as it is. The error
// says why, as the condition "configuration" does until a reload succeeds, and is
// logged already. What changed is taken over from the cores before as by a worker
// that takes the place of another one: nothing is lost and nothing done twice.
//
// It may be called at any time after [Worker.Start], NATS there or not.
func (w *Worker) Reload(ctx context.Context, load func() (*config.Config, error)) error {
	r := &w.reloads
	r.turn.Lock()
	defer r.turn.Unlock()
	result, changes, err := w.reload(ctx, load)
	r.metrics.total.WithLabelValues(result).Inc()
	r.note(err)
	switch {
	case err != nil:
		w.log.ErrorContext(ctx, "configuration not taken, the one before stays", "result", result, "error", err, "hint", fault.HintOf(err))
		return err
	case result == reloadTaken:
		w.log.InfoContext(ctx, "configuration taken", "subscriptions", logged(changes.Subscriptions), "publishers", logged(changes.Publishers))
	default:
		w.log.InfoContext(ctx, "configuration read, nothing is different")
	}
	r.metrics.taken()
	return nil
}

// logged is what changed, without what there is nothing of.
func logged(c config.NameChanges) slog.Value {
	var attrs []slog.Attr
	for _, what := range []struct {
		key   string
		names []string
	}{{"added", c.Added}, {"changed", c.Changed}, {"removed", c.Removed}} {
		if len(what.names) > 0 {
			attrs = append(attrs, slog.Any(what.key, what.names))
		}
	}
	return slog.GroupValue(attrs...)
}

func (w *Worker) reload(ctx context.Context, load func() (*config.Config, error)) (result string, changes config.Changes, err error) {
	c, err := load()
	if err != nil {
		return reloadInvalid, changes, badFile(err)
	}
	before := w.current()
	changes = config.Compare(before.config, c)
	switch {
	case len(changes.Fixed) > 0:
		return reloadRefused, changes, needsRestart(changes.Fixed)
	case changes.None():
		return reloadUnchanged, changes, nil
	}
	next, err := w.nextGeneration(before, c, changes)
	if err != nil {
		return reloadInvalid, changes, err
	}
	if err := w.keepFor(ctx, before.config, c); err != nil {
		return reloadFailed, changes, err
	}
	w.shifts.follow(ctx, w, next)
	return reloadTaken, changes, nil
}

// nextGeneration makes the cores of a configuration that differ from those that
// run.
func (w *Worker) nextGeneration(before *generation, c *config.Config, changes config.Changes) (*generation, error) {
	next := &generation{config: c, subscriber: before.subscriber, publisher: before.publisher, parallel: before.parallel}
	if !changes.Subscriptions.None() {
		if err := w.newSubscriber(next); err != nil {
			return nil, err
		}
	}
	if !changes.Publishers.None() {
		if err := w.newPublisher(next); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// keepFor has the streams keep what the configuration needs kept, before anything
// is done by it. Only what cannot be had at all is an error.
func (w *Worker) keepFor(ctx context.Context, before, after *config.Config) error {
	if ledgerAge(before) == ledgerAge(after) && blobAge(before) == blobAge(after) {
		return nil
	}
	w.conn.KeepFor(ledgerAge(after), blobAge(after))
	if w.conn.Ready() != nil {
		return nil // the streams are seen to as soon as they are there
	}
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	err := w.conn.EnsureStreams(ctx)
	if fault.KindOf(err) != fault.Fatal {
		return nil // nil, too; else it is tried again by watchStreams
	}
	w.conn.KeepFor(ledgerAge(before), blobAge(before))
	return errors.Join(err, w.conn.EnsureStreams(ctx))
}

// badFile tells of the first problems of a file with their places.
func badFile(err error) error {
	const most = 5
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) == 0 {
		return fault.New(fault.Poison, "%w", err).WithCode("configuration").WithHint(checkCommand)
	}
	texts := make([]string, 0, most+1)
	for i, p := range problems {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(problems)-most))
			break
		}
		texts = append(texts, p.Place()+": "+p.Text)
	}
	hint := "mend the file, it is taken when it is good: " + checkCommand
	if len(problems) == 1 && problems[0].Hint != "" {
		hint = problems[0].Hint
	}
	return fault.New(fault.Poison, "the configuration file has mistakes, and the one before is followed: %s", strings.Join(texts, "; ")).
		WithCode("configuration").WithHint("%s", hint)
}

// needsRestart tells what a process reads only when it starts.
func needsRestart(keys []string) error {
	verb := "are"
	if len(keys) == 1 {
		verb = "is"
	}
	return fault.New(fault.Poison, "%s %s different in the configuration file and cannot change in a running process, so nothing of the file was taken",
		some(keys), verb).WithCode("restart_needed").WithHint("restart the process, or put %s back as it was", them(keys))
}

func them(keys []string) string {
	if len(keys) == 1 {
		return "it"
	}
	return "them"
}
