package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// Delays with which a message goes back where nothing asks for a certain one.
// Each is the most; a random part of it is taken, so that many messages do not
// come back together.
const (
	delayFull    = 500 * time.Millisecond // the publisher has all in hand that it may
	delayHeld    = 2 * time.Second        // the same command is being worked on
	delayBusy    = time.Second            // no slot of the mailbox, and no hint when
	delayJournal = 5 * time.Second
	delayTelling = 5 * time.Second
	delayPanic   = time.Minute
	delayFirst   = time.Second // of the backoff: doubled with each attempt
	delayMost    = 5 * time.Minute
	delayLeast   = 100 * time.Millisecond
	delayReauth  = 10 * time.Second // a person has to act; each try asks the token store
	delayUnknown = 15 * time.Second // no such publisher here
)

// patienceUnknown is how long a command waits for a worker that knows its
// publisher. In a rolling deployment the workers have different configurations
// for a while, and whichever is free gets the message.
const patienceUnknown = 5 * time.Minute

// maxDelay is the longest time for which a message is given back; one that is
// put off for longer comes by in between, which keeps its delay right when
// clocks are set.
const maxDelay = time.Hour

// takeOver is how long a record that belongs to another message with the same
// key is left alone. That message is redelivered much sooner than this; where
// it is not, it is gone.
const takeOver = 5 * time.Minute

// maxRounds bounds how often one delivery starts over because somebody else
// moved its record.
const maxRounds = 4

// Worker carries out commands. It keeps nothing that cannot be lost, and any
// number of them may share a journal.
type Worker struct {
	catalog       *catalog.Catalog
	outlook       Outlook
	journal       Journal
	outcomes      Outcomes
	audit         Audit // nil: off
	slots         Slots
	uploader      *uploader
	replyPrefixes []string
	log           *slog.Logger
	metrics       *metrics
	now           func() time.Time
	jitter        func(most time.Duration) time.Duration
	publishers    map[string]*definition
	names         []string
	before        patience // with the ledger
	after         patience
	telling       patience

	mu       sync.Mutex
	held     map[string]struct{}  // keys of the commands in hand
	unstored map[string]record    // what the journal could not take
	plainly  map[string]time.Time // until when no draft is made for a client in a mailbox
}

// job is one delivery being worked on. It belongs to one goroutine.
type job struct {
	w     *Worker
	m     Message
	def   *definition // nil: no such publisher
	label string      // of the metrics: a publisher's name, or "unknown"
	shelf string      // of the dead letters: any name that can be one, or "unknown"
	who   identity
	reply string // subject for a copy of the outcome, or ""
	log   slog.Logger

	rec record // as stored at revision rev
	rev uint64

	ended bool // by this very delivery
	begun bool // holds the gate of that name
	bare  bool // no record says that its request was made, see unwritten
}

