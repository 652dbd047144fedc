package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/retry"
)

const (
	// stockEvery is how often NATS is asked what it holds, and stockAge how long an
	// answer is good: an older one is not shown, since nobody knows what is there.
	stockEvery = 15 * time.Second
	stockAge   = time.Minute
	// stockPatience bounds one look.
	stockPatience = 10 * time.Second
	// uncertainMost bounds how many dead letters are read to count those of an
	// uncertain end.
	uncertainMost = 5000
)

// stock is what NATS held when it was last asked: the same for every worker. The
// zero value is that it was not asked yet.
type stock struct {
	mu     sync.Mutex
	holds  holdings
	letter letterMark
}

// holdings is one look.
type holdings struct {
	at        time.Time
	streams   []jet.StreamStatus
	lanes     jet.LaneCounts
	dead      map[string]uint64 // letters by kind
	uncertain int               // of those; -1: not known
}

// letterMark is how the dead letters were when they were last read. Where they are
// still so, they need not be read again.
type letterMark struct {
	messages, last uint64
	first          time.Time
	uncertain      int
}

// now returns the last look, where it is not too old.
func (s *stock) now() (holdings, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds, time.Since(s.holds.at) < stockAge
}

// stream returns what a stream held.
func (h holdings) stream(name string) (jet.StreamStatus, bool) {
	for _, s := range h.streams {
		if s.Name == name && !s.Missing {
			return s, true
		}
	}
	return jet.StreamStatus{}, false
}

// watchStock asks NATS from time to time what it holds, until ctx ends.
func (w *Worker) watchStock(ctx context.Context) error {
	last := w.tryStock(ctx, "")
	for retry.Sleep(ctx, cmp.Or(w.o.streamsEvery, stockEvery)) == nil {
		last = w.tryStock(ctx, last)
	}
	return nil
}

// tryStock looks and logs what is in the way, once for each reason.
func (w *Worker) tryStock(ctx context.Context, last string) string {
	err := w.lookAtStock(ctx)
	if err == nil || ctx.Err() != nil {
		return ""
	}
	if err.Error() != last && w.conn.Ready() == nil {
		w.log.WarnContext(ctx, "metrics of nats are not up to date", "error", err)
	}
	return err.Error()
}

func (w *Worker) lookAtStock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stockPatience)
	defer cancel()
	h := holdings{at: time.Now()}
	var err error
	if h.streams, err = w.conn.Status(ctx); err != nil {
		return err
	}
	if h.lanes, err = w.conn.Lanes(ctx); err != nil {
		return err
	}
	if h.dead, err = w.deadLetters(ctx); err != nil {
		return err
	}
	// Last, and its failure costs nothing else: a worker may not be allowed to read
	// dead letters.
	h.uncertain, err = w.countUncertain(ctx, h)
	if err != nil {
		h.uncertain = -1
	}
	w.stock.mu.Lock()
	defer w.stock.mu.Unlock()
	w.stock.holds = h
	return err
}

// countUncertain counts the dead letters of commands that ended uncertain. They
// are read only where something has changed since they last were.
func (w *Worker) countUncertain(ctx context.Context, h holdings) (int, error) {
	letters, _ := h.stream(w.conn.Names().DeadStream())
	now := letterMark{messages: letters.Messages, last: letters.Last, first: letters.First}
	w.stock.mu.Lock()
	before := w.stock.letter
	w.stock.mu.Unlock()
	if before.messages == now.messages && before.last == now.last && before.first.Equal(now.first) {
		return before.uncertain, nil
	}
	if h.dead[deadPublish] > 0 {
		read := 0
		err := w.conn.DeadLetters().Each(ctx, jet.DeadQuery{}, func(l jet.DeadLetter, _ uint64) bool {
			if deadKind(l.Subject) == deadPublish && uncertain(l.Data) {
				now.uncertain++
			}
			read++
			return read < uncertainMost
		})
		if err != nil {
			return 0, err
		}
	}
	w.stock.mu.Lock()
	defer w.stock.mu.Unlock()
	w.stock.letter = now
	return now.uncertain, nil
}

// The kinds of dead letters: commands, and entities of feeds.
const (
	deadPublish = "publish"
	deadEvent   = "event"
)

// deadKind is the kind of a dead letter, from its subject.
func deadKind(subject string) string {
	if tokens := strings.SplitN(subject, ".", 4); len(tokens) == 4 {
		return tokens[2]
	}
	return ""
}

// deadLetters counts the stored dead letters by kind.
func (w *Worker) deadLetters(ctx context.Context) (map[string]uint64, error) {
	bySubject, err := w.conn.DeadLetters().Count(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[string]uint64{deadPublish: 0, deadEvent: 0}
	for subject, n := range bySubject {
		if kind := deadKind(subject); kind != "" {
			counts[kind] += n
		}
	}
	return counts, nil
}

// uncertain reports whether a dead letter is of a command that may have had its
// effect.
func uncertain(letter []byte) bool {
	var l struct {
		Outcome struct {
			Outcome string `json:"outcome"`
		} `json:"outcome"`
	}
	return json.Unmarshal(letter, &l) == nil && l.Outcome.Outcome == "uncertain"
}
