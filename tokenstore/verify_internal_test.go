package tokenstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// database returns the bytes of a sound file with everything in it that the
// walk must know: branches, overflow pages, inline buckets, free pages.
func database(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "x.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, PageSize: 1024, NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	for round := range 4 {
		err = errors.Join(err, db.Update(func(tx *bbolt.Tx) error {
			large, err := tx.CreateBucketIfNotExists([]byte("large"))
			if err != nil {
				return err
			}
			small, err := tx.CreateBucketIfNotExists([]byte("small"))
			if err != nil {
				return err
			}
			for i := range 300 {
				if (i+round)%4 == 0 {
					err = errors.Join(err, large.Delete(fmt.Appendf(nil, "key-%04d", i)))
				} else {
					err = errors.Join(err, large.Put(fmt.Appendf(nil, "key-%04d", i), bytes.Repeat([]byte{byte(i)}, i*11)))
				}
			}
			return errors.Join(err, small.Put([]byte("one"), []byte("value")))
		}))
	}
	data, readErr := os.ReadFile(path)
	if err := errors.Join(err, readErr, db.Close()); err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestASoundFileIsFoundSound(t *testing.T) {
	t.Parallel()
	if err := verifyFile(database(t)); err != nil {
		t.Fatal(err)
	}
}

func TestAGrowingFileIsSoundAtEverySizeAndItsHalfIsNot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[int]bool{}
	for i := range 250 {
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("bucket"))
			if err != nil {
				return err
			}
			return bucket.Put(fmt.Appendf(nil, "key-%d", i), make([]byte, (i*37)%9000))
		})
		data, readErr := os.ReadFile(path)
		if err := errors.Join(err, readErr, verifyFile(data)); err != nil {
			t.Fatalf("after %d writes, %d bytes: %v", i+1, len(data), err)
		}
		if verifyFile(data[:len(data)/2]) == nil {
			t.Fatalf("after %d writes: the first half of %d bytes is found sound", i+1, len(data))
		}
		sizes[len(data)] = true
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(sizes) < 5 {
		t.Errorf("the file had %d sizes only", len(sizes))
	}
}

func TestADamagedStructureEndsTheWalkWithAnError(t *testing.T) {
	t.Parallel()
	whole := database(t)
	order := binary.NativeEndian
	root := func(data []byte) []byte { // the root page
		id := max(order.Uint64(data[16+48:]), order.Uint64(data[1024+16+48:])) % 2
		return data[order.Uint64(data[id*1024+16+16:])*1024:]
	}
	for name, damage := range map[string]func(data []byte) []byte{
		"one meta page is older garbage": func(data []byte) []byte { data[16] ^= 1; return data },
		"the other one too":              func(data []byte) []byte { data[1024+16+20] ^= 1; return data },
		"a page that names itself wrong": func(data []byte) []byte { root(data)[0] ^= 1; return data },
		"a page of no kind":              func(data []byte) []byte { root(data)[8] ^= 8; return data },
		"more entries than room":         func(data []byte) []byte { root(data)[11] = 0xFF; return data },
		"an overflow past the end":       func(data []byte) []byte { root(data)[14] = 0xFF; return data },
		"cut by a page":                  func(data []byte) []byte { return data[:len(data)-1024] },
		"a free page that is forgotten": func(data []byte) []byte {
			id := max(order.Uint64(data[16+48:]), order.Uint64(data[1024+16+48:])) % 2
			data[order.Uint64(data[id*1024+16+32:])*1024+10]--
			return data
		},
		"a page that leads to itself": func(data []byte) []byte {
			page := root(data)
			for i := range int(order.Uint16(page[10:])) { // the bucket "large" starts at the root page itself
				element := page[16+i*16:]
				value := element[order.Uint32(element[4:])+order.Uint32(element[8:]):]
				copy(value[:8], page[:8])
				break
			}
			return data
		},
	} {
		if err := verifyFile(damage(bytes.Clone(whole))); err == nil {
			t.Errorf("%s: found sound", name)
		}
	}
}

// FuzzVerify changes a sound file in up to three places: whatever the walk says,
// it must come to an end without a panic.
func FuzzVerify(f *testing.F) {
	whole := database(f)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		f.Add(rng.Uint32(), rng.Uint32(), rng.Uint32(), rng.Uint64())
	}
	f.Fuzz(func(_ *testing.T, a, b, c uint32, value uint64) {
		data := bytes.Clone(whole)
		for i, at := range []uint32{a, b, c} {
			data[int(at)%len(data)] = byte(value >> (8 * i))
		}
		if int(value>>32)%5 == 0 {
			data = data[:int(value>>40)%len(data)]
		}
		_ = verifyFile(data)
	})
}

func TestRetryAfterIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "60": time.Minute, "1.5": 1500 * time.Millisecond, "-5": 0, "999999999": maxRetryAfter, "1e300": maxRetryAfter,
		"NaN": 0, "Inf": maxRetryAfter, "soon": 0, "Mon, 04 May 2026 03:03:01 GMT": time.Minute, "Mon, 04 May 2020 03:03:01 GMT": 0,
		"Mon, 04 May 2099 03:03:01 GMT": maxRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
}

func TestTheTransportRefusesAnotherHost(t *testing.T) {
	t.Parallel()
	reached := false
	p := pinned{hosts: []string{"login.example"}, next: roundTrip(func(*http.Request) (*http.Response, error) {
		reached = true
		return nil, errUnusable
	})}
	for address, want := range map[string]bool{
		"https://login.example/token": true, "https://LOGIN.example/token": true, "https://login.example:444/token": false,
		"https://login.example.evil.example/token": false, "https://evil.example/login.example": false,
	} {
		reached = false
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.RoundTrip(req)
		if resp != nil {
			_ = resp.Body.Close()
		}
		if reached != want || errors.Is(err, errForeignHost) == want {
			t.Errorf("%s: reached %v, %v", address, reached, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
