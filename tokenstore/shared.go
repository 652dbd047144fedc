package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

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
	// Every is how often a client looks whether the file is free; the default
	// is three seconds.
	Every time.Duration
	// Transport carries the token requests; see [KeeperOptions].
	Transport http.RoundTripper
	// Metrics and Log may be nil.
	Metrics *Metrics
	Log     *slog.Logger
}

// Shared is the source of tokens of a process that may or may not hold the
// file. It is the owner if the file can be had, else it asks the owner, and
// becomes the owner when that one goes. Once owner, it stays it until Stop.
//
// It sees one machine. Processes on two machines, each with a file of its own,
// are two owners.
type Shared struct {
	o      SharedOptions
	log    *slog.Logger
	remote *Remote

	mu        sync.RWMutex
	keeper    *Keeper // nil: this process is a client
	store     *Store
	stopServe func()
	problem   error
	running   bool

	cancel context.CancelFunc
	loop   sync.WaitGroup
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
	return &Shared{o: o, log: o.Log}, nil
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
	s.mu.Unlock()

	if s.o.AskOnly {
		s.log.InfoContext(ctx, "token source started", "role", string(s.Role()))
		return nil
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

// keepTrying makes this process the owner as soon as it can be.
func (s *Shared) keepTrying(ctx context.Context) {
	ticker := time.NewTicker(s.o.Every)
	defer ticker.Stop()
	for !s.complete() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		before := s.cause()
		err := s.own(ctx, -1)
		switch {
		case err != nil && !errors.Is(err, ErrLocked) && (before == nil || before.Error() != err.Error()):
			s.log.ErrorContext(ctx, "token store not taken over", "error", err, "hint", fault.HintOf(err))
		case err == nil && errors.Is(before, ErrLocked):
			s.log.InfoContext(ctx, "token store taken over: this process is the owner now", "path", s.o.Store.Path)
		}
	}
}

// own takes the file if it is free and this process does not have it, and
// begins to answer the others.
func (s *Shared) own(ctx context.Context, wait time.Duration) error {
	err := s.openStore(wait)
	if err == nil {
		err = s.serve(ctx)
	}
	s.mu.Lock()
	s.problem = err
	s.mu.Unlock()
	return err
}

func (s *Shared) openStore(wait time.Duration) error {
	s.mu.RLock()
	have := s.keeper != nil
	s.mu.RUnlock()
	if have {
		return nil
	}
	o := s.o.Store
	o.LockWait = wait
	store, err := Open(o)
	if err != nil {
		return err
	}
	keeper, err := NewKeeper(KeeperOptions{
		Vault: store, Clients: s.o.Clients, Transport: s.o.Transport, Metrics: s.o.Metrics, Log: s.log,
	})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	s.mu.Lock()
	s.store, s.keeper = store, keeper
	s.mu.Unlock()
	return nil
}

// serve begins to answer. A failure is tried again; this process has its own
// tokens meanwhile.
func (s *Shared) serve(ctx context.Context) error {
	s.mu.RLock()
	keeper, serving := s.keeper, s.stopServe != nil
	s.mu.RUnlock()
	if serving || s.o.Serve == nil {
		return nil
	}
	stop, err := s.o.Serve(Service{Source: keeper}.Answer)
	if err != nil {
		s.log.WarnContext(ctx, "other processes cannot ask for tokens yet", "error", err)
		return nil // complete() sees that it is still to be done
	}
	s.mu.Lock()
	s.stopServe = stop
	s.mu.Unlock()
	return nil
}

// complete reports whether there is nothing left to try.
func (s *Shared) complete() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keeper != nil && (s.stopServe != nil || s.o.Serve == nil)
}

// Stop ends the goroutine, stops answering, lets refreshes under way end, and
// lets go of the file, in this order. A second Stop does nothing.
func (s *Shared) Stop() {
	s.mu.Lock()
	running, cancel := s.running, s.cancel
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
	keeper, store, remote, stopServe := s.keeper, s.store, s.remote, s.stopServe
	s.keeper, s.store, s.stopServe = nil, nil, nil
	s.mu.Unlock()
	if stopServe != nil {
		stopServe()
	}
	if remote != nil {
		remote.Close()
	}
	if keeper != nil {
		keeper.Close()
	}
	if store != nil {
		if err := store.Close(); err != nil {
			s.log.Error("token store not closed cleanly", "error", err)
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
	case s.keeper != nil:
		return s.keeper, nil
	default:
		return s.remote, nil
	}
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
// holds the file.
func (s *Shared) Adopt(ctx context.Context, grant Grant) error {
	keeper, err := s.owned()
	if err != nil {
		return err
	}
	return keeper.Adopt(ctx, grant)
}

// Logout removes the grant of a client; [ErrNotOwner] where another process
// holds the file.
func (s *Shared) Logout(ctx context.Context, client string) error {
	keeper, err := s.owned()
	if err != nil {
		return err
	}
	return keeper.Logout(ctx, client)
}

func (s *Shared) owned() (*Keeper, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.keeper == nil {
		return nil, fault.New(fault.Retry, "%w: %s", ErrNotOwner, s.o.Store.Path).WithCode("not_owner").
			WithHint("Sign in and out at the process that holds %s.", s.o.Store.Path)
	}
	return s.keeper, nil
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
	switch {
	case !s.running:
		return RoleStopped
	case s.keeper != nil:
		return RoleOwner
	default:
		return RoleClient
	}
}

// Status returns the role of this process and the state of every grant.
func (s *Shared) Status() Status {
	status := Status{Role: s.Role(), Path: s.o.Store.Path}
	if cause := s.cause(); cause != nil {
		status.Problem = cause.Error()
	}
	s.mu.RLock()
	keeper, remote := s.keeper, s.remote
	s.mu.RUnlock()
	switch {
	case status.Role == RoleStopped:
	case keeper != nil:
		status.Clients = keeper.Status()
	case remote != nil:
		status.Clients = remote.Status()
	}
	status.Clients = slices.Clip(status.Clients)
	return status
}
