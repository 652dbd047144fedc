package recurrence

import (
	"iter"
	"slices"
	"time"
)

// First is the date of the first occurrence. It is false only for a series
// without any, which [New] refuses.
func (r *Rule) First() (Date, bool) {
	for d := range r.Dates(r.wire.Range.StartDate, Latest) {
		return d, true
	}
	return 0, false
}

// Last is the date of the last occurrence. It is false for a series without an
// end.
func (r *Rule) Last() (Date, bool) {
	g := r.wire.Range
	if g.Type == NoEnd {
		return 0, false
	}
	from, to := g.StartDate, Latest
	if g.Type == EndDate {
		// Near the end, so that daily meetings of a century are not all walked:
		// one period more than the longest gap there can be.
		to = g.EndDate
		from = max(from, to-Date(r.wire.Pattern.Interval*r.longest()*2))
	}
	var last Date
	found := false
	for d := range r.Dates(from, to) {
		last, found = d, true
	}
	if !found {
		for d := range r.Dates(g.StartDate, to) {
			last, found = d, true
		}
	}
	return last, found
}

// longest is the most days that one unit of the interval has.
func (r *Rule) longest() int {
	switch r.wire.Pattern.Type {
	case Daily:
		return 1
	case Weekly:
		return 7
	case AbsoluteMonthly, RelativeMonthly:
		return 31
	}
	return 366
}

// Has says whether the series occurs on a date.
func (r *Rule) Has(d Date) bool {
	for range r.Dates(d, d) {
		return true
	}
	return false
}

// Dates gives the dates of the occurrences from one date to another, both
// included, ascending. However far apart the two are, it ends at [Latest], and
// it does no more work than the caller takes from it.
func (r *Rule) Dates(from, to Date) iter.Seq[Date] {
	g := r.wire.Range
	from, to = max(from, g.StartDate), min(to, Latest)
	left := -1 // without a count
	switch g.Type {
	case EndDate:
		to = min(to, g.EndDate)
	case Numbered:
		left = g.NumberOfOccurrences
	}
	return func(yield func(Date) bool) {
		period := 0
		if left < 0 { // a count has to be walked from the start
			period = r.periodOf(from)
		}
		var days []Date
		for left := left; ; period++ {
			first := r.begin(period)
			if first > to {
				return
			}
			days = r.in(days[:0], first)
			for _, d := range days {
				switch {
				case d < g.StartDate:
					continue
				case d > to || left == 0:
					return
				}
				left--
				if d >= from && !yield(d) {
					return
				}
			}
		}
	}
}

// begin is the first day of the n-th period of the pattern: a day, a week, a
// month or a year, counted from the one with the start date.
func (r *Rule) begin(n int) Date {
	start, step := r.wire.Range.StartDate, r.wire.Pattern.Interval*n
	y, m, _ := start.Split()
	switch r.wire.Pattern.Type {
	case Daily:
		return start + Date(step)
	case Weekly:
		return r.week(start) + Date(7*step)
	case AbsoluteMonthly, RelativeMonthly:
		return On(y, m+time.Month(step), 1)
	}
	return On(y+step, time.Month(r.wire.Pattern.Month), 1)
}

// week is the first day of the week with d.
func (r *Rule) week(d Date) Date { return d - Date((int(d.Weekday())-r.first+7)%7) }

// periodOf is the period with d, or one shortly before it.
func (r *Rule) periodOf(d Date) int {
	start, step := r.wire.Range.StartDate, r.wire.Pattern.Interval
	y0, m0, _ := start.Split()
	y, m, _ := d.Split()
	var n int
	switch r.wire.Pattern.Type {
	case Daily:
		n = int(d-start) / step
	case Weekly:
		n = int(d-r.week(start)) / (7 * step)
	case AbsoluteMonthly, RelativeMonthly:
		n = ((y-y0)*12 + int(m-m0)) / step
	default:
		n = (y - y0) / step
	}
	return max(0, n)
}

// in appends the days of the period that begins at first, ascending.
func (r *Rule) in(days []Date, first Date) []Date {
	switch r.wire.Pattern.Type {
	case Daily:
		return append(days, first)
	case Weekly:
		for d := first; d < first+7; d++ {
			if r.days[d.Weekday()] {
				days = append(days, d)
			}
		}
		return days
	}
	y, m, _ := first.Split()
	next := On(y, m+1, 1)
	if day := r.wire.Pattern.DayOfMonth; day > 0 {
		return append(days, min(first+Date(day-1), next-1))
	}
	// Of several days of the week the index counts all of them together: the
	// last of monday to friday is the month's last working day.
	for d := first; d < next; d++ {
		if r.days[d.Weekday()] {
			days = append(days, d)
		}
	}
	n := len(days)
	if r.index < 4 {
		n = r.index + 1
	}
	return slices.Delete(days[:n], 0, n-1)
}

// Times is the part of a series that the pattern does not say.
type Times struct {
	// Start and End of an occurrence, counted from the midnight of its date by
	// the clock. End may be after the next midnight.
	Start, End time.Duration
	// Zone is where the clock hangs. Nil: UTC.
	Zone *time.Location
}

// TimesOf takes the times from the series' own start and end, by the clock of
// a zone.
func TimesOf(start, end time.Time, zone *time.Location) Times {
	start, end = start.In(zone), end.In(zone)
	on := DateOf(start)
	return Times{Start: Clock(start, on), End: Clock(end, on), Zone: zone}
}

// On gives start and end of the occurrence on a date.
func (t Times) On(d Date) (start, end time.Time) {
	zone := t.Zone
	if zone == nil {
		zone = time.UTC
	}
	return d.At(t.Start, zone), d.At(t.End, zone)
}

// Between gives the dates of the occurrences that overlap the time from one
// moment to another: that begin before to and end after from. One that takes
// no time overlaps where it begins, from included.
func (r *Rule) Between(t Times, from, to time.Time) iter.Seq[Date] {
	return func(yield func(Date) bool) {
		// Two days on each side are more than any offset, and one that lasts
		// for days may have begun as long before.
		days := Date(t.End/(24*time.Hour)) + 2
		for d := range r.Dates(DateOf(from.UTC())-days, DateOf(to.UTC())+2) {
			start, end := t.On(d)
			if Overlap(start, end, from, to) && !yield(d) {
				return
			}
		}
	}
}

// Overlap is the rule of [Rule.Between] for one event.
func Overlap(start, end, from, to time.Time) bool {
	return start.Before(to) && (end.After(from) || start.Equal(end) && !start.Before(from))
}
