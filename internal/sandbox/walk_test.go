package sandbox_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// TestTheCatalogueWalk asks for every documented operation on every template of
// it: first wrongly in each way that Graph refuses, then rightly. What is asked is
// in walk_fixtures_test.go.
func TestTheCatalogueWalk(t *testing.T) {
	t.Parallel()
	operations, templates := sandbox.Operations(), 0
	for _, op := range operations {
		templates += len(op.Paths)
		t.Run(op.ID, func(t *testing.T) {
			t.Parallel()
			f, ok := fixtures[op.ID]
			if !ok {
				t.Fatal("the operation has no fixture")
			}
			for i, path := range op.Paths {
				// A user's template is /me or /users/{id}; the first is both.
				hasUser := strings.HasPrefix(path, "/users/{user-id}")
				if !hasUser || i == 0 || i%2 == 0 {
					t.Run(strings.Replace(path, "/users/{user-id}", "/me", 1), func(t *testing.T) { walkTemplate(t, op, f, path, true) })
				}
				if hasUser && (i == 0 || i%2 == 1) {
					t.Run(path, func(t *testing.T) { walkTemplate(t, op, f, path, false) })
				}
			}
		})
	}
	if len(operations) != 265 || templates != 544 {
		t.Errorf("%d operations on %d templates; the catalogue has 265 on 544", len(operations), templates)
	}
	for id := range fixtures {
		if !slices.ContainsFunc(operations, func(o *sandbox.Operation) bool { return o.ID == id }) {
			t.Errorf("there is no operation %s", id)
		}
	}
}

// TestTwentyOperationsHaveNoDocumentedStatus names those whose expected status is
// our own.
func TestTwentyOperationsHaveNoDocumentedStatus(t *testing.T) {
	t.Parallel()
	var found []string
	for _, op := range sandbox.Operations() {
		if len(op.Success) == 0 {
			found = append(found, op.ID)
		}
	}
	if ours := slices.Sorted(maps.Keys(undocumentedStatus)); !slices.Equal(found, ours) || len(ours) != 20 {
		t.Errorf("without a documented status:\n%q\nwith one of our own:\n%q", found, ours)
	}
}

// walker is one template of an operation with everything that its path names.
type walker struct {
	*world // with all permissions
	op     *sandbox.Operation
	fix    fixture
	tmpl   string
	me     bool
	ids    []string // of the path's parameters, in their order
	params []string // their names
}

func walkTemplate(t *testing.T, op *sandbox.Operation, f fixture, path string, me bool) {
	t.Helper()
	w := start(t, sandbox.MailboxConcurrency(100))
	all := w.as(ben, strings.Join(sandbox.AllPermissions(), " ")+" "+strings.Join(walkPermissions, " "))
	x := &walker{world: all, op: op, fix: f, tmpl: path, me: me}
	x.makeAll()
	if f.before != nil {
		f.before(x)
	}
	right := x.request()
	x.refusals(right)
	token, ok := x.least()
	if !ok && !slices.Contains(withoutPermissions, op.ID) {
		t.Fatal("no permission is known, and the operation is not in withoutPermissions")
	}
	r := token.send(right)
	_, list := r.json["value"].([]any)
	switch want := x.wanted(); {
	case !slices.Contains(want, r.status):
		t.Errorf("right request: %s %s: %d, want %d\n%s", right.method, right.target, r.status, want, cutRaw(r.raw))
	case op.Collection && op.Method == http.MethodGet && !list:
		t.Errorf("right request: %s %s has no list of values: %s", right.method, right.target, cutRaw(r.raw))
	case !strings.Contains(string(r.raw), f.shows):
		t.Errorf("right request: %s %s does not show %s: %s", right.method, right.target, f.shows, cutRaw(r.raw))
	case (r.status == http.StatusNoContent || r.status == http.StatusAccepted) && len(r.raw) > 0:
		t.Errorf("right request: %s %s: %d has a body: %s", right.method, right.target, r.status, cutRaw(r.raw))
	default:
		x.readBack(right, r)
	}
}

// readBack looks whether what was made is there, and what was deleted is not.
func (x *walker) readBack(right request, r *reply) {
	x.t.Helper()
	at, _, _ := strings.Cut(right.target, "?")
	made := at + "/" + url.PathEscape(r.str("id"))
	switch {
	case r.status == http.StatusCreated && r.str("id") != "" && sandbox.CanGet(made):
		if got := x.get(made); got.status != http.StatusOK || got.str("id") != r.str("id") {
			x.t.Errorf("what was made is not there: GET %s: %d %s", made, got.status, cutRaw(got.raw))
		}
	case right.method == http.MethodDelete && !slices.Contains(keptElsewhere, x.op.ID) && sandbox.CanGet(at):
		if got := x.get(at); got.status != http.StatusNotFound {
			x.t.Errorf("what was deleted is there: GET %s: %d %s", at, got.status, cutRaw(got.raw))
		}
	}
}

