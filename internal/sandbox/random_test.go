package sandbox_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// Somebody does this and that at random, over all resources. Whatever it was, the
// journal gives the same state again. random_delta_test.go follows it by delta.

// growth is where things can be made: in the objects of a collection ("": in the
// mailbox), a collection.
var growth = []struct{ of, collection string }{
	{"", "messages"},
	{"", "mailFolders"},
	{"mailFolders", "childFolders"},
	{"childFolders", "childFolders"},
	{"mailFolders", "messages"},
	{"childFolders", "messages"},
	{"messages", "attachments"},
	{"messages", "extensions"},
	{"", "mailFolders/inbox/messageRules"},
	{"", "inferenceClassification/overrides"},
	{"", "outlook/masterCategories"},
	{"", "events"},
	{"", "events"},
	{"", "calendars"},
	{"calendars", "events"},
	{"", "calendarGroups"},
	{"calendarGroups", "calendars"},
	{"", "calendar/calendarPermissions"},
	{"events", "attachments"},
	{"events", "extensions"},
	{"", "contacts"},
	{"", "contacts"},
	{"", "contactFolders"},
	{"contactFolders", "contacts"},
	{"contactFolders", "childFolders"},
	{"contacts", "extensions"},
	{"", "todo/lists"},
	{"lists", "tasks"},
	{"lists", "tasks"},
	{"lists", "extensions"},
	{"tasks", "checklistItems"},
	{"tasks", "linkedResources"},
	{"tasks", "attachments"},
	{"tasks", "extensions"},
	{"", "settings/workHoursAndLocations/occurrences"},
	{"", "settings/workHoursAndLocations/recurrences"},
	{"group", "conversations"},
	{"group", "threads"},
	{"group", "events"},
	{"place", "places"},
}

// object is something that was made.
type object struct{ path, collection string }

// actor does things at random.
type actor struct {
	*world
	rng     *rand.Rand
	objects []object
	n       int
	added   []string // people
}

func newActor(w *world, seed uint64) *actor {
	all := w.as(ben, strings.Join(sandbox.AllPermissions(), " ")+" "+strings.Join(walkPermissions, " "))
	a := &actor{world: all, rng: rand.New(rand.NewPCG(seed, 1))}
	a.objects = []object{{"/me", ""}, {"/groups/" + w.Groups()[0].ID, "group"}, {"", "place"}, {"/me/mailFolders/archive", "mailFolders"}}
	return a
}

// pick chooses an object of a collection, or of any.
func (a *actor) pick(ok func(object) bool) (object, bool) {
	var fit []object
	for _, o := range a.objects {
		if ok(o) {
			fit = append(fit, o)
		}
	}
	if len(fit) == 0 {
		return object{}, false
	}
	return fit[a.rng.IntN(len(fit))], true
}

// step does one thing. What Graph refuses is none.
func (a *actor) step() {
	a.t.Helper()
	a.n++
	switch d := a.rng.IntN(20); {
	case d < 9:
		a.make()
	case d < 14:
		a.change()
	case d < 16:
		a.remove()
	case d < 17:
		a.move()
	case d < 18:
		a.deliver(ben, fmt.Sprint("mail ", a.n))
	default:
		a.oddJob()
	}
}

// ask sends a request that may be refused, but not break anything.
func (a *actor) ask(method, target, body string) *reply {
	a.t.Helper()
	r := a.do(method, target, body)
	if r.status >= 500 {
		a.t.Fatalf("%s %s %s: %d %s", method, target, body, r.status, cutRaw(r.raw))
	}
	return r
}

func (a *actor) make() {
	a.t.Helper()
	at := growth[a.rng.IntN(len(growth))]
	in, ok := a.pick(func(o object) bool { return o.collection == at.of })
	if !ok {
		return
	}
	name := at.collection[strings.LastIndexByte(at.collection, '/')+1:]
	body := nouns[name].create
	if name == "events" && a.rng.IntN(3) == 0 {
		body = aSeries
	}
	// Names differ, and are changed to something else again later.
	body = regexp.MustCompile(`("(?:displayName|name|subject|title|topic|givenName|extensionName)":")`).ReplaceAllString(body, fmt.Sprintf(`${1}N%d `, a.n))
	r := a.ask(http.MethodPost, in.path+"/"+at.collection, body)
	if id := r.str("id"); r.status == http.StatusCreated && id != "" && !strings.Contains(id, "/") {
		a.objects = append(a.objects, object{in.path + "/" + at.collection + "/" + id, name})
	}
}

