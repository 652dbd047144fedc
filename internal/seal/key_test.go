package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"outlook-connector/internal/seal"
)

func newKey(tb testing.TB, text seal.Secret, purpose string) *seal.Key {
	tb.Helper()
	key, err := seal.ParseKey(text, purpose)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func TestKeyTextsThatAreAccepted(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{0xfb, 0xff, 0x3e, 0x07}, 8)
	want := newKey(t, seal.Secret(hex.EncodeToString(raw)), "test").ID()
	for name, text := range map[string]string{
		"upper case hex":     strings.ToUpper(hex.EncodeToString(raw)),
		"hex, line break":    hex.EncodeToString(raw) + "\r\n",
		"base64":             base64.StdEncoding.EncodeToString(raw),
		"base64 unpadded":    base64.RawStdEncoding.EncodeToString(raw),
		"base64url":          base64.URLEncoding.EncodeToString(raw),
		"base64url unpadded": " " + base64.RawURLEncoding.EncodeToString(raw) + "\n",
	} {
		key, err := seal.ParseKey(seal.Secret(text), "test")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if key.ID() != want {
			t.Errorf("%s: id %s, want %s: the same key must come out", name, key.ID(), want)
		}
	}
}

func TestKeyTextsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":               "",
		"blank":               " \n",
		"a passphrase":        "correct horse battery staple",
		"32 characters":       "0123456789abcdef0123456789abcdef",
		"hex, one short":      strings.Repeat("a", 63),
		"hex, one long":       strings.Repeat("a", 65),
		"64, not hex":         strings.Repeat("g", 64),
		"base64 of 31 bytes":  base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"base64 of 33 bytes":  base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"base64, a line each": strings.Repeat("AAAAAAAA\n", 5) + "AAA=",
		"an unread reference": "${file:./data/token.key}",
	} {
		_, err := seal.ParseKey(seal.Secret(text), "test")
		if !errors.Is(err, seal.ErrKeyText) {
			t.Errorf("%s: got %v, want ErrKeyText", name, err)
			continue
		}
		if trimmed := strings.TrimSpace(text); trimmed != "" && strings.Contains(err.Error(), trimmed) {
			t.Errorf("%s: the error shows the text", name)
		}
	}
}

func TestNewKeyTextIsRandomAndReadable(t *testing.T) {
	t.Parallel()
	one, two := seal.NewKeyText(), seal.NewKeyText()
	if one == two || len(one) != 64 {
		t.Fatalf("got %d and %d characters, equal: %v", len(one), len(two), one == two)
	}
	newKey(t, one, "test")
}

func TestSealedValuesOpenOnlyInTheirPlaceWithTheirKey(t *testing.T) {
	t.Parallel()
	text := seal.NewKeyText()
	key := newKey(t, text, "test")
	plain, place := []byte("refresh-token-canary"), []byte("grants/contoso/1")
	sealed := key.Seal(plain, place)

	if got, err := key.Open(sealed, place); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if bytes.Contains(sealed, plain) {
		t.Error("the plaintext is in the sealed value")
	}
	if bytes.Equal(sealed, key.Seal(plain, place)) {
		t.Error("sealing twice gave the same bytes: the nonce is not random")
	}
	if seal.KeyIDOf(sealed) != key.ID() {
		t.Errorf("KeyIDOf = %q, want %q", seal.KeyIDOf(sealed), key.ID())
	}
	if _, err := key.Open(sealed, []byte("grants/contosp/1")); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("another place: %v, want ErrTampered", err)
	}
	if _, err := newKey(t, seal.NewKeyText(), "test").Open(sealed, place); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another key: %v, want ErrWrongKey", err)
	}
	if _, err := newKey(t, text, "other").Open(sealed, place); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another purpose: %v, want ErrWrongKey", err)
	}
	empty := key.Seal(nil, nil)
	if got, err := key.Open(empty, nil); err != nil || len(got) != 0 {
		t.Errorf("an empty value: %q, %v", got, err)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	key := newKey(t, seal.NewKeyText(), "test")
	sealed := key.Seal([]byte("value"), []byte("place"))
	for bit := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[bit/8] ^= 1 << (bit % 8)
		got, err := key.Open(changed, []byte("place"))
		if err == nil {
			t.Fatalf("bit %d: opened as %q", bit, got)
		}
		want := seal.ErrTampered
		switch {
		case bit < 8:
			want = seal.ErrVersion
		case bit < 8*9:
			want = seal.ErrWrongKey
		}
		if !errors.Is(err, want) {
			t.Errorf("bit %d: %v, want %v", bit, err, want)
		}
	}
	for cut := range sealed {
		if _, err := key.Open(sealed[:cut], []byte("place")); err == nil {
			t.Errorf("cut to %d bytes: opened", cut)
		}
	}
}

func TestKeysPrintTheirIDOnly(t *testing.T) {
	t.Parallel()
	key := newKey(t, seal.NewKeyText(), "test")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, key); got != "key "+key.ID() {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key := newKey(f, seal.Secret(strings.Repeat("5a", seal.KeySize)), "fuzz")
	plain, place := []byte("the one value"), []byte("place")
	sealed := key.Seal(plain, place)
	f.Add(sealed, place)
	f.Add(sealed[:9], place)
	f.Add([]byte{}, []byte{})
	f.Add([]byte{1, 2, 3}, []byte("x"))
	f.Fuzz(func(t *testing.T, value, where []byte) {
		got, err := key.Open(value, where)
		if err != nil {
			if got != nil {
				t.Fatalf("an error and a value: %q", got)
			}
			return
		}
		// Each process of the fuzzer seals with a nonce of its own, so it is not
		// only our own sealed value that may open.
		if !bytes.Equal(where, place) || !bytes.Equal(got, plain) {
			t.Fatalf("opened %x at %q as %q", value, where, got)
		}
	})
}
