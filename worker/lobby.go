package worker

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// lobby is where commands wait that cannot be carried out at once, so that what
// they wait for costs the others nothing. A command needs one of its publisher's
// in_flight places and a slot of its mailbox. While it waits for the slot it has
// no place, neither here nor in the queue it came from; and where too many wait
// for the same slot it goes back to the server until its turn comes.
type lobby struct {
	slots doors
	rooms map[string]*room // by publisher
}

// doors are the slots of mailboxes as the lobby needs them.
type doors interface {
	// free takes a slot that is free; nil where there is none.
	free(ctx context.Context, client, mailbox string) (release func())
	// queue waits for a slot, or says when to come back.
	queue(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool)
	// turn says when to come back where nobody may wait; or there is a slot.
	turn(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool)
	// Ready is [publisher.Outlook.Ready].
	Ready(ctx context.Context, client string) error
}

func newLobby(slots doors, inFlight map[string]int) *lobby {
	l := &lobby{slots: slots, rooms: make(map[string]*room, len(inFlight))}
	for name, n := range inFlight {
		l.rooms[name] = &room{size: n, free: n, alone: len(inFlight) == 1, service: time.Second}
	}
	return l
}

// lateStart bounds how long a command is put off at a time: one that comes by in
// between keeps its time right when clocks are set.
const lateStart = time.Hour

// enter waits until the command may be carried out. The pass is to be given back
// when that is done. Without one the command goes back and comes again after
// wait. glanced says that g is known.
func (l *lobby) enter(ctx context.Context, name string, m jet.Message, g publisher.Glance, glanced bool) (p *pass, wait time.Duration) {
	r := l.rooms[name]
	if r == nil { // no such publisher: there is only an answer to be given
		return &pass{}, 0
	}
	if early := time.Until(g.NotBefore); glanced && early > 0 {
		if early > lateStart {
			early = lateStart - rand.N(lateStart/4) // not all of them together
		}
		return nil, early
	}
	if wait, ok := r.enter(ctx, m); !ok {
		return nil, wait
	}
	if !glanced || !time.Now().Before(g.GiveUp) {
		return &pass{room: r}, 0
	}
	release := l.slots.free(ctx, g.Client, g.Mailbox)
	if release == nil && l.slots.Ready(ctx, g.Client) == nil {
		r.leave()
		if release, wait = l.waitForSlot(ctx, m, g); release == nil {
			return nil, min(wait, max(time.Until(g.GiveUp), 0))
		}
		if !r.reenter(ctx) {
			release()
			return nil, 0
		}
	}
	// Without a token there is no slot either; the publisher says what is wrong.
	return &pass{room: r, client: g.Client, mailbox: g.Mailbox, release: release}, 0
}

func (l *lobby) waitForSlot(ctx context.Context, m jet.Message, g publisher.Glance) (release func(), wait time.Duration) {
	take := l.slots.turn
	if back, ok := m.Aside(); ok {
		defer back()
		take = l.slots.queue
	}
	release, wait, ok := take(ctx, g.Client, g.Mailbox)
	if !ok {
		return nil, wait
	}
	return release, 0
}

// room has the places of one publisher.
type room struct {
	size  int
	alone bool // there is no other publisher

	mu      sync.Mutex
	free    int
	slotted []chan struct{} // wait with a slot in hand, and come first
	others  []chan struct{}
	service time.Duration // how long a place is held, smoothed
	began   time.Time     // when one was last given out
	nextAt  time.Time     // the end of the queue outside
}

// enter takes a place. Without ok the command is to come back after wait.
func (r *room) enter(ctx context.Context, m jet.Message) (wait time.Duration, ok bool) {
	r.mu.Lock()
	if r.free > 0 {
		r.free--
		r.mu.Unlock()
		return 0, true
	}
	if r.alone {
		// Whatever came in its place would wait for the same.
		return 0, r.await(ctx, &r.others)
	}
	if len(r.others) >= r.size {
		defer r.mu.Unlock()
		return r.turn(), false
	}
	back, aside := m.Aside()
	if !aside {
		defer r.mu.Unlock()
		return r.turn(), false
	}
	defer back()
	return 0, r.await(ctx, &r.others)
}

