package catalog_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

type values = map[string]string

func TestBuildChoosesTheTemplateThatFits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		p    catalog.Params
		want string
	}{
		{"mail.message.sendMail", catalog.Params{Mailbox: "me"}, "/me/sendMail"},
		{"mail.message.sendMail", catalog.Params{Mailbox: "ann@contoso.com"}, "/users/ann@contoso.com/sendMail"},
		{"mail.message.sendMail", catalog.Params{Mailbox: "Me"}, "/me/sendMail"},
		{"Mail - Get a message", catalog.Params{Mailbox: "me", Path: values{"message-id": "123"}}, "/me/messages/123"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"MessageId": "123"}}, "/me/messages/123"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"messageid": "123"}}, "/me/messages/123"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "123"}}, "/me/messages/123"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"ID": "123", "mailFolderId": "inbox"}}, "/me/mailFolders/inbox/messages/123"},
		{"mail.message.get", catalog.Params{Mailbox: "8f1d", Path: values{"message-id": "123", "mailFolder-id": "inbox"}}, "/users/8f1d/mailFolders/inbox/messages/123"},
		{"mail.message.delta", catalog.Params{Mailbox: "me", Path: values{"mailFolder-id": "inbox"}}, "/me/mailFolders/inbox/messages/delta"},
		{"mail.message.delta", catalog.Params{Mailbox: "me", Path: values{"mailFolder-id": "a", "mailFolder-id1": "b"}}, "/me/mailFolders/a/childFolders/b/messages/delta"},
		{"mail.message.delta", catalog.Params{Mailbox: "me", Path: values{"template": "/me/messages/delta"}}, "/me/messages/delta"},
		{"mail.message.list", catalog.Params{Mailbox: "me"}, "/me/messages"},
		// Words that the template prints stay as they are.
		{"mail.rule.list", catalog.Params{Mailbox: "me"}, "/me/mailFolders/inbox/messageRules"},
		{"mail.rule.get", catalog.Params{Mailbox: "me", Path: values{"id": "r1"}}, "/me/mailFolders/inbox/messageRules/r1"},
		// Of two ways to the same thing the shorter, and the one of its own name.
		{"calendar.event.get", catalog.Params{Mailbox: "me", Path: values{"event-id": "e"}}, "/me/events/e"},
		{"calendar.event.get", catalog.Params{Mailbox: "me", Path: values{"event-id": "e", "calendar-id": "c"}}, "/me/calendars/c/events/e"},
		{"calendar.event.get", catalog.Params{Mailbox: "me", Path: values{"event-id": "e", "template": "/me/calendar/events/{event-id}"}}, "/me/calendar/events/e"},
		{"calendar.event.permanentDelete", catalog.Params{Mailbox: "ann", Path: values{"event-id": "e"}}, "/users/ann/events/e/permanentDelete"},
		// One of two forms is documented; the other is the same place.
		{"mail.message.permanentDelete", catalog.Params{Mailbox: "me", Path: values{"id": "m"}}, "/me/messages/m/permanentDelete"},
		{"users.photo.list", catalog.Params{Mailbox: "ann@contoso.com"}, "/users/ann@contoso.com/photos"},
		// Groups.
		{"groups.thread.list", catalog.Params{Mailbox: "0a1b"}, "/groups/0a1b/threads"},
		{"calendar.event.get", catalog.Params{Mailbox: "0a1b", Path: values{"event-id": "e"}}, "/users/0a1b/events/e"},
		{"calendar.event.get", catalog.Params{Mailbox: "0a1b", Group: true, Path: values{"event-id": "e"}}, "/groups/0a1b/events/e"},
		{"calendar.event.snoozeReminder", catalog.Params{Mailbox: "0a1b", Group: true, Path: values{"event-id": "e"}}, "/groups/0a1b/events/e/snoozeReminder"},
		{"extensions.openExtension.get", catalog.Params{Mailbox: "0a1b", Path: values{"conversationThread-id": "t", "post-id": "p", "extension-id": "x"}}, "/groups/0a1b/threads/t/posts/p/extensions/x"},
		// Without a mailbox.
		{"subscriptions.subscription.get", catalog.Params{Mailbox: "-", Path: values{"id": "s"}}, "/subscriptions/s"},
		{"users.user.list", catalog.Params{}, "/users"},
		{"batch.batch.send", catalog.Params{Mailbox: "-"}, "/$batch"},
		{"places.place.list", catalog.Params{Path: values{"template": "/places/microsoft.graph.room"}}, "/places/microsoft.graph.room"},
		// Folders in folders.
		{"contacts.contact.list", catalog.Params{Mailbox: "me", Path: values{"contactFolder-id": "a", "contactFolder-id1": "b", "contactFolder-id2": "c", "contactFolder-id3": "d"}}, "/me/contactFolders/a/childFolders/b/childFolders/c/childFolders/d/contacts"},
		// Functions: quotes are doubled, so a value cannot end its literal.
		{"calendar.user.reminderView", catalog.Params{Mailbox: "me", Path: values{"startdatetime": "2026-01-01T00:00:00Z", "enddatetime": "x') or ('"}}, "/me/reminderView(StartDateTime='2026-01-01T00:00:00Z',EndDateTime='x%27%27%29%20or%20%28%27%27')"},
		{"settings.outlookUser.supportedTimeZones", catalog.Params{Mailbox: "me", Path: values{"TimeZoneStandard": "Iana"}}, "/me/outlook/supportedTimeZones(TimeZoneStandard=microsoft.graph.timeZoneStandard'Iana')"},
		{"settings.outlookUser.supportedTimeZones", catalog.Params{Mailbox: "me"}, "/me/outlook/supportedTimeZones"},
		// Values are one segment each, whatever they contain.
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "AAMk/x+y=="}}, "/me/messages/AAMk%2Fx%2By=="},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "100%"}}, "/me/messages/100%25"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "a?$top=1#x"}}, "/me/messages/a%3F$top=1%23x"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "ünï;é"}}, "/me/messages/%C3%BCn%C3%AF%3B%C3%A9"},
		{"mail.message.get", catalog.Params{Mailbox: "ann_contoso.com#EXT#@x.org", Path: values{"id": "1"}}, "/users/ann_contoso.com%23EXT%23@x.org/messages/1"},
		{"extensions.openExtension.get", catalog.Params{Mailbox: "me", Path: values{"message-id": "m", "extension-id": "microsoft.graph.openTypeExtension.Com.Contoso"}}, "/me/messages/m/extensions/microsoft.graph.openTypeExtension.Com.Contoso"},
	} {
		before := maps.Clone(row.p.Path)
		got, err := must(t, row.name).Build(row.p)
		if err != nil {
			t.Errorf("%s with %v: %v (%s)", row.name, row.p, err, fault.HintOf(err))
			continue
		}
		if got.Path != row.want {
			t.Errorf("%s with %v built %s, want %s", row.name, row.p, got.Path, row.want)
		}
		if !maps.Equal(before, row.p.Path) {
			t.Errorf("%s changed the caller's parameters to %v", row.name, row.p.Path)
		}
	}
}

