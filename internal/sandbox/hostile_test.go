package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// What is thrown at every route: whatever comes, the sandbox answers in time,
// and never with 500; what it refuses, it refuses as Graph does.

// hostileValues stand in the place of each value of a right body, in turn.
var hostileValues = []string{
	`null`, `true`, `0`, `-1`, `1.5`, `2147483648`, `99999999999999999999`, `1e400`, `""`, `"x"`, `"'\u0000\u202e"`, `"\ud800"`,
	`"9999-12-31T23:59:59.9999999"`, `"0001-01-01T00:00:00Z"`, `"2030-02-31"`, `"9999-12-31"`, `"0001-01-01"`, `"9999-12-31T23:59:59Z"`,
	`[]`, `[null]`, `[1]`, `["x"]`, `[[]]`, `[{}]`, `{}`, `{"x":{"y":1}}`, `{"@odata.type":1}`, `{"@odata.type":"#microsoft.graph.event"}`,
}

// hostileBodies are no right body of anything.
func hostileBodies() []string {
	return []string{
		``, `null`, `[]`, `1`, `"x"`, `{`, `}`, `{"a":1`, `{"a":1}{"b":2}`, "{\"a\":\"\xff\xfe\"}", "\x00", "\ufeff{}", `{"":1}`, `{"@odata.type":1}`, `{"@odata.type":"#x"}`,
		`{"id":1,"id":{}}`, strings.Repeat("[", 20000), strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000), strings.Repeat(`{"a":`, 20000),
		`{"` + strings.Repeat("x", 1<<16) + `":1}`, strings.Repeat("A", 1<<16),
	}
}

var hostileQueries = []string{
	"$top=-1", "$top=0", "$top=99999999999999999999", "$top=1.5", "$skip=-1", "$skip=9223372036854775807", "$count=maybe", "$select=", "$select=,,,", "$select=id'",
	"$select=*", "$filter=", "$filter=x", "$filter=id%20eq%20'", "$filter=id%20eq%20", "$filter=" + strings.Repeat("(", 5000), "$filter=" + strings.Repeat("not%20", 5000) + "isRead",
	"$filter=not(", "$filter=startswith(", "$filter=startswith(subject)", "$filter=subject/any(x:", "$filter=x/any(a:a/b%20eq%20", "$filter=" + strings.Repeat("id%20eq%20'a'%20or%20", 3000) + "id%20eq%20'b'",
	"$filter=receivedDateTime%20ge%209999-99-99T00:00:00Z", "$filter=%00", "$filter=%ff%fe", "$orderby=", "$orderby=,", "$orderby=subject%20sideways", "$orderby=x/y/z",
	"$expand=", "$expand=x(", "$expand=attachments($select=", "$expand=extensions($filter=", "$expand=singleValueExtendedProperties($filter=id%20eq%20", "$expand=" + strings.Repeat("a($expand=", 2000),
	"$search=", "$search=%22", "$search=%22from:%22", "$search=%22(((((%22", "$search=" + strings.Repeat("%28", 5000), "$skiptoken=x", "$skiptoken=", "$deltatoken=x", "$deltatoken=latest", "$deltatoken=AAAA", "changeType=x",
	"startDateTime=x&endDateTime=y", "startDateTime=2030-01-01&endDateTime=2020-01-01", "startDateTime=0001-01-01T00:00:00Z&endDateTime=9999-12-31T23:59:59Z",
	"startDateTime=2030-01-01T00:00:00Z&endDateTime=2080-01-01T00:00:00Z", "startDateTime=&endDateTime=", "includeHiddenFolders=x", "%zz=1", "a;b", "$top=1&$top=2", "$id=", "$id=x", "$format=xml",
}

