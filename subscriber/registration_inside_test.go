package subscriber

import (
	"encoding/json"
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

func TestARegistrationTakesThePlaceOfAnOlderOneAndLeavesWhatOperatorsSet(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	base := registration{Version: 1, Registered: since, Container: "c", Mailbox: "ann", Found: 4, Schedule: "a"}
	with := func(f func(*registration)) registration { r := base; f(&r); return r }
	for name, c := range map[string]struct{ old, fresh, want registration }{
		"the same, repeated, and paused meanwhile": {
			with(func(r *registration) { r.Paused, r.Resync = true, "x" }), base,
			with(func(r *registration) { r.Paused, r.Resync = true, "x" }),
		},
		"a younger round": {
			with(func(r *registration) { r.Paused, r.Resync = true, "x" }), with(func(r *registration) { r.Found = 5 }),
			with(func(r *registration) { r.Found, r.Paused, r.Resync = 5, true, "x" }),
		},
		"retired while paused": {
			with(func(r *registration) { r.Paused = true }), with(func(r *registration) { r.Found, r.Retire = 5, true }),
			with(func(r *registration) { r.Found, r.Retire = 5, true }),
		},
		"wanted again": {
			with(func(r *registration) { r.Retire = true }), with(func(r *registration) { r.Found = 6 }),
			with(func(r *registration) { r.Found = 6 }),
		},
		"another schedule": {base, with(func(r *registration) { r.Schedule = "b" }), with(func(r *registration) { r.Schedule = "b" })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, err := c.old.encode()
			if err != nil {
				t.Fatal(err)
			}
			data, err := c.fresh.over(old)
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.want.encode()
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != string(want) {
				t.Errorf("got\n%s, want\n%s", data, want)
			}
		})
	}
	if data, err := base.over([]byte("{")); err != nil || !json.Valid(data) {
		t.Errorf("what cannot be read stays: %s %v", data, err)
	}
}

// TestACorrectionLeavesWhatWasSetMeanwhile: a worker finds the message that it
// was given out of date, and an operator pauses the feed at the same time.
func TestACorrectionLeavesWhatWasSetMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "**")
		feed := Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.folder(t, "A"))}
		old := s.registered(t.Context(), feed, w.queue[feed])
		old.Found = 0
		delivered, err := old.encode()
		if err != nil {
			t.Fatal(err)
		}
		paused, err := SetPaused(delivered, true)
		if err != nil {
			t.Fatal(err)
		}
		w.queue[feed] = paused
		if _, err := s.standing(t.Context(), feed, old, delivered); err != nil {
			t.Fatal(err)
		}
		if reg := s.registered(t.Context(), feed, w.queue[feed]); !reg.Paused {
			t.Errorf("the pause is lost: %s", w.queue[feed])
		}
		// The message that was set is judged by itself, and stays paused.
		reg := s.registered(t.Context(), feed, w.queue[feed])
		if _, err := s.standing(t.Context(), feed, reg, w.queue[feed]); err != nil {
			t.Fatal(err)
		}
		if reg := s.registered(t.Context(), feed, w.queue[feed]); !reg.Paused || reg.Found != 1 {
			t.Errorf("corrected to %s", w.queue[feed])
		}
	})
}

// TestNothingEndsInDoubt: a discovery whose cursor cannot be read, or was read
// before the feed came back, ends no feed.
func TestNothingEndsInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "Projects/**")
		a := b.folder(t, "A")
		feed := Feed{Subscription: "s", Mailbox: "ann", Part: Part(a)}
		ordered := s.registered(t.Context(), feed, w.queue[feed])
		ordered.Retire, ordered.Found = true, 2
		other := w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: []string{"Projects/**"}})
		// This worker sees the folder outside, the other one brings it back.
		b.move(a, "root")
		time.Sleep(time.Minute)
		w.look(t, other, annsFolders)
		if _, _, err := s.roster.standing(t.Context(), feed, ordered); err != nil { // reads the cursor
			t.Fatal(err)
		}
		b.move(a, b.folder(t, "Projects"))
		time.Sleep(time.Second)
		w.look(t, other, annsFolders)
		right, changed, err := s.roster.standing(t.Context(), feed, ordered)
		if err != nil || !changed || right.Retire {
			t.Errorf("the feed is back, and the worker would end it: %+v %t %v", right, changed, err)
		}
		w.dead = true
		if _, changed, err := s.roster.standing(t.Context(), feed, ordered); err == nil || changed {
			t.Errorf("the cursor cannot be read, and that is %v", err)
		}
	})
}

// TestADiscoveryThatTheQueueHasLostRegistersAllItsFeeds: what lost its message
// has lost theirs, too.
func TestADiscoveryThatTheQueueHasLostRegistersAllItsFeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, s := discovered(t, "**")
		all := maps.Clone(w.queue)
		clear(w.queue)
		time.Sleep(registerEvery)
		if err := s.registerAll(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		w.look(t, s, annsFolders)
		if len(w.queue) != len(all) {
			t.Errorf("%d feeds, want %d", len(w.queue), len(all))
		}
		// It does not do so at every poll.
		for feed := range w.queue {
			if feed != annsFolders {
				delete(w.queue, feed)
			}
		}
		time.Sleep(registerEvery)
		w.look(t, s, annsFolders)
		if len(w.queue) != 1 {
			t.Errorf("%d feeds are registered again for nothing", len(w.queue)-1)
		}
	})
}

// TestFoundFeedsAreWokenByTheirDiscovery: of a schedule that changed.
func TestFoundFeedsAreWokenByTheirDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "**")
		feed := Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.folder(t, "A"))}
		s.subs["s"].schedule = "other"
		w.look(t, s, annsFolders)
		if reg := s.registered(t.Context(), feed, w.queue[feed]); reg.Schedule != "" {
			t.Error("the feeds are woken at once, which two workers could do to each other at every poll")
		}
		time.Sleep(rescheduleEvery)
		w.look(t, s, annsFolders)
		if reg := s.registered(t.Context(), feed, w.queue[feed]); reg.Schedule != "other" || reg.Container == "" {
			t.Errorf("the feed has %s", w.queue[feed])
		}
	})
}

func TestStrangersThatDoNotComeBackAreForgotten(t *testing.T) {
	t.Parallel()
	s := newFoldersWorld().worker(t, Subscription{Mailboxes: []string{"Ann"}, Path: map[string]string{"mailFolder-id": "inbox"}})
	now := time.Now()
	s.stranger(t.Context(), Feed{Subscription: "a"}, now)
	s.stranger(t.Context(), Feed{Subscription: "b"}, now.Add(strangerMemory+time.Second))
	if len(s.strangers.since) != 1 {
		t.Errorf("%d strangers are remembered", len(s.strangers.since))
	}
}
