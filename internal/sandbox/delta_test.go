package sandbox_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// reader follows one folder by delta and keeps what it was told.
type reader struct {
	w       *world
	link    string
	view    map[string]string // id: subject and isRead
	pages   int
	removed []string
	items   []map[string]any
}

func newReader(w *world, folder, query string) *reader {
	return &reader{w: w, link: "/me/mailFolders/" + folder + "/messages/delta" + query, view: map[string]string{}}
}

// page reads one page and says whether the round is over.
func (r *reader) page() bool {
	r.w.t.Helper()
	a := r.w.get(r.link).is(http.StatusOK)
	r.pages++
	for _, it := range a.value() {
		r.items = append(r.items, it)
		id := fmt.Sprint(it["id"])
		if it["@removed"] != nil {
			r.removed = append(r.removed, id)
			delete(r.view, id)
			continue
		}
		r.view[id] = fmt.Sprint(it["subject"], " ", it["isRead"])
	}
	next, last := a.str("@odata.nextLink"), a.str("@odata.deltaLink")
	if (next == "") == (last == "") {
		r.w.t.Fatalf("a page has one link: next %q, delta %q", next, last)
	}
	if r.link = next + last; next != "" && !strings.Contains(next, "$skiptoken=") || last != "" && !strings.Contains(last, "$deltatoken=") {
		r.w.t.Fatalf("link %s", r.link)
	}
	return last != ""
}

// round reads to the deltaLink.
func (r *reader) round() *reader {
	r.w.t.Helper()
	r.items, r.removed = nil, nil
	for !r.page() {
	}
	return r
}

func (r *reader) subjects() []string {
	return slices.Sorted(maps.Values(r.view))
}

func TestDeltaTellsWhatCameChangedAndLeft(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 5 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	r := newReader(w.with("Prefer", "odata.maxpagesize=2"), "inbox", "").round()
	if want := []string{"m0 false", "m1 false", "m2 false", "m3 false", "m4 false"}; !slices.Equal(r.subjects(), want) || r.pages != 3 {
		t.Fatalf("first round: %v in %d pages", r.subjects(), r.pages)
	}
	if r.round(); len(r.items) != 0 {
		t.Fatalf("an idle round told %v", r.items)
	}
	ids := map[string]string{}
	for _, m := range w.get("/me/mailFolders/inbox/messages").value() {
		ids[fmt.Sprint(m["subject"])] = fmt.Sprint(m["id"])
	}
	w.do(http.MethodPatch, "/me/messages/"+ids["m0"], `{"isRead":true}`).is(200)
	w.do(http.MethodDelete, "/me/messages/"+ids["m1"], "").is(204)
	w.do(http.MethodPost, "/me/messages/"+ids["m2"]+"/move", `{"destinationId":"archive"}`).is(201)
	w.deliver(ann, "m5")
	r.round()
	if want := []string{"m0 true", "m3 false", "m4 false", "m5 false"}; !slices.Equal(r.subjects(), want) {
		t.Errorf("second round: %v", r.subjects())
	}
	slices.Sort(r.removed)
	if want := slices.Sorted(slices.Values([]string{ids["m1"], ids["m2"]})); !slices.Equal(r.removed, want) {
		t.Errorf("removed %v, want %v", r.removed, want)
	}
	for _, it := range r.items {
		if it["@removed"] != nil && (fmt.Sprint(it["@removed"]) != "map[reason:deleted]" || it["@odata.type"] != "#microsoft.graph.message") {
			t.Errorf("tombstone %v", it)
		}
	}
}

func TestDeltaSpellingsAndCaseMeanTheSame(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "m")
	for _, path := range []string{
		"/me/mailFolders/inbox/messages/delta", "/me/mailFolders/inbox/messages/delta()",
		"/ME/mailfolders('inbox')/Messages/microsoft.graph.delta", "/users/" + ann + "/mailFolders/Inbox/messages/microsoft.graph.delta()",
	} {
		if got := w.get(path).is(http.StatusOK).subjects(); !slices.Equal(got, []string{"m"}) {
			t.Errorf("%s told %v", path, got)
		}
	}
}

