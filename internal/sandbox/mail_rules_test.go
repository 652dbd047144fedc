package sandbox_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

const ruleScopes = allMail + " MailboxSettings.ReadWrite"

const inboxRules = "/me/mailFolders/inbox/messageRules"

// rule makes a rule from its conditions and actions.
func (w *world) rule(sequence int, conditions, actions string) string {
	w.t.Helper()
	return w.do(http.MethodPost, inboxRules, fmt.Sprintf(`{"displayName":"R%d","sequence":%[1]d,"conditions":%s,"actions":%s}`, sequence, conditions, actions)).is(201).str("id")
}

func TestRulesAreKept(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, ruleScopes)
	archive := w.get("/me/mailFolders/archive").str("id")
	second := w.rule(2, `{"subjectContains":["b"]}`, `{"moveToFolder":"archive"}`)
	first := w.rule(1, `{"senderContains":["adele"]}`, `{"stopProcessingRules":true}`)
	list := w.get(inboxRules).is(200).value()
	if len(list) != 2 || list[0]["id"] != first || list[1]["id"] != second || list[0]["isEnabled"] != true || list[0]["hasError"] != false || list[0]["isReadOnly"] != false {
		t.Errorf("list: %v", list)
	}
	if got := list[1]["actions"].(map[string]any); len(got) != 1 || got["moveToFolder"] != archive {
		t.Errorf("actions: %v", got)
	}
	got := w.do(http.MethodPatch, inboxRules+"/"+second, `{"displayName":"New","isEnabled":false,"hasError":true}`).is(200)
	if got.str("displayName") != "New" || got.json["isEnabled"] != false || got.json["hasError"] != false {
		t.Errorf("changed: %s", got.raw)
	}
	w.get(inboxRules + "/" + second).is(200)
	w.do(http.MethodDelete, inboxRules+"/"+second, "").is(204)
	w.get(inboxRules+"/"+second).is(404, "ErrorItemNotFound")
	for body, code := range map[string]string{
		`{"sequence":1,"actions":{"delete":true}}`:                                           "ErrorInvalidRequest",
		`{"displayName":"x","actions":{"delete":true}}`:                                      "ErrorInvalidRequest",
		`{"displayName":"x","sequence":1}`:                                                   "ErrorInvalidRequest",
		`{"displayName":"x","sequence":1,"actions":{}}`:                                      "ErrorInvalidRequest",
		`{"displayName":"x","sequence":0,"actions":{"delete":true}}`:                         "ErrorInvalidArgument",
		`{"displayName":"x","sequence":1,"actions":{"explode":true}}`:                        "RequestBodyRead",
		`{"displayName":"x","sequence":1,"actions":{"markImportance":"huge"}}`:               "RequestBodyRead",
		`{"displayName":"x","sequence":1,"actions":{"moveToFolder":"nowhere"}}`:              "ErrorInvalidIdMalformed",
		`{"displayName":"x","sequence":1,"actions":{"forwardTo":[{"emailAddress":{}}]}}`:     "ErrorInvalidRecipients",
		`{"displayName":"x","sequence":1,"conditions":{"moon":1},"actions":{"delete":true}}`: "RequestBodyRead",
	} {
		w.do(http.MethodPost, inboxRules, body).is(400, code)
	}
	w.get("/me/mailFolders/archive/messageRules").is(400, "ErrorInvalidRequest")
	w.as(ann, allMail).get(inboxRules).is(403, "ErrorAccessDenied")
}

