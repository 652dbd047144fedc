package tokenstore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

func open(t *testing.T, path string) *tokenstore.Store {
	t.Helper()
	store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
	if err != nil {
		t.Fatalf("%v; %s", err, fault.HintOf(err))
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// filled returns a closed store with three grants, each saved a few times, so
// that the file has free pages and old copies in it.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.db")
	store := open(t, path)
	for generation := range uint64(6) {
		for _, client := range []string{"contoso", "fabrikam", "zeta"} {
			if err := store.Put(testGrant(client, generation+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGrantsSurviveARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "folder", "tokens.db")
	store := open(t, path)
	want := []tokenstore.Grant{testGrant("a-client", 7), testGrant("contoso", 3)}
	want[1].State, want[1].Reason, want[1].RefusedAt = tokenstore.StateNeedsReauth, "invalid_grant", want[1].Granted
	for _, g := range want {
		if err := store.Put(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(testGrant("gone", 1)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Delete("gone"), store.Delete("never was")); err != nil {
		t.Fatal(err)
	}
	id := store.ID()
	if err := errors.Join(store.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(want[0]); err == nil {
		t.Error("a closed store took a grant")
	}

	store = open(t, path)
	got, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	reveal := cmp.Transformer("reveal", func(s seal.Secret) string { return s.Reveal() })
	if diff := cmp.Diff(want, got, reveal); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if _, found, err := store.Get("gone"); found || err != nil {
		t.Errorf("Get of a deleted grant: %v, %v", found, err)
	}
	if store.ID() != id || id == "" {
		t.Errorf("the store is called %q, was %q", store.ID(), id)
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %v, %v", rest, err)
	}
}

func TestNothingInTheFileIsReadable(t *testing.T) {
	t.Parallel()
	data := read(t, filled(t))
	for _, text := range []string{"CANARY", "ann@contoso", "tenant-1", "Mail.Read", "login.example", strings.Repeat("\x5a", 32)} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%q is in the file", text)
		}
	}
}

// flip returns a copy with one bit of one byte changed.
func flip(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 1
	return data
}

func TestFilesThatAreRefusedAreLeftAsTheyAre(t *testing.T) {
	t.Parallel()
	whole := read(t, filled(t))
	random := make([]byte, 64<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for name, c := range map[string]struct {
		data  []byte
		mode  fs.FileMode
		key   seal.Secret
		is    error
		hint  string
		link  bool
		other string
	}{
		"empty":             {data: []byte{}, is: tokenstore.ErrDamaged, hint: "backup"},
		"one byte":          {data: []byte{0}, is: tokenstore.ErrDamaged},
		"garbage":           {data: random, is: tokenstore.ErrDamaged},
		"text":              {data: []byte(strings.Repeat("hello world\n", 4000)), is: tokenstore.ErrDamaged},
		"zeros":             {data: make([]byte, len(whole)), is: tokenstore.ErrDamaged},
		"one page":          {data: whole[:4096], is: tokenstore.ErrDamaged},
		"two pages":         {data: whole[:8192], is: tokenstore.ErrDamaged},
		"cut in the middle": {data: whole[:len(whole)/2], is: tokenstore.ErrDamaged},
		"one byte less":     {data: whole[:len(whole)-1], is: tokenstore.ErrDamaged, hint: "backup"},
		"one page less":     {data: whole[:len(whole)-4096], is: tokenstore.ErrDamaged, hint: "backup"},
		"a bit of page 0":   {data: flip(whole, 20), is: tokenstore.ErrDamaged, hint: "backup"},
		"a bit of page 1":   {data: flip(whole, 4096+20), is: tokenstore.ErrDamaged, hint: "backup"},
		"all may do all":    {data: whole, mode: 0o666, is: tokenstore.ErrUnsafe, hint: "chmod 600 "},
		"all may execute":   {data: whole, mode: 0o611, is: tokenstore.ErrUnsafe, hint: "chmod 600 "},
		"group may read":    {data: whole, mode: 0o640, is: tokenstore.ErrUnsafe, hint: "chmod 600 "},
		"all may read":      {data: whole, mode: 0o604, is: tokenstore.ErrUnsafe, hint: "chmod 600 "},
		"another key":       {data: whole, key: seal.Secret(strings.Repeat("5b", 32)), is: seal.ErrWrongKey, hint: "token_store.key"},
		"no key":            {data: whole, key: "CANARY-not-a-key", is: seal.ErrKeyText, hint: "init"},
		"a link":            {data: whole, link: true, is: tokenstore.ErrUnsafe},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens.db")
			target := path
			if c.link {
				target = filepath.Join(t.TempDir(), "elsewhere.db")
				if err := os.Symlink(target, path); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(target, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.mode != 0 {
				if err := os.Chmod(target, c.mode); err != nil {
					t.Fatal(err)
				}
			}
			key := testKey
			if c.key != "" {
				key = c.key
			}
			start := time.Now()
			store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: key})
			if err == nil {
				_ = store.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, c.is) || fault.KindOf(err) != fault.Fatal {
				t.Errorf("got %v (%v), want %v", err, fault.KindOf(err), c.is)
			}
			if hint := fault.HintOf(err); hint == "" || !strings.Contains(hint, c.hint) {
				t.Errorf("hint %q, want %q in it", hint, c.hint)
			}
			if strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), key.Reveal()) {
				t.Errorf("the error shows the key: %v", err)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("refused after %s", took)
			}
			if sha256.Sum256(read(t, target)) != sha256.Sum256(c.data) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestASharedFolderIsRefused(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o770); err != nil {
		t.Fatal(err)
	}
	_, err := tokenstore.Open(tokenstore.Options{Path: filepath.Join(folder, "tokens.db"), Key: testKey})
	if !errors.Is(err, tokenstore.ErrUnsafe) || !strings.Contains(fault.HintOf(err), "chmod 700 "+folder) {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if names, err := os.ReadDir(folder); err != nil || len(names) > 0 {
		t.Errorf("something was made in it: %v, %v", names, err)
	}
}

func TestASecondOpenFailsSoonAndNamesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	store := open(t, path)
	start := time.Now()
	_, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
	if !errors.Is(err, tokenstore.ErrLocked) || !strings.Contains(err.Error(), path) || fault.HintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	start = time.Now()
	if _, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey, LockWait: -1}); !errors.Is(err, tokenstore.ErrLocked) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("without waiting it took %s", took)
	}
	if err := store.Put(testGrant("contoso", 1)); err != nil {
		t.Errorf("the holder was disturbed: %v", err)
	}
}

func TestProcessesThatStartTogetherMakeOneStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	var starters sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]int{}
	for range 8 {
		starters.Go(func() {
			store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey, LockWait: 200 * time.Millisecond})
			if errors.Is(err, tokenstore.ErrLocked) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			ids[store.ID()]++
			mu.Unlock()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	starters.Wait()
	if len(ids) > 1 {
		t.Errorf("%d different stores were made", len(ids))
	}
	open(t, path)
}

// flips is behind -args: go test ./tokenstore -run Flipped -args -flips 10000.
var flips = flag.Int("flips", 200, "how many random bits of a store are flipped, one at a time")

func TestFlippedBitsNeverGiveAWrongValue(t *testing.T) {
	t.Parallel()
	path := filled(t)
	whole := read(t, path)
	want, err := open(t, path).List()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(20, 26))
	flipped := filepath.Join(t.TempDir(), "flipped.db")
	refused, slowest := 0, time.Duration(0)
	var written []int // every second bit is one of these: most of the file is zeros
	for at, b := range whole {
		if b != 0 {
			written = append(written, at)
		}
	}
	for n := range *flips {
		bit := rng.IntN(len(whole) * 8)
		if n%2 == 0 {
			bit = written[rng.IntN(len(written))]*8 + rng.IntN(8)
		}
		changed := bytes.Clone(whole)
		changed[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(flipped, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		store, err := tokenstore.Open(tokenstore.Options{Path: flipped, Key: testKey})
		slowest = max(slowest, time.Since(start))
		if err != nil {
			refused++
			if fault.HintOf(err) == "" || !errors.Is(err, tokenstore.ErrDamaged) && !errors.Is(err, seal.ErrWrongKey) {
				t.Errorf("bit %d: %v; hint %q", bit, err, fault.HintOf(err))
			}
			if !bytes.Equal(read(t, flipped), changed) {
				t.Fatalf("bit %d: the refused file was changed", bit)
			}
			continue
		}
		got, err := store.List()
		if err == nil && !cmp.Equal(want, got) {
			t.Errorf("bit %d: wrong values came out", bit)
		}
		if err := store.Close(); err != nil {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	if refused == 0 || refused == *flips {
		t.Errorf("%d of %d refused: the test does not test", refused, *flips)
	}
	t.Logf("%d of %d files refused within %s, the others gave the right values", refused, *flips, slowest.Round(time.Millisecond))
}

// edit changes the buckets behind the store's back, as somebody could who has
// the file but not the key.
func edit(t *testing.T, path string, change func(grants, meta *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("grants")), tx.Bucket([]byte("meta"))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTamperingIsNoticed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(grants, meta *bbolt.Bucket) error{
		"two values swapped": func(grants, _ *bbolt.Bucket) error {
			a, b := bytes.Clone(grants.Get([]byte("contoso"))), bytes.Clone(grants.Get([]byte("fabrikam")))
			return errors.Join(grants.Put([]byte("contoso"), b), grants.Put([]byte("fabrikam"), a))
		},
		"a value copied": func(grants, _ *bbolt.Bucket) error {
			return grants.Put([]byte("fabrikam"), bytes.Clone(grants.Get([]byte("contoso"))))
		},
		"a grant removed": func(grants, _ *bbolt.Bucket) error { return grants.Delete([]byte("zeta")) },
		"a grant renamed": func(grants, _ *bbolt.Bucket) error {
			v := bytes.Clone(grants.Get([]byte("zeta")))
			return errors.Join(grants.Delete([]byte("zeta")), grants.Put([]byte("zetb"), v))
		},
		"all grants removed": func(grants, _ *bbolt.Bucket) error {
			return errors.Join(grants.Delete([]byte("zeta")), grants.Delete([]byte("contoso")), grants.Delete([]byte("fabrikam")))
		},
		"the marker removed":  func(_, meta *bbolt.Bucket) error { return meta.Delete([]byte("store")) },
		"the marker replaced": func(_, meta *bbolt.Bucket) error { return meta.Put([]byte("store"), []byte("{}")) },
		"a value emptied":     func(grants, _ *bbolt.Bucket) error { return grants.Put([]byte("contoso"), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filled(t)
			edit(t, path, change)
			_, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
			if !errors.Is(err, tokenstore.ErrDamaged) || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("one grant rolled back", func(t *testing.T) {
		t.Parallel()
		path := filled(t)
		var old []byte
		edit(t, path, func(grants, _ *bbolt.Bucket) error { old = bytes.Clone(grants.Get([]byte("contoso"))); return nil })
		store := open(t, path)
		if err := store.Put(testGrant("contoso", 99)); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		edit(t, path, func(grants, _ *bbolt.Bucket) error { return grants.Put([]byte("contoso"), old) })
		if _, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey}); !errors.Is(err, tokenstore.ErrDamaged) {
			t.Errorf("got %v: an old refresh token came back", err)
		}
	})
}

func TestAnotherDatabaseIsNoTokenStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey}); !errors.Is(err, tokenstore.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestManyGrantsAreSavedAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	store := open(t, path)
	var writers sync.WaitGroup
	for writer := range 8 {
		writers.Go(func() {
			for i := range 25 {
				if err := store.Put(testGrant(fmt.Sprintf("client-%d-%d", writer, i), 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := open(t, path).List()
	if err != nil || len(all) != 200 {
		t.Errorf("%d grants, %v; want 200", len(all), err)
	}
}
