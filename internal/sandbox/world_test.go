package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outlook-connector/internal/sandbox"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SANDBOX_CHILD"); dir != "" {
		runChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	ann      = "ann@contoso.example"
	ben      = "ben@contoso.example"
	cleo     = "cleo@contoso.example"
	allMail  = "Mail.ReadWrite Mail.Send User.Read"
	noPerson = "nobody@contoso.example"
)

// world is a started sandbox and somebody who talks plain HTTP to it.
type world struct {
	*sandbox.Sandbox
	t      testing.TB
	client *http.Client
	token  string
	header http.Header
}

func start(tb testing.TB, opts ...sandbox.Option) *world {
	tb.Helper()
	s, err := sandbox.New(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tr := &http.Transport{}
	tb.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	w := &world{Sandbox: s, t: tb, client: &http.Client{Transport: tr, Timeout: 30 * time.Second}, header: http.Header{}}
	return w.as(ann, allMail)
}

// as is the same world seen by somebody with a token.
func (w *world) as(upn, scopes string) *world {
	w.t.Helper()
	token, err := w.Token(upn, scopes)
	if err != nil {
		w.t.Fatal(err)
	}
	c := *w
	c.token = token
	return &c
}

// with is the same world with a header on each request.
func (w *world) with(name, value string) *world {
	c := *w
	c.header = w.header.Clone()
	c.header.Add(name, value)
	return &c
}

// reply is an answer, read.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	raw    []byte
	json   map[string]any
}

// try sends a request and returns the transport's error as well.
func (w *world) try(method, target, body string) (*reply, error) {
	w.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = w.GraphURL() + target
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, w.header)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	r := &reply{t: w.t, status: resp.StatusCode, header: resp.Header, raw: raw}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && bytes.HasPrefix(raw, []byte("{")) {
		if err := json.Unmarshal(raw, &r.json); err != nil {
			w.t.Fatalf("%s %s: bad JSON: %v\n%s", method, target, err, raw)
		}
	}
	return r, nil
}

func (w *world) do(method, target, body string) *reply {
	w.t.Helper()
	r, err := w.try(method, target, body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

func (w *world) get(target string) *reply { w.t.Helper(); return w.do(http.MethodGet, target, "") }

// is checks the status, and for errors the code.
func (r *reply) is(status int, code ...string) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.raw)
	}
	if len(code) > 0 && r.code() != code[0] {
		r.t.Fatalf("code %q, want %q: %s", r.code(), code[0], r.raw)
	}
	return r
}

func (r *reply) code() string {
	if e, ok := r.json["error"].(map[string]any); ok {
		return fmt.Sprint(e["code"])
	}
	return fmt.Sprint(r.json["error"])
}

func (r *reply) str(name string) string {
	s, _ := r.json[name].(string)
	return s
}

// value is the collection of the answer.
func (r *reply) value() []map[string]any {
	r.t.Helper()
	list, ok := r.json["value"].([]any)
	if !ok {
		r.t.Fatalf("no value in %s", r.raw)
	}
	items := []map[string]any{}
	for _, it := range list {
		items = append(items, it.(map[string]any))
	}
	return items
}

func (r *reply) subjects() []string {
	r.t.Helper()
	list := []string{}
	for _, it := range r.value() {
		list = append(list, fmt.Sprint(it["subject"]))
	}
	return list
}

// mail is a message as JSON.
func mail(subject string, to ...string) string {
	rs := []string{}
	for _, a := range to {
		rs = append(rs, fmt.Sprintf(`{"emailAddress":{"address":%q}}`, a))
	}
	return fmt.Sprintf(`{"subject":%q,"body":{"contentType":"text","content":"Hello."},"toRecipients":[%s]}`, subject, strings.Join(rs, ","))
}

func sendMail(subject string, to ...string) string { return `{"message":` + mail(subject, to...) + `}` }

// draft makes a draft and returns its id.
func (w *world) draft(subject string, to ...string) string {
	w.t.Helper()
	return w.do(http.MethodPost, "/me/messages", mail(subject, to...)).is(http.StatusCreated).str("id")
}

// in lists the subjects in a folder, newest first, over all pages.
func (w *world) in(folder string) []string {
	w.t.Helper()
	list := []string{}
	for link := "/me/mailFolders/" + folder + "/messages?$select=subject&$top=100"; link != ""; {
		r := w.get(link).is(http.StatusOK)
		list = append(list, r.subjects()...)
		link = r.str("@odata.nextLink")
	}
	return list
}

func (w *world) deliver(to, subject string) string {
	w.t.Helper()
	id, err := w.Deliver(sandbox.Mail{To: []string{to}, Subject: subject, Body: "From outside."})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// control talks to the control port.
func (w *world) control(method, path, body string) *reply {
	w.t.Helper()
	return w.do(method, w.URL()+"/_sandbox/"+path, body)
}

// post sends a form.
func (w *world) post(target string, form url.Values) *reply {
	w.t.Helper()
	return w.with("Content-Type", "application/x-www-form-urlencoded").do(http.MethodPost, target, form.Encode())
}

func indent(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

func decode(t *testing.T, r *reply, into any) {
	t.Helper()
	if err := json.Unmarshal(r.raw, into); err != nil {
		t.Fatalf("%v: %s", err, r.raw)
	}
}

// eventually polls until ok or the test has waited long enough.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it did not happen in 10 s")
		}
	}
}
