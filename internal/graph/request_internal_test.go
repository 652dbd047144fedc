package graph

import (
	"net/http"
	"net/url"
	"testing"
)

func TestTheHeadersOfAnAttemptStayAsTheyWereSent(t *testing.T) {
	t.Parallel()
	c := &Client{usual: newUsualHeaders("agent")}
	at := &url.URL{Scheme: "https", Host: "graph.microsoft.com", Path: "/v1.0/me/sendMail"}
	k := &call{method: http.MethodPost, url: at, header: http.Header{"Prefer": {"x"}}, body: []byte("{}")}
	first := c.request(t.Context(), k, Token{Access: "one"}, "1")
	sent := first.Header.Clone()
	second := c.request(t.Context(), k, Token{Access: "two"}, "2")
	for name, want := range map[string][2]string{
		"Authorization": {"Bearer one", "Bearer two"}, "Client-Request-Id": {"1", "2"}, "Prefer": {"x", "x"},
		"User-Agent": {"agent", "agent"}, "Return-Client-Request-Id": {"true", "true"}, "Accept": {"application/json, */*;q=0.5", "application/json, */*;q=0.5"},
	} {
		if got := [2]string{first.Header.Get(name), second.Header.Get(name)}; got != want || sent.Get(name) != want[0] {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(first.Header) != len(sent) || len(second.Header) != len(sent) {
		t.Errorf("headers %v, then %v", first.Header, second.Header)
	}
}

func TestABodyCanBeSentOverAnotherConnection(t *testing.T) {
	t.Parallel()
	c := &Client{usual: newUsualHeaders("agent")}
	k := &call{method: http.MethodPost, url: &url.URL{}, header: http.Header{}, body: []byte("{}")}
	req := c.request(t.Context(), k, Token{Access: "one"}, "1")
	for range 2 {
		text := make([]byte, 3)
		if n, _ := req.Body.Read(text); string(text[:n]) != "{}" || req.ContentLength != 2 {
			t.Errorf("body %q of %d bytes", text[:n], req.ContentLength)
		}
		var err error
		if req.Body, err = req.GetBody(); err != nil {
			t.Fatal(err)
		}
	}
	k.body = []byte{}
	if req := c.request(t.Context(), k, Token{Access: "one"}, "1"); req.Body != nil || req.ContentLength != 0 {
		t.Errorf("a body of no bytes: %v, %d", req.Body, req.ContentLength)
	}
}

func TestATokenThatIsNoHeaderIsNotSent(t *testing.T) {
	t.Parallel()
	c := &Client{}
	if got := c.authorization("one"); len(got) != 1 || got[0] != "Bearer one" {
		t.Errorf("%q", got)
	}
	if c.authorization("") != nil || c.authorization("a\r\nb: c") != nil {
		t.Error("a token with a line break makes a header")
	}
	if got := c.authorization("two"); len(got) != 1 || got[0] != "Bearer two" {
		t.Errorf("%q", got)
	}
}
