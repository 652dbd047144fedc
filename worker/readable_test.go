package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/config"
	"outlook-connector/internal/catalog"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
)

// readable is an operation that reads, as a subscription.
type readable struct {
	id    string
	lines string // of the subscription, in YAML's flow form
	mode  string // that is to be chosen
	path  string // that is to be asked for, not escaped
	query string // the same, in the order of the names
}

// TestEverythingReadableCanBeSubscribedTo runs one worker with a subscription to
// every operation of the catalogue that reads. What arrives must be what the
// same addresses give to a plain HTTP client, all pages of it.
func TestEverythingReadableCanBeSubscribedTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.hand(ben)
	names := h.furnish()
	c := w.parseReadables(names)
	want, bodies := make(map[string][]string, len(readables)), make(map[string][]byte)
	for i, r := range readables {
		want[r.name()], bodies[r.name()] = h.expect(names.in(r), c.Subscriptions[i].Payload)
	}
	before := len(w.Requests())

	r := w.start(c).ready()
	if _, err := sandbox.SignIn(t.Context(), w.http, r.HTTPURL()+"/oauth/start/contoso", ben); err != nil {
		t.Fatal(err)
	}
	got, told := r.arrived(want)
	for _, f := range r.Status(t.Context()).Feeds {
		if f.Error != "" {
			t.Errorf("feed of %s: %s", f.Subscription, f.Error)
		}
	}
	for _, readable := range readables {
		slices.Sort(got[readable.name()])
		if diff := cmp.Diff(want[readable.name()], got[readable.name()]); diff != "" {
			t.Errorf("%s: ids (-of a plain client +of the events):\n%s", readable.id, diff)
		}
		if want := bodies[readable.name()]; readable.mode == "single" && !bytes.Equal(want, told[readable.name()]) {
			t.Errorf("%s: a plain client gets\n%.300s\nthe event has\n%.300s", readable.id, want, told[readable.name()])
		}
	}
	w.checkCalls(names, w.Requests()[before:])
}

// name is the subscription's.
func (r readable) name() string {
	name := strings.ToLower(strings.ReplaceAll(r.id, ".", "-"))
	return name[:min(len(name), 63)]
}

func (r readable) method() string {
	if strings.HasPrefix(r.lines, "payload:") {
		return http.MethodPost
	}
	return http.MethodGet
}

// TestTheReadablesAreAll compares the list with the catalogue, and the modes
// with those that the configuration chooses.
func TestTheReadablesAreAll(t *testing.T) {
	t.Parallel()
	listed := make(map[string]bool)
	for _, r := range readables {
		if listed[r.id] {
			t.Errorf("%s is there twice", r.id)
		}
		listed[r.id] = true
	}
	for _, op := range catalog.Default().Select("*") {
		if op.Reads() != listed[op.ID] {
			t.Errorf("%s reads: %v, is in the list: %v", op.ID, op.Reads(), listed[op.ID])
		}
	}
	w := newWorld(t)
	for i, s := range w.parseReadables(nil).Subscriptions {
		if r := readables[i]; s.Entity != r.id || s.Mode != r.mode || s.Method != r.method() {
			t.Errorf("%s: entity %s by %s in mode %s, want %s in mode %s", r.id, s.Entity, s.Method, s.Mode, r.method(), r.mode)
		}
	}
}

// furniture are the ids of what a test has made, by their names in readables.
type furniture map[string]string

// in fills in the ids.
func (f furniture) in(r readable) readable {
	for name, id := range f {
		r.lines = strings.ReplaceAll(r.lines, "«"+name+"»", id)
		r.path = strings.ReplaceAll(r.path, "«"+name+"»", id)
	}
	return r
}

// parseReadables parses a configuration with all readables. Without ids their
// names stand for themselves.
func (w *world) parseReadables(names furniture) *config.Config {
	w.t.Helper()
	if names == nil {
		names = furniture{"me": ben, "group": "6f4b1d8e-0000-4000-8000-000000000000"}
	}
	var list strings.Builder
	for _, r := range readables {
		lines := names.in(r).lines
		if strings.HasPrefix(lines, "{") {
			lines = lines[1 : len(lines)-1]
		}
		if lines != "" {
			lines = ", " + lines
		}
		fmt.Fprintf(&list, "  - {name: %s, client: contoso, entity: %s, start: all, every: 10m%s}\n", r.name(), r.id, lines)
	}
	return w.subscribing(list.String())
}

