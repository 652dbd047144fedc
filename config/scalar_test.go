package config_test

import (
	"encoding"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/config"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "10m": 10 * time.Minute, "24h": 24 * time.Hour, "7d": 168 * time.Hour, "168h": 168 * time.Hour,
		"1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond, "0": 0, "0d": 0, "1.5h": 90 * time.Minute,
	} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q = %v, %v, want %v", text, d, err, want)
		}
	}
	for _, text := range []string{
		"", "30", "30x", "-5s", "+5s", "1d-1h", "1.5d", "d", "12h1d", "1d1d", " 5s", "5 s", "99999999999d", "106752d", "106751d24h", "NaN", "inf", "1e3s",
	} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, d)
		}
	}
}

func TestSizesAndRates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"150MB": 150_000_000, "64KiB": 65536, "1GiB": 1 << 30, "1024": 1024, "7B": 7, "0": 0, "2KB": 2000,
	} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q = %v, %v, want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "B", "MB", "-1MB", "+1MB", "1.5MB", "1 MB", "1mb", "9223372036854775807KB"} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, s)
		}
	}
	var r config.Rate
	if err := r.UnmarshalText([]byte("10000/10m")); err != nil || r.Count != 10000 || r.Per.Std() != 10*time.Minute {
		t.Errorf("rate = %v, %v", r, err)
	}
	for _, text := range []string{"", "10000", "/10m", "10000/", "0/10m", "-1/10m", "10000/0s", "10000/10", "1/2/3"} {
		var r config.Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, r)
		}
		var b config.ByteRate
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, b)
		}
	}
}

// value is a scalar of the configuration file.
type value interface {
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

func TestEveryScalarReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	roundTrip := func(t *rapid.T, in, out value) {
		text, err := in.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := out.UnmarshalText(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := config.Duration(rapid.Int64Range(1, 1<<62).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "whole seconds") {
			d = d/config.Duration(time.Second)*config.Duration(time.Second) + config.Duration(time.Second)
		}
		size := config.Size(rapid.Int64Range(1, 1<<62).Draw(t, "size"))
		count := rapid.Int64Range(1, 1<<62).Draw(t, "count")
		var gotDuration config.Duration
		var gotSize config.Size
		var gotRate config.Rate
		var gotBytes config.ByteRate
		roundTrip(t, &d, &gotDuration)
		roundTrip(t, &size, &gotSize)
		roundTrip(t, &config.Rate{Count: count, Per: d}, &gotRate)
		roundTrip(t, &config.ByteRate{Bytes: size, Per: d}, &gotBytes)
		if gotDuration != d || gotSize != size || gotRate != (config.Rate{Count: count, Per: d}) || gotBytes != (config.ByteRate{Bytes: size, Per: d}) {
			t.Fatalf("%v %v %v %v", gotDuration, gotSize, gotRate, gotBytes)
		}
	})
}

func TestStarts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"now", "all", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+02:00"} {
		var s config.Start
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != text {
			t.Errorf("%q = %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "Now", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00Z"} {
		var s config.Start
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, s)
		}
	}
}

func TestServersHideWhatTheyCannotTakeApart(t *testing.T) {
	t.Parallel()
	for servers, want := range map[config.Servers]string{
		"":                                   "",
		"nats://a:4222, nats://b:4222":       "nats://a:4222,nats://b:4222",
		"nats://user:pw@a:4222":              "nats://«redacted»@a:4222",
		"nats://token@a:4222":                "nats://«redacted»@a:4222",
		"user:pw@a:4222":                     "«redacted»",
		"hunter2":                            "«redacted»",
		"nats://a:4222/x?token=hunter2":      "nats://a:4222",
		"nats://us er:pw@a:4222,nats://b":    "«redacted»,nats://b",
		"wss://user:p%40ss@a:443/nats,tls:b": "wss://«redacted»@a:443,«redacted»",
	} {
		if got := servers.String(); got != want {
			t.Errorf("%q is shown as %q, want %q", servers.Reveal(), got, want)
		}
	}
}
