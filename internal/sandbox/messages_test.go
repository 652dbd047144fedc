package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

func TestADraftIsCreatedChangedAndDeleted(t *testing.T) {
	t.Parallel()
	w := start(t)
	made := w.do(http.MethodPost, "/me/messages", `{"@odata.type":"#microsoft.graph.message","subject":"one","internetMessageId":"<k@x>",
		"internetMessageHeaders":[{"name":"x-key","value":"7"}],"id":"ignored","isDraft":false,"receivedDateTime":"2001-01-01T00:00:00Z",
		"singleValueExtendedProperties":[{"id":"String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Key","value":"K"}]}`).is(http.StatusCreated)
	id, first := made.str("id"), made.str("@odata.etag")
	if made.json["isDraft"] != true || made.str("internetMessageId") != "<k@x>" || strings.HasPrefix(made.str("receivedDateTime"), "2001") {
		t.Errorf("created %s", made.raw)
	}
	if at := made.header.Get("Location"); w.get(at).is(200).str("id") != id {
		t.Errorf("Location %s", at)
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", made.str("createdDateTime")); err != nil {
		t.Error(err)
	}
	changed := w.with("If-Match", first).do(http.MethodPatch, "/me/messages/"+id, `{"subject":"two","categories":["Red"],"body":{"content":"b"}}`).is(200)
	if changed.str("subject") != "two" || changed.str("@odata.etag") == first || changed.str("bodyPreview") != "b" || changed.str("id") != id {
		t.Errorf("changed %s", changed.raw)
	}
	w.with("If-Match", first).do(http.MethodPatch, "/me/messages/"+id, `{"subject":"three"}`).is(412, "ErrorIrresolvableConflict")
	w.with("If-Match", first).do(http.MethodDelete, "/me/messages/"+id, "").is(412, "ErrorIrresolvableConflict")
	got := w.get("/me/messages/" + id + "?$select=subject,internetMessageHeaders&$expand=" +
		url.QueryEscape("singleValueExtendedProperties($filter=id eq 'String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Key')")).is(200)
	if got.str("subject") != "two" || got.json["body"] != nil || !strings.Contains(string(got.raw), `"value":"7"`) || !strings.Contains(string(got.raw), `"value":"K"`) {
		t.Errorf("selected %s", got.raw)
	}
	w.do(http.MethodDelete, "/me/messages/"+id, "").is(204)
	w.get("/me/messages/"+id).is(404, "ErrorItemNotFound")
	if got := w.in("deleteditems"); !slices.Equal(got, []string{"two"}) {
		t.Errorf("deleted items %v", got)
	}
	bin := w.get("/me/mailFolders/deleteditems/messages").value()[0]
	w.do(http.MethodDelete, "/me/messages/"+fmt.Sprint(bin["id"]), "").is(204)
	if got := w.get("/me/messages").value(); len(got) != 0 {
		t.Errorf("after the second delete: %v", got)
	}
}

func TestIDsChangeOnMoveUnlessImmutable(t *testing.T) {
	t.Parallel()
	w := start(t)
	fixed := w.with("Prefer", `outlook.timezone="UTC", IdType="ImmutableId"`)
	id := w.draft("m")
	same := fixed.get("/me/messages/" + id).is(200)
	if same.str("id") == id || !strings.Contains(same.header.Get("Preference-Applied"), "ImmutableId") {
		t.Errorf("immutable id %s", same.raw)
	}
	moved := w.do(http.MethodPost, "/me/messages/"+id+"/move", `{"destinationId":"archive"}`).is(201).str("id")
	if moved == id {
		t.Error("the ordinary id did not change")
	}
	w.get("/me/messages/"+id).is(404, "ErrorItemNotFound")
	w.get("/me/messages/" + moved).is(200)
	if got := fixed.do(http.MethodPost, "/me/messages/"+same.str("id")+"/move", `{"destinationId":"Inbox"}`).is(201).str("id"); got != same.str("id") {
		t.Error("the immutable id changed")
	}
	now := w.get("/me/mailFolders/inbox/messages").value()[0]["id"]
	w.get("/me/messages/"+strings.ToLower(fmt.Sprint(now))).is(400, "ErrorInvalidIdMalformed")
	w.get("/me/messages/nonsense").is(400, "ErrorInvalidIdMalformed")
	w.get("/me/mailFolders/archive/messages/"+fmt.Sprint(now)).is(404, "ErrorItemNotFound")
	w.get("/me/mailFolders/inbox/messages/" + fmt.Sprint(now)).is(200)
	w.do(http.MethodPost, "/me/messages/"+same.str("id")+"/move", `{"destinationId":"nowhere"}`).is(400, "ErrorInvalidIdMalformed")
	w.do(http.MethodPost, "/me/messages/"+same.str("id")+"/move", `{}`).is(400, "ErrorInvalidRequest")

	copied := w.do(http.MethodPost, "/me/messages/"+same.str("id")+"/copy", `{"DestinationId":"archive"}`).is(201)
	if copied.str("id") == now || len(w.in("archive")) != 1 || len(w.in("inbox")) != 1 {
		t.Errorf("copy %s", copied.raw)
	}
	w.as(ben, allMail).get("/me/messages/"+same.str("id")).is(404, "ErrorItemNotFound")
	w.do(http.MethodPost, "/me/messages/"+same.str("id")+"/permanentDelete", "").is(204)
	w.get("/me/messages/"+same.str("id")).is(404, "ErrorItemNotFound")
}

