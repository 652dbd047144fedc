package subscriber

import (
	"time"

	"outlook-connector/internal/cron"
)

const (
	// cronWindow bounds how far the feeds of a cron schedule are spread after
	// the moment that it names, and cronShare does so where its moments lie close
	// together, as a share of the gap to the next one.
	cronWindow = time.Minute
	cronShare  = 10
	// cronSlack is how long before its moment a poll still counts as the one of
	// that moment: the workers' clocks differ, and so do the server's. It is the
	// same share of the gap where that is less.
	cronSlack = 5 * time.Second
)

// cronSchedule names moments. Next returns the first one after a moment, zero
// where there is none.
type cronSchedule interface{ Next(time.Time) time.Time }

// parseCron reads an expression of five fields, in UTC.
func parseCron(text string) (cronSchedule, error) { return cron.Parse(text) }

// cronRest is how long a feed waits for its next moment. Each feed has a place
// of its own after the moment that the schedule names, the same in every worker
// and every time, so that thousands of feeds do not ask at once and two polls
// of one feed are as far apart as the schedule says.
func cronRest(schedule cronSchedule, feed Feed, now time.Time) time.Duration {
	place := feed.spread()
	// A moment that the schedule named up to a window ago may lie before the
	// feed.
	moment := schedule.Next(now.Add(-cronWindow - time.Second))
	for !moment.IsZero() {
		next := schedule.Next(moment)
		share := cronGap(moment, next) / cronShare
		due := moment.Add(time.Duration(place * float64(min(share, cronWindow))))
		if due.Sub(now) > min(share, cronSlack) {
			return due.Sub(now)
		}
		moment = next
	}
	return cronNever
}

// cronNever stands for a schedule without another moment.
const cronNever = 24 * time.Hour

// cronGap is the time between two moments of a schedule.
func cronGap(moment, next time.Time) time.Duration {
	if next.IsZero() {
		return cronNever
	}
	return next.Sub(moment)
}
