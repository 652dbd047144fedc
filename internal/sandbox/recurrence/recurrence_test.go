package recurrence_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/sandbox/recurrence"
)

func date(tb testing.TB, s string) recurrence.Date {
	tb.Helper()
	d, err := recurrence.ParseDate(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func rule(tb testing.TB, text string) *recurrence.Rule {
	tb.Helper()
	var w recurrence.Recurrence
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		tb.Fatal(err)
	}
	r, err := recurrence.New(w)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// some lists at most n dates from the start on.
func some(r *recurrence.Rule, n int) string {
	var list []string
	for d := range r.Dates(0, recurrence.Latest) {
		if list = append(list, d.String()); len(list) == n {
			break
		}
	}
	return strings.Join(list, " ")
}

func TestPatternsOccurOnTheirDates(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, pattern, ends, start, want string }{
		{"every third day", `"type":"daily","interval":3`, `"type":"noEnd"`, "2026-02-26", "2026-02-26 2026-03-01 2026-03-04 2026-03-07"},
		{
			"every second week, weeks from sunday", `"type":"weekly","interval":2,"daysOfWeek":["sunday","tuesday"]`, `"type":"noEnd"`,
			"2026-11-24", "2026-11-24 2026-12-06 2026-12-08 2026-12-20",
		},
		{
			"every second week, weeks from monday", `"type":"weekly","interval":2,"daysOfWeek":["sunday","tuesday"],"firstDayOfWeek":"monday"`, `"type":"noEnd"`,
			"2026-11-24", "2026-11-24 2026-11-29 2026-12-08 2026-12-13",
		},
		{"the first is later than the start", `"type":"weekly","interval":1,"daysOfWeek":["Friday"]`, `"type":"noEnd"`, "2026-11-23", "2026-11-27 2026-12-04 2026-12-11 2026-12-18"},
		{"the 31st", `"type":"absoluteMonthly","interval":1,"dayOfMonth":31`, `"type":"noEnd"`, "2027-12-31", "2027-12-31 2028-01-31 2028-02-29 2028-03-31"},
		{"the 30th every second month", `"type":"absoluteMonthly","interval":2,"dayOfMonth":30`, `"type":"noEnd"`, "2026-12-30", "2026-12-30 2027-02-28 2027-04-30 2027-06-30"},
		{"a day before the start in its month", `"type":"absoluteMonthly","interval":1,"dayOfMonth":5`, `"type":"noEnd"`, "2026-11-23", "2026-12-05 2027-01-05 2027-02-05 2027-03-05"},
		{"the last friday", `"type":"relativeMonthly","interval":1,"daysOfWeek":["friday"],"index":"last"`, `"type":"noEnd"`, "2026-11-01", "2026-11-27 2026-12-25 2027-01-29 2027-02-26"},
		{"the first without an index", `"type":"relativeMonthly","interval":3,"daysOfWeek":["monday"]`, `"type":"noEnd"`, "2026-11-02", "2026-11-02 2027-02-01 2027-05-03 2027-08-02"},
		{
			"the last working day", `"type":"relativeMonthly","interval":1,"index":"last","daysOfWeek":["monday","tuesday","wednesday","thursday","friday"]`, `"type":"noEnd"`,
			"2026-10-30", "2026-10-30 2026-11-30 2026-12-31 2027-01-29",
		},
		{"the second weekend day", `"type":"relativeMonthly","interval":1,"index":"second","daysOfWeek":["saturday","sunday"]`, `"type":"noEnd"`, "2026-11-01", "2026-11-07 2026-12-06 2027-01-03 2027-02-07"},
		{"february 29", `"type":"absoluteYearly","interval":1,"month":2,"dayOfMonth":29`, `"type":"noEnd"`, "2028-02-29", "2028-02-29 2029-02-28 2030-02-28 2031-02-28"},
		{"every second year", `"type":"absoluteYearly","interval":2,"month":6,"dayOfMonth":1`, `"type":"noEnd"`, "2026-11-23", "2028-06-01 2030-06-01 2032-06-01 2034-06-01"},
		{"fourth thursday of november", `"type":"relativeYearly","interval":1,"month":11,"daysOfWeek":["thursday"],"index":"fourth"`, `"type":"noEnd"`, "2026-11-26", "2026-11-26 2027-11-25 2028-11-23 2029-11-22"},
		{"an end date is included", `"type":"daily","interval":1`, `"type":"endDate","endDate":"2026-12-01"`, "2026-11-30", "2026-11-30 2026-12-01"},
		{"a count begins with the first", `"type":"weekly","interval":1,"daysOfWeek":["friday"]`, `"type":"numbered","numberOfOccurrences":2`, "2026-11-23", "2026-11-27 2026-12-04"},
		{"the calendar ends", `"type":"daily","interval":1`, `"type":"noEnd"`, "9999-12-30", "9999-12-30 9999-12-31"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := rule(t, fmt.Sprintf(`{"pattern":{%s},"range":{%s,"startDate":%q}}`, row.pattern, row.ends, row.start))
			if got := some(r, 4); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestARecurrenceIsRefusedByTheNameOfTheProperty(t *testing.T) {
	t.Parallel()
	const starts = `"range":{"type":"noEnd","startDate":"2026-11-23"}`
	for _, row := range []struct{ property, text string }{
		{"Pattern.Type", `"pattern":{"interval":1},` + starts},
		{"Pattern.Type", `"pattern":{"type":"hourly","interval":1},` + starts},
		{"Pattern.Interval", `"pattern":{"type":"daily"},` + starts},
		{"Pattern.Interval", `"pattern":{"type":"daily","interval":-1},` + starts},
		{"Pattern.Interval", `"pattern":{"type":"absoluteMonthly","interval":100,"dayOfMonth":1},` + starts},
		{"Pattern.DaysOfWeek", `"pattern":{"type":"weekly","interval":1},` + starts},
		{"Pattern.DaysOfWeek", `"pattern":{"type":"relativeMonthly","interval":1,"daysOfWeek":[]},` + starts},
		{"Pattern.DaysOfWeek", `"pattern":{"type":"weekly","interval":1,"daysOfWeek":["weekday"]},` + starts},
		{"Pattern.FirstDayOfWeek", `"pattern":{"type":"weekly","interval":1,"daysOfWeek":["monday"],"firstDayOfWeek":"mon"},` + starts},
		{"Pattern.Index", `"pattern":{"type":"relativeMonthly","interval":1,"daysOfWeek":["monday"],"index":"fifth"},` + starts},
		{"Pattern.DayOfMonth", `"pattern":{"type":"absoluteMonthly","interval":1},` + starts},
		{"Pattern.DayOfMonth", `"pattern":{"type":"absoluteYearly","interval":1,"month":3,"dayOfMonth":32},` + starts},
		{"Pattern.Month", `"pattern":{"type":"absoluteYearly","interval":1,"dayOfMonth":1},` + starts},
		{"Pattern.Month", `"pattern":{"type":"relativeYearly","interval":1,"daysOfWeek":["monday"],"month":13},` + starts},
		{"Range.Type", `"pattern":{"type":"daily","interval":1},"range":{"startDate":"2026-11-23"}`},
		{"Range.StartDate", `"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd"}`},
		{"Range.EndDate", `"pattern":{"type":"daily","interval":1},"range":{"type":"endDate","startDate":"2026-11-23"}`},
		{"Range.EndDate", `"pattern":{"type":"daily","interval":1},"range":{"type":"endDate","startDate":"2026-11-23","endDate":"2026-11-22"}`},
		{"Range.EndDate", `"pattern":{"type":"absoluteMonthly","interval":1,"dayOfMonth":1},"range":{"type":"endDate","startDate":"2026-11-23","endDate":"2026-11-24"}`},
		{"Range.NumberOfOccurrences", `"pattern":{"type":"daily","interval":1},"range":{"type":"numbered","startDate":"2026-11-23"}`},
		{"Range.NumberOfOccurrences", `"pattern":{"type":"daily","interval":1},"range":{"type":"numbered","startDate":"2026-11-23","numberOfOccurrences":1000}`},
	} {
		var w recurrence.Recurrence
		if err := json.Unmarshal([]byte("{"+row.text+"}"), &w); err != nil {
			t.Fatal(err)
		}
		_, err := recurrence.New(w)
		if e, ok := errors.AsType[*recurrence.Error](err); !ok || e.Property != row.property || e.Reason == "" {
			t.Errorf("%s: error %v, want one of %s", row.text, err, row.property)
		}
	}
}

func TestTheRangeBeginsOnTheDayOfTheEvent(t *testing.T) {
	t.Parallel()
	r := rule(t, `{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2026-11-23"}}`)
	if err := r.CheckStart(date(t, "2026-11-23")); err != nil {
		t.Error(err)
	}
	if e, ok := errors.AsType[*recurrence.Error](r.CheckStart(date(t, "2026-11-24"))); !ok || e.Property != "Range.StartDate" {
		t.Errorf("another day: %v", e)
	}
}

func TestTheWireFormIsGraphs(t *testing.T) {
	t.Parallel()
	r := rule(t, `{"pattern":{"type":"WEEKLY","interval":1,"daysOfWeek":["Friday","monday","friday"],"month":3},
		"range":{"type":"NoEnd","startDate":"2026-11-23","endDate":"2030-01-01","recurrenceTimeZone":"Pacific Standard Time","numberOfOccurrences":9}}`)
	got, err := json.Marshal(r.Wire())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"pattern":{"type":"weekly","interval":1,"month":0,"dayOfMonth":0,"daysOfWeek":["monday","friday"],"firstDayOfWeek":"sunday","index":"first"},` +
		`"range":{"type":"noEnd","startDate":"2026-11-23","endDate":"0001-01-01","recurrenceTimeZone":"Pacific Standard Time","numberOfOccurrences":0}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again := rule(t, string(got))
	if back, _ := json.Marshal(again.Wire()); string(back) != want {
		t.Errorf("read back: %s", back)
	}
}

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return loc
}

func TestOccurrencesKeepTheirTimeOnTheClock(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	r := rule(t, `{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2026-03-27"}}`)
	first := time.Date(2026, 3, 27, 9, 30, 0, 0, berlin)
	times := recurrence.TimesOf(first, first.Add(time.Hour), berlin)
	for d, want := range map[string]string{"2026-03-28": "08:30", "2026-03-29": "07:30", "2026-10-24": "07:30", "2026-10-25": "08:30"} {
		start, end := times.On(date(t, d))
		if got := start.UTC().Format("15:04"); got != want || end.Sub(start) != time.Hour {
			t.Errorf("%s begins at %s UTC and lasts %s, want %s and 1h", d, got, end.Sub(start), want)
		}
	}
	if !r.Has(date(t, "2026-10-25")) || r.Has(date(t, "2026-03-26")) {
		t.Error("Has is wrong")
	}
	// A night shift over the change ends by the clock as well.
	night := time.Date(2026, 3, 27, 22, 0, 0, 0, berlin)
	shift := recurrence.TimesOf(night, night.Add(8*time.Hour), berlin)
	start, end := shift.On(date(t, "2026-03-28"))
	if end.Sub(start) != 7*time.Hour || end.Hour() != 6 {
		t.Errorf("the short night lasts %s to %s", end.Sub(start), end)
	}
}

func TestATimeThatIsLeftOutIsMovedOn(t *testing.T) {
	t.Parallel()
	for name, day := range map[string]string{"Europe/Berlin": "2026-03-29", "America/New_York": "2026-03-08", "Australia/Lord_Howe": "2026-10-04"} {
		loc := zone(t, name)
		got := date(t, day).At(2*time.Hour+15*time.Minute, loc)
		want := "03:15"
		if name == "Australia/Lord_Howe" { // half an hour there
			want = "02:45"
		}
		if got.Format("15:04") != want || recurrence.DateOf(got) != date(t, day) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestAnOccurrenceOverlapsAWindow(t *testing.T) {
	t.Parallel()
	r := rule(t, `{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2026-11-23"}}`)
	at := func(d, h int) time.Time { return time.Date(2026, 11, d, h, 0, 0, 0, time.UTC) }
	tokyo := zone(t, "Asia/Tokyo")
	for _, row := range []struct {
		name     string
		times    recurrence.Times
		from, to time.Time
		want     string
	}{
		{"touching is not overlapping", recurrence.Times{Start: 9 * time.Hour, End: 10 * time.Hour}, at(24, 10), at(25, 9), ""},
		{"an end inside", recurrence.Times{Start: 9 * time.Hour, End: 11 * time.Hour}, at(24, 10), at(25, 9), "2026-11-24"},
		{"three days long", recurrence.Times{Start: 9 * time.Hour, End: 81 * time.Hour}, at(27, 8), at(27, 9), "2026-11-24 2026-11-25 2026-11-26"},
		{"no time at all", recurrence.Times{Start: 9 * time.Hour, End: 9 * time.Hour}, at(24, 9), at(25, 9), "2026-11-24"},
		{"by the clock of Tokyo", recurrence.Times{Start: 8 * time.Hour, End: 9 * time.Hour, Zone: tokyo}, at(24, 0), at(25, 0), "2026-11-25"},
		{"before the start", recurrence.Times{Start: 9 * time.Hour, End: 10 * time.Hour}, at(1, 0), at(23, 0), ""},
	} {
		var got []string
		for d := range r.Between(row.times, row.from, row.to) {
			got = append(got, d.String())
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: %v, want %s", row.name, got, row.want)
		}
	}
}

func TestDatesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	var zero recurrence.Date
	if zero.String() != "0001-01-01" || date(t, "0001-01-01") != 0 {
		t.Errorf("the zero date is %s", zero)
	}
	if d := date(t, "2026-11-23T00:00:00Z"); d.String() != "2026-11-23" || d.Weekday() != time.Monday {
		t.Errorf("%s is a %s", d, d.Weekday())
	}
	for _, bad := range []string{"", "2026-13-01", "23.11.2026", "2026-02-30", "2026-11-23 10:00"} {
		if d, err := recurrence.ParseDate(bad); err == nil {
			t.Errorf("%q was read as %s", bad, d)
		}
	}
}

func TestTheLastOccurrenceIsFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"pattern":{"type":"daily","interval":7},"range":{"type":"endDate","startDate":"1900-01-01","endDate":"2026-11-24"}}`:                                    "2026-11-23",
		`{"pattern":{"type":"weekly","interval":1,"daysOfWeek":["friday"]},"range":{"type":"numbered","startDate":"2026-11-23","numberOfOccurrences":3}}`:         "2026-12-11",
		`{"pattern":{"type":"absoluteYearly","interval":3,"month":2,"dayOfMonth":30},"range":{"type":"endDate","startDate":"2026-01-01","endDate":"2032-02-29"}}`: "2032-02-29",
	} {
		if d, ok := rule(t, text).Last(); !ok || d.String() != want {
			t.Errorf("%s: last is %s, want %s", text, d, want)
		}
	}
	if d, ok := rule(t, `{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2026-11-23"}}`).Last(); ok {
		t.Errorf("a series without an end ends on %s", d)
	}
}

// anyRule draws a valid recurrence.
func anyRule(t *rapid.T) recurrence.Recurrence {
	var (
		days  = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
		types = []string{recurrence.Daily, recurrence.Weekly, recurrence.AbsoluteMonthly, recurrence.RelativeMonthly, recurrence.AbsoluteYearly, recurrence.RelativeYearly}
		index = []string{"first", "second", "third", "fourth", "last"}
	)
	start := recurrence.On(2024, 1, rapid.IntRange(1, 1500).Draw(t, "start"))
	return recurrence.Recurrence{
		Pattern: recurrence.Pattern{
			Type:           rapid.SampledFrom(types).Draw(t, "type"),
			Interval:       rapid.IntRange(1, 4).Draw(t, "interval"),
			Month:          rapid.IntRange(1, 12).Draw(t, "month"),
			DayOfMonth:     rapid.IntRange(1, 31).Draw(t, "day"),
			DaysOfWeek:     rapid.SliceOfNDistinct(rapid.SampledFrom(days), 1, 7, rapid.ID).Draw(t, "days"),
			FirstDayOfWeek: rapid.SampledFrom(days).Draw(t, "first day"),
			Index:          rapid.SampledFrom(index).Draw(t, "index"),
		},
		Range: recurrence.Range{
			Type:                rapid.SampledFrom([]string{recurrence.NoEnd, recurrence.EndDate, recurrence.Numbered}).Draw(t, "range"),
			StartDate:           start,
			EndDate:             start + recurrence.Date(rapid.IntRange(0, 3000).Draw(t, "length")),
			NumberOfOccurrences: rapid.IntRange(1, 40).Draw(t, "count"),
		},
	}
}

// slow is the definition, day by day and without any skipping: does the pattern
// name this day?
func slow(w recurrence.Recurrence, d recurrence.Date) bool {
	p, start := w.Pattern, w.Range.StartDate
	if d < start {
		return false
	}
	y0, m0, _ := start.Split()
	y, m, day := d.Split()
	months := (y-y0)*12 + int(m) - int(m0)
	month := p.Type == recurrence.AbsoluteMonthly || p.Type == recurrence.RelativeMonthly
	named := func(d recurrence.Date) bool {
		return slices.Contains(p.DaysOfWeek, strings.ToLower(d.Weekday().String()))
	}
	switch p.Type {
	case recurrence.Daily:
		return int(d-start)%p.Interval == 0
	case recurrence.Weekly:
		if !named(d) {
			return false
		}
		// Count how often a week begins after the start, up to this day.
		weeks := 0
		for x := start + 1; x <= d; x++ {
			if strings.EqualFold(x.Weekday().String(), p.FirstDayOfWeek) {
				weeks++
			}
		}
		return weeks%p.Interval == 0
	}
	if month && months%p.Interval != 0 || !month && ((y-y0)%p.Interval != 0 || int(m) != p.Month) {
		return false
	}
	_, _, after := (d + 1).Split()
	lastOfMonth := after == 1
	if p.Type == recurrence.AbsoluteMonthly || p.Type == recurrence.AbsoluteYearly {
		return day == p.DayOfMonth || lastOfMonth && day < p.DayOfMonth
	}
	if !named(d) {
		return false
	}
	before, behind := 0, 0
	for x := d - 1; ; x-- {
		if _, xm, _ := x.Split(); xm != m {
			break
		}
		if named(x) {
			before++
		}
	}
	for x := d + 1; ; x++ {
		if _, xm, _ := x.Split(); xm != m {
			break
		}
		if named(x) {
			behind++
		}
	}
	if p.Index == "last" {
		return behind == 0
	}
	return before == slices.Index([]string{"first", "second", "third", "fourth"}, p.Index)
}

func TestDatesAreThoseOfTheDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyRule(t)
		horizon := w.Range.StartDate + 3000
		var all []recurrence.Date
		for d := w.Range.StartDate; d <= horizon; d++ {
			if w.Range.Type == recurrence.EndDate && d > w.Range.EndDate {
				break
			}
			if w.Range.Type == recurrence.Numbered && len(all) == w.Range.NumberOfOccurrences {
				break
			}
			if slow(w, d) {
				all = append(all, d)
			}
		}
		r, err := recurrence.New(w)
		if err != nil {
			if len(all) == 0 {
				return // rightly refused
			}
			t.Fatal(err)
		}
		from := w.Range.StartDate + recurrence.Date(rapid.IntRange(-50, 2500).Draw(t, "from"))
		to := min(from+recurrence.Date(rapid.IntRange(-1, 2500).Draw(t, "window")), horizon)
		want := slices.DeleteFunc(slices.Clone(all), func(d recurrence.Date) bool { return d < from || d > to })
		if got := slices.Collect(r.Dates(from, to)); !slices.Equal(got, want) {
			t.Fatalf("from %s to %s\ngot  %v\nwant %v", from, to, got, want)
		}
		if len(all) > 0 && w.Range.Type == recurrence.EndDate && w.Range.EndDate <= horizon {
			if d, ok := r.Last(); !ok || d != all[len(all)-1] {
				t.Fatalf("last is %s, want %s", d, all[len(all)-1])
			}
		}
		if again, err := recurrence.New(r.Wire()); err != nil || !slices.Equal(slices.Collect(again.Dates(from, to)), want) {
			t.Fatalf("the wire form gives another series: %v", err)
		}
	})
}

