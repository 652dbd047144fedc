package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"outlook-connector/internal/fault"
)

// How long a record is tried to be stored. Before an effect there is nothing
// to lose by giving the message back; after it the worker is the only one who
// knows what happened, and holds on.
const (
	patienceBefore = 5 * time.Second
	patienceAfter  = 20 * time.Second
)

// errUnreadable marks a record that this program cannot read.
var errUnreadable = errors.New("ledger record is not readable")

// load reads the command's record. What this process could not store at its
// last try counts as stored, as long as nobody else has moved the record.
func (j *job) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patienceBefore)
	defer cancel()
	data, revision, err := j.w.journal.Load(ctx, j.who.key)
	if err != nil {
		return fmt.Errorf("load ledger record: %w", err)
	}
	j.rec, j.rev, j.bare = record{}, revision, false
	if data != nil {
		if j.rec, err = decodeRecord(data); err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	known, ok := j.w.recall(j.who.key)
	if !ok {
		return nil
	}
	// Of an attempt that was not written down there is no record (see unwritten).
	if data != nil && (j.rec.State != stateSending || j.rec.Try != known.Try) {
		j.w.forget(j.who.key) // somebody else went on with it
		return nil
	}
	if err := j.save(ctx, &known, &j.w.before); err != nil {
		if !unstorable(err) {
			return err
		}
		j.sign(&known)
		j.rec = known // was counted when its command ended
		return nil
	}
	if known.State.terminal() {
		j.count(ctx, time.Time{}, known.Outcome)
	}
	return nil
}

// save stores a record over the one that the job has read. It returns
// [ErrConflict] where somebody else's record is there now; any other error
// means that nobody knows whether the record is stored.
//
// A text that the journal will never take is tried once more without what may
// be long; an error that is [unstorable] then is final as well.
//
// A lost answer is met with the same Save again: where the first had come
// through, the second conflicts with it, and the stored bytes are our own.
//
// What is before an effect is not begun, and not tried again, once ctx has ended. It is
// not broken off either: nobody would know what the ledger says.
func (j *job) save(ctx context.Context, r *record, p *patience) error {
	j.sign(r)
	next := *r
	data, err := next.encode()
	if err != nil {
		return err
	}
	var stop <-chan struct{}
	if p == &j.w.before {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("store ledger record: %w", err)
		}
		stop = ctx.Done()
	}
	ctx = p.over(ctx)
	clipped := false
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		revision, err := j.w.journal.Save(ctx, j.who.key, data, j.rev)
		if errors.Is(err, ErrConflict) {
			var stored []byte
			stored, revision, err = j.w.journal.Load(ctx, j.who.key)
			if err == nil && !bytes.Equal(stored, data) {
				return ErrConflict
			}
		}
		if err == nil {
			j.rec, j.rev = next, revision
			j.w.forget(j.who.key)
			return nil
		}
		if unstorable(err) {
			if clipped {
				return fmt.Errorf("store ledger record: %w", err)
			}
			j.log.ErrorContext(ctx, "ledger refuses a record, which is stored without its long parts",
				"bytes", len(data), "remedy", fault.KindOf(err).String(), "error", err, "hint", fault.HintOf(err))
			next, clipped = next.small(), true
			if data, err = next.encode(); err != nil {
				return err
			}
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-stop:
		case <-ctx.Done():
		}
		timer.Stop()
		return fmt.Errorf("store ledger record: %w", err)
	}
}

// sign puts into a record what makes it this message's.
func (j *job) sign(r *record) {
	r.Version, r.Hash, r.Source, r.Touched = recordVersion, j.who.hash, j.who.source, j.w.now().UTC()
}

// unstorable reports whether the journal will never take a text. To offer it
// again would hold its command back for ever.
func unstorable(err error) bool { return fault.KindOf(err) == fault.Poison }

// settle stores what is known after an attempt. It does not stop with the
// worker: what happened is written down even on the way out. What cannot be
// stored is remembered, because the message most likely comes back to this
// process, and anybody else would have to call it uncertain.
func (j *job) settle(ctx context.Context, next *record) error {
	err := j.save(ctx, next, &j.w.after)
	if err != nil && !errors.Is(err, ErrConflict) {
		j.w.remember(j.who.key, *next)
	}
	return err
}

// Bounds of the memory of records that could not be stored: there is at most
// one for each request that was under way when the journal went, and a message
// that has not come back by then went to another process.
const (
	maxRemembered = 1024
	rememberFor   = 15 * time.Minute
)

func (w *Worker) remember(key string, r record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Touched = w.now()
	w.dropOld(r.Touched)
	if len(w.unstored) < maxRemembered {
		w.unstored[key] = r
	}
}

// inTrouble reports whether there are records that could not be stored.
func (w *Worker) inTrouble() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unstored) > 0 {
		w.dropOld(w.now())
	}
	return len(w.unstored) > 0
}

// dropOld forgets the records of commands that went to another process. The caller
// holds the lock.
func (w *Worker) dropOld(now time.Time) {
	maps.DeleteFunc(w.unstored, func(_ string, old record) bool { return now.Sub(old.Touched) > rememberFor })
}

func (w *Worker) recall(key string) (record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.unstored[key]
	return r, ok
}

func (w *Worker) forget(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unstored, key)
}

// hold marks a command as in this process's hands; false where it is already:
// the message came back while its first delivery is still worked on, or the
// same key came twice.
func (w *Worker) hold(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, held := w.held[key]; held {
		return false
	}
	w.held[key] = struct{}{}
	return true
}

func (w *Worker) letGo(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, key)
}
