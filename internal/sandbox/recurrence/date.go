package recurrence

import (
	"fmt"
	"time"
)

// Date is a day of the calendar without a zone: the number of days since
// 0001-01-01, which is zero and stands for a date that was not given, on the
// wire as well.
type Date int

const secondsPerDay = 24 * 60 * 60

// unixDays is the Date of 1970-01-01.
const unixDays = 719162

// Latest is the last date that Graph can write.
var Latest = On(9999, time.December, 31)

// On makes a date. Values out of range are carried over, as [time.Date] does.
func On(year int, month time.Month, day int) Date {
	return Date(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()/secondsPerDay + unixDays)
}

// DateOf is the date that t shows in its own location.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return On(y, m, d)
}

// ParseDate reads 2006-01-02, also with a time behind it that is ignored, as
// some clients send it.
func ParseDate(s string) (Date, error) {
	day := s
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == 'T' {
		day = s[:len(time.DateOnly)]
	}
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return 0, fmt.Errorf("recurrence: %q is not a date", s)
	}
	return DateOf(t), nil
}

// midnight is the start of the day in UTC.
func (d Date) midnight() time.Time { return time.Unix(int64(d-unixDays)*secondsPerDay, 0).UTC() }

// Split gives year, month and day.
func (d Date) Split() (year int, month time.Month, day int) { return d.midnight().Date() }

// Weekday is the day of the week. 0001-01-01 was a Monday.
func (d Date) Weekday() time.Weekday { return time.Weekday(((int(d)+1)%7 + 7) % 7) }

// String is 2006-01-02.
func (d Date) String() string { return d.midnight().Format(time.DateOnly) }

// MarshalText is [Date.String].
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is [ParseDate].
func (d *Date) UnmarshalText(b []byte) error {
	var err error
	*d, err = ParseDate(string(b))
	return err
}

// At is the moment when a clock in loc shows the time of day, counted from
// midnight, on this date; 24 hours and more reach into the days after. A time
// that a change of offset leaves out is moved on by what was left out, as
// Outlook does.
func (d Date) At(clock time.Duration, loc *time.Location) time.Time {
	y, m, day := d.Split()
	want := time.Date(y, m, day, 0, 0, 0, 0, time.UTC).Add(clock)
	y, m, day = want.Date()
	t := time.Date(y, m, day, want.Hour(), want.Minute(), want.Second(), want.Nanosecond(), loc)
	// In a gap time.Date may answer with the moment before or after it.
	_, offset := t.Zone()
	if short := want.Sub(t.Add(time.Duration(offset) * time.Second).UTC()); short > 0 {
		t = t.Add(short)
	}
	return t
}

// Clock is the time of day that t shows in its own location, counted from the
// midnight of on.
func Clock(t time.Time, on Date) time.Duration {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second).Sub(on.midnight())
}
