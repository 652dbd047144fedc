package retry_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/retry"
)

func TestAfterReadsEveryShapeSeen(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cases := []struct {
		value string
		want  time.Duration
	}{
		{"120", 2 * time.Minute},
		{" 7 ", 7 * time.Second},
		{"2.128", 2128 * time.Millisecond},
		{"0.249", 249 * time.Millisecond},
		{"0", 0},
		{"", 0},
		{"-5", 0},
		{"1e9", retry.MaxAfter},
		{"1e999", retry.MaxAfter},
		{"Inf", retry.MaxAfter},
		{"-1e999", 0},
		{"NaN", 0},
		{"abc", 0},
		{"12 seconds", 0},
		{"Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second},
		{"Monday, 23-Nov-26 12:00:30 GMT", 30 * time.Second},
		{"Mon Nov 23 12:00:30 2026", 30 * time.Second},
		{"Mon, 23 Nov 2026 11:59:30 GMT", 0},
		{"Mon, 23 Nov 2099 11:59:30 GMT", retry.MaxAfter},
	}
	for _, tc := range cases {
		if got := retry.After(tc.value, now); got != tc.want {
			t.Errorf("After(%q) = %v, want %v", tc.value, got, tc.want)
		}
	}
}

func FuzzAfterIsNeverEarlierThanAsked(f *testing.F) {
	for _, seed := range []string{"1", "2.128", "0.249", "-5", "1e9", "abc", "", "NaN", "0x10p4", "Mon, 23 Nov 2026 12:00:30 GMT"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		got := retry.After(value, now)
		if got < 0 || got > retry.MaxAfter {
			t.Fatalf("After(%q) = %v, out of bounds", value, got)
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || math.IsNaN(seconds) {
			return
		}
		if asked := min(seconds, retry.MaxAfter.Seconds()); got.Seconds() < asked*(1-1e-12) {
			t.Fatalf("After(%q) = %v, earlier than asked", value, got)
		}
	})
}
