package graph

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/retry"
)

// named is a mailbox as a client refers to it.
func named(key string) *mailbox { return &mailbox{key: key} }

func TestIdleMailboxesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLimiter(LimiterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 1000 {
			key := fmt.Sprint(n)
			release, _, _ := l.take(t.Context(), named(key))
			done, _, _ := l.charge(t.Context(), named(key), 10)
			done()
			if n%2 == 0 {
				l.throttled(named(key), 0)
			}
			release()
		}
		held, _, _ := l.take(t.Context(), named("held"))
		_ = retry.Sleep(t.Context(), 12*time.Minute)
		l.charge(t.Context(), named("new"), 0)
		if len(l.boxes) != 2 {
			t.Errorf("%d mailboxes are remembered, want the held one and the new one", len(l.boxes))
		}
		held()
	})
}

// A client that refers to a mailbox must not go on counting by itself once that was
// forgotten and somebody else has begun anew.
func TestOneMailboxHasOneCountAfterItWasForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLimiter(LimiterOptions{Limits: Limits{Requests: 2}})
		if err != nil {
			t.Fatal(err)
		}
		one, two := named("ann"), named("ann")
		charge := func(m *mailbox) time.Duration {
			done, wait, _ := l.charge(t.Context(), m, 0)
			if wait <= 0 {
				done()
			}
			return wait
		}
		charge(one)
		_ = retry.Sleep(t.Context(), 12*time.Minute)
		charge(named("other"))
		if one.box != nil || l.boxes["ann"] != nil {
			t.Fatal("the mailbox is not forgotten")
		}
		if wait := charge(two); wait > 0 {
			t.Errorf("the first of two requests waits %v", wait)
		}
		if wait := charge(one); wait > 0 {
			t.Errorf("the second of two requests waits %v", wait)
		}
		if charge(two) == 0 || charge(one) == 0 {
			t.Error("a third of two requests was let through")
		}
	})
}

func TestANameIsNotAskedForAgainAsLongAsItIsSure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, key := map[string]int{}, "one"
		c, err := New(Options{
			Name: "contoso", BaseURL: "https://graph.example.com", Tokens: unusedTokens{},
			Resolve: func(_ context.Context, name string) (string, time.Duration, time.Duration) {
				asked[name]++
				if name == "me" {
					return key, 0, 0
				}
				return key, time.Minute, 0
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		take := func(name, want string) {
			t.Helper()
			release := c.FreeSlot(t.Context(), name)
			if b := c.limits.boxes[want]; release == nil || b == nil || b.inUse != 1 {
				t.Fatalf("%s has no slot of %s", name, want)
			}
			release()
		}
		take("me", "one")
		take("ann@contoso.com", "one")
		key = "two"
		take("me", "two")
		take("Ann@contoso.com", "one")
		_ = retry.Sleep(t.Context(), time.Minute)
		take("ann@contoso.com", "two")
		if asked["me"] != 2 || asked["ann@contoso.com"] != 2 {
			t.Errorf("asked %v", asked)
		}
	})
}

func TestAWindowNeverHoldsMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const span = 10 * time.Minute
		limit := rapid.Int64Range(1, 50).Draw(t, "limit")
		w := newWindow(span, limit)
		now := time.Unix(1_700_000_000, 0)
		type use struct {
			at time.Time
			n  int64
		}
		var uses []use
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(span/4)).Draw(t, "pause")))
			n := rapid.Int64Range(1, limit).Draw(t, "n")
			at := w.freeAt(now, n)
			if at.After(now) {
				if at.Sub(now) > span+span/buckets {
					t.Fatalf("asked to wait %v", at.Sub(now))
				}
				if rapid.Bool().Draw(t, "give up") {
					continue
				}
				now = at
				if w.freeAt(now, n).After(now) {
					t.Fatalf("no room at the time that was promised")
				}
			}
			w.add(now, n)
			uses = append(uses, use{now, n})
			var sum int64
			for _, u := range uses {
				if now.Sub(u.at) < span {
					sum += u.n
				}
			}
			if sum > limit {
				t.Fatalf("%d within %v, limit %d", sum, span, limit)
			}
		}
	})
}

func TestWhatIsOverTheLimitByItselfPassesAlone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	w := newWindow(time.Minute, 10)
	if at := w.freeAt(now, 11); at.After(now) {
		t.Errorf("has to wait until %v", at)
	}
	w.add(now, 11)
	if at := w.freeAt(now, 11); !at.After(now.Add(time.Minute - time.Second)) {
		t.Errorf("a second one passes at %v", at)
	}
}