// Handle works on one delivery of a command until it has ended or has to wait,
// and says what to do with the delivery. It may be called from any number of
// goroutines; it starts none.
//
// When ctx ends, a request that is under way is left to the [Outlook] to
// break off, and what came of it is still recorded: Handle then returns within
// a bounded time (twice 20 seconds where the journal and the outcomes are gone
// as well, at once where they are not).
func (w *Worker) Handle(ctx context.Context, m Message) (v Verdict) {
	j := w.open(m)
	defer func() {
		// A panic that is left here came while the command was being ended. What
		// is stored is stored; the next delivery goes on from there.
		if p := recover(); p != nil {
			j.row().panics.Inc()
			j.log.ErrorContext(ctx, "panic while ending a command", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			v = Again(w.spread(delayPanic))
		}
	}()
	if j.def != nil {
		select {
		case j.def.gates.hand <- struct{}{}:
			defer func() { <-j.def.gates.hand }()
		default:
			return Again(w.spread(delayFull))
		}
	}
	if !w.hold(j.who.key) {
		j.log.DebugContext(ctx, "command is in hand already")
		return Again(w.spread(delayHeld))
	}
	defer w.letGo(j.who.key)
	gauge := j.row().inFlight
	gauge.Inc()
	defer gauge.Dec()
	if j.def != nil {
		ctx = withGates(ctx, &j.def.gates)
	}
	return j.run(ctx)
}

func (w *Worker) open(m Message) *job {
	j := &job{w: w, m: m, def: w.publishers[m.Publisher], label: m.Publisher}
	scope := m.Publisher
	j.shelf = m.Publisher
	if j.def == nil {
		j.label = unknownPublisher
		if !validName(m.Publisher) {
			scope, j.shelf = "-", unknownPublisher
		}
	}
	j.who = identify(&j.m, scope)
	j.reply, _ = w.replyTo(&j.m) // a refused one is the plan's to report
	j.log = *slog.New((*naming)(j))
	return j
}

func (j *job) run(ctx context.Context) (v Verdict) {
	defer func() {
		if p := recover(); p != nil {
			v = j.panicked(ctx, p)
		}
	}()
	for n := range maxRounds {
		if ctx.Err() != nil {
			return Again(0)
		}
		if v, ok := j.round(ctx, n == 0 && j.m.Fresh); ok {
			return v
		}
	}
	return Again(j.w.spread(delayHeld))
}

// round reads the record and takes the command as far as it goes. It returns
// false where somebody else moved the record meanwhile, or there is one though
// this was to be the first to write it.
func (j *job) round(ctx context.Context, first bool) (Verdict, bool) {
	if _, known := j.w.recall(j.who.key); first && !known {
		j.rec, j.rev = record{}, 0
	} else if v, ended, ok := j.read(ctx); !ok {
		return v, ended
	}
	return j.goOn(ctx)
}

// read reads the record. Without ok the delivery has ended with the verdict, or the
// record has to be read again.
func (j *job) read(ctx context.Context) (v Verdict, ended, ok bool) {
	switch err := j.load(ctx); {
	case errors.Is(err, ErrConflict):
		return Verdict{}, false, false
	case errors.Is(err, errUnreadable):
		return j.unreadable(ctx, err), true, false
	case err != nil:
		return j.journalTrouble(ctx, err), true, false
	case j.rec.State == stateNone && !j.who.given:
		v, told := j.toldAlready(ctx)
		return v, told, !told
	}
	return Verdict{}, false, true
}

// goOn takes the command on from where its record says that it is.
func (j *job) goOn(ctx context.Context) (Verdict, bool) {
	now := j.w.now()
	switch {
	case j.rec.State != stateNone && j.rec.Hash != j.who.hash:
		return j.reused(ctx), true
	case j.rec.State.terminal():
		return j.tell(ctx), true
	case j.rec.State != stateNone && j.rec.Source != j.who.source && now.Before(later(j.rec.Touched, j.rec.NotUntil).Add(takeOver)):
		j.log.DebugContext(ctx, "another message with this key is being worked on")
		return Again(j.w.spread(2 * delayHeld)), true
	case j.rec.State == stateSending && j.rec.inDoubt() == leave:
		return j.finish(ctx, ending{state: stateUncertain, problem: errUnknownEnd()})
	}
	p, err := j.w.plan(ctx, &j.m, j.def)
	if err != nil {
		if ctx.Err() != nil {
			return Again(0), true
		}
		if wait := j.unknownFor(now); wait > 0 {
			j.log.WarnContext(ctx, "no such publisher in this worker, command waits for another",
				"name", clip(j.m.Publisher), "after", wait, "error", err, "hint", fault.HintOf(err))
			return Again(wait), true
		}
		if wait := j.planWait(ctx, p, err, now); wait > 0 {
			return Again(wait), true
		}
		return j.finish(ctx, ending{state: j.unanswered(), plan: p, problem: asFault(err)})
	}
	if err := j.inherit(ctx, p); err != nil {
		return j.journalTrouble(ctx, err), true
	}
	r := j.w.recipe(p, j.key())
	if j.rec.State == stateNone && r.plain != nil && j.w.isPlain(p) {
		j.rec.Plain = true
	}
	if j.rec.Plain && r.plain != nil {
		r = r.plain
	}
	at, known := r.at(j.rec.Step)
	if j.stranded(r, at, known) {
		return j.finish(ctx, ending{state: stateUncertain, plan: p, recipe: r, problem: errUnknownEnd()})
	}
	if j.looking(r, at) {
		if r.steps[at].find == nil {
			return j.finish(ctx, ending{state: stateUncertain, plan: p, recipe: r, problem: errUnknownEnd()})
		}
		// Its time may be over: whether it had its effect is still to be told.
		if now.Before(j.rec.NotUntil) {
			return Again(min(j.rec.NotUntil.Sub(now), maxDelay)), true
		}
		return j.lookUp(ctx, p, r, at)
	}
	if v, end, ok := j.notNow(ctx, p, now); ok {
		if end != nil {
			return j.giveUp(ctx, p, r, *end)
		}
		return v, true
	}
	if err := j.w.auditReady(); err != nil {
		return j.unrecorded(ctx, err), true
	}
	return j.attempt(ctx, p, r)
}

// stranded reports whether the command cannot go on by this recipe: a request of
// unknown end was made that the recipe does not know, or leaves alone, or something
// was made that it would make again. The configuration has changed since.
func (j *job) stranded(r *recipe, at int, known bool) bool {
	switch {
	case j.rec.State == stateNone:
		return false
	case !known:
		return j.rec.open() || j.rec.Item != "" && !j.rec.Draft
	default:
		return j.rec.open() && r.steps[at].doubt == leave
	}
}

// looking reports whether the effect of a request is to be looked for before anything
// else is done: of one that is under way, or that was left to be repeated by another
// delivery.
func (j *job) looking(r *recipe, at int) bool {
	switch j.rec.State {
	case stateSending:
		return j.rec.inDoubt() == look
	case stateClaimed:
		return j.rec.Open && r.steps[at].doubt == look && j.rec.inDoubt() != look
	default:
		return false
	}
}

// notNow looks at the clock: whether the command must wait, or has had its
// time.
func (j *job) notNow(ctx context.Context, p *plan, now time.Time) (Verdict, *ending, bool) {
	giveUp := j.giveUpAt(p)
	switch {
	case now.Before(p.notBefore):
		j.log.DebugContext(ctx, "command is put off", "until", p.notBefore)
		return Again(min(p.notBefore.Sub(now), maxDelay)), nil, true
	case !p.expires.IsZero() && !now.Before(p.expires):
		problem := refuse("expired", "the command expired at %s", p.expires.Format(time.RFC3339))
		return Verdict{}, &ending{state: j.unanswered(), plan: p, problem: problem}, true
	case !now.Before(giveUp):
		return Verdict{}, &ending{state: j.unanswered(), plan: p, problem: j.gaveUp()}, true
	case now.Before(j.rec.NotUntil):
		return Again(min(j.rec.NotUntil.Sub(now), giveUp.Sub(now), maxDelay)), nil, true
	}
	return Verdict{}, nil, false
}

// unknownFor is how long to leave a command whose publisher this worker does
// not know to the others; zero where there is one, or nobody can know it, or it
// has waited long enough. A record shows that somebody knew it.
func (j *job) unknownFor(now time.Time) time.Duration {
	if j.def != nil || !validName(j.m.Publisher) {
		return 0
	}
	due := j.m.Received
	if at, err := readTime(j.m.Header, headerNotBefore); err == nil && at.Sub(due) <= MaxNotBefore {
		due = later(due, at)
	}
	if now.Before(due) {
		return min(due.Sub(now), maxDelay)
	}
	until := later(due, later(j.rec.Touched, j.rec.NotUntil)).Add(patienceUnknown)
	if !now.Before(until) {
		return 0
	}
	return min(j.w.about(delayUnknown), until.Sub(now))
}

func (j *job) giveUpAt(p *plan) time.Time {
	return later(j.m.Received, p.notBefore).Add(j.def.GiveUpAfter)
}

// gaveUp says why a command's time is over.
func (j *job) gaveUp() *fault.Error {
	if j.rec.Cause == nil {
		return refuse("gave_up", "gave up after %s: its turn never came", j.def.GiveUpAfter).
			WithHint("the mailbox was busy or put off all that time; outlook-connector status shows its queue")
	}
	if j.rec.Attempts == 0 {
		return refuse("gave_up", "gave up after %s without a request: %s", j.def.GiveUpAfter, j.rec.Cause.Message).
			WithHint("%s", j.rec.Cause.Hint)
	}
	err := refuse("gave_up", "gave up after %s and %d attempts; the last one: %s", j.def.GiveUpAfter, j.rec.Attempts, j.rec.Cause.Message)
	if j.rec.Cause.Hint != "" {
		return err.WithHint("%s", j.rec.Cause.Hint)
	}
	return err
}

// unanswered is how a command ends that will not be tried (again): uncertain
// where an earlier request may have had its effect.
func (j *job) unanswered() state {
	if j.rec.open() {
		return stateUncertain
	}
	return stateFailed
}

// errUnknownEnd is the problem of a request that was under way when its worker
// stopped.
func errUnknownEnd() *fault.Error {
	return refuse("uncertain_effect", "a worker stopped after it had begun the request, so nobody knows whether it had its effect").
		WithHint("look in the mailbox before you send it again")
}

// journalTrouble gives the message back because the ledger does not answer.
// Without it nothing is sent.
func (j *job) journalTrouble(ctx context.Context, err error) Verdict {
	if fault.Stopped(ctx, err) {
		return Again(0)
	}
	j.log.WarnContext(ctx, "ledger does not answer, command waits",
		"remedy", fault.KindOf(err).String(), "error", err, "hint", fault.HintOf(err))
	return Again(j.w.spread(delayJournal))
}

// spread is a random delay of at least half of most.
func (w *Worker) spread(most time.Duration) time.Duration {
	return most/2 + w.jitter(most/2)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
