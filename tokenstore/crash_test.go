package tokenstore_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

func TestNobodySeesATokenBeforeItIsSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.vault.onPut = func(g tokenstore.Grant) {
			for _, c := range w.keeper.Status() {
				if c.Generation >= g.Generation {
					t.Errorf("generation %d is in use before it is saved", g.Generation)
				}
			}
		}
		after(61 * time.Minute)
		if w.token(t).Generation != 2 || w.vault.get(t).Generation != 2 {
			t.Error("not refreshed")
		}
	})
}

func TestAFullDiskKeepsTheOldTokenAndLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.mu.Lock()
		w.idp.strict = true // asking again would end the grant
		w.idp.mu.Unlock()
		w.vault.breakWith(errDiskFull)
		after(50 * time.Minute)
		for range 10 {
			if w.token(t).Generation != 1 {
				t.Fatal("an unsaved token was handed out")
			}
			after(30 * time.Second)
		}
		if made := w.idp.requests(); made != 2 {
			t.Fatalf("%d token requests: the answer in memory must be saved, not asked for again", made)
		}
		after(10 * time.Minute)
		failure := wantFault(t, w.noToken(t), fault.Retry, "token_not_saved")
		if failure.After <= 0 {
			t.Error("no wait before the next try")
		}
		w.vault.breakWith(nil)
		after(2 * time.Minute)
		if got := w.token(t); got.Generation != 2 || w.vault.get(t).Generation != 2 || w.idp.requests() != 2 {
			t.Errorf("generation %d after %d requests", got.Generation, w.idp.requests())
		}
	})
}

func TestACrashBetweenAnswerAndSave(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict rotation %v", strict), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.idp.mu.Lock()
				w.idp.strict = strict
				w.idp.mu.Unlock()
				w.vault.breakWith(errDiskFull)
				after(61 * time.Minute)
				w.noToken(t)
				w.vault.breakWith(nil)
				w.restart(t) // what was in memory only is gone
				if !strict {
					if w.token(t).Generation != 2 {
						t.Error("the old refresh token still works at this server, so a token must come")
					}
					return
				}
				wantFault(t, w.noToken(t), fault.Retry, "invalid_grant")
				after(61 * time.Second)
				wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
				made := w.idp.requests()
				after(time.Hour)
				wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
				if w.idp.requests() != made {
					t.Error("a dead grant was asked for in a loop")
				}
			})
		})
	}
}

// crashChild names the environment variable that makes the test binary a
// process that saves grants until somebody kills it.
const crashChild = "TOKENSTORE_TEST_CRASH_CHILD"

// saveUntilKilled prints every generation after it was saved.
func saveUntilKilled(path string) {
	store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	grant, _, err := store.Get(clientName)
	for err == nil {
		grant = testGrant(clientName, grant.Generation+1)
		if err = store.Put(grant); err == nil {
			fmt.Println(grant.Generation)
		}
	}
	fmt.Println("put:", err)
	os.Exit(1)
}

func testGrant(client string, generation uint64) tokenstore.Grant {
	return tokenstore.Grant{
		Client: client, ClientID: "app-1", TokenHost: "login.example", State: tokenstore.StateOK, Generation: generation,
		Account: tokenstore.Account{UPN: "ann@contoso.example", Tenant: "tenant-1", ObjectID: "user-1", Name: "Ann"},
		Scopes:  []string{"Mail.Read"}, Granted: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Access:  seal.Secret(fmt.Sprintf("CANARY-access-%s-%d", client, generation)),
		Refresh: seal.Secret(fmt.Sprintf("CANARY-refresh-%s-%d", client, generation)),
		Issued:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Expiry: time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC),
	}
}

func TestAKilledProcessLosesNoSavedGrant(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	saved := uint64(0)
	for kill := range 12 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), crashChild+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + kill*3 {
			if !lines.Scan() {
				break
			}
			number, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			saved = number
		}
		_ = child.Process.Kill()
		for lines.Scan() { // what it had saved before the signal came
			if number, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				saved = number
			}
		}
		_ = child.Wait()

		store, err := tokenstore.Open(tokenstore.Options{Path: path, Key: testKey})
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		got, _, err := store.Get(clientName)
		if err != nil || got.Generation < saved || got.Generation > saved+1 || got.Refresh != testGrant(clientName, got.Generation).Refresh {
			t.Fatalf("kill %d: generation %d, %v; %d was saved", kill, got.Generation, err, saved)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if saved < 12 {
		t.Errorf("only %d saves: the test did not test", saved)
	}
}
