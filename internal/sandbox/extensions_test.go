package sandbox_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	extensionID = "Microsoft.OutlookServices.OpenTypeExtension."
	referral    = `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","companyName":"Wingtip Toys","dealValue":500050,"tags":["a","b"]}`
)

func TestAnItemHasOpenExtensions(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, "Contacts.ReadWrite Mail.ReadWrite Calendars.ReadWrite Tasks.ReadWrite")
	list := w.list("Garden")
	items := map[string]string{
		"contact": "/me/contacts/" + w.made("/me/contacts", `{"givenName":"Ann"}`).str("id"),
		"message": "/me/messages/" + w.draft("Hello"),
		"event": "/me/events/" + w.made("/me/events", `{"subject":"x","start":{"dateTime":"2030-01-01T10:00:00","timeZone":"UTC"},
			"end":{"dateTime":"2030-01-01T11:00:00","timeZone":"UTC"}}`).str("id"),
		"list": list,
		"task": w.task(w.list("Office"), `{"title":"Dig"}`),
	}
	for what, item := range items {
		old := w.get(item).is(200).str("@odata.etag")
		all := item + "/extensions"
		w.get(all+"/Com.Contoso.Referral").is(404, "ErrorItemNotFound")
		r := w.made(all, referral)
		if r.str("id") != extensionID+"Com.Contoso.Referral" || r.str("@odata.type") != "#microsoft.graph.openTypeExtension" || r.json["dealValue"] != 500050.0 || len(r.json["tags"].([]any)) != 2 {
			t.Errorf("%s: made %s", what, r.raw)
		}
		if w.get(item).str("@odata.etag") == old {
			t.Errorf("%s: its change key stays", what)
		}
		for _, name := range []string{"Com.Contoso.Referral", r.str("id"), "microsoft.graph.openTypeExtension.com.contoso.referral"} {
			if got := w.get(all + "/" + name).is(200); got.str("companyName") != "Wingtip Toys" {
				t.Errorf("%s: %s is %s", what, name, got.raw)
			}
		}
		w.made(all, `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Other","n":null}`)
		if n := len(w.get(all).is(200).value()); n != 2 {
			t.Errorf("%s: %d extensions", what, n)
		}
		// A second POST of a name merges, a PATCH replaces.
		if got := w.made(all, `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"com.contoso.referral","more":true}`); got.str("companyName") != "Wingtip Toys" || got.json["more"] != true {
			t.Errorf("%s: posted again: %s", what, got.raw)
		}
		got := w.do(http.MethodPatch, all+"/Com.Contoso.Referral", `{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Referral","dealValue":1}`).is(200)
		if got.json["dealValue"] != 1.0 || got.json["companyName"] != nil || got.str("id") != extensionID+"Com.Contoso.Referral" {
			t.Errorf("%s: updated: %s", what, got.raw)
		}
		for _, body := range []string{
			`{"extensionName":"x"}`, `{"@odata.type":"microsoft.graph.openTypeExtension"}`,
			`{"@odata.type":"microsoft.graph.message","extensionName":"x"}`,
			`{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"x","deep":{"a":1}}`,
			`{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"x","deep":[{"a":1}]}`,
		} {
			w.do(http.MethodPost, all, body).is(400)
		}
		w.do(http.MethodDelete, all+"/Com.Contoso.Referral", "").is(204)
		w.do(http.MethodDelete, all+"/Com.Contoso.Referral", "").is(404)
		w.do(http.MethodPatch, all+"/Com.Contoso.Referral", `{"x":1}`).is(404)
		w.do(http.MethodDelete, item, "").is(204)
		w.get(all).is(404)
	}
}

