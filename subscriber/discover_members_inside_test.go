package subscriber

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
)

var theMembers = Feed{Subscription: "s", Mailbox: "-", Part: partMembers}

func TestMembersJoinAndLeave(t *testing.T) {
	t.Parallel()
	w := newFoldersWorld()
	w.users = map[string]string{"id-1": "Ann@contoso.example", "id-2": "bob@contoso.example", "id-3": "cleo@contoso.example"}
	s := w.worker(t, Subscription{Members: Members{Group: "group-id"}, Path: map[string]string{"mailFolder-id": "inbox"}})
	w.look(t, s, theMembers)
	w.expect(t, "ann@contoso.example", "bob@contoso.example", "cleo@contoso.example")
	if req := w.asked[0]; req.Mailbox != "group-id" || req.Operation.ID != "groups.group.listMembers" || req.Query["$filter"] != "" {
		t.Errorf("asked by %+v", req)
	}
	ann := Feed{Subscription: "s", Mailbox: "ann@contoso.example", Part: Part("inbox")}
	reg := s.registered(t.Context(), ann, w.queue[ann])
	if reg.Mailbox != "id-1" || reg.Container != "" || reg.New || reg.Path != nil {
		t.Errorf("a member's feed has %+v", reg)
	}

	// A member has left only when it is missing twice, and keeps its name.
	delete(w.users, "id-2")
	w.users["id-1"] = "ann.married@contoso.example"
	w.users["id-4"] = "ann@contoso.example" // the name that another one has had
	w.look(t, s, theMembers)
	w.expect(t, "ann@contoso.example", "bob@contoso.example", "cleo@contoso.example", "id-4")
	w.look(t, s, theMembers)
	w.expect(t, "ann@contoso.example", "cleo@contoso.example", "id-4")
	delete(w.users, "id-3")
	w.look(t, s, theMembers)
	w.users["id-3"], w.users["id-2"] = "cleo@contoso.example", "bob@contoso.example"
	w.look(t, s, theMembers)
	delete(w.users, "id-3")
	w.look(t, s, theMembers)
	w.expect(t, "ann@contoso.example", "bob@contoso.example", "cleo@contoso.example", "id-4")
}

func TestMembersThatVanishTogetherAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFoldersWorld()
		all := map[string]string{"id-1": "a@contoso.example", "id-2": "b@contoso.example", "id-3": "c@contoso.example", "id-4": "d@contoso.example"}
		w.users = maps.Clone(all)
		s := w.worker(t, Subscription{Members: Members{Group: "group-id"}, Path: map[string]string{"mailFolder-id": "inbox"}})
		everybody := []string{"a@contoso.example", "b@contoso.example", "c@contoso.example", "d@contoso.example"}
		look := func(after time.Duration, expected ...string) {
			t.Helper()
			<-time.After(after)
			w.look(t, s, theMembers)
			w.expect(t, expected...)
		}
		look(0, everybody...)
		w.users = map[string]string{"id-4": "d@contoso.example"}
		look(time.Minute, everybody...)
		look(time.Minute, everybody...)
		look(exodusPatience-2*time.Minute, everybody...)
		w.users = maps.Clone(all) // it was a mistake
		look(time.Minute, everybody...)
		w.users = nil
		look(time.Minute, everybody...)
		look(exodusPatience-time.Second, everybody...)
		look(time.Second) // it was none
	})
}

func TestMembersByFilterHaveTheirFoldersFollowed(t *testing.T) {
	t.Parallel()
	w := newFoldersWorld()
	w.users = map[string]string{"id-1": "ann@contoso.example", "id-2": "bob@contoso.example"}
	w.box("id-1").add("Projects", "root")
	w.box("id-2")
	sub := Subscription{Members: Members{Users: "startsWith(mail,'a')"}, Folders: []string{"Projects", "inbox"}}
	s := w.worker(t, sub)
	w.look(t, s, theMembers)
	if req := w.asked[0]; req.Mailbox != "-" || req.Query["$filter"] != sub.Members.Users || req.Query["$count"] != "true" || req.Headers["ConsistencyLevel"] != "eventual" {
		t.Errorf("asked by %+v", req)
	}
	ann := Feed{Subscription: "s", Mailbox: "ann@contoso.example", Part: partFolders}
	bob := Feed{Subscription: "s", Mailbox: "bob@contoso.example", Part: partFolders}
	w.look(t, s, ann)
	w.look(t, s, bob)
	w.expect(t, "ann@contoso.example:posteingang", "ann@contoso.example:projects", "bob@contoso.example:posteingang")
	if len(s.roster.all()) != 3 || s.roster.len() != 3 {
		t.Errorf("%d feeds known", s.roster.len())
	}

	// A member that leaves takes its folders' feeds along.
	delete(w.users, "id-1")
	w.look(t, s, theMembers)
	w.look(t, s, theMembers)
	if out := w.look(t, s, ann); out.result != resultRetired {
		t.Fatalf("outcome %+v", out)
	}
	w.expect(t, "bob@contoso.example:posteingang")
	for _, id := range []string{"Projects", "Posteingang"} {
		feed := Feed{Subscription: "s", Mailbox: ann.Mailbox, Part: Part(w.box("id-1").folder(t, id))}
		if out := w.look(t, s, feed); out.result != resultRetired {
			t.Errorf("%s: %+v", id, out)
		}
	}
	if len(w.queue) != 3 {
		t.Errorf("%d feeds in the queue", len(w.queue))
	}

	// And brings them along when it comes back: nothing in them counts as new.
	w.users["id-1"] = "ann@contoso.example"
	w.box("id-1").add("Later", w.box("id-1").folder(t, "Projects"))
	w.look(t, s, theMembers)
	w.look(t, s, ann)
	w.expect(t, "ann@contoso.example:posteingang", "ann@contoso.example:projects", "bob@contoso.example:posteingang")
	for feed, data := range w.queue {
		if reg := s.registered(t.Context(), feed, data); reg.New || reg.Retire {
			t.Errorf("%s: %+v", feed, reg)
		}
	}
}

