package tokenstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"outlook-connector/internal/fault"
)

// tryEvery is how often a client looks whether the file is free.
const tryEvery = 3 * time.Second

// AnswerFunc answers one question about a client; see [Service.Answer].
type AnswerFunc func(ctx context.Context, client string, request []byte) []byte

// SharedOptions are what a [Shared] works with.
type SharedOptions struct {
	// Store is the file that the processes of one machine share.
	Store Options
	// Clients are the clients of the configuration.
	Clients []Client
	// AskOnly leaves the file alone: this process asks and never owns.
	AskOnly bool
	// Ask asks the process that holds the file. Nil where nobody can be asked.
	Ask AskFunc
	// Serve begins to answer the others, and returns what ends that. It is
	// called only while this process holds the file. Nil where nobody asks.
	Serve func(answer AnswerFunc) (stop func(), err error)
	// Leases is where the processes agree on one owner, which a lock on a file
	// cannot do for processes with files of their own. Nil where there is no such
	// place: the lock alone decides.
	Leases Leases
	// LeaseFor replaces [DefaultLease]; all processes must have the same.
	LeaseFor time.Duration
	// Every is how often a client looks whether the file is free; the default
	// is three seconds.
	Every time.Duration
	// Transport carries the token requests; see [KeeperOptions].
	Transport http.RoundTripper
	// Tracer makes a span of each token request; nil is off.
	Tracer trace.Tracer
	// Changed is told of changes of grants in this process; see [KeeperOptions].
	Changed func(ctx context.Context, change GrantChange)
	// Metrics and Log may be nil.
	Metrics *Metrics
	Log     *slog.Logger
}

// Shared is the source of tokens of a process that may or may not be the owner.
// It is the owner if the file can be had and nobody else has the lease; else it
// asks the owner, and becomes the owner when that one goes. The owner uses its
// own keeper without a detour.
//
// Of processes that were started alike, the one with grants is the owner. Of two
// with grants the first is, and the other says so: its own are not used.
type Shared struct {
	o      SharedOptions
	log    *slog.Logger
	remote *Remote

	mu      sync.RWMutex
	keeper  *Keeper // nil: the file is another process's
	store   *Store
	lease   *lease // nil: there is none
	unwatch func() // ends the look at changes of the lease; nil where there is none
	serving func() // ends the service
	problem error  // why the file is not ours
	running bool

	release func(grants []string) error // gives the lease back
	cancel  context.CancelFunc
	kick    chan struct{} // have the loop look now
	loop    sync.WaitGroup
}

var (
	_ Source  = (*Shared)(nil)
	_ Adopter = (*Shared)(nil)
)

// ErrNotOwner says that another process holds the token store, and must do what
// was asked. Compare it with errors.Is.
var ErrNotOwner = errors.New("another process holds the token store")

// NewShared checks the clients. It opens nothing: Start does.
func NewShared(o SharedOptions) (*Shared, error) {
	if _, err := index(o.Clients); err != nil {
		return nil, fault.New(fault.Fatal, "token store: %w", err).WithHint("Correct the clients in the configuration.")
	}
	o.Metrics = cmp.Or(o.Metrics, NewMetrics(nil))
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Store.Log = cmp.Or(o.Store.Log, o.Log)
	o.Every = cmp.Or(o.Every, tryEvery)
	o.LeaseFor = cmp.Or(o.LeaseFor, DefaultLease)
	return &Shared{o: o, log: o.Log, kick: make(chan struct{}, 1)}, nil
}