func TestListsPageFilterAndSort(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 25 {
		w.deliver(ann, fmt.Sprintf("m%02d", n))
	}
	id := w.draft("draft", ben)
	w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(w.get("/me/mailFolders/inbox/messages").value()[0]["id"]), `{"isRead":true}`).is(200)

	r := w.get("/me/messages?$select=subject&$count=true").is(200)
	if len(r.value()) != 10 || r.json["@odata.count"] != 26.0 || r.subjects()[0] != "draft" {
		t.Errorf("first page %s", r.raw)
	}
	seen := r.subjects()
	for link := r.str("@odata.nextLink"); link != ""; {
		if !strings.Contains(link, "$select=subject") || !strings.Contains(link, "$skip=") {
			t.Errorf("link %s", link)
		}
		page := w.get(link).is(200)
		seen, link = append(seen, page.subjects()...), page.str("@odata.nextLink")
	}
	if len(seen) != 26 || len(slices.Compact(slices.Sorted(slices.Values(seen)))) != 26 {
		t.Errorf("pages told %v", seen)
	}
	if got := w.with("Prefer", "odata.maxpagesize=4").get("/me/messages").is(200); len(got.value()) != 4 || got.header.Get("Preference-Applied") == "" {
		t.Errorf("maxpagesize gave %d", len(got.value()))
	}
	if got := w.get("/me/messages?$top=26").is(200); len(got.value()) != 26 || got.str("@odata.nextLink") != "" {
		t.Errorf("$top gave %d", len(got.value()))
	}
	internetID := w.get("/me/messages/" + id).str("internetMessageId")
	day := time.Now().UTC().Format("2006-01-02")
	for filter, want := range map[string]int{
		"isRead eq true":                                         2,
		"isRead eq false and isDraft eq false":                   24,
		"internetMessageId eq '" + internetID + "'":              1,
		"receivedDateTime ge " + day + "T00:00:00Z":              26,
		"receivedDateTime ge 2020-01-01":                         26,
		"receivedDateTime lt 2020-01-01T10:20:30Z":               0,
		"receivedDateTime gt 2020-01-01T10:20:30.5+02:00":        26,
		"subject eq 'M07'":                                       1,
		"startswith(subject,'m1')":                               10,
		"contains(subject,'draf') or subject eq 'm01'":           2,
		"not (isDraft eq true) and startswith(subject,'m2')":     5,
		"from/emailAddress/address eq 'sender@fabrikam.example'": 25,
		"categories/any(c:c eq 'Red')":                           0,
		"importance eq 'normal'":                                 26,
		"flag/flagStatus ne 'notFlagged'":                        0,
	} {
		r := w.get("/me/messages?$top=100&$filter=" + url.QueryEscape(filter)).is(200)
		if len(r.value()) != want {
			t.Errorf("%s gave %d, want %d", filter, len(r.value()), want)
		}
	}
	r = w.get("/me/messages?$top=100&$orderby=" + url.QueryEscape("receivedDateTime asc")).is(200)
	if got := r.subjects(); got[0] != "m00" || got[25] != "draft" {
		t.Errorf("ascending %v", got)
	}
	r = w.get("/me/messages?$top=3&$orderby=" + url.QueryEscape("subject desc")).is(200)
	if got := r.subjects(); !slices.Equal(got, []string{"m24", "m23", "m22"}) {
		t.Errorf("by subject %v", got)
	}
	w.get("/me/messages?$orderby=receivedDateTime&$filter="+url.QueryEscape("isRead eq false")).is(400, "InefficientFilter")
	w.get("/me/messages?$orderby=receivedDateTime&$filter=" + url.QueryEscape("receivedDateTime ge 2020-01-01 and isRead eq false")).is(200)
}