var hostileHeaders = []map[string]string{
	{"Prefer": "odata.maxpagesize=-1"},
	{"Prefer": "odata.maxpagesize=99999999999999999999"},
	{"Prefer": `outlook.timezone="Nowhere/At all"`},
	{"Prefer": `outlook.timezone=`},
	{"Prefer": `,,;=" `},
	{"Prefer": `outlook.body-content-type="x"`},
	{"Prefer": `IdType="x"`},
	{"If-Match": ""},
	{"If-Match": `W/"`},
	{"If-Match": "*"},
	{"If-None-Match": `*,"`},
	{"Content-Type": "text/plain"},
	{"Content-Type": ";;"},
	{"Content-Type": "multipart/form-data"},
	{"Content-Type": "application/x-www-form-urlencoded"},
	{"Content-Encoding": "gzip"},
	{"Content-Encoding": "br"},
	{"Content-Range": "bytes 0-0/0"},
	{"Content-Range": "bytes 9-1/99999999999999999999"},
	{"Content-Range": "bytes */*"},
	{"client-request-id": strings.Repeat("x", 5000)},
	{"Range": "bytes=5-1"},
	{"ConsistencyLevel": "x"},
	{"Accept": "text/html"},
	{"Authorization": "Bearer"},
	{"Authorization": "Bearer a.b.c"},
	{"Authorization": "Basic x"},
}

// hostileKeys stand in the place of each id of a path. They are written as they
// stand in an address.
var hostileKeys = []string{"'", "''", "%27", "%00", "..", "%2F", "%2e%2e%2f", "()", "('')", "('", "x('y')", "(a=b)", "%ff", "{id}", "$value", "$count", "$ref", "delta", "%20", "AAMk", "AAMkAA==", strings.Repeat("A", 9000)}

// thrower sends requests past the network and looks at what comes back.
type thrower struct{ *walker }

// throw sends one request. The handler is called here, so that a panic is seen.
func (x *thrower) throw(what string, r request) {
	x.t.Helper()
	target, err := url.Parse(x.GraphURL() + r.target)
	if err != nil {
		return // no client could send it
	}
	req := (&http.Request{
		Method: r.method, URL: target, Host: target.Host, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(r.body)), ContentLength: int64(len(r.body)),
		RequestURI: target.RequestURI(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(x.t.Context())
	req.Header.Set("Authorization", "Bearer "+x.token)
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	rec, failed := httptest.NewRecorder(), make(chan string, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // what was panicked with
				failed <- fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
				return
			}
			close(failed)
		}()
		x.Handler().ServeHTTP(rec, req)
	}()
	said := fmt.Sprintf("%s: %s %s %q", what, r.method, cutRaw([]byte(r.target)), cutRaw([]byte(r.body)))
	select {
	case why := <-failed:
		if why != "" {
			x.t.Errorf("%s: %s", said, why)
			return
		}
	case <-time.After(20 * time.Second):
		x.t.Fatalf("%s: no answer in 20 s", said)
	}
	raw := rec.Body.Bytes()
	isJSON := strings.Contains(rec.Header().Get("Content-Type"), "json")
	var body struct {
		Error *struct {
			Code, Message string
			InnerError    map[string]any `json:"innerError"`
		} `json:"error"`
	}
	switch {
	case rec.Code >= 500:
		x.t.Errorf("%s: %d %s", said, rec.Code, cutRaw(raw))
	case isJSON && !json.Valid(raw):
		x.t.Errorf("%s: %d is no JSON: %s", said, rec.Code, cutRaw(raw))
	case rec.Code >= 400 && (json.Unmarshal(raw, &body) != nil || body.Error == nil || body.Error.Code == "" || body.Error.Message == "" || body.Error.InnerError["request-id"] == nil):
		x.t.Errorf("%s: %d is no error of Graph's: %s", said, rec.Code, cutRaw(raw))
	}
}

// replaced lists a JSON document with each of its values in turn replaced.
func replaced(doc any, by string) []string {
	const mark = "\x01here\x01"
	var out []string
	root := doc
	emit := func() {
		raw, err := json.Marshal(root)
		if err == nil {
			quoted, _ := json.Marshal(mark)
			out = append(out, strings.Replace(string(raw), string(quoted), by, 1))
		}
	}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, old := range v {
				v[name] = mark
				emit()
				v[name] = old
				visit(old)
			}
		case []any:
			for i, old := range v {
				v[i] = mark
				emit()
				v[i] = old
				visit(old)
			}
		}
	}
	visit(root)
	return out
}

