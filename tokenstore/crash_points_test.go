package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// crashPoint is where a refresh ends in the middle.
type crashPoint int

const (
	lostAnswer  crashPoint = iota // the server has answered, and nothing arrives
	beforeSave                    // between the answer and the save
	afterSave                     // between the save and the first use
	crashPoints                   // how many there are
)

var errCrash = errors.New("crash")

// TestAThousandCrashPointsLoseNoGrant ends the keeper at random points of a
// refresh, with what is in its memory, as kill -9 does.
func TestAThousandCrashPointsLoseNoGrant(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict rotation %v", strict), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { crashAThousandTimes(t, strict) })
		})
	}
}

func crashAThousandTimes(t *testing.T, strict bool) {
	t.Helper()
	const points = 1000
	seed := rand.Uint64()
	dice := rand.New(rand.NewPCG(seed, 4))
	w := newWorld(t)
	w.idp.mu.Lock()
	w.idp.strict = strict
	w.idp.mu.Unlock()
	ended := 0
	for i := range points {
		point := crashPoint(dice.IntN(int(crashPoints)))
		before := w.token(t).Generation
		after(61 * time.Minute)
		switch point {
		case lostAnswer:
			w.idp.breakWith(func(*reply) *reply { return &reply{err: errCrash} })
			w.noToken(t)
			w.idp.breakWith(nil)
		case beforeSave:
			w.vault.breakWith(errCrash)
			w.noToken(t)
			w.vault.breakWith(nil)
		case afterSave:
			// Whoever asked is gone; the new token was saved and never used.
			if got := w.token(t).Generation; got != before+1 {
				t.Fatalf("seed %d, point %d: generation %d after %d", seed, i, got, before)
			}
		}
		made := w.idp.requests()
		w.restart(t)
		if !strict || point == afterSave {
			got := w.token(t)
			if got.Generation != before+1 || w.idp.requests() > made+1 {
				t.Fatalf("seed %d, point %d (%d): generation %d after %d, %d requests", seed, i, point, got.Generation, before, w.idp.requests()-made)
			}
			continue
		}
		// The server has ended the old refresh token, and the new one is lost:
		// two refusals, a clear end, and no request more.
		ended++
		wantFault(t, w.noToken(t), fault.Retry, "invalid_grant")
		after(61 * time.Second)
		wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
		for range 3 {
			after(10 * time.Minute)
			w.restart(t)
			wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
		}
		if asked := w.idp.requests() - made; asked != 2 {
			t.Fatalf("seed %d, point %d: a dead grant was asked for %d times", seed, i, asked)
		}
		if g := w.vault.get(t); g.State != tokenstore.StateNeedsReauth || g.Reason != "invalid_grant" || g.Refresh == "" {
			t.Fatalf("seed %d, point %d: the record says %s, %q", seed, i, g.State, g.Reason)
		}
		w.signIn(t)
	}
	if strict == (ended == 0) {
		t.Errorf("%d grants ended", ended)
	}
}

// The environment of the child that refreshes until it kills itself, and of a
// run with more kills than usual.
const (
	killChild   = "TOKENSTORE_TEST_KILL_CHILD" // the path of the file
	killPoint   = "TOKENSTORE_TEST_KILL_POINT"
	killURL     = "TOKENSTORE_TEST_KILL_URL"
	killsWanted = "TOKENSTORE_TEST_KILLS"
)

// deadlyVault ends its process with SIGKILL at a point of the save.
type deadlyVault struct {
	*tokenstore.Store
	point crashPoint
}

func (v deadlyVault) Put(g tokenstore.Grant) error {
	die := func() {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {} // the signal is on its way
	}
	if v.point == beforeSave {
		die()
	}
	err := v.Store.Put(g)
	die()
	return err
}

func killClient(url string) tokenstore.Client {
	c := testClient()
	c.AuthorizeURL, c.TokenURL = url+"/authorize", url+"/token"
	return c
}

// refreshUntilKilled is the child.
func refreshUntilKilled(path string) {
	point, err := strconv.Atoi(os.Getenv(killPoint))
	if err == nil {
		err = withKeeper(path, os.Getenv(killURL), func(s *tokenstore.Store) tokenstore.Vault {
			return deadlyVault{s, crashPoint(point)}
		}, func(k *tokenstore.Keeper) error { return k.Renew(context.Background(), clientName) })
	}
	fmt.Println("not killed:", err)
	os.Exit(1)
}

// withKeeper does something with a keeper over a file.
func withKeeper(path, url string, over func(*tokenstore.Store) tokenstore.Vault, do func(*tokenstore.Keeper) error) error {
	store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
	if err != nil {
		return err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{
		Vault: over(store), Clients: []tokenstore.Client{killClient(url)}, Transport: transport,
	})
	if err == nil {
		err = do(keeper)
		keeper.Close()
	}
	return errors.Join(err, store.Close())
}

// TestAProcessKilledInARefreshLosesNoGrant kills real processes, at exact
// points, over a real file. TOKENSTORE_TEST_KILLS=1000 makes it a thousand.
func TestAProcessKilledInARefreshLosesNoGrant(t *testing.T) {
	t.Parallel()
	kills := 12
	if text := os.Getenv(killsWanted); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict rotation %v", strict), func(t *testing.T) {
			t.Parallel()
			killInRefresh(t, strict, kills/2)
		})
	}
}

func killInRefresh(t *testing.T, strict bool, kills int) {
	t.Helper()
	p := newIDP()
	p.strict = strict
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := p.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "tokens.db")
	whole := func(s *tokenstore.Store) tokenstore.Vault { return s }
	signIn := func(k *tokenstore.Keeper) error {
		logins, err := tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: []tokenstore.Client{killClient(server.URL)}, Adopter: k, Transport: p})
		if err != nil {
			return err
		}
		flow, err := logins.Begin(clientName)
		if err != nil {
			return err
		}
		_, err = logins.Callback(t.Context(), p.consent(t, flow.AuthURL), flow.State.Reveal())
		return err
	}
	if err := withKeeper(path, server.URL, whole, signIn); err != nil {
		t.Fatal(err)
	}
	saved, refused := 0, 0
	for kill := range kills {
		point := beforeSave
		if kill%2 == 1 {
			point = afterSave
		}
		made := p.requests()
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), killChild+"="+path, killURL+"="+server.URL, fmt.Sprintf("%s=%d", killPoint, point))
		out, err := child.CombinedOutput()
		if err == nil || child.ProcessState.Exited() || p.requests() != made+1 {
			t.Fatalf("kill %d: the child was not killed in a refresh: %v, %d requests\n%s", kill, err, p.requests()-made, out)
		}
		err = withKeeper(path, server.URL, whole, func(k *tokenstore.Keeper) error { return k.Renew(t.Context(), clientName) })
		switch {
		case strict && point == beforeSave:
			refused++
			wantFault(t, err, fault.Retry, "invalid_grant")
			if err := withKeeper(path, server.URL, whole, signIn); err != nil {
				t.Fatalf("kill %d: sign in again: %v", kill, err)
			}
		case err != nil:
			t.Fatalf("kill %d at point %d: the grant is lost: %v", kill, point, err)
		default:
			saved++
		}
	}
	t.Logf("%d kills: %d grants went on, %d were refused", kills, saved, refused)
}
