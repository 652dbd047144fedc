package config

import (
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// valueError says why a text is not a value of its type. It does not repeat the
// text, which may have come out of a ${…}: whoever reports it decides what to
// show.
type valueError struct{ reason, hint string }

func (e *valueError) Error() string { return e.reason + "; write " + e.hint }

// Duration is a length of time, written as 30s, 10m, 24h, 7d or 1h30m. A day is
// 24 hours. It is never negative.
type Duration time.Duration

// Short names for defaults.
const (
	second = Duration(time.Second)
	minute = Duration(time.Minute)
	hour   = Duration(time.Hour)
)

// Std returns the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns the shortest form that UnmarshalText takes back: 168h, 90s is
// 1m30s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// MarshalText returns the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of a configuration file.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, ok := parseDuration(string(text))
	if !ok {
		return &valueError{"is not a duration", "a number and a unit, such as 30s, 10m, 24h or 7d"}
	}
	*d = parsed
	return nil
}

// parseDuration is time.ParseDuration with days and without signs. Days come
// first, as in 1d12h.
func parseDuration(s string) (Duration, bool) {
	var days time.Duration
	if number, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > math.MaxInt64/uint64(24*time.Hour) {
			return 0, false
		}
		days = time.Duration(n) * 24 * time.Hour
		if rest == "" {
			return Duration(days), true
		}
		s = rest
	}
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	rest, err := time.ParseDuration(s)
	if err != nil || days > math.MaxInt64-rest {
		return 0, false
	}
	return Duration(days + rest), true
}

// Size is a number of bytes, written as 150MB, 64KiB or 1024. KB, MB and GB are
// powers of 1,000; KiB, MiB and GiB are powers of 1,024.
type Size int64

const megabyte Size = 1000 * 1000

// sizeUnit is a unit of Size.
type sizeUnit struct {
	suffix string
	bytes  int64
}

// sizeUnits returns the units, those first that others end in.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"B", 1},
	}
}

// String returns the size in the largest unit that needs no fraction.
func (s Size) String() string {
	best := sizeUnit{"B", 1}
	for _, unit := range sizeUnits() {
		if s != 0 && int64(s)%unit.bytes == 0 && unit.bytes > best.bytes {
			best = unit
		}
	}
	return strconv.FormatInt(int64(s)/best.bytes, 10) + best.suffix
}

// MarshalText returns the form of String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the form of a configuration file.
func (s *Size) UnmarshalText(text []byte) error {
	number, scale := string(text), int64(1)
	for _, unit := range sizeUnits() {
		if cut, found := strings.CutSuffix(number, unit.suffix); found {
			number, scale = cut, unit.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || number[0] == '+' || n > math.MaxInt64/scale {
		return &valueError{"is not a size", "a number and a unit, such as 150MB or 64KiB"}
	}
	*s = Size(n * scale)
	return nil
}

// Rate is a number of things in a time, written as 10000/10m.
type Rate struct {
	// Count is how many.
	Count int64
	// Per is the time in which.
	Per Duration
}

// String returns the form of a configuration file.
func (r Rate) String() string { return strconv.FormatInt(r.Count, 10) + "/" + r.Per.String() }

// MarshalText returns the form of String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the form of a configuration file.
func (r *Rate) UnmarshalText(text []byte) error {
	count, per, found := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(count, 10, 64)
	d, ok := parseDuration(per)
	if !found || err != nil || n < 1 || count[0] == '+' || !ok || d == 0 {
		return &valueError{"is not a rate", "a number and a time, such as 10000/10m"}
	}
	*r = Rate{Count: n, Per: d}
	return nil
}

// ByteRate is a number of bytes in a time, written as 150MB/5m.
type ByteRate struct {
	// Bytes is how many.
	Bytes Size
	// Per is the time in which.
	Per Duration
}

// String returns the form of a configuration file.
func (r ByteRate) String() string { return r.Bytes.String() + "/" + r.Per.String() }

// MarshalText returns the form of String.
func (r ByteRate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the form of a configuration file.
func (r *ByteRate) UnmarshalText(text []byte) error {
	size, per, found := strings.Cut(string(text), "/")
	var bytes Size
	err := bytes.UnmarshalText([]byte(size))
	d, ok := parseDuration(per)
	if !found || err != nil || bytes == 0 || !ok || d == 0 {
		return &valueError{"is not a rate", "a size and a time, such as 150MB/5m"}
	}
	*r = ByteRate{Bytes: bytes, Per: d}
	return nil
}

// Start is where a subscription begins: now, all, or at a time. The zero value
// is now.
type Start struct {
	// All says that everything that is there is told first.
	All bool
	// At is the time from which received items are told; zero unless a time was
	// given.
	At time.Time
}

// String returns the form of a configuration file.
func (s Start) String() string {
	switch {
	case s.All:
		return "all"
	case !s.At.IsZero():
		return s.At.Format(time.RFC3339)
	default:
		return "now"
	}
}

// MarshalText returns the form of String.
func (s Start) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the form of a configuration file.
func (s *Start) UnmarshalText(text []byte) error {
	switch string(text) {
	case "now":
		*s = Start{}
		return nil
	case "all":
		*s = Start{All: true}
		return nil
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil || at.IsZero() {
		return &valueError{"is neither now, all nor a time", "now, all, or a time with its zone such as 2026-01-01T00:00:00Z"}
	}
	*s = Start{At: at}
	return nil
}

// Servers is a list of NATS addresses, separated by commas. User, password and
// token in it are secret: every usual way to print it leaves them out, and
// [Servers.Reveal] is the one way to them.
type Servers string

// Reveal returns the list with its credentials. Call it where the connection is
// made and nowhere else.
func (s Servers) Reveal() string { return string(s) }

// List returns the addresses one by one, with their credentials.
func (s Servers) List() []string {
	var list []string
	for address := range strings.SplitSeq(string(s), ",") {
		if address = strings.TrimSpace(address); address != "" {
			list = append(list, address)
		}
	}
	return list
}

// String returns the list without credentials.
func (s Servers) String() string {
	list := s.List()
	for i, address := range list {
		u, err := url.Parse(address)
		switch {
		case err != nil || u.Host == "":
			// What cannot be taken apart may be anything, a bare token too.
			list[i] = "«redacted»"
		case u.User != nil:
			list[i] = u.Scheme + "://«redacted»@" + u.Host
		default:
			list[i] = u.Scheme + "://" + u.Host
		}
	}
	return strings.Join(list, ",")
}

// GoString hides the credentials from %#v.
func (s Servers) GoString() string { return s.String() }

// LogValue hides the credentials from slog.
func (s Servers) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the credentials from encoders.
func (s Servers) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the list as it stands in a file; it is checked with the
// rest of the configuration.
func (s *Servers) UnmarshalText(text []byte) error {
	*s = Servers(text)
	return nil
}
