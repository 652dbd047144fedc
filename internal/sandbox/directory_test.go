package sandbox_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

const directoryScopes = "User.Read.All People.Read Mail.ReadWrite Mail.Send"

func givenNames(list []map[string]any) []string {
	var found []string
	for _, e := range list {
		name, _ := e["givenName"].(string)
		found = append(found, name)
	}
	return found
}

func TestUsersAreListedFilteredAndPaged(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, directoryScopes)
	if got := givenNames(w.get("/users").is(http.StatusOK).value()); !slices.Equal(got, []string{"Ann", "Ben", "Cleo", "Dan"}) {
		t.Errorf("the users are %q", got)
	}
	got := []string{}
	pages := 0
	for link := "/users?$top=3&$select=givenName"; link != ""; pages++ {
		r := w.get(link).is(http.StatusOK)
		got = append(got, givenNames(r.value())...)
		if link = r.str("@odata.nextLink"); link != "" && !strings.Contains(link, "$skiptoken=") {
			t.Errorf("the next link is %s", link)
		}
	}
	if pages != 2 || len(got) != 4 {
		t.Errorf("%d pages have %q", pages, got)
	}
	for _, c := range []struct {
		query, header string
		want          []string
	}{
		{"$filter=startswith(displayName,'Ben')", "", []string{"Ben"}},
		{"$filter=mail eq 'cleo@contoso.example'", "", []string{"Cleo"}},
		{"$filter=givenName ne 'Ann'&$count=true", "eventual", []string{"Ben", "Cleo", "Dan"}},
		{`$search="displayName:cle"`, "eventual", []string{"Cleo"}},
		{`$search="mail:ann" OR "mail:dan"`, "eventual", []string{"Ann", "Dan"}},
		{"$orderby=displayName desc", "", []string{"Dan", "Cleo", "Ben", "Ann"}},
	} {
		r := w.with("ConsistencyLevel", c.header).get("/users?" + strings.ReplaceAll(c.query, " ", "%20")).is(http.StatusOK)
		if got := givenNames(r.value()); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.query, got, c.want)
		}
	}
	if n := w.with("ConsistencyLevel", "eventual").get("/users?$count=true&$top=1").json["@odata.count"]; n != 4.0 {
		t.Errorf("the count is %v", n)
	}
}

func TestTheDirectoryRefusesWhatNeedsItsIndex(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, directoryScopes)
	for query, code := range map[string]string{
		`$search="displayName:ann"`:                         "Request_UnsupportedQuery",
		"$filter=givenName ne 'Ann'":                        "Request_UnsupportedQuery",
		"$filter=endswith(mail,'example')":                  "Request_UnsupportedQuery",
		"$filter=startswith(mail,'a')&$orderby=displayName": "Request_UnsupportedQuery",
		"$filter=contains(displayName,'nn')":                "Request_UnsupportedQuery",
		"$select=shoeSize":                                  "Request_BadRequest",
		"$filter=shoeSize eq 'L'":                           "Request_BadRequest",
		"$orderby=shoeSize":                                 "Request_BadRequest",
		"$skip=1":                                           "Request_BadRequest",
		"$skiptoken=nonsense":                               "Request_BadRequest",
		"$top=1000":                                         "Request_BadRequest",
	} {
		r := w.get("/users?" + strings.ReplaceAll(query, " ", "%20"))
		if r.status != http.StatusBadRequest || r.code() != code {
			t.Errorf("%s: %d %s, want 400 %s", query, r.status, r.code(), code)
		}
	}
}

func TestAUserShowsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := start(t).as(ben, directoryScopes)
	me := w.get("/me").is(http.StatusOK)
	if me.str("userPrincipalName") != ben || me.json["accountEnabled"] != nil || me.str("jobTitle") == "" {
		t.Errorf("/me is %s", me.raw)
	}
	some := w.get("/users/" + ben + "?$select=accountEnabled,mail&$expand=manager($select=mail)").is(http.StatusOK)
	manager, _ := some.json["manager"].(map[string]any)
	if some.json["accountEnabled"] != true || some.json["displayName"] != nil || manager["mail"] != ann {
		t.Errorf("with $select and $expand it is %s", some.raw)
	}
	w.get("/users/"+noPerson).is(http.StatusNotFound, "Request_ResourceNotFound")
}

