package publisher

import (
	"context"
	"errors"
	"maps"
	"time"

	"outlook-connector/internal/fault"
)

// delayLook is when a look that could not be made is tried again, patienceLook how
// long after its time a command still waits to be looked for.
const (
	delayLook    = 10 * time.Second
	patienceLook = time.Hour
)

// lookUp finds out whether a request had its effect of which nobody knows, and goes
// on from there.
func (j *job) lookUp(ctx context.Context, p *plan, r *recipe, at int) (Verdict, bool) {
	s := &r.steps[at]
	if due := j.rec.Touched.Add(j.def.Settle); j.rec.NotUntil.IsZero() && j.w.now().Before(due) {
		return Again(due.Sub(j.w.now())), true
	}
	t, v, ok := j.take(ctx, p, r)
	if !ok {
		return v, true
	}
	defer t.release()
	if err := j.w.outlook.Ready(ctx, p.call.Client); err != nil {
		return j.notReady(ctx, p, err)
	}
	if j.overdue() || ctx.Err() != nil {
		return Again(0), true
	}
	seek := &seeker{w: j.w, plan: p, recipe: r, step: s, marker: r.marker, rec: j.rec}
	found, err := s.find(ctx, seek)
	j.row().looks.Inc()
	if err != nil {
		return t.blind(ctx, err)
	}
	j.log.InfoContext(ctx, "looked for the effect of a request of unknown end", "entity", p.op.ID, "mailbox", p.mailbox,
		"step", s.name, "found", found.where.String(), "item", found.item, "requests", seek.requests)
	return t.follow(ctx, at, found)
}

// blind is what comes of a look that could not be made.
func (t *turn) blind(ctx context.Context, err error) (Verdict, bool) {
	if fault.Stopped(ctx, err) {
		return Again(0), true
	}
	marked := fault.Of(err)
	if (ambiguous(marked) || passing(marked.Kind)) && t.w.now().Before(t.giveUpAt(t.p).Add(patienceLook)) {
		delay := max(marked.After, t.w.about(delayLook))
		t.log.WarnContext(ctx, "the effect of a request could not be looked for", "remedy", marked.Kind.String(),
			"code", marked.Code, "after", delay, "error", marked, "hint", fault.HintOf(err))
		return Again(min(delay, maxDelay)), true
	}
	problem := refuse("uncertain_effect", "no final answer from Outlook, and its effect cannot be looked for: %w", marked).
		WithHint("look in the mailbox before you send it again")
	return t.finish(ctx, ending{state: stateUncertain, plan: t.p, recipe: t.r, problem: problem})
}

// follow goes on by what was found.
func (t *turn) follow(ctx context.Context, at int, found finding) (Verdict, bool) {
	s := &t.r.steps[at]
	next := t.rec
	// A look may be wrong, and the request may come late: it stays open.
	next.State, next.Open, next.NotUntil, next.Looked = stateClaimed, true, time.Time{}, 0
	switch {
	case found.where == there && at < len(t.r.steps)-1 && !found.final:
		t.advance(at, found.item)
		t.made = "" // the record of an earlier attempt may name it, or another worker's
		return t.proceed(ctx)
	case found.where == there:
		return t.finish(ctx, ending{state: stateDone, plan: t.p, recipe: t.r, found: &found})
	case found.where == clashes && s.doubt != look && t.rec.Mark != "" && t.rec.Attempts == 0:
		return t.anew(ctx) // nothing of it, and no request has said that there was
	case found.where == clashes && s.doubt != look && !t.rec.Open:
		return t.finish(ctx, ending{state: stateFailed, plan: t.p, recipe: t.r, problem: refuse("key_reused", "%s", found.why).
			WithHint("give each command a %s of its own", headerMsgID)})
	case found.where == clashes:
		return t.finish(ctx, ending{state: stateUncertain, plan: t.p, recipe: t.r, problem: refuse("conflict", "%s", found.why).
			WithHint("read the item and send the command again if it is still wanted")})
	case found.where == nowhere && s.twice && t.rec.Looked+1 < looks:
		next = t.rec
		next.Looked++
		next.NotUntil = t.w.now().Add(t.def.Settle).UTC()
		switch err := t.settle(ctx, &next); {
		case errors.Is(err, ErrConflict):
			return Verdict{}, false
		case err != nil:
			return t.journalTrouble(ctx, err), true
		}
		return Again(t.def.Settle), true
	case found.where == nowhere && t.rec.Mark != "" && t.rec.Attempts == 0 && !t.over():
		return t.anew(ctx)
	case (found.where == pending || s.again) && t.over():
		return t.finish(ctx, ending{state: stateUncertain, plan: t.p, recipe: t.r, problem: t.gaveUp()})
	case found.where == pending:
		if found.item != "" {
			next.Item = found.item
		}
		t.rec = next
		return t.proceed(ctx)
	case s.again:
		t.rec = next
		return t.proceed(ctx)
	default:
		problem := refuse("uncertain_effect", "no final answer from Outlook, and nothing of its effect was found in %d looks", looks).
			WithHint("look in the mailbox, also in Deleted Items, before you send it again")
		return t.finish(ctx, ending{state: stateUncertain, plan: t.p, recipe: t.r, problem: problem})
	}
}

// proceed makes the requests that are left to be made after a look, which is made again
// where they have to wait.
func (t *turn) proceed(ctx context.Context) (Verdict, bool) {
	if err := t.w.auditReady(); err != nil {
		return t.unrecorded(ctx, err), true
	}
	return t.steps(ctx)
}

// over reports whether the command's time is over.
func (t *turn) over() bool {
	now := t.w.now()
	return !now.Before(t.giveUpAt(t.p)) || !t.p.expires.IsZero() && !now.Before(t.p.expires)
}

// String is for the log.
func (w where) String() string {
	return [...]string{"nothing", "still to be done", "done", "changed by somebody else"}[w]
}

// plainFor is how long no draft is tried to be made where none may be: a person may
// grant the permission meanwhile.
const plainFor = 10 * time.Minute

// goPlain notes that a client may not make drafts in a mailbox.
func (w *Worker) goPlain(p *plan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	maps.DeleteFunc(w.plainly, func(_ string, until time.Time) bool { return now.After(until) })
	if len(w.plainly) < maxRemembered {
		w.plainly[p.call.Client+" "+p.mailbox] = now.Add(plainFor)
	}
}

func (w *Worker) isPlain(p *plan) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now().Before(w.plainly[p.call.Client+" "+p.mailbox])
}
