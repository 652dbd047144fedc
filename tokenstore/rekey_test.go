package tokenstore_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

// newTestKey is what testKey is replaced by.
var newTestKey = seal.Secret(strings.Repeat("c3", 32))

// openWith opens a store with a key and earlier ones, until the end of the test.
func openWith(t *testing.T, path string, key seal.Secret, earlier ...seal.Secret) *tokenstore.Store {
	t.Helper()
	store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: key, PreviousKeys: earlier})
	if err != nil {
		t.Fatalf("%v; %s", err, fault.HintOf(err))
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// sealedValues returns every value of the file as it is on the disk.
func sealedValues(t *testing.T, path string) (values [][]byte) {
	t.Helper()
	edit(t, path, func(grants, meta *bbolt.Bucket) error {
		keep := func(_, sealed []byte) error { values = append(values, bytes.Clone(sealed)); return nil }
		return errors.Join(grants.ForEach(keep), meta.ForEach(keep))
	})
	return values
}

func TestAnEarlierKeyOpensAndTheNewOneSeals(t *testing.T) {
	t.Parallel()
	path := filled(t)
	var log bytes.Buffer
	store, err := tokenstore.Open(tokenstore.Options{
		Path: path, Key: newTestKey, PreviousKeys: []seal.Secret{testKey}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if earlier, err := store.Earlier(); earlier != 3 || err != nil {
		t.Errorf("%d grants with an earlier key, %v; want 3", earlier, err)
	}
	if !strings.Contains(log.String(), "auth rekey") || strings.Contains(log.String(), newTestKey.Reveal()) {
		t.Errorf("the log says nothing of what to do, or a key: %s", log.String())
	}
	got, found, err := store.Get("contoso")
	if err != nil || !found || got.Refresh != testGrant("contoso", 6).Refresh {
		t.Fatalf("read %v, %v", found, err)
	}
	if err := store.Put(testGrant("contoso", 7)); err != nil {
		t.Fatal(err)
	}
	if earlier, err := store.Earlier(); earlier != 2 || err != nil {
		t.Errorf("%d grants with an earlier key, %v; want 2: a write uses the new one", earlier, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	// Half of it is sealed with each key now: neither is enough by itself.
	before := read(t, path)
	for name, keys := range map[string]tokenstore.Options{
		"the new key alone": {Key: newTestKey}, "the earlier key alone": {Key: testKey},
		"a key of elsewhere": {Key: seal.Secret(strings.Repeat("d4", 32)), PreviousKeys: []seal.Secret{newTestKey}},
	} {
		keys.Path = path
		start := time.Now()
		_, err := tokenstore.Open(keys)
		if !errors.Is(err, seal.ErrWrongKey) || fault.KindOf(err) != fault.Fatal || !strings.Contains(fault.HintOf(err), "previous_keys") {
			t.Errorf("%s: %v; hint %q", name, err, fault.HintOf(err))
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: refused after %s", name, took)
		}
		if !bytes.Equal(read(t, path), before) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	both := openWith(t, path, testKey, newTestKey) // back again
	if all, err := both.List(); err != nil || len(all) != 3 || all[0].Generation != 7 {
		t.Errorf("with the keys the other way round: %v", err)
	}
}

func TestRekeyMakesTheEarlierKeyDispensableAndUseless(t *testing.T) {
	t.Parallel()
	path := filled(t)
	many := open(t, path) // and many pages that were used and are free
	for i := range 60 {
		if err := many.Put(testGrant(fmt.Sprintf("gone-%d", i), 1)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		if err := many.Delete(fmt.Sprintf("gone-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := many.Close(); err != nil {
		t.Fatal(err)
	}
	old := sealedValues(t, path)
	store := openWith(t, path, newTestKey, seal.Secret(strings.Repeat("e5", 32)), testKey)
	want, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	grants, renewed, err := store.Rekey()
	if err != nil || grants != 3 || renewed != 3 {
		t.Fatalf("%d grants, %d sealed again, %v; want 3 and 3", grants, renewed, err)
	}
	if earlier, err := store.Earlier(); earlier != 0 || err != nil {
		t.Errorf("%d grants with an earlier key, %v", earlier, err)
	}
	if grants, renewed, err := store.Rekey(); err != nil || grants != 3 || renewed != 0 {
		t.Errorf("again: %d grants, %d of them with an earlier key, %v", grants, renewed, err)
	}
	if err := store.Put(testGrant("later", 1)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(store.Delete("later"), store.Close()); err != nil {
		t.Fatal(err)
	}
	if grants, _, err := store.Rekey(); err == nil || grants != 0 {
		t.Errorf("a closed store was sealed again: %d, %v", grants, err)
	}

	got, err := openWith(t, path, newTestKey).List()
	if err != nil {
		t.Fatal(err)
	}
	reveal := cmp.Transformer("reveal", func(s seal.Secret) string { return s.Reveal() })
	if diff := cmp.Diff(want, got, reveal); diff != "" {
		t.Errorf("the grants changed (-before +after):\n%s", diff)
	}
	// Whoever has the earlier key finds nothing that it opens, in free pages
	// neither: the id of the key stands in front of every value that it sealed.
	key, err := seal.ParseKey(testKey, "token store")
	if err != nil {
		t.Fatal(err)
	}
	data := read(t, path)
	for i, sealed := range old {
		if bytes.Contains(data, sealed[:32]) {
			t.Errorf("value %d that the earlier key sealed is still in the file", i)
		}
	}
	if n := strings.Count(fmt.Sprintf("%x", data), "01"+key.ID()); n > 0 {
		t.Errorf("%d values that the earlier key sealed are still in the file", n)
	}
}

func TestAnEmptyStoreIsRekeyed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	store := openWith(t, path, newTestKey, testKey)
	if grants, renewed, err := store.Rekey(); err != nil || grants != 0 || renewed != 0 {
		t.Fatalf("%d, %d, %v", grants, renewed, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	openWith(t, path, newTestKey)
}

func TestAPreviousKeyThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	path := filled(t)
	_, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey, PreviousKeys: []seal.Secret{"CANARY-no-key"}})
	if !errors.Is(err, seal.ErrKeyText) || !strings.Contains(fault.HintOf(err), "previous_keys") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
}

// rekeyChild names the environment variable that makes the test binary a
// process that changes the key of a store to and fro until somebody kills it.
const rekeyChild = "TOKENSTORE_TEST_REKEY_CHILD"

func rekeyUntilKilled(path string) {
	keys := []seal.Secret{testKey, newTestKey}
	for {
		keys[0], keys[1] = keys[1], keys[0]
		store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: keys[0], PreviousKeys: keys[1:]})
		if err != nil {
			fmt.Println("open:", err)
			os.Exit(1)
		}
		fmt.Println("sealing")
		_, _, err = store.Rekey()
		if err := errors.Join(err, store.Close()); err != nil {
			fmt.Println("rekey:", err)
			os.Exit(1)
		}
	}
}

func TestAKillDuringRekeyLosesNoGrant(t *testing.T) {
	t.Parallel()
	path := filled(t)
	first := open(t, path)
	want, err := first.List()
	if err := errors.Join(err, first.Close()); err != nil {
		t.Fatal(err)
	}
	between := 0 // kills that left the file with the other key
	for kill := range 20 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), rekeyChild+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + kill%3 {
			if !lines.Scan() || lines.Text() != "sealing" {
				t.Fatalf("the child says %q", lines.Text())
			}
		}
		timer := time.NewTimer(time.Duration(kill) * 300 * time.Microsecond)
		<-timer.C
		_ = child.Process.Kill()
		for lines.Scan() {
			if lines.Text() != "sealing" {
				t.Fatalf("the child says %q", lines.Text())
			}
		}
		_ = child.Wait()
		store := openWith(t, path, testKey, newTestKey)
		got, err := store.List()
		if err != nil || !cmp.Equal(want, got) {
			t.Fatalf("kill %d: the grants changed, %v", kill, err)
		}
		if earlier, err := store.Earlier(); err != nil || earlier != 0 && earlier != len(want) {
			t.Fatalf("kill %d: %d of %d grants have the other key, %v: it is not one transaction", kill, earlier, len(want), err)
		} else if earlier != 0 {
			between++
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 20 kills left the file with the other key", between)
}