func TestPeopleHaveManagersAndReports(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, directoryScopes)
	m := w.get("/users/dan@contoso.example/manager").is(http.StatusOK)
	if m.str("@odata.type") != "#microsoft.graph.user" || m.str("mail") != ben {
		t.Errorf("Dan's manager is %s", m.raw)
	}
	w.get("/me/manager").is(http.StatusNotFound, "Request_ResourceNotFound")
	if got := givenNames(w.get("/me/directReports").is(http.StatusOK).value()); !slices.Equal(got, []string{"Ben", "Cleo"}) {
		t.Errorf("Ann's reports are %q", got)
	}
}

func TestAPersonCanBeRemovedWhileRequestsAreUnderWay(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Keep(5), sandbox.MailboxConcurrency(100))
	person := w.as(cleo, allMail)
	person.draft("Before", ann)
	reached := make(chan struct{})
	removed := make(chan struct{})
	w.Control(sandbox.Match{}, func(*sandbox.Request) bool {
		close(reached)
		<-removed // the mailbox is found by now
		return true
	})
	var wait sync.WaitGroup
	wait.Go(func() {
		if r, err := person.try(http.MethodPost, "/me/messages", mail("Under way", ann)); err != nil || r.status != http.StatusCreated {
			t.Errorf("the request under way: %v, %v", r, err)
		}
	})
	<-reached
	w.RemovePerson(cleo)
	close(removed)
	wait.Wait()
	person.get("/me/messages").is(http.StatusNotFound, "ErrorInvalidUser")
	w.deliver(ann, "Still alive")
}

// usersRound follows a round to its end.
func usersRound(w *world, link string) (values []map[string]any, next string) {
	w.t.Helper()
	for {
		r := w.get(link).is(http.StatusOK)
		values = append(values, r.value()...)
		if next = r.str("@odata.deltaLink"); next != "" {
			return values, next
		}
		if link = r.str("@odata.nextLink"); !strings.Contains(link, "$skiptoken=") {
			w.t.Fatalf("the next link is %s", link)
		}
	}
}

func TestUsersDeltaTellsWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, directoryScopes)
	first, link := usersRound(w, "/users/delta?$select=givenName,mail&$top=2")
	if got := givenNames(first); !slices.Equal(got, []string{"Ann", "Ben", "Cleo", "Dan"}) || !strings.Contains(link, "$deltatoken=") {
		t.Fatalf("the first round has %q and %s", got, link)
	}
	eva, err := w.AddPerson()
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(eva.UPN, "Welcome")
	gone := w.People()[2]
	if !w.RemovePerson(cleo) || w.RemovePerson(cleo) {
		t.Error("Cleo is not removed once")
	}
	second, link := usersRound(w, link)
	if len(second) != 2 {
		t.Fatalf("the second round has %v", second)
	}
	for _, e := range second {
		removed, _ := e["@removed"].(map[string]any)
		switch e["id"] {
		case eva.ID:
			if e["mail"] != eva.UPN || removed != nil {
				t.Errorf("Eva is %v", e)
			}
		case gone.ID:
			if removed["reason"] != "changed" {
				t.Errorf("Cleo is %v", e)
			}
		}
	}
	if third, _ := usersRound(w, link); len(third) > 0 {
		t.Errorf("the third round has %v", third)
	}
	w.as(ann, "Mail.Read Mail.Read.Shared").get("/users/"+cleo+"/messages").is(http.StatusNotFound, "ErrorInvalidUser")
	if got := w.People(); len(got) != 4 || got[3] != eva {
		t.Errorf("the people are %v", got)
	}
}