func (a *actor) change() {
	o, ok := a.pick(func(o object) bool { return nouns[o.collection].update != "" })
	if !ok {
		return
	}
	method, body := http.MethodPatch, nouns[o.collection].update
	if o.collection == "occurrences" || o.collection == "recurrences" {
		method = http.MethodPut
	}
	if a.rng.IntN(2) == 0 {
		body = strings.Replace(body, `":"`, fmt.Sprintf(`":"%d `, a.n), 1)
	}
	a.ask(method, o.path, body)
}

func (a *actor) remove() {
	o, ok := a.pick(func(o object) bool { return strings.Count(o.path, "/") > 2 && o.collection != "group" })
	if ok {
		a.ask(http.MethodDelete, o.path, "")
		a.prune()
	}
}

// prune forgets what is not there any more.
func (a *actor) prune() {
	a.objects = slices.DeleteFunc(a.objects, func(o object) bool {
		return strings.Count(o.path, "/") > 2 && sandbox.CanGet(o.path) && a.ask(http.MethodGet, o.path, "").status == http.StatusNotFound
	})
}

func (a *actor) move() {
	what, ok := a.pick(func(o object) bool {
		return o.collection == "messages" || (o.collection == "mailFolders" || o.collection == "childFolders") && strings.Contains(o.path, "/mailFolders/")
	})
	if !ok {
		return
	}
	to := []string{"archive", "inbox", "deleteditems"}[a.rng.IntN(3)]
	if o, ok := a.pick(func(o object) bool { return o.collection == "mailFolders" }); ok {
		to = o.path[strings.LastIndexByte(o.path, '/')+1:]
	}
	r := a.ask(http.MethodPost, what.path+"/"+[]string{"move", "copy"}[a.rng.IntN(2)], `{"destinationId":"`+to+`"}`)
	if r.status == http.StatusCreated && what.collection == "messages" {
		a.objects = append(a.objects, object{"/me/messages/" + r.str("id"), "messages"})
	}
	a.prune()
}

// oddJob does what has no collection.
func (a *actor) oddJob() {
	event, ok := a.pick(func(o object) bool { return o.collection == "events" })
	message, ok2 := a.pick(func(o object) bool { return o.collection == "messages" })
	task, ok3 := a.pick(func(o object) bool { return o.collection == "tasks" })
	switch d := a.rng.IntN(12); {
	case d == 0:
		a.ask(http.MethodPatch, "/me/mailboxSettings", fmt.Sprintf(`{"automaticRepliesSetting":{"status":"alwaysEnabled","internalReplyMessage":"Away %d."}}`, a.n))
	case d == 1:
		p := anImage()
		a.send(request{method: http.MethodPut, target: "/me/photo/$value", body: p.body, header: p.header})
	case d == 2:
		p, err := a.AddPerson()
		if err != nil {
			a.t.Fatal(err)
		}
		a.added = append(a.added, p.UPN)
	case d == 3 && len(a.added) > 0:
		a.RemovePerson(a.added[0])
		a.added = a.added[1:]
	case d == 4:
		w := a.as(ann, "Calendars.ReadWrite")
		w.do(http.MethodPost, "/me/events", strings.ReplaceAll(strings.Replace(aMeeting, "Review", fmt.Sprint("Invited ", a.n), 1), "cleo", "ben")).is(http.StatusCreated)
	case d == 5 && ok:
		a.ask(http.MethodPost, event.path+"/cancel", `{"comment":"Sorry."}`)
		a.prune()
	case d == 6 && ok:
		a.changeInstance(event)
	case d == 7 && ok2:
		a.ask(http.MethodPost, message.path+"/createReply", "")
	case d == 8 && ok2:
		a.ask(http.MethodPost, message.path+"/send", "")
		a.prune()
	case d == 9:
		a.ask(http.MethodPost, "/me/sendMail", sendMail(fmt.Sprint("sent ", a.n), ben, cleo))
	case d == 10 && ok3:
		a.ask(http.MethodPatch, task.path, `{"status":"completed"}`)
	case d == 11:
		for _, m := range a.get("/me/events?$top=3").value() {
			a.ask(http.MethodPost, "/me/events/"+fmt.Sprint(m["id"])+"/accept", `{"sendResponse":true}`)
		}
	}
}

