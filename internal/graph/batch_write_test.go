package graph_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

// wrote is one part of a batch as it came.
type wrote struct {
	ID, Method, URL string
	Headers         map[string]string
	Body            json.RawMessage
}

// batches is a Graph that answers batches.
type batches struct {
	mu     sync.Mutex
	seen   [][]wrote
	alone  []string
	answer func(n int, parts []wrote) (status int, header http.Header, body string)
}

func (b *batches) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ Requests []wrote }
	b.mu.Lock()
	defer b.mu.Unlock()
	if !strings.HasSuffix(r.URL.Path, "/$batch") {
		b.alone = append(b.alone, r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.seen = append(b.seen, in.Requests)
	status, header, body := b.answer(len(b.seen), in.Requests)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("request-id", "req-whole")
	for name := range header {
		w.Header().Set(name, header.Get(name))
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, body)
}

// patch is a change of a mail; it may go in a batch.
func patch(t *testing.T, mailbox, id string) graph.Request {
	t.Helper()
	return graph.Request{
		Operation: operation(t, "mail.message.update"), Mailbox: mailbox, Path: map[string]string{"message-id": id},
		Headers: map[string]string{"Prefer": `IdType="ImmutableId"`}, Body: []byte(`{"isRead": true, "subject": "<&>"}`),
	}
}

// together sends the requests in a batch.
func together(t *testing.T, w *world, requests ...graph.Request) []*graph.Write {
	t.Helper()
	writes := make([]*graph.Write, len(requests))
	for i, request := range requests {
		write, ok, err := w.NewWrite(t.Context(), request)
		if err != nil || !ok {
			t.Fatalf("request %d: %v, %v", i, ok, err)
		}
		writes[i] = write
		release, _, ok := w.TakeSlot(t.Context(), request.Mailbox)
		if !ok {
			t.Fatal("no slot")
		}
		defer release()
	}
	w.Together(t.Context(), writes)
	return writes
}

func TestABatchOfWritesAnswersEachAsIfItHadGoneAlone(t *testing.T) {
	t.Parallel()
	b := &batches{answer: func(int, []wrote) (int, http.Header, string) {
		return 200, nil, `{"responses":[
			{"id":"4","status":429,"headers":{"Retry-After":7},"body":{"error":{"code":"TooManyRequests","message":"x"}}},
			{"id":"2","status":404,"headers":{"request-id":"req-2"},"body":{"error":{"code":"ErrorItemNotFound","message":"x"}}},
			{"id":"1","status":200,"headers":{"Content-Type":"application/json","ETag":"W/1"},"body":{"id":"AAA"}},
			{"id":"3","status":412,"body":{"error":{"code":"ErrorIrresolvableConflict","message":"x"}}},
			{"id":"9","status":204}, {"id":"5","status":204,"headers":{},"body":null}, {"id":"6","status":503}, {"id":"7","status":0}],"more":{}}`
	}}
	w := serve(t, b.ServeHTTP, nil)
	conflict := patch(t, "carl@contoso.com", "C")
	conflict.Headers = map[string]string{"If-Match": `W/"1"`}
	remove := graph.Request{Operation: operation(t, "mail.message.delete"), Mailbox: "eve@contoso.com", Path: map[string]string{"message-id": "E=="}}
	writes := together(t, w, patch(t, "ann@contoso.com", "A"), patch(t, "ben@contoso.com", "B"), conflict, patch(t, "dora@contoso.com", "D"), remove,
		patch(t, "fay@contoso.com", "F"), patch(t, "gus@contoso.com", "G"), patch(t, "hal@contoso.com", "H"))
	if got := writes[0].Response; got == nil || got.Status != 200 || string(got.Body) != `{"id":"AAA"}` || got.Header.Get("Etag") != "W/1" || got.RequestID != "req-whole" {
		t.Errorf("1: %+v, %v", got, writes[0].Err)
	}
	if mark := wantFault(t, writes[1].Err, fault.Poison, false); mark.Code != "ErrorItemNotFound" || !strings.Contains(mark.Error(), "request-id req-2") {
		t.Errorf("2: %+v", mark)
	}
	wantFault(t, writes[2].Err, fault.Poison, false)
	if mark := wantFault(t, writes[3].Err, fault.Retry, false); mark.After < 7*time.Second {
		t.Errorf("4: %+v", mark)
	}
	if got := writes[4].Response; got == nil || got.Status != 204 || got.Body != nil {
		t.Errorf("5: %+v, %v", got, writes[4].Err)
	}
	for i := 5; i < 8; i++ { // a 503, no status, no answer at all
		wantFault(t, writes[i].Err, fault.Retry, true)
	}
	// Only who was throttled is left alone.
	if _, wait, ok := w.TakeSlot(t.Context(), "dora@contoso.com"); ok || wait < 6*time.Second {
		t.Errorf("dora: %v, %v", ok, wait)
	}
	if release, _, ok := w.TakeSlot(t.Context(), "ann@contoso.com"); !ok {
		t.Error("ann is held up")
	} else {
		release()
	}
	first, last := b.seen[0][0], b.seen[0][4]
	if first.Method != http.MethodPatch || first.URL != "/users/ann@contoso.com/messages/A" || string(first.Body) != `{"isRead":true,"subject":"<&>"}` ||
		first.Headers["Content-Type"] != "application/json" || first.Headers["Prefer"] != `IdType="ImmutableId"` || len(first.Headers["client-request-id"]) != 36 {
		t.Errorf("the part came as %+v %s", first, first.Body)
	}
	if last.Method != http.MethodDelete || last.URL != "/users/eve@contoso.com/messages/E==" && last.URL != "/users/eve@contoso.com/messages/E%3D%3D" || last.Body != nil || last.Headers["Content-Type"] != "" {
		t.Errorf("the part came as %+v %s", last, last.Body)
	}
	if got := b.seen[0][2].Headers["If-Match"]; got != `W/"1"` {
		t.Errorf("If-Match %q", got)
	}
	// The log has the batch, and each of its parts.
	log := w.log.String()
	if n := strings.Count(log, `"batch":"`); n != 8 || !strings.Contains(log, `"path":"/$batch"`) || strings.Contains(log, canary) {
		t.Errorf("%d parts in the log:\n%s", n, log)
	}
	for labels, want := range map[string]int{
		`POST,200`: 1, `PATCH,200`: 1, `PATCH,404`: 1, `PATCH,412`: 1, `PATCH,429`: 1, `DELETE,204`: 1, `PATCH,503`: 1, `PATCH,no_answer`: 2,
	} {
		method, code, _ := strings.Cut(labels, ",")
		if got := counted(t, w, method, code); got != want {
			t.Errorf("%s %s: %d counted, want %d", method, code, got, want)
		}
	}
}

// counted reads how many requests were counted.
func counted(t *testing.T, w *world, method, code string) int {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "outlook_graph_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := make(map[string]string)
			for _, pair := range m.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if labels["method"] == method && labels["code"] == code {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

func TestWhereABatchHasNoAnswerEachPartMayHaveHadItsEffect(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		status    int
		header    http.Header
		body      string
		ambiguous bool
		apart     bool
		done      int // parts that were answered all the same
	}{
		"503":                      {503, http.Header{"Retry-After": {"3"}}, "", true, false, 0},
		"504":                      {504, nil, "", true, false, 0},
		"429, which says nothing":  {429, http.Header{"Retry-After": {"3"}}, `{"error":{"code":"TooManyRequests"}}`, true, false, 0},
		"408":                      {408, nil, "", true, false, 0},
		"a redirect":               {302, http.Header{"Location": {"https://evil.example"}}, "", true, false, 0},
		"not JSON":                 {200, nil, "<html>", true, false, 0},
		"nothing":                  {200, nil, "", true, false, 0},
		"no answers":               {200, nil, `{"responses":[]}`, true, false, 0},
		"no list":                  {200, nil, `{"responses":{"id":"1"}}`, true, false, 0},
		"cut off behind the first": {200, nil, `{"responses":[{"id":"1","status":204},{"id":"2","sta`, true, false, 1},
		"two answers to the first": {200, nil, `{"responses":[{"id":"2","status":204},{"id":"1","status":204},{"id":"1","status":404}]}`, true, false, 1},
		"400":                      {400, nil, `{"error":{"code":"BadRequest"}}`, false, true, 0},
		"404":                      {404, nil, `{"error":{"code":"UnknownError"}}`, false, true, 0},
		"501":                      {501, nil, "", false, true, 0},
		"403":                      {403, nil, `{"error":{"code":"accessDenied"}}`, false, true, 0},
		"a page of a proxy's":      {404, http.Header{"Content-Type": {"text/html"}}, "<html>", true, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &batches{answer: func(int, []wrote) (int, http.Header, string) { return row.status, row.header, row.body }}
			w := serve(t, b.ServeHTTP, nil)
			done := 0
			for _, write := range together(t, w, patch(t, "ann@contoso.com", "A"), patch(t, "ben@contoso.com", "B")) {
				if write.Response != nil {
					done++
					continue
				}
				if write.Err == nil || write.Apart != row.apart {
					t.Fatalf("apart %v: %v", write.Apart, write.Err)
				}
				mark := fault.Of(write.Err)
				if mark.Ambiguous != row.ambiguous || row.ambiguous && mark.Kind != fault.Retry {
					t.Errorf("ambiguous %v, %v: %v", mark.Ambiguous, mark.Kind, write.Err)
				}
				if row.header.Get("Retry-After") != "" && mark.After < 2*time.Second {
					t.Errorf("after %v: %v", mark.After, write.Err)
				}
			}
			if done != row.done {
				t.Errorf("%d parts are done, want %d", done, row.done)
			}
			if len(b.seen) != 1 {
				t.Errorf("%d batches: it is never repeated", len(b.seen))
			}
		})
	}
}

func TestABatchWithAnOldTokenGoesOnceMoreWithWhatWasRefused(t *testing.T) {
	t.Parallel()
	b := &batches{answer: func(n int, parts []wrote) (int, http.Header, string) {
		switch n {
		case 1:
			return 401, nil, `{"error":{"code":"InvalidAuthenticationToken"}}`
		default:
			var list []string
			for _, part := range parts {
				list = append(list, fmt.Sprintf(`{"id":%q,"status":204}`, part.ID))
			}
			return 200, nil, `{"responses":[` + strings.Join(list, ",") + `]}`
		}
	}}
	w := serve(t, b.ServeHTTP, nil)
	late := patch(t, "ben@contoso.com", "B")
	asked := 0
	late.Deadline = func() time.Time {
		if asked++; asked > 1 {
			return time.Now().Add(-time.Second)
		}
		return time.Now().Add(time.Minute)
	}
	first := patch(t, "ann@contoso.com", "A")
	first.ClientRequestID = "11111111-2222-4333-8444-555555555555"
	writes := together(t, w, first, late)
	if writes[0].Response == nil || len(w.tokens.rejected) != 1 {
		t.Errorf("%v, rejected %v", writes[0].Err, w.tokens.rejected)
	}
	if mark := wantFault(t, writes[1].Err, fault.Retry, false); mark.Code != "deadline_passed" || len(b.seen[1]) != 1 {
		t.Errorf("%v, second batch %+v", mark, b.seen[1])
	}
	if came, again := b.seen[0][0], b.seen[1][0]; came.Headers["client-request-id"] != first.ClientRequestID || again.Headers["client-request-id"] == first.ClientRequestID {
		t.Errorf("the client-request-ids are %v and %v", came.Headers, again.Headers)
	}

	// So does a part that is refused in it; the others are not made again.
	b.answer = func(_ int, parts []wrote) (int, http.Header, string) {
		if len(parts) == 2 {
			return 200, nil, `{"responses":[{"id":"1","status":204},{"id":"2","status":401}]}`
		}
		return 200, nil, `{"responses":[{"id":"1","status":204}]}`
	}
	writes = together(t, w, patch(t, "ann@contoso.com", "A"), patch(t, "ben@contoso.com", "B"))
	if writes[0].Err != nil || writes[1].Err != nil || len(b.seen) != 4 || len(b.seen[3]) != 1 || b.seen[3][0].URL != b.seen[2][1].URL {
		t.Errorf("%v, %v, %+v", writes[0].Err, writes[1].Err, b.seen[2:])
	}
}

func TestWhatMustNotBeSentIsLeftOutOfABatch(t *testing.T) {
	t.Parallel()
	b := &batches{answer: func(_ int, parts []wrote) (int, http.Header, string) {
		return 200, nil, `{"responses":[{"id":"1","status":204}]}`
	}}
	w := serve(t, b.ServeHTTP, nil)
	late := patch(t, "ben@contoso.com", "B")
	late.Deadline = func() time.Time { return time.Now().Add(-time.Second) }
	parked := patch(t, "dora@contoso.com", "D")
	write, _, err := w.NewWrite(t.Context(), parked)
	if err != nil {
		t.Fatal(err)
	}
	w.Park("dora@contoso.com", time.Now().Add(time.Minute))
	other, _, err := w.NewWrite(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := w.NewWrite(t.Context(), patch(t, "ann@contoso.com", "A"))
	if err != nil {
		t.Fatal(err)
	}
	w.Together(t.Context(), []*graph.Write{write, other, good})
	if mark := wantFault(t, write.Err, fault.Retry, false); mark.Code != "mailbox_parked" || mark.After < 50*time.Second {
		t.Errorf("%+v", mark)
	}
	if mark := wantFault(t, other.Err, fault.Retry, false); mark.Code != "deadline_passed" {
		t.Errorf("%+v", mark)
	}
	if good.Response == nil || len(b.seen) != 1 || len(b.seen[0]) != 1 {
		t.Errorf("%v, %+v", good.Err, b.seen)
	}
	w.tokens.err = fault.New(fault.Reauth, "nobody is signed in")
	w.Together(t.Context(), []*graph.Write{good})
	wantFault(t, good.Err, fault.Reauth, false)
}

// TestEachPartOfABatchCountsInItsMailboxAndTheBatchInNone has a limit of one
// request for each mailbox.
func TestEachPartOfABatchCountsInItsMailboxAndTheBatchInNone(t *testing.T) {
	t.Parallel()
	b := &batches{answer: func(int, []wrote) (int, http.Header, string) {
		return 200, nil, `{"responses":[{"id":"1","status":204},{"id":"2","status":204}]}`
	}}
	w := serve(t, b.ServeHTTP, func(o *graph.Options) { o.Limits = graph.Limits{Requests: 1, RequestWindow: time.Hour} })
	send := func(mailboxes ...string) (writes []*graph.Write) {
		for _, mailbox := range mailboxes {
			write, _, err := w.NewWrite(t.Context(), patch(t, mailbox, "A"))
			if err != nil {
				t.Fatal(err)
			}
			writes = append(writes, write)
		}
		w.Together(t.Context(), writes)
		return writes
	}
	for _, pair := range [][]string{{"ann@contoso.com", "ben@contoso.com"}, {"carl@contoso.com", "dora@contoso.com"}} {
		for i, write := range send(pair...) {
			if write.Response == nil {
				t.Errorf("%s: %v", pair[i], write.Err)
			}
		}
	}
	writes := send("ann@contoso.com", "eve@contoso.com")
	if mark := wantFault(t, writes[0].Err, fault.Retry, false); mark.Code != "request_window" || len(b.seen[2]) != 1 {
		t.Errorf("%+v, %+v", mark, b.seen[2])
	}
}

func TestOnlySmallRepeatableWritesGoInABatch(t *testing.T) {
	t.Parallel()
	w := serve(t, func(http.ResponseWriter, *http.Request) {}, nil)
	large := patch(t, "me", "A")
	large.Body = []byte(`{"subject":"` + strings.Repeat("x", graph.MaxBatchBody) + `"}`)
	typed := patch(t, "me", "A")
	typed.ContentType = "text/plain"
	list := patch(t, "me", "A")
	list.Body = []byte(`[]`)
	broken := patch(t, "me", "A")
	broken.Body = []byte(`{"a":`)
	escaped := patch(t, "me", "A%25B")
	for name, request := range map[string]graph.Request{
		"a mail": sendMail(t), "a read": readMail(t), "large": large, "text": typed, "a list": list, "broken": broken, "escaped twice": escaped,
		"an event": {Operation: operation(t, "calendar.event.update"), Mailbox: "me", Path: map[string]string{"event-id": "A"}, Body: []byte(`{}`)},
	} {
		if _, ok, err := w.NewWrite(t.Context(), request); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	bad := patch(t, "me", "A")
	bad.Headers = map[string]string{"Authorization": "x"}
	if _, _, err := w.NewWrite(t.Context(), bad); err == nil {
		t.Error("a header that may not be set is taken")
	}
	writes := slices.Repeat([]*graph.Write{{}}, graph.MaxBatch+1)
	w.Together(t.Context(), writes)
	wantFault(t, writes[0].Err, fault.Poison, false)
}
