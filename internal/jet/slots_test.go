package jet_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"outlook-connector/internal/jet"
)

const app = "9ef0ad08-2f6c-4a3e-b5a4-2f7b6dfb3d21"

// slots are the slots of one more worker, with a lease of two seconds.
func slots(t *testing.T, c *jet.Conn, change ...func(*jet.SlotsOptions)) *jet.Slots {
	t.Helper()
	o := jet.SlotsOptions{App: app, Lease: 2 * time.Second}
	for _, f := range change {
		f(&o)
	}
	s, err := c.Slots(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// take takes a slot, or nil.
func take(t *testing.T, s *jet.Slots, mailbox string) *jet.Slot {
	t.Helper()
	slot, _, err := s.Take(t.Context(), mailbox, 4)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// takeAll takes all slots that are to be had.
func takeAll(t *testing.T, s *jet.Slots, mailbox string) (all []*jet.Slot) {
	t.Helper()
	for slot := take(t, s, mailbox); slot != nil; slot = take(t, s, mailbox) {
		all = append(all, slot)
	}
	return all
}

func TestFourSlotsAreSharedByAllWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := slots(t, w.connect()), slots(t, w.connect())
	first := take(t, a, "ann@contoso.com")
	if first == nil || !first.Usable() {
		t.Fatal("no slot to be had")
	}
	if n := len(takeAll(t, b, "ann@contoso.com")); n != 3 {
		t.Errorf("the other worker got %d slots, want 3", n)
	}
	if take(t, a, "ann@contoso.com") != nil {
		t.Error("a fifth slot was given")
	}
	if take(t, a, "bob@contoso.com") == nil {
		t.Error("another mailbox has to wait")
	}
	first.Release()
	first.Release() // harmless
	eventually(t, "the slot to come back", func() bool { return take(t, b, "ann@contoso.com") != nil })
	if first.Usable() {
		t.Error("a slot that was given back can be used")
	}
}

func TestManyTakersNeverHoldMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var (
		mu      sync.Mutex
		holding int
		most    int
		turns   int
		all     sync.WaitGroup
	)
	for range 4 {
		s := slots(t, w.connect())
		for range 4 {
			all.Go(func() {
				for end := time.Now().Add(time.Second); time.Now().Before(end); {
					slot, _, err := s.Take(t.Context(), "me", 3)
					if err != nil {
						t.Error(err)
						return
					}
					if slot == nil {
						pause(t, 2*time.Millisecond)
						continue
					}
					mu.Lock()
					holding++
					turns++
					most = max(most, holding)
					mu.Unlock()
					pause(t, time.Millisecond)
					mu.Lock()
					holding--
					mu.Unlock()
					slot.Release()
				}
			})
		}
	}
	all.Wait()
	if turns < 10 {
		t.Errorf("%d turns in a second", turns)
	}
	if most != 3 {
		t.Errorf("%d slots at once, want 3", most)
	}
}

func TestASlotOutlivesItsLeaseWhileItsHolderLives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := slots(t, w.connect()), slots(t, w.connect())
	held := takeAll(t, a, "me")
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if take(t, b, "me") != nil {
			t.Fatal("a slot was given twice")
		}
		for _, slot := range held {
			if !slot.Usable() {
				t.Fatal("a slot was lost")
			}
		}
	}
	if a.Lost() != 0 {
		t.Errorf("%d slots lost", a.Lost())
	}
}

func TestTheSlotsOfADeadWorkerComeBackAndItKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := slots(t, w.connect())
	held := takeAll(t, a, "me")
	w.mute() // what a sends from now on gets no answer
	b := slots(t, w.connect())
	if len(held) != 4 || take(t, b, "me") != nil {
		t.Fatalf("%d slots, and a fifth", len(held))
	}
	// It is deaf, so it cannot know that its renewals arrive; it must not trust
	// them. (Here they do arrive, so the other worker waits until it is cut off.)
	eventually(t, "the deaf worker to stop using its slots", func() bool { return !held[0].Usable() && held[0].Lost() })
	w.cut()
	eventually(t, "the slots of the cut-off worker to come back", func() bool { return take(t, b, "me") != nil })
}

func TestALostAnswerLosesNoSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	a := slots(t, c, func(o *jet.SlotsOptions) { o.Lease = 6 * time.Second })
	held := takeAll(t, a, "me")
	w.mute() // a renewal may arrive whose answer does not
	pause(t, 2500*time.Millisecond)
	w.cut()
	pause(t, 5*time.Second)
	for _, slot := range held {
		if !slot.Usable() {
			t.Error("a slot was lost with the connection")
		}
	}
	if n := len(takeAll(t, slots(t, w.connect(), func(o *jet.SlotsOptions) { o.Lease = 6 * time.Second }), "me")); n != 0 {
		t.Errorf("another worker got %d slots", n)
	}
}

// TestAfterARestartSlotsAreTakenAgainByWhoHasThem is about the server: its
// memory is empty then.
func TestAfterARestartSlotsAreTakenAgainByWhoHasThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Longer than a busy machine takes to connect again, as the real one is.
	long := func(o *jet.SlotsOptions) { o.Lease = 5 * time.Second }
	a := slots(t, w.connect(), long)
	b := slots(t, w.connect(), long)
	held := takeAll(t, a, "me")
	take(t, b, "other") // so that it has seen the stream
	w.stop()
	w.start()
	restarted := time.Now()
	var err error
	var wait time.Duration
	eventually(t, "the wait after the restart to end", func() bool {
		var slot *jet.Slot
		slot, wait, err = b.Take(t.Context(), "me", 4)
		if slot != nil {
			t.Errorf("a slot was given %v after the restart", time.Since(restarted))
		}
		return err == nil && wait <= 0 && time.Since(restarted) > time.Second // not: not connected again yet
	})
	if n := len(takeAll(t, b, "me")); n != 0 {
		t.Errorf("%d more slots were given", n)
	}
	for _, slot := range held {
		if !slot.Usable() {
			t.Error("the restart took a slot from its holder")
		}
	}
	if a.Lost() != 0 || a.Held() != 4 {
		t.Errorf("%d slots lost, %d held", a.Lost(), a.Held())
	}
}

func TestSlotsOfAStoppedWorkerAreFreeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := slots(t, w.connect()), slots(t, w.connect())
	takeAll(t, a, "me")
	a.Close()
	if n := len(takeAll(t, b, "me")); n != 4 {
		t.Errorf("%d slots, want 4", n)
	}
}

// heard notes what a worker hears.
type heard struct {
	mu     sync.Mutex
	words  []string
	worker string // that wanted last
	until  time.Time
}

func (h *heard) add(word string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.words = append(h.words, word)
}

func (h *heard) has(word string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Contains(" "+strings.Join(h.words, " ")+" ", " "+word+" ")
}

func (h *heard) Parked(mailbox string, until time.Time) {
	h.add("park:" + mailbox)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = until
}

func (h *heard) Wanted(mailbox, worker string, held int) {
	h.mu.Lock()
	h.worker = worker
	h.mu.Unlock()
	h.add(fmt.Sprintf("want%d:%s", held, mailbox))
}
func (h *heard) Freed(mailbox, next string)       { h.add("free" + next + ":" + mailbox) }
func (h *heard) Used(mailbox string, data []byte) { h.add("use:" + mailbox + ":" + string(data)) }

func TestWorkersHearEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hear := func(h *heard) func(*jet.SlotsOptions) { return func(o *jet.SlotsOptions) { o.Listener = h } }
	one, two, later := &heard{}, &heard{}, &heard{}
	a := slots(t, w.connect(), hear(one))
	conn := w.connect()
	b := slots(t, conn, hear(two))
	const box = "Odd Name*.>@contoso..com."
	slot := take(t, a, box)
	eventually(t, "a wish to be heard", func() bool { b.Want(box, 3); return one.has("want3:" + box) })
	slot.Release()
	eventually(t, "a slot that was given back", func() bool { return two.has("free:" + box) })

	// One that is for a certain worker: that one asks for it and for no other.
	three := &heard{}
	slots(t, w.connect(), hear(three))
	const hot = "hot"
	eventually(t, "the third to listen", func() bool { b.Want(hot, 1); return three.has("want1:" + hot) })
	all := []*jet.Slot{take(t, a, hot), take(t, a, hot), take(t, a, hot), take(t, a, hot)}
	one.mu.Lock()
	worker := one.worker
	one.mu.Unlock()
	all[2].HandTo(worker)
	eventually(t, "whom a slot is for", func() bool { return two.has("free:"+hot) && three.has("free"+worker+":"+hot) })
	handed := take(t, b, hot)
	if slot, wait, err := b.Take(t.Context(), hot, 4); slot != nil || wait != 0 || err != nil {
		t.Errorf("a second slot: %v, %v, %v", slot, wait, err)
	}
	for _, slot := range append(all, handed) {
		slot.Release()
	}
	a.Park(box, 30*time.Second)
	if _, err := a.Store(t.Context(), box, []byte("1"), 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	eventually(t, "parking and use", func() bool { return two.has("park:"+box) && two.has("use:"+box+":1") })
	if _, err := b.Store(t.Context(), box, []byte("2"), 0, time.Minute); err == nil {
		t.Error("stored over what is there")
	}
	data, seq, err := b.Load(t.Context(), box)
	if err != nil || string(data) != "1" {
		t.Fatalf("loaded %q, %v", data, err)
	}
	if _, err := b.Store(t.Context(), box, []byte("3"), seq, time.Minute); err != nil {
		t.Fatal(err)
	}
	slots(t, w.connect(), hear(later))
	eventually(t, "what was said before to be heard", func() bool { return later.has("park:"+box) && later.has("use:"+box+":3") })
	later.mu.Lock()
	if wait := time.Until(later.until); wait < 20*time.Second || wait > 30*time.Second {
		t.Errorf("parked for %v more", wait)
	}
	later.mu.Unlock()
	if two.has("want3:" + box) {
		t.Error("a worker hears itself")
	}

	// The first answer to whose mailbox it is counts for all.
	if first, err := a.Meet(t.Context(), "ann@contoso.com", "id-1", time.Hour, false); err != nil || first != "id-1" {
		t.Errorf("met %q, %v", first, err)
	}
	if second, err := b.Meet(t.Context(), "ann@contoso.com", "id-2", time.Hour, false); err != nil || second != "id-1" {
		t.Errorf("met %q, %v", second, err)
	}
	if _, err := b.Meet(t.Context(), "ann@contoso.com", "id-3", time.Hour, true); err != nil {
		t.Fatal(err)
	}
	if now, err := a.Who(t.Context(), "ann@contoso.com"); err != nil || now != "id-3" {
		t.Errorf("it is %q, %v", now, err)
	}
	if none, err := a.Who(t.Context(), "bob"); err != nil || none != "" {
		t.Errorf("nobody said %q, %v", none, err)
	}
	js := must(jetstream.New(w.raw()))
	if n := must(must(js.Stream(t.Context(), "OUTLOOK_SEM")).Info(t.Context())).State.Msgs; n != 4 {
		t.Errorf("%d messages in the stream, want epoch, parking, use and name", n)
	}
}

func TestNamesOfMailboxesAreEscapedAndStayDifferent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a.=*> ]{0,6}`)).Draw(t, "text")
		token := jet.Escape(text)
		if back, ok := jet.Unescape(token); !ok || back != text {
			t.Fatalf("%q as %q came back as %q, %v", text, token, back, ok)
		}
		if strings.ContainsAny(token, "*> \t\r\n") || strings.HasPrefix(token, ".") || strings.HasSuffix(token, ".") || strings.Contains(token, "..") || token == "" {
			t.Fatalf("%q is no subject (of %q)", token, text)
		}
	})
	if got := jet.Escape("ann.lee@contoso.com"); got != "ann.lee@contoso.com" {
		t.Errorf("an ordinary name became %q", got)
	}
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