// Start opens the file or, where another process holds it, begins as a client.
// Any other reason not to open it is an error: a damaged file or a wrong key
// must be seen by a person, not worked around. A goroutine goes on trying until
// Stop. Start may be called again after Stop.
func (s *Shared) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return errors.New("the token source is running already")
	}
	s.running = true
	names := make([]string, len(s.o.Clients))
	for i, client := range s.o.Clients {
		names[i] = client.Name
	}
	askOwner := s.o.Ask
	if askOwner == nil {
		askOwner = func(context.Context, string, []byte) ([]byte, error) { return nil, s.cause() }
	}
	s.remote = NewRemote(RemoteOptions{Ask: askOwner, Clients: names, Metrics: s.o.Metrics, Log: s.log})
	if s.o.Leases != nil {
		l := &lease{board: s.o.Leases, length: s.o.LeaseFor, me: Owner{Instance: rand.Text()}}
		s.lease = l
		s.release = func(grants []string) error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.LeaseFor/15)
			defer cancel()
			return l.release(ctx, grants)
		}
	}
	s.mu.Unlock()
	if s.lease != nil {
		// Before the first look, so that no change falls between the two.
		unwatch, err := s.o.Leases.Watch(s.hear)
		if err != nil {
			s.log.WarnContext(ctx, "changes of the token owner are noticed late", "error", err)
			unwatch = func() {}
		}
		s.mu.Lock()
		s.unwatch = unwatch
		s.mu.Unlock()
	}

	if err := s.own(ctx, s.o.Store.LockWait); err != nil && !errors.Is(err, ErrLocked) {
		s.Stop()
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	s.loop.Go(func() { s.keepTrying(ctx) })
	s.log.InfoContext(ctx, "token source started", "role", string(s.Role()), "path", s.o.Store.Path)
	return nil
}

// Stop ends the goroutine, stops answering, lets refreshes under way end, lets
// go of the file, and then of the lease. A second Stop does nothing.
func (s *Shared) Stop() {
	s.mu.Lock()
	running, cancel, release := s.running, s.cancel, s.release
	s.running, s.cancel = false, nil
	s.mu.Unlock()
	if !running {
		return
	}
	if cancel != nil {
		cancel()
	}
	s.loop.Wait()
	s.mu.Lock()
	keeper, store, remote, lease, serving, unwatch := s.keeper, s.store, s.remote, s.lease, s.serving, s.unwatch
	s.keeper, s.store, s.lease, s.serving, s.unwatch = nil, nil, nil, nil, nil
	s.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
	if serving != nil {
		serving()
	}
	if remote != nil {
		remote.Close()
	}
	var grants []string
	if keeper != nil {
		keeper.Close()
		grants = keeper.granted()
	}
	if store != nil {
		if err := store.Close(); err != nil {
			s.log.Error("token store not closed cleanly", "error", err)
		}
	}
	if lease != nil {
		if err := release(grants); err != nil {
			s.log.Info("lease of the token owner not given back: it runs out by itself, or is the next owner's", "error", err)
		}
	}
}

// source returns who answers now.
func (s *Shared) source() (Source, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case !s.running:
		return nil, fault.New(fault.Retry, "the token source is not running").WithCode("token_source_stopped")
	case s.asks():
		return s.remote, nil
	default:
		return s.keeper, nil
	}
}

// asks reports whether tokens come from another process. An owner that is away
// is asked, too: it will be back, and to our own empty store a person would have
// to sign in. The caller holds mu.
func (s *Shared) asks() bool {
	if s.keeper == nil {
		return true
	}
	if s.lease == nil {
		return false
	}
	state := s.lease.known()
	return state == leaseOther || state == leaseAway
}

// Token returns an access token as [Source] says.
func (s *Shared) Token(ctx context.Context, client string, minLife time.Duration) (Token, error) {
	source, err := s.source()
	if err != nil {
		return Token{}, err
	}
	return source.Token(ctx, client, minLife)
}

// Reject drops a token to which Graph answered 401, as [Source] says.
func (s *Shared) Reject(ctx context.Context, client string, rejected Token) {
	if source, err := s.source(); err == nil {
		source.Reject(ctx, client, rejected)
	}
}

// Adopt saves the grant of a new sign-in; [ErrNotOwner] where another process
// is the owner. Where the owner is away, a sign-in makes this process the owner.
func (s *Shared) Adopt(ctx context.Context, grant Grant) error {
	s.mu.RLock()
	keeper, lease := s.keeper, s.lease
	s.mu.RUnlock()
	if keeper != nil && lease != nil {
		// Somebody else may have become the owner since the last look, and this
		// tells everybody that there is a grant here from now on.
		lease.step(ctx, withClient(keeper.granted(), grant.Client), true, true)
		defer s.wake()
	}
	keeper, err := s.owned()
	if err != nil {
		return err
	}
	return keeper.Adopt(ctx, grant)
}

func withClient(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(slices.Clip(names), name)
}

