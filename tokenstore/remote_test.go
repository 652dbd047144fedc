package tokenstore_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// wire carries questions to a keeper, as the message system would.
type wire struct {
	w     *world
	cut   atomic.Bool
	asked atomic.Int64

	mu        sync.Mutex
	questions [][]byte
	answers   [][]byte
}

var errNoResponders = errors.New("nats: no responders available for request")

func (c *wire) ask(ctx context.Context, client string, request []byte) ([]byte, error) {
	c.asked.Add(1)
	if c.cut.Load() {
		return nil, errNoResponders
	}
	data := tokenstore.Service{Source: c.w.keeper}.Answer(ctx, client, request)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.questions, c.answers = append(c.questions, request), append(c.answers, data)
	return data, nil
}

// newRemote returns a keeper and a remote that asks it.
func newRemote(t *testing.T) (*world, *wire, *tokenstore.Remote) {
	t.Helper()
	w := newWorld(t)
	c := &wire{w: w}
	r := tokenstore.NewRemote(tokenstore.RemoteOptions{Ask: c.ask, Clients: []string{clientName}})
	t.Cleanup(r.Close)
	return w, c, r
}

func borrow(t *testing.T, r *tokenstore.Remote) tokenstore.Token {
	t.Helper()
	token, err := r.Token(t.Context(), clientName, 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestARemoteGetsTheOwnersTokenAndKeepsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c, r := newRemote(t)
		own := w.token(t)
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				if got, err := r.Token(t.Context(), clientName, 0); err != nil || got.Access != own.Access || !got.Expiry.Equal(own.Expiry) {
					t.Errorf("got %+v, %v; want %+v", got, err, own)
				}
			})
		}
		callers.Wait()
		after(20 * time.Minute)
		borrow(t, r)
		if c.asked.Load() != 1 || w.idp.requests() != 1 {
			t.Errorf("%d questions, %d token requests", c.asked.Load(), w.idp.requests())
		}
	})
}

func TestOnlyTheAskerCanReadAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c, r := newRemote(t)
		borrow(t, r)
		for _, data := range append(c.questions, c.answers...) {
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			sealed, _ := m["sealed"].(string)
			raw, err := base64.StdEncoding.DecodeString(sealed)
			if err != nil || strings.Contains(string(data)+string(raw), "CANARY") {
				t.Errorf("a secret is on the wire: %s", data)
			}
		}
		// The answer to one question is none to the next, and a changed one is none.
		old := c.answers[0]
		replay := tokenstore.NewRemote(tokenstore.RemoteOptions{
			Ask:     func(context.Context, string, []byte) ([]byte, error) { return old, nil },
			Clients: []string{clientName},
		})
		defer replay.Close()
		if _, err := replay.Token(t.Context(), clientName, 0); fault.KindOf(err) != fault.Retry {
			t.Errorf("a replayed answer: %v", err)
		}
	})
}

func TestAnswersThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"", "null", "{}", `{"v":1}`, `{"v":2,"sealed":"AAAA"}`, `{"v":1,"sealed":"AAAA"}`, `{"v":1,"sealed":7}`, strings.Repeat("x", 100<<10),
	} {
		r := tokenstore.NewRemote(tokenstore.RemoteOptions{
			Ask:     func(context.Context, string, []byte) ([]byte, error) { return []byte(answer), nil },
			Clients: []string{clientName},
		})
		_, err := r.Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Retry, "token_owner")
		r.Close()
	}
}

func TestQuestionsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, question := range []string{
		"", "null", "{}", `{"v":2}`, `{"v":1}`, `{"v":1,"key":"AAAA"}`,
		`{"v":1,"key":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`, // a point of low order
		strings.Repeat("x", 8<<10),
	} {
		data := tokenstore.Service{Source: w.keeper}.Answer(t.Context(), clientName, []byte(question))
		var answer struct {
			Sealed []byte
			Error  struct{ Kind, Code, Text string }
		}
		if err := json.Unmarshal(data, &answer); err != nil || answer.Error.Text == "" || len(answer.Sealed) > 0 {
			t.Errorf("%.30q is answered %s", question, data)
		}
	}
}

