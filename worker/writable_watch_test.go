package worker_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// seenRequest is a request as it came over the wire. What is new each time has a
// word in its place.
type seenRequest struct {
	Method, Path string
	Query        string // name=value pairs in the order of the names, not escaped
	Header       map[string]string
	Body         string
}

// watcher stands before the sandbox and keeps what comes.
type watcher struct {
	url string // of …/v1.0

	mu     sync.Mutex
	seen   map[string][]seenRequest // by client-request-id
	order  []seenRequest            // since start
	writes int                      // since start
	lost   int                      // the write whose answer does not arrive; below 0: the write itself
	answer string                   // the first id in an answer since start
}

// watched puts a watcher before the sandbox, that passes on another address for
// notifications than it is given.
func (w *world) watched(hooks, others string) *watcher {
	w.t.Helper()
	seen := &watcher{seen: make(map[string][]seenRequest)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Errorf("read the body of %s %s: %v", r.Method, r.URL.Path, err)
		}
		lose, swallow := seen.keep(r, string(body))
		if swallow {
			rw.WriteHeader(http.StatusGatewayTimeout)
			return
		}
		onward, err := http.NewRequestWithContext(r.Context(), r.Method, strings.TrimSuffix(w.GraphURL(), "/v1.0")+r.RequestURI,
			bytes.NewReader(bytes.Replace(body, []byte(hooks), []byte(others), 1)))
		if err != nil {
			w.t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			return
		}
		onward.Header = r.Header.Clone()
		onward.Header.Del("Accept-Encoding") // the client here asks for it, and unpacks
		answer, err := w.http.Do(onward)
		if err != nil {
			w.t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			w.t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			return
		}
		text = bytes.ReplaceAll(text, []byte(others), []byte(hooks))
		seen.told(text)
		if lose {
			if answer.StatusCode > 299 {
				w.t.Errorf("the request whose answer is to be lost has no effect: %s %s: %d %s", r.Method, r.RequestURI, answer.StatusCode, text)
			}
			rw.WriteHeader(http.StatusGatewayTimeout)
			return
		}
		maps.Copy(rw.Header(), answer.Header)
		rw.Header().Del("Content-Length") // of the text with the other address
		rw.WriteHeader(answer.StatusCode)
		_, _ = rw.Write(text) // who asked sees it
	}))
	w.t.Cleanup(server.Close)
	seen.url = server.URL + "/v1.0"
	return seen
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// keep keeps a request and reports whether its answer is to be lost, or the request
// itself.
func (s *watcher) keep(r *http.Request, body string) (lose, swallow bool) {
	query, _ := url.ParseQuery(r.URL.RawQuery) // what cannot be read is missed
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		pairs = append(pairs, name+"="+strings.Join(query[name], ","))
	}
	q := seenRequest{Method: r.Method, Path: r.URL.EscapedPath(), Query: strings.Join(pairs, "&"), Header: make(map[string]string), Body: body}
	for name, values := range r.Header {
		q.Header[name] = strings.Join(values, ",")
	}
	id := q.Header["Client-Request-Id"]
	if guid.MatchString(id) {
		q.Header["Client-Request-Id"] = "a GUID"
	}
	if token, ok := strings.CutPrefix(q.Header["Authorization"], "Bearer "); ok && token != "" {
		q.Header["Authorization"] = "Bearer"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id] = append(s.seen[id], q)
	s.order = append(s.order, q)
	if q.Method == http.MethodGet {
		return false, false
	}
	s.writes++
	return s.writes == s.lost, s.writes == -s.lost
}

// told keeps the first id.
func (s *watcher) told(answer []byte) {
	var item struct{ ID string }
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer == "" && json.Unmarshal(answer, &item) == nil {
		s.answer = item.ID
	}
}

// take returns the request of a client-request-id, which is not in the rest then.
func (s *watcher) take(id string) (seenRequest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.seen[id]
	if len(list) == 0 {
		return seenRequest{}, false
	}
	s.seen[id] = list[1:]
	return list[0], true
}

// rest are the requests that nobody took.
func (s *watcher) rest() []seenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(s.seen))...)
}

// start forgets what came. lost is the number of the write, from 1, whose answer
// is not to arrive, or with a minus the one that is not to arrive itself.
func (s *watcher) start(lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order, s.writes, s.lost, s.answer = nil, 0, lost, ""
}

// inOrder are the requests since start, each as one line, and the first id in an
// answer.
func (s *watcher) inOrder() (requests []string, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.order {
		line := q.Method + " " + strings.TrimPrefix(q.Path, "/v1.0")
		if q.Query != "" {
			line += "?" + q.Query
		}
		if q.Body != "" {
			line += " " + q.Body
		}
		requests = append(requests, sorted(line))
	}
	return requests, s.answer
}