func packed(body string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	return b.String()
}

// everything throws all at all templates of all operations, which takes a minute.
func everything() bool { return os.Getenv("SANDBOX_HOSTILE") == "all" }

// some takes each ninth of a list, other ones for each n: enough for a run, in
// which each operation meets much and everything is met by many operations.
func some[T any](list []T, n int) []T {
	if everything() {
		return list
	}
	var few []T
	for i, it := range list {
		if (i+n)%9 == 0 {
			few = append(few, it)
		}
	}
	return few
}

// TestNothingThatIsThrownAtAnOperationBreaksIt starts from the right request to
// each operation and spoils each part of it in turn.
func TestNothingThatIsThrownAtAnOperationBreaksIt(t *testing.T) {
	t.Parallel()
	bodies := hostileBodies()
	for n, op := range sandbox.Operations() {
		t.Run(op.ID, func(t *testing.T) {
			t.Parallel()
			for i, path := range op.Paths {
				if i > 0 && !everything() {
					break
				}
				throwAt(t, op, path, bodies, n)
			}
		})
	}
}

func throwAt(t *testing.T, op *sandbox.Operation, path string, bodies []string, n int) {
	t.Helper()
	w := start(t, sandbox.MailboxConcurrency(100))
	all := w.as(ben, strings.Join(sandbox.AllPermissions(), " ")+" "+strings.Join(walkPermissions, " "))
	x := &thrower{walker: &walker{world: all, op: op, fix: fixtures[op.ID], tmpl: path, me: true}}
	x.makeAll()
	if x.fix.before != nil {
		x.fix.before(x.walker)
	}
	right := x.request()
	for i, name := range x.params {
		for _, key := range append(some(hostileKeys, n), url.PathEscape(x.others(name))) {
			bad := right
			bad.target = x.spoiled(i, key)
			x.throw("key", bad)
		}
	}
	at, query, _ := strings.Cut(right.target, "?")
	if query != "" {
		query = "&" + query
	}
	for _, q := range some(hostileQueries, n) {
		bad := right
		bad.target = at + "?" + q
		x.throw("query", bad)
		bad.target += query
		x.throw("query", bad)
	}
	for _, h := range some(hostileHeaders, n) {
		bad := right
		bad.header = h
		x.throw(fmt.Sprint("header ", h), bad)
	}
	if right.method != http.MethodGet {
		for _, body := range some(bodies, n) {
			bad := right
			bad.body = body
			x.throw("body", bad)
			bad.body, bad.header = packed(body), map[string]string{"Content-Encoding": "gzip"}
			x.throw("packed body", bad)
		}
	}
	var doc any
	if json.Unmarshal([]byte(right.body), &doc) == nil && !x.fix.raw {
		for _, value := range some(hostileValues, n) {
			for _, body := range replaced(doc, value) {
				bad := right
				bad.body = body
				x.throw("member", bad)
			}
		}
	}
	if right.method != http.MethodGet { // else nothing can have been stored
		x.lookAround(n)
	}
}

// others is an id in another mailbox.
func (x *thrower) others(param string) string {
	w := x.as(cleo, "Mail.ReadWrite Calendars.ReadWrite Contacts.ReadWrite Tasks.ReadWrite")
	switch strings.TrimRight(param, "0123456789") {
	case "event-id":
		return w.do(http.MethodPost, "/me/events", aMeeting).str("id")
	case "mailFolder-id":
		return w.get("/me/mailFolders/inbox").str("id")
	}
	return w.do(http.MethodPost, "/me/messages", mail("Private", ann)).str("id")
}

