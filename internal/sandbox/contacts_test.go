package sandbox_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func contactsWorld(t *testing.T, opts ...sandbox.Option) *world {
	t.Helper()
	return start(t, opts...).as(ann, "Contacts.ReadWrite")
}

// made posts an entity and returns the answer.
func (w *world) made(path, body string) *reply {
	w.t.Helper()
	return w.do(http.MethodPost, path, body).is(http.StatusCreated)
}

// texts lists one property of the items of a page.
func (r *reply) texts(name string) []string {
	r.t.Helper()
	list := []string{}
	for _, item := range r.value() {
		text, _ := item[name].(string)
		list = append(list, text)
	}
	return list
}

func filtered(path, filter string) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + "$filter=" + url.QueryEscape(filter)
}

func TestAContactIsCompletedAsExchangeDoes(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	r := w.made("/me/contacts", `{"givenName":"Pavel","surname":"Bansky","emailAddresses":[{"address":"pavel@fabrikam.example"},{"address":"p@home.example","name":"Home"}],
		"businessPhones":["+1 732 555 0102"],"birthday":"1980-05-04T11:59:00+02:00","homeAddress":{"city":"Brno"}}`)
	if r.str("displayName") != "Pavel Bansky" || r.str("fileAs") != "Bansky, Pavel" || r.str("birthday") != "1980-05-04T09:59:00Z" {
		t.Errorf("not completed: %s", r.raw)
	}
	addresses := r.json["emailAddresses"].([]any)
	if len(addresses) != 2 || addresses[0].(map[string]any)["name"] != "pavel@fabrikam.example" || addresses[1].(map[string]any)["name"] != "Home" {
		t.Errorf("addresses %v", addresses)
	}
	if r.header.Get("ETag") == "" || r.header.Get("ETag") != r.str("@odata.etag") || !strings.Contains(r.str("@odata.etag"), r.str("changeKey")) {
		t.Errorf("etag %q, change key %q", r.header.Get("ETag"), r.str("changeKey"))
	}
	for _, name := range []string{"homePhones", "imAddresses", "children", "categories"} {
		if list, ok := r.json[name].([]any); !ok || len(list) != 0 {
			t.Errorf("%s is %v", name, r.json[name])
		}
	}
	for _, name := range []string{"photo", "extensions", "singleValueExtendedProperties"} {
		if _, there := r.json[name]; there {
			t.Errorf("%s is shown unasked", name)
		}
	}
	one := "/me/contacts/" + r.str("id")
	// A part of the name without displayName gives another display name.
	if got := w.do(http.MethodPatch, one, `{"surname":"Novak"}`).is(200).str("displayName"); got != "Pavel Novak" {
		t.Errorf("display name %q", got)
	}
	if got := w.do(http.MethodPatch, one, `{"surname":"Bansky","displayName":"The boss"}`).is(200).str("displayName"); got != "The boss" {
		t.Errorf("display name %q", got)
	}
	if got := w.do(http.MethodPatch, one, `{"jobTitle":"Director"}`).is(200).str("displayName"); got != "The boss" {
		t.Errorf("display name %q", got)
	}
}

func TestWhatAContactCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	for body, code := range map[string]string{
		`{"givenNam":"x"}`:                    "RequestBodyRead",
		`{"givenName":7}`:                     "RequestBodyRead",
		`{"birthday":"tomorrow"}`:             "RequestBodyRead",
		`{"homePhones":["1","2","3"]}`:        "ErrorPropertyValidationFailure",
		`{"emailAddresses":[{},{},{},{}]}`:    "ErrorPropertyValidationFailure",
		`{"emailAddresses":[{"mail":"x@y"}]}`: "RequestBodyRead",
		`{`:                                   "BadRequest",
	} {
		w.do(http.MethodPost, "/me/contacts", body).is(http.StatusBadRequest, code)
	}
	w.get("/me/contacts/abc").is(400, "ErrorInvalidIdMalformed")
	w.get("/me/contacts?$select=nick").is(400, "RequestBroker--ParseUri")
	w.as(ann, "Contacts.Read").do(http.MethodPost, "/me/contacts", `{}`).is(403, "ErrorAccessDenied")
	w.as(ben, "Contacts.Read").get("/users/"+ann+"/contacts").is(403, "ErrorAccessDenied")
	w.as(ben, "Contacts.Read.Shared").get("/users/" + ann + "/contacts").is(200)
	w.do(http.MethodPut, "/me/contacts", `{}`).is(405)
}

