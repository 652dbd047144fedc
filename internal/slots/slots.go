// Package slots joins the limits of package graph with the slots that package
// jet keeps for all workers, and finds out which names mean one mailbox. It
// promises that clients with one app id, in one process or in many, have one
// count per mailbox. What the limits are is the caller's to say.
package slots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
)

// Options say whose limits they are.
type Options struct {
	// App is the app id, by which Outlook counts.
	App string
	// Name is the client's, or that of the first of several; it labels metrics.
	Name string
	// Limits bound the use of each mailbox. All workers must have the same.
	Limits graph.Limits
	// Conn leads to the other workers.
	Conn *jet.Conn
	// Lease replaces [jet.DefaultLease], for tests.
	Lease time.Duration
	// Accounts returns the account behind each client of the app, for those
	// whose grants this process holds. It is asked often and must not wait.
	Accounts func() map[string]Account
	// Log and Registerer may be nil.
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Account is who signed in at a client, as far as that is known.
type Account struct{ ObjectID, UPN string }

// App keeps the limits of one app id. Its methods may be called at the same
// time. Close it before the connection.
type App struct {
	o       Options
	limiter *graph.Limiter
	slots   *jet.Slots
	names   names
}

// New begins to keep limits. ctx bounds the life of what runs behind, as Close
// does.
func New(ctx context.Context, o Options) (*App, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	a := &App{o: o}
	var err error
	a.limiter, err = graph.NewLimiter(graph.LimiterOptions{
		Limits: o.Limits, Slots: (*seam)(a), Uses: (*seam)(a), Name: o.Name, Registerer: o.Registerer,
	})
	if err != nil {
		return nil, fmt.Errorf("limits of %s: %w", o.Name, err)
	}
	// What it tells the limiter before this returns needs no slots.
	if a.slots, err = o.Conn.Slots(ctx, jet.SlotsOptions{App: o.App, Lease: o.Lease, Listener: a.limiter}); err != nil {
		return nil, fmt.Errorf("slots of %s: %w", o.Name, err)
	}
	a.names.known = map[string]known{}
	a.names.begin(ctx, a)
	return a, nil
}

// Limiter returns the limits, for [graph.Options].
func (a *App) Limiter() *graph.Limiter { return a.limiter }

// Held returns how many slots this process holds.
func (a *App) Held() int { return a.slots.Held() }

// Close gives all slots back.
func (a *App) Close() {
	a.names.stop()
	a.limiter.Close()
	a.slots.Close()
}

// Stricter returns limits that keep both: clients with one app id share what
// Outlook counts, whatever each of them was configured with.
func Stricter(a, b graph.Limits) graph.Limits {
	out := a
	if a.Concurrency <= 0 || b.Concurrency > 0 && b.Concurrency < a.Concurrency {
		out.Concurrency = b.Concurrency
	}
	if slower(int64(b.Requests), b.RequestWindow, int64(a.Requests), a.RequestWindow) {
		out.Requests, out.RequestWindow = b.Requests, b.RequestWindow
	}
	if slower(b.UploadBytes, b.UploadWindow, a.UploadBytes, a.UploadWindow) {
		out.UploadBytes, out.UploadWindow = b.UploadBytes, b.UploadWindow
	}
	return out
}

// slower reports that n per span is less than m per width; unset is no limit
// here, since the limiter has its own.
func slower(n int64, span time.Duration, m int64, width time.Duration) bool {
	if n <= 0 || span <= 0 {
		return false
	}
	return m <= 0 || width <= 0 || float64(n)/span.Seconds() < float64(m)/width.Seconds()
}

// seam is an App as the limiter sees it.
type seam App

var (
	_ graph.Slots = (*seam)(nil)
	_ graph.Uses  = (*seam)(nil)
)

// Take takes a slot.
func (s *seam) Take(ctx context.Context, mailbox string, limit int) (graph.Slot, time.Duration, error) {
	slot, wait, err := s.slots.Take(ctx, mailbox, limit)
	if err != nil || slot == nil {
		if err != nil && ctx.Err() == nil {
			s.o.Log.DebugContext(ctx, "no slot", "error", err)
		}
		return nil, wait, err
	}
	return heldSlot{slot}, 0, nil
}

// heldSlot is a slot as the limiter sees it.
type heldSlot struct{ *jet.Slot }

// Release gives it back.
func (s heldSlot) Release(next string) { s.HandTo(next) }

// Want tells the other workers that one waits here.
func (s *seam) Want(mailbox string, held int) { s.slots.Want(mailbox, held) }

// Park tells the other workers to leave a mailbox alone.
func (s *seam) Park(mailbox string, wait time.Duration) { s.slots.Park(mailbox, wait) }

// Waits is how long no slot can be taken.
func (s *seam) Waits() time.Duration { return s.slots.Waits() }

// Load reads what was used of a mailbox.
func (s *seam) Load(ctx context.Context, mailbox string) ([]byte, uint64, error) {
	return s.slots.Load(ctx, mailbox)
}

// Store writes what was used of a mailbox.
func (s *seam) Store(ctx context.Context, mailbox string, data []byte, revision uint64, life time.Duration) (uint64, bool, error) {
	now, err := s.slots.Store(ctx, mailbox, data, revision, life)
	if errors.Is(err, jet.ErrConflict) {
		return 0, false, nil
	}
	return now, err == nil, err
}
