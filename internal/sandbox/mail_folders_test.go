package sandbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// folder makes a mail folder below a path such as /me/mailFolders and returns its
// id.
func (w *world) folder(at, name string) string {
	w.t.Helper()
	return w.do(http.MethodPost, at, fmt.Sprintf(`{"displayName":%q}`, name)).is(201).str("id")
}

// names lists the displayNames of an answer.
func (r *reply) names() []string {
	r.t.Helper()
	list := []string{}
	for _, it := range r.value() {
		list = append(list, fmt.Sprint(it["displayName"]))
	}
	return list
}

func below(id string) string { return "/me/mailFolders/" + id + "/childFolders" }

func TestFoldersAreReachedThroughTheirParentsOnly(t *testing.T) {
	t.Parallel()
	w := start(t)
	a := w.folder("/me/mailFolders", "A")
	b := w.folder(below(a), "B")
	c := w.folder(below(a)+"/"+b+"/childFolders", "C")
	deep := below(a) + "/" + b + "/childFolders/" + c
	if got := w.get(deep).is(200); got.str("id") != c || got.str("parentFolderId") != b {
		t.Errorf("deep: %s", got.raw)
	}
	m := w.do(http.MethodPost, deep+"/messages", mail("deep")).is(201).str("id")
	if got := w.get(deep + "/messages").is(200).subjects(); !slices.Equal(got, []string{"deep"}) {
		t.Errorf("messages: %v", got)
	}
	w.get(deep + "/messages/" + m).is(200)
	if got := w.get(deep + "/messages/delta").is(200).subjects(); !slices.Equal(got, []string{"deep"}) {
		t.Errorf("delta: %v", got)
	}
	for _, wrong := range []string{
		below(a) + "/" + c, below(b) + "/" + c + "/childFolders/" + a, "/me/mailFolders/inbox/childFolders/" + b,
		below(a) + "/" + c + "/messages", below(a) + "/" + c + "/messages/" + m, below(a) + "/" + c + "/messages/delta", below(a) + "/drafts",
	} {
		w.get(wrong).is(404, "ErrorItemNotFound")
	}
	w.do(http.MethodPost, "/me/mailFolders/inbox/childFolders/"+b+"/childFolders", `{"displayName":"X"}`).is(404, "ErrorItemNotFound")
	w.get("/me/mailFolders/msgfolderroot/childFolders/inbox").is(200)
	w.get("/me/mailFolders/nonsense").is(400, "ErrorInvalidIdMalformed")
}

func TestFoldersAreFilteredSortedAndExpanded(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, allMail+" MailboxSettings.ReadWrite")
	a := w.folder("/me/mailFolders", "Alpha")
	w.folder("/me/mailFolders", "Beta")
	sub := w.folder(below(a), "Sub")
	w.do(http.MethodPost, below(a), `{"displayName":"Secret","isHidden":true}`).is(201)
	w.do(http.MethodPost, "/me/mailFolders/"+a+"/messages", mail("inside")).is(201)
	w.deliver(ann, "arrived")
	w.do(http.MethodPost, "/me/mailFolders/inbox/messageRules", `{"displayName":"R","sequence":1,"actions":{"markAsRead":true}}`).is(201)
	query := func(q string) *reply { return w.get("/me/mailFolders?" + strings.ReplaceAll(q, " ", "%20")) }
	for q, want := range map[string][]string{
		"$filter=displayName eq 'alpha'":                                    {"Alpha"},
		"$filter=startswith(displayName,'B')":                               {"Beta"},
		"$filter=unreadItemCount gt 0":                                      {"Inbox"},
		"$filter=childFolderCount eq 2 and totalItemCount eq 1":             {"Alpha"},
		"$filter=displayName in ('Alpha','Beta')&$orderby=displayName desc": {"Beta", "Alpha"},
		"$orderby=totalItemCount desc,displayName&$top=2":                   {"Alpha", "Inbox"},
	} {
		if got := query(q).is(200).names(); !slices.Equal(got, want) {
			t.Errorf("%s: %v", q, got)
		}
	}
	got := query("$filter=displayName eq 'Alpha'&$expand=childFolders($select=displayName),messages($select=subject)").is(200).value()[0]
	if kids := got["childFolders"].([]any); len(kids) != 1 || len(kids[0].(map[string]any)) != 2 || kids[0].(map[string]any)["id"] != sub {
		t.Errorf("childFolders: %v", kids)
	}
	if mails := got["messages"].([]any); len(mails) != 1 || mails[0].(map[string]any)["subject"] != "inside" || mails[0].(map[string]any)["body"] != nil {
		t.Errorf("messages: %v", mails)
	}
	if got := query("$filter=displayName eq 'Alpha'&$expand=childFolders&includeHiddenFolders=true").is(200).value()[0]["childFolders"].([]any); len(got) != 2 {
		t.Errorf("with hidden: %v", got)
	}
	if got := w.get("/me/mailFolders/inbox?$expand=messageRules&$select=id").is(200); len(got.json["messageRules"].([]any)) != 1 || got.json["displayName"] != nil {
		t.Errorf("rules: %s", got.raw)
	}
	for _, q := range []string{"$filter=colour eq 'x'", "$orderby=colour", "$select=colour", "$expand=colour", "$expand=displayName", "$expand=childFolders($select=colour)"} {
		query(q).is(400, "RequestBroker--ParseUri")
	}
	query("$expand=singleValueExtendedProperties").is(400, "ErrorInvalidArgument")
}