func TestBuildTellsTheParametersByTheirNamesInTheTemplate(t *testing.T) {
	t.Parallel()
	got, err := must(t, "mail.message.get").Build(catalog.Params{Mailbox: "me", Path: values{"id": "1", "MAILFOLDERID": "inbox"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (values{"message-id": "1", "mailFolder-id": "inbox"}); !maps.Equal(got.Params, want) {
		t.Errorf("got %v, want %v", got.Params, want)
	}
}

func TestBuildRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		p        catalog.Params
		code     string
		contains string // of the error or the hint
	}{
		{"mail.message.get", catalog.Params{Mailbox: "me"}, "path_missing", "/me/messages/{message-id} needs the path parameter message-id"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"mailFolder-id": "x"}}, "path_missing", "message-id"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"msg": "x"}}, "path_unknown", "give message-id, or mailFolder-id + message-id"},
		{"mail.message.list", catalog.Params{Mailbox: "me", Path: values{"message-id": "x"}}, "path_unknown", `"message-id"`},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"message-id": "x", "mailFolder-id": "y", "id": "z"}}, "path_unknown", "too much"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"message-id": "x", "MessageId": "y"}}, "path_refused", "twice"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"message-id": "x", "user-id": "ceo"}}, "path_unknown", "as mailbox"},
		{"groups.thread.list", catalog.Params{Mailbox: "g", Path: values{"group-id": "other"}}, "path_unknown", "as mailbox"},
		// Forgetting the folder must not read the whole mailbox by a template
		// that nobody documents.
		{"mail.message.delta", catalog.Params{Mailbox: "me"}, "path_missing", "mailFolder-id"},
		{"mail.message.get", catalog.Params{Path: values{"id": "x"}}, "mailbox_refused", "needed"},
		{"mail.message.get", catalog.Params{Mailbox: "-", Path: values{"id": "x"}}, "mailbox_refused", "needed"},
		{"users.user.list", catalog.Params{Mailbox: "me"}, "mailbox_refused", `use "-"`},
		{"groups.thread.list", catalog.Params{Mailbox: "me"}, "mailbox_refused", "group's id"},
		{"groups.thread.list", catalog.Params{Mailbox: "ann@contoso.com"}, "mailbox_refused", "group's id"},
		{"mail.message.list", catalog.Params{Mailbox: "0a1b", Group: true}, "mailbox_refused", "does not work on groups"},
		{"extensions.singleValueExtendedProperty.createWithItem", catalog.Params{Mailbox: "me"}, "path_ambiguous", "/me/messages"},
		{"places.place.list", catalog.Params{}, "path_ambiguous", "template"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "x", "template": "/me/mailFolders"}}, "path_unknown", "no template"},
		{"mail.message.get", catalog.Params{Mailbox: "me", Path: values{"id": "x", "template": "https://evil.example/me/messages/{message-id}"}}, "path_unknown", "no template"},
		{"contacts.contact.list", catalog.Params{Mailbox: "me", Path: values{"contactFolder-id": "a", "contactFolder-id99999999": "b"}}, "path_unknown", "no path parameter"},
		{"calendar.calendarView.list", catalog.Params{Mailbox: "me"}, "query_missing", "startDateTime, endDateTime"},
		{"calendar.calendarView.list", catalog.Params{Mailbox: "me", Query: values{"startDateTime": "x"}}, "query_missing", "endDateTime"},
	} {
		got, err := must(t, row.name).Build(row.p)
		if code(err) != row.code || !strings.Contains(err.Error()+"\n"+fault.HintOf(err), row.contains) {
			t.Errorf("%s with %v built %q, error %v (%s, hint %q), want %s with %q", row.name, row.p, got.Path, err, code(err), fault.HintOf(err), row.code, row.contains)
		}
	}
}