func TestRulesSortMailThatArrives(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, ruleScopes)
	w.rule(1, `{"subjectContains":["NEWS"]}`, `{"moveToFolder":"archive","markAsRead":true,"assignCategories":["Blue category"],"markImportance":"low"}`)
	w.rule(2, `{"subjectContains":["news"]}`, `{"copyToFolder":"junkemail","stopProcessingRules":true}`)
	w.rule(3, `{"subjectContains":["news"]}`, `{"delete":true}`)
	w.rule(4, `{"subjectContains":["trash"]}`, `{"delete":true}`)
	w.rule(5, `{"subjectContains":["burn"]}`, `{"permanentDelete":true}`)
	for _, subject := range []string{"The news", "trash it", "burn it", "plain"} {
		w.deliver(ann, subject)
	}
	m := w.get("/me/mailFolders/archive/messages").value()
	if len(m) != 1 || m[0]["isRead"] != true || m[0]["importance"] != "low" || fmt.Sprint(m[0]["categories"]) != "[Blue category]" {
		t.Errorf("moved: %v", m)
	}
	for folder, want := range map[string][]string{"inbox": {"plain"}, "junkemail": {"The news"}, "deleteditems": {"trash it"}} {
		if got := w.in(folder); !slices.Equal(got, want) {
			t.Errorf("%s: %v", folder, got)
		}
	}
	if got := newReader(w, "inbox", "").round(); len(got.items) != 1 {
		t.Errorf("delta of the inbox told of what was never there: %v", got.items)
	}
	ids := w.get(inboxRules).value()
	w.do(http.MethodPatch, inboxRules+"/"+fmt.Sprint(ids[3]["id"]), `{"isEnabled":false}`).is(200)
	w.deliver(ann, "trash again")
	if got := w.in("inbox"); !slices.Equal(got, []string{"trash again", "plain"}) {
		t.Errorf("a rule that is off: %v", got)
	}
	// Mail that is written here does not go through the rules.
	w.draft("burn this draft")
	if got := w.in("drafts"); len(got) != 1 {
		t.Errorf("drafts: %v", got)
	}
}