func TestMembersWithoutAMailboxRest(t *testing.T) {
	t.Parallel()
	w := newFoldersWorld()
	w.users = map[string]string{"id-1": "ann@contoso.example", "id-2": "room@contoso.example"}
	w.box("id-2").missing = true
	s := w.worker(t, Subscription{Members: Members{Group: "g"}, Folders: []string{"**"}})
	w.look(t, s, theMembers)
	out := w.look(t, s, Feed{Subscription: "s", Mailbox: "room@contoso.example", Part: partFolders})
	if out.result != resultResting || out.after < restWait/2 {
		t.Errorf("outcome %+v", out)
	}
	w.look(t, s, Feed{Subscription: "s", Mailbox: "ann@contoso.example", Part: partFolders})
	w.expect(t, "ann@contoso.example:posteingang")
	w.box("id-2").missing = false
	w.look(t, s, Feed{Subscription: "s", Mailbox: "room@contoso.example", Part: partFolders})
	w.expect(t, "ann@contoso.example:posteingang", "room@contoso.example:posteingang")

	// A mailbox that the configuration names is a mistake and is shown as one.
	w.box("Ann").missing = true
	s = w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Folders: []string{"**"}})
	if _, err := w.deliver(t.Context(), s, annsFolders); fault.Of(err).Code != "MailboxNotEnabledForRESTAPI" {
		t.Errorf("a configured mailbox: %v", err)
	}
	_, rests := rest(registration{Mailbox: "id-1"}, fault.New(fault.Retry, "busy").WithCode("ResourceNotFound"))
	if _, other := rest(registration{Mailbox: "id-1"}, fault.New(fault.Poison, "no").WithCode("ErrorAccessDenied")); rests || other {
		t.Error("other failures rest, too")
	}
}

func TestAListThatEndsHalfWayChangesNothing(t *testing.T) {
	t.Parallel()
	w := newFoldersWorld()
	for i := range 9 {
		w.users[fmt.Sprint("id-", i)] = fmt.Sprint("u", i, "@contoso.example")
	}
	s := w.worker(t, Subscription{Members: Members{Group: "g"}})
	w.look(t, s, theMembers)
	for range 3 {
		pages := w.pages
		w.crash = func() crashKind {
			if w.pages >= pages+2 {
				return crashBefore
			}
			return sound
		}
		if _, err := w.deliver(t.Context(), s, theMembers); err == nil {
			t.Fatal("half a list is taken for all of it")
		}
		w.crash, w.dead = nil, false
	}
	w.look(t, s, theMembers)
	if len(w.found(t)) != 9 {
		t.Errorf("feeds %q", w.found(t))
	}
	s.source = sourceFunc(func(Request, func([]byte) error) (Page, error) { return Page{Next: "round"}, nil })
	if _, err := w.deliver(t.Context(), s, theMembers); fault.Of(err).Code != "page_loop" {
		t.Errorf("pages in a circle: %v", err)
	}
}

func TestNamesOfMembersStandInSubjects(t *testing.T) {
	t.Parallel()
	for upn, want := range map[string]string{
		"Ann@Contoso.example": "ann@contoso.example", "guest_x.com#EXT#@contoso.example": "guest_x.com#ext#@contoso.example",
		"": "id", "a b@c": "id", "a..b@c": "id", "a.*@c": "id", ">": "id", "K\u212A@c": "id", "me": "id", "-": "id", ".a": "id", "a\tb": "id",
	} {
		if got := mailboxName(memberItem{ID: "ID", UPN: upn}); got != want {
			t.Errorf("%q is named %q, want %q", upn, got, want)
		}
	}
}