func TestAChangeDuringARoundIsNotLost(t *testing.T) {
	t.Parallel()
	w := start(t).with("Prefer", "odata.maxpagesize=2")
	for n := range 6 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	r := newReader(w, "inbox", "")
	r.page()
	// One that was told, one that was not, and one that comes and changes while
	// the round is read.
	for _, subject := range []string{"m0", "m5"} {
		m := w.get("/me/messages?$filter=" + url.QueryEscape("subject eq '"+subject+"'")).value()[0]
		w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(m["id"]), `{"isRead":true}`).is(200)
	}
	w.deliver(ann, "new")
	m := w.get("/me/messages?$filter=" + url.QueryEscape("subject eq 'new'")).value()[0]
	w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(m["id"]), `{"isRead":true}`).is(200)
	for !r.page() {
	}
	r.round()
	if want := []string{"m0 true", "m1 false", "m2 false", "m3 false", "m4 false", "m5 true", "new true"}; !slices.Equal(r.subjects(), want) {
		t.Errorf("after the next round: %v", r.subjects())
	}
}

func TestDeltaOptionsLiveInTheToken(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "old")
	after := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	r := newReader(w, "inbox", "?$select=subject&$filter="+url.QueryEscape("receivedDateTime ge "+after)).round()
	if len(r.view) != 0 {
		t.Fatalf("the filter let %v through", r.view)
	}
	w.deliver(ann, "new")
	if r.round(); len(r.view) != 0 {
		t.Fatalf("the filter did not live on: %v", r.view)
	}
	r = newReader(w, "inbox", "?$select=subject&$filter="+url.QueryEscape("receivedDateTime ge 2020-01-01T00:00:00Z")).round()
	if len(r.items) != 2 {
		t.Fatalf("told %v", r.items)
	}
	w.deliver(ann, "newer")
	r.round()
	if len(r.items) != 1 || r.items[0]["body"] != nil || r.items[0]["subject"] != "newer" || r.items[0]["id"] == nil {
		t.Errorf("$select did not live on: %v", r.items)
	}
	for _, q := range []string{"?$filter=isRead+eq+false", "?$filter=receivedDateTime+lt+2020-01-01T00:00:00Z", "?$orderby=subject", "?$skip=1", "?changeType=moved", "?$search=x"} {
		w.get("/me/mailFolders/inbox/messages/delta"+q).is(400, "ErrorInvalidUrlQuery")
	}
	w.get("/me/mailFolders/inbox/messages/delta?$select=nope").is(400, "RequestBroker--ParseUri")
}

func TestDeltaNewestFirstPagesThroughAll(t *testing.T) {
	t.Parallel()
	w := start(t).with("Prefer", "odata.maxpagesize=3")
	for n := range 7 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	r := newReader(w, "inbox", "?$orderby=receivedDateTime+desc")
	r.page()
	w.deliver(ann, "m7")
	for !r.page() {
	}
	got := []string{}
	for _, it := range r.items {
		got = append(got, fmt.Sprint(it["subject"]))
	}
	if want := []string{"m6", "m5", "m4", "m3", "m2", "m1", "m0"}; !slices.Equal(got, want) {
		t.Errorf("first round %v", got)
	}
	if r.round(); len(r.items) != 1 {
		t.Errorf("second round %v", r.items)
	}
}

func TestDeltaByChangeType(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "a")
	w.deliver(ann, "b")
	created, updated, deleted := newReader(w, "inbox", "?changeType=created").round(), newReader(w, "inbox", "?changeType=updated").round(), newReader(w, "inbox", "?changeType=deleted").round()
	list := w.get("/me/mailFolders/inbox/messages").value()
	w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(list[0]["id"]), `{"isRead":true}`).is(200)
	w.do(http.MethodDelete, "/me/messages/"+fmt.Sprint(list[1]["id"]), "").is(204)
	w.deliver(ann, "c")
	for name, r := range map[string]*reader{"created": created, "updated": updated, "deleted": deleted} {
		if r.round(); len(r.items) != 1 {
			t.Errorf("%s told %v", name, r.items)
		}
	}
}

func TestTopEndsTheRoundEarly(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 5 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	if r := newReader(w, "inbox", "?$top=2").round(); len(r.items) != 2 || r.pages != 1 {
		t.Errorf("%d items in %d pages", len(r.items), r.pages)
	}
}