func TestFoldersHaveExtendedProperties(t *testing.T) {
	t.Parallel()
	w := start(t)
	const id = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color"
	f := w.do(http.MethodPost, "/me/mailFolders", `{"displayName":"P","singleValueExtendedProperties":[{"id":"`+id+`","value":"Green"}]}`).is(201).str("id")
	at := "/me/mailFolders/" + f + "?$expand=" + url.QueryEscape("singleValueExtendedProperties($filter=id eq '"+id+"')")
	if got := w.get(at).is(200); !strings.Contains(string(got.raw), `"value":"Green"`) {
		t.Errorf("created: %s", got.raw)
	}
	w.do(http.MethodPatch, "/me/mailFolders/"+f, `{"singleValueExtendedProperties":[{"id":"`+id+`","value":"Red"}]}`).is(200)
	if got := w.get(at).is(200); !strings.Contains(string(got.raw), `"value":"Red"`) || got.str("displayName") != "P" {
		t.Errorf("changed: %s", got.raw)
	}
	w.do(http.MethodPatch, "/me/mailFolders/inbox", `{"multiValueExtendedProperties":[{"id":"StringArray {66f5a359-4659-4830-9070-00047ec6ac6e} Name Palette","value":["a","b"]}]}`).is(200)
	w.do(http.MethodPatch, "/me/mailFolders/"+f, `{"singleValueExtendedProperties":[{"id":"nonsense","value":"Red"}]}`).is(400, "ErrorInvalidArgument")
}

func TestAFolderIsMovedWithWhatIsInIt(t *testing.T) {
	t.Parallel()
	w := start(t)
	a, b := w.folder("/me/mailFolders", "A"), w.folder("/me/mailFolders", "B")
	c := w.folder(below(a), "C")
	m := w.do(http.MethodPost, "/me/mailFolders/"+c+"/messages", mail("m")).is(201).str("id")
	move := func(id, to string) *reply {
		return w.do(http.MethodPost, "/me/mailFolders/"+id+"/move", fmt.Sprintf(`{"destinationId":%q}`, to))
	}
	if got := move(c, b).is(200); got.str("id") != c || got.str("parentFolderId") != b {
		t.Errorf("moved: %s", got.raw)
	}
	w.get("/me/messages/" + m).is(200)
	w.get(below(a)+"/"+c).is(404, "ErrorItemNotFound")
	w.folder(below(a), "c")
	move(c, a).is(409, "ErrorFolderExists")
	move(b, c).is(400, "ErrorMoveCopyFailed")
	move(b, b).is(400, "ErrorMoveCopyFailed")
	move("drafts", a).is(403, "ErrorMoveDistinguishedFolder")
	move(c, "nonsense").is(400, "ErrorInvalidIdMalformed")
	w.do(http.MethodPost, "/me/mailFolders/"+c+"/move", `{}`).is(400, "ErrorInvalidRequest")
	w.do(http.MethodPost, "/me/mailFolders/"+c+"/move", `{"to":"inbox"}`).is(400, "RequestBodyRead")
	if got := move(c, "archive").is(200); got.str("parentFolderId") != w.get("/me/mailFolders/archive").str("id") {
		t.Errorf("to a well-known folder: %s", got.raw)
	}
}