func TestUsersDeltaBeginsWithNowAndFollowsSome(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, directoryScopes)
	none, latest := usersRound(w, "/users/delta?$deltatoken=latest")
	if len(none) > 0 {
		t.Errorf("latest tells of %v", none)
	}
	people := w.People()
	filter := url.QueryEscape("id eq '" + people[1].ID + "' or id eq '" + people[3].ID + "'")
	some, link := usersRound(w, "/users/delta?$filter="+filter)
	if got := givenNames(some); !slices.Equal(got, []string{"Ben", "Dan"}) {
		t.Errorf("with a filter: %q", got)
	}
	w.RemovePerson(cleo)
	w.RemovePerson(people[3].UPN)
	if got, _ := usersRound(w, link); len(got) != 1 || got[0]["id"] != people[3].ID {
		t.Errorf("with a filter, later: %v", got)
	}
	if got, _ := usersRound(w, latest); len(got) != 2 {
		t.Errorf("since latest: %v", got)
	}
	w.get("/users/delta?$filter="+url.QueryEscape("mail eq 'a'")).is(http.StatusBadRequest, "Request_UnsupportedQuery")
	w.get("/users/delta?$orderby=mail").is(http.StatusBadRequest, "Request_UnsupportedQuery")
	w.get("/users/delta?$deltatoken=" + w.UsersDelta(6*24*time.Hour)).is(http.StatusOK)
	w.get("/users/delta?$deltatoken="+w.UsersDelta(8*24*time.Hour)).is(http.StatusGone, "SyncStateNotFound")
	w.ExpireDelta("")
	w.get(latest).is(http.StatusGone, "SyncStateNotFound")
}

func TestWhoWasAddedAndRemovedStaysSoAfterARestart(t *testing.T) {
	t.Parallel()
	for name, slack := range map[string]int64{"from the journal": 1 << 30, "from a snapshot": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := start(t, sandbox.StoreDir(dir), sandbox.JournalSlack(slack))
			eva, err := w.AddPerson()
			if err != nil {
				t.Fatal(err)
			}
			w.RemovePerson(ben)
			if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, Subject: "Large", Body: strings.Repeat("More. ", 400_000)}); err != nil {
				t.Fatal(err)
			}
			before := w.People()
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			again := start(t, sandbox.StoreDir(dir))
			if got := again.People(); !slices.Equal(got, before) || !slices.Contains(got, eva) {
				t.Errorf("the people are %v, before %v", got, before)
			}
			if _, err := again.Token(ben, "Mail.Read"); err == nil {
				t.Error("Ben has a token")
			}
			finn, err := again.AddPerson()
			if err != nil || finn.Given != "Finn" {
				t.Errorf("the next person is %v, %v", finn, err)
			}
		})
	}
}

func TestPeopleAreThoseWithWhomOneWrites(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, directoryScopes)
	for range 2 {
		w.do(http.MethodPost, "/me/sendMail", sendMail("Hello", cleo)).is(http.StatusAccepted)
	}
	if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, From: "zed@fabrikam.example", Subject: "From outside"}); err != nil {
		t.Fatal(err)
	}
	list := w.get("/me/people").is(http.StatusOK).value()
	if list[0]["displayName"] != w.People()[2].Name() || list[0]["userPrincipalName"] != cleo {
		t.Errorf("first is %v", list[0])
	}
	if kind, _ := list[1]["personType"].(map[string]any); kind["subclass"] != "ImplicitContact" {
		t.Errorf("second is %v", list[1])
	}
	if got := givenNames(w.get(`/me/people?$search="dan"`).is(http.StatusOK).value()); !slices.Equal(got, []string{"Dan"}) {
		t.Errorf("$search finds %q", got)
	}
	groups := w.get("/me/people?$filter=" + url.QueryEscape("personType/class eq 'Group'")).is(http.StatusOK).value()
	if len(groups) != len(w.Groups()) {
		t.Errorf("$filter finds %v", groups)
	}
	if got := w.get("/me/people?$top=1&$select=displayName").is(http.StatusOK); len(got.value()) != 1 || got.str("@odata.nextLink") == "" {
		t.Errorf("a page of one is %s", got.raw)
	}
}