// hostile are values that must never become a path.
var hostile = []string{
	"", ".", "..", "...", " ", " x", "x ", ". .", " .. ", "../../users/ceo/messages", "..%2f..", "%2e%2e", "%2E%2E%2Fx", "%252e%252e",
	"%25252e%25252e%25252f", "a%2fb", "a%2Fb", "a%5cb", "a%00b", "a/../b", "a/./b", "a//b", "/a", "a/", "//evil.example", "http://evil.example", "https:/evil",
	"x/send", "x/attachments/y", "AAMk/Attachments", "a/$value", "a/b c", `a\b`, `..\..`, "a\x00b", "a\r\nb", "a\nHost: evil", "\u202e", "\u200b", "a\u2028b", "\xff", "a\xc0\xafb",
	"$value", "$ref", "$count", "delta", "Delta()", "microsoft.graph.delta", "delta(token='x')", "microsoft.graph.eventMessage", "graph.message",
	strings.Repeat("a", 1025),
}

func TestHostileValuesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mail.message.get", "mail.message.delete", "mail.folder.listMessages"} {
		op := must(t, name)
		for _, value := range hostile {
			if strings.Contains(name, "delete") && strings.Contains(strings.ToLower(value), "delta") {
				continue
			}
			if got, err := op.Build(catalog.Params{Mailbox: "me", Path: values{"id": value}}); code(err) != "path_refused" {
				t.Errorf("%s with %q built %q, error %v", name, value, got.Path, err)
			}
			if got, err := op.Build(catalog.Params{Mailbox: value, Path: values{"id": "1"}}); code(err) != "mailbox_refused" && value != "microsoft.graph.delta" {
				t.Errorf("%s of mailbox %q built %q, error %v", name, value, got.Path, err)
			}
		}
	}
	view := must(t, "calendar.user.reminderView")
	for _, value := range []string{"", " ", "\x00", "a\nb", "\xff", "a/b", `a\b`, "%2f", strings.Repeat("a", 1025)} {
		if got, err := view.Build(catalog.Params{Mailbox: "me", Path: values{"StartDateTime": value, "EndDateTime": "x"}}); code(err) != "path_refused" {
			t.Errorf("a function's argument %q built %q, error %v", value, got.Path, err)
		}
	}
}

