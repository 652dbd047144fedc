package sandbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"outlook-connector/internal/sandbox"
)

// runChild is a sandbox in a process of its own, to be killed.
func runChild(dir string) {
	s, err := sandbox.New(sandbox.StoreDir(dir), sandbox.MailboxConcurrency(100))
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	select {}
}

// child starts a sandbox process on a folder and returns its address.
func child(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "SANDBOX_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http") {
		t.Fatalf("child said %q, %v", line, err)
	}
	return strings.TrimSpace(line), sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // SIGKILL: no clean-up of any kind
		_ = cmd.Wait()
	})
}

func open(t *testing.T, dir string, opts ...sandbox.Option) *world {
	t.Helper()
	return start(t, append(opts, sandbox.StoreDir(dir))...)
}

func TestEverythingSurvivesAReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, sandbox.Seed(9))
	p := newProduct(w, nil)
	refresh := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(200).str("refresh_token")
	for n := range 5 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	r := newReader(w.with("Prefer", "odata.maxpagesize=2"), "inbox", "").round()
	half := newReader(w.with("Prefer", "odata.maxpagesize=2"), "inbox", "")
	half.page()
	list := w.get("/me/mailFolders/inbox/messages").value()
	w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(list[0]["id"]), `{"isRead":true}`).is(200)
	w.do(http.MethodDelete, "/me/messages/"+fmt.Sprint(list[1]["id"]), "").is(204)
	folder := w.do(http.MethodPost, "/me/mailFolders", `{"displayName":"Projects"}`).is(201).str("id")
	gone := w.do(http.MethodPost, "/me/mailFolders/deleteditems/childFolders", `{"displayName":"Old"}`).is(201).str("id")
	w.do(http.MethodDelete, "/me/mailFolders/"+gone, "").is(204)
	w.do(http.MethodPost, "/me/sendMail", sendMail("out", ben)).is(202)
	one := string(w.get("/me/messages/" + fmt.Sprint(list[0]["id"])).raw)
	effects, people, oldURL := w.Effects(), w.People(), w.URL()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	// Twice: the second time from the compacted journal.
	for range 2 {
		again := open(t, dir, sandbox.Seed(10), sandbox.Mailboxes(6))
		again.token = w.token // still good: the secret is kept
		moved := func(link string) string { return strings.Replace(link, oldURL, again.URL(), 1) }
		if got := string(again.get("/me/messages/" + fmt.Sprint(list[0]["id"])).is(200).raw); got != strings.ReplaceAll(one, oldURL, again.URL()) {
			t.Errorf("message\n%s\nwas\n%s", got, one)
		}
		again.get("/me/mailFolders/" + folder).is(200)
		again.get("/me/mailFolders/" + gone).is(404)
		if !slices.Equal(again.People()[:4], people) || len(again.People()) != 6 {
			t.Errorf("people %v", again.People())
		}
		if got, want := mustJSON(again.Effects()), mustJSON(effects); got != want {
			t.Errorf("effects %s, want %s", got, want)
		}
		next := &reader{w: again.with("Prefer", "odata.maxpagesize=2"), link: moved(r.link), view: map[string]string{}}
		if next.round(); len(next.items) != 2 || len(next.removed) != 1 || next.removed[0] != list[1]["id"] {
			t.Errorf("the round after told %v", next.items)
		}
		rest := &reader{w: next.w, link: moved(half.link), view: map[string]string{}}
		for !rest.page() {
		}
		if rest.round(); len(rest.view) < 2 {
			t.Errorf("the half round went on to %v", rest.view)
		}
		again.post(again.TokenURL(), refreshForm(refresh)).is(200)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestAKilledSandboxForgetsNothingThatItAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sent := map[string]bool{}
	for round := range 3 {
		url, kill := child(t, dir)
		var token struct {
			AccessToken string `json:"access_token"`
		}
		w := &world{t: t, client: &http.Client{Transport: &http.Transport{}}, header: http.Header{}}
		decode(t, w.do(http.MethodPost, url+"/_sandbox/token", `{"upn":"ann@contoso.example","scopes":"Mail.Send"}`).is(200), &token)
		w.token = token.AccessToken
		var left atomic.Int32
		left.Store(40 + int32(round))
		answered := make(chan string, 1000)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; ; n++ {
				subject := fmt.Sprintf("r%d-%d", round, n)
				r, err := w.try(http.MethodPost, url+"/v1.0/me/sendMail", sendMail(subject, ben))
				if err != nil {
					return
				}
				if r.status == http.StatusAccepted {
					answered <- subject
				}
				if left.Add(-1) == 0 {
					go kill() // while requests go on
				}
			}
		}()
		<-done
		kill()
		close(answered)
		for subject := range answered {
			sent[subject] = true
		}
		w.client.CloseIdleConnections()
	}
	w := open(t, dir)
	inbox, kept := w.as(ben, "Mail.Read").in("inbox"), w.in("sentitems")
	for subject := range sent {
		if !slices.Contains(inbox, subject) || !slices.Contains(kept, subject) {
			t.Errorf("%s is lost", subject)
		}
	}
	if len(sent) < 120 || len(w.Effects()) != len(inbox) || len(inbox) != len(kept) {
		t.Errorf("%d answered, %d effects, %d in the inbox, %d in Sent Items", len(sent), len(w.Effects()), len(inbox), len(kept))
	}
}

func TestATornLastLineIsDroppedAndOtherDamageIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir)
	w.deliver(ann, "whole")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "sandbox.journal")
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`[{"message":{"key":`)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir)
	if got := w.in("inbox"); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("inbox %v", got)
	}
	if _, err := sandbox.New(sandbox.StoreDir(dir)); err == nil || !strings.Contains(err.Error(), "another sandbox") {
		t.Errorf("a second sandbox on the folder: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("[{}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.New(sandbox.StoreDir(dir)); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged journal: %v", err)
	}
}