func TestMembersThatAreNoUsers(t *testing.T) {
	t.Parallel()
	w := newFoldersWorld()
	s := w.worker(t, Subscription{Members: Members{Group: "g"}})
	s.source = sourceFunc(func(_ Request, emit func([]byte) error) (Page, error) {
		for _, item := range []string{
			`{"@odata.type":"#microsoft.graph.group","id":"g2"}`, `{"@odata.type":"#microsoft.graph.user","id":"id-1","userPrincipalName":"a@b"}`,
			`{"@odata.type":"#microsoft.graph.orgContact","id":"c"}`, `{"id":""}`,
		} {
			if err := emit([]byte(item)); err != nil {
				return Page{}, err
			}
		}
		return Page{}, nil
	})
	w.look(t, s, theMembers)
	w.expect(t, "a@b")
	s.source = sourceFunc(func(_ Request, emit func([]byte) error) (Page, error) { return Page{}, emit([]byte(`[`)) })
	if _, err := w.deliver(t.Context(), s, theMembers); fault.Of(err).Code != "bad_page" {
		t.Errorf("a member that is no object: %v", err)
	}
}

func TestTheRosterKnowsSiblings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "inbox", "Projects/**")
		inbox := Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.known["inbox"])}
		siblings, err := s.roster.siblings(t.Context(), inbox)
		if err != nil || len(siblings) != 2 || slices.Contains(siblings, inbox) {
			t.Fatalf("siblings %v, %v", siblings, err)
		}
		of, ok, err := s.roster.home(t.Context(), inbox, b.folder(t, "A"))
		if want := (Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.folder(t, "A"))}); !ok || of != want || err != nil {
			t.Errorf("home %v, %t, %v", of, ok, err)
		}
		if _, ok, err := s.roster.home(t.Context(), inbox, b.folder(t, "Other")); ok || err != nil {
			t.Errorf("a folder that is not read has a feed: %v", err)
		}
		// What is cached grows old.
		late := b.add("B", b.folder(t, "Projects"))
		w.look(t, s, annsFolders)
		if _, ok, _ := s.roster.home(t.Context(), inbox, late); ok {
			t.Error("the cursor is read each time")
		}
		time.Sleep(viewLife)
		if _, ok, _ := s.roster.home(t.Context(), inbox, late); !ok {
			t.Error("a folder that joined is not known")
		}
		time.Sleep(viewLife)
		w.dead = true
		if _, err := s.roster.siblings(t.Context(), inbox); err == nil {
			t.Error("a stream that does not answer has siblings")
		}
	})
}

func TestTheRosterForgetsWhatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, b, s := discovered(t, "**")
		for feed := range w.queue {
			w.look(t, s, feed)
		}
		if n := s.roster.len(); n != 5 {
			t.Fatalf("%d feeds known", n)
		}
		inbox := Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.known["inbox"])}
		reg := s.registered(t.Context(), inbox, w.queue[inbox])
		_, st, _ := s.roster.find(inbox, reg, time.Now())
		time.Sleep(rosterLife - time.Second)
		if _, same, _ := s.roster.find(inbox, reg, time.Now()); same != st {
			t.Error("a feed that comes back is forgotten")
		}
		time.Sleep(rosterSweep)
		w.look(t, s, annsFolders)
		if n := s.roster.len(); n != 2 {
			t.Errorf("%d feeds known after an hour", n)
		}
	})
}

func TestWhatIsNotMeantIsAStranger(t *testing.T) {
	t.Parallel()
	w, b, s := discovered(t, "**")
	inbox := Feed{Subscription: "s", Mailbox: "ann", Part: Part(b.known["inbox"])}
	good := s.registered(t.Context(), inbox, w.queue[inbox])
	if _, _, ok := s.roster.find(inbox, good, time.Now()); !ok {
		t.Fatal("a found feed is a stranger")
	}
	other := good
	other.Container = "x"
	for name, ok := range map[string]bool{
		"another container":             third(s.roster.find(inbox, other, time.Now())),
		"without data":                  third(s.roster.find(inbox, registration{}, time.Now())),
		"a mailbox that is not named":   third(s.roster.find(Feed{Subscription: "s", Mailbox: "bob", Part: inbox.Part}, good, time.Now())),
		"a subscription that is not":    third(s.roster.find(Feed{Subscription: "z", Mailbox: "ann", Part: inbox.Part}, good, time.Now())),
		"a member where there are none": third(s.roster.find(Feed{Subscription: "s", Mailbox: "ann", Part: "-"}, registration{Mailbox: "id"}, time.Now())),
	} {
		if ok {
			t.Errorf("%s is no stranger", name)
		}
	}
	s = w.worker(t, Subscription{Mailboxes: []string{"Ann"}, Path: map[string]string{"mailFolder-id": "inbox"}})
	if third(s.roster.find(inbox, good, time.Now())) {
		t.Error("a found feed of a subscription without patterns is no stranger")
	}
}

func third(_ *Subscription, _ *state, ok bool) bool { return ok }
