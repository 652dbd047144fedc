// Package recurrence turns Outlook's description of a series of events (a
// patternedRecurrence) into the dates and times of its occurrences.
//
// It promises what a calendar needs: occurrences keep their time on the clock
// when the series' zone changes its offset, a day that a month has not got is
// that month's last day, and no question runs for ever, though a series may
// have no end. It knows neither HTTP nor events; what it refuses it refuses
// with an [Error] that names the property.
//
// https://learn.microsoft.com/graph/api/resources/recurrencepattern
// https://learn.microsoft.com/graph/api/resources/recurrencerange
package recurrence

import (
	"fmt"
	"strings"
)

// Types of a pattern, as Graph spells them.
const (
	Daily           = "daily"
	Weekly          = "weekly"
	AbsoluteMonthly = "absoluteMonthly"
	RelativeMonthly = "relativeMonthly"
	AbsoluteYearly  = "absoluteYearly"
	RelativeYearly  = "relativeYearly"
)

// Types of a range, as Graph spells them.
const (
	EndDate  = "endDate"
	NoEnd    = "noEnd"
	Numbered = "numbered"
)

// Recurrence is a patternedRecurrence as it goes over the wire.
// https://learn.microsoft.com/graph/api/resources/patternedrecurrence
type Recurrence struct {
	Pattern Pattern `json:"pattern"`
	Range   Range   `json:"range"`
}

// Pattern says how often a series occurs. What a type does not use is ignored,
// and zero in what [Rule.Wire] gives.
type Pattern struct {
	// Type is one of the constants above; upper and lower case are alike.
	Type string `json:"type"`
	// Interval is the number of days, weeks, months or years from one to the
	// next. Every type needs it.
	Interval int `json:"interval"`
	// Month is 1 to 12, for the yearly types.
	Month int `json:"month"`
	// DayOfMonth is 1 to 31, for the absolute types.
	DayOfMonth int `json:"dayOfMonth"`
	// DaysOfWeek are for weekly and the relative types: "monday" and so on.
	DaysOfWeek []string `json:"daysOfWeek,omitempty"`
	// FirstDayOfWeek decides which weeks a weekly series with a greater
	// interval skips. Default: sunday.
	FirstDayOfWeek string `json:"firstDayOfWeek"`
	// Index says which of the month's days of DaysOfWeek a relative type means:
	// first, second, third, fourth or last. Default: first.
	Index string `json:"index"`
}

// Range says from when to when a series occurs.
type Range struct {
	// Type is one of the constants above; upper and lower case are alike.
	Type string `json:"type"`
	// StartDate must be the date of the event's own start. The first occurrence
	// may be later, where the pattern says so.
	StartDate Date `json:"startDate"`
	// EndDate is the last date on which an occurrence may begin.
	EndDate Date `json:"endDate"`
	// RecurrenceTimeZone is the zone of both dates, by any name. Empty: that of
	// the event.
	RecurrenceTimeZone string `json:"recurrenceTimeZone"`
	// NumberOfOccurrences counts the occurrences of a numbered range.
	NumberOfOccurrences int `json:"numberOfOccurrences"`
}

// Limits of Exchange, which Graph's pages do not name.
// https://learn.microsoft.com/exchange/client-developer/web-service-reference/interval
const (
	// MaxOccurrences is the most that a numbered range may ask for.
	MaxOccurrences = 999
	maxDays        = 999
	maxInterval    = 99
)

// Error is a recurrence that is refused.
type Error struct {
	// Property is the path of what is wrong, such as "Pattern.Interval".
	Property string
	// Reason is a sentence without a full stop.
	Reason string
}

// Error names the property and the reason.
func (e *Error) Error() string { return fmt.Sprintf("recurrence: %s: %s", e.Property, e.Reason) }

func refuse(property, format string, args ...any) error {
	return &Error{Property: property, Reason: fmt.Sprintf(format, args...)}
}

var (
	patternTypes = []string{Daily, Weekly, AbsoluteMonthly, RelativeMonthly, AbsoluteYearly, RelativeYearly}
	rangeTypes   = []string{EndDate, NoEnd, Numbered}
	dayNames     = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	indexNames   = []string{"first", "second", "third", "fourth", "last"}
)

// pick finds a name in a closed set without regard to case.
func pick(set []string, name string) (int, bool) {
	for i, s := range set {
		if strings.EqualFold(s, name) {
			return i, true
		}
	}
	return 0, false
}

// Rule is a recurrence that has been checked. Make one with [New]. It is never
// changed and may be used by many at once.
type Rule struct {
	wire  Recurrence
	days  [7]bool // by weekday
	first int     // first day of the week
	index int     // 0 to 3; 4: last
}