// least is the world with the least permission that the reference names.
func (x *walker) least() (*world, bool) {
	name, application := sandbox.LeastPermission(x.op, x.tmpl)
	if x.fix.permission != "" {
		name, application = x.fix.permission, false
	}
	switch {
	case name == "":
		return x.world, false
	case application:
		return x.asApplication(name), true
	}
	return x.as(ben, name), true
}

// asApplication is the world seen by an application with a permission.
func (x *walker) asApplication(role string) *world {
	x.t.Helper()
	token, err := x.AppToken(sandbox.DefaultClientID, role)
	if err != nil {
		x.t.Fatal(err)
	}
	c := *x.world
	c.token = token
	return &c
}

// wanted are the statuses of a right answer.
func (x *walker) wanted() []int {
	switch want := x.op.Success; {
	case len(want) == 0:
		return []int{undocumentedStatus[x.op.ID]}
	case len(want) == 1 || strings.HasSuffix(x.tmpl, "$value"):
		return want
	case strings.HasSuffix(x.tmpl, "/reply"):
		return []int{http.StatusAccepted}
	case x.op.Method == http.MethodPost:
		return []int{http.StatusCreated}
	}
	return []int{http.StatusOK}
}

// request is a request that is ready to be sent.
type request struct {
	method, target, body string
	header               map[string]string
}

func (w *world) send(r request) *reply {
	w.t.Helper()
	for name, value := range r.header {
		w = w.with(name, value)
	}
	return w.do(r.method, r.target, r.body)
}

// request is the right one.
func (x *walker) request() request {
	r := request{method: x.op.Method, target: x.path(x.ids...), body: x.body(), header: x.fix.header}
	query := x.fix.query
	if query == "" && len(x.op.Required) > 0 {
		query = walkWindow
	}
	if x.fix.queryFor != nil {
		query = x.fix.queryFor(x)
	}
	if query != "" {
		r.target += "?" + query
	}
	return r
}

func (x *walker) body() string {
	text := x.fix.body
	if x.fix.bodyFor != nil {
		text = x.fix.bodyFor(x)
	}
	for i, name := range x.params {
		text = strings.ReplaceAll(text, "{"+name+"}", x.ids[i])
	}
	return strings.ReplaceAll(text, "{graph}", x.GraphURL())
}

// path fills ids into the template.
func (x *walker) path(ids ...string) string {
	target := strings.Replace(x.tmpl, "/users/{user-id}", x.user(), 1)
	for i, name := range x.params {
		target = strings.Replace(target, "{"+name+"}", url.PathEscape(ids[i]), 1)
	}
	for name, value := range arguments {
		target = strings.ReplaceAll(target, "{"+name+"}", url.PathEscape("'"+value+"'"))
	}
	return target
}

func (x *walker) user() string {
	if x.me {
		return "/me"
	}
	return "/users/" + ben
}

// makeAll makes what the path names, outermost first.
func (x *walker) makeAll() {
	at := ""
	for seg := range strings.SplitSeq(strings.TrimPrefix(x.tmpl, "/"), "/") {
		name, isParam := strings.CutPrefix(seg, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case name == "user-id":
			at = x.user()
			continue
		case !isParam || strings.Contains(seg, "="):
			if at == "/users" {
				at = ""
			}
			at += "/" + seg
			continue
		}
		id := x.makeOne(at, name)
		x.params, x.ids = append(x.params, name), append(x.ids, id)
		at += "/" + url.PathEscape(id)
	}
}

// makeOne makes the object that a parameter names, in the collection before it,
// and returns its id.
func (x *walker) makeOne(at, param string) string {
	x.t.Helper()
	plain := strings.TrimRight(param, "0123456789")
	collection := at[strings.LastIndexByte(at, '/')+1:]
	if fn := x.fix.make[plain]; fn != nil {
		return fn(x, at)
	}
	if fn := makers[collection]; fn != nil {
		return fn(x, at)
	}
	if _, ok := nouns[collection]; !ok {
		x.t.Fatalf("no noun for the collection %s", collection)
	}
	return x.create(at, nounWith(collection, x.fix.member))
}

