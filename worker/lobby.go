package worker

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// lobby is where commands wait that cannot be carried out at once, so that what
// they wait for costs the others nothing. A command needs one of its publisher's
// places, until its requests are over, and a slot of its mailbox. While it waits
// for the slot it has no place, neither here nor in the queue it came from; and
// where too many wait for the same slot it goes back to the server until its turn
// comes.
type lobby struct {
	slots doors
	rooms map[string]*room // by publisher
}

// doors are the slots of mailboxes as the lobby needs them.
type doors interface {
	// free takes a slot that is free; nil where there is none.
	free(ctx context.Context, client, mailbox string) (release func())
	// queue waits until the caller is one of the next, or says when to come back.
	queue(ctx context.Context, client, mailbox string) (t turn, wait time.Duration, ok bool)
	// turn says when to come back where nobody may wait; or there is a slot.
	turn(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool)
	// Ready is [publisher.Outlook.Ready].
	Ready(ctx context.Context, client string) error
}

// turn is the right to be one of the next in a mailbox, see Turn in package graph.
type turn interface {
	Take(ctx context.Context) (release func(), wait time.Duration, ok bool)
	Leave()
}

// taken is the turn of who has the slot already.
type taken struct{ release func() }

func (t taken) Take(context.Context) (func(), time.Duration, bool) { return t.release, 0, true }
func (t taken) Leave()                                             { t.release() }

func newLobby(slots doors, inFlight map[string]int) *lobby {
	l := &lobby{slots: slots, rooms: make(map[string]*room, len(inFlight))}
	for name, n := range inFlight {
		l.rooms[name] = &room{
			size: n, free: n, alone: len(inFlight) == 1, service: time.Second,
			slotted: line{called: make(chan struct{}, n)}, others: line{called: make(chan struct{}, n)},
		}
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
	if glanced && !g.NotBefore.IsZero() {
		if early := time.Until(g.NotBefore); early > 0 {
			if early > lateStart {
				early = lateStart - rand.N(lateStart/4) // not all of them together
			}
			return nil, early
		}
	}
	if wait, ok := r.enter(ctx, m); !ok {
		return nil, wait
	}
	if !glanced || !time.Now().Before(g.GiveUp) {
		return &pass{room: r}, 0
	}
	p = &pass{room: r, client: g.Client, mailbox: g.Mailbox}
	if release := l.slots.free(ctx, g.Client, g.Mailbox); release != nil {
		p.turn = taken{release}
		return p, 0
	}
	if l.slots.Ready(ctx, g.Client) != nil {
		// Without a token there is no slot either; the publisher says what is wrong.
		return p, 0
	}
	r.leave()
	if p.turn, wait = l.waitForTurn(ctx, m, g); p.turn == nil {
		return nil, min(wait, max(time.Until(g.GiveUp), 0))
	}
	if !r.reenter(ctx) {
		p.turn.Leave()
		return nil, 0
	}
	return p, 0
}

func (l *lobby) waitForTurn(ctx context.Context, m jet.Message, g publisher.Glance) (turn, time.Duration) {
	if back, aside := m.Aside(); aside {
		defer back()
		t, wait, ok := l.slots.queue(ctx, g.Client, g.Mailbox)
		if !ok {
			return nil, wait
		}
		return t, 0
	}
	release, wait, ok := l.slots.turn(ctx, g.Client, g.Mailbox)
	if !ok {
		return nil, wait
	}
	return taken{release}, 0
}

// room has the places of one publisher.
type room struct {
	size  int
	alone bool // there is no other publisher

	mu      sync.Mutex
	free    int
	slotted line // wait with a slot in hand, and come first
	others  line
	service time.Duration // how long a place is held, smoothed
	began   time.Time     // when one was last given out
	nextAt  time.Time     // the end of the queue outside
}

// line are those who wait for a place. Each place that is given to the line is one
// call, for whoever came first.
type line struct {
	waiting int           // for whom there is no call yet
	called  chan struct{} // has room for as many calls as there are places
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
	if r.others.waiting >= r.size {
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
func (r *room) await(ctx context.Context, l *line) bool {
	l.waiting++
	r.mu.Unlock()
	select {
	case <-l.called:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.waiting > 0 {
		l.waiting-- // the others take the calls that there may be
		return false
	}
	<-l.called // there is one for everybody who is still here
	r.give()
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
	for _, l := range [...]*line{&r.slotted, &r.others} {
		if l.waiting > 0 {
			l.waiting--
			l.called <- struct{}{}
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

// pass is a place, and the turn that a command brings with it: it has its slot, or
// takes it when all that it needs before the request is done.
type pass struct {
	client, mailbox string

	mu   sync.Mutex
	room *room // nil where there is none, or the place was given back
	turn turn  // nil where there is none, or it was taken
}

type passKey struct{}

// with returns a context in which the turn is taken from the pass.
func (p *pass) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, passKey{}, p)
}

// giveBack gives back the place, and the turn where nobody has taken it.
func (p *pass) giveBack() {
	if t := p.take(); t != nil {
		t.Leave()
	}
	p.leave()
}

// leave gives back the place.
func (p *pass) leave() {
	p.mu.Lock()
	r := p.room
	p.room = nil
	p.mu.Unlock()
	if r != nil {
		r.leave()
	}
}

func (p *pass) take() turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.turn
	p.turn = nil
	return t
}

// takeReserved returns the pass of a command with the turn that it brought with
// it, which is nil where there is none.
func takeReserved(ctx context.Context, client, mailbox string) (*pass, turn) {
	p, ok := ctx.Value(passKey{}).(*pass)
	if !ok || p.client != client || p.mailbox != mailbox && !strings.EqualFold(p.mailbox, mailbox) {
		return nil, nil
	}
	return p, p.take()
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

func (d mailboxDoors) queue(ctx context.Context, client, mailbox string) (turn, time.Duration, bool) {
	c, err := d.client(client)
	if err != nil {
		return nil, time.Minute, false
	}
	return c.QueueTurn(ctx, mailbox)
}

func (d mailboxDoors) turn(ctx context.Context, client, mailbox string) (func(), time.Duration, bool) {
	c, err := d.client(client)
	if err != nil {
		return nil, time.Minute, false
	}
	return c.TakeSlot(ctx, mailbox)
}
