package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func mimeBody(text string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
}

func TestAMessageComesOutAsMIMEAndGoesInAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := w.do(http.MethodPost, "/me/messages", `{"subject":"Grüße an alle, die dies lesen, und noch viele Wörter mehr für eine lange Zeile",
		"body":{"contentType":"html","content":"<html><body><p>Schöne <b>Grüße</b></p><img src=\"cid:pic\"></body></html>"},"importance":"high",
		"toRecipients":[{"emailAddress":{"address":"ben@contoso.example","name":"Bén"}}],"ccRecipients":[{"emailAddress":{"address":"cleo@contoso.example"}}],
		"bccRecipients":[{"emailAddress":{"address":"x@fabrikam.example"}}],"internetMessageId":"<k1@contoso.example>",
		"internetMessageHeaders":[{"name":"x-key","value":"7 ü"}],
		"attachments":[`+fileA+`,`+fileB+`,{"@odata.type":"#microsoft.graph.fileAttachment","name":"Übung.pdf","contentType":"application/pdf","contentBytes":"`+base64.StdEncoding.EncodeToString(large(1000))+`"},
		{"@odata.type":"#microsoft.graph.itemAttachment","name":"inner","item":{"@odata.type":"microsoft.graph.message","subject":"Inner","body":{"contentType":"text","content":"deep"}}}]}`).is(201)
	raw := w.get("/me/messages/" + r.str("id") + "/$value").is(200)
	if !strings.HasPrefix(raw.header.Get("Content-Type"), "text/plain") {
		t.Errorf("content type %v", raw.header)
	}
	msg, err := netmail.ReadMessage(strings.NewReader(string(raw.raw)))
	if err != nil {
		t.Fatalf("%v: %s", err, raw.raw)
	}
	if msg.Header.Get("Message-Id") != "<k1@contoso.example>" || msg.Header.Get("Date") == "" || msg.Header.Get("Bcc") == "" || msg.Header.Get("Mime-Version") != "1.0" {
		t.Errorf("headers %v", msg.Header)
	}
	for line := range strings.SplitSeq(string(raw.raw), "\r\n") {
		if len(line) > 998 || strings.Contains(line, "\n") {
			t.Errorf("a bad line of %d bytes", len(line))
		}
	}
	back := w.with("Content-Type", "text/plain").do(http.MethodPost, "/me/messages", base64.StdEncoding.EncodeToString(raw.raw)).is(201)
	for _, name := range []string{"subject", "internetMessageId", "importance", "bodyPreview", "hasAttachments", "body", "toRecipients", "ccRecipients", "bccRecipients", "from"} {
		if got, want := fmt.Sprint(back.json[name]), fmt.Sprint(r.json[name]); got != want && name != "ccRecipients" && name != "bccRecipients" {
			t.Errorf("%s came back as %s, not %s", name, got, want)
		}
	}
	if !slices.Equal(addressesIn(back.json, "ccRecipients"), []string{cleo}) || !slices.Equal(addressesIn(back.json, "bccRecipients"), []string{"x@fabrikam.example"}) {
		t.Errorf("copies %s", back.raw)
	}
	list := func(id string) []map[string]any {
		return w.get("/me/messages/" + id + "/attachments?$expand=microsoft.graph.itemattachment/item").is(200).value()
	}
	was, is := list(r.str("id")), list(back.str("id"))
	if len(is) != 4 {
		t.Fatalf("%d attachments: %v", len(is), names(is))
	}
	for _, a := range was {
		i := slices.IndexFunc(is, func(b map[string]any) bool { return b["name"] == a["name"] })
		if i < 0 {
			t.Errorf("no attachment %v in %v", a["name"], names(is))
			continue
		}
		for _, name := range []string{"@odata.type", "contentType", "contentBytes", "isInline", "contentId"} {
			if fmt.Sprint(a[name]) != fmt.Sprint(is[i][name]) && (name != "contentType" || a["item"] == nil) {
				t.Errorf("%v of %v: %v, was %v", name, a["name"], is[i][name], a[name])
			}
		}
		if item, _ := is[i]["item"].(map[string]any); a["item"] != nil && (item["subject"] != "Inner" || fmt.Sprint(item["bodyPreview"]) != "deep") {
			t.Errorf("inner %v", item)
		}
	}
	if h := w.get("/me/messages/" + back.str("id") + "?$select=internetMessageHeaders").is(200); !strings.Contains(strings.ToLower(string(h.raw)), `{"name":"x-key"`) {
		t.Errorf("headers %s", h.raw)
	}
	// A recipient does not see the blind copies in the MIME content either.
	w.do(http.MethodPost, "/me/messages/"+r.str("id")+"/send", "").is(202)
	got := w.as(ben, "Mail.Read").get("/me/messages").is(200).value()[0]["id"].(string)
	if text := string(w.as(ben, "Mail.Read").get("/me/messages/" + got + "/$value").is(200).raw); strings.Contains(text, "fabrikam") || !strings.Contains(text, "X-Key") && !strings.Contains(text, "x-key") {
		t.Errorf("MIME of the recipient %s", text)
	}
	w.get("/me/messages/nonsense/$value").is(400, "ErrorInvalidIdMalformed")
	w.as(ann, "Mail.Send").get("/me/messages/"+r.str("id")+"/$value").is(403, "ErrorAccessDenied")
	w.as(ann, "Mail.ReadBasic").get("/me/messages/"+r.str("id")+"/$value").is(403, "ErrorAccessDenied")
}

