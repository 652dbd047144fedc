package subscriber

import (
	"errors"
	"fmt"
	"time"
)

// pollJitter is the share by which an interval may be longer or shorter, so that
// feeds that fell into step come out of it.
const pollJitter = 0.1

// clock says when the feeds of a subscription are polled. It keeps nothing about
// a feed: what it needs is in the feed's cursor, so that every worker finds the
// same moment, and a poll to which nothing came writes nothing.
type clock struct {
	// every is the interval; least and most bound one that adapts itself, and
	// are zero where it does not.
	every, least, most time.Duration
	// cron names moments instead; nil: it does not.
	cron cronSchedule
}

// newClock checks a schedule. every is the interval where it names nothing.
func newClock(s Schedule, every time.Duration) (clock, error) {
	adaptive := s.Min != 0 || s.Max != 0
	switch {
	case every <= 0:
		return clock{}, errors.New("every must be positive")
	case adaptive && s.Cron != "":
		return clock{}, errors.New("schedule has both an interval and cron")
	case s.Cron != "":
		moments, err := parseCron(s.Cron)
		if err != nil {
			return clock{}, err
		}
		return clock{every: every, cron: moments}, nil
	case !adaptive:
		return clock{every: every}, nil
	case s.Min <= 0 || s.Max < s.Min:
		return clock{}, fmt.Errorf("schedule from %s to %s: the least interval must be positive and not above the greatest", s.Min, s.Max)
	}
	return clock{every: s.Min, least: s.Min, most: s.Max}, nil
}

// rest is how long a feed waits for its next poll after one that reached the end
// of a round, or that was left out, at now.
func (c clock) rest(feed Feed, p pace, now time.Time) time.Duration {
	switch {
	case c.cron != nil:
		return cronRest(c.cron, feed, now)
	case c.most == 0:
		return steady(c.every, feed, now)
	default:
		return jitter(c.interval(p, now), pollJitter)
	}
}

// steady is a plain interval. It is up to a tenth longer or shorter where that
// brings the feed nearer to a place of its own: feeds that were registered
// together, or that all became overdue while a server was away, are spread
// evenly again after five polls, where chance alone would take some thirty.
func steady(every time.Duration, feed Feed, now time.Time) time.Duration {
	place := int64(feed.spread() * float64(every))
	off := time.Duration((now.Add(every).UnixNano() - place) % int64(every))
	if off > every/2 {
		off -= every
	}
	most := time.Duration(float64(every) * pollJitter)
	return every - min(max(off, -most), most)
}

// longest is the longest time between two polls from now on, of a feed that is
// well.
func (c clock) longest(now time.Time) time.Duration {
	if c.cron != nil {
		moment := c.cron.Next(now)
		return cronGap(moment, c.cron.Next(moment)) + cronWindow
	}
	return time.Duration(float64(max(c.every, c.most)) * (1 + pollJitter))
}

// pace is how fast a feed with an interval that adapts itself is polled: when
// something last came, and the interval from then on. It is kept in the cursor
// and changes only with what is written anyway. The zero value is that of a
// feed of which nothing is known.
type pace struct {
	At time.Time `json:"at"`
	// Every is the interval in milliseconds.
	Every int64 `json:"ms"`
}

// interval is the time to the next poll of a feed of which nothing more has
// come since its pace was set.
//
// An interval that grows by a half with each poll, from p on, has grown to
// p·1.5ⁿ after n polls, at p + 1.5p + … = 2p·(1.5ⁿ-1) after the first. So after
// a quiet time t it is p + t/2, without anybody counting the polls.
func (c clock) interval(p pace, now time.Time) time.Duration {
	return min(max(c.grown(p, now), c.least), c.most)
}

// grown is the interval without its bounds.
func (c clock) grown(p pace, now time.Time) time.Duration {
	if p.At.IsZero() {
		return c.least
	}
	quiet := max(now.Sub(p.At), 0) // another worker's clock may be ahead
	return time.Duration(p.Every)*time.Millisecond + quiet/2
}

// came returns the pace of a feed after something came: twice as fast as it was
// polled until now. The pages of one poll count once.
func (c clock) came(p pace, now time.Time) pace {
	if c.most == 0 {
		return pace{}
	}
	if !p.At.IsZero() && now.Sub(p.At) < time.Duration(p.Every)*time.Millisecond/2 {
		return p
	}
	waited := min(c.grown(p, now)*2/3, c.most) // the interval that has just ended, a half shorter than the next
	return pace{At: now.UTC(), Every: max(waited/2, c.least).Milliseconds()}
}

// settled returns the pace to be stored with a cursor to which nothing came: the
// quiet time of a feed that has no pace yet begins with it.
func (c clock) settled(p pace, now time.Time) pace {
	if c.most == 0 || !p.At.IsZero() {
		return p
	}
	return pace{At: now.UTC(), Every: c.least.Milliseconds()}
}

const (
	// pausedWait is how often a paused feed comes back to say that it is paused.
	// It costs nothing but the queue's own work, and nobody waits for it: one
	// that is resumed is due at once.
	pausedWait = 5 * time.Minute
	// pausedSoon is how soon it comes back at first.
	pausedSoon = 30 * time.Second
)

// pausedRest is how long a paused feed is left alone after its nth visit in a
// row here.
func pausedRest(n int) time.Duration {
	return jitter(min(pausedSoon<<min(n, 4), pausedWait), pollJitter)
}