// New checks a recurrence. The error is an [*Error]; it is also given for a
// series that would not occur at all.
func New(r Recurrence) (*Rule, error) {
	rule := &Rule{wire: Recurrence{
		Pattern: Pattern{Interval: r.Pattern.Interval, FirstDayOfWeek: dayNames[0], Index: indexNames[0]},
		Range:   Range{StartDate: r.Range.StartDate, RecurrenceTimeZone: r.Range.RecurrenceTimeZone},
	}}
	if err := rule.readPattern(r.Pattern); err != nil {
		return nil, err
	}
	if err := rule.readRange(r.Range); err != nil {
		return nil, err
	}
	if _, ok := rule.First(); !ok {
		return nil, refuse("Range.EndDate", "the series has no occurrence before it")
	}
	return rule, nil
}

func (r *Rule) readPattern(p Pattern) error {
	i, ok := pick(patternTypes, p.Type)
	if !ok {
		return refuse("Pattern.Type", "%q is not a type of pattern", p.Type)
	}
	w := &r.wire.Pattern
	w.Type = patternTypes[i]
	most := maxInterval
	if w.Type == Daily {
		most = maxDays
	}
	if p.Interval < 1 || p.Interval > most {
		return refuse("Pattern.Interval", "%d is not between 1 and %d", p.Interval, most)
	}
	if w.Type == AbsoluteYearly || w.Type == RelativeYearly {
		if p.Month < 1 || p.Month > 12 {
			return refuse("Pattern.Month", "%d is not between 1 and 12", p.Month)
		}
		w.Month = p.Month
	}
	switch w.Type {
	case AbsoluteMonthly, AbsoluteYearly:
		if p.DayOfMonth < 1 || p.DayOfMonth > 31 {
			return refuse("Pattern.DayOfMonth", "%d is not between 1 and 31", p.DayOfMonth)
		}
		w.DayOfMonth = p.DayOfMonth
	case Weekly, RelativeMonthly, RelativeYearly:
		return r.readDays(p)
	}
	return nil
}

func (r *Rule) readDays(p Pattern) error {
	w := &r.wire.Pattern
	if len(p.DaysOfWeek) == 0 {
		return refuse("Pattern.DaysOfWeek", "%s needs at least one day", w.Type)
	}
	for _, name := range p.DaysOfWeek {
		i, ok := pick(dayNames, name)
		if !ok {
			return refuse("Pattern.DaysOfWeek", "%q is not a day of the week", name)
		}
		r.days[i] = true
	}
	for i, there := range r.days {
		if there {
			w.DaysOfWeek = append(w.DaysOfWeek, dayNames[i])
		}
	}
	var ok bool
	if p.FirstDayOfWeek != "" {
		if r.first, ok = pick(dayNames, p.FirstDayOfWeek); !ok {
			return refuse("Pattern.FirstDayOfWeek", "%q is not a day of the week", p.FirstDayOfWeek)
		}
	}
	w.FirstDayOfWeek = dayNames[r.first]
	if p.Index != "" && w.Type != Weekly {
		if r.index, ok = pick(indexNames, p.Index); !ok {
			return refuse("Pattern.Index", "%q is not an index", p.Index)
		}
	}
	w.Index = indexNames[r.index]
	return nil
}

func (r *Rule) readRange(g Range) error {
	i, ok := pick(rangeTypes, g.Type)
	if !ok {
		return refuse("Range.Type", "%q is not a type of range", g.Type)
	}
	w := &r.wire.Range
	w.Type = rangeTypes[i]
	if g.StartDate == 0 {
		return refuse("Range.StartDate", "it is missing")
	}
	switch w.Type {
	case EndDate:
		if g.EndDate < g.StartDate {
			return refuse("Range.EndDate", "%s is before the start date %s", g.EndDate, g.StartDate)
		}
		w.EndDate = g.EndDate
	case Numbered:
		if g.NumberOfOccurrences < 1 || g.NumberOfOccurrences > MaxOccurrences {
			return refuse("Range.NumberOfOccurrences", "%d is not between 1 and %d", g.NumberOfOccurrences, MaxOccurrences)
		}
		w.NumberOfOccurrences = g.NumberOfOccurrences
	}
	return nil
}

// CheckStart holds the demand that the range begins on the date of the event's
// own start. The error is an [*Error].
func (r *Rule) CheckStart(event Date) error {
	if r.wire.Range.StartDate != event {
		return refuse("Range.StartDate", "%s is not the date of the event's start, %s", r.wire.Range.StartDate, event)
	}
	return nil
}

// Wire is the recurrence as Graph answers it: names in their own spelling, what
// the type does not use at zero. The caller must not change its DaysOfWeek.
func (r *Rule) Wire() Recurrence { return r.wire }