func TestAMarkerInAnExtendedPropertyIsFound(t *testing.T) {
	t.Parallel()
	w := start(t)
	const id = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Key"
	for _, k := range []string{"k1", "k2"} {
		w.do(http.MethodPost, "/me/messages", fmt.Sprintf(`{"subject":%q,"toRecipients":[{"emailAddress":{"address":"ben@contoso.example"}}],
			"singleValueExtendedProperties":[{"id":%q,"value":%q}]}`, k, id, k)).is(201)
	}
	find := func(filter string) []string {
		return w.get("/me/messages?$filter=" + url.QueryEscape(filter)).is(200).subjects()
	}
	marker := "singleValueExtendedProperties/Any(ep: ep/id eq '" + id + "' and ep/value eq 'K2')"
	if got := find(marker); !slices.Equal(got, []string{"k2"}) {
		t.Errorf("found %v", got)
	}
	if got := find("singleValueExtendedProperties/Any(ep: ep/id eq '" + id + "' and ep/value ne null)"); len(got) != 2 {
		t.Errorf("found %v", got)
	}
	draft := w.get("/me/messages?$filter=" + url.QueryEscape(marker)).value()[0]
	w.do(http.MethodPost, "/me/messages/"+fmt.Sprint(draft["id"])+"/send", "").is(202)
	if got := find(marker + " and isDraft eq false"); !slices.Equal(got, []string{"k2"}) {
		t.Errorf("after sending found %v", got)
	}
	if got := w.as(ben, "Mail.Read").get("/me/messages?$filter=" + url.QueryEscape(marker)).value(); len(got) != 0 {
		t.Error("the marker went out with the mail")
	}
}

