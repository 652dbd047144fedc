package tokenstore_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// frozen answers nothing for as long as it is frozen, as a stopped process whose
// subscription lives on.
type frozen struct {
	wire
	ice   atomic.Int64 // how many questions get no answer; negative: all
	lost  atomic.Int64
	store string
}

func (f *frozen) ask(ctx context.Context, client string, request []byte) ([]byte, error) {
	if n := f.ice.Load(); n != 0 {
		f.ice.Add(-1)
		f.lost.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return tokenstore.Service{Source: f.w.keeper, Store: f.store, Clients: []string{clientName}}.Answer(ctx, client, request), nil
}

func newFrozen(t *testing.T) (*world, *frozen, *tokenstore.Remote) {
	t.Helper()
	w := newWorld(t)
	f := &frozen{wire: wire{w: w}}
	r := tokenstore.NewRemote(tokenstore.RemoteOptions{Ask: f.ask, Clients: []string{clientName, "other"}})
	t.Cleanup(r.Close)
	return w, f, r
}

func TestAFrozenOwnerDelaysNobodyWhoHasAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, f, r := newFrozen(t)
		token := borrow(t, r)
		f.ice.Store(-1)
		waited := time.Duration(0)
		for time.Until(token.Expiry) > time.Second {
			began := time.Now()
			if got := borrow(t, r); got.Access != token.Access {
				t.Fatal("another token came from nowhere")
			}
			waited += time.Since(began)
			after(time.Second)
		}
		if waited > 3*time.Second {
			t.Errorf("callers with a living token waited %s in all", waited)
		}
		if f.lost.Load() == 0 {
			t.Error("the owner was not asked")
		}
	})
}

func TestAFrozenOwnerIsGivenUpSoonByThoseWithoutAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, f, r := newFrozen(t)
		f.ice.Store(-1)
		began := time.Now()
		_, err := r.Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Retry, "token_owner")
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %s to hear of it", took)
		}
	})
}

func TestAQuestionThatReachedAFrozenOwnerIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, f, r := newFrozen(t)
		f.ice.Store(2) // the third reaches the one that took over
		began := time.Now()
		borrow(t, r)
		if took := time.Since(began); took > 2*time.Second || f.lost.Load() != 2 || w.idp.requests() != 1 {
			t.Errorf("after %s, %d lost questions and %d token requests", took, f.lost.Load(), w.idp.requests())
		}
	})
}

func TestASlowRefreshIsOneForAllRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, r := newFrozen(t)
		after(61 * time.Minute)
		w.idp.holdWith(func(context.Context) error { after(10 * time.Second); return nil })
		_, err := r.Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Retry, "refresh_slow") // not "nobody answers"
		after(8 * time.Second)
		if got := borrow(t, r); got.Generation != 2 || w.idp.requests() != 2 {
			t.Errorf("generation %d after %d token requests", got.Generation, w.idp.requests())
		}
	})
}

func TestAnOwnerAnswersForItsOwnClientsOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, _, r := newFrozen(t)
		_, err := r.Token(t.Context(), "other", 0)
		failure := wantFault(t, err, fault.Retry, "client_not_served")
		if !strings.Contains(failure.Hint, "same clients") {
			t.Errorf("hint %q", failure.Hint)
		}
	})
}

// TestAnotherOwnersGenerationsAreNotMixedUp: two stores count their tokens from
// one on, each for itself.
func TestAnotherOwnersGenerationsAreNotMixedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, f, r := newFrozen(t)
		f.store = "one"
		first := borrow(t, r)
		r.Reject(t.Context(), clientName, first)
		// Before the owner hears of it, another takes over: with a token that has
		// the same number and is good.
		other := newWorld(t)
		f.w, f.store = other, "two"
		got := borrow(t, r)
		if got.Generation != first.Generation || other.idp.requests() != 1 {
			t.Errorf("generation %d after %d token requests of the new owner: its good token was rejected", got.Generation, other.idp.requests())
		}
	})
}

// TestAWorkersTokenOutlivesAnOwnersAbsenceWhateverItsLife is about short lives,
// where fixed pauses weigh more.
func TestAWorkersTokenOutlivesAnOwnersAbsenceWhateverItsLife(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{20 * time.Second, time.Minute, time.Hour} {
		for begin := range 13 {
			synctest.Test(t, func(t *testing.T) {
				w := newEmptyWorld(t)
				w.idp.life = int(life / time.Second)
				w.signIn(t)
				c := &wire{w: w}
				r := tokenstore.NewRemote(tokenstore.RemoteOptions{Ask: c.ask, Clients: []string{clientName}})
				defer r.Close()
				const steps = 200
				for step := range 2 * steps {
					at := step * 100 / steps // per cent of a life
					c.cut.Store(at >= 25+8*begin && at < 25+8*begin+20)
					token, err := r.Token(t.Context(), clientName, 2*time.Minute)
					if err != nil || time.Until(token.Expiry) <= 0 {
						t.Fatalf("life %s, outage from %d %% on: at %d %%: %v", life, 25+8*begin, at, err)
					}
					after(life / steps)
				}
				if made := w.idp.requests(); made > 5 {
					t.Errorf("life %s: %d token requests in two lives", life, made)
				}
			})
		}
	}
}

func TestTheProtocolStaysReadableForEarlierVersions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c, r := newRemote(t)
		borrow(t, r)
		var question map[string]any
		if err := json.Unmarshal(c.questions[0], &question); err != nil || question["v"] != 1.0 || question["key"] == nil {
			t.Errorf("question %s: %v", c.questions[0], err)
		}
	})
}

func TestCallersOfAHungEndpointWaitOnceInAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.holdWith(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		after(58 * time.Minute) // of an hour: too little is left, and the token lives
		began := time.Now()
		for range 5 {
			w.token(t)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("five callers waited %s for one refresh that hangs", took)
		}
	})
}

// TestTokensOfAShortLifeAreRenewedInTheBackgroundToo for callers who ask for more
// life than such a token has: somewhere between half and three quarters of it, and
// not always at the half.
func TestTokensOfAShortLifeAreRenewedInTheBackgroundToo(t *testing.T) {
	t.Parallel()
	const runs, lives = 10, 20
	made := 0
	for range runs {
		synctest.Test(t, func(t *testing.T) {
			w := newEmptyWorld(t)
			w.idp.life = 60
			w.signIn(t)
			for range lives * 60 {
				if _, err := w.keeper.Token(t.Context(), clientName, 2*time.Minute); err != nil {
					t.Fatal(err)
				}
				after(time.Second)
			}
			made += w.idp.requests() - 1
		})
	}
	if share := float64(runs*lives) / float64(made); share < 0.58 || share > 0.72 {
		t.Errorf("%d refreshes in %d lives: at %.2f of a life", made, runs*lives, share)
	}
}
