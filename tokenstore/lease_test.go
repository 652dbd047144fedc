package tokenstore_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

func TestOfTwoProcessesWithTheirOwnFilesTheOneWithGrantsOwns(t *testing.T) {
	t.Parallel()
	for _, emptyFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			f.granted(t, "a.db")
			rich, _ := f.process(t, "a.db")
			empty, _ := f.process(t, "b.db")
			if emptyFirst {
				startAlone(t, empty)
				startAlone(t, rich)
			} else {
				startAlone(t, rich)
				startAlone(t, empty)
			}
			synctest.Wait()
			wantRoles(t, tokenstore.RoleOwner, rich)
			wantRoles(t, tokenstore.RoleClient, empty)
			if f.x.serves() != 1 {
				t.Errorf("%d answer", f.x.serves())
			}
			if _, err := empty.Token(t.Context(), clientName, 0); err != nil {
				t.Errorf("the process without a grant: %v", err)
			}
			if got := empty.Status(); got.Owner == nil || got.Owner.Store == "" || got.Owner.PID == 0 || empty.Problem() != nil {
				t.Errorf("status %+v, problem %v", got, empty.Problem())
			}
			if err := empty.CanAdopt(); !errors.Is(err, tokenstore.ErrNotOwner) || rich.CanAdopt() != nil {
				t.Errorf("a sign-in that begins: at the client %v, at the owner %v", err, rich.CanAdopt())
			}
			if err := login(t, f.idp, empty); !errors.Is(err, tokenstore.ErrNotOwner) || fault.HintOf(err) == "" {
				t.Errorf("a sign-in at the client: %v", err)
			}
			after(time.Minute)
			wantRoles(t, tokenstore.RoleOwner, rich)
			wantRoles(t, tokenstore.RoleClient, empty)
		})
	}
}

func TestAnEmptyStoreDoesNotTakeThePlaceOfAnOwnerWithGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		rich, _ := f.process(t, "a.db")
		empty, _ := f.process(t, "b.db")
		startAlone(t, rich)
		startAlone(t, empty)
		before, err := empty.Token(t.Context(), clientName, 0)
		if err != nil {
			t.Fatal(err)
		}
		epoch := f.board.owner(t).Epoch
		rich.Stop()
		after(time.Minute)
		wantRoles(t, tokenstore.RoleCandidate, empty)
		if failure := wantFault(t, empty.Problem(), fault.Retry, "owner_away"); !strings.Contains(failure.Hint, "auth login") {
			t.Errorf("hint %q", failure.Hint)
		}
		if got, err := empty.Token(t.Context(), clientName, 0); err != nil || got.Access != before.Access {
			t.Errorf("the token at hand: %v", err)
		}
		startAlone(t, rich)
		after(2 * time.Second)
		wantRoles(t, tokenstore.RoleOwner, rich)
		wantRoles(t, tokenstore.RoleClient, empty)
		if got := f.board.owner(t).Epoch; got <= epoch {
			t.Errorf("epoch %d after %d", got, epoch)
		}

		// A person who signs in at the other decides otherwise.
		rich.Stop()
		after(time.Minute)
		if err := login(t, f.idp, empty); err != nil {
			t.Fatal(err)
		}
		wantRoles(t, tokenstore.RoleOwner, empty)
		after(time.Second)
		startAlone(t, rich)
		after(2 * time.Second)
		wantRoles(t, tokenstore.RoleClient, rich)
		wantFault(t, rich.Problem(), fault.Fatal, "two_stores")
	})
}

func TestTheSecondOfTwoStoresWithGrantsIsNotUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		f.granted(t, "b.db")
		one, _ := f.process(t, "a.db")
		two, _ := f.process(t, "b.db")
		startAlone(t, one)
		startAlone(t, two)
		after(time.Minute)
		wantRoles(t, tokenstore.RoleOwner, one)
		wantRoles(t, tokenstore.RoleClient, two)
		failure := wantFault(t, two.Problem(), fault.Fatal, "two_stores")
		for _, part := range []string{"auth logout " + clientName, "stop the owner"} {
			if !strings.Contains(failure.Hint, part) {
				t.Errorf("the hint has no %q: %s", part, failure.Hint)
			}
		}
		if got := two.Status(); !strings.Contains(got.Problem, "a.db") || !strings.Contains(got.Problem, "b.db") || got.Hint == "" {
			t.Errorf("status %+v", got)
		}
		first, err := one.Token(t.Context(), clientName, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := two.Token(t.Context(), clientName, 0); err != nil || got.Access != first.Access {
			t.Errorf("the second uses its own grant: %v", err)
		}
		if f.x.serves() != 1 {
			t.Errorf("%d answer", f.x.serves())
		}
		// As the hint says: the grant here is removed, the owner's is not.
		if err := two.Logout(t.Context(), clientName); err != nil {
			t.Fatal(err)
		}
		after(2 * time.Second)
		if err := two.Problem(); err != nil {
			t.Errorf("after the logout: %v", err)
		}
		if err := two.Logout(t.Context(), clientName); !errors.Is(err, tokenstore.ErrNotOwner) {
			t.Errorf("a second logout: %v", err)
		}
		if _, err := one.Token(t.Context(), clientName, 0); err != nil {
			t.Errorf("the owner's grant: %v", err)
		}
	})
}

