package zones_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/sandbox/zones"
)

func TestAZoneIsFoundByEachOfItsNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, windows, iana string }{
		{"Pacific Standard Time", "Pacific Standard Time", "America/Los_Angeles"},
		{"pacific standard time", "Pacific Standard Time", "America/Los_Angeles"},
		{" W. Europe Standard Time ", "W. Europe Standard Time", "Europe/Berlin"},
		{"Europe/Vienna", "W. Europe Standard Time", "Europe/Vienna"},
		{"europe/kyiv", "FLE Standard Time", "Europe/Kyiv"},
		{"Asia/Kolkata", "India Standard Time", "Asia/Kolkata"},
		{"UTC", "UTC", "Etc/UTC"},
		{"utc", "UTC", "Etc/UTC"},
		{"Etc/GMT", "UTC", "Etc/GMT"},
		{"GMT", "UTC", "GMT"},
		{"tzone://Microsoft/Utc", "UTC", "Etc/UTC"},
		{"Russia Time Zone 11", "Russia Time Zone 11", "Asia/Kamchatka"},
		{"US/Pacific", "", "US/Pacific"},
	} {
		z, ok := zones.Lookup(row.name)
		if !ok || z.Windows != row.windows || z.IANA != row.iana || z.Location == nil {
			t.Errorf("Lookup(%q) = %+v, %t; want %q, %q", row.name, z, ok, row.windows, row.iana)
		}
	}
}

func TestANameWithoutAZoneIsNotFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", " ", "Local", "Mars Standard Time", "../etc/passwd", "tzone://Microsoft/Custom", "+02:00"} {
		if z, ok := zones.Lookup(name); ok {
			t.Errorf("Lookup(%q) = %+v", name, z)
		}
	}
}

func TestTheTableIsWholeAndInOrder(t *testing.T) {
	t.Parallel()
	all := zones.All()
	if len(all) != 139 {
		t.Errorf("%d zones, want 139", len(all))
	}
	seen := map[string]bool{}
	last := -13 * time.Hour
	for _, z := range all {
		if seen[z.Windows] {
			t.Errorf("%s is there twice", z.Windows)
		}
		seen[z.Windows] = true
		back, ok := zones.Lookup(z.Windows)
		if !ok || back.IANA != z.IANA {
			t.Errorf("Lookup(%q) = %+v", z.Windows, back)
		}
		offset := shown(t, z.Display)
		if offset < last {
			t.Errorf("%s is east of the one before it", z.Display)
		}
		last = offset
	}
}

// shown reads the offset at the head of a display name.
func shown(t *testing.T, display string) time.Duration {
	t.Helper()
	head, _, ok := strings.Cut(strings.TrimPrefix(display, "("), ") ")
	if !ok || !strings.HasPrefix(head, "UTC") {
		t.Fatalf("display name %q", display)
	}
	if head == "UTC" {
		return 0
	}
	var sign rune
	var h, m int
	if _, err := fmt.Sscanf(head, "UTC%c%d:%d", &sign, &h, &m); err != nil {
		t.Fatalf("display name %q: %v", display, err)
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if sign == '-' {
		return -d
	}
	return d
}

// A wrong pair of names would put meetings hours off, so each display name is
// held against the rules of its zone. The exceptions changed in 2024 and later
// and are not in every machine's database.
func TestDisplayNamesTellTheOffsetOfTheRules(t *testing.T) {
	t.Parallel()
	young := []string{"Paraguay Standard Time", "Qyzylorda Standard Time", "Central Asia Standard Time"}
	for _, z := range zones.All() {
		if slices.Contains(young, z.Windows) {
			continue
		}
		_, winter := time.Date(2026, 1, 15, 12, 0, 0, 0, z.Location).Zone()
		_, summer := time.Date(2026, 7, 15, 12, 0, 0, 0, z.Location).Zone()
		want := int(shown(t, z.Display) / time.Second)
		if min(winter, summer) != want {
			t.Errorf("%s (%s): offsets %d and %d s, display name %q", z.Windows, z.IANA, winter, summer, z.Display)
		}
	}
}

func TestLookupsMayRunTogether(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, name := range []string{"Tokyo Standard Time", "Europe/Paris", "Asia/Tokyo", "no such zone"} {
				zones.Lookup(name)
			}
		})
	}
	wg.Wait()
}

func TestTheNameInAnAnswerIsTheWindowsOne(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"Europe/Rome": "W. Europe Standard Time", "US/Eastern": "US/Eastern"} {
		if z, ok := zones.Lookup(name); !ok || z.Name() != want {
			t.Errorf("Name of %s = %q, want %q", name, z.Name(), want)
		}
	}
}

func ExampleLookup() {
	z, ok := zones.Lookup("Pacific Standard Time")
	noon := time.Date(2026, 1, 15, 12, 0, 0, 0, z.Location)
	fmt.Println(ok, z.IANA, noon.UTC().Format(time.RFC3339))
	fmt.Println(z.Display)
	// Output:
	// true America/Los_Angeles 2026-01-15T20:00:00Z
	// (UTC-08:00) Pacific Time (US & Canada)
}
