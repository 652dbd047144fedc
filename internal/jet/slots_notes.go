package jet

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	rnd "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// What workers tell each other about mailboxes beside the slots themselves.
// Wishes for slots are plain messages. The others are stored, so that who comes
// later finds them, and heard at once by who is there: a message that is
// published to a stream reaches subscribers, too.

// headerFrom names the worker that sent a message, so that it does not hear
// itself.
const headerFrom = "Outlook-Worker"

// The words on the subject of wishes, and the headers beside them: how many slots
// the one that wants has; the number of the slot that is free, and the worker that
// it is for.
const (
	sayWant    = "want"
	sayFree    = "free"
	headerHeld = "Outlook-Held"
	headerSlot = "Outlook-Slot"
	headerNext = "Outlook-Next"
)

// freedFor is how long those slots that others gave back are the only ones that
// are asked for.
const freedFor = 200 * time.Millisecond

// freed are slots that another worker gave back for this one a moment ago. It had
// found all of them taken, so there is no need to ask for the others.
type freed struct {
	numbers []int
	until   time.Time
}

// maxParkNote bounds what is believed of a parking time.
const maxParkNote = time.Hour

// Want tells the other workers that one waits here for a slot of the mailbox, of
// which this one has so many.
func (s *Slots) Want(mailbox string, held int) {
	s.say(mailbox, sayWant, nats.Header{headerHeld: {strconv.Itoa(held)}})
}

func (s *Slots) say(mailbox, word string, header nats.Header) {
	header.Set(headerFrom, s.id)
	m := &nats.Msg{Subject: s.conn.names.want(s.app, mailbox), Data: []byte(word), Header: header}
	if s.conn.nc.IsConnected() {
		_ = s.conn.nc.PublishMsg(m) // only a wish
	}
}

func (s *Slots) heardWant(mailbox string, m *nats.Msg) {
	switch string(m.Data) {
	case sayWant:
		if s.Waits() <= 0 { // else nobody could take what is given back
			held, _ := strconv.Atoi(m.Header.Get(headerHeld)) // who does not say has none
			s.listen.Wanted(mailbox, m.Header.Get(headerFrom), held)
		}
	case sayFree:
		next := m.Header.Get(headerNext)
		if next == s.id {
			next = ""
			if n, err := strconv.Atoi(m.Header.Get(headerSlot)); err == nil && n > 0 {
				s.noteFreed(mailbox, n)
			}
		}
		s.listen.Freed(mailbox, next)
	}
}

// noteFreed keeps in mind that a slot of a mailbox was given back for this worker.
func (s *Slots) noteFreed(mailbox string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.freed) >= mostFreed {
		maps.DeleteFunc(s.freed, func(_ string, f *freed) bool { return now.After(f.until) })
	}
	f := s.freed[mailbox]
	if f == nil || now.After(f.until) {
		f = &freed{}
		s.freed[mailbox] = f
	}
	f.until = now.Add(freedFor)
	if !slices.Contains(f.numbers, number) {
		f.numbers = append(f.numbers, number)
	}
}

// mostFreed is with how many mailboxes in it the list is cleaned.
const mostFreed = 64

// candidates are the numbers of the slots to be asked for, in this order. Where
// others gave some back for this worker a moment ago, it is the next one of these,
// or none.
func (s *Slots) candidates(mailbox string, limit int) []int {
	s.mu.Lock()
	f := s.freed[mailbox]
	if f != nil && time.Now().Before(f.until) {
		defer s.mu.Unlock()
		for len(f.numbers) > 0 {
			n := f.numbers[0]
			f.numbers = f.numbers[1:]
			if n <= limit {
				return []int{n}
			}
		}
		return nil
	}
	delete(s.freed, mailbox)
	s.mu.Unlock()
	numbers := rnd.Perm(limit)
	for i := range numbers {
		numbers[i]++
	}
	return numbers
}

// parkNote is the body of a parked mailbox's message.
type parkNote struct {
	Wait time.Duration `json:"wait"` // from its storing on
}

// Park tells all workers, and those that come later, to leave a mailbox alone
// for a time. It returns at once.
func (s *Slots) Park(mailbox string, wait time.Duration) {
	data, err := json.Marshal(parkNote{Wait: wait})
	if err != nil {
		return
	}
	m := Msg{Subject: s.conn.names.park(s.app, mailbox), Data: data, TTL: wait + time.Second, Header: Header{
		headerFrom: {s.id}, jetstream.MsgRollup: {jetstream.MsgRollupSubject},
	}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.timeout())
		defer cancel()
		if _, err := s.conn.publish(ctx, m.nats()); err != nil {
			s.conn.log.WarnContext(ctx, "other workers do not know that a mailbox is to be left alone", "wait", wait, "error", err)
		}
	})
}

