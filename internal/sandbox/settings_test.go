package sandbox_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

const settingScopes = allMail + " MailboxSettings.ReadWrite"

func TestCategoriesHaveUniqueNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.StoreDir(dir)).as(ann, settingScopes)
	const at = "/me/outlook/masterCategories"
	first := w.get(at).is(200)
	if got := first.names(); len(got) != 6 || got[0] != "Red category" || first.value()[0]["color"] != "preset0" {
		t.Errorf("at first: %s", first.raw)
	}
	made := w.do(http.MethodPost, at, `{"displayName":"Project","color":"Preset9"}`).is(201)
	if made.str("color") != "preset9" || len(made.str("id")) != 36 {
		t.Errorf("made %s", made.raw)
	}
	w.do(http.MethodPost, at, `{"displayName":"PROJECT"}`).is(409, "ErrorCategoryAlreadyExists")
	w.do(http.MethodPost, at, `{"displayName":"X","color":"preset25"}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, at, `{"color":"preset1"}`).is(400, "ErrorInvalidRequest")
	one := at + "/" + made.str("id")
	if got := w.do(http.MethodPatch, one, `{"color":"none"}`).is(200); got.str("color") != "none" || got.str("displayName") != "Project" {
		t.Errorf("changed %s", got.raw)
	}
	w.do(http.MethodPatch, one, `{"displayName":"Other"}`).is(400, "ErrorInvalidPropertySet")
	w.get(one).is(200)
	w.do(http.MethodDelete, one, "").is(204)
	w.get(one).is(404, "ErrorItemNotFound")
	w.do(http.MethodDelete, at+"/"+fmt.Sprint(first.value()[0]["id"]), "").is(204)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, sandbox.StoreDir(dir)).as(ann, settingScopes)
	if got := again.get(at).names(); len(got) != 5 {
		t.Errorf("a deleted category came back: %v", got)
	}
	again.as(ann, allMail).get(at).is(403, "ErrorAccessDenied")
}

func TestMailboxSettingsAreReadWholeAndInParts(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, settingScopes)
	const at = "/me/mailboxSettings"
	all := w.get(at).is(200)
	if all.str("timeZone") != "UTC" || all.str("userPurpose") != "user" || all.json["id"] != nil ||
		all.str("archiveFolder") != w.get("/me/mailFolders/archive").str("id") || all.json["workingHours"] == nil {
		t.Errorf("all: %s", all.raw)
	}
	for _, name := range []string{"timeZone", "dateFormat", "timeFormat", "userPurpose", "delegateMeetingMessageDeliveryOptions"} {
		if got := w.get(at + "/" + name).is(200); got.str("value") != all.str(name) || got.str("value") == "" {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	for name, member := range map[string]string{"automaticRepliesSetting": "status", "language": "locale", "workingHours": "startTime"} {
		got := w.get(at + "/" + name).is(200)
		if whole := all.json[name].(map[string]any); got.str(member) == "" || whole[member] != got.str(member) {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	if got := w.get(at + "?$select=timeZone").is(200); len(got.json) != 2 {
		t.Errorf("$select: %s", got.raw)
	}
	got := w.do(http.MethodPatch, at, `{"timeZone":"Europe/Vienna","dateFormat":"dd.MM.yyyy","timeFormat":"HH:mm","language":{"locale":"de-at"},
		"workingHours":{"startTime":"09:30","endTime":"18:00:00"},"delegateMeetingMessageDeliveryOptions":"sendToDelegateAndPrincipal","userPurpose":"room"}`).is(200)
	hours := got.json["workingHours"].(map[string]any)
	if got.str("timeZone") != "Europe/Vienna" || hours["startTime"] != "09:30:00.0000000" || len(hours["daysOfWeek"].([]any)) != 5 ||
		fmt.Sprint(got.json["language"]) != "map[displayName:Deutsch (Österreich) locale:de-AT]" || got.str("userPurpose") != "user" {
		t.Errorf("changed: %s", got.raw)
	}
	if v := w.get(at + "/timeZone").is(200).str("value"); v != "Europe/Vienna" {
		t.Errorf("the time zone comes as it was set: %s", v)
	}
	for body, code := range map[string]string{
		`{"timeZone":"Mars Standard Time"}`:                        "ErrorInvalidTimeZone",
		`{"workingHours":{"timeZone":{"name":"Nowhere"}}}`:         "ErrorInvalidTimeZone",
		`{"workingHours":{"startTime":"18:00","endTime":"08:00"}}`: "ErrorInvalidArgument",
		`{"language":{"locale":"xx-XX"}}`:                          "ErrorInvalidArgument",
		`{"dateFormat":"whenever"}`:                                "ErrorInvalidArgument",
		`{"timeFormat":"late"}`:                                    "ErrorInvalidArgument",
		`{"timezone":"UTC"}`:                                       "RequestBodyRead",
		`{"automaticRepliesSetting":{"status":"maybe"}}`:           "RequestBodyRead",
		`{"automaticRepliesSetting":{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2030-01-02T00:00:00","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2030-01-01T00:00:00","timeZone":"UTC"}}}`: "ErrorInvalidScheduledOofDuration",
	} {
		w.do(http.MethodPatch, at, body).is(400, code)
	}
	w.get(at+"?$select=nope").is(400, "RequestBroker--ParseUri")
	w.as(ann, "MailboxSettings.Read").do(http.MethodPatch, at, `{}`).is(403, "ErrorAccessDenied")
	w.as(ben, settingScopes).get(at + "/timeZone").is(200)
}

func TestSupportedLanguagesAndTimeZones(t *testing.T) {
	t.Parallel()
	w := start(t)
	if got := w.get("/me/outlook/supportedLanguages").is(200).value(); len(got) < 40 || got[0]["locale"] != "af-ZA" {
		t.Errorf("%d languages", len(got))
	}
	alias := func(path string) []string {
		list := []string{}
		for _, z := range w.get("/me/outlook/supportedTimeZones" + path).is(200).value() {
			list = append(list, fmt.Sprint(z["alias"]))
		}
		return list
	}
	windows := alias("")
	if !slices.Contains(windows, "W. Europe Standard Time") || !slices.Equal(windows, alias("()")) ||
		!slices.Equal(windows, alias("(TimeZoneStandard=microsoft.graph.timeZoneStandard'Windows')")) {
		t.Errorf("Windows: %v", windows)
	}
	iana := alias("(TimeZoneStandard=microsoft.graph.timeZoneStandard'Iana')")
	if !slices.Contains(iana, "Europe/Berlin") || slices.Contains(iana, "UTC-11") || !slices.Equal(iana, alias("(TimeZoneStandard='iana')")) {
		t.Errorf("IANA: %v", iana)
	}
	w.get("/me/outlook/supportedTimeZones(TimeZoneStandard='Moon')").is(400, "RequestBroker--ParseUri")
}

func TestIDsAreTranslated(t *testing.T) {
	t.Parallel()
	w := start(t)
	ordinary := w.draft("m")
	immutable := w.with("Prefer", `IdType="ImmutableId"`).get("/me/messages").value()[0]["id"].(string)
	folder := w.get("/me/mailFolders/inbox").str("id")
	translate := func(from, to string, ids ...string) []map[string]any {
		t.Helper()
		return w.do(http.MethodPost, "/me/translateExchangeIds",
			fmt.Sprintf(`{"inputIds":[%s],"sourceIdType":%q,"targetIdType":%q}`, `"`+strings.Join(ids, `","`)+`"`, from, to)).is(200).value()
	}
	one := func(from, to, id string) string {
		t.Helper()
		r := translate(from, to, id)[0]
		if r["sourceId"] != id {
			t.Errorf("sourceId %v", r["sourceId"])
		}
		s, _ := r["targetId"].(string)
		return s
	}
	if got := one("restId", "restImmutableEntryId", ordinary); got != immutable {
		t.Errorf("to immutable: %s", got)
	}
	if got := one("restImmutableEntryId", "restId", immutable); got != ordinary {
		t.Errorf("to ordinary: %s", got)
	}
	if got := one("restId", "restImmutableEntryId", folder); got != folder {
		t.Errorf("a folder's id is constant: %s", got)
	}
	for _, format := range []string{"entryId", "ewsId", "immutableEntryId", "restImmutableEntryId"} {
		there := one("restId", format, ordinary)
		if back := one(format, "restId", there); there == "" || back != ordinary {
			t.Errorf("by way of %s (%s): %s", format, there, back)
		}
	}
	if entry := one("restId", "entryId", ordinary); strings.HasSuffix(entry, "=") || !strings.ContainsAny(entry[len(entry)-1:], "012") {
		t.Errorf("entryId %s", entry)
	}
	w.do(http.MethodPost, "/me/messages/"+ordinary+"/move", `{"destinationId":"archive"}`).is(201)
	list := translate("restId", "restImmutableEntryId", "nonsense", ordinary, immutable, folder)
	for i, code := range []string{"ErrorInvalidIdMalformed", "ErrorItemNotFound", "ErrorInvalidIdMalformed", ""} {
		details, _ := list[i]["errorDetails"].(map[string]any)
		if got, _ := details["code"].(string); got != code || (list[i]["targetId"] == nil) != (code != "") {
			t.Errorf("%d: %v", i, list[i])
		}
	}
	many := strings.Repeat(`"x",`, 1000) + `"x"`
	w.do(http.MethodPost, "/me/translateExchangeIds", `{"inputIds":[`+many+`],"sourceIdType":"restId","targetIdType":"ewsId"}`).is(400, "ErrorInvalidArgument")
	w.do(http.MethodPost, "/me/translateExchangeIds", `{"inputIds":["x"],"sourceIdType":"odd","targetIdType":"ewsId"}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, "/me/translateExchangeIds", `{"inputIds":["x"],"sourceIdType":"restId"}`).is(400, "RequestBodyRead")
}

func TestAutomaticRepliesAnswerEachSenderOnce(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, settingScopes)
	b := w.as(ben, settingScopes)
	set := func(who *world, setting string) {
		t.Helper()
		who.do(http.MethodPatch, "/me/mailboxSettings", `{"automaticRepliesSetting":`+setting+`}`).is(200)
	}
	away := `{"status":"alwaysEnabled","externalAudience":"none","internalReplyMessage":"I am away","externalReplyMessage":"Away"}`
	set(w, away)
	set(b, away) // two who are away do not answer each other for ever
	for range 2 {
		b.do(http.MethodPost, "/me/sendMail", sendMail("hello", ann)).is(202)
	}
	w.deliver(ann, "from outside")
	if got := b.in("inbox"); !slices.Equal(got, []string{"Automatic reply: hello"}) {
		t.Errorf("ben has %v", got)
	}
	if got := w.in("inbox"); len(got) != 3 {
		t.Errorf("ann has %v", got)
	}
	replies := func() (n int) {
		for _, e := range w.Effects() {
			if e.Kind == sandbox.EffectSent && e.RequestID == "" {
				n++
			}
		}
		return n
	}
	if replies() != 1 {
		t.Errorf("ledger %+v", w.Effects())
	}
	set(w, `{"externalAudience":"all"}`)
	w.deliver(ann, "from outside")
	if replies() != 2 {
		t.Errorf("an outsider was not answered: %+v", w.Effects())
	}
	day := func(d int) string {
		return fmt.Sprintf(`{"dateTime":%q,"timeZone":"UTC"}`, time.Now().UTC().AddDate(0, 0, d).Format("2006-01-02T15:04:05"))
	}
	set(w, `{"status":"scheduled","scheduledStartDateTime":`+day(1)+`,"scheduledEndDateTime":`+day(2)+`}`)
	w.deliver(ann, "before")
	if replies() != 2 {
		t.Error("answered before the time")
	}
	set(w, `{"status":"scheduled","scheduledStartDateTime":`+day(-1)+`,"scheduledEndDateTime":`+day(1)+`}`)
	w.deliver(ann, "within")
	if replies() != 3 {
		t.Error("not answered within the time")
	}
	set(w, `{"status":"disabled"}`)
	w.deliver(ann, "after")
	if replies() != 3 {
		t.Error("answered though disabled")
	}
}

func TestMailTips(t *testing.T) {
	t.Parallel()
	w := start(t)
	b := w.as(ben, settingScopes)
	b.do(http.MethodPatch, "/me/mailboxSettings", `{"automaticRepliesSetting":{"status":"alwaysEnabled","internalReplyMessage":"Away"}}`).is(200)
	got := w.do(http.MethodPost, "/me/getMailTips", `{"EmailAddresses":["ben@contoso.example","cleo@contoso.example","x@fabrikam.example","nobody@contoso.example"],
		"MailTipsOptions":"automaticReplies, mailboxFullStatus,recipientScope,maxMessageSize"}`).is(200).value()
	if len(got) != 4 {
		t.Fatalf("tips: %v", got)
	}
	if r := got[0]["automaticReplies"].(map[string]any); r["message"] != "Away" || r["messageLanguage"] == nil || got[0]["mailboxFull"] != false || got[0]["recipientScope"] != "internal" {
		t.Errorf("ben: %v", got[0])
	}
	if r := got[1]["automaticReplies"].(map[string]any); r["message"] != "" || got[1]["customMailTip"] != nil || got[1]["maxMessageSize"] == 0.0 {
		t.Errorf("cleo: %v", got[1])
	}
	if got[2]["recipientScope"] != "external" || got[2]["error"] != nil {
		t.Errorf("outside: %v", got[2])
	}
	if got[3]["error"] == nil {
		t.Errorf("nobody: %v", got[3])
	}
	w.do(http.MethodPost, "/me/getMailTips", `{"EmailAddresses":["x@y.example"],"MailTipsOptions":"weather"}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, "/me/getMailTips", `{"EmailAddresses":[],"MailTipsOptions":"automaticReplies"}`).is(400, "ErrorInvalidArgument")
}