func TestAFolderIsCopiedWithEverythingBelow(t *testing.T) {
	t.Parallel()
	w := start(t)
	a := w.folder("/me/mailFolders", "A")
	c := w.folder(below(a), "C")
	old := w.do(http.MethodPost, "/me/mailFolders/"+c+"/messages", mail("m")).is(201).str("id")
	w.do(http.MethodPost, "/me/messages/"+old+"/attachments",
		`{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.txt","contentBytes":"aGVsbG8="}`).is(201)
	w.do(http.MethodPost, "/me/messages/"+old+"/extensions",
		`{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.X","n":1}`).is(201)
	twin := w.do(http.MethodPost, "/me/mailFolders/"+a+"/copy", `{"destinationId":"inbox"}`).is(200)
	if twin.str("id") == a || twin.str("displayName") != "A" || twin.json["childFolderCount"] != 1.0 {
		t.Fatalf("the copy: %s", twin.raw)
	}
	sub := w.get(below(twin.str("id"))).is(200).value()[0]
	list := w.get("/me/mailFolders/" + fmt.Sprint(sub["id"]) + "/messages?$expand=attachments,extensions").is(200).value()
	if sub["id"] == c || len(list) != 1 || list[0]["id"] == old || len(list[0]["attachments"].([]any)) != 1 || len(list[0]["extensions"].([]any)) != 1 {
		t.Errorf("below the copy: %v", list)
	}
	w.get("/me/messages/" + old).is(200)
	w.do(http.MethodPost, "/me/mailFolders/"+a+"/copy", `{"destinationId":"inbox"}`).is(409, "ErrorFolderExists")
	w.do(http.MethodPost, "/me/mailFolders/"+a+"/copy", `{"destinationId":"msgfolderroot"}`).is(409, "ErrorFolderExists")
	w.do(http.MethodPost, "/me/mailFolders/"+a+"/copy", `{"destinationId":"`+c+`"}`).is(400, "ErrorMoveCopyFailed")
	// Two folders and two messages by hand or by copy.
	if made := w.Effects(); len(made) < 6 || made[len(made)-1].What != "message" {
		t.Errorf("ledger: %+v", made)
	}
}

func TestFoldersAreDeletedInTwoSteps(t *testing.T) {
	t.Parallel()
	w := start(t)
	for range 2 { // the second finds its name taken in Deleted Items
		id := w.folder("/me/mailFolders", "Old")
		w.do(http.MethodDelete, "/me/mailFolders/"+id, "").is(204)
	}
	if got := w.get("/me/mailFolders/deleteditems/childFolders").names(); !slices.Equal(got, []string{"Old", "Old1"}) {
		t.Errorf("in Deleted Items: %v", got)
	}
	id := w.folder("/me/mailFolders", "Gone")
	sub := w.folder(below(id), "Sub")
	m := w.do(http.MethodPost, "/me/mailFolders/"+sub+"/messages", mail("m")).is(201).str("id")
	w.do(http.MethodPost, "/me/mailFolders/"+id+"/permanentDelete", "").is(204)
	w.get("/me/mailFolders/"+id).is(404, "ErrorItemNotFound")
	w.get("/me/mailFolders/"+sub).is(404, "ErrorItemNotFound")
	w.get("/me/messages/"+m).is(404, "ErrorItemNotFound")
	w.do(http.MethodPost, "/me/mailFolders/sentitems/permanentDelete", "").is(403, "ErrorDeleteDistinguishedFolder")
	p := w.folder("/me/mailFolders", "P")
	c := w.folder(below(p), "C")
	w.do(http.MethodPost, below(p)+"/"+c+"/permanentDelete", "").is(204)
	w.get("/me/mailFolders/"+c).is(404, "ErrorItemNotFound")
}