func TestMIMEInOtherCharacterSets(t *testing.T) {
	t.Parallel()
	w := start(t).with("Content-Type", "text/plain")
	r := w.do(http.MethodPost, "/me/messages", mimeBody(`Subject: =?iso-8859-1?Q?Gr=FC=DFe?=
From: =?iso-8859-1?Q?J=F6rg?= <ann@contoso.example>
To: ben@contoso.example
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9
--b
Content-Type: text/html; charset=windows-1252
Content-Transfer-Encoding: base64

PGI+Y2Fm6SCTaGmUPC9iPg==
--b--
`)).is(201)
	if r.str("subject") != "Grüße" || fmt.Sprint(r.json["body"]) != "map[content:<b>café “hi”</b> contentType:html]" || !strings.Contains(fmt.Sprint(r.json["from"]), "Jörg") {
		t.Errorf("%s", r.raw)
	}
	w.do(http.MethodPost, "/me/messages", mimeBody("no header at all")).is(400, "ErrorMimeContentInvalid")
	w.do(http.MethodPost, "/me/messages", mimeBody("Content-Type: multipart/mixed; boundary=b\n\n--c\n")).is(400, "ErrorMimeContentInvalid")
	w.do(http.MethodPost, "/me/sendMail", strings.Repeat("QUFB", 1<<20+1)).is(413, "RequestEntityTooLarge")
}

func TestAMailThatAnswersByMIMEJoinsTheConversation(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.from(ben, "Talk", "")
	w.with("Content-Type", "text/plain").do(http.MethodPost, "/me/sendMail", mimeBody(`Subject: RE: Talk
To: ben@contoso.example
In-Reply-To: `+first["internetMessageId"].(string)+`

Yes.
`)).is(202)
	if got := w.get("/me/mailFolders/sentitems/messages").is(200).value()[0]; got["conversationId"] != first["conversationId"] {
		t.Errorf("ann's copy is in %v", got["conversationId"])
	}
	b := w.as(ben, allMail)
	if in, out := b.get("/me/mailFolders/inbox/messages").is(200).value()[0], b.get("/me/mailFolders/sentitems/messages").is(200).value()[0]; in["conversationId"] != out["conversationId"] {
		t.Errorf("ben's copies are in %v and %v", in["conversationId"], out["conversationId"])
	}
}

func TestTheOutsideWorldWritesMIMEToo(t *testing.T) {
	t.Parallel()
	w := start(t)
	id, err := w.Deliver(sandbox.Mail{To: []string{ann}, MIME: "From: Eve <eve@fabrikam.example>\r\nTo: list@fabrikam.example\r\nSubject: s\r\nMessage-ID: <1@fabrikam.example>\r\nX-A: b\r\n\r\nHi\r\n"})
	if err != nil || id != "<1@fabrikam.example>" {
		t.Fatal(id, err)
	}
	m := w.get("/me/messages?$select=subject,internetMessageHeaders,toRecipients,from,bodyPreview").is(200).value()[0]
	if text := fmt.Sprint(m["internetMessageHeaders"]); m["bodyPreview"] != "Hi" || !strings.Contains(text, "name:X-A value:b") || !strings.Contains(text, "eve@fabrikam.example") || !strings.Contains(fmt.Sprint(m["from"]), "Eve") {
		t.Errorf("%v", m)
	}
	if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, MIME: "nothing"}); err == nil {
		t.Error("taken")
	}
}
