package sandbox

// Answers that are not what they should be: pages of proxies, bodies that are
// empty, half or something else.

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// proxyPage is what stands before Graph when it cannot reach what is behind it.
const proxyPage = "<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body><h1>%s</h1><p>Our services aren't available right now.</p></body></html>\n"

// HTMLPage answers with a page of HTML, as proxies do, and has no effect. With
// 200 it is the page of a network that wants its users to sign in.
func HTMLPage(status int) ControlFunc {
	return func(r *Request) bool {
		r.Answer(*htmlPage(status))
		return true
	}
}

// NotShownYet answers a read as long as what was written a moment ago cannot be
// found: a list without items, or 404. What was accepted takes seconds to be where it
// is looked for. What writes is left alone.
// https://learn.microsoft.com/graph/outlook-things-to-know-about-send-mail
func NotShownYet() ControlFunc {
	return func(r *Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		r.After(func(a *Answer) {
			var list struct{ Value []json.RawMessage }
			if a.Status == http.StatusOK && json.Unmarshal(a.Body, &list) == nil && list.Value != nil {
				a.Body = []byte(`{"value":[]}`)
				return
			}
			*a = *failAnswer(r.ID, r.Header.Get("client-request-id"), http.StatusNotFound, "ErrorItemNotFound", "")
		})
		return true
	}
}

// HTMLPageAfterEffect is [HTMLPage] after the effect.
func HTMLPageAfterEffect(status int) ControlFunc {
	return changeAnswer(func(a *Answer) { *a = *htmlPage(status) })
}

func htmlPage(status int) *Answer {
	title := http.StatusText(status)
	if title == "" {
		title = "Error"
	}
	return plainAnswer(status, "text/html; charset=utf-8", fmt.Sprintf(proxyPage, title, title))
}

// EmptyBody lets the request have its effect and takes the body away; status and
// headers stay.
func EmptyBody() ControlFunc { return changeAnswer(func(a *Answer) { a.Body = nil }) }

// HalfJSON lets the request have its effect and sends the first half of the
// body with a Content-Length that fits: the connection is in order, the JSON is
// not.
func HalfJSON() ControlFunc {
	return changeAnswer(func(a *Answer) { a.Body = a.Body[:len(a.Body)/2] })
}

// OtherJSON lets the request have its effect and sends JSON that nobody asked
// for. A text of "" is a list where an object belongs.
func OtherJSON(text string) ControlFunc {
	if text == "" {
		text = `["unexpected"]`
	}
	return changeAnswer(func(a *Answer) {
		a.Header = a.Header.Clone()
		if a.Header == nil {
			a.Header = http.Header{}
		}
		a.Header.Set("Content-Type", "application/json")
		a.Body = []byte(text)
	})
}

// OtherContentType lets the request have its effect and names another content
// type for the right body.
func OtherContentType(name string) ControlFunc { return AddHeader("Content-Type", name) }