func (s *Slots) heardPark(mailbox string, m *nats.Msg) { s.parked(mailbox, m.Data, 0) }

func (s *Slots) parked(mailbox string, data []byte, age time.Duration) {
	var note parkNote
	if json.Unmarshal(data, &note) != nil {
		return
	}
	if wait := min(note.Wait, maxParkNote) - max(age, 0); wait > 0 {
		s.listen.Parked(mailbox, time.Now().Add(wait))
	}
}

func (s *Slots) heardUse(mailbox string, m *nats.Msg) { s.listen.Used(mailbox, m.Data) }

// resync reads what was said while nobody listened here, and reports whether it
// could.
func (s *Slots) resync(ctx context.Context) bool {
	if s.listen == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, s.lease)
	defer cancel()
	info, err := s.info(ctx, s.conn.names.SlotsStream())
	if err != nil {
		s.trouble(ctx, "parked mailboxes cannot be read", err)
		return false
	}
	names := s.conn.names
	for kind, heard := range map[string]func(mailbox string, m *jetstream.RawStreamMsg){
		"park": func(mailbox string, m *jetstream.RawStreamMsg) { s.parked(mailbox, m.Data, info.TimeStamp.Sub(m.Time)) },
		"use":  func(mailbox string, m *jetstream.RawStreamMsg) { s.listen.Used(mailbox, m.Data) },
	} {
		err := s.conn.each(ctx, names.SlotsStream(), names.ofApp(kind, s.app), 0, func(m *jetstream.RawStreamMsg) bool {
			if mailbox, ok := names.tail(kind, s.app, m.Subject); ok {
				heard(mailbox, m)
			}
			return true
		})
		if err != nil {
			s.trouble(ctx, "parked mailboxes cannot be read", err)
			return false
		}
	}
	return true
}

// Load returns what is stored about the use of a mailbox, and its sequence: nil
// and 0 where nothing is.
func (s *Slots) Load(ctx context.Context, mailbox string) ([]byte, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	m, err := s.conn.last(ctx, s.conn.names.SlotsStream(), s.conn.names.use(s.app, mailbox))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, mark(ctx, err, "read the use of a mailbox")
	}
	return m.Data, m.Sequence, nil
}

// Store replaces what is stored about the use of a mailbox, if it still has the
// sequence that Load returned, for as long as life. [ErrConflict] says that it
// has not.
func (s *Slots) Store(ctx context.Context, mailbox string, data []byte, after uint64, life time.Duration) (uint64, error) {
	m := Msg{Subject: s.conn.names.use(s.app, mailbox), Data: data, TTL: life, Header: Header{headerFrom: {s.id}}}
	if after > 0 {
		m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	ack, err := s.conn.publish(ctx, m.nats(), jetstream.WithExpectLastSequencePerSubject(after))
	if subjectTaken(err) || wrongSequence(err) {
		return 0, fault.New(fault.Retry, "%w", ErrConflict).WithCode("conflict")
	}
	if err != nil {
		return 0, mark(ctx, err, "store the use of a mailbox")
	}
	return ack.Sequence, nil
}

// Who returns which mailbox a name means, as far as a worker has said: "" where
// none has.
func (s *Slots) Who(ctx context.Context, name string) (mailbox string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	m, err := s.conn.last(ctx, s.conn.names.SlotsStream(), s.conn.names.who(s.app, name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", nil
	}
	if err != nil {
		return "", mark(ctx, err, "read whose mailbox it is")
	}
	return string(m.Data), nil
}

// Meet says which mailbox a name means, for a time, and returns the answer that
// all workers have then: the first one that was given. With replace it is
// always this one.
func (s *Slots) Meet(ctx context.Context, name, mailbox string, life time.Duration, replace bool) (string, error) {
	m := Msg{Subject: s.conn.names.who(s.app, name), Data: []byte(strings.Clone(mailbox)), TTL: life, Header: Header{}}
	if replace {
		m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	_, err := s.conn.publish(ctx, m.nats())
	switch {
	case err == nil:
		return mailbox, nil
	case subjectTaken(err):
		return s.Who(ctx, name)
	}
	return "", mark(ctx, err, "say whose mailbox it is")
}
