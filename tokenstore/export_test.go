package tokenstore_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

// words is the passphrase of the tests.
const words = seal.Secret("CANARY horse battery staple")

// exported returns an export of a store with three grants, and the grants.
func exported(t *testing.T, lock tokenstore.Lock) ([]byte, []tokenstore.Grant) {
	t.Helper()
	store := open(t, filled(t))
	grants, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Export(grants, lock)
	if err != nil {
		t.Fatal(err)
	}
	return data, grants
}

func TestAnExportOpensWithItsLockAndNoOther(t *testing.T) {
	t.Parallel()
	key := seal.Secret(strings.Repeat("7e", 32))
	reveal := cmp.Transformer("reveal", func(s seal.Secret) string { return s.Reveal() })
	for name, c := range map[string]struct {
		lock   tokenstore.Lock
		others map[string]tokenstore.Lock
	}{
		"a key": {tokenstore.Lock{Key: key}, map[string]tokenstore.Lock{
			"another key": {Key: testKey}, "a passphrase": {Passphrase: words}, "nothing": {}, "no key": {Key: "CANARY-no-key"},
			"both": {Key: key, Passphrase: words},
		}},
		"a passphrase": {tokenstore.Lock{Passphrase: words}, map[string]tokenstore.Lock{
			"another passphrase": {Passphrase: words + "s"}, "a key": {Key: key}, "both": {Key: key, Passphrase: words},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, want := exported(t, c.lock)
			if phrase, err := tokenstore.TakesPassphrase(data); err != nil || phrase != (c.lock.Passphrase != "") {
				t.Errorf("takes a passphrase: %v, %v", phrase, err)
			}
			got, err := tokenstore.ReadExport(data, c.lock)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Grants, reveal); diff != "" {
				t.Errorf("the grants changed (-want +got):\n%s", diff)
			}
			if time.Since(got.Created) > time.Hour || got.Store == "" {
				t.Errorf("created %s in store %q", got.Created, got.Store)
			}
			for _, text := range []string{"CANARY", "ann@contoso", "tenant-1", "Mail.Read", "login.example", "contoso"} {
				if bytes.Contains(data, []byte(text)) {
					t.Errorf("%q is in the file", text)
				}
			}
			for other, lock := range c.others {
				got, err := tokenstore.ReadExport(data, lock)
				if err == nil || len(got.Grants) > 0 || other != "both" && fault.HintOf(err) == "" {
					t.Errorf("%s opened it, or no hint came: %v", other, err)
				}
				if strings.Contains(err.Error()+fault.HintOf(err), "CANARY") {
					t.Errorf("%s is in the error: %v", other, err)
				}
			}
		})
	}
}

func TestAWeakPassphraseIsRefused(t *testing.T) {
	t.Parallel()
	store := open(t, filled(t))
	for _, lock := range []tokenstore.Lock{{}, {Passphrase: "CANARY-shrt"}} {
		if data, err := store.Export(nil, lock); err == nil || data != nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%d bytes, %v", len(data), err)
		}
	}
}

