package sandbox_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// counted is how often each subject was told in a round.
func (r *reader) counted() map[string]int {
	n := map[string]int{}
	for _, it := range r.items {
		n[fmt.Sprint(it["subject"])]++
	}
	return n
}

func TestReplaysTellWhatWasTold(t *testing.T) {
	t.Parallel()
	rounds := func(opts ...sandbox.Option) (first, second, third map[string]int) {
		w := start(t, opts...).with("Prefer", "odata.maxpagesize=5")
		for n := range 20 {
			w.deliver(ann, fmt.Sprint("m", n))
		}
		r := newReader(w, "inbox", "?$select=subject")
		return r.round().counted(), r.round().counted(), r.round().counted()
	}
	first, second, third := rounds()
	if len(first) != 20 || len(second)+len(third) != 0 {
		t.Fatalf("without replays: %v, then %v", first, second)
	}
	first, second, third = rounds(sandbox.DeltaReplays(1, 7))
	twice := 0
	for _, n := range first {
		if n == 2 {
			twice++
		}
	}
	if len(first) != 20 || twice == 0 || len(second) == 0 || twice+len(second) > 20 {
		t.Errorf("all are told again, some in the round, some in the next: %v, then %v", first, second)
	}
	if len(third) != 0 {
		t.Errorf("a replay is not told again: %v", third)
	}
	a1, a2, _ := rounds(sandbox.DeltaReplays(0.3, 7))
	b1, b2, _ := rounds(sandbox.DeltaReplays(0.3, 7))
	c1, c2, _ := rounds(sandbox.DeltaReplays(0.3, 8))
	if !maps.Equal(a1, b1) || !maps.Equal(a2, b2) {
		t.Errorf("one seed gave %v %v and %v %v", a1, a2, b1, b2)
	}
	if maps.Equal(a1, c1) && maps.Equal(a2, c2) {
		t.Errorf("two seeds gave %v %v", a1, a2)
	}
}

func TestEmptyPagesHaveANextLink(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.DeltaEmptyPages(2)).with("Prefer", "odata.maxpagesize=2")
	for n := range 10 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	sizes := func(link string) (list []int, last string) {
		for {
			a := w.get(link).is(200)
			list = append(list, len(a.value()))
			if link = a.str("@odata.nextLink"); link == "" {
				return list, a.str("@odata.deltaLink")
			}
		}
	}
	got, link := sizes("/me/mailFolders/inbox/messages/delta")
	if want := []int{2, 0, 2, 2, 0, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("pages of %v, want %v", got, want)
	}
	if got, _ = sizes(link); !slices.Equal(got, []int{0}) {
		t.Errorf("an idle round of %v", got)
	}
	w.SetDeltaOddities(sandbox.DeltaOddities{EmptyPages: 1})
	if got, _ = sizes("/me/mailFolders/delta"); !slices.Equal(got, []int{0, 2, 0, 2, 0, 2, 0, 1}) {
		t.Errorf("folders: pages of %v", got)
	}
	c := w.as(ann, "Contacts.ReadWrite")
	c.do(http.MethodPost, "/me/contacts", `{"givenName":"C"}`).is(201)
	w.token = c.token
	if got, _ = sizes("/me/contacts/delta"); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("contacts: pages of %v", got)
	}
}

func TestLateChangesAreNotLost(t *testing.T) {
	t.Parallel()
	const lag = 300 * time.Millisecond
	w := start(t)
	w.deliver(ann, "old")
	r := newReader(w, "inbox", "").round()
	w.SetDeltaOddities(sandbox.DeltaOddities{Lag: lag})
	at := time.Now()
	w.deliver(ann, "late")
	m := fmt.Sprint(w.get("/me/mailFolders/inbox/messages?$filter=subject%20eq%20'old'").value()[0]["id"])
	w.do(http.MethodPatch, "/me/messages/"+m, `{"isRead":true}`).is(200)
	fresh := newReader(w, "inbox", "").round()
	if r.round(); time.Since(at) < lag && (len(r.items) != 0 || len(fresh.view) != 0) {
		t.Errorf("told at once: %v, %v", r.items, fresh.view)
	}
	want := []string{"late false", "old true"}
	eventually(t, func() bool {
		return slices.Equal(r.round().subjects(), want) && slices.Equal(fresh.round().subjects(), want)
	})
	if time.Since(at) < lag {
		t.Errorf("told after %v", time.Since(at))
	}
}

