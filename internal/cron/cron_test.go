package cron_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/cron"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, after, want string }{
		{"* * * * *", "2026-03-01 10:00:00", "2026-03-01 10:01:00"},
		{"* * * * *", "2026-03-01 10:00:59", "2026-03-01 10:01:00"},
		{"*/15 * * * *", "2026-03-01 10:46:00", "2026-03-01 11:00:00"},
		{"5-59/20 9-17 * * *", "2026-03-01 17:45:00", "2026-03-02 09:05:00"},
		{"30 6 * * *", "2026-03-01 06:29:59", "2026-03-01 06:30:00"},
		{"30 6 * * *", "2026-03-01 06:30:00", "2026-03-02 06:30:00"},
		{"0 0 1 jan *", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
		{"59 23 31 12 *", "2026-12-31 23:59:00", "2027-12-31 23:59:00"},
		{"0 8 * * MON-FRI", "2026-03-06 08:00:00", "2026-03-09 08:00:00"},
		{"0 8 * * 7", "2026-03-02 00:00:00", "2026-03-08 08:00:00"},
		{"0 8 * * 0", "2026-03-02 00:00:00", "2026-03-08 08:00:00"},
		{"0 8 * * 5-7", "2026-03-07 09:00:00", "2026-03-08 08:00:00"},
		{"10,20,40-42 5 * * *", "2026-03-01 05:20:00", "2026-03-01 05:40:00"},
		{"0 0 29 2 *", "2026-03-01 00:00:00", "2028-02-29 00:00:00"},
		{"0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"},
		{"0 0 29 2 */7", "2100-01-01 00:00:00", "2128-02-29 00:00:00"}, // both, and it must be a Sunday
		// The 13th or a Friday, since neither begins with a star.
		{"0 0 13 * fri", "2026-03-01 00:00:00", "2026-03-06 00:00:00"},
		{"0 0 13 * fri", "2026-04-10 00:00:00", "2026-04-13 00:00:00"},
		// A Friday that is the 1st, 11th, 21st or 31st.
		{"0 0 */10 * fri", "2026-03-01 00:00:00", "2026-05-01 00:00:00"},
		{"15 4 31 * *", "2026-03-31 04:15:00", "2026-05-31 04:15:00"},
	} {
		s, err := cron.Parse(c.text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got := s.Next(at(t, c.after)); !got.Equal(at(t, c.want)) || got.Location() != time.UTC {
			t.Errorf("%q after %s: %s, want %s", c.text, c.after, got, c.want)
		}
	}
	s, err := cron.Parse("0 12 * * *")
	if err != nil {
		t.Fatal(err)
	}
	zone := time.FixedZone("east", 5*3600+1800)
	if got := s.Next(time.Date(2026, 3, 1, 17, 29, 0, 0, zone)); !got.Equal(at(t, "2026-03-01 12:00:00")) {
		t.Errorf("the zone of the argument counts: %s", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                  "0 fields",
		"* * * *":           "4 fields",
		"* * * * * *":       "6 fields",
		"@daily":            "1 fields",
		"60 * * * *":        `minute "60" is not from 0 to 59`,
		"-1 * * * *":        `minute "" is not`,
		"+1 * * * *":        `minute "+1" is not`,
		"* 24 * * *":        `hour "24"`,
		"* * 0 * *":         `day of month "0" is not from 1 to 31`,
		"* * * 13 *":        `month "13"`,
		"* * * * 8":         `day of week "8" is not from 0 to 7`,
		"* * * january *":   `month "january"`,
		"* mon * * *":       `hour "mon"`,
		"1,,2 * * * *":      `minute ""`,
		"*/0 * * * *":       `"*/0": the step`,
		"*/60 * * * *":      "the step must be a number from 1 to 59",
		"*/x * * * *":       "the step",
		"5/10 * * * *":      `a step needs a range before it, such as 5-59/10`,
		"30-10 * * * *":     "ends before it begins",
		"* * * * fri-mon":   "ends before it begins",
		"1-2-3 * * * *":     `"2-3"`,
		"? * * * *":         `"?"`,
		"0 0 30 feb *":      "names no day that exists",
		"0 0 31 4,6,9,11 *": "names no day that exists",
		"TZ=0 * * * *":      `minute "tz=0"`,
	} {
		if _, err := cron.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestNextIsTheFirst compares with a search minute by minute.
func TestNextIsTheFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		number := func(name string, low, high int) int { return rapid.IntRange(low, high).Draw(rt, name) }
		minute, hour, day, weekday := number("minute", 0, 59), number("hour", 0, 23), number("day", 1, 28), number("weekday", 0, 6)
		text := strings.Join([]string{
			rapid.SampledFrom([]string{"*", "*/7", itoa(minute), itoa(minute) + ",59"}).Draw(rt, "minutes"),
			rapid.SampledFrom([]string{"*", "*/5", itoa(hour), "0-" + itoa(hour)}).Draw(rt, "hours"),
			rapid.SampledFrom([]string{"*", itoa(day)}).Draw(rt, "days"), "*",
			rapid.SampledFrom([]string{"*", itoa(weekday)}).Draw(rt, "weekdays"),
		}, " ")
		s, err := cron.Parse(text)
		if err != nil {
			rt.Fatal(err)
		}
		begin := time.Unix(rapid.Int64Range(1_700_000_000, 1_800_000_000).Draw(rt, "begin"), 0).UTC()
		got := s.Next(begin)
		// Every minute is its own next one's predecessor: nothing between them.
		for m := begin.Truncate(time.Minute).Add(time.Minute); m.Before(got); m = m.Add(time.Minute) {
			if next := s.Next(m.Add(-time.Second)); !next.Equal(got) {
				rt.Fatalf("%q: %s lies between %s and %s", text, next, begin, got)
			}
		}
		if !got.After(begin) || got.Second() != 0 || !s.Next(got.Add(-time.Second)).Equal(got) {
			rt.Fatalf("%q after %s: %s", text, begin, got)
		}
	})
}

func itoa(n int) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/5 1-2 3,4 jan mon", "0 0 30 2 *", "a b c d e", "1-/ * * * *", ", , , , ,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := cron.Parse(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
		if next := s.Next(now); !next.After(now) {
			t.Fatalf("%q: %s is not after %s", text, next, now)
		}
	})
}
