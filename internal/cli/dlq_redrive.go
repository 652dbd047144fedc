package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// How a letter is sent again so that a crash at any point neither loses it nor
// sends it twice:
//
//   - The message's key is a function of the letter, <id>/r<n>, so that every
//     try, by whomever, has the same.
//   - It is published first. The queue drops a second one with the key, and what
//     came through long ago is in the ledger, where it is looked for first.
//   - The letter is removed only when one of the two has the message. Whoever
//     stops before that leaves a letter whose next redrive finds the message.

// letterStore is the dead letters as a redrive needs them.
type letterStore interface {
	Delete(ctx context.Context, sequence uint64) error
	Sent(ctx context.Context, receipt jet.Published) (jet.Message, error)
}

// commandQueue takes commands.
type commandQueue interface {
	Publish(ctx context.Context, subject string, header jet.Header, data []byte) (jet.Published, error)
}

// recordReader reads the ledger.
type recordReader interface {
	Load(ctx context.Context, key string) (record []byte, sequence uint64, err error)
}

// redriver sends dead commands again.
type redriver struct {
	letters letterStore
	queue   commandQueue
	ledger  recordReader
	names   jet.Names
	now     func() time.Time

	publishers []string // of the configuration
	edit       edit
	mayTwice   bool // uncertain commands, too
}

