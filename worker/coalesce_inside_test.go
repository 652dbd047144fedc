package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

// front is a Graph that answers each write with its address, when it is told to.
type front struct {
	mu      sync.Mutex
	alone   []string // addresses
	batches [][]string
	came    chan int      // how many parts each request has
	held    chan struct{} // requests wait until it is closed
	gone    chan struct{} // a batch was given up
	refuse  int           // the status of every batch; 0: they are taken
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Requests []struct{ ID, URL string }
	}
	if !strings.HasSuffix(r.URL.Path, "/$batch") {
		f.note(func() { f.alone = append(f.alone, r.URL.Path) })
		f.came <- 1
		<-f.held
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":%q}`, strings.TrimPrefix(r.URL.Path, "/v1.0"))
		return
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	var urls, answers []string
	for _, one := range in.Requests {
		urls = append(urls, one.URL)
		answers = append([]string{fmt.Sprintf(`{"id":%q,"status":200,"headers":{"Content-Type":"application/json"},"body":{"id":%q}}`, one.ID, one.URL)}, answers...)
	}
	f.note(func() { f.batches = append(f.batches, urls) })
	f.came <- len(urls)
	select {
	case <-f.held:
	case <-r.Context().Done():
		f.gone <- struct{}{}
		return
	}
	if f.refuse != 0 {
		w.WriteHeader(f.refuse)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"responses":[%s]}`, strings.Join(answers, ","))
}

func (f *front) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

type anyToken struct{}

func (anyToken) Token(context.Context) (graph.Token, error) { return graph.Token{Access: "x"}, nil }
func (anyToken) Reject(context.Context, graph.Token)        {}

// gathering is a coalescer before such a Graph.
func gathering(t *testing.T) (*coalescer, *front) {
	t.Helper()
	f := &front{came: make(chan int, 100), held: make(chan struct{}), gone: make(chan struct{}, 100)}
	server := httptest.NewServer(f)
	client, err := graph.New(graph.Options{Name: "c", BaseURL: server.URL, Tokens: anyToken{}, Limits: graph.Limits{Concurrency: 100}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return newCoalescers(map[string]*graph.Client{"c": client})["c"], f
}

// change is the n-th of some changes of mails.
func change(t *testing.T, n int) (request graph.Request, address string) {
	t.Helper()
	op, err := catalog.Default().Lookup("mail.message.update")
	if err != nil {
		t.Fatal(err)
	}
	return graph.Request{
		Operation: op, Mailbox: fmt.Sprintf("user%d@contoso.com", n/4), Path: map[string]string{"message-id": fmt.Sprint("M", n)}, Body: []byte(`{"isRead":true}`),
	}, fmt.Sprintf("/users/user%d@contoso.com/messages/M%d", n/4, n)
}

// TestWhoComesAloneGoesAtOnceAndTheOthersTogether holds the first request at Graph
// while 45 others come.
func TestWhoComesAloneGoesAtOnceAndTheOthersTogether(t *testing.T) {
	t.Parallel()
	c, f := gathering(t)
	var all sync.WaitGroup
	run := func(n int) {
		request, address := change(t, n)
		all.Go(func() {
			response, err := c.do(t.Context(), request)
			if err != nil || string(response.Body) != fmt.Sprintf(`{"id":%q}`, address) {
				t.Errorf("%d: %+v, %v; want the answer to %s", n, response, err, address)
			}
		})
	}
	run(0)
	if n := <-f.came; n != 1 {
		t.Fatalf("the first request has %d parts", n)
	}
	for n := 1; n <= 45; n++ {
		run(n)
	}
	for left := 45; left > 0; {
		n := <-f.came
		if left -= n; n > graph.MaxBatch {
			t.Errorf("a batch of %d", n)
		}
	}
	close(f.held)
	all.Wait()
	c.flights.Wait()
	// How many gather in 5 ms is the scheduler's; alone they would be 46.
	if len(f.batches) < 3 || len(f.alone)+len(f.batches) > 30 {
		t.Errorf("%d went alone, the others in %d batches", len(f.alone), len(f.batches))
	}
	if c.busy != 0 || c.line != nil {
		t.Errorf("%d are at Graph, and somebody gathers: %v", c.busy, c.line != nil)
	}
	run(46)
	all.Wait()
	if len(f.alone) == 0 || f.alone[len(f.alone)-1] != "/v1.0/users/user11@contoso.com/messages/M46" {
		t.Errorf("who comes when nobody is at Graph goes with %q", f.batches[len(f.batches)-1])
	}
}

// TestWhoGivesUpGivesUpForItselfAlone has one caller end before its batch leaves,
// and one after.
func TestWhoGivesUpGivesUpForItselfAlone(t *testing.T) {
	t.Parallel()
	c, f := gathering(t)
	type end struct {
		response *graph.Response
		err      error
	}
	ends := make([]chan end, 5)
	cancels := make([]context.CancelFunc, 5)
	run := func(n int) {
		ctx, cancel := context.WithCancel(t.Context())
		cancels[n], ends[n] = cancel, make(chan end, 1)
		request, _ := change(t, n)
		go func() {
			response, err := c.do(ctx, request)
			ends[n] <- end{response, err}
		}()
	}
	run(0)
	<-f.came
	// One that has given up before it leaves is not sent.
	early, giveUp := context.WithCancel(t.Context())
	giveUp()
	request, _ := change(t, 9)
	if _, err := c.do(early, request); err == nil || fault.Of(err).Ambiguous || !fault.Stopped(early, err) {
		t.Errorf("given up before it left: %v", err)
	}
	for n := 1; n <= 4; n++ {
		run(n)
	}
	for left := 4; left > 0; {
		left -= <-f.came
	}
	cancels[2]()
	if got := <-ends[2]; got.err == nil || !fault.Of(got.err).Ambiguous || fault.Of(got.err).Kind != fault.Retry {
		t.Errorf("given up under way: %+v", got)
	}
	close(f.held)
	for _, n := range []int{0, 1, 3, 4} {
		if got := <-ends[n]; got.err != nil {
			t.Errorf("%d: %v", n, got.err)
		}
		cancels[n]()
	}
	c.flights.Wait()
	for _, batch := range f.batches {
		if strings.Contains(strings.Join(batch, " "), "M9") {
			t.Errorf("sent for nobody: %q", batch)
		}
	}
}

// TestABatchThatNobodyWaitsForEnds gives up all of its parts.
func TestABatchThatNobodyWaitsForEnds(t *testing.T) {
	t.Parallel()
	c, f := gathering(t)
	ctx, giveUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	run := func(ctx context.Context, n int) {
		request, _ := change(t, n)
		all.Go(func() { _, _ = c.do(ctx, request) })
	}
	run(t.Context(), 0)
	<-f.came
	for n := 1; n <= graph.MaxBatch; n++ {
		run(ctx, n)
	}
	for left := graph.MaxBatch; left > 0; {
		left -= <-f.came
	}
	giveUp()
	select {
	case <-f.gone:
	case <-time.After(10 * time.Second):
		t.Error("the batch goes on for nobody")
	}
	close(f.held)
	all.Wait()
	c.flights.Wait()
}

// TestABatchThatGraphDoesNotKnowIsTakenApart: each of its parts goes alone, and for
// a while nothing gathers.
func TestABatchThatGraphDoesNotKnowIsTakenApart(t *testing.T) {
	t.Parallel()
	c, f := gathering(t)
	f.refuse = http.StatusNotFound
	var all sync.WaitGroup
	run := func(n int) {
		request, address := change(t, n)
		all.Go(func() {
			response, err := c.do(t.Context(), request)
			if err != nil || string(response.Body) != fmt.Sprintf(`{"id":%q}`, address) {
				t.Errorf("%d: %+v, %v", n, response, err)
			}
		})
	}
	run(0)
	<-f.came
	for n := 1; n <= 10; n++ {
		run(n)
	}
	for left := 10; left > 0; {
		left -= <-f.came
	}
	close(f.held)
	all.Wait()
	c.flights.Wait()
	tried := len(f.batches)
	if tried == 0 || len(f.alone) != 11 {
		t.Errorf("%d batches, alone %q", tried, f.alone)
	}
	for n := 11; n <= 20; n++ {
		run(n)
	}
	all.Wait()
	if len(f.batches) != tried {
		t.Errorf("%d batches more", len(f.batches)-tried)
	}
}