// create posts and returns the new id.
func (x *walker) create(at, body string) string {
	x.t.Helper()
	r := x.do(http.MethodPost, at, body)
	if r.status != http.StatusCreated && r.status != http.StatusOK {
		x.t.Fatalf("preparing: POST %s: %d\n%s", at, r.status, cutRaw(r.raw))
	}
	return r.str("id")
}

// first is the id of the first in a collection.
func (x *walker) first(at string) string {
	x.t.Helper()
	r := x.get(at)
	if r.status != http.StatusOK || len(r.value()) == 0 {
		x.t.Fatalf("preparing: GET %s: %d\n%s", at, r.status, cutRaw(r.raw))
	}
	id, _ := r.value()[0]["id"].(string)
	return id
}

func cutRaw(raw []byte) string {
	if len(raw) > 400 {
		raw = raw[:400]
	}
	return string(raw)
}

// refusals sends what Graph refuses.
func (x *walker) refusals(right request) {
	x.t.Helper()
	nobody := *x.world
	nobody.token = ""
	x.refused("no token", nobody.send(right), []int{http.StatusUnauthorized}, "InvalidAuthenticationToken")
	if !slices.Contains(withoutPermissions, x.op.ID) {
		x.refused("no permission", x.as(ben, "openid").send(right), []int{http.StatusForbidden}, "ErrorAccessDenied", "Authorization_RequestDenied")
		if !strings.HasPrefix(right.target, "/me") {
			app := x.asApplication(sandbox.OtherRole(x.op.Method, x.tmpl))
			x.refused("no application permission", app.send(right), []int{http.StatusForbidden}, "ErrorAccessDenied", "Authorization_RequestDenied")
		}
	}
	x.unknownIDs(right)
	wrong := right
	for _, wrong.method = range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodGet, http.MethodPost} {
		if !slices.Contains(sandbox.Methods(x.tmpl), wrong.method) {
			x.refused("wrong method "+wrong.method, x.send(wrong), []int{http.StatusMethodNotAllowed}, "BadRequest")
			break
		}
	}
	if right.body == "" || x.fix.raw {
		return
	}
	bad := right
	bad.body = right.body[:len(right.body)-1]
	x.refused("malformed body", x.send(bad), []int{http.StatusBadRequest}, "BadRequest", "RequestBodyRead")
	bad.body = withMember(right.body, `"noSuchProperty":1`)
	if !x.fix.open {
		x.refused("unknown property", x.send(bad), []int{http.StatusBadRequest}, "RequestBodyRead", "BadRequest", "Request_BadRequest")
	}
}

// unknownIDs replaces each parameter in turn by an id that is not there, and by
// something that is no id.
func (x *walker) unknownIDs(right request) {
	x.t.Helper()
	_, query, _ := strings.Cut(right.target, "?")
	ask := func(what, target string) {
		bad := right
		bad.target = target
		if query != "" {
			bad.target += "?" + query
		}
		x.refused(what, x.send(bad), []int{http.StatusNotFound, http.StatusBadRequest}, "ErrorItemNotFound", "ErrorInvalidIdMalformed",
			"Request_ResourceNotFound", "ErrorInvalidUser", "ErrorFolderNotFound", "ResourceNotFound", "Request_BadRequest", "ErrorInvalidRequest", "ImageNotFound", "ItemNotFound")
	}
	if strings.Contains(x.tmpl, "{user-id}") && !x.me {
		ask("unknown user", strings.Replace(x.path(x.ids...), ben, noPerson, 1))
	}
	for i, name := range x.params {
		if strings.Contains(right.body, "{"+name+"}") {
			continue
		}
		ids := slices.Clone(x.ids)
		ids[i] = "not-an-id"
		ask("malformed "+name, x.path(ids...))
		ids[i] = x.ids[i][:len(x.ids[i])-1] + "z"
		ask("unknown "+name, x.path(ids...))
	}
}

// refused checks an answer that must be an error of Graph's.
func (x *walker) refused(what string, r *reply, statuses []int, codes ...string) {
	x.t.Helper()
	if !slices.Contains(statuses, r.status) || !slices.Contains(codes, r.code()) {
		x.t.Errorf("%s: %d %s, want %d %q\n%s", what, r.status, r.code(), statuses, codes, cutRaw(r.raw))
	}
}

// with adds a member to an object, at its end.
func withMember(object, member string) string {
	if object == "{}" {
		return "{" + member + "}"
	}
	return strings.TrimSuffix(object, "}") + "," + member + "}"
}

// listener is a place for notifications that confirms itself.
func (x *walker) listener() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprint(w, r.URL.Query().Get("validationToken"))
	}))
	x.t.Cleanup(server.Close)
	return server.URL
}