func TestOccurrencesAreThoseThatOverlap(t *testing.T) {
	t.Parallel()
	locations := []string{"Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland", "Etc/GMT+12", "Pacific/Kiritimati"}
	rapid.Check(t, func(t *rapid.T) {
		w := anyRule(t)
		r, err := recurrence.New(w)
		if err != nil {
			return
		}
		loc, err := time.LoadLocation(rapid.SampledFrom(locations).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		times := recurrence.Times{Start: time.Duration(rapid.IntRange(0, 1439).Draw(t, "clock")) * time.Minute, Zone: loc}
		times.End = times.Start + time.Duration(rapid.IntRange(0, 5000).Draw(t, "minutes"))*time.Minute
		from := w.Range.StartDate.At(0, time.UTC).Add(time.Duration(rapid.IntRange(-5000, 800000).Draw(t, "from")) * time.Minute)
		to := from.Add(time.Duration(rapid.IntRange(0, 50000).Draw(t, "window")) * time.Minute)
		var want []recurrence.Date
		for d := range r.Dates(0, recurrence.DateOf(to)+10) {
			if start, end := times.On(d); recurrence.Overlap(start, end, from, to) {
				want = append(want, d)
			}
		}
		if got := slices.Collect(r.Between(times, from, to)); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestClockAndAtAreInverse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom([]string{"Europe/London", "America/St_Johns", "Australia/Lord_Howe"}).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		moment := time.Unix(rapid.Int64Range(1.5e9, 2.5e9).Draw(t, "moment"), 0).In(loc)
		d := recurrence.DateOf(moment)
		// In the hour that a clock shows twice one of the two comes back.
		back := d.At(recurrence.Clock(moment, d), loc)
		if back.Format(time.DateTime) != moment.Format(time.DateTime) {
			t.Fatalf("%s became %s", moment, back)
		}
	})
}

func BenchmarkDatesFarFromTheStart(b *testing.B) {
	r := rule(b, `{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"1900-01-01"}}`)
	from := date(b, "2026-11-23")
	for b.Loop() {
		for d := range r.Dates(from, from+31) {
			_ = d
		}
	}
}