func TestWellKnownFoldersAreThereThoughHidden(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, name := range []string{
		"archive", "clutter", "conflicts", "conversationHistory", "deletedItems", "drafts", "inbox", "junkEmail", "localFailures", "msgFolderRoot",
		"outbox", "recoverableItemsDeletions", "scheduled", "searchFolders", "sentItems", "serverFailures", "syncIssues",
	} {
		w.get("/me/mailFolders/" + name).is(200)
	}
	if got := w.get("/me/mailFolders/syncissues/childFolders?includeHiddenFolders=true").names(); !slices.Equal(got, []string{"Conflicts", "Local Failures", "Server Failures"}) {
		t.Errorf("below Sync Issues: %v", got)
	}
	if got := w.get("/me/mailFolders?includeHiddenFolders=true&$top=50").names(); slices.Contains(got, "Finder") || !slices.Contains(got, "Clutter") {
		t.Errorf("top level: %v", got)
	}
}

func TestASearchFolderShowsWhatItsFilterFinds(t *testing.T) {
	t.Parallel()
	w := start(t)
	src := w.folder("/me/mailFolders", "Source")
	sub := w.folder(below(src), "Sub")
	w.do(http.MethodPost, "/me/mailFolders/"+src+"/messages", mail("Weekly digest 1")).is(201)
	w.do(http.MethodPost, "/me/mailFolders/"+src+"/messages", mail("Other")).is(201)
	inner := w.do(http.MethodPost, "/me/mailFolders/"+sub+"/messages", mail("weekly digest 2")).is(201).str("id")
	body := func(nested bool) string {
		return fmt.Sprintf(`{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"Digests %t","includeNestedFolders":%t,
			"sourceFolderIds":[%q],"filterQuery":"contains(subject,'weekly digest')"}`, nested, nested, src)
	}
	flat := w.do(http.MethodPost, below(src), body(false)).is(201)
	if flat.str("@odata.type") != "#microsoft.graph.mailSearchFolder" || flat.json["isSupported"] != true || flat.json["totalItemCount"] != 1.0 {
		t.Errorf("created: %s", flat.raw)
	}
	deep := w.do(http.MethodPost, "/me/mailFolders/searchfolders/childFolders", body(true)).is(201).str("id")
	at := "/me/mailFolders/" + deep
	if got := w.get(at + "/messages").is(200).subjects(); !slices.Equal(got, []string{"weekly digest 2", "Weekly digest 1"}) {
		t.Errorf("found %v", got)
	}
	w.get(at + "/messages/" + inner).is(200)
	w.get("/me/mailFolders/"+flat.str("id")+"/messages/"+inner).is(404, "ErrorItemNotFound")
	if got := w.do(http.MethodPatch, at, `{"filterQuery":"contains(subject,'Other')"}`).is(200); got.json["totalItemCount"] != 1.0 || got.json["includeNestedFolders"] != true {
		t.Errorf("changed: %s", got.raw)
	}
	w.do(http.MethodPatch, at, `{"filterQuery":"nonsense eq"}`).is(400, "RequestBroker--ParseUri")
	w.do(http.MethodPatch, "/me/mailFolders/"+src, `{"filterQuery":"x"}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, "/me/messages/"+inner+"/move", fmt.Sprintf(`{"destinationId":%q}`, deep)).is(400, "ErrorMoveCopyFailed")
	w.do(http.MethodPost, at+"/messages", mail("x")).is(400, "ErrorMoveCopyFailed")
	w.get(at+"/messages/delta").is(400, "ErrorInvalidUrlQuery")
	w.do(http.MethodPost, below(src), `{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"X","filterQuery":"isRead eq true"}`).is(400, "ErrorInvalidRequest")
	w.do(http.MethodDelete, at, "").is(204)
	w.get(at).is(404, "ErrorItemNotFound")
	w.get("/me/messages/" + inner).is(200)
}

// folderReader follows folders by delta: names by id.
type folderReader struct {
	w     *world
	link  string
	view  map[string]string
	told  []map[string]any
	pages int
}

func (r *folderReader) round() *folderReader {
	r.w.t.Helper()
	r.told = nil
	for {
		a := r.w.get(r.link).is(200)
		r.pages++
		for _, it := range a.value() {
			r.told = append(r.told, it)
			id := fmt.Sprint(it["id"])
			if delete(r.view, id); it["@removed"] == nil {
				r.view[id] = fmt.Sprint(it["displayName"], " ", it["totalItemCount"], " ", it["unreadItemCount"])
			}
		}
		if next := a.str("@odata.nextLink"); next != "" {
			r.link = next
			continue
		}
		r.link = a.str("@odata.deltaLink")
		return r
	}
}

func TestFolderDeltaTellsOfTheWholeTree(t *testing.T) {
	t.Parallel()
	w := start(t)
	a := w.folder("/me/mailFolders", "A")
	b := w.folder(below(a), "B")
	paged := w.with("Prefer", "odata.maxpagesize=2")
	all := &folderReader{w: paged, link: "/me/mailFolders/delta", view: map[string]string{}}
	kids := &folderReader{w: w, link: below(a) + "/delta", view: map[string]string{}}
	if all.round(); len(all.view) != 9 || all.pages != 5 || all.view[b] != "B 0 0" {
		t.Fatalf("first round: %v in %d pages", all.view, all.pages)
	}
	if kids.round(); len(kids.view) != 1 {
		t.Fatalf("below A: %v", kids.view)
	}
	if all.round(); len(all.told) != 0 {
		t.Fatalf("an idle round told %v", all.told)
	}
	inbox := w.get("/me/mailFolders/inbox").str("id")
	w.deliver(ann, "m")
	w.do(http.MethodPatch, "/me/mailFolders/"+b, `{"displayName":"Bee"}`).is(200)
	if all.round(); len(all.told) != 2 || all.view[inbox] != "Inbox 1 1" || all.view[b] != "Bee 0 0" {
		t.Errorf("a mail and a new name: %v", all.told)
	}
	m := fmt.Sprint(w.get("/me/messages").value()[0]["id"])
	w.do(http.MethodPatch, "/me/messages/"+m, `{"importance":"high"}`).is(200)
	if all.round(); len(all.told) != 0 {
		t.Errorf("no count changed, but %v", all.told)
	}
	w.do(http.MethodPatch, "/me/messages/"+m, `{"isRead":true}`).is(200)
	if all.round(); len(all.told) != 1 || all.view[inbox] != "Inbox 1 0" {
		t.Errorf("a mail was read: %v", all.told)
	}
	w.do(http.MethodDelete, "/me/mailFolders/"+b, "").is(204)
	if all.round(); len(all.told) != 3 || all.view[b] == "" { // it, and the counts of A and Deleted Items
		t.Errorf("moved to Deleted Items: %v", all.told)
	}
	if kids.round(); len(kids.told) != 1 || kids.told[0]["@removed"] == nil || kids.told[0]["@odata.type"] != "#microsoft.graph.mailFolder" {
		t.Errorf("it left A: %v", kids.told)
	}
	w.do(http.MethodDelete, "/me/mailFolders/"+b, "").is(204)
	if all.round(); len(all.told) != 2 || all.view[b] != "" {
		t.Errorf("gone for good: %v", all.told)
	}
	// Made and gone between two rounds: never told of.
	w.do(http.MethodPost, "/me/mailFolders/"+w.folder("/me/mailFolders", "Brief")+"/permanentDelete", "").is(204)
	for _, it := range all.round().told {
		if it["@removed"] != nil {
			t.Errorf("told of a folder that it never showed: %v", it)
		}
	}
}

func TestFolderDeltaHasItsOptionsAndItsEnd(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := &folderReader{w: w, link: "/me/mailFolders/delta?$select=displayName", view: map[string]string{}}
	if r.round(); len(r.told) != 7 || r.told[0]["totalItemCount"] != nil {
		t.Fatalf("$select: %v", r.told)
	}
	w.folder("/me/mailFolders", "New")
	if r.round(); len(r.told) != 1 || r.told[0]["totalItemCount"] != nil {
		t.Errorf("$select lives on: %v", r.told)
	}
	hidden := &folderReader{w: w, link: "/me/mailFolders/delta?includeHiddenFolders=true", view: map[string]string{}}
	if hidden.round(); len(hidden.view) != 15 {
		t.Errorf("with hidden ones: %v", hidden.view)
	}
	for _, q := range []string{"$filter=displayName%20eq%20'x'", "$orderby=displayName", "$expand=childFolders", "$search=x", "$skip=1"} {
		w.get("/me/mailFolders/delta?"+q).is(400, "ErrorInvalidUrlQuery")
	}
	w.get("/me/mailFolders/delta?$select=nope").is(400, "RequestBroker--ParseUri")
	w.ExpireDelta(ann)
	a := w.get(r.link).is(410)
	if !strings.HasSuffix(a.header.Get("Location"), "/mailFolders/delta") {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
	w.get("/me/messages/delta").is(400, "BadRequest")
	w.get("/me/messages/delta()").is(400, "BadRequest")
}

func TestFoldersAndTheirDeltaSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.StoreDir(dir))
	gone, moved := w.folder("/me/mailFolders", "Gone"), w.folder("/me/mailFolders", "Moved")
	all := &folderReader{w: w, link: "/me/mailFolders/delta", view: map[string]string{}}
	all.round()
	w.do(http.MethodPost, "/me/mailFolders/"+gone+"/permanentDelete", "").is(204)
	w.do(http.MethodPost, "/me/mailFolders/"+moved+"/move", `{"destinationId":"inbox"}`).is(200)
	search := w.do(http.MethodPost, below("inbox"), `{"@odata.type":"microsoft.graph.mailSearchFolder","displayName":"S","sourceFolderIds":["inbox"],"filterQuery":"isRead eq false"}`).is(201).str("id")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second reads what the first has compacted
		again := start(t, sandbox.StoreDir(dir))
		u, err := url.Parse(all.link)
		if err != nil {
			t.Fatal(err)
		}
		r := &folderReader{w: again, link: strings.TrimPrefix(u.RequestURI(), "/v1.0"), view: map[string]string{gone: "Gone", moved: "Moved"}}
		if r.round(); r.view[gone] != "" || r.view[moved] != "Moved 0 0" {
			t.Errorf("after a restart: %v", r.told)
		}
		if got := again.get("/me/mailFolders/" + search).is(200); got.str("filterQuery") != "isRead eq false" {
			t.Errorf("search folder: %s", got.raw)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStoreOfBeforeTheHiddenFoldersOpens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.StoreDir(dir), sandbox.Mailboxes(1))
	own := w.folder("/me/mailFolders", "Own")
	w.do(http.MethodPost, "/me/mailFolders/"+w.folder("/me/mailFolders", "Gone")+"/permanentDelete", "").is(204)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// What an older sandbox wrote: no such folders, no settings, no seq of a
	// removal, nothing on where a folder was made.
	path := filepath.Join(dir, "sandbox.journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := regexp.MustCompile(`\{"folder":\{"key":\d+,"parent":\d+,"name":"[^"]*","well_known":"(conversationhistory|clutter|scheduled|syncissues|conflicts|localfailures|serverfailures|searchfolders|recoverableitemsdeletions)"[^}]*\},"box":"[^"]*"\},?`).ReplaceAll(text, nil)
	old = regexp.MustCompile(`,"(born|placed|counted)":\d+`).ReplaceAll(old, nil)
	old = []byte(strings.ReplaceAll(string(old), "},]", "}]"))
	if len(old) >= len(text) || strings.Contains(string(old), "clutter") {
		t.Fatal("the store was not made older")
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, sandbox.StoreDir(dir))
	again.get("/me/mailFolders/" + own).is(200)
	again.get("/me/mailFolders/clutter").is(200)
	r := &folderReader{w: again, link: "/me/mailFolders/delta", view: map[string]string{}}
	if r.round(); len(r.view) != 8 {
		t.Errorf("delta: %v", r.view)
	}
}
