package sandbox_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

func TestASentMailWaitsInDraftsAndThenGoesOut(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.SubmitDelay(150*time.Millisecond)).with("Prefer", `IdType="ImmutableId"`)
	w.do(http.MethodPost, "/me/sendMail", sendMail("A", ben)).is(202)
	w.do(http.MethodPost, "/me/sendMail", `{"saveToSentItems":false,"message":`+mail("B", ben)+`}`).is(202)
	id := w.draft("C", ben)
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	if r := w.get("/me/messages/" + id).is(200); r.json["isDraft"] != true {
		t.Errorf("sent at once: %s", r.raw)
	}
	if got := w.in("drafts"); len(got) != 3 {
		t.Errorf("drafts %v", got)
	}
	early := w.Effects()
	if len(early) != 4 || len(early[0].Recipients) != 1 {
		t.Errorf("ledger %+v", early)
	}
	eventually(t, func() bool { return len(w.in("drafts")) == 0 })
	if got := w.in("sentitems"); !slices.Contains(got, "A") || !slices.Contains(got, "C") || len(got) != 2 {
		t.Errorf("sent items %v", got)
	}
	if got := w.as(ben, allMail).in("inbox"); len(got) != 3 {
		t.Errorf("ben has %v", got)
	}
	if r := w.get("/me/messages/" + id).is(200); r.json["isDraft"] != false {
		t.Errorf("still a draft: %s", r.raw)
	}
	e := w.Effects()
	if len(e) != 4 || !slices.Equal(e[0].Delivered, []string{ben}) || e[0].Item == "" || e[1].Item != "" || !slices.Equal(e[3].Delivered, []string{ben}) || e[3].Item != id {
		t.Errorf("ledger %+v", e)
	}
}

func TestADraftThatIsSentTwiceMayGoOutTwice(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.SubmitDelay(50*time.Millisecond), sandbox.DoubleSubmit())
	id := w.draft("twice", ben)
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	eventually(t, func() bool { return len(w.as(ben, allMail).in("inbox")) == 2 })
	if got := w.in("sentitems"); len(got) != 1 {
		t.Errorf("sent items %v", got)
	}
	if e := w.Effects(); len(e) != 3 || len(e[1].Delivered) != 1 || len(e[2].Delivered) != 1 {
		t.Errorf("ledger %+v", e)
	}
}

func TestADraftThatIsGoneIsNotSent(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.SubmitDelay(50*time.Millisecond)).with("Prefer", `IdType="ImmutableId"`)
	id := w.draft("gone", ben)
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	w.do(http.MethodPost, "/me/messages/"+id+"/permanentDelete", "").is(204)
	w.do(http.MethodPost, "/me/sendMail", sendMail("after", ben)).is(202)
	eventually(t, func() bool { return len(w.as(ben, allMail).in("inbox")) > 0 })
	if got := w.as(ben, allMail).in("inbox"); !slices.Equal(got, []string{"after"}) {
		t.Errorf("ben has %v", got)
	}
}

func TestWhatWaitsSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := sandbox.New(sandbox.StoreDir(dir), sandbox.SubmitDelay(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := (&world{Sandbox: first, t: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, header: http.Header{}}).as(ann, allMail)
	w.do(http.MethodPost, "/me/sendMail", sendMail("late", ben)).is(202)
	closed := time.Now()
	if err := first.Close(); err != nil || time.Since(closed) > 5*time.Second {
		t.Fatalf("close: %v after %v", err, time.Since(closed))
	}
	again := start(t, sandbox.StoreDir(dir))
	if got := again.in("drafts"); !slices.Equal(got, []string{"late"}) {
		t.Errorf("drafts %v", got)
	}
	if e := again.Effects(); len(e) != 1 || len(e[0].Delivered) != 0 {
		t.Errorf("ledger %+v", e)
	}
}

func TestWhatIsDueAtTheStartGoesOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := sandbox.New(sandbox.StoreDir(dir), sandbox.SubmitDelay(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := (&world{Sandbox: first, t: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, header: http.Header{}}).as(ann, allMail)
	w.do(http.MethodPost, "/me/sendMail", sendMail("late", ben)).is(202)
	waiting := w.get("/me/mailFolders/drafts/messages").is(200).value()[0]["id"].(string)
	w.do(http.MethodPost, "/me/messages/"+waiting+"/copy", `{"destinationId":"archive"}`).is(201) // a copy does not wait
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, sandbox.StoreDir(dir))
	eventually(t, func() bool { return len(again.as(ben, allMail).in("inbox")) == 1 })
	if got := again.in("sentitems"); !slices.Equal(got, []string{"late"}) {
		t.Errorf("sent items %v", got)
	}
	if got := again.in("archive"); !slices.Equal(got, []string{"late"}) {
		t.Errorf("archive %v", got)
	}
	if e := again.Effects(); len(e) != 2 || !slices.Equal(e[0].Delivered, []string{ben}) {
		t.Errorf("ledger %+v", e)
	}
}