// subscribing parses a configuration with these subscriptions.
func (w *world) subscribing(list string) *config.Config {
	w.t.Helper()
	text := fmt.Sprintf(`
nats: {embedded: {store_dir: ./nats, listen: "127.0.0.1:0"}}
token_store: {path: ./tokens.db, key: "${file:./token.key}"}
clients:
  - {name: contoso, tenant: contoso.example, authorize_url: %q, token_url: %q, base_url: %q, client_id: %q, scopes: [%s]}
subscriptions:
%shttp: {listen: %q}
`, w.AuthorizeURL(), w.TokenURL(), w.GraphURL(), sandbox.DefaultClientID, strings.Join(everyScope(), ", "), list, freeAddress(w.t))
	c, err := config.Parse(config.Source{File: filepath.Join(w.dir, "outlook-connector.yaml"), Data: []byte(text)})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// everyScope are the permissions for all that is read and made here.
func everyScope() []string {
	scopes := []string{"openid", "profile", "offline_access"}
	for _, op := range catalog.Default().Select("*") {
		for _, p := range []*catalog.Permissions{&op.Permissions, op.GroupPermissions} {
			if p == nil {
				continue
			}
			scopes = append(scopes, p.Least(catalog.DelegatedWork)...)
			for _, r := range p.ByResource {
				scopes = append(scopes, r.DelegatedWork...)
			}
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// arrived waits for the events, and then for a moment in which one too many
// would come, and returns the ids of their items, and the last body, by
// subscription.
func (r *running) arrived(want map[string][]string) (got map[string][]string, bodies map[string][]byte) {
	r.w.t.Helper()
	filter, err := r.Conn().Names().Events("", "")
	if err != nil {
		r.w.t.Fatal(err)
	}
	left := 0
	for _, ids := range want {
		left += len(ids)
	}
	ctx, cancel := context.WithTimeout(r.w.t.Context(), patience)
	defer cancel()
	got, bodies = make(map[string][]string), make(map[string][]byte)
	if err := r.Conn().Events(ctx, filter, time.Unix(1, 0), func(e jet.Event) bool {
		name := first(e.Header["Outlook-Subscription"])
		got[name] = append(got[name], first(e.Header["Outlook-Id"]))
		bodies[name] = e.Data
		if left--; left == 0 {
			time.AfterFunc(time.Second, cancel)
		}
		return true
	}); err != nil {
		r.w.t.Fatal(err)
	}
	return got, bodies
}

// checkCalls looks at the requests of the worker: each readable was asked for as
// the reference says, and nothing else was.
func (w *world) checkCalls(names furniture, calls []sandbox.Call) {
	w.t.Helper()
	asked := make(map[string]int)
	for _, c := range calls {
		if !strings.HasPrefix(c.Path, "/v1.0/") {
			continue // the sign-in
		}
		path, err := url.PathUnescape(strings.TrimPrefix(c.Path, "/v1.0"))
		query, queryErr := url.ParseQuery(c.Query)
		if err != nil || queryErr != nil {
			w.t.Fatalf("%s?%s: %v, %v", c.Path, c.Query, err, queryErr)
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(query)) {
			parts = append(parts, name+"="+strings.Join(query[name], ","))
		}
		if c.Status != http.StatusOK {
			w.t.Errorf("%s %s?%s: %d %s", c.Method, path, strings.Join(parts, "&"), c.Status, c.Code)
		}
		asked[c.Method+" "+path+"?"+strings.Join(parts, "&")]++
	}
	wanted, links := make(map[string]int), make(map[string]bool)
	for _, r := range readables {
		r = names.in(r)
		key := r.method() + " " + r.path + "?" + r.query
		if wanted[key]++; asked[key] < wanted[key] {
			w.t.Errorf("%s: %d asked %s, want %d", r.id, asked[key], key, wanted[key])
		}
		// Graph writes the folder's id, and some words in lower case, into links.
		links[strings.ToLower(r.method()+" "+strings.Replace(r.path, "/inbox/messages/delta", "/"+names["inbox"]+"/messages/delta", 1))] = true
	}
	followed := make(map[string]bool)
	for key := range asked {
		path, query, _ := strings.Cut(key, "?")
		path = strings.ToLower(path)
		switch {
		case wanted[key] > 0:
		case links[path] && strings.Contains(query, "$skip"):
			followed[path] = true
		case !links[path] || !strings.Contains(query, "$deltatoken"):
			w.t.Errorf("%s was asked, which nobody wanted", key)
		}
	}
	if len(followed) < 4 { // messages as delta and list, tasks likewise
		w.t.Errorf("the links to further pages were followed in %v only", followed)
	}
}
