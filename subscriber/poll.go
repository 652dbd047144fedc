package subscriber

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

const (
	// leastWait keeps a feed that could not be polled from coming back at once.
	leastWait = 10 * time.Millisecond
	// fencedWait is how long a feed rests that another worker is polling.
	fencedWait = time.Second
	// reauthWait is how often a feed looks whether its account has signed in
	// again, poisonWait whether what was refused is allowed now.
	reauthWait = time.Minute
	poisonWait = 5 * time.Minute
	// fullWait is how often a feed asks whether the stream has room again. It is
	// asked with a page that Graph had to give, so not more often.
	fullWait = 30 * time.Second

	// codeFull is the code of a [Stream] that has no room.
	codeFull = "store_full"
)

// failures says how waits grow with the failures of a feed in a row.
var failures = retry.Policy{Initial: time.Second, Max: 5 * time.Minute}

// poll polls one feed and says when it is due again. It never fails: what goes
// wrong with a feed stays with that feed. cancel stops the subscriber.
func (s *Subscriber) poll(ctx context.Context, feed Feed, data []byte, cancel context.CancelCauseFunc) (next Next) {
	reg := s.registered(ctx, feed, data)
	sub, st, known := s.roster.find(feed, reg, time.Now())
	if !known {
		return s.stranger(ctx, feed, time.Now())
	}
	if reg.Paused {
		return Next{After: pausedRest(st.pause())}
	}
	if wait := s.firstWait(sub, feed, reg.Registered); wait > 0 {
		return Next{After: wait}
	}
	if !st.enter(time.Now()) {
		// The queue took this worker for dead and gave it the feed once more.
		return Next{After: jitter(fencedWait, 0.5)}
	}
	var out outcome
	err := errDied
	defer func() {
		if caught := recover(); caught != nil {
			err = fault.New(fault.Unknown, "panic: %v", caught).WithCode(resultPanic).
				WithHint("this is a bug of the connector: please report it with the stack in the log")
			s.log.ErrorContext(ctx, "panic in poll", "feed", feed.String(), "panic", caught, "stack", string(debug.Stack()))
		}
		if err != nil && ctx.Err() != nil {
			// The worker stops, and that is what made the call fail, whatever the
			// error says: it is neither counted nor logged.
			st.abandon()
			next = Next{}
			return
		}
		next = s.finish(ctx, sub, feed, st, out, err)
		if fault.KindOf(err) == fault.Fatal {
			cancel(err)
		}
	}()
	if reg, err = s.standing(ctx, feed, reg, data); err != nil {
		return next
	}
	if feed.Part == partFolders || feed.Part == partMembers {
		out, err = s.discover(ctx, sub, feed, reg, st)
	} else {
		out, err = s.run(ctx, sub, feed, reg, st)
	}
	if calm, rests := rest(reg, err); rests {
		out, err = calm, nil
	}
	return next
}

// errDied is the error of a poll whose goroutine was ended from within.
var errDied = errors.New("poll did not come to its end")

// finish turns the end of a poll into the feed's next moment, its status and
// its metrics.
func (s *Subscriber) finish(ctx context.Context, sub *Subscription, feed Feed, st *state, out outcome, err error) Next {
	now := time.Now()
	after := out.after
	switch out.result {
	case resultOK, resultEmpty, resultSkipped:
		if after == 0 {
			after = sub.clock.rest(feed, out.pace, now)
		}
	}
	fenced := errors.Is(err, ErrFenced)
	if fenced {
		s.log.DebugContext(ctx, "feed is with another worker", "feed", feed.String())
		out, err, after = outcome{result: resultFenced}, nil, jitter(fencedWait, 0.5)
	}
	if err != nil {
		mark := fault.Of(err)
		out.result = mark.Kind.String()
		if mark.Code == resultPanic {
			out.result = resultPanic
		}
		after = remedyWait(st.failed(), mark)
	}
	s.metrics.polls.WithLabelValues(sub.Name, out.result).Inc()
	was, again := st.leave(now, report{result: out.result, phase: out.phase, next: now.Add(after), err: err})
	switch {
	case err != nil && !again:
		s.log.Log(ctx, s.signedOut.fails(sub.Client, err), "poll failed", "client", sub.Client, "feed", feed.String(), "kind", fault.KindOf(err).String(),
			"error", err, "hint", fault.HintOf(err), "again_in", after)
	case err != nil:
		s.log.DebugContext(ctx, "poll failed again", "feed", feed.String(), "error", err, "again_in", after)
	case was != nil && again:
		s.log.Log(ctx, s.signedOut.recovers(sub.Client, was), "feed recovered", "client", sub.Client, "feed", feed.String())
	}
	if out.result == resultRetired && after == 0 {
		s.log.InfoContext(ctx, "feed is at its end", "feed", feed.String())
		s.roster.dropped(feed)
		return Next{Drop: true}
	}
	return Next{After: after}
}

// remedyWait is how long a feed rests after a failure, the nth in a row.
func remedyWait(n int, mark *fault.Error) time.Duration {
	if mark.Code == codeFull {
		return max(mark.After, jitter(fullWait, 0.2))
	}
	switch mark.Kind {
	case fault.Reauth:
		return max(mark.After, jitter(reauthWait, 0.1))
	case fault.Poison:
		return max(mark.After, jitter(poisonWait, 0.1))
	default:
		return failures.Delay(n, mark)
	}
}

// jitter spreads a wait by the given share to both sides.
func jitter(wait time.Duration, share float64) time.Duration {
	return time.Duration(float64(wait) * (1 - share + 2*share*rand.Float64()))
}