func TestAQueryIsEncodedAndSorted(t *testing.T) {
	t.Parallel()
	got, err := must(t, "mail.message.list").Build(catalog.Params{Mailbox: "me", Query: values{
		"$TOP": "5", "filter": "from/emailAddress/address eq 'o''neil+x@contoso.com' & more", "customOption": "a b#c", "includeHiddenMessages": "true", "$select": "id,subject",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := "/me/messages?$filter=from%2FemailAddress%2Faddress%20eq%20%27o%27%27neil%2Bx%40contoso.com%27%20%26%20more" +
		"&$select=id%2Csubject&$top=5&customOption=a%20b%23c&includeHiddenMessages=true"
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://graph.microsoft.com/v1.0"+got.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if q := req.URL.Query(); q.Get("customOption") != "a b#c" || q.Get("$filter") != "from/emailAddress/address eq 'o''neil+x@contoso.com' & more" || len(q) != 5 {
		t.Errorf("a server reads %v", q)
	}
}

func TestQueryParametersThatAreRefused(t *testing.T) {
	t.Parallel()
	op := must(t, "mail.message.list")
	for name, value := range (values{
		"$skiptoken": "x", "$SkipToken": "x", "skiptoken": "x", "$deltatoken": "latest", "deltaToken": "x", "$apply": "x", "$batch": "x", "$": "x", "": "x",
		"a b": "x", "a=b": "x", "a&b": "x", "@p": "x", "a-b": "x", "é": "x", "$select": "a\nb", "x": "\x00", "y": "\xff",
		strings.Repeat("n", 65): "x", "$filter": strings.Repeat("x", 20<<10), "$id": "https://evil.example",
	}) {
		if got, err := op.Build(catalog.Params{Mailbox: "me", Query: values{name: value}}); code(err) != "query_refused" {
			t.Errorf("%q=%q built %s, error %v", name, value, got, err)
		}
	}
	if _, err := op.Build(catalog.Params{Mailbox: "me", Query: values{"$top": "1", "top": "2"}}); code(err) != "query_refused" {
		t.Errorf("the same option twice: %v", err)
	}
	remove := must(t, "groups.acceptedSender.delete")
	got, err := remove.Build(catalog.Params{Mailbox: "0a1b", Query: values{"$id": "https://graph.microsoft.com/v1.0/users/u"}})
	if err != nil || got.String() != "/groups/0a1b/acceptedSenders/$ref?$id=https%3A%2F%2Fgraph.microsoft.com%2Fv1.0%2Fusers%2Fu" {
		t.Errorf("an operation that takes $id: %s, %v", got, err)
	}
}

func TestABuiltPathSurvivesAnHTTPRequest(t *testing.T) {
	t.Parallel()
	got, err := must(t, "mail.message.get").Build(catalog.Params{Mailbox: "me", Path: values{"id": "AAMk/x+y=="}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://graph.microsoft.com/v1.0"+got.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if uri := req.URL.RequestURI(); uri != "/v1.0/me/messages/AAMk%2Fx%2By==" {
		t.Errorf("on the wire the path is %s", uri)
	}
}
