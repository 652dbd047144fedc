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

func newLobby(slots doors, begun map[string]int) *lobby {
	l := &lobby{slots: slots, rooms: make(map[string]*room, len(begun))}
	for name, n := range begun {
		l.rooms[name] = newRoom(n, len(begun) == 1)
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
	how := kindOf(g, glanced)
	if wait, ok := r.enter(ctx, m, how); !ok {
		return nil, wait
	}
	p = &pass{room: r, kind: how, client: g.Client, mailbox: g.Mailbox}
	if !glanced || !time.Now().Before(g.GiveUp) {
		return p, 0
	}
	if release := l.slots.free(ctx, g.Client, g.Mailbox); release != nil {
		p.turn = taken{release}
		return p, 0
	}
	if l.slots.Ready(ctx, g.Client) != nil {
		// Without a token there is no slot either; the publisher says what is wrong.
		return p, 0
	}
	r.leave(how)
	if p.turn, wait = l.waitForTurn(ctx, m, g); p.turn == nil {
		return nil, min(wait, max(time.Until(g.GiveUp), 0))
	}
	if !r.reenter(ctx, how) {
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

// pass is a place, and the turn that a command brings with it: it has its slot, or
// takes it when all that it needs before the request is done.
type pass struct {
	client, mailbox string
	kind            kind

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
		r.leave(p.kind)
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
