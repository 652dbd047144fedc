package sandbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func (w *world) search(text string) *reply {
	w.t.Helper()
	return w.get("/me/messages?$select=subject&$search=" + url.QueryEscape(text))
}

func searchable(t *testing.T, opts ...sandbox.Option) *world {
	t.Helper()
	w := start(t, opts...)
	for _, m := range []sandbox.Mail{
		{From: "irene@fabrikam.example", Subject: "Pizza party", Body: "We meet at nine."},
		{From: "igor@fabrikam.example", Subject: "Budget", Body: "<p>The <b>pizza</b> budget is <i>fixed</i>.</p><style>beer{}</style>", HTML: true},
		{From: "irene@fabrikam.example", Subject: "Re: Budget 2026", Body: "Party after the quarterly close"},
	} {
		m.To = []string{ann}
		if _, err := w.Deliver(m); err != nil {
			t.Fatal(err)
		}
	}
	w.do(http.MethodPost, "/me/messages", `{"subject":"Draft for Ben","importance":"high","body":{"contentType":"text","content":"secret plan"},
		"toRecipients":[{"emailAddress":{"name":"Ben","address":"ben@contoso.example"}}],
		"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"plans.txt","contentBytes":"aGVsbG8="}]}`).is(201)
	return w
}

func TestSearchReadsKQL(t *testing.T) {
	t.Parallel()
	w := searchable(t)
	for text, want := range map[string][]string{
		`"pizza"`:                       {"Budget", "Pizza party"},
		`pizza`:                         {"Budget", "Pizza party"},
		`"pizza party"`:                 {"Pizza party"},
		`"\"pizza party\""`:             {"Pizza party"},
		`"party pizza"`:                 {"Pizza party"},
		`"\"party pizza\""`:             {},
		`"subject:pizza"`:               {"Pizza party"},
		`"body:pizza"`:                  {"Budget"},
		`"beer"`:                        {},
		`"from:irene"`:                  {"Re: Budget 2026", "Pizza party"},
		`"from:irene@fabrikam.example"`: {"Re: Budget 2026", "Pizza party"},
		`"from:irene AND budget"`:       {"Re: Budget 2026"},
		`"from:irene budget"`:           {"Re: Budget 2026"},
		`"from:irene NOT budget"`:       {"Pizza party"},
		`"from:igor OR subject:party"`:  {"Budget", "Pizza party"},
		`"(from:igor OR subject:party) AND NOT body:nine"`: {"Budget"},
		`"quart*"`:                         {"Re: Budget 2026"},
		`"quart"`:                          {},
		`"subject:\"budget 2026\""`:        {"Re: Budget 2026"},
		`"to:ben"`:                         {"Draft for Ben"},
		`"recipients:ben@contoso.example"`: {"Draft for Ben"},
		`"participants:igor"`:              {"Budget"},
		`"hasAttachments:true"`:            {"Draft for Ben"},
		`"hasAttachments:false budget"`:    {"Re: Budget 2026", "Budget"},
		`"attachment:plans.txt"`:           {"Draft for Ben"},
		`"importance:high"`:                {"Draft for Ben"},
		`"received:today from:igor"`:       {"Budget"},
		`"received>=2020-01-01 from:igor"`: {"Budget"},
		`"received<1/1/2020"`:              {},
		`"sent:2020-01-01..2020-12-31"`:    {},
		`"size<100000 from:igor"`:          {"Budget"},
		`"size>100000"`:                    {},
		`"kind:email from:igor"`:           {"Budget"},
	} {
		got := w.search(text).is(200).subjects()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s found %v, want %v", text, got, want)
		}
	}
	for _, bad := range []string{`subject:pizza`, `"(pizza"`, `"pizza AND"`, `"AND pizza"`, `"subject:\"open"`, `"received:soon"`, `"hasAttachments:maybe"`, `"size:big"`, `""`} {
		w.search(bad).is(400, "BadRequest")
	}
}

func TestSearchComesNewestFirstInPagesAndAlone(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.SearchLimit(5))
	for n := range 8 {
		w.deliver(ann, fmt.Sprint("word ", n))
	}
	r := w.get(`/me/messages?$search="word"&$top=2&$select=subject`).is(200)
	var got []string
	for pages := 1; ; pages++ {
		got = append(got, r.subjects()...)
		next := r.str("@odata.nextLink")
		if next == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		if !strings.Contains(next, "$skiptoken=") || strings.Contains(next, "$skip=") {
			t.Fatalf("nextLink %s", next)
		}
		r = w.get(next).is(200)
	}
	if want := []string{"word 7", "word 6", "word 5", "word 4", "word 3"}; !slices.Equal(got, want) {
		t.Errorf("found %v", got)
	}
	w.do(http.MethodPost, "/me/messages/"+fmt.Sprint(w.get("/me/messages").value()[0]["id"])+"/move", `{"destinationId":"archive"}`).is(201)
	if got := w.get(`/me/mailFolders/archive/messages?$search="word"&$select=subject`).is(200).subjects(); len(got) != 1 {
		t.Errorf("in a folder: %v", got)
	}
	for q, code := range map[string]string{
		"$filter=isRead%20eq%20false": "SearchWithFilter", "$orderby=receivedDateTime": "SearchWithOrderBy", "$count=true": "SearchWithCount",
		"$skiptoken=nonsense": "ErrorInvalidUrlQuery",
	} {
		w.get(`/me/messages?$search="word"&`+q).is(400, code)
	}
	c := w.as(ann, "Contacts.Read Calendars.Read")
	c.get(`/me/contacts?$search="x"`).is(400, "ErrorInvalidUrlQuery")
	c.get(`/me/events?$search="x"`).is(400, "ErrorInvalidUrlQuery")
}

func TestListPagesShift(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 4 {
		w.deliver(ann, fmt.Sprint("m", n))
	}
	first := w.get("/me/mailFolders/inbox/messages?$top=2&$select=subject").is(200)
	w.deliver(ann, "new")
	if got := w.get(first.str("@odata.nextLink")).is(200).subjects(); !slices.Equal(got, []string{"m2", "m1"}) {
		t.Errorf("what arrives while a list is paged makes it repeat: %v", got)
	}
	if got := w.get("/me/messages?$top=5000&includeHiddenMessages=true").is(200).value(); len(got) != 5 {
		t.Errorf("$top over 1000: %d", len(got))
	}
}