func (a *actor) changeInstance(event object) {
	r := a.ask(http.MethodGet, event.path+"/instances?"+walkWindow, "")
	if r.status != http.StatusOK || len(r.value()) == 0 {
		return
	}
	id := fmt.Sprint(r.value()[a.rng.IntN(len(r.value()))]["id"])
	at := event.path[:strings.LastIndexByte(event.path, '/')+1]
	if a.rng.IntN(2) == 0 {
		a.ask(http.MethodDelete, at+id, "")
		return
	}
	a.ask(http.MethodPatch, at+id, fmt.Sprintf(`{"subject":"Moved %d","start":{"dateTime":"2030-05-20T%02d:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-20T23:30:00","timeZone":"UTC"}}`, a.n, a.rng.IntN(22)))
}

// tokens are in every link of a delta, and may be sealed anew.
var tokens = regexp.MustCompile(`\$(skip|delta)token=[^"]*`)

// dump is every answer about everything. The requests that were refused are in it,
// too, without what differs in them.
func (a *actor) dump() map[string]string {
	a.t.Helper()
	all := map[string]string{}
	look := func(target string) {
		r := a.ask(http.MethodGet, target, "")
		text := tokens.ReplaceAllString(strings.ReplaceAll(string(r.raw), a.URL(), "URL"), "TOKEN")
		if r.status >= 400 {
			text = fmt.Sprint(r.status, r.code())
		}
		all[target] = text
	}
	for _, target := range worldViews(a.Groups()[0].ID) {
		look(target)
	}
	for _, o := range a.objects {
		look(cmp.Or(o.path, "/places/microsoft.graph.room"))
		switch o.collection {
		case "messages", "attachments":
			look(o.path + "/$value")
		}
	}
	all["effects"], all["mailboxes"] = mustJSON(a.Effects()), mustJSON(a.Mailboxes())
	return all
}

// compare demands that another sandbox answers the same.
func (a *actor) compare(what string, dir string, want map[string]string, opts ...sandbox.Option) {
	a.t.Helper()
	s, err := sandbox.New(append(opts, sandbox.StoreDir(dir))...)
	if err != nil {
		a.t.Fatalf("%s: %v", what, err)
	}
	defer s.Close()
	if err := s.Start(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	w := *a.world
	w.Sandbox = s
	b := &actor{world: &w, objects: a.objects}
	got := b.dump()
	for _, target := range slices.Sorted(maps.Keys(want)) {
		if got[target] != want[target] {
			a.t.Errorf("%s: %s answers\n%s\nwas\n%s", what, target, differ(got[target], want[target]), differ(want[target], got[target]))
			break
		}
	}
}

// differ is the part of a text where it differs from another.
func differ(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return a[max(0, i-200):min(len(a), i+200)]
}

// copyStore is what a kill would leave.
func copyStore(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "sandbox.journal"))
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "sandbox.journal"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestWhateverWasDoneTheJournalGivesTheSameStateAgain(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			opts := []sandbox.Option{sandbox.Seed(seed + 1), sandbox.MailboxConcurrency(100)}
			if seed%2 == 1 {
				opts = append(opts, sandbox.JournalSlack(1)) // compacted again and again
			}
			a := newActor(open(t, dir, opts...), seed)
			for n := range 160 {
				a.step()
				if n%80 != 79 {
					continue
				}
				want, killed := a.dump(), copyStore(t, dir)
				a.compare(fmt.Sprint("killed after ", n), killed, want, opts...)
				a.compare("opened again, from a snapshot", killed, want, opts...)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestManyAtOnceOnOneMailbox is for the race detector, and for locks that would
// wait for each other.
func TestManyAtOnceOnOneMailbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, dir, sandbox.MailboxConcurrency(100), sandbox.Keep(30), sandbox.JournalSlack(1))
	made := make(chan []object, 4)
	t.Run("all", func(t *testing.T) {
		for seed := range uint64(cap(made)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				own := *w
				own.t = t
				a := newActor(&own, seed+200)
				for n := range 40 {
					a.step()
					if n%20 == 0 {
						a.dump()
					}
				}
				made <- a.objects
			})
		}
	})
	a := newActor(w, 0)
	for range cap(made) {
		a.objects = append(a.objects, (<-made)[4:]...)
	}
	a.compare("opened again", copyStore(t, dir), a.dump(), sandbox.Keep(30))
}