func TestFoldersAreMadeListedRenamedAndDeleted(t *testing.T) {
	t.Parallel()
	w := start(t)
	all := w.get("/me/mailFolders?$top=100").is(200).value()
	names := []string{}
	for _, f := range all {
		names = append(names, fmt.Sprint(f["displayName"]))
	}
	if want := []string{"Archive", "Deleted Items", "Drafts", "Inbox", "Junk Email", "Outbox", "Sent Items"}; !slices.Equal(names, want) {
		t.Errorf("folders %v", names)
	}
	made := w.do(http.MethodPost, "/me/mailFolders", `{"displayName":"Projects"}`).is(201)
	id := made.str("id")
	w.do(http.MethodPost, "/me/mailFolders", `{"displayName":"projects"}`).is(409, "ErrorFolderExists")
	child := w.do(http.MethodPost, "/me/mailFolders/"+id+"/childFolders", `{"displayName":"2026"}`).is(201).str("id")
	if got := w.get("/me/mailFolders/" + id).is(200); got.json["childFolderCount"] != 1.0 || got.str("parentFolderId") != w.get("/me/mailFolders/msgfolderroot").str("id") {
		t.Errorf("parent %s", got.raw)
	}
	if got := w.get("/me/mailFolders/" + id + "/childFolders").is(200).value(); len(got) != 1 || got[0]["id"] != child {
		t.Errorf("children %v", got)
	}
	w.do(http.MethodPost, "/me/mailFolders/"+child+"/messages", mail("inside")).is(201)
	if got := w.do(http.MethodPatch, "/me/mailFolders/"+id, `{"displayName":"Work"}`).is(200); got.str("displayName") != "Work" || got.str("id") != id {
		t.Errorf("renamed %s", got.raw)
	}
	w.deliver(ann, "unread")
	if got := w.get("/me/mailFolders/inbox").is(200); got.json["totalItemCount"] != 1.0 || got.json["unreadItemCount"] != 1.0 {
		t.Errorf("inbox %s", got.raw)
	}
	w.do(http.MethodDelete, "/me/mailFolders/"+id, "").is(204)
	if got := w.get("/me/mailFolders/deleteditems/childFolders").is(200).value(); len(got) != 1 || got[0]["id"] != id {
		t.Errorf("in Deleted Items: %v", got)
	}
	w.do(http.MethodDelete, "/me/mailFolders/"+id, "").is(204)
	w.get("/me/mailFolders/"+child).is(404, "ErrorItemNotFound")
	w.get("/me/mailFolders/"+child+"/messages/delta").is(404, "ErrorItemNotFound")
	if got := w.in("inbox"); len(w.get("/me/messages").value()) != 1 || len(got) != 1 {
		t.Error("the message of the folder stayed")
	}
	w.do(http.MethodDelete, "/me/mailFolders/inbox", "").is(403, "ErrorDeleteDistinguishedFolder")
	w.do(http.MethodPatch, "/me/mailFolders/inbox", `{"displayName":"In"}`).is(403, "ErrorAccessDenied")
	w.do(http.MethodPost, "/me/mailFolders", `{}`).is(400, "ErrorInvalidRequest")
	w.do(http.MethodPost, "/me/mailFolders", `{"displayName":"x","colour":1}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, "/me/mailFolders", `{"displayName":"Hidden","isHidden":true}`).is(201)
	if a, b := len(w.get("/me/mailFolders?$top=100").value()), len(w.get("/me/mailFolders?$top=100&includeHiddenFolders=true").value()); a != 7 || b != 12 {
		t.Errorf("%d folders, %d with hidden ones", a, b)
	}
	if e := w.Effects(); len(e) != 4 || e[0].What != "mailFolder" || e[0].Item != id {
		t.Errorf("ledger %+v", e)
	}
}

func TestGraphRefusesInItsOwnWords(t *testing.T) {
	t.Parallel()
	w := start(t)
	id := w.draft("m")
	received := func() string {
		w.deliver(ann, "r")
		return fmt.Sprint(w.get("/me/mailFolders/inbox/messages").value()[0]["id"])
	}()
	for _, row := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/me/nonsense", "", 400, "BadRequest"},
		{"GET", "/nonsense", "", 400, "BadRequest"},
		{"PUT", "/me/messages/" + id, "{}", 405, "BadRequest"},
		{"GET", "/me/sendMail", "", 405, "BadRequest"},
		{"DELETE", "/me", "", 405, "BadRequest"},
		{"GET", "/users/" + noPerson, "", 404, "Request_ResourceNotFound"},
		{"GET", "/users/" + noPerson + "/messages", "", 404, "ErrorInvalidUser"},
		{"GET", "/me/messages?$select=nope", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$top=0", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$skip=-1", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$top=1&$top=2", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$format=xml", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$filter=nope+eq+1", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$filter=isRead+is+true", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$filter=subject+eq+'x", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$filter=(isRead+eq+true", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$filter=receivedDateTime+ge+'x'", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$orderby=nope", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me/messages?$expand=nope", "", 400, "RequestBroker--ParseUri"},
		{"GET", "/me?$select=nope", "", 400, "Request_BadRequest"},
		{"GET", "/me/mailFolders?$select=nope", "", 400, "RequestBroker--ParseUri"},
		{"PATCH", "/me/messages/" + id, "", 400, "BadRequest"},
		{"PATCH", "/me/messages/" + id, `{"nope":1}`, 400, "RequestBodyRead"},
		{"PATCH", "/me/messages/" + id, `{"isRead":"yes"}`, 400, "RequestBodyRead"},
		{"PATCH", "/me/messages/" + id, `{"internetMessageHeaders":[{"name":"x-a","value":"b"}]}`, 400, "ErrorInvalidPropertySet"},
		{"PATCH", "/me/messages/" + received, `{"subject":"x"}`, 400, "ErrorInvalidPropertySet"},
		{"PATCH", "/me/messages/" + received, `{"isRead":true}`, 200, "<nil>"},
		{"POST", "/me/messages", `{"singleValueExtendedProperties":[{"id":"Key","value":"x"}]}`, 400, "ErrorInvalidArgument"},
	} {
		r := w.do(row.method, row.path, row.body)
		if r.status != row.status || r.code() != row.code {
			t.Errorf("%s %s %s: %d %s, want %d %s", row.method, row.path, row.body, r.status, r.raw, row.status, row.code)
		}
	}
	r := w.with("client-request-id", "c-9").get("/me/messages/x").is(400)
	inner, _ := r.json["error"].(map[string]any)["innerError"].(map[string]any)
	if inner["client-request-id"] != "c-9" || inner["request-id"] != r.header.Get("request-id") || r.header.Get("request-id") == "" {
		t.Errorf("inner error %v, header %v", inner, r.header)
	}
	if _, err := time.Parse("2006-01-02T15:04:05", fmt.Sprint(inner["date"])); err != nil {
		t.Error(err)
	}
}

func TestTokensAreCheckedFirst(t *testing.T) {
	t.Parallel()
	w := start(t)
	good := w.token
	other := start(t)
	for name, token := range map[string]string{
		"none": "", "no token": "x", "two dots": "a.b.c", "changed": good[:len(good)-4] + "AAAA", "of another sandbox": other.token,
	} {
		w.token = token
		if r := w.get("/me/nonsense"); r.status != 401 || r.code() != "InvalidAuthenticationToken" || r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
}

func TestPermissionsDecideWhatATokenMayDo(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "m")
	basic := w.as(ann, "Mail.ReadBasic")
	if m := basic.get("/me/messages").is(200).value()[0]; m["body"] != nil || m["bodyPreview"] != nil || m["subject"] != "m" {
		t.Errorf("Mail.ReadBasic sees %v", m)
	}
	w.as(ann, "Mail.Read").do(http.MethodPost, "/me/messages", mail("x")).is(403, "ErrorAccessDenied")
	w.as(ann, "Mail.Send").get("/me/messages").is(403, "ErrorAccessDenied")
	w.as(ben, "Mail.Read").get("/users/"+ann+"/messages").is(403, "ErrorAccessDenied")
	if got := w.as(ben, "Mail.Read.Shared").get("/users/Ann@CONTOSO.example/messages").is(200).subjects(); !slices.Equal(got, []string{"m"}) {
		t.Errorf("a shared mailbox shows %v", got)
	}
	me := w.get("/me").is(200)
	if me.str("userPrincipalName") != ann || me.str("id") != w.People()[0].ID {
		t.Errorf("me %s", me.raw)
	}
	w.get("/users/" + me.str("id") + "?$select=id,mail").is(200)
	w.get("/users/"+ben).is(403, "Authorization_RequestDenied")
	if got := w.as(ann, "User.ReadBasic.All").get("/users/" + ben).is(200).str("mail"); got != ben {
		t.Errorf("ben's mail is %s", got)
	}
}

func TestBodiesMayBeCompressedButNotTooBig(t *testing.T) {
	t.Parallel()
	w := start(t)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(sendMail("squeezed", ben)))
	_ = z.Close()
	w.with("Content-Encoding", "gzip").do(http.MethodPost, "/me/sendMail", b.String()).is(202)
	w.with("Content-Encoding", "gzip").do(http.MethodPost, "/me/sendMail", sendMail("x", ben)).is(400)
	w.with("Content-Encoding", "br").do(http.MethodPost, "/me/sendMail", "x").is(415)
	big := `{"message":{"body":{"content":"` + strings.Repeat("x", 4<<20) + `"}}}`
	w.do(http.MethodPost, "/me/sendMail", big).is(413, "RequestEntityTooLarge")
	b.Reset()
	z = gzip.NewWriter(&b)
	_, _ = z.Write([]byte(big))
	_ = z.Close()
	w.with("Content-Encoding", "gzip").do(http.MethodPost, "/me/sendMail", b.String()).is(413, "RequestEntityTooLarge")
	if got := w.as(ben, "Mail.Read").in("inbox"); !slices.Equal(got, []string{"squeezed"}) {
		t.Errorf("ben has %v", got)
	}
}

func TestPeopleComeFromTheSeed(t *testing.T) {
	t.Parallel()
	a, b, c := start(t, sandbox.Seed(7), sandbox.Mailboxes(30)), start(t, sandbox.Seed(7), sandbox.Mailboxes(30)), start(t, sandbox.Seed(8), sandbox.Mailboxes(2))
	if !slices.Equal(a.People(), b.People()) || a.People()[0] == c.People()[0] || a.TenantID() != b.TenantID() {
		t.Error("people do not follow the seed")
	}
	if a.People()[0].UPN != ann || a.People()[1].UPN != ben || a.People()[26].UPN != "ann2@contoso.example" {
		t.Errorf("people %v", a.People()[:3])
	}
}

func TestFlagsGivenAtCreationMakeAMessageThatIsNoDraft(t *testing.T) {
	t.Parallel()
	w := start(t)
	made := func(flags string) *reply {
		return w.do(http.MethodPost, "/me/mailFolders/inbox/messages", withMember(mail("old", ann), `"singleValueExtendedProperties":[{"id":"Integer 0x0E07","value":"`+flags+`"}]`)).is(201)
	}
	for flags, want := range map[string][2]bool{"1": {false, true}, "4": {false, false}, "9": {true, true}} {
		if r := made(flags); r.json["isDraft"] != want[0] || r.json["isRead"] != want[1] {
			t.Errorf("flags %s: isDraft %v, isRead %v", flags, r.json["isDraft"], r.json["isRead"])
		}
	}
	w.do(http.MethodPost, "/me/messages", withMember(mail("odd"), `"singleValueExtendedProperties":[{"id":"Integer 0x0E07","value":[1]}]`)).is(400, "RequestBodyRead")
}