func TestAnOwnerThatCannotRenewUsesNoRefreshToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		f.granted(t, "b.db")
		one, seat := f.process(t, "a.db")
		two, _ := f.process(t, "b.db")
		startAlone(t, one)
		startAlone(t, two)
		first := tokenOf(t, one)
		after(50 * time.Minute) // in the last part of its life
		made := f.idp.requests()
		_ = tokenOf(t, one) // begins a refresh
		after(time.Second)
		if f.idp.requests() != made+1 {
			t.Fatal("an owner with its lease does not refresh")
		}
		second := tokenOf(t, one)
		if second.Generation <= first.Generation {
			t.Fatal("no new token")
		}

		seat.set(true, false)
		after(11 * time.Second) // two thirds of the lease
		one.Reject(t.Context(), clientName, tokenstore.Token{Generation: second.Generation})
		made = f.idp.requests()
		_, err := one.Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Retry, "no_lease")
		if f.idp.requests() != made {
			t.Error("a refresh token was used without the lease")
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has more than a line, and is shown in a table: %q", err)
		}
		wantFault(t, one.Problem(), fault.Retry, "no_lease")

		// The other, whose store has a grant, takes over when the lease is over.
		after(10 * time.Second)
		wantRoles(t, tokenstore.RoleOwner, two)
		if two.Problem() != nil {
			t.Errorf("the new owner: %v", two.Problem())
		}
		seat.set(false, false)
		after(2 * time.Second)
		wantRoles(t, tokenstore.RoleClient, one)
		wantFault(t, one.Problem(), fault.Fatal, "two_stores")
		if f.x.serves() != 1 {
			t.Errorf("%d answer", f.x.serves())
		}
		_ = tokenOf(t, two) // begins a refresh
		after(time.Second)
		theirs := tokenOf(t, two)
		if got := tokenOf(t, one); got.Access != theirs.Access {
			t.Error("the old owner hands out its own tokens")
		}
	})
}

func TestAnOwnerWithoutALeaseServesWhatLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		s, seat := f.process(t, "a.db")
		seat.set(true, false)
		startAlone(t, s) // while nobody can say who has the lease
		wantRoles(t, tokenstore.RoleCandidate, s)
		first := tokenOf(t, s)
		if f.x.serves() != 0 {
			t.Error("it answers others")
		}
		after(50 * time.Minute)
		if got := tokenOf(t, s); got.Access != first.Access || f.idp.requests() != 1 {
			t.Errorf("generation %d after %d token requests", got.Generation, f.idp.requests())
		}
		if got := s.Status().Clients[0]; got.Condition != tokenstore.ConditionOK {
			t.Errorf("the token lives: %+v", got)
		}
		seat.set(false, false)
		after(2 * time.Second)
		wantRoles(t, tokenstore.RoleOwner, s)
		_ = tokenOf(t, s)
		after(time.Second)
		if f.idp.requests() != 2 {
			t.Error("no refresh with the lease")
		}
	})
}

func TestALostAnswerDoesNotCostTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		s, seat := f.process(t, "a.db")
		startAlone(t, s)
		epoch := f.board.owner(t).Epoch
		for range 20 {
			seat.set(false, true)
			after(6 * time.Second)
			seat.set(false, false)
			after(2 * time.Second)
			wantRoles(t, tokenstore.RoleOwner, s)
		}
		if got := f.board.owner(t).Epoch; got != epoch {
			t.Errorf("epoch %d after %d without another owner", got, epoch)
		}
	})
}

func TestTheRestartedOwnerNeedNotWaitForItsOwnLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		one, seat := f.process(t, "a.db")
		startAlone(t, one)
		seat.set(true, false) // as if it had been killed: nothing is given back
		one.Stop()
		two, _ := f.process(t, "a.db")
		startAlone(t, two)
		wantRoles(t, tokenstore.RoleOwner, two)
	})
}

