package publisher

import (
	"context"
	"fmt"
	"strings"
)

// A command that a person sends again after it ended as uncertain may have had its
// effect by then. Its new message names the old one's ledger record, and takes over
// from there: the first thing is the look that the old one did not come to, or that
// found nothing then. Only where there is still nothing is it done anew.

// inherit takes over from the uncertain command that the message sends again, where
// there is one and its effect can be looked for.
func (j *job) inherit(ctx context.Context, p *plan) error {
	key := first(j.m.Header, headerRedriveUncertain)
	if j.rec.State != stateNone || p.delivery != ExactlyOnce || key == j.who.key || !strings.HasPrefix(key, j.m.Publisher+".") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patienceBefore)
	defer cancel()
	data, _, err := j.w.journal.Load(ctx, key)
	if err != nil {
		return fmt.Errorf("load ledger record of the first command: %w", err)
	}
	old := record{State: stateUncertain, Mailbox: p.mailbox, Entity: p.op.ID} // the ledger forgets
	if data != nil {
		if old, err = decodeRecord(data); err != nil {
			return nil // what nobody can read nobody can go on from
		}
	}
	if old.State != stateUncertain || old.Mailbox != p.mailbox || old.Entity != p.op.ID {
		return nil
	}
	mark := orElse(old.Mark, key)
	r := j.w.recipe(p, mark)
	at, known := r.at(old.Step)
	if !known || r.steps[at].find == nil || data == nil && r.marker == "" {
		return nil
	}
	j.rec = record{
		State: stateSending, Doubt: look, Mark: mark, Step: old.Step, Begun: old.Begun, Item: old.Item, Draft: old.Draft,
		Mailbox: old.Mailbox, Entity: old.Entity, Touched: old.Touched, // from where a look waits
	}
	return nil
}

// key is what the command's markers are made of.
func (j *job) key() string { return orElse(j.rec.Mark, j.who.key) }

// anew begins a command that was sent again, and of whose first message there is no
// effect, as if it was new.
func (t *turn) anew(ctx context.Context) (Verdict, bool) {
	next := record{State: stateClaimed, Attempts: t.rec.Attempts, Mailbox: t.rec.Mailbox, Entity: t.rec.Entity}
	t.rec = next
	t.r = t.w.recipe(t.p, t.key())
	return t.proceed(ctx)
}