func TestTheControlPortSwitchesOddities(t *testing.T) {
	t.Parallel()
	w := start(t)
	if got := w.control("POST", "delta", `{"replays":0.5,"seed":3,"empty_pages":2,"lag":"1s"}`).is(200); got.str("lag") != "1s" || got.json["replays"] != 0.5 {
		t.Errorf("set: %s", got.raw)
	}
	if got := w.control("GET", "delta", "").is(200); got.json["empty_pages"] != 2.0 || got.json["seed"] != 3.0 {
		t.Errorf("get: %s", got.raw)
	}
	for _, bad := range []string{`{"replays":2}`, `{"lag":"soon"}`, `{"empty_pages":-1}`, `{"lags":"1s"}`} {
		w.control("POST", "delta", bad).is(400)
	}
	w.control("POST", "delta", `{}`).is(200)
	if w.DeltaOddities() != (sandbox.DeltaOddities{}) {
		t.Errorf("still %+v", w.DeltaOddities())
	}
}

// TestOddDeltaAddsUpToTheTruth leads the same random life as
// TestWhatDeltaTellsAddsUpToTheTruth, with every oddity on: folders, too, must end
// as a list shows them.
func TestOddDeltaAddsUpToTheTruth(t *testing.T) {
	t.Parallel()
	odd := sandbox.DeltaOddities{Replays: 0.5, Seed: 11, EmptyPages: 2, Lag: 3 * time.Millisecond}
	w := start(t, sandbox.MailboxConcurrency(100), sandbox.PartialUpdates())
	w.SetDeltaOddities(odd)
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for n := range 2 {
		writers.Go(func() { write(w, rand.New(rand.NewPCG(9, uint64(n))), 120) })
	}
	followers := map[string]*merger{}
	for i, folder := range []string{"inbox", "archive", "deleteditems"} {
		f := &merger{w: w, link: "/me/mailFolders/" + folder + "/messages/delta?$select=subject,isRead", view: map[string]map[string]any{}}
		if i != 1 {
			f.w = f.w.with("Prefer", `IdType="ImmutableId"`)
		}
		f.lists, f.w = f.w, f.w.with("Prefer", fmt.Sprintf("odata.maxpagesize=%d", 1+2*i))
		followers[folder] = f
	}
	tree := &merger{w: w, link: "/me/mailFolders/delta", view: map[string]map[string]any{}}
	for _, f := range append(slices.Collect(maps.Values(followers)), tree) {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f.page()
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for folder, f := range followers {
		want := map[string]map[string]any{}
		for _, m := range f.lists.get("/me/mailFolders/" + folder + "/messages?$select=subject,isRead&$top=1000").is(200).value() {
			want[fmt.Sprint(m["id"])] = m
		}
		eventually(t, func() bool { f.round(); return f.shows(want, "subject", "isRead") })
	}
	want := map[string]map[string]any{}
	for _, m := range w.get("/me/mailFolders?$top=100").is(200).value() {
		want[fmt.Sprint(m["id"])] = m
	}
	eventually(t, func() bool { tree.round(); return tree.shows(want, "displayName", "totalItemCount", "unreadItemCount") })
}

// merger follows a delta and merges items into what it has, as a client must.
type merger struct {
	w     *world
	lists *world // without a page size
	link  string
	view  map[string]map[string]any
}

func (f *merger) page() (last bool) {
	a := f.w.get(f.link).is(200)
	for _, it := range a.value() {
		id := fmt.Sprint(it["id"])
		if it["@removed"] != nil {
			delete(f.view, id)
			continue
		}
		if f.view[id] == nil {
			f.view[id] = map[string]any{}
		}
		maps.Copy(f.view[id], it)
	}
	next := a.str("@odata.nextLink")
	f.link = next + a.str("@odata.deltaLink")
	return next == ""
}

func (f *merger) round() {
	for !f.page() {
	}
}

func (f *merger) shows(want map[string]map[string]any, names ...string) bool {
	if len(want) != len(f.view) {
		return false
	}
	for id, m := range want {
		for _, name := range names {
			if f.view[id] == nil || f.view[id][name] != m[name] {
				return false
			}
		}
	}
	return true
}

// A round passes over an item that changes again before its page comes. What the
// round would have told of it must not be missing from the part that the next one
// tells.
func TestPartsHoldWhatARoundPassedOver(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.PartialUpdates())
	w.deliver(ann, "a")
	w.deliver(ann, "b")
	ids := w.get("/me/mailFolders/inbox/messages?$select=id").value()
	set := func(id any, body string) {
		w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(id), body).is(200)
	}
	r := newReader(w.with("Prefer", "odata.maxpagesize=1"), "inbox", "").round()
	set(ids[0]["id"], `{"isRead":true}`)
	set(ids[1]["id"], `{"isRead":true}`)
	w.deliver(ann, "c")
	r.page()
	c := w.get("/me/mailFolders/inbox/messages?$filter=subject%20eq%20'c'").value()[0]
	set(ids[1]["id"], `{"importance":"high"}`)
	set(c["id"], `{"importance":"low"}`)
	for !r.page() {
	}
	if r.round(); len(r.items) != 2 {
		t.Fatalf("told %v", r.items)
	}
	if b := r.items[0]; b["isRead"] != true || b["importance"] != "high" || b["subject"] != nil {
		t.Errorf("a part: %v", b)
	}
	if c := r.items[1]; c["subject"] != "c" || c["importance"] != "low" {
		t.Errorf("one that was never told of: %v", c)
	}
	set(ids[1]["id"], `{"importance":"low"}`)
	if r.round(); len(r.items) != 1 || r.items[0]["isRead"] != nil || r.items[0]["importance"] != "low" {
		t.Errorf("then: %v", r.items)
	}
}

