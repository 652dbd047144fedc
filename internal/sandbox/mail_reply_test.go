package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// addressesIn lists the addresses of a recipients property.
func addressesIn(m map[string]any, name string) []string {
	list := []string{}
	people, _ := m[name].([]any)
	for _, p := range people {
		e, _ := p.(map[string]any)["emailAddress"].(map[string]any)
		list = append(list, fmt.Sprint(e["address"]))
	}
	return list
}

// from sends a mail as somebody and returns it as ann finds it in her inbox.
func (w *world) from(upn, subject, extra string) map[string]any {
	w.t.Helper()
	w.as(upn, allMail).do(http.MethodPost, "/me/sendMail", `{"message":{"subject":"`+subject+`",
		"body":{"contentType":"html","content":"<html><body><p>How are you?</p></body></html>"},
		"toRecipients":[{"emailAddress":{"address":"ann@contoso.example","name":"Ann"}}]`+extra+`}}`).is(http.StatusAccepted)
	for _, m := range w.get("/me/mailFolders/inbox/messages?$top=50").is(http.StatusOK).value() {
		if m["subject"] == subject {
			return m
		}
	}
	w.t.Fatalf("no mail %q", subject)
	return nil
}

func TestAReplyGoesToTheSenderAndStaysInTheConversationOfEachMailbox(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.from(ben, "Order", `,"ccRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]`)
	first := w.as(ben, allMail).get("/me/mailFolders/sentitems/messages").is(200).value()[0]
	w.as(ann, "Mail.Send").do(http.MethodPost, "/me/messages/"+got["id"].(string)+"/reply", `{"comment":"Fine <3"}`).is(http.StatusAccepted)
	back := w.as(ben, allMail).get("/me/mailFolders/inbox/messages").is(200).value()
	if len(back) != 1 {
		t.Fatalf("ben has %d mails", len(back))
	}
	m := back[0]
	if m["subject"] != "RE: Order" || m["conversationId"] != first["conversationId"] || m["conversationId"] == got["conversationId"] {
		t.Errorf("%v in %v; the first in %v, ann's in %v", m["subject"], m["conversationId"], first["conversationId"], got["conversationId"])
	}
	body := m["body"].(map[string]any)["content"].(string)
	if !strings.Contains(body, "Fine &lt;3") || !strings.Contains(body, "How are you?") || strings.Count(body, "<body>") != 1 || !strings.Contains(body, "<b>From:</b>") {
		t.Errorf("body %s", body)
	}
	if to := addressesIn(m, "toRecipients"); !slices.Equal(to, []string{ben}) {
		t.Errorf("to %v", to)
	}
	if len(w.as(cleo, allMail).in("inbox")) != 1 {
		t.Error("cleo got the reply")
	}
	sent := w.get("/me/mailFolders/sentitems/messages").is(200).value()
	if len(sent) != 1 || sent[0]["conversationId"] != got["conversationId"] {
		t.Errorf("ann's copy: %v", sent)
	}
	unique := w.as(ben, allMail).get("/me/messages/" + m["id"].(string) + "?$select=uniqueBody").is(200)
	if text := fmt.Sprint(unique.json["uniqueBody"]); !strings.Contains(text, "Fine") || strings.Contains(text, "How are you") {
		t.Errorf("unique body %s", text)
	}
	headers := w.as(ben, allMail).get("/me/messages/" + m["id"].(string) + "?$select=internetMessageHeaders").is(200)
	if !strings.Contains(string(headers.raw), fmt.Sprintf(`{"name":"In-Reply-To","value":%q}`, got["internetMessageId"])) {
		t.Errorf("headers %s", headers.raw)
	}
}