// TestAChangedExportNeverOpens flips every bit of it, cuts it everywhere, and
// changes its header as somebody could who wants another key made of the
// passphrase.
func TestAChangedExportNeverOpens(t *testing.T) {
	t.Parallel()
	lock := tokenstore.Lock{Key: seal.Secret(strings.Repeat("7e", 32))}
	data, _ := exported(t, lock)
	refuse := func(what string, n int, changed []byte) {
		t.Helper()
		got, err := tokenstore.ReadExport(changed, lock)
		if err == nil || len(got.Grants) > 0 || fault.HintOf(err) == "" || fault.KindOf(err) != fault.Fatal {
			t.Fatalf("%s %d: %d grants, %v", what, n, len(got.Grants), err)
		}
	}
	for bit := range (len(data) - 1) * 8 { // the last byte ends the line, and means nothing
		changed := bytes.Clone(data)
		changed[bit/8] ^= 1 << (bit % 8)
		refuse("bit", bit, changed)
	}
	for cut := range len(data) - 1 {
		refuse("cut", cut, data[:cut])
	}
	phrase, _ := exported(t, tokenstore.Lock{Passphrase: words})
	for i, edit := range [][2]string{
		{`"time":3`, `"time":1`},
		{`"time":3`, `"time":4294967295`},
		{`"memory_kib":65536`, `"memory_kib":4294967295`},
		{`"memory_kib":65536`, `"memory_kib":0`},
		{`"threads":4`, `"threads":0`},
		{`argon2id`, `argon2i`},
		{`"salt":"`, `"salt":"","x":"`},
		{`"version":1`, `"version":2`},
		{`"grants":3`, `"grants":2`},
	} {
		changed := bytes.Replace(phrase, []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(changed, phrase) {
			t.Fatalf("edit %d changes nothing", i)
		}
		start := time.Now()
		if got, err := tokenstore.ReadExport(changed, tokenstore.Lock{Passphrase: words}); err == nil || len(got.Grants) > 0 || fault.HintOf(err) == "" {
			t.Errorf("edit %v: %v", edit, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("edit %v took %s", edit, took)
		}
	}
}

func TestImportingReplacesNothingNewerWithoutForce(t *testing.T) {
	t.Parallel()
	later := func(g tokenstore.Grant) tokenstore.Grant { g.Granted = g.Granted.Add(time.Hour); return g }
	for name, c := range map[string]struct {
		present, incoming tokenstore.Grant
		effect            tokenstore.Effect
		generation        uint64
	}{
		"none there":                    {incoming: testGrant("contoso", 4), effect: tokenstore.EffectNew, generation: 4},
		"the same":                      {testGrant("contoso", 4), testGrant("contoso", 4), tokenstore.EffectSame, 4},
		"one refresh later":             {testGrant("contoso", 4), testGrant("contoso", 5), tokenstore.EffectNewer, 5},
		"one refresh earlier":           {testGrant("contoso", 5), testGrant("contoso", 4), tokenstore.EffectOlder, 6},
		"a later sign-in, fewer tokens": {testGrant("contoso", 9), later(testGrant("contoso", 2)), tokenstore.EffectNewer, 10},
		"an earlier sign-in, more":      {later(testGrant("contoso", 2)), testGrant("contoso", 9), tokenstore.EffectOlder, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t, filepath.Join(t.TempDir(), "tokens.db"))
			if c.present.Client != "" {
				if err := store.Put(c.present); err != nil {
					t.Fatal(err)
				}
			}
			other := testGrant("other", 3)
			list, err := store.Import([]tokenstore.Grant{other, c.incoming}, false)
			if len(list) != 2 || list[1].Effect != c.effect {
				t.Errorf("effect %v, want %s", list, c.effect)
			}
			if c.effect == tokenstore.EffectOlder {
				if !errors.Is(err, tokenstore.ErrOlder) || !strings.Contains(err.Error(), "contoso") || !strings.Contains(fault.HintOf(err), "--force") {
					t.Errorf("got %v, hint %q", err, fault.HintOf(err))
				}
				if all, err := store.List(); err != nil || len(all) != 1 || all[0].Generation != c.present.Generation {
					t.Errorf("a refused import changed the store: %v", err)
				}
				_, err = store.Import([]tokenstore.Grant{other, c.incoming}, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, found, err := store.Get("contoso")
			if err != nil || !found || got.Refresh != c.incoming.Refresh || got.Generation != c.generation {
				t.Errorf("generation %d, want %d; %v", got.Generation, c.generation, err)
			}
			if _, found, err := store.Get("other"); !found || err != nil {
				t.Errorf("the other grant: %v, %v", found, err)
			}
		})
	}
}

func TestAnImportThatNamesAClientTwiceIsRefused(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "tokens.db"))
	if _, err := store.Import([]tokenstore.Grant{testGrant("contoso", 1), testGrant("contoso", 2)}, true); !errors.Is(err, tokenstore.ErrExport) {
		t.Errorf("got %v", err)
	}
	if all, err := store.List(); err != nil || len(all) != 0 {
		t.Errorf("%d grants, %v", len(all), err)
	}
}

// FuzzReadExport gives it files that somebody made: either it is the export, or
// an error with a hint and no grant.
func FuzzReadExport(f *testing.F) {
	lock := tokenstore.Lock{Key: seal.Secret(strings.Repeat("7e", 32))}
	store, err := tokenstore.Open(tokenstore.Options{Path: filepath.Join(f.TempDir(), "tokens.db"), Key: testKey})
	if err != nil {
		f.Fatal(err)
	}
	whole, err := store.Export([]tokenstore.Grant{testGrant("contoso", 1)}, lock)
	if err := errors.Join(err, store.Close()); err != nil {
		f.Fatal(err)
	}
	first, second, _ := bytes.Cut(whole, []byte("\n"))
	f.Add(first, second)
	f.Add([]byte(`{"file":"outlook-connector grants","version":1,"passphrase":{"kdf":"argon2id","time":16,"memory_kib":1048576,"threads":255}}`), second)
	f.Add([]byte(`{}`), []byte(""))
	f.Fuzz(func(t *testing.T, head, sealed []byte) {
		got, err := tokenstore.ReadExport(append(append(bytes.Clone(head), '\n'), sealed...), lock)
		switch {
		case err != nil && (len(got.Grants) > 0 || fault.HintOf(err) == ""):
			t.Fatalf("%d grants, %v", len(got.Grants), err)
		case err == nil && (len(got.Grants) != 1 || got.Grants[0].Refresh != testGrant("contoso", 1).Refresh):
			t.Fatalf("opened as %d other grants", len(got.Grants))
		}
	})
}
