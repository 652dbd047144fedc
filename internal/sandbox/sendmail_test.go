package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestSendMailReachesEachRecipientOnceAndKeepsACopy(t *testing.T) {
	t.Parallel()
	w := start(t)
	body := `{"message":{"subject":"Hi","body":{"contentType":"HTML","content":"<style>p{}</style><p>Dear <b>all</b></p>"},
		"toRecipients":[{"emailAddress":{"address":"Ben@contoso.example","name":"B"}},{"emailAddress":{"address":"x@fabrikam.example"}}],
		"ccRecipients":[{"emailAddress":{"address":"ben@contoso.example"}}],
		"bccRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}]}}`
	r := w.with("client-request-id", "c-1").do(http.MethodPost, "/me/sendMail", body).is(http.StatusAccepted)
	if len(r.raw) != 0 || r.header.Get("Location") != "" || r.header.Get("client-request-id") != "c-1" {
		t.Errorf("202 with %v %s", r.header, r.raw)
	}
	sent := w.get("/me/mailFolders/SentItems/messages").is(http.StatusOK).value()
	got := w.as(ben, "Mail.Read").get("/me/mailFolders/inbox/messages").is(http.StatusOK).value()
	blind := w.as(cleo, "Mail.Read").get("/me/messages").is(http.StatusOK).value()
	if len(sent) != 1 || len(got) != 1 || len(blind) != 1 {
		t.Fatalf("%d sent, %d for ben, %d for cleo", len(sent), len(got), len(blind))
	}
	if sent[0]["internetMessageId"] != got[0]["internetMessageId"] || got[0]["internetMessageId"] == "" {
		t.Errorf("message ids %v and %v", sent[0]["internetMessageId"], got[0]["internetMessageId"])
	}
	if sent[0]["isDraft"] != false || got[0]["isRead"] != false || sent[0]["isRead"] != true {
		t.Errorf("flags: %v", sent[0])
	}
	if got[0]["bodyPreview"] != "Dear all" {
		t.Errorf("preview %q", got[0]["bodyPreview"])
	}
	if l, _ := got[0]["bccRecipients"].([]any); len(l) != 0 {
		t.Error("ben sees the blind copy")
	}
	if l, _ := sent[0]["bccRecipients"].([]any); len(l) != 1 {
		t.Error("the sender does not see the blind copy")
	}
	from, _ := got[0]["from"].(map[string]any)
	if fmt.Sprint(from["emailAddress"]) != fmt.Sprintf("map[address:%s name:%s]", ann, w.People()[0].Name()) {
		t.Errorf("from %v", from)
	}
	e := w.Effects()
	if len(e) != 1 || e[0].Kind != "sent" || e[0].RequestID != r.header.Get("request-id") || e[0].ClientRequestID != "c-1" ||
		!slices.Equal(e[0].Recipients, []string{ben, "x@fabrikam.example", cleo}) || !slices.Equal(e[0].Delivered, []string{ben, cleo}) {
		t.Errorf("ledger %+v", e)
	}
	w.do(http.MethodPost, "/users/"+ann+"/sendMail", `{"Message":`+mail("no copy", ben)+`,"SaveToSentItems":false}`).is(http.StatusAccepted)
	if got := w.in("sentitems"); len(got) != 1 {
		t.Errorf("sent items %v", got)
	}
	if e := w.Effects(); len(e) != 2 || e[1].Item != "" {
		t.Errorf("ledger %+v", e)
	}
}

