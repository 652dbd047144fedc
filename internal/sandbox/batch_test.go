package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// parts does a batch and returns the answers by id.
func (w *world) parts(requests ...string) map[string]map[string]any {
	w.t.Helper()
	r := w.do(http.MethodPost, "/$batch", `{"requests":[`+strings.Join(requests, ",")+`]}`).is(http.StatusOK)
	list, ok := r.json["responses"].([]any)
	if !ok {
		w.t.Fatalf("no responses in %s", r.raw)
	}
	byID := map[string]map[string]any{}
	for _, it := range list {
		a := it.(map[string]any)
		byID[a["id"].(string)] = a
	}
	return byID
}

const jsonHead = `"headers":{"Content-Type":"application/json"}`

func TestABatchAnswersEachPartByItself(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.parts(
		`{"id":"1","method":"GET","url":"/me/mailFolders/inbox"}`,
		`{"id":"2","method":"POST","url":"me/messages",`+jsonHead+`,"body":`+mail("in a batch")+`}`,
		`{"id":"3","method":"GET","url":"/me/messages/nonsense"}`,
		`{"id":"4","method":"POST","url":"/$batch",`+jsonHead+`,"body":{"requests":[]}}`,
		`{"id":"5","method":"GET","url":"/users/`+ben+`/messages"}`,
		`{"id":"6","method":"POST","url":"/microsoft.graph.$batch",`+jsonHead+`,"body":{"requests":[{"id":"1","method":"GET","url":"/me"}]}}`,
	)
	for id, want := range map[string]float64{"1": 200, "2": 201, "3": 400, "4": 400, "5": 403, "6": 400} {
		if got[id]["status"] != want {
			t.Errorf("part %s: %v, want %v", id, got[id], want)
		}
	}
	if body, _ := got["2"]["body"].(map[string]any); body["subject"] != "in a batch" {
		t.Errorf("created %v", got["2"])
	}
	if !strings.Contains(strings.Join(w.in("drafts"), ","), "in a batch") {
		t.Error("the draft is not there")
	}
}

func TestABatchWithDependenciesStopsBehindAFailure(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.parts(
		`{"id":"a","method":"GET","url":"/me/messages/nonsense"}`,
		`{"id":"b","method":"POST","url":"/me/messages","dependsOn":["A"],`+jsonHead+`,"body":`+mail("after a failure")+`}`,
		`{"id":"c","method":"GET","url":"/me/messages","dependsOn":["b"]}`,
		`{"id":"d","method":"GET","url":"/me/messages"}`,
	)
	for id, want := range map[string]float64{"a": 400, "b": 424, "c": 424, "d": 200} {
		if got[id]["status"] != want {
			t.Errorf("part %s: %v, want %v", id, got[id], want)
		}
	}
	if n := len(w.in("drafts")); n != 0 {
		t.Errorf("%d drafts, want none", n)
	}
}

func TestABadEnvelopeIsRefusedWhole(t *testing.T) {
	t.Parallel()
	w := start(t)
	many := make([]string, 21)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"%d","method":"GET","url":"/me"}`, i)
	}
	for name, requests := range map[string]string{
		"21 requests":         strings.Join(many, ","),
		"no id":               `{"method":"GET","url":"/me"}`,
		"an id twice":         `{"id":"x","method":"GET","url":"/me"},{"id":"X","method":"GET","url":"/me"}`,
		"a body of no type":   `{"id":"1","method":"POST","url":"/me/messages","body":{}}`,
		"depends on nobody":   `{"id":"1","method":"GET","url":"/me","dependsOn":["9"]}`,
		"no requests":         ``,
		"not a list of those": `"x"`,
	} {
		if r := w.do(http.MethodPost, "/$batch", `{"requests":[`+requests+`]}`); r.status != 400 || r.code() != "BadRequest" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	w.as(ann, "Mail.Read").do(http.MethodPost, "/$batch", "").is(400)
	anonymous := *w
	anonymous.token = ""
	anonymous.do(http.MethodPost, "/$batch", `{"requests":[{"id":"1","method":"GET","url":"/me"}]}`).is(401, "InvalidAuthenticationToken")
}

func TestBatchPartsCountAgainstTheirMailbox(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.MailboxConcurrency(2), sandbox.RetryAfter(7*time.Second))
	hold := make(chan struct{})
	w.KeepControl(sandbox.Match{Route: "/me/mailFolders"}, func(r *sandbox.Request) bool { r.Hold(hold); return true })
	go func() {
		// Four parts run at once: two get in, and two are refused. Then the held
		// ones may go on.
		eventually(t, func() bool { return w.Stats().Refused == 2 })
		close(hold)
	}()
	part := `{"id":"%d","method":"GET","url":"/me/mailFolders"}`
	got := w.parts(fmt.Sprintf(part, 1), fmt.Sprintf(part, 2), fmt.Sprintf(part, 3), fmt.Sprintf(part, 4))
	good, refused := 0, 0
	for _, a := range got {
		switch a["status"] {
		case 200.0:
			good++
		case 429.0:
			refused++
			if head, _ := a["headers"].(map[string]any); head["Retry-After"] != "7" {
				t.Errorf("no Retry-After in %v", a)
			}
		}
	}
	if good != 2 || refused != 2 {
		t.Errorf("%d good and %d refused: %v", good, refused, got)
	}
	logged := 0
	for _, c := range w.Requests() {
		if c.Batch != "" {
			logged++
		}
	}
	if logged != 4 {
		t.Errorf("%d parts in the log, want 4", logged)
	}
}

func TestAPartThatIsCutCutsTheBatch(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Control(sandbox.Match{Route: "/me/sendMail"}, sandbox.ResetAfterEffect())
	_, err := w.try(http.MethodPost, "/$batch", `{"requests":[{"id":"1","method":"POST","url":"/me/sendMail",`+jsonHead+`,"body":`+sendMail("once", ben)+`}]}`)
	if err == nil {
		t.Error("the batch was answered")
	}
	if n := len(w.Effects()); n != 1 {
		t.Errorf("%d effects, want the mail", n)
	}
}
