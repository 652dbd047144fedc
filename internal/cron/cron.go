// Package cron reads cron expressions of five fields and finds the moments that
// they name. It promises what crontab(5) does, in UTC; it starts nothing by
// itself.
package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Schedule is a cron expression. It is immutable; make it with [Parse].
type Schedule struct {
	minute, hour, day, month, weekday uint64 // one bit for each value
	// either says that a day fits by its number or by its weekday.
	either bool
}

// field is what one of the five may say.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var fields = [5]field{
	{name: "minute", max: 59},
	{name: "hour", max: 23},
	{name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of week", max: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// Parse reads "minute hour day-of-month month day-of-week". Each field is *, a
// value, a range (9-17), a step (*/15, 9-17/2) or a list of these; months and
// weekdays may be named by their first three letters, and 7 is Sunday, too. As
// in crontab(5), a day fits by its number or by its weekday where neither field
// begins with *; else it must fit by both:
// https://man7.org/linux/man-pages/man5/crontab.5.html
// An expression that names no moment (30 February) is an error.
func Parse(text string) (Schedule, error) {
	words := strings.Fields(text)
	if len(words) != len(fields) {
		return Schedule{}, fmt.Errorf("cron %q has %d fields, want 5: minute, hour, day of month, month, day of week", text, len(words))
	}
	var sets [len(fields)]uint64
	for i, word := range words {
		for part := range strings.SplitSeq(strings.ToLower(word), ",") {
			set, err := fields[i].parse(part)
			if err != nil {
				return Schedule{}, fmt.Errorf("cron %q: %s %w", text, fields[i].name, err)
			}
			sets[i] |= set
		}
	}
	s := Schedule{
		minute: sets[0], hour: sets[1], day: sets[2], month: sets[3], weekday: sets[4],
		either: words[2][0] != '*' && words[4][0] != '*',
	}
	s.weekday |= s.weekday >> 7 & 1
	if s.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, fmt.Errorf("cron %q names no day that exists", text)
	}
	return s, nil
}

// parse reads one member of a list.
func (f *field) parse(text string) (uint64, error) {
	span, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 || n > f.max {
			return 0, fmt.Errorf("%q: the step must be a number from 1 to %d", text, f.max)
		}
		step = n
	}
	first, last := f.min, f.max
	if span != "*" {
		from, to, ranged := strings.Cut(span, "-")
		var err error
		if first, err = f.value(from); err != nil {
			return 0, err
		}
		if last = first; ranged {
			if last, err = f.value(to); err != nil {
				return 0, err
			}
		}
		switch {
		case stepped && !ranged:
			return 0, fmt.Errorf("%q: a step needs a range before it, such as %s-%d/%d", text, from, f.max, step)
		case first > last:
			return 0, fmt.Errorf("%q ends before it begins", text)
		}
	}
	var set uint64
	for n := first; n <= last; n += step {
		set |= 1 << n
	}
	return set, nil
}

// value reads a number or a name.
func (f *field) value(text string) (int, error) {
	for i, name := range f.names {
		if text == name {
			return f.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.min || n > f.max || text[0] == '+' || text[0] == '-' {
		return 0, fmt.Errorf("%q is not from %d to %d", text, f.min, f.max)
	}
	return n, nil
}

// searched is how many days Next looks at: the 29th of February of one weekday
// comes back after at most 40 years, where a century's leap year is left out.
const searched = 41 * 366

// Next returns the first moment of the schedule after t, in UTC.
func (s Schedule) Next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	year, month, day := t.Date()
	hour, minute := t.Hour(), t.Minute()
	for i := range searched {
		date := time.Date(year, month, day+i, 0, 0, 0, 0, time.UTC)
		if s.fits(date) {
			for h := from(s.hour, hour); h < 24; h = from(s.hour, h+1) {
				if h > hour {
					minute = 0
				}
				if m := from(s.minute, minute); m < 60 {
					return date.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute)
				}
			}
		}
		hour, minute = 0, 0
	}
	return time.Time{}
}

// from returns the least value of a set from n on, 64 where there is none.
func from(set uint64, n int) int { return bits.TrailingZeros64(set >> n << n) }

func (s Schedule) fits(date time.Time) bool {
	byDay, byWeekday := s.day>>date.Day()&1 == 1, s.weekday>>date.Weekday()&1 == 1
	if s.month>>date.Month()&1 == 0 {
		return false
	}
	return byDay && byWeekday || s.either && (byDay || byWeekday)
}
