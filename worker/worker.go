package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/config"
	"outlook-connector/internal/audit"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/telemetry"
	"outlook-connector/tokenstore"
)

// Role is a part of the work that a process takes on.
type Role string

// The roles.
const (
	// RoleSubscriber polls feeds.
	RoleSubscriber Role = "subscriber"
	// RolePublisher carries out commands.
	RolePublisher Role = "publisher"
	// RoleTokens holds the token store, where no other process does, and gives
	// access tokens to the other workers. A process without it asks.
	RoleTokens Role = "tokens"
	// RoleHTTP serves health, metrics, the sign-in and the page.
	RoleHTTP Role = "http"
)

// Roles returns all roles.
func Roles() []Role { return []Role{RoleSubscriber, RolePublisher, RoleTokens, RoleHTTP} }

// feedParallel is how many feeds a process polls at a time.
const feedParallel = 64

// Options say what runs. Config is required.
type Options struct {
	// Config is a configuration that was loaded without problems.
	Config *config.Config
	// Roles are what this process takes on; nil means all.
	Roles []Role
	// Version shows in status and metrics.
	Version string
	// Log takes the log; nil discards it.
	Log *slog.Logger
	// OpenListener lets everybody on this machine into the embedded NATS
	// without a credential. For demonstrations.
	OpenListener bool

	registry *prometheus.Registry
	tracer   trace.Tracer // nil: off
	// streamsEvery is another pace for [streamsEvery], for tests; zero is none.
	streamsEvery time.Duration
}

func (o Options) registerer() prometheus.Registerer {
	if o.registry == nil {
		return nil
	}
	return o.registry
}

func (o Options) has(role Role) bool { return slices.Contains(o.Roles, role) }

// Worker is one running process. Its life is [New], [Worker.Start],
// [Worker.Stop]; it cannot be started twice.
type Worker struct {
	o      Options
	log    *slog.Logger
	checks health.Checks

	server  *embedded.Server // nil where NATS is elsewhere
	conn    *jet.Conn
	joined  bool            // over the listener of another process of this machine
	audit   *audit.Recorder // nil: off
	tokens  *tokenstore.Shared
	outlook outlook
	http    *httpd.Server // nil without the role

	now     atomic.Pointer[generation]
	shifts  shifts
	reloads reloads
	stock   stock
	clock   clock

	mu      sync.Mutex
	stops   []stop
	started bool
	stopped bool
	failed  chan error
	signIns chan string // clients that somebody has just signed in for
}

// New checks the options. It opens nothing.
func New(o Options) (*Worker, error) {
	if o.Config == nil {
		return nil, errors.New("worker: no configuration")
	}
	if len(o.Roles) == 0 {
		o.Roles = Roles()
	}
	for _, role := range o.Roles {
		if !slices.Contains(Roles(), role) {
			return nil, fmt.Errorf("no role %q: use subscriber, publisher, tokens or http", role)
		}
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Version = cmp.Or(o.Version, "dev")
	o.registry = telemetry.NewRegistry(o.Version)
	o.Log = telemetry.CountLines(o.Log, o.registry)
	w := &Worker{o: o, log: o.Log, failed: make(chan error, 1), signIns: make(chan string, 16)}
	w.now.Store(&generation{config: o.Config})
	w.reloads.metrics = newReloadMetrics(o.registry)
	return w, nil
}

// Start brings the process up and returns when it runs; it does not wait for
// NATS or Graph, whose absence [Worker.Conditions] tells. Where a step fails,
// what was started before is stopped again. ctx bounds Start only.
func (w *Worker) Start(ctx context.Context) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started {
		return errors.New("worker: started already")
	}
	w.started = true
	defer func() {
		if err != nil {
			err = errors.Join(err, w.unwind(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []func(context.Context) error{
		w.startTraces, w.startNATS, w.startAudit, w.startTokens, w.startOutlook, w.prepareRoles, w.addConditions, w.startHTTP,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	w.checks.Add("configuration", health.Degraded, w.reloads.refused)
	w.reloads.metrics.taken()
	w.startEngine(context.WithoutCancel(ctx))
	w.log.InfoContext(ctx, "worker started", "roles", w.o.Roles, "nats", w.conn.Server().Address, "http", w.HTTPURL(), "joined", w.joined)
	return nil
}

// Stop brings the process down in the reverse order: it takes no more work,
// finishes or gives back what it has in hand, and closes what it opened. It
// returns at the latest when ctx ends. A second Stop does nothing.
func (w *Worker) Stop(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.unwind(ctx)
	if w.started && !w.stopped {
		w.stopped = true
		w.log.InfoContext(ctx, "worker stopped")
	}
	return err
}

// Failed yields an error that ends the process's usefulness, such as streams
// that do not fit. It yields at most one.
func (w *Worker) Failed() <-chan error { return w.failed }

func (w *Worker) fail(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// HTTPURL returns the root of the HTTP side, "" without the role.
func (w *Worker) HTTPURL() string {
	if w.http == nil {
		return ""
	}
	return w.http.URL()
}

// NATSURL returns the embedded server's listener, "" where there is none.
func (w *Worker) NATSURL() string {
	if w.server == nil {
		return ""
	}
	return w.server.URL()
}

// Conn returns the connection to NATS, for commands that run in this process.
func (w *Worker) Conn() *jet.Conn { return w.conn }

// Conditions runs the health checks.
func (w *Worker) Conditions(ctx context.Context) []health.Condition { return w.checks.List(ctx) }
