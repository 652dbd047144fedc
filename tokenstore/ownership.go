package tokenstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"outlook-connector/internal/fault"
)

// keepTrying makes this process the owner as soon as it can be, renews the
// lease, and notices when somebody else has it.
func (s *Shared) keepTrying(ctx context.Context) {
	pace := s.o.Every
	if s.lease != nil {
		pace = min(pace, s.o.LeaseFor/15)
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	tried := time.Now()
	for !s.complete() {
		kicked := false
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
			kicked = true
		case <-ticker.C:
		}
		if !s.holdsFile() && !s.o.AskOnly && time.Since(tried) >= s.o.Every {
			tried = time.Now()
			s.tryFile(ctx)
		}
		s.lookAtLease(ctx, kicked)
		if err := s.serve(ctx); err != nil {
			s.log.WarnContext(ctx, "other processes cannot ask for tokens yet", "error", err)
		}
	}
}

// tryFile takes the file if it is free by now.
func (s *Shared) tryFile(ctx context.Context) {
	before := s.cause()
	err := s.openStore(-1)
	s.mu.Lock()
	s.problem = err
	s.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, ErrLocked) && (before == nil || before.Error() != err.Error()):
		s.log.ErrorContext(ctx, "token store not taken over", "error", err, "hint", fault.HintOf(err))
	case err == nil && errors.Is(before, ErrLocked):
		s.log.InfoContext(ctx, "token store taken over", "path", s.o.Store.Path)
		s.wake()
	}
}

// own takes the file if it may have one and it is free, looks at the lease, and
// begins to answer the others.
func (s *Shared) own(ctx context.Context, wait time.Duration) (err error) {
	if !s.o.AskOnly {
		err = s.openStore(wait)
		s.mu.Lock()
		s.problem = err
		s.mu.Unlock()
	}
	if err != nil && !errors.Is(err, ErrLocked) {
		return err
	}
	s.lookAtLease(ctx, true)
	if err := s.serve(ctx); err != nil {
		// It is tried again; this process has its own tokens meanwhile.
		s.log.WarnContext(ctx, "other processes cannot ask for tokens yet", "error", err)
	}
	return err
}

func (s *Shared) openStore(wait time.Duration) error {
	if s.holdsFile() {
		return nil
	}
	o := s.o.Store
	o.LockWait = wait
	store, err := Open(o)
	if err != nil {
		return err
	}
	ko := KeeperOptions{Vault: store, Clients: s.o.Clients, Transport: s.o.Transport, Tracer: s.o.Tracer, Changed: s.o.Changed, Metrics: s.o.Metrics, Log: s.log}
	if s.lease != nil {
		ko.Epoch = s.lease.Epoch
	}
	keeper, err := NewKeeper(ko)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	if s.lease != nil {
		s.lease.open(o.Path, store.ID(), keeper.newest)
	}
	s.mu.Lock()
	s.store, s.keeper = store, keeper
	s.mu.Unlock()
	return nil
}

func (s *Shared) holdsFile() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keeper != nil
}

// lookAtLease looks at the lease, or renews it, where that is due.
func (s *Shared) lookAtLease(ctx context.Context, now bool) {
	s.mu.RLock()
	lease, keeper := s.lease, s.keeper
	s.mu.RUnlock()
	if lease == nil {
		return
	}
	lease.mu.Lock()
	before, owner := lease.state, lease.owner
	since := elapsed(lease.looked)
	due := now || since >= lease.length/3-lease.length/30
	switch {
	case keeper == nil && lease.err != nil:
		// It only wants to know who the owner is, and may lack the permission.
		due = now || since >= 4*lease.length
	case before == leaseUnknown, before == leaseAway, lease.err != nil:
		due = true
	}
	lease.mu.Unlock()
	if !due {
		return
	}
	var grants []string
	if keeper != nil {
		grants = keeper.granted()
	}
	conflict := lease.view().conflict
	state := lease.step(ctx, grants, keeper != nil, false)
	view := lease.view()
	same := state == before && view.owner.Instance == owner.Instance && slices.Equal(conflict, view.conflict)
	if !same || !slices.Equal(owner.Grants, view.owner.Grants) {
		s.remote.askAgain() // what the owner said is history: there is another one, or somebody signed in there
	}
	if !same {
		s.tell(ctx, before, state, view)
	}
}

// tell logs a change of ownership.
func (s *Shared) tell(ctx context.Context, before, state leaseState, view leaseView) {
	switch {
	case state == leaseHeld:
		s.log.InfoContext(ctx, "this process owns the tokens", "epoch", view.owner.Epoch, "grants", view.owner.Grants, "store", view.me.Store)
	case len(view.conflict) > 0:
		err := view.problem()
		s.log.ErrorContext(ctx, "grants of this process are not used", "error", err, "hint", fault.HintOf(err))
	case state == leaseOther && before == leaseHeld:
		s.log.WarnContext(ctx, "another process owns the tokens by now", "owner", view.owner.String(), "epoch", view.owner.Epoch)
	case state == leaseOther:
		s.log.InfoContext(ctx, "another process owns the tokens", "owner", view.owner.String(), "epoch", view.owner.Epoch)
	case state == leaseAway:
		err := view.problem()
		s.log.WarnContext(ctx, "the owner of the tokens is away", "error", err, "hint", fault.HintOf(err))
	}
}

// hear takes a new record of the lease to notice.
func (s *Shared) hear(record []byte) {
	s.mu.RLock()
	lease := s.lease
	s.mu.RUnlock()
	if lease != nil && lease.news(record) {
		s.wake()
	}
}

// wake has the loop look at the lease now.
func (s *Shared) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// serve begins to answer where this process is the owner, and stops where it is
// not any more.
func (s *Shared) serve(ctx context.Context) error {
	s.mu.Lock()
	keeper, serving, role, store := s.keeper, s.serving, s.role(), s.store
	if serving != nil && role != RoleOwner {
		s.serving = nil
	}
	s.mu.Unlock()
	switch {
	case s.o.Serve == nil:
		return nil
	case serving != nil && role != RoleOwner:
		// Answers under way may need a while; nobody else must wait for that.
		s.loop.Go(serving)
		return nil
	case serving != nil || role != RoleOwner:
		return nil
	}
	service := Service{Source: keeper, Store: store.ID()}
	for _, client := range s.o.Clients {
		service.Clients = append(service.Clients, client.Name)
	}
	stop, err := s.o.Serve(service.Answer)
	if err != nil {
		return err // complete() sees that it is still to be done
	}
	s.mu.Lock()
	s.serving = stop
	s.mu.Unlock()
	s.log.DebugContext(ctx, "other processes can ask for tokens")
	return nil
}

// complete reports whether there is nothing left to try or to watch.
func (s *Shared) complete() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.lease != nil {
		return false
	}
	return s.o.AskOnly || s.keeper != nil && (s.serving != nil || s.o.Serve == nil)
}