func TestSendMailRefuses(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, row := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"no recipient":       {`{"message":{"subject":"x"}}`, 400, "ErrorInvalidRecipients"},
		"no address":         {`{"message":{"toRecipients":[{"emailAddress":{"address":"ben"}}]}}`, 400, "ErrorInvalidRecipients"},
		"no message":         {`{"saveToSentItems":true}`, 400, "ErrorInvalidRequest"},
		"not JSON":           {`{"message":`, 400, "BadRequest"},
		"a list":             {`[]`, 400, "BadRequest"},
		"unknown parameter":  {`{"message":` + mail("x", ben) + `,"priority":1}`, 400, "RequestBodyRead"},
		"unknown property":   {`{"message":{"topic":"x","toRecipients":[]}}`, 400, "RequestBodyRead"},
		"unknown inside":     {`{"message":{"toRecipients":[{"emailAddress":{"mail":"x"}}]}}`, 400, "RequestBodyRead"},
		"wrong type":         {`{"message":{"subject":5}}`, 400, "RequestBodyRead"},
		"wrong flag":         {`{"message":` + mail("x", ben) + `,"saveToSentItems":"yes"}`, 400, "RequestBodyRead"},
		"somebody else":      {`{"message":{"from":{"emailAddress":{"address":"ben@contoso.example"}},` + mail("x", ben)[1:] + `}`, 403, "ErrorSendAsDenied"},
		"header without x-":  {`{"message":{"internetMessageHeaders":[{"name":"Received","value":"x"}],` + mail("x", ben)[1:] + `}`, 400, "InvalidInternetMessageHeader"},
		"bad attachment":     {`{"message":{"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"a","contentBytes":"%"}],` + mail("x", ben)[1:] + `}`, 400, "RequestBodyRead"},
		"unknown importance": {`{"message":{"importance":"urgent",` + mail("x", ben)[1:] + `}`, 400, "RequestBodyRead"},
	} {
		r := w.do(http.MethodPost, "/me/sendMail", row.body)
		if r.status != row.status || r.code() != row.code {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	if e := w.Effects(); len(e) != 0 {
		t.Errorf("a refused mail had an effect: %+v", e)
	}
	w.as(ann, "Mail.ReadWrite").do(http.MethodPost, "/me/sendMail", sendMail("x", ben)).is(403, "ErrorAccessDenied")
	w.do(http.MethodPost, "/users/"+ben+"/sendMail", sendMail("x", ben)).is(403, "ErrorAccessDenied")
	w.do(http.MethodPost, "/users/"+noPerson+"/sendMail", sendMail("x", ben)).is(404, "ErrorInvalidUser")
	w.with("Content-Type", "text/xml").do(http.MethodPost, "/me/sendMail", "<x/>").is(415)
}

func TestSendMailTakesMIME(t *testing.T) {
	t.Parallel()
	w := start(t).with("Content-Type", "text/plain")
	mime := strings.ReplaceAll(`From: ann@contoso.example
To: Ben <ben@contoso.example>
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Message-ID: <m1@contoso.example>
X-Key: 7
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

caf=C3=A9
--b
Content-Type: application/pdf
Content-Disposition: attachment; filename=a.pdf
Content-Transfer-Encoding: base64

aGVsbG8=
--b--
`, "\n", "\r\n")
	w.do(http.MethodPost, "/me/sendMail", base64.StdEncoding.EncodeToString([]byte(mime))).is(http.StatusAccepted)
	m := w.as(ben, "Mail.Read").get("/me/messages?$expand=attachments").is(http.StatusOK).value()[0]
	if m["subject"] != "Grüße" || m["internetMessageId"] != "<m1@contoso.example>" || m["bodyPreview"] != "café" || m["hasAttachments"] != true {
		t.Errorf("%v", m)
	}
	if a := fmt.Sprint(m["attachments"]); !strings.Contains(a, "a.pdf") || !strings.Contains(a, "aGVsbG8=") {
		t.Errorf("attachments %s", a)
	}
	w.do(http.MethodPost, "/me/sendMail", "%%%").is(400, "ErrorMimeContentInvalidBase64String")
	id := w.do(http.MethodPost, "/me/messages", base64.StdEncoding.EncodeToString([]byte(mime))).is(http.StatusCreated).str("id")
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(http.StatusAccepted)
	w.do(http.MethodPost, "/me/mailFolders/drafts/messages", base64.StdEncoding.EncodeToString([]byte(mime))).is(400)
}

func TestASentDraftMovesToSentItemsUnderItsImmutableID(t *testing.T) {
	t.Parallel()
	w := start(t)
	fixed := w.with("Prefer", `IdType="ImmutableId"`)
	id := fixed.draft("one", ben)
	ordinary := w.get("/me/messages/" + id + "?$select=subject").is(http.StatusOK).str("id")
	w.as(ann, "Mail.ReadWrite").do(http.MethodPost, "/me/messages/"+id+"/send", "").is(403, "ErrorAccessDenied")
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(http.StatusAccepted)
	w.get("/me/messages/"+ordinary).is(404, "ErrorItemNotFound")
	r := fixed.get("/me/messages/" + id).is(http.StatusOK)
	if r.str("id") != id || r.json["isDraft"] != false {
		t.Errorf("after sending: %s", r.raw)
	}
	if got := w.in("sentitems"); !slices.Equal(got, []string{"one"}) || len(w.in("drafts")) != 0 {
		t.Errorf("sent items %v, drafts %v", got, w.in("drafts"))
	}
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(400)
	if got := w.as(ben, "Mail.Read").in("inbox"); !slices.Equal(got, []string{"one"}) {
		t.Errorf("ben has %v", got)
	}
	e := w.Effects()
	if len(e) != 2 || e[0].Kind != "created" || e[1].Kind != "sent" || e[1].Item != id || e[0].InternetMessageID != e[1].InternetMessageID {
		t.Errorf("ledger %+v", e)
	}
	w.do(http.MethodPost, "/me/messages/"+w.draft("nobody")+"/send", "").is(400, "ErrorInvalidRecipients")
}