// reenter takes a place for a command that has a slot by now.
func (r *room) reenter(ctx context.Context) bool {
	r.mu.Lock()
	if r.free > 0 {
		r.free--
		r.mu.Unlock()
		return true
	}
	return r.await(ctx, &r.slotted)
}

// await waits in a line for a place. It is called with the lock, and gives it up.
func (r *room) await(ctx context.Context, line *[]chan struct{}) bool {
	mine := make(chan struct{})
	*line = append(*line, mine)
	r.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, other := range *line {
		if other == mine {
			*line = append((*line)[:i], (*line)[i+1:]...)
			return false
		}
	}
	r.give() // it was given a place at this very moment
	return false
}

// leave gives a place back.
func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// With all places taken, one falls free every service/size.
	now := time.Now()
	if gap := now.Sub(r.began); r.free == 0 && gap < time.Minute {
		r.service = (r.service*31 + gap*time.Duration(r.size)) / 32
	}
	r.began = now
	r.give()
}

func (r *room) give() {
	for _, line := range []*[]chan struct{}{&r.slotted, &r.others} {
		if len(*line) > 0 {
			close((*line)[0])
			*line = (*line)[1:]
			return
		}
	}
	r.free++
}

// mostOutside bounds for how long a command is sent away from a full room.
const mostOutside = time.Minute

// turn is how long a command stays away that finds the room full, and as many
// waiting as have places.
func (r *room) turn() time.Duration {
	now := time.Now()
	if least := now.Add(min(r.service, time.Second)); r.nextAt.Before(least) {
		r.nextAt = least
	}
	// A little shorter than it will be, so that the room does not stand empty.
	r.nextAt = r.nextAt.Add(r.service * 3 / 4 / time.Duration(r.size))
	wait := r.nextAt.Sub(now)
	if wait > mostOutside {
		r.nextAt = now.Add(mostOutside)
		wait = mostOutside - rand.N(mostOutside/2)
	}
	return wait
}

// pass is a place, and the slot that a command brings with it.
type pass struct {
	room            *room // nil where there is none
	client, mailbox string

	mu      sync.Mutex
	release func() // nil where there is no slot, or it was taken
}

type passKey struct{}

// with returns a context in which the slot is taken from the pass.
func (p *pass) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, passKey{}, p)
}

// giveBack gives back the place, and the slot where nobody has taken it.
func (p *pass) giveBack() {
	if release := p.take(); release != nil {
		release()
	}
	if p.room != nil {
		p.room.leave()
	}
}

func (p *pass) take() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	release := p.release
	p.release = nil
	return release
}

// takeReserved returns the release of the slot that a command brought with it,
// or nil.
func takeReserved(ctx context.Context, client, mailbox string) func() {
	p, ok := ctx.Value(passKey{}).(*pass)
	if !ok || p.client != client || !strings.EqualFold(p.mailbox, mailbox) {
		return nil
	}
	return p.take()
}

// mailboxDoors are the slots of the clients.
type mailboxDoors struct{ outlook }

var _ doors = mailboxDoors{}

func (d mailboxDoors) free(ctx context.Context, client, mailbox string) func() {
	c, err := d.client(client)
	if err != nil {
		return nil
	}
	return c.FreeSlot(ctx, mailbox)
}

func (d mailboxDoors) queue(ctx context.Context, client, mailbox string) (func(), time.Duration, bool) {
	return d.ask(ctx, client, mailbox, (*graph.Client).QueueSlot)
}

func (d mailboxDoors) turn(ctx context.Context, client, mailbox string) (func(), time.Duration, bool) {
	return d.ask(ctx, client, mailbox, (*graph.Client).TakeSlot)
}

func (d mailboxDoors) ask(
	ctx context.Context, client, mailbox string, take func(*graph.Client, context.Context, string) (func(), time.Duration, bool),
) (func(), time.Duration, bool) {
	c, err := d.client(client)
	if err != nil {
		return nil, time.Minute, false
	}
	return take(c, ctx, mailbox)
}