// TestTheHeirOfAFileIsACandidateUntilItHasTheLease: the process that ran the
// message system for both is gone.
func TestTheHeirOfAFileIsACandidateUntilItHasTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		one, seat := f.process(t, "a.db")
		two, other := f.process(t, "a.db")
		startAlone(t, one)
		start(t, two)
		wantRoles(t, tokenstore.RoleClient, two)
		seat.set(true, false)
		other.set(true, false)
		one.Stop()
		after(5 * time.Second)
		wantRoles(t, tokenstore.RoleCandidate, two)
		if got := two.Status(); got.Owner != nil || fault.Of(two.Problem()).Code != "no_lease" {
			t.Errorf("%+v, problem %v", got, two.Problem())
		}
		if _, err := two.Token(t.Context(), clientName, 0); err != nil {
			t.Errorf("the token in the file: %v", err)
		}
		other.set(false, false)
		after(2 * time.Second)
		wantRoles(t, tokenstore.RoleOwner, two)
	})
}

func TestALostRecordDoesNotTurnTheEpochBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		for range 3 {
			s, _ := f.process(t, "a.db")
			startAlone(t, s)
			after(50 * time.Minute)
			_, _ = s.Token(t.Context(), clientName, 0) // a refresh saves the epoch
			after(5 * time.Second)
			s.Stop()
		}
		before := f.board.owner(t).Epoch
		f.board.mu.Lock()
		f.board.record, f.board.revision = nil, 0
		f.board.mu.Unlock()
		s, _ := f.process(t, "a.db")
		startAlone(t, s)
		if got := f.board.owner(t).Epoch; got <= before {
			t.Errorf("epoch %d after %d", got, before)
		}
	})
}

func TestTheStoreRefusesAnEarlierEpoch(t *testing.T) {
	t.Parallel()
	store, err := tokenstore.Open(tokenstore.Options{Path: filepath.Join(t.TempDir(), "tokens.db"), Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	grant := testGrant(clientName, 7)
	for _, c := range []struct {
		epoch uint64
		good  bool
	}{{0, true}, {3, true}, {3, true}, {2, false}, {0, false}, {4, true}} {
		grant.Epoch = c.epoch
		grant.Generation++
		err := store.Put(grant)
		if (err == nil) != c.good || err != nil && !errors.Is(err, tokenstore.ErrEarlierEpoch) {
			t.Errorf("epoch %d: %v", c.epoch, err)
		}
		got, _, err := store.Get(clientName)
		if err != nil || (got.Generation == grant.Generation) != c.good {
			t.Errorf("epoch %d: generation %d is there, %v", c.epoch, got.Generation, err)
		}
	}
}

func TestTheLeaseIsRenewedThreeTimesInItsLength(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		s, _ := f.process(t, "a.db")
		startAlone(t, s)
		before := f.board.written()
		after(10 * tokenstore.DefaultLease)
		if made := f.board.written() - before; made < 27 || made > 33 {
			t.Errorf("%d renewals in ten leases", made)
		}
	})
}

func TestProcessesWithoutAFileAskAndName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.granted(t, "a.db")
		owner, _ := f.process(t, "a.db")
		startAlone(t, owner)
		asker, err := tokenstore.NewShared(tokenstore.SharedOptions{
			Clients: []tokenstore.Client{testClient()}, AskOnly: true, Ask: f.x.ask, Leases: &seat{board: f.board},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(asker.Stop)
		startAlone(t, asker)
		if _, err := asker.Token(t.Context(), clientName, 0); err != nil {
			t.Error(err)
		}
		if got := asker.Status(); got.Role != tokenstore.RoleClient || got.Owner == nil || got.Owner.Instance != f.board.owner(t).Instance {
			t.Errorf("%+v", got)
		}
	})
}

func TestASignInElsewhereEndsWhatTheOwnerSaidBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		owner, _ := f.process(t, "a.db")
		other, _ := f.process(t, "b.db")
		startAlone(t, owner)
		startAlone(t, other)
		_, err := other.Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Reauth, "no_grant")
		if err := other.CanAdopt(); err != nil {
			t.Errorf("a sign-in while nobody has grants: %v", err)
		}
		after(5 * time.Second)
		if err := login(t, f.idp, owner); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// Nobody has asked since, and nobody may for hours.
		if got := other.Status().Clients[0]; got.Condition != tokenstore.ConditionUnknown {
			t.Errorf("after the sign-in: %+v", got)
		}
	})
}