func TestAReplyToAllLeavesOutOneselfAndARepliesAddressWins(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.from(ben, "All", `,"ccRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}},{"emailAddress":{"address":"ANN@contoso.example"}}],
		"replyTo":[{"emailAddress":{"address":"desk@fabrikam.example"}}]`)
	r := w.do(http.MethodPost, "/me/messages/"+got["id"].(string)+"/createReplyAll", "").is(http.StatusCreated)
	if to, cc := addressesIn(r.json, "toRecipients"), addressesIn(r.json, "ccRecipients"); !slices.Equal(to, []string{"desk@fabrikam.example"}) || !slices.Equal(cc, []string{cleo}) {
		t.Errorf("to %v cc %v", to, cc)
	}
	if r.json["isDraft"] != true || r.str("conversationId") != got["conversationId"] || r.str("subject") != "RE: All" || r.header.Get("Location") == "" {
		t.Errorf("draft %s", r.raw)
	}
	if got := w.in("drafts"); !slices.Equal(got, []string{"RE: All"}) {
		t.Errorf("drafts %v", got)
	}
	w.do(http.MethodPatch, "/me/messages/"+r.str("id"), `{"toRecipients":[{"emailAddress":{"address":"ben@contoso.example"}}],"ccRecipients":[]}`).is(200)
	w.do(http.MethodPost, "/me/messages/"+r.str("id")+"/send", "").is(http.StatusAccepted)
	if got := w.as(ben, allMail).in("inbox"); !slices.Equal(got, []string{"RE: All"}) {
		t.Errorf("ben has %v", got)
	}
	again := w.as(ben, allMail).get("/me/mailFolders/inbox/messages").value()[0]
	twice := w.as(ben, allMail).do(http.MethodPost, "/me/messages/"+again["id"].(string)+"/createReply", "{}").is(http.StatusCreated)
	if twice.str("subject") != "RE: All" {
		t.Errorf("subject %q", twice.str("subject"))
	}
}

func TestAForwardKeepsAttachmentsAndNeedsRecipients(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.from(ben, "File", `,"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.txt","contentBytes":"aGVsbG8="}]`)
	at := "/me/messages/" + got["id"].(string)
	w.do(http.MethodPost, at+"/forward", `{"comment":"x"}`).is(400, "ErrorInvalidRecipients")
	w.do(http.MethodPost, at+"/forward", `{"comment":"x","toRecipients":[{"emailAddress":{"address":"nowhere"}}]}`).is(400, "ErrorInvalidRecipients")
	w.do(http.MethodPost, at+"/forward", `{"toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}],
		"message":{"toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]}}`).is(400, "ErrorInvalidRequest")
	w.do(http.MethodPost, at+"/forward", `{"comment":"See","toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]}`).is(http.StatusAccepted)
	w.do(http.MethodPost, at+"/forward", `{"message":{"subject":"Other","body":{"contentType":"text","content":"only this"},
		"toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]}}`).is(http.StatusAccepted)
	list := w.as(cleo, allMail).get("/me/mailFolders/inbox/messages?$expand=attachments").is(200).value()
	if len(list) != 2 || list[0]["subject"] != "Other" || list[1]["subject"] != "FW: File" {
		t.Fatalf("cleo has %v", list)
	}
	for _, m := range list {
		if m["hasAttachments"] != true || !strings.Contains(fmt.Sprint(m["attachments"]), "aGVsbG8=") {
			t.Errorf("attachments of %v: %v", m["subject"], m["attachments"])
		}
	}
	if body := fmt.Sprint(list[0]["body"]); body != "map[content:only this contentType:text]" {
		t.Errorf("a body of one's own: %s", body)
	}
	draft := w.do(http.MethodPost, at+"/createForward", `{"toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}],"comment":"draft"}`).is(201)
	if draft.json["hasAttachments"] != true || len(addressesIn(draft.json, "toRecipients")) != 1 {
		t.Errorf("draft %s", draft.raw)
	}
	w.do(http.MethodPost, at+"/createReply", "").is(201)
	reply := w.get("/me/mailFolders/drafts/messages?$filter=subject%20eq%20'RE:%20File'").is(200).value()
	if len(reply) != 1 || reply[0]["hasAttachments"] != false {
		t.Errorf("a reply took the attachment along: %v", reply)
	}
}