// Logout removes the grant of a client; [ErrNotOwner] where another process is
// the owner, and this one has no grant of the client that is in its way.
func (s *Shared) Logout(ctx context.Context, client string) error {
	s.mu.RLock()
	keeper, asks := s.keeper, s.asks()
	s.mu.RUnlock()
	if asks && (keeper == nil || !slices.Contains(keeper.granted(), client)) {
		return s.notOwner()
	}
	defer s.wake()
	return keeper.Logout(ctx, client)
}

// Renew asks for a new token now, see [Keeper.Renew]; [ErrNotOwner] where
// another process is the owner.
func (s *Shared) Renew(ctx context.Context, client string) error {
	keeper, err := s.owned()
	if err != nil {
		return err
	}
	return keeper.Renew(ctx, client)
}

// owned returns the keeper of the owner, or of a process that may become it.
func (s *Shared) owned() (*Keeper, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch s.role() {
	case RoleOwner, RoleCandidate:
		return s.keeper, nil
	default:
		return nil, s.notOwnerLocked()
	}
}

// CanAdopt returns why a sign-in that begins now could not be saved here, or nil:
// so that nobody signs in for nothing. Adopt looks again.
func (s *Shared) CanAdopt() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.role() != RoleClient {
		return nil
	}
	if s.keeper != nil && s.lease != nil && len(s.lease.view().owner.Grants) == 0 {
		return nil // the owner has nothing to lose, so a sign-in makes this process the owner
	}
	return s.notOwnerLocked()
}

// notOwner is the error of what only the owner can do.
func (s *Shared) notOwner() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.notOwnerLocked()
}

func (s *Shared) notOwnerLocked() error {
	if s.keeper == nil || s.lease == nil {
		return fault.New(fault.Retry, "%w: %s", ErrNotOwner, s.o.Store.Path).WithCode("not_owner").
			WithHint("Sign in and out at the process that holds %s.", s.o.Store.Path)
	}
	view := s.lease.view()
	if err := view.problem(); len(view.conflict) == 0 && err != nil {
		return err
	}
	return fault.New(fault.Retry, "%w: %s", ErrNotOwner, view.owner).WithCode("not_owner").
		WithHint("Sign in and out at the process on %s.", printable(view.owner.Host))
}

// cause returns why this process is not the owner; nil where it is.
func (s *Shared) cause() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.problem
}

// Role says whether this process is the owner or a client.
func (s *Shared) Role() Role {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.role()
}

// role is Role for a caller who holds mu.
func (s *Shared) role() Role {
	switch {
	case !s.running:
		return RoleStopped
	case s.keeper == nil:
		return RoleClient
	case s.lease == nil:
		return RoleOwner
	}
	switch s.lease.known() {
	case leaseHeld:
		return RoleOwner
	case leaseOther:
		return RoleClient
	default:
		return RoleCandidate
	}
}

// Problem returns what a person should do something about: two stores that both
// hold grants, an owner that is away, a lease that cannot be renewed. Nil where
// all is well; to be a client is no problem.
func (s *Shared) Problem() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.lease == nil || !s.running {
		return nil
	}
	err := s.lease.view().problem()
	switch {
	case err == nil:
		return nil
	case fault.Of(err).Code == "not_owner":
		return nil
	case s.keeper == nil && fault.Of(err).Code == "no_lease":
		return nil // the connection itself is looked at elsewhere
	default:
		return err
	}
}

// Status returns the role of this process and the state of every grant.
func (s *Shared) Status() Status {
	s.mu.RLock()
	status := Status{Role: s.role(), Path: s.o.Store.Path}
	problem, keeper, remote, asks := s.problem, s.keeper, s.remote, s.asks()
	if s.lease != nil {
		view := s.lease.view()
		if problem == nil {
			problem = view.problem()
		}
		if view.owner.Instance != "" && !view.owner.Released {
			status.Owner = &view.owner
		}
	}
	s.mu.RUnlock()
	if problem != nil && status.Role != RoleStopped {
		status.Problem, status.Hint = problem.Error(), fault.HintOf(problem)
	}
	switch {
	case status.Role == RoleStopped:
	case asks:
		status.Clients = remote.Status()
	default:
		status.Clients = keeper.Status()
	}
	status.Clients = slices.Clip(status.Clients)
	return status
}
