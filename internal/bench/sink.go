package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SinkSpec says what the sink serves.
type SinkSpec struct {
	// Feeds is how many mailboxes there are.
	Feeds int `json:"feeds"`
	// Pages is how many pages each has; zero means that there are more until
	// [SinkSpec.For] is over.
	Pages int `json:"pages"`
	// Items is how many items a page has, Size how many bytes each.
	Items int `json:"items"`
	Size  int `json:"size"`
	// For bounds the time from the first page on; zero means no bound.
	For time.Duration `json:"for"`
}

// SinkState is how far the sink is.
type SinkState struct {
	// Waiting is how many feeds have asked for their first page and wait.
	Waiting int `json:"waiting"`
	// Pages is how many different pages were given, Ended how many feeds have
	// had their last one.
	Pages int `json:"pages"`
	Ended int `json:"ended"`
	// P50 and P99 are of the time from a feed's asking for a page to its asking
	// for the next, which is when the page is stored; only in the end.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
}

// Paths of the sink beside Graph's.
const (
	sinkBase  = "/v1.0"
	sinkToken = "/token"
	sinkState = "/bench/state"
	sinkGo    = "/bench/go"
)

// sink serves delta pages of made-up messages as fast as they are read. It knows
// nothing else of Graph: whoever is measured, it is not the sink.
type sink struct {
	spec SinkSpec
	base string // "http://127.0.0.1:1234"
	pool sync.Pool

	begin chan struct{} // closed when the first pages are given

	mu      sync.Mutex
	began   time.Time
	waiting int
	feeds   map[string]*served
	took    []time.Duration
	pages   int
	ended   int
}

// served is what one feed has had.
type served struct {
	number uint64
	page   int // the newest page asked for, from 0
	asked  time.Time
	ended  bool
}

func newSink(spec SinkSpec, base string) *sink {
	s := &sink{spec: spec, base: base, begin: make(chan struct{}), feeds: make(map[string]*served)}
	s.pool.New = func() any { return &sheet{items: newItems(spec.Size)} }
	return s
}

// sheet is what one answer is written on.
type sheet struct {
	items *items
	text  []byte
}

func (s *sink) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+sinkToken, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": "bench"})
	})
	mux.HandleFunc("GET "+sinkState, func(w http.ResponseWriter, _ *http.Request) { answer(w, s.state()) })
	mux.HandleFunc("POST "+sinkGo, func(w http.ResponseWriter, _ *http.Request) {
		s.start()
		answer(w, struct{}{})
	})
	mux.HandleFunc("GET "+sinkBase+"/users/{mailbox}/mailFolders/{folder}/messages/delta", s.page)
	return mux
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the reader may be gone
}

// start gives the first pages to all who wait for them.
func (s *sink) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		s.began = time.Now()
		close(s.begin)
	}
}

// state tells how far the sink is.
func (s *sink) state() SinkState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := SinkState{Waiting: s.waiting, Pages: s.pages, Ended: s.ended}
	if s.ended == s.spec.Feeds {
		state.P50, state.P99 = quantiles(s.took)
	}
	return state
}

// page answers with one page of a mailbox. Its number is in the link, so that a
// page which is read again has the same items.
func (s *sink) page(w http.ResponseWriter, r *http.Request) {
	mailbox, query := r.PathValue("mailbox"), r.URL.Query()
	number, _ := strconv.Atoi(query.Get("$skiptoken")) // none: 0, the first
	if number == 0 && !query.Has("$deltatoken") && !s.wait(r) {
		return
	}
	feed, last := s.take(mailbox, number, query.Has("$deltatoken"))
	sheet, _ := s.pool.Get().(*sheet)
	defer s.pool.Put(sheet)
	text := append(sheet.text[:0], `{"@odata.context":"bench","value":[`...)
	if !query.Has("$deltatoken") {
		for i := range s.spec.Items {
			if i > 0 {
				text = append(text, ',')
			}
			text = sheet.items.appendTo(text, feed<<40|uint64(number)<<16|uint64(i))
		}
	}
	path := s.base + strings.TrimSuffix(r.URL.EscapedPath(), "/")
	if last {
		text = fmt.Appendf(text, `],"@odata.deltaLink":"%s?$deltatoken=%d"}`, path, number)
	} else {
		text = fmt.Appendf(text, `],"@odata.nextLink":"%s?$skiptoken=%d"}`, path, number+1)
	}
	sheet.text = text
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) //nolint:gosec // G705: nobody looks at it with a browser; and the reader may be gone
}

// wait holds the first page of a feed back until all begin.
func (s *sink) wait(r *http.Request) bool {
	s.mu.Lock()
	s.waiting++
	s.mu.Unlock()
	select {
	case <-s.begin:
		return true
	case <-r.Context().Done():
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
		return false
	}
}

// take notes that a feed asks for a page, and returns the feed's number and
// whether the page is its last.
func (s *sink) take(mailbox string, page int, after bool) (number uint64, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	feed := s.feeds[mailbox]
	if feed == nil {
		feed = &served{number: uint64(len(s.feeds)) + 1, page: -1}
		s.feeds[mailbox] = feed
	}
	now := time.Now()
	if after {
		return feed.number, true
	}
	if page == feed.page+1 { // and not one that is read again
		if page > 0 {
			s.took = append(s.took, now.Sub(feed.asked))
		}
		feed.page, feed.asked = page, now
		s.pages++
	}
	last = feed.ended || s.spec.Pages > 0 && page >= s.spec.Pages-1 || s.spec.For > 0 && now.Sub(s.began) >= s.spec.For
	if last && !feed.ended {
		feed.ended = true
		s.ended++
	}
	return feed.number, last
}

// quantiles returns the median and the 99th percentile; zeros of nothing.
func quantiles(all []time.Duration) (p50, p99 time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2], sorted[min(len(sorted)*99/100, len(sorted)-1)]
}