func TestOddEntityDeltasAddUpToTheTruth(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.DeltaReplays(0.7, 5), sandbox.DeltaEmptyPages(3)).as(ann, "Contacts.ReadWrite")
	f := &merger{w: w.with("Prefer", "odata.maxpagesize=3"), link: "/me/contacts/delta", view: map[string]map[string]any{}}
	dice := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		list := w.get("/me/contacts?$top=100").value()
		if n%3 == 0 || len(list) == 0 {
			w.do(http.MethodPost, "/me/contacts", fmt.Sprintf(`{"givenName":"c%d"}`, n)).is(201)
		} else {
			at := "/me/contacts/" + fmt.Sprint(list[dice.IntN(len(list))]["id"])
			if n%7 == 0 {
				w.do(http.MethodDelete, at, "").is(204)
			} else {
				w.do(http.MethodPatch, at, fmt.Sprintf(`{"surname":"s%d"}`, n)).is(200)
			}
		}
		f.page()
	}
	f.round()
	f.round()
	want := map[string]map[string]any{}
	for _, c := range w.get("/me/contacts?$top=100").value() {
		want[fmt.Sprint(c["id"])] = c
	}
	if !f.shows(want, "givenName", "surname") {
		t.Errorf("delta told %v", f.view)
	}
	if strings.Contains(f.link, "skiptoken") {
		t.Errorf("the round did not end: %s", f.link)
	}
}
