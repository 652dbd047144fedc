package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func TestBodiesComeAsTextOrHTML(t *testing.T) {
	t.Parallel()
	w := start(t)
	page := w.do(http.MethodPost, "/me/messages", `{"body":{"contentType":"html","content":"<html><head><style>p{}</style></head><body><p>One &amp; two</p><p>Three</p></body></html>"}}`).is(201).str("id")
	text := w.do(http.MethodPost, "/me/messages", `{"body":{"contentType":"text","content":"a < b\nc"}}`).is(201).str("id")
	asText, asPage := w.with("Prefer", `outlook.body-content-type="text"`), w.with("Prefer", `outlook.body-content-type="html"`)
	r := asText.get("/me/messages/" + page).is(200)
	if fmt.Sprint(r.json["body"]) != "map[content:One & two\r\nThree contentType:text]" || !strings.Contains(r.header.Get("Preference-Applied"), `outlook.body-content-type="text"`) {
		t.Errorf("%s %v", r.raw, r.header)
	}
	body := asPage.get("/me/messages/" + text).is(200).json["body"].(map[string]any)
	if body["contentType"] != "html" || !strings.Contains(body["content"].(string), "a &lt; b<br>") {
		t.Errorf("%v", body)
	}
	if list := asText.get("/me/messages?$select=body").is(200); strings.Contains(string(list.raw), "html") {
		t.Errorf("list %s", list.raw)
	}
	if r := w.get("/me/messages/" + text).is(200); fmt.Sprint(r.json["body"]) != "map[content:a < b\nc contentType:text]" || r.header.Get("Preference-Applied") != "" {
		t.Errorf("%s", r.raw)
	}
}

func TestBodiesMayAllComeAsHTML(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.HTMLBodies())
	w.deliver(ann, "x")
	if got := w.get("/me/messages").is(200).value()[0]["body"].(map[string]any); got["contentType"] != "html" {
		t.Errorf("%v", got)
	}
	if got := w.with("Prefer", `outlook.body-content-type="text"`).get("/me/messages").is(200).value()[0]["body"].(map[string]any); got["contentType"] != "text" || got["content"] != "From outside." {
		t.Errorf("%v", got)
	}
}

func TestUnsafeHTMLIsTakenAwayUnlessAskedFor(t *testing.T) {
	t.Parallel()
	w := start(t)
	const kept = `<html><body><p style="color: red" class="x">One on = two</p><a href="https://x.example">x</a>`
	const content = kept + `<script>alert(1)</script><img src="cid:a" onerror="x()"><a href="javascript:go()">y</a><iframe src="z">in</iframe></body></html>`
	id := w.do(http.MethodPost, "/me/messages", `{"body":{"contentType":"html","content":`+fmt.Sprintf("%q", content)+`}}`).is(201).str("id")
	got := w.get("/me/messages/" + id).is(200).json["body"].(map[string]any)["content"].(string)
	if !strings.HasPrefix(got, kept) || strings.Contains(got, "alert") || strings.Contains(got, "onerror") || strings.Contains(got, "javascript") || strings.Contains(got, "iframe") || !strings.Contains(got, `src="cid:a"`) {
		t.Errorf("safe: %s", got)
	}
	r := w.with("Prefer", "outlook.allow-unsafe-html").get("/me/messages/" + id).is(200)
	if got := r.json["body"].(map[string]any)["content"]; got != content || !strings.Contains(r.header.Get("Preference-Applied"), "outlook.allow-unsafe-html") {
		t.Errorf("unsafe: %s", got)
	}
}
