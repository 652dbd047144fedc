package sandbox

// Links that lead nowhere good, and delta tokens that are lost. A client follows
// @odata.nextLink as it stands, so what is in it decides where the next request
// and its token go. https://learn.microsoft.com/graph/paging

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	nextLink  = "@odata.nextLink"
	deltaLink = "@odata.deltaLink"
)

// changeLinks lets the request have its effect and changes the links of an answer that
// is a collection. Another answer stays as it is.
func changeLinks(change func(r *Request, body map[string]json.RawMessage)) ControlFunc {
	return func(r *Request) bool {
		r.After(func(a *Answer) {
			var body map[string]json.RawMessage
			if a.Status != http.StatusOK || json.Unmarshal(a.Body, &body) != nil || body["value"] == nil {
				return
			}
			change(r, body)
			if b, err := json.Marshal(body); err == nil {
				a.Body = b
			}
		})
		return true
	}
}

// NextLinkLoop makes the nextLink of a page the page's own address, and takes
// its deltaLink away.
func NextLinkLoop() ControlFunc {
	return changeLinks(func(r *Request, body map[string]json.RawMessage) {
		delete(body, deltaLink)
		body[nextLink] = quotedJSON(r.URL)
	})
}

// ForeignLink makes the links of a page lead to another host; root is its
// scheme and host. A page without links gets a nextLink.
func ForeignLink(root string) ControlFunc {
	return changeLinks(func(r *Request, body map[string]json.RawMessage) {
		found := false
		for _, name := range []string{nextLink, deltaLink} {
			var link string
			if json.Unmarshal(body[name], &link) == nil {
				body[name], found = quotedJSON(otherHost(root, link)), true
			}
		}
		if !found {
			body[nextLink] = quotedJSON(otherHost(root, r.URL))
		}
	})
}

// otherHost is a link with another scheme and host.
func otherHost(root, link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return root
	}
	return strings.TrimSuffix(root, "/") + u.RequestURI()
}

// NoLinks takes nextLink and deltaLink away: a page that seems to be the last,
// and a round that does not end.
func NoLinks() ControlFunc {
	return changeLinks(func(_ *Request, body map[string]json.RawMessage) {
		delete(body, nextLink)
		delete(body, deltaLink)
	})
}

// BothLinks gives a page a nextLink and a deltaLink, of which Graph documents
// that there is only one. The one that was missing gets the page's own address.
func BothLinks() ControlFunc {
	return changeLinks(func(r *Request, body map[string]json.RawMessage) {
		for _, name := range []string{nextLink, deltaLink} {
			if body[name] == nil {
				body[name] = quotedJSON(r.URL)
			}
		}
	})
}

func quotedJSON(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil { // a text cannot fail to marshal
		return json.RawMessage(`""`)
	}
	return b
}

// LoseDelta answers a request that brings a delta token as if the token were
// lost, with no effect, and does not deal with others. Status 0 is 410, an empty
// code SyncStateNotFound; the Location is the address that begins a new round.
// https://learn.microsoft.com/graph/delta-query-overview
func LoseDelta(status int, code string) ControlFunc {
	if status == 0 {
		status = http.StatusGone
	}
	if code == "" {
		code = "SyncStateNotFound"
	}
	return func(r *Request) bool {
		query := strings.ToLower(r.RawQuery)
		if !strings.Contains(query, "deltatoken=") && !strings.Contains(query, "skiptoken=") || !isDelta(r.Path) {
			return false
		}
		location, _, _ := strings.Cut(r.URL, "?")
		r.Answer(*newError(status, code,
			"The sync state generation is not found. The delta token is expired and data must be synchronized again.").
			with("Location", location).answer(r.ID, r.Header.Get("client-request-id"), time.Now()))
		return true
	}
}

// isDelta knows delta, delta() and microsoft.graph.delta, in any case.
func isDelta(path string) bool {
	path = strings.TrimSuffix(strings.ToLower(path), "()")
	return strings.HasSuffix(path, "/delta") || strings.HasSuffix(path, "/microsoft.graph.delta")
}