func TestTheOwnersErrorsArriveWithTheirRemedy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c, r := newRemote(t)
		w.idp.breakWith(func(*reply) *reply { return &reply{status: 429, header: map[string][]string{"Retry-After": {"90"}}} })
		after(61 * time.Minute)
		_, err := r.Token(t.Context(), clientName, 0)
		if failure := wantFault(t, err, fault.Retry, "token_endpoint"); failure.After != 90*time.Second {
			t.Errorf("After = %s", failure.After)
		}
		w.idp.refuseWith(400, "consent_required")
		after(2 * time.Minute)
		_, err = r.Token(t.Context(), clientName, 0)
		failure := wantFault(t, err, fault.Reauth, "consent_required")
		if !strings.Contains(failure.Hint, "auth login "+clientName) {
			t.Errorf("hint %q", failure.Hint)
		}
		if got := r.Status()[0]; got.Condition != tokenstore.ConditionNeedsReauth || got.Hint == "" {
			t.Errorf("status %+v", got)
		}
		asked := c.asked.Load()
		for range 100 {
			_, _ = r.Token(t.Context(), clientName, 0)
		}
		if c.asked.Load() != asked {
			t.Error("the owner was asked for each caller")
		}
		w.idp.breakWith(nil)
		w.signIn(t)
		after(3 * time.Second)
		borrow(t, r)
		_, err = r.Token(t.Context(), "nobody", 0)
		wantFault(t, err, fault.Poison, "unknown_client")
	})
}

func TestARejectionReachesTheOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, r := newRemote(t)
		first := borrow(t, r)
		r.Reject(t.Context(), clientName, first)
		r.Reject(t.Context(), clientName, first)
		if got := borrow(t, r); got.Generation != first.Generation+1 || w.idp.requests() != 2 {
			t.Errorf("generation %d after %d token requests", got.Generation, w.idp.requests())
		}
		r.Reject(t.Context(), clientName, first)
		if got := borrow(t, r); got.Generation != first.Generation+1 {
			t.Error("late news dropped the new token")
		}
	})
}

// TestAnOwnerThatIsAwayForAFifthOfALifeIsNotMissed tries every moment at which
// the outage can begin.
func TestAnOwnerThatIsAwayForAFifthOfALifeIsNotMissed(t *testing.T) {
	t.Parallel()
	for begin := 0; begin < 120; begin += 4 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c := &wire{w: w}
			r := tokenstore.NewRemote(tokenstore.RemoteOptions{Ask: c.ask, Clients: []string{clientName}})
			defer r.Close()
			for minute := range 4 * 150 { // steps of a quarter of a minute
				at := float64(minute) / 4
				c.cut.Store(at >= float64(begin) && at < float64(begin)+12)
				token, err := r.Token(t.Context(), clientName, 0)
				if err != nil && (begin > 0 || at > 12) {
					t.Fatalf("outage from minute %d on: at %.2f: %v", begin, at, err)
				}
				if err == nil && time.Until(token.Expiry) <= 0 {
					t.Fatalf("a dead token at %.2f", at)
				}
				after(15 * time.Second)
			}
			if made := w.idp.requests(); made > 6 {
				t.Errorf("%d token requests in 150 minutes", made)
			}
		})
	}
}

func TestAnOwnerThatIsGoneIsSaidSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c, r := newRemote(t)
		if got := r.Status()[0].Condition; got != tokenstore.ConditionUnknown {
			t.Errorf("before the first question: %s", got)
		}
		c.cut.Store(true)
		_, err := r.Token(t.Context(), clientName, 0)
		failure := wantFault(t, err, fault.Retry, "token_owner")
		if !errors.Is(failure, errNoResponders) || !strings.Contains(failure.Hint, "outlook-connector run") {
			t.Errorf("%v, hint %q", failure, failure.Hint)
		}
	})
}

func TestAClosedRemoteStopsAsking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := tokenstore.NewRemote(tokenstore.RemoteOptions{
			Ask:     func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			Clients: []string{clientName},
		})
		ended := make(chan error, 1)
		go func() {
			_, err := r.Token(t.Context(), clientName, 0)
			ended <- err
		}()
		synctest.Wait()
		r.Close()
		if err := <-ended; err == nil {
			t.Error("a token came from nowhere")
		}
		if _, err := r.Token(t.Context(), clientName, 0); err == nil {
			t.Error("a closed remote asks")
		}
	})
}
