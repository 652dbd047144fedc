package graph_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/sandbox"
)

func TestAnObjectIsWholeOrAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind, body string
		op         string
		limit      int64
		code       string // "" for none
	}{
		"an object":                 {"application/json", `{"id":"AAMk"}`, "mail.message.get", 0, ""},
		"as large as it may be":     {"application/json", `{"id":"AAMk"}`, "mail.message.get", 13, ""},
		"a byte too large":          {"application/json", `{"id":"AAMk"}`, "mail.message.get", 12, "answer_too_large"},
		"empty":                     {"application/json", ``, "mail.message.get", 0, "bad_body"},
		"half":                      {"application/json", `{"id":`, "mail.message.get", 0, "bad_body"},
		"two":                       {"application/json", `{}{}`, "mail.message.get", 0, "bad_body"},
		"of another type":           {"text/plain", `hello`, "mail.message.get", 0, "bad_body"},
		"a web page":                {"text/html", `<html>`, "mail.message.get", 0, "bad_body"},
		"half a surrogate pair":     {"application/json", `{"subject":"\ud83d"}`, "mail.message.get", 0, ""},
		"a message as MIME":         {"text/plain", "From: ann\r\n\r\nhello", "mail.message.getMime", 0, ""},
		"a message as MIME, a page": {"text/html", "<html>", "mail.message.getMime", 0, ""},
	} {
		w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", test.kind)
			_, _ = rw.Write([]byte(test.body))
		}, nil)
		req := readMail(t)
		req.Operation = operation(t, test.op)
		got, err := w.Object(t.Context(), req, test.limit)
		if test.code == "" {
			if err != nil || string(got.Body) != test.body || got.Status != 200 || got.RequestID != "" || got.ClientRequestID == "" {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		if mark := wantFault(t, err, fault.Retry, false); mark.Code != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAPOSTThatReadsIsARead: what it answers is a page or an object like any
// other, and its end without an answer is nothing to be afraid of.
func TestAPOSTThatReadsIsARead(t *testing.T) {
	t.Parallel()
	made, person, w := box(t, nil)
	schedule := graph.Request{
		Operation: operation(t, "calendar.calendar.getSchedule"), Mailbox: "me",
		Body: []byte(`{"schedules":["` + person.UPN + `","nobody@contoso.example"],
			"startTime":{"dateTime":"2026-03-02T08:00:00","timeZone":"UTC"},"endTime":{"dateTime":"2026-03-02T18:00:00","timeZone":"UTC"},"availabilityViewInterval":60}`),
	}
	_, items, err := read(t, w, schedule)
	if err != nil || len(items) != 2 || !strings.Contains(items[0], person.UPN) {
		t.Errorf("page: %q, %v", items, err)
	}
	whole, err := w.Object(t.Context(), schedule, 0)
	if err != nil || !strings.Contains(string(whole.Body), items[0]) {
		t.Fatalf("object: %+v, %v", whole, err)
	}
	for _, control := range []sandbox.ControlFunc{
		sandbox.FailAfterEffect(504, "UnknownError"), sandbox.ResetAfterEffect(), sandbox.HalfJSON(),
	} {
		made.Control(sandbox.Match{Route: "/me/calendar/getSchedule"}, control)
		_, err := w.Object(t.Context(), schedule, 0)
		wantFault(t, err, fault.Retry, false)
	}
	schedule.Link = made.GraphURL() + "/me/calendar/getSchedule?$skip=10"
	_, _, err = read(t, w, schedule)
	wantFault(t, err, fault.Poison, false)
}

// sums reads a stream to its end.
func sums(body io.Reader) (sum hash.Hash, size int64, err error) {
	sum = sha256.New()
	size, err = io.Copy(sum, body)
	return sum, size, err
}

func mime(t *testing.T) graph.Request {
	t.Helper()
	req := readMail(t)
	req.Operation = operation(t, "mail.message.getMime")
	return req
}

func TestALargeBodyComesAsAStream(t *testing.T) {
	t.Parallel()
	const size = 150 << 20
	chunk := []byte(strings.Repeat("0123456789abcdef", 4<<10))
	want := sha256.New()
	for range size / len(chunk) {
		want.Write(chunk)
	}
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1.0/me/messages/AAMk=/$value" && r.URL.EscapedPath() != "/v1.0/me/messages/AAMk=/attachments/AAat/$value" {
			t.Errorf("path %s", r.URL.EscapedPath())
		}
		rw.Header().Set("Content-Type", "application/octet-stream")
		rw.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(chunk) {
			if _, err := rw.Write(chunk); err != nil {
				return
			}
		}
	}, nil)
	for name, open := range map[string]func() (*graph.Stream, error){
		"by its operation": func() (*graph.Stream, error) { return w.Open(t.Context(), mime(t)) },
		"by its path": func() (*graph.Stream, error) {
			return w.OpenGet(t.Context(), "me", graph.Get{Path: "messages/AAMk=/attachments/AAat/$value"})
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := open()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sum, n, err := sums(body)
		runtime.ReadMemStats(&after)
		if err != nil || n != size || body.Size != size || body.ContentType != "application/octet-stream" || hex.EncodeToString(sum.Sum(nil)) != hex.EncodeToString(want.Sum(nil)) {
			t.Errorf("%s: %d bytes of %d, %s: %v", name, n, body.Size, body.ContentType, err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		// Other tests of this process use memory, too; but not as much as the body.
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > size/2 {
			t.Errorf("%s: %d MB more on the heap", name, grown>>20)
		}
	}
}

func TestAStreamThatIsCutOffDoesNotEndLikeAWholeOne(t *testing.T) {
	t.Parallel()
	made, _, w := box(t, nil)
	_, err := made.Deliver(sandbox.Mail{To: []string{made.People()[0].UPN}, Subject: "large", Body: strings.Repeat("x", 1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	var id string
	if _, _, err := readEach(t, w, delta(t), func(item []byte) {
		var mail struct{ ID string }
		_ = json.Unmarshal(item, &mail)
		id = mail.ID
	}); err != nil {
		t.Fatal(err)
	}
	req := mime(t)
	req.Path = map[string]string{"message-id": id}
	req.Headers = map[string]string{"Prefer": `IdType="ImmutableId"`}
	body, err := w.Open(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	_, size, err := sums(body)
	if _ = body.Close(); err != nil || size < 1<<20 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	const route = "/me/messages/{message-id}/$value"
	for name, control := range map[string]sandbox.ControlFunc{"reset": sandbox.ResetInBody(1000), "cut off": sandbox.Truncate(1000)} {
		made.Control(sandbox.Match{Route: route}, control)
		body, err := w.Open(t.Context(), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, n, err := sums(body)
		if wantFault(t, err, fault.Retry, false); n > 1000 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		_ = body.Close()
	}
	for status, kind := range map[int]fault.Kind{404: fault.Poison, 503: fault.Retry, 302: fault.Retry} {
		made.Control(sandbox.Match{Route: route}, sandbox.AnswerWith(status, "application/json", `{"error":{"code":"x"}}`))
		_, err := w.Open(t.Context(), req)
		wantFault(t, err, kind, false)
	}
	made.ExpireAccessTokens() // is replaced without anybody noticing
	if body, err := w.Open(t.Context(), req); err != nil {
		t.Error(err)
	} else {
		_ = body.Close()
	}
}

func TestAStreamThatIsClosedEndsItsRequest(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		ended <- r.Context().Err()
	}, nil)
	body, err := w.Open(t.Context(), mime(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(body, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the request goes on")
	}
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read after close: %v", err)
	}
}

func TestAStreamThatStallsIsGivenUp(t *testing.T) {
	t.Parallel()
	var stalls atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = rw.Write([]byte("a beginning"))
		_ = http.NewResponseController(rw).Flush()
		stalls.Add(1)
		<-r.Context().Done()
	}, func(o *graph.Options) { o.HTTP.ProgressTimeout = 50 * time.Millisecond })
	body, err := w.Open(t.Context(), mime(t))
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := sums(body)
	if wantFault(t, err, fault.Retry, false); n != 11 || stalls.Load() != 1 {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = body.Close()
}
