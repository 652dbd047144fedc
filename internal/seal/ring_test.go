package seal_test

import (
	"errors"
	"strings"
	"testing"

	"outlook-connector/internal/seal"
)

func TestARingOpensWithEveryKeyAndSealsWithTheCurrentOne(t *testing.T) {
	t.Parallel()
	now, before, first := seal.NewKeyText(), seal.NewKeyText(), seal.NewKeyText()
	ring, err := seal.NewRing("test", now, before, first)
	if err != nil {
		t.Fatal(err)
	}
	place := []byte("grants/contoso")
	for name, c := range map[string]struct {
		sealed []byte
		fresh  bool
		is     error
	}{
		"the current key":     {sealed: newKey(t, now, "test").Seal([]byte("value"), place), fresh: true},
		"the ring itself":     {sealed: ring.Seal([]byte("value"), place), fresh: true},
		"the key before":      {sealed: newKey(t, before, "test").Seal([]byte("value"), place)},
		"the first key":       {sealed: newKey(t, first, "test").Seal([]byte("value"), place)},
		"a key of elsewhere":  {sealed: newKey(t, seal.NewKeyText(), "test").Seal([]byte("value"), place), is: seal.ErrWrongKey},
		"another purpose":     {sealed: newKey(t, before, "other").Seal([]byte("value"), place), is: seal.ErrWrongKey},
		"an earlier one, cut": {sealed: newKey(t, before, "test").Seal([]byte("value"), place)[:40], is: seal.ErrTampered},
		"elsewhere, earlier":  {sealed: newKey(t, before, "test").Seal([]byte("value"), []byte("x")), is: seal.ErrTampered},
		"nothing":             {is: seal.ErrVersion},
	} {
		got, err := ring.Open(c.sealed, place)
		if !errors.Is(err, c.is) || err == nil && string(got) != "value" {
			t.Errorf("%s: %q, %v; want %v", name, got, err, c.is)
		}
		if c.is == nil && ring.Fresh(c.sealed) != c.fresh {
			t.Errorf("%s: fresh %v", name, ring.Fresh(c.sealed))
		}
		if _, err := ring.Only().Open(c.sealed, place); (err == nil) != (c.is == nil && c.fresh) {
			t.Errorf("%s: the current key alone says %v", name, err)
		}
	}
	if got := seal.KeyIDOf(ring.Seal(nil, nil)); got != ring.Current().ID() || got != newKey(t, now, "test").ID() {
		t.Errorf("sealed with %s", got)
	}
}

func TestARingSaysWhichTextIsNoKey(t *testing.T) {
	t.Parallel()
	_, err := seal.NewRing("test", seal.NewKeyText(), seal.NewKeyText(), "canary-no-key")
	if !errors.Is(err, seal.ErrKeyText) || !strings.Contains(err.Error(), "earlier key 2") || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
	if _, err := seal.NewRing("test", "canary-no-key"); !errors.Is(err, seal.ErrKeyText) || strings.Contains(err.Error(), "earlier") {
		t.Errorf("got %v", err)
	}
}