func TestContactsAreFoundSortedAndPaged(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	for _, name := range []string{"Mia", "ada", "Zoe", "Adam"} {
		w.made("/me/contacts", `{"givenName":"`+name+`","emailAddresses":[{"address":"`+name+`@fabrikam.example"}],"categories":["c-`+name+`"]}`)
	}
	for filter, want := range map[string][]string{
		"emailAddresses/any(a:a/address eq 'mia@fabrikam.example')": {"Mia"},
		"startswith(displayName,'ad')":                              {"ada", "Adam"},
		"givenName eq 'Zoe' or givenName eq 'Mia'":                  {"Mia", "Zoe"},
		"categories/any(c:c eq 'c-Adam')":                           {"Adam"},
		"not startswith(givenName,'a')":                             {"Mia", "Zoe"},
	} {
		if got := w.get(filtered("/me/contacts?$select=givenName", filter)).is(200).texts("givenName"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	w.get(filtered("/me/contacts", "nobody eq 'x'")).is(400, "RequestBroker--ParseUri")
	r := w.get("/me/contacts?$orderby=givenName%20desc&$top=3&$count=true&$select=givenName").is(200)
	if got := r.texts("givenName"); !slices.Equal(got, []string{"Zoe", "Mia", "Adam"}) || r.json["@odata.count"] != 4.0 {
		t.Errorf("first page %s", r.raw)
	}
	if got := w.get(r.str("@odata.nextLink")).is(200).texts("givenName"); !slices.Equal(got, []string{"ada"}) {
		t.Errorf("second page %v", got)
	}
	for range 8 {
		w.made("/me/contacts", `{"nickName":"x"}`)
	}
	if n := len(w.get("/me/contacts").is(200).value()); n != 10 {
		t.Errorf("a page without $top has %d", n)
	}
}

func TestAContactIsGoneOnceDeletedAndItsChangeKeyGuardsIt(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	r := w.made("/me/contacts", `{"givenName":"Ida"}`)
	one := "/me/contacts/" + r.str("id")
	w.with("If-Match", `W/"old"`).do(http.MethodPatch, one, `{"givenName":"x"}`).is(412, "ErrorIrresolvableConflict")
	w.with("If-Match", r.str("@odata.etag")).do(http.MethodPatch, one, `{"givenName":"Jo"}`).is(200)
	w.with("If-Match", r.str("@odata.etag")).do(http.MethodDelete, one, "").is(412)
	if got := w.with("Prefer", `IdType="ImmutableId"`).get(one).is(200); got.str("id") == r.str("id") {
		t.Error("the immutable id is the ordinary one")
	}
	w.do(http.MethodDelete, one, "").is(204)
	w.get(one).is(404, "ErrorItemNotFound")
	w.do(http.MethodDelete, one, "").is(404, "ErrorItemNotFound")
	again := w.made("/me/contacts", `{"givenName":"Ida"}`).str("id")
	w.do(http.MethodPost, "/me/contacts/"+again+"/permanentDelete", "").is(204)
	w.get("/me/contacts/"+again).is(404, "ErrorItemNotFound")
	effects := w.Effects()
	if len(effects) != 2 || effects[0].What != "contact" || effects[0].Item != r.str("id") {
		t.Errorf("effects %+v", effects)
	}
}

func TestContactFoldersNestAndLeaveTheDefaultOneOut(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	if n := len(w.get("/me/contactFolders").is(200).value()); n != 0 {
		t.Fatalf("%d folders at the beginning", n)
	}
	w.made("/me/contacts", `{"givenName":"Ann"}`)
	home := w.get("/me/contacts?$top=1&$select=parentFolderId").is(200).texts("parentFolderId")[0]
	if got := w.get("/me/contactFolders/" + home).is(200); got.str("displayName") != "Contacts" || got.str("id") != home {
		t.Errorf("default folder %s", got.raw)
	}
	if got := w.get("/me/contactFolders/" + home + "/contacts").is(200).texts("givenName"); !slices.Equal(got, []string{"Ann"}) {
		t.Errorf("in the default folder: %v", got)
	}
	top := w.made("/me/contactFolders", `{"displayName":"Work"}`)
	if top.str("parentFolderId") != home {
		t.Errorf("the parent of a new folder is %s", top.str("parentFolderId"))
	}
	w.do(http.MethodPost, "/me/contactFolders", `{"displayName":"WORK"}`).is(409, "ErrorFolderExists")
	w.do(http.MethodPost, "/me/contactFolders", `{}`).is(400, "ErrorInvalidRequest")
	at := "/me/contactFolders/" + top.str("id")
	child := w.made(at+"/childFolders", `{"displayName":"Work"}`).str("id")
	deep := w.made("/me/contactFolders/"+child+"/childFolders", `{"displayName":"Deep"}`).str("id")
	path := at + "/childFolders/" + child + "/childFolders/" + deep
	who := w.made(path+"/contacts", `{"givenName":"Ben"}`)
	if who.str("parentFolderId") != deep {
		t.Errorf("parent %s", who.str("parentFolderId"))
	}
	w.get(path + "/contacts/" + who.str("id")).is(200)
	w.get("/me/contacts/" + who.str("id")).is(200)
	w.get(at+"/contacts/"+who.str("id")).is(404, "ErrorItemNotFound")
	w.get(at+"/childFolders/"+deep).is(404, "ErrorItemNotFound") // not in this one
	if n := len(w.get("/me/contacts").is(200).value()); n != 1 {
		t.Errorf("the list of the default folder has %d", n)
	}
	if got := w.get("/me/contactFolders").is(200).texts("displayName"); !slices.Equal(got, []string{"Work"}) {
		t.Errorf("first level: %v", got)
	}
	r := w.get("/me/contactFolders/" + deep + "?$expand=contacts($select=givenName)").is(200)
	if list, _ := r.json["contacts"].([]any); len(list) != 1 || list[0].(map[string]any)["givenName"] != "Ben" {
		t.Errorf("expanded: %s", r.raw)
	}
	if got := w.do(http.MethodPatch, at, `{"displayName":"Office"}`).is(200).str("displayName"); got != "Office" {
		t.Errorf("renamed to %q", got)
	}
	w.do(http.MethodPatch, "/me/contactFolders/"+home, `{"displayName":"Mine"}`).is(403)
	w.do(http.MethodDelete, "/me/contactFolders/"+home, "").is(403, "ErrorDeleteDistinguishedFolder")
	w.do(http.MethodPost, at+"/childFolders/"+child+"/permanentDelete", "").is(204)
	w.get("/me/contactFolders/"+deep).is(404, "ErrorItemNotFound")
	w.get("/me/contacts/"+who.str("id")).is(404, "ErrorItemNotFound")
	w.do(http.MethodDelete, at, "").is(204)
	w.get(at).is(404, "ErrorItemNotFound")
}

// deltaRound follows a round to its end and returns the items and the deltaLink.
func (w *world) deltaRound(link string) (items []map[string]any, next string) {
	w.t.Helper()
	for link != "" {
		r := w.get(link).is(http.StatusOK)
		items = append(items, r.value()...)
		link, next = r.str("@odata.nextLink"), r.str("@odata.deltaLink")
	}
	return items, next
}

func TestContactsAndTheirFoldersHaveDeltas(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	folder := w.made("/me/contactFolders", `{"displayName":"Work"}`).str("id")
	at := "/me/contactFolders/" + folder + "/contacts"
	stays := w.made(at, `{"givenName":"Ann"}`).str("id")
	goes := w.made(at, `{"givenName":"Ben"}`).str("id")
	w.made("/me/contacts", `{"givenName":"Else"}`)

	items, link := w.with("Prefer", "odata.maxpagesize=1").deltaRound(at + "/delta")
	if len(items) != 2 || items[0]["givenName"] != "Ann" {
		t.Fatalf("first round: %v", items)
	}
	if items, link = w.deltaRound(link); len(items) != 0 {
		t.Errorf("nothing changed, but %v", items)
	}
	w.do(http.MethodPatch, "/me/contacts/"+stays, `{"givenName":"Anna"}`).is(200)
	w.do(http.MethodDelete, "/me/contacts/"+goes, "").is(204)
	items, link = w.deltaRound(link)
	if len(items) != 2 || items[0]["givenName"] != "Anna" || items[0]["displayName"] != "Anna" || items[1]["id"] != goes || items[1]["@removed"] == nil {
		t.Errorf("second round: %v", items)
	}
	w.get(at+"/delta()?$filter="+url.QueryEscape("givenName eq 'x'")).is(400, "ErrorInvalidUrlQuery")
	w.get(strings.Replace(link, "$deltatoken=", "$deltatoken=x", 1)).is(410)
	if items, _ = w.deltaRound("/me/contacts/delta?$select=givenName"); len(items) != 1 || items[0]["givenName"] != "Else" || items[0]["surname"] != nil {
		t.Errorf("default folder: %v", items)
	}

	items, link = w.deltaRound("/me/contactFolders/delta")
	if len(items) != 1 || items[0]["displayName"] != "Work" {
		t.Errorf("folders: %v", items)
	}
	child := w.made("/me/contactFolders/"+folder+"/childFolders", `{"displayName":"Below"}`).str("id")
	if items, link = w.deltaRound(link); len(items) != 1 || items[0]["id"] != child || items[0]["parentFolderId"] != folder {
		t.Errorf("a folder at depth: %v", items)
	}
	if items, _ = w.deltaRound("/me/contactFolders/" + folder + "/childFolders/delta"); len(items) != 1 || items[0]["id"] != child {
		t.Errorf("children: %v", items)
	}
	w.do(http.MethodDelete, "/me/contactFolders/"+folder, "").is(204)
	if items, _ = w.deltaRound(link); len(items) != 2 || items[0]["@removed"] == nil || items[1]["@removed"] == nil {
		t.Errorf("removed: %v", items)
	}
}

func TestContactsCarryExtendedProperties(t *testing.T) {
	t.Parallel()
	w := contactsWorld(t)
	const (
		key  = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Key"
		many = "StringArray {66f5a359-4659-4830-9070-00047ec6ac6e} Name Many"
	)
	id := w.made("/me/contacts", `{"givenName":"Ann","singleValueExtendedProperties":[{"id":"`+key+`","value":"k1"}],
		"multiValueExtendedProperties":[{"id":"`+many+`","value":["a","b"]}]}`).str("id")
	w.made("/me/contacts", `{"givenName":"Ben","singleValueExtendedProperties":[{"id":"`+key+`","value":"k2"}]}`)
	one := "/me/contacts/" + id
	if r := w.get(one).is(200); r.json["singleValueExtendedProperties"] != nil {
		t.Errorf("shown unasked: %s", r.raw)
	}
	for filter, want := range map[string][]string{
		"singleValueExtendedProperties/Any(ep: ep/id eq '" + key + "' and ep/value eq 'k2')":                    {"Ben"},
		"singleValueExtendedProperties/any(ep: ep/id eq '" + key + "' and ep/value ne null)":                    {"Ann", "Ben"},
		"multiValueExtendedProperties/any(ep: ep/id eq '" + many + "' and ep/value/any(v: v eq 'b'))":           {"Ann"},
		"multiValueExtendedProperties/any(ep: ep/id eq '" + many + "' and ep/value/any(v: v eq 'c'))":           {},
		"singleValueExtendedProperties/any(ep: ep/id eq '" + key + "' and ep/value eq 'k1') and surname eq 'x'": {},
	} {
		if got := w.get(filtered("/me/contacts", filter)).is(200).texts("givenName"); !slices.Equal(got, want) {
			t.Errorf("%s: %v", filter, got)
		}
	}
	expand := func(name, id string) string {
		return "$expand=" + url.QueryEscape(name+"($filter=id eq '"+id+"')")
	}
	r := w.get(one + "?" + expand("singleValueExtendedProperties", strings.ToLower(key))).is(200)
	list, _ := r.json["singleValueExtendedProperties"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["value"] != "k1" {
		t.Errorf("expanded: %s", r.raw)
	}
	r = w.get(one + "?" + expand("multiValueExtendedProperties", many)).is(200)
	if list, _ = r.json["multiValueExtendedProperties"].([]any); len(list) != 1 || len(list[0].(map[string]any)["value"].([]any)) != 2 {
		t.Errorf("expanded: %s", r.raw)
	}
	w.get(one+"?$expand=singleValueExtendedProperties").is(400, "ErrorInvalidArgument")
	w.do(http.MethodPatch, one, `{"singleValueExtendedProperties":[{"id":"nonsense","value":"x"}]}`).is(400, "ErrorInvalidArgument")
	w.do(http.MethodPatch, one, `{"singleValueExtendedProperties":[{"id":"`+key+`","value":"k3"}]}`).is(200)
	if got := w.get(filtered("/me/contacts", "singleValueExtendedProperties/any(ep: ep/id eq '"+key+"' and ep/value eq 'k3')")).is(200).texts("givenName"); !slices.Equal(got, []string{"Ann"}) {
		t.Errorf("after the change: %v", got)
	}
	// Folders carry them, too.
	w.made("/me/contactFolders", `{"displayName":"Work","singleValueExtendedProperties":[{"id":"`+key+`","value":"f"}]}`)
	w.made("/me/contactFolders", `{"displayName":"Play"}`)
	if got := w.get(filtered("/me/contactFolders", "singleValueExtendedProperties/any(ep: ep/id eq '"+key+"' and ep/value eq 'f')")).is(200).texts("displayName"); !slices.Equal(got, []string{"Work"}) {
		t.Errorf("folders: %v", got)
	}
}

func TestContactsOutliveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := contactsWorld(t, sandbox.StoreDir(dir))
	folder := w.made("/me/contactFolders", `{"displayName":"Work"}`).str("id")
	child := w.made("/me/contactFolders/"+folder+"/childFolders", `{"displayName":"Below"}`).str("id")
	who := w.made("/me/contactFolders/"+child+"/contacts", `{"givenName":"Ann","extensions":[{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"com.x","n":1}]}`).str("id")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = contactsWorld(t, sandbox.StoreDir(dir))
	if got := w.get("/me/contactFolders/" + folder + "/childFolders").is(200).texts("id"); !slices.Equal(got, []string{child}) {
		t.Errorf("children %v", got)
	}
	if n := len(w.get("/me/contactFolders").is(200).value()); n != 1 {
		t.Errorf("%d folders", n)
	}
	r := w.get("/me/contactFolders/" + child + "/contacts/" + who + "?$expand=extensions").is(200)
	if list, _ := r.json["extensions"].([]any); len(list) != 1 || list[0].(map[string]any)["n"] != 1.0 {
		t.Errorf("extensions %s", r.raw)
	}
}
