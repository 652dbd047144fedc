package worker_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/config"
	"outlook-connector/internal/catalog"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
)

// writable is an operation that writes, as a message and as the request that is
// to come of it. «name» stands for the id of what is made for it alone.
type writable struct {
	id      string
	page    string // of the reference, below …/graph/api or, with a slash, …/graph
	message string // its members, without the entity and the payload
	request string // method and address below …/v1.0, its query not escaped
	payload string // of the message, and the body of the request, byte by byte
	status  int    // of the outcome
}

// writables are all operations that write, none built by the product's builder.
func writables() []writable {
	return slices.Concat(writableMail, writableCalendar, writableMore)
}

// TestEverythingWritableIsWrittenAsTheReferenceShowsIt runs one worker with one
// publisher, and sends it a message for every operation that writes. With
// at_most_once each is exactly one request, the one that its page shows.
func TestEverythingWritableIsWrittenAsTheReferenceShowsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := &making{hand: w.hand(ben), group: w.Groups()[0].ID}
	m.hooks = m.listener()
	m.pictures("/me", "/groups/"+m.group)
	var rows []writable
	for _, row := range slices.Concat(writables(), writableMIME) {
		rows = append(rows, m.furnish(row))
	}
	// The sandbox trusts no certificate of a test, so it is told of plain HTTP.
	seen := w.watched("https://hooks.contoso.example/outlook", m.hooks)
	r := w.start(w.publishing(seen.url, fmt.Sprintf(`
    name: everything
    client: contoso
    entities: ["*"]
    mailboxes: [me, %s, %s, %s]
    limits: {notification_hosts: [hooks.contoso.example]}
    delivery: at_most_once`, ben, m.group, m.Groups()[1].ID))).ready()
	if _, err := sandbox.SignIn(t.Context(), w.http, r.HTTPURL()+"/oauth/start/contoso", ben); err != nil {
		t.Fatal(err)
	}
	outcomes := make([]string, len(rows))
	for i, row := range rows {
		outcomes[i] = r.publish("everything", jet.Header{"Nats-Msg-Id": {fmt.Sprintf("%d-%s", i, strings.ReplaceAll(row.id, ".", "-"))}}, row.text())
	}
	for i, row := range rows {
		o := r.outcome(outcomes[i])
		if o.Outcome != "done" || o.Status != row.status || o.Attempts != 1 {
			t.Errorf("%s: %s with %d after %d attempts (%+v), want done with %d after 1", row.id, o.Outcome, o.Status, o.Attempts, o.Error, row.status)
		}
		got, ok := seen.take(o.ClientRequestID)
		if !ok {
			t.Errorf("%s: no request", row.id)
			continue
		}
		if diff := cmp.Diff(row.golden(), got); diff != "" {
			t.Errorf("%s: %s (-as the page shows it +as it came):\n%s", row.id, row.link(), diff)
		}
	}
	for _, rest := range seen.rest() {
		t.Errorf("a request that no message asked for: %s %s?%s", rest.Method, rest.Path, rest.Query)
	}
}

// publishing parses a configuration with one publisher, whose client finds Graph
// at another address than the sandbox's own.
func (w *world) publishing(graphURL string, publishers ...string) *config.Config {
	w.t.Helper()
	text := fmt.Sprintf(`
nats: {embedded: {store_dir: ./nats, listen: "127.0.0.1:0"}}
token_store: {path: ./tokens.db, key: "${file:./token.key}"}
clients:
  - {name: contoso, tenant: contoso.example, authorize_url: %q, token_url: %q, base_url: %q, client_id: %q, scopes: [%s]}
publishers:
  - %s
http: {listen: %q}
`, w.AuthorizeURL(), w.TokenURL(), graphURL, sandbox.DefaultClientID, strings.Join(everyScope(), ", "), strings.Join(publishers, "\n  - "), freeAddress(w.t))
	c, err := config.Parse(config.Source{File: filepath.Join(w.dir, "outlook-connector.yaml"), Data: []byte(text)})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestTheWritablesAreAll compares the list with the catalogue.
func TestTheWritablesAreAll(t *testing.T) {
	t.Parallel()
	listed := make(map[string]bool)
	for _, row := range writables() {
		op, err := catalog.Default().Lookup(row.id)
		if err != nil {
			t.Fatal(err)
		}
		if listed[row.id] {
			t.Errorf("%s is there twice", row.id)
		}
		listed[row.id] = true
		if len(op.Success) > 0 && !slices.Contains(op.Success, row.status) {
			t.Errorf("%s is to end with %d; its page says %v", row.id, row.status, op.Success)
		}
		if link := row.link(); op.DocURL != "" && op.DocURL != link && !slices.Contains(op.DocAlso, link) {
			t.Errorf("%s is said to be on %s; it is on %s", row.id, link, op.DocURL)
		}
	}
	for _, op := range catalog.Default().Select("*") {
		if op.Reads() == listed[op.ID] {
			t.Errorf("%s reads: %v, is in the list: %v", op.ID, op.Reads(), listed[op.ID])
		}
	}
}

// link is the address of the page.
func (row writable) link() string {
	if strings.HasPrefix(row.page, "/") {
		return "https://learn.microsoft.com/graph" + row.page
	}
	return "https://learn.microsoft.com/graph/api/" + row.page + "?view=graph-rest-1.0"
}

// text is the message.
func (row writable) text() string {
	members := []string{`"entity":` + strconv.Quote(row.id)}
	if row.message != "" {
		members = append(members, row.message)
	}
	if row.payload != "" {
		members = append(members, `"payload":`+row.payload)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// golden is the request that is to come, with all of its headers.
func (row writable) golden() seenRequest {
	method, target, _ := strings.Cut(row.request, " ")
	path, query, _ := strings.Cut(target, "?")
	want := seenRequest{
		Method: method, Path: "/v1.0" + path, Query: query, Body: row.payload,
		Header: map[string]string{
			"Accept":                   "application/json, */*;q=0.5",
			"Accept-Encoding":          "gzip",
			"Authorization":            "Bearer",
			"Client-Request-Id":        "a GUID",
			"Prefer":                   `IdType="ImmutableId"`,
			"Return-Client-Request-Id": "true",
			"User-Agent":               "outlook-connector",
		},
	}
	encoded, other := strings.CutPrefix(row.payload, `"`)
	encoded = strings.TrimSuffix(encoded, `"`)
	switch {
	case row.payload == "":
	case !other:
		want.Header["Content-Type"] = "application/json"
	case strings.HasSuffix(path, "/$value"):
		picture, _ := base64.StdEncoding.DecodeString(encoded) // a constant
		want.Body, want.Header["Content-Type"] = string(picture), "image/png"
	default:
		want.Body, want.Header["Content-Type"] = encoded, "text/plain"
	}
	if row.payload != "" || method != http.MethodDelete { // https://www.rfc-editor.org/rfc/rfc9110#section-8.6
		want.Header["Content-Length"] = strconv.Itoa(len(want.Body))
	}
	maps.Copy(want.Header, writableHeaders[row.id])
	return want
}

// writableHeaders are the headers that messages bring.
var writableHeaders = map[string]map[string]string{
	"calendar.event.create": {"Prefer": `outlook.timezone="Pacific Standard Time", IdType="ImmutableId"`},
}