func TestAnImmutableIDComesBackAsOneItem(t *testing.T) {
	t.Parallel()
	w := start(t)
	fixed := w.with("Prefer", `IdType="ImmutableId"`)
	w.deliver(ann, "m")
	byFixed, byOrdinary := newReader(fixed, "inbox", "").round(), newReader(w, "inbox", "").round()
	id := slices.Collect(maps.Keys(byFixed.view))[0]
	fixed.do(http.MethodPost, "/me/messages/"+id+"/move", `{"destinationId":"archive"}`).is(201)
	fixed.do(http.MethodPost, "/me/messages/"+id+"/move", `{"destinationId":"inbox"}`).is(201)
	if byFixed.round(); len(byFixed.items) != 1 || len(byFixed.removed) != 0 || byFixed.view[id] == "" {
		t.Errorf("immutable: %v", byFixed.items)
	}
	if byOrdinary.round(); len(byOrdinary.removed) != 1 || len(byOrdinary.view) != 1 {
		t.Errorf("ordinary: %v", byOrdinary.items)
	}
}

func TestALostTokenIsSaidSo(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := newReader(w, "inbox", "").round()
	w.ExpireDelta("")
	a := w.get(r.link).is(410, "SyncStateNotFound")
	if !strings.HasSuffix(a.header.Get("Location"), "/messages/delta") {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
	w.get(a.header.Get("Location")).is(200)
	for _, token := range []string{"latest", "abc", ""} {
		if token != "" {
			w.get("/me/mailFolders/inbox/messages/delta?$deltatoken="+token).is(410, "SyncStateNotFound")
		}
	}
	other := start(t, sandbox.DeltaLost(400, "syncStateNotFound"))
	other.deliver(ann, "m")
	r = newReader(other, "inbox", "").round()
	u, err := url.Parse(r.link)
	if err != nil {
		t.Fatal(err)
	}
	other.get("/me/mailFolders/archive/messages/delta?"+u.RawQuery).is(400, "syncStateNotFound")
	other.ExpireDelta(ben)
	other.get(r.link).is(200)
	other.ExpireDelta(ann)
	other.get(r.link).is(400, "syncStateNotFound")
	if other.ExpireDelta(noPerson) {
		t.Error("expired the tokens of nobody")
	}
}

func TestPartialUpdatesNameWhatChanged(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.PartialUpdates())
	w.deliver(ann, "m")
	r := newReader(w, "inbox", "?$select=subject").round()
	id := fmt.Sprint(r.items[0]["id"])
	w.do(http.MethodPatch, "/me/messages/"+id, `{"isRead":true}`).is(200)
	w.deliver(ann, "whole")
	r.round()
	if len(r.items) != 2 {
		t.Fatalf("told %v", r.items)
	}
	for _, it := range r.items {
		if it["id"] == id && (it["isRead"] != true || it["subject"] != nil) || it["id"] != id && it["subject"] != "whole" {
			t.Errorf("item %v", it)
		}
	}
}

func TestARoundTellsOfAnItemOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "m")
	r := newReader(w, "inbox", "").round()
	id := fmt.Sprint(r.items[0]["id"])
	for _, read := range []bool{true, false, true} {
		w.do(http.MethodPatch, "/me/messages/"+id, fmt.Sprintf(`{"isRead":%v}`, read)).is(200)
	}
	if r.round(); len(r.items) != 1 || r.view[id] != "m true" {
		t.Errorf("told %v", r.items)
	}
	w.deliver(ann, "brief")
	brief := fmt.Sprint(w.get("/me/mailFolders/inbox/messages").value()[0]["id"])
	w.do(http.MethodDelete, "/me/messages/"+brief, "").is(204)
	if r.round(); len(r.items) != 0 {
		t.Errorf("told of what came and went: %v", r.items)
	}
}

// With immutable ids an item can leave, come back after the round's end and
// leave again before the next: then the first departure is the only one told.
func TestADepartureIsToldWhenTheItemIsBackTooLateForTheRound(t *testing.T) {
	t.Parallel()
	w := start(t).with("Prefer", `IdType="ImmutableId"`).with("Prefer", "odata.maxpagesize=1")
	w.deliver(ann, "m")
	r := newReader(w, "inbox", "").round()
	path := "/me/messages/" + fmt.Sprint(r.items[0]["id"])
	move := func(to string) { w.do(http.MethodPost, path+"/move", fmt.Sprintf(`{"destinationId":%q}`, to)).is(201) }
	w.deliver(ann, "x")
	move("archive")
	r.page()
	move("inbox")
	r.page()
	move("archive")
	if r.round(); !slices.Equal(r.subjects(), []string{"x false"}) {
		t.Errorf("the view is %v", r.subjects())
	}
}