func TestAnswersRefuse(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.from(ben, "x", "")
	at := "/me/messages/" + got["id"].(string)
	for _, action := range []string{"reply", "replyAll", "forward", "createReply", "createReplyAll", "createForward"} {
		path := at + "/" + action
		w.do(http.MethodPost, path, `{"comment":"a","message":{"body":{"contentType":"text","content":"b"}}}`).is(400, "ErrorInvalidRequest")
		w.do(http.MethodPost, path, `{"commentary":"a"}`).is(400, "RequestBodyRead")
		w.do(http.MethodPost, path, `{"message":{"topic":"b"}}`).is(400, "RequestBodyRead")
		w.do(http.MethodPost, path, `{"comment":`).is(400, "BadRequest")
		w.do(http.MethodPost, "/me/messages/nonsense/"+action, `{}`).is(400, "ErrorInvalidIdMalformed")
		w.with("Content-Type", "text/plain").do(http.MethodPost, path, "%").is(400, "ErrorMimeContentInvalidBase64String")
		w.as(ann, "Mail.Read").do(http.MethodPost, path, `{}`).is(403, "ErrorAccessDenied")
	}
	w.as(ann, "Mail.Send").do(http.MethodPost, at+"/createReply", `{}`).is(403, "ErrorAccessDenied")
	if e := w.Effects(); len(e) != 1 {
		t.Errorf("a refused answer had an effect: %v", e)
	}
}

func TestAnAnswerMayBeMIMEOrAddRecipients(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.from(ben, "Plan", "")
	at := "/me/messages/" + got["id"].(string)
	w.do(http.MethodPost, at+"/reply", `{"comment":"c","message":{"toRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}],"importance":"high"}}`).is(202)
	if r := w.as(cleo, allMail).get("/me/mailFolders/inbox/messages").value(); len(r) != 1 || r[0]["importance"] != "high" || !slices.Equal(addressesIn(r[0], "toRecipients"), []string{ben, cleo}) {
		t.Errorf("added recipient: %v", r)
	}
	mime := base64.StdEncoding.EncodeToString([]byte("Subject: RE: Plan\r\nContent-Type: text/plain\r\n\r\nAs MIME.\r\n"))
	w.with("Content-Type", "text/plain").do(http.MethodPost, at+"/reply", mime).is(202)
	m := w.as(ben, allMail).get("/me/mailFolders/inbox/messages").value()[0]
	if m["bodyPreview"] != "As MIME." || m["subject"] != "RE: Plan" {
		t.Errorf("%v", m)
	}
	r := w.with("Content-Type", "text/plain").do(http.MethodPost, at+"/createForward", mime).is(201)
	if r.str("bodyPreview") != "As MIME." {
		t.Errorf("%s", r.raw)
	}
}

func TestAnotherSubjectIsAnotherConversation(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := w.do(http.MethodPost, "/me/messages", mail("One", ben)).is(201)
	was := r.str("conversationId")
	if now := w.do(http.MethodPatch, "/me/messages/"+r.str("id"), `{"importance":"low"}`).is(200).str("conversationId"); now != was {
		t.Error("another importance is another conversation")
	}
	if now := w.do(http.MethodPatch, "/me/messages/"+r.str("id"), `{"subject":"Two"}`).is(200).str("conversationId"); now == was || now == "" {
		t.Error("another subject is the same conversation")
	}
}

func TestASenderIsToldOfRecipientsWhoAreNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.do(http.MethodPost, "/me/sendMail", sendMail("Lost", noPerson, ben, "x@fabrikam.example")).is(202)
	in := w.get("/me/mailFolders/inbox/messages?$expand=attachments($expand=microsoft.graph.itemattachment/item)").is(200).value()
	if len(in) != 1 || in[0]["subject"] != "Undeliverable: Lost" || !strings.Contains(fmt.Sprint(in[0]["bodyPreview"]), noPerson) || strings.Contains(fmt.Sprint(in[0]["body"]), ben) {
		t.Fatalf("report %v", in)
	}
	if a := fmt.Sprint(in[0]["attachments"]); !strings.Contains(a, "itemAttachment") || !strings.Contains(a, "subject:Lost") {
		t.Errorf("attachments %s", a)
	}
	if from := fmt.Sprint(in[0]["from"]); !strings.Contains(from, "postmaster@contoso.example") {
		t.Errorf("from %s", from)
	}
	quiet := start(t, sandbox.NoDeliveryReports())
	quiet.do(http.MethodPost, "/me/sendMail", sendMail("Lost", noPerson)).is(202)
	if in := quiet.in("inbox"); len(in) != 0 {
		t.Errorf("inbox %v", in)
	}
}

func TestRecipientsOfAMailAreLimited(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.MaxRecipients(2))
	w.do(http.MethodPost, "/me/sendMail", sendMail("ok", ben, cleo)).is(202)
	w.do(http.MethodPost, "/me/sendMail", sendMail("many", ben, cleo, "x@fabrikam.example")).is(400, "ErrorInvalidRecipients")
}
