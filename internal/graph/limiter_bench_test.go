package graph

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkLimiter is what one request pays for being counted, in one of 1,000
// mailboxes after the other. slot: a slot that is free is taken and given back.
// charge: a request is counted before it is sent, and out when it has ended.
// shared says that the slots are those of several processes, of which this one
// has what it needs.
func BenchmarkLimiter(b *testing.B) {
	for name, shared := range map[string]Slots{"alone": nil, "shared": plenty{}} {
		l, err := NewLimiter(LimiterOptions{
			Slots: shared, Limits: Limits{Requests: 1 << 60}, // else it waits before the benchmark is over
		})
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		mailboxes := make([]*mailbox, 1000)
		for i := range mailboxes {
			mailboxes[i] = named(fmt.Sprintf("user%d@contoso.com", i))
			if release := l.glimpse(b.Context(), mailboxes[i]); release == nil {
				b.Fatal("no slot")
			} else {
				release()
			}
		}
		n := 0
		next := func() *mailbox { n++; return mailboxes[n%len(mailboxes)] }
		b.Run("slot/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				release := l.glimpse(b.Context(), next())
				if release == nil {
					b.Fatal("no slot")
				}
				release()
			}
		})
		b.Run("charge/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				done, wait, why := l.chargeAll(b.Context(), next(), 0, 1, 1)
				if wait > 0 {
					b.Fatal(why)
				}
				done()
			}
		})
	}
}

// plenty are slots of which everybody gets what is asked for.
type plenty struct{}

func (plenty) Take(context.Context, string, int) (Slot, time.Duration, error) {
	return new(mine), 0, nil
}
func (plenty) Want(string, int)           {}
func (plenty) Park(string, time.Duration) {}
func (plenty) Waits() time.Duration       { return 0 }

// mine is a slot that stays.
type mine struct{ _ int }

func (*mine) Usable() bool   { return true }
func (*mine) Lost() bool     { return false }
func (*mine) Release(string) {}

// BenchmarkGrant is a share of the windows of a mailbox that is used much, by this
// process alone, with a board in memory for the server.
func BenchmarkGrant(b *testing.B) {
	l, err := NewLimiter(LimiterOptions{Uses: &board{}, Limits: Limits{Requests: 1 << 40}})
	if err != nil {
		b.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	box := l.box("ann", now)
	box.shared = l.newShared(now)
	for age := range int64(buckets + 1) { // requests all the time
		box.shared.requests.addAt(box.shared.requests.last-age, 45)
		box.shared.uploads.addAt(box.shared.uploads.last-age, 45_000)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.grant(b.Context(), "ann", box, 1000)
	}
}