// redriven is what became of a letter.
type redriven struct {
	Letter uint64 `json:"dlq_id"`
	// ID is of the command that died, Key is the idempotency key of the new one,
	// and its outcome is told under ResultID.
	ID       string `json:"id"`
	Key      string `json:"key"`
	ResultID string `json:"result_id"`
	Subject  string `json:"subject"`
	// Stream and Sequence say where it is stored; zero where it was sent before.
	Stream   string `json:"stream,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	// SentBefore says that an earlier redrive of this letter, one that did not come
	// to its end, had sent it, and State is how far that has come.
	SentBefore bool   `json:"sent_before"`
	State      string `json:"state,omitempty"`
	// Changes are what --set and --header change.
	Changes []string `json:"changes,omitempty"`
	// Outcome is what --wait waited for.
	Outcome json.RawMessage `json:"outcome,omitempty"`
}

// leftError says why a letter is left as it is. The next one can go on.
type leftError struct{ err error }

func (e *leftError) Error() string { return e.err.Error() }
func (e *leftError) Unwrap() error { return e.err }

func left(hint, format string, args ...any) error {
	return &leftError{fault.New(fault.Poison, format, args...).WithHint("%s", hint)}
}

// maxRedrives bounds the search for a key that no other command has.
const maxRedrives = 100

// prepared is a letter ready to be sent.
type prepared struct {
	publisher.Redrive

	letter  *deadLetter
	changes []string
}

// prepare decides whether a letter can be sent again, and as what, without
// asking anybody.
func (r *redriver) prepare(l *deadLetter) (*prepared, error) {
	c := &l.command
	switch {
	case l.bad != nil:
		return nil, left(fmt.Sprintf("outlook-connector dlq show %d", l.Sequence), "dead letter %d cannot be read: %w", l.Sequence, l.bad)
	case l.Kind == kindItem:
		return nil, left(fmt.Sprintf("correct the cause (%s): the item's next change is told as usual. Then: outlook-connector dlq discard %d", l.Reason, l.Sequence),
			"dead letter %d is no command but an item of subscription %s that could not become an event; only commands can be sent again", l.Sequence, l.Subscription)
	case l.uncertain() && !r.mayTwice:
		return nil, left(fmt.Sprintf("look (outlook-connector dlq show %d says where). It is there: outlook-connector dlq resolve %d --as-done. It is not: outlook-connector dlq redrive %d --%s",
			l.Sequence, l.Sequence, l.Sequence, mayTwiceFlag),
			"dead letter %d is uncertain: the command may have had its effect, and sent again it would have it twice", l.Sequence)
	}
	again, err := c.Redrive()
	if err != nil {
		return nil, left(fmt.Sprintf("publish the message again from where it came from, then: outlook-connector dlq discard %d", l.Sequence),
			"dead letter %d: %w", l.Sequence, err)
	}
	name, _, err := r.names.ParsePublish(c.Subject)
	switch {
	case err != nil:
		return nil, left(fmt.Sprintf("publish it anew: outlook-connector dlq show %d --output json has the message. Then: outlook-connector dlq discard %d", l.Sequence, l.Sequence),
			"dead letter %d was on %s, where no publisher listens", l.Sequence, c.Subject)
	case !slices.Contains(r.publishers, name):
		return nil, left("one of: "+strings.Join(r.publishers, ", ")+"; add the publisher to the configuration, or publish the message to another one",
			"dead letter %d: no publisher named %q in the configuration", l.Sequence, name)
	}
	p := &prepared{letter: l, Redrive: again}
	if err := r.edit.apply(&p.Redrive); err != nil {
		return nil, &leftError{err}
	}
	if at, over := p.Expired(r.now()); over {
		return nil, left("send it without: --header Outlook-Expires=", "dead letter %d: its command expired at %s (Outlook-Expires), and would be refused again",
			l.Sequence, at.Format(time.RFC3339))
	}
	p.changes = difference(again.Data, p.Data)
	for _, h := range r.edit.headers {
		p.changes = append(p.changes, strings.TrimSuffix("header "+h[0]+"="+h[1], "="))
	}
	return p, nil
}

// redrive sends a letter again and removes it.
func (r *redriver) redrive(ctx context.Context, l *deadLetter) (redriven, error) {
	p, err := r.prepare(l)
	if err != nil {
		return redriven{}, err
	}
	done, err := r.send(ctx, p)
	if err != nil {
		return redriven{}, err
	}
	if err := r.letters.Delete(ctx, l.Sequence); err != nil && !errors.Is(err, jet.ErrNotFound) {
		return done, fmt.Errorf("dead letter %d was sent again as %s but could not be removed (redriving it once more only removes it): %w", l.Sequence, done.Key, err)
	}
	return done, nil
}

// send sees to it that the message is in the queue or was, once.
func (r *redriver) send(ctx context.Context, p *prepared) (redriven, error) {
	l := p.letter
	for range maxRedrives {
		done := redriven{Letter: l.Sequence, ID: l.ID, Key: p.Key(), ResultID: p.ResultID(), Subject: l.command.Subject, Changes: p.changes}
		before, state, err := r.sentBefore(ctx, p)
		if err == nil && before == nobodys {
			before, err = r.publish(ctx, p, &done)
		}
		switch {
		case err != nil:
			return redriven{}, err
		case before == others:
			p.N++
			continue
		case before == ours:
			done.SentBefore, done.State = true, cmp.Or(state, done.State)
		}
		return done, nil
	}
	return redriven{}, left("", "dead letter %d: the keys %s/r1 to r%d belong to other commands", l.Sequence, p.Of, p.N)
}

// owner says whose a key is.
type owner int

const (
	nobodys owner = iota
	ours          // of an earlier redrive of this letter
	others        // of another command
)

// sentBefore looks into the ledger for the message.
func (r *redriver) sentBefore(ctx context.Context, p *prepared) (owner, string, error) {
	key := p.LedgerKey(p.letter.command.Publisher)
	data, _, err := r.ledger.Load(ctx, key)
	if err != nil || data == nil {
		return nobodys, "", err
	}
	record, err := publisher.ReadRecord(data)
	switch {
	case err != nil:
		return nobodys, "", left("update this outlook-connector", "dead letter %d: the ledger's record of %s cannot be read: %w", p.letter.Sequence, p.Key(), err)
	case record.Received.Before(p.letter.command.ReceivedAt):
		// Sent before the letter's own message was: ids that the queue gave are
		// given again after the stream was made anew.
		return others, "", nil
	case record.Of(p.Data):
		return ours, record.State, nil
	default:
		return nobodys, "", r.otherText(p, record.State)
	}
}

// publish sends the message. It returns nobodys where it is new.
func (r *redriver) publish(ctx context.Context, p *prepared, done *redriven) (owner, error) {
	l := p.letter
	receipt, err := r.queue.Publish(ctx, l.command.Subject, p.Sealed(), p.Data)
	if fault.KindOf(err) == fault.Poison {
		return nobodys, &leftError{fmt.Errorf("dead letter %d: %w", l.Sequence, err)}
	}
	if err != nil {
		return nobodys, err
	}
	if !receipt.Duplicate {
		done.Stream, done.Sequence = receipt.Stream, receipt.Sequence
		return nobodys, nil
	}
	// The queue has dropped it for another with the same key, and says no more:
	// see that it was this one.
	sent, err := r.letters.Sent(ctx, receipt)
	switch {
	case errors.Is(err, jet.ErrNotFound):
		before, state, err := r.sentBefore(ctx, p)
		if err == nil && before != ours {
			err = left("try again in ten minutes, when the queue has forgotten the key",
				"dead letter %d: a command with the key %s went out within the last ten minutes, and it cannot be told whether it was this one", l.Sequence, p.Key())
		}
		done.State = state
		return before, err
	case err != nil:
		return nobodys, err
	case sent.Subject != l.command.Subject:
		return others, nil
	case !bytes.Equal(sent.Data, p.Data):
		return nobodys, r.otherText(p, "waiting")
	default:
		return ours, nil
	}
}

// otherText is the error of a letter that was sent with other changes.
func (r *redriver) otherText(p *prepared, state string) error {
	return left(fmt.Sprintf("see what becomes of that one: where it fails it has a dead letter of its own. Then: outlook-connector dlq discard %d", p.letter.Sequence),
		"dead letter %d was redriven before, with another text, as %s (%s), and twice is refused", p.letter.Sequence, p.Key(), state)
}