func TestExtensionsAreMadeWithTheItemAndFoundByTheirName(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, "Contacts.ReadWrite Tasks.ReadWrite Mail.ReadWrite Calendars.ReadWrite")
	list := w.list("Garden")
	for all, body := range map[string]string{
		"/me/contacts":   `"displayName":"x"`,
		list + "/tasks":  `"title":"x"`,
		"/me/todo/lists": `"displayName":"x"`,
		"/me/messages":   `"subject":"x"`,
		"/me/events":     `"subject":"x","start":{"dateTime":"2030-01-01T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-01-01T11:00:00","timeZone":"UTC"}`,
	} {
		r := w.made(all, `{`+body+`,"extensions":[`+referral+`]}`)
		shown, _ := r.json["extensions"].([]any)
		if len(shown) != 1 || shown[0].(map[string]any)["companyName"] != "Wingtip Toys" {
			t.Errorf("%s: made: %s", all, r.raw)
		}
		w.made(all, `{`+body+`}`)
		w.do(http.MethodPost, all, `{`+body+`,"extensions":[{"@odata.type":"microsoft.graph.openTypeExtension"}]}`).is(400)
		one := all + "/" + r.str("id")
		for query, n := range map[string]int{
			"$expand=extensions": 1,
			"$expand=" + url.QueryEscape("Extensions($filter=id eq 'Com.Contoso.Referral')"):                1,
			"$expand=" + url.QueryEscape("extensions($filter=id eq '"+extensionID+"Com.Contoso.Referral')"): 1,
			"$expand=" + url.QueryEscape("extensions($filter=id eq 'Com.Contoso.Else')"):                    0,
		} {
			if shown, _ := w.get(one + "?" + query).is(200).json["extensions"].([]any); len(shown) != n {
				t.Errorf("%s: %s: %v", all, query, shown)
			}
		}
		for _, name := range []string{"Com.Contoso.Referral", extensionID + "Com.Contoso.Referral"} {
			found := w.get(filtered(all, "Extensions/any(f:f/id eq '"+name+"')")).is(200).texts("id")
			if !slices.Equal(found, []string{r.str("id")}) {
				t.Errorf("%s: found %v", all, found)
			}
		}
		w.get(one+"?$expand="+url.QueryEscape("extensions($filter=name eq 'x')")).is(400, "RequestBroker--ParseUri")
		if got := w.get(filtered(all, "extensions/any(f:f/id eq 'x')")).is(200).value(); len(got) != 0 {
			t.Errorf("%s: found %v", all, got)
		}
	}
	if got := len(w.get("/me/contacts").is(200).value()); got != 2 {
		t.Errorf("%d contacts: a refused one was made", got)
	}
	w.as(ann, "Contacts.Read").do(http.MethodPost, "/me/contacts/"+strings.Repeat("x", 9)+"/extensions", referral).is(403)
}

func TestADateOfASeriesWithAnExtensionIsAnException(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, "Calendars.ReadWrite")
	series := w.made("/me/events", `{"subject":"x","start":{"dateTime":"2030-01-01T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-01-01T11:00:00","timeZone":"UTC"},
		"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"numbered","startDate":"2030-01-01","numberOfOccurrences":3}}}`).str("id")
	days := w.get("/me/events/" + series + "/instances?startDateTime=2030-01-01&endDateTime=2030-02-01").is(200).texts("id")
	one := "/me/events/" + days[1]
	w.get(one + "/extensions/Com.Contoso.Referral").is(404)
	w.made(one+"/extensions", referral)
	if r := w.get(one).is(200); r.str("type") != "exception" {
		t.Errorf("type %q", r.str("type"))
	}
	w.get(one + "/extensions/Com.Contoso.Referral").is(200)
	w.get("/me/events/" + days[0] + "/extensions/Com.Contoso.Referral").is(404)
	w.get("/me/events/" + series + "/extensions/Com.Contoso.Referral").is(404)
}

func TestPostsAndEventsOfAGroupHaveExtensions(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, "Group.ReadWrite.All")
	group := "/groups/sales@contoso.example"
	thread := w.made(group+"/threads", `{"topic":"Plans","posts":[{"body":{"contentType":"text","content":"Hello."}}]}`).str("id")
	posts := group + "/threads/" + thread + "/posts"
	post := posts + "/" + w.get(posts).is(200).texts("id")[0]
	event := group + "/events/" + w.made(group+"/events", `{"subject":"x","start":{"dateTime":"2030-01-01T10:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-01-01T11:00:00","timeZone":"UTC"}}`).str("id")
	for _, item := range []string{post, event} {
		w.made(item+"/extensions", referral)
		if r := w.get(item + "?$expand=extensions").is(200); len(r.json["extensions"].([]any)) != 1 {
			t.Errorf("expanded: %s", r.raw)
		}
		w.get(item + "/extensions/Com.Contoso.Referral").is(200)
		w.do(http.MethodPatch, item+"/extensions/Com.Contoso.Referral", `{"x":1}`).is(200)
		w.do(http.MethodDelete, item+"/extensions/Com.Contoso.Referral", "").is(204)
	}
	w.as(ann, "Contacts.ReadWrite").get(post + "/extensions/Com.Contoso.Referral").is(403)
}