// spoiled is the path with one id replaced.
func (x *thrower) spoiled(n int, key string) string {
	target := strings.Replace(x.tmpl, "/users/{user-id}", x.user(), 1)
	for i, name := range x.params {
		id := url.PathEscape(x.ids[i])
		if i == n {
			id = key
		}
		target = strings.Replace(target, "{"+name+"}", id, 1)
	}
	for name, value := range arguments {
		target = strings.ReplaceAll(target, "{"+name+"}", url.PathEscape("'"+value+"'"))
	}
	return target
}

// lookAround reads all that the mailbox and the first group have: what was stored
// must not break those who read it.
func (x *thrower) lookAround(n int) {
	for i, target := range worldViews(x.Groups()[0].ID) {
		x.throw("afterwards", request{method: http.MethodGet, target: target})
		if (i+n)%4 > 0 {
			continue
		}
		x.throw("afterwards", request{method: http.MethodGet, target: target, header: map[string]string{"Prefer": `IdType="ImmutableId", outlook.timezone="Pacific Standard Time"`}})
	}
}

// worldViews are addresses that show most of what a mailbox and a group hold.
func worldViews(group string) []string {
	const window = "?startDateTime=2029-01-01T00:00:00Z&endDateTime=2031-12-31T00:00:00Z&$top=500"
	return []string{
		"/me", "/users", "/users/delta", "/me/messages?$top=500&$expand=attachments,extensions", "/me/messages?$search=%22hello%22", "/me/messages?$orderby=subject", "/me/mailFolders?includeHiddenFolders=true&$top=500&$expand=childFolders",
		"/me/mailFolders/delta", "/me/mailFolders/inbox/messages/delta", "/me/mailFolders/drafts/messages/delta", "/me/mailFolders/sentitems/messages?$top=500", "/me/mailFolders/inbox/messageRules",
		"/me/inferenceClassification/overrides", "/me/outlook/masterCategories", "/me/mailboxSettings", "/me/events?$top=500&$expand=attachments,extensions", "/me/calendarView" + window, "/me/calendarView/delta" + window,
		"/me/calendars", "/me/calendarGroups", "/me/calendar/calendarPermissions", "/me/contacts?$top=500", "/me/contactFolders", "/me/contacts/delta", "/me/contactFolders/delta", "/me/people?$top=500",
		"/me/todo/lists?$top=500", "/me/todo/lists/delta", "/subscriptions", "/places/microsoft.graph.room", "/places/microsoft.graph.building", "/me/settings/workHoursAndLocations", "/me/settings/workHoursAndLocations/occurrences",
		"/me/settings/workHoursAndLocations/recurrences", "/me/settings/workHoursAndLocations/occurrencesView(startDateTime='2030-01-01T00:00:00',endDateTime='2030-12-31T00:00:00')",
		"/groups/" + group + "/conversations", "/groups/" + group + "/threads", "/groups/" + group + "/events", "/groups/" + group + "/calendarView" + window, "/groups/" + group + "/acceptedSenders",
		"/users/" + cleo + "/messages", "/users/" + cleo + "/calendarView" + window, "/users/" + ann + "/calendarView" + window,
	}
}

// TestEveryRouteRefusesJunk goes through the routes that no page documents, too:
// with ids that are none and bodies that are none.
func TestEveryRouteRefusesJunk(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.MailboxConcurrency(100))
	all := w.as(ben, strings.Join(sandbox.AllPermissions(), " ")+" "+strings.Join(walkPermissions, " "))
	x := &thrower{walker: &walker{world: all, me: true}}
	bodies := hostileBodies()
	for n, route := range sandbox.Routes() {
		for _, key := range some(hostileKeys, n) {
			target := ""
			for seg := range strings.SplitSeq(strings.TrimPrefix(strings.Replace(route.Path, "/users/{user-id}", "/me", 1), "/"), "/") {
				if strings.HasPrefix(seg, "{") {
					seg = key
				}
				target += "/" + seg
			}
			x.throw("junk", request{method: route.Method, target: target, body: bodies[len(key)%len(bodies)]})
			if !strings.Contains(route.Path, "{") {
				break
			}
		}
	}
	x.lookAround(0)
}