func TestRulesHoldByTheirConditions(t *testing.T) {
	t.Parallel()
	for conditions, want := range map[string]bool{
		`{}`:                                    true,
		`{"subjectContains":["quarter"]}`:       true,
		`{"subjectContains":["x","QUARTER"]}`:   true,
		`{"subjectContains":["x"]}`:             false,
		`{"bodyContains":["numbers"]}`:          true,
		`{"bodyContains":["quarter"]}`:          false,
		`{"bodyOrSubjectContains":["quarter"]}`: true,
		`{"fromAddresses":[{"emailAddress":{"address":"BEN@contoso.example"}}]}`:    true,
		`{"fromAddresses":[{"emailAddress":{"address":"x@contoso.example"}}]}`:      false,
		`{"senderContains":["ben@"]}`:                                               true,
		`{"recipientContains":["cleo"]}`:                                            true,
		`{"sentToAddresses":[{"emailAddress":{"address":"cleo@contoso.example"}}]}`: true,
		`{"sentToMe":true}`:                                        true,
		`{"sentToMe":false}`:                                       true, // the same as not given
		`{"sentCcMe":true}`:                                        false,
		`{"sentOnlyToMe":true}`:                                    false,
		`{"sentToOrCcMe":true}`:                                    true,
		`{"notSentToMe":true}`:                                     false,
		`{"hasAttachments":true}`:                                  true,
		`{"importance":"high"}`:                                    true,
		`{"importance":"low"}`:                                     false,
		`{"headerContains":["x-team: blue"]}`:                      true,
		`{"withinSizeRange":{"minimumSize":0,"maximumSize":100}}`:  true,
		`{"withinSizeRange":{"minimumSize":99,"maximumSize":100}}`: false,
		`{"isMeetingRequest":true}`:                                false,
		`{"isAutomaticReply":true}`:                                false,
		`{"isEncrypted":true}`:                                     false,
		`{"subjectContains":["quarter"],"importance":"low"}`:       false,
	} {
		w := start(t, sandbox.Mailboxes(3)).as(ann, ruleScopes)
		w.rule(1, conditions, `{"moveToFolder":"archive"}`)
		w.as(ben, allMail).do(http.MethodPost, "/me/sendMail", `{"message":{"subject":"The quarter","importance":"high","body":{"contentType":"html","content":"<p>num<b></b> numbers</p>"},
			"toRecipients":[{"emailAddress":{"address":"ann@contoso.example"}}],"ccRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}],
			"internetMessageHeaders":[{"name":"x-team","value":"blue"}],
			"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.txt","contentBytes":"aGVsbG8="}]}}`).is(202)
		if got := len(w.in("archive")) == 1; got != want {
			t.Errorf("%s: %t", conditions, got)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w := start(t).as(ann, ruleScopes)
	w.do(http.MethodPost, inboxRules, `{"displayName":"E","sequence":1,"exceptions":{"subjectContains":["keep"]},"actions":{"delete":true}}`).is(201)
	w.deliver(ann, "keep me")
	w.deliver(ann, "other")
	if got := w.in("inbox"); !slices.Equal(got, []string{"keep me"}) {
		t.Errorf("an exception: %v", got)
	}
}

func TestRulesSendMailOnAndStopLoops(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, ruleScopes)
	toward := func(who string) string {
		return fmt.Sprintf(`[{"emailAddress":{"address":%q}}]`, who)
	}
	w.rule(1, `{"subjectContains":["round"]}`, `{"forwardTo":`+toward(ben)+`}`)
	w.as(ben, ruleScopes).rule(1, `{"subjectContains":["round"]}`, `{"redirectTo":`+toward(ann)+`}`)
	w.deliver(ann, "round trip")
	if got := w.in("inbox"); !slices.Equal(got, []string{"FW: round trip", "round trip"}) {
		t.Errorf("ann has %v", got)
	}
	b := w.as(ben, allMail)
	if got := b.get("/me/messages").value(); len(got) != 1 || !strings.Contains(fmt.Sprint(got[0]["from"]), ann) {
		t.Errorf("ben has %v", got)
	}
	back := w.get("/me/messages?$filter=subject%20eq%20'FW:%20round%20trip'").value()[0]
	if !strings.Contains(fmt.Sprint(back["from"]), ann) || !strings.Contains(fmt.Sprint(back["toRecipients"]), ben) {
		t.Errorf("a redirected mail says who wrote it to whom: %v", back)
	}
	sent := w.Effects()
	if len(sent) < 3 {
		t.Fatalf("ledger %+v", sent)
	}
	var lines []string
	for _, e := range sent {
		if e.Kind == sandbox.EffectSent {
			lines = append(lines, e.Mailbox+" "+e.Subject+" "+fmt.Sprint(e.Recipients, e.Delivered)+e.RequestID)
		}
	}
	slices.Sort(lines)
	want := []string{"ann@contoso.example FW: round trip [ben@contoso.example] [ben@contoso.example]", "ben@contoso.example FW: round trip [ann@contoso.example] [ann@contoso.example]"}
	if !slices.Equal(lines, want) {
		t.Errorf("ledger %v", lines)
	}
}

func TestOverridesDecideOnTheFocusedInbox(t *testing.T) {
	t.Parallel()
	w := start(t)
	const at = "/me/inferenceClassification/overrides"
	made := w.do(http.MethodPost, at, `{"classifyAs":"other","senderEmailAddress":{"name":"Ads","address":"ads@fabrikam.example"}}`).is(201)
	deliver := func(from string) any {
		if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, From: from, Subject: "x"}); err != nil {
			t.Fatal(err)
		}
		return w.get("/me/mailFolders/inbox/messages?$top=1").value()[0]["inferenceClassification"]
	}
	if got := deliver("ADS@fabrikam.example"); got != "other" {
		t.Errorf("classified as %v", got)
	}
	if got := deliver("friend@fabrikam.example"); got != "focused" {
		t.Errorf("classified as %v", got)
	}
	again := w.do(http.MethodPost, at, `{"classifyAs":"focused","senderEmailAddress":{"name":"Adverts","address":"Ads@fabrikam.example"}}`).is(201)
	if again.str("id") != made.str("id") || len(w.get(at).is(200).value()) != 1 {
		t.Errorf("the same address again: %s", again.raw)
	}
	if got := deliver("ads@fabrikam.example"); got != "focused" {
		t.Errorf("classified as %v", got)
	}
	w.do(http.MethodPatch, at+"/"+made.str("id"), `{"classifyAs":"other"}`).is(200)
	if got := deliver("ads@fabrikam.example"); got != "other" {
		t.Errorf("classified as %v", got)
	}
	w.do(http.MethodPatch, at+"/"+made.str("id"), `{"senderEmailAddress":{"address":"b@fabrikam.example"}}`).is(400, "ErrorInvalidPropertySet")
	w.do(http.MethodPost, at, `{"classifyAs":"nowhere","senderEmailAddress":{"address":"b@fabrikam.example"}}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, at, `{"classifyAs":"other"}`).is(400, "ErrorInvalidRequest")
	w.do(http.MethodPost, at, `{"classifyAs":"other","senderEmailAddress":{"address":"b"}}`).is(400, "ErrorInvalidArgument")
	w.do(http.MethodDelete, at+"/"+made.str("id"), "").is(204)
	w.do(http.MethodDelete, at+"/"+made.str("id"), "").is(404, "ErrorItemNotFound")
	if got := deliver("ads@fabrikam.example"); got != "focused" {
		t.Errorf("classified as %v", got)
	}
}
