//go:build unix

package proof_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// gossip stands between the workers and the sandbox, as a proxy of a company
// does: it learns every secret that passes, and where it is told to, it answers
// by itself and repeats in its answers what it was sent.
type gossip struct {
	t      *testing.T
	graph  *graph
	server *httptest.Server
	pass   *httputil.ReverseProxy
	secret string // of the client; the sandbox's app has none, so it is taken out

	mu     sync.Mutex
	learnt map[string]string // secret → what it is
	tokens string            // how token requests are answered; "" passes them on
	feeds  string            // how the next GET is answered, likewise
	told   map[string]int    // how often it repeated something, by how
}

func newGossip(t *testing.T, g *graph, secret string) *gossip {
	t.Helper()
	target, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &gossip{t: t, graph: g, secret: secret, learnt: map[string]string{}, told: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	p.pass = &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // so that the links of a page lead back here
	}}
	p.server = httptest.NewServer(p)
	t.Cleanup(func() { p.server.Close(); transport.CloseIdleConnections() })
	return p
}

// learn notes a secret that passed.
func (p *gossip) learn(what, secret string) {
	if len(secret) >= 16 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.learnt[secret] = strings.ReplaceAll(what, "_", " ")
	}
}

// secrets returns what passed so far.
func (p *gossip) secrets() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.learnt)
}

// answerTokens and answerFeed set how it repeats what it is sent.
func (p *gossip) answerTokens(how string) { p.mu.Lock(); defer p.mu.Unlock(); p.tokens = how }
func (p *gossip) answerFeed(how string)   { p.mu.Lock(); defer p.mu.Unlock(); p.feeds = how }

// repeated returns how often it answered in one way.
func (p *gossip) repeated(how string) int { p.mu.Lock(); defer p.mu.Unlock(); return p.told[how] }

func (p *gossip) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the worker went
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
		p.token(w, r, string(body))
		return
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.learn("access token", bearer)
	how := ""
	if _, after, found := bytes.Cut(body, []byte("gossip-")); found {
		how, _, _ = strings.Cut(string(after), " ")
	} else if r.Method == http.MethodGet {
		p.mu.Lock()
		how, p.feeds = p.feeds, ""
		p.mu.Unlock()
	}
	if how == "" {
		p.pass.ServeHTTP(w, r)
		return
	}
	p.repeat(w, "graph "+how, how, fmt.Sprintf("%s %s Authorization: Bearer %s %s", r.Method, r.URL, bearer, bearer))
}

// token passes a token request on, or repeats it.
func (p *gossip) token(w http.ResponseWriter, r *http.Request, body string) {
	form, _ := url.ParseQuery(body)
	for _, name := range []string{"code", "refresh_token", "client_secret", "code_verifier"} {
		p.learn(name, form.Get(name))
	}
	p.mu.Lock()
	how := p.tokens
	p.mu.Unlock()
	if how != "" || form.Get("grant_type") == "client_credentials" {
		if how == "" {
			how = "400"
		}
		p.repeat(w, "token "+how, how, body+" "+form.Get("client_secret")+" "+form.Get("refresh_token"))
		return
	}
	form.Del("client_secret")
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, p.graph.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.graph.client.Do(req)
	if err != nil {
		return // the test ends
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return
	}
	var tokens map[string]any
	if err := json.Unmarshal(answer, &tokens); err != nil {
		p.t.Errorf("the sandbox answers %s", answer)
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if text, ok := tokens[name].(string); ok {
			p.learn(name, text)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
}

// repeat answers with what it was sent, in one of the ways that are seen in the
// wild.
func (p *gossip) repeat(w http.ResponseWriter, label, how, heard string) {
	p.mu.Lock()
	p.told[label]++
	p.mu.Unlock()
	text, _ := json.Marshal(heard) // a string always can be
	errorBody := fmt.Sprintf(`{"error":{"code":"BadRequest","message":%s,"innerError":{"code":%s,"request-id":%s,"date":%s}},"error_description":%s}`, text, text, text, text, text)
	if strings.HasPrefix(label, "token") {
		errorBody = fmt.Sprintf(`{"error":"invalid_request","error_description":%s,"error_uri":%s,"error_codes":[900144],"suberror":%s,"trace_id":%s,"correlation_id":%s,"claims":%s}`, text, text, text, text, text, text)
	}
	w.Header().Set("Content-Type", "application/json")
	switch how {
	case "400", "403", "404", "409", "500":
		status := map[string]int{"400": 400, "403": 403, "404": 404, "409": 409, "500": 500}[how]
		w.Header().Set("request-id", strings.ReplaceAll(heard, "\n", " "))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, errorBody)
	case "401":
		w.Header().Set("WWW-Authenticate", `Bearer realm="", error="invalid_token", error_description=`+string(text)+`, claims=`+string(text))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, errorBody)
	case "429":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, errorBody)
	case "502":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = fmt.Fprintf(w, "<html><title>Bad gateway</title><pre>%s</pre></html>", heard)
	case "302":
		w.Header().Set("Location", "https://elsewhere.example/?"+url.Values{"heard": {heard}}.Encode())
		w.WriteHeader(http.StatusFound)
	default: // a success that is none
		_, _ = fmt.Fprintf(w, `{"value":[{"id":"1"}],"access_token":[%s],"@odata.nextLink":"https://elsewhere.example/?%s"`, text, url.QueryEscape(heard))
	}
}
