package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// newEffectsServer serves a sink of commands and returns its address.
func newEffectsServer(t *testing.T, spec EffectsSpec) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	url, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- runEffects(ctx, spec, func(s told) error {
			url <- s.URL
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return <-url
}

// effectsState asks a sink how far it is.
func effectsState(t *testing.T, web *http.Client, url string) (state EffectsState) {
	t.Helper()
	if err := askFor(t.Context(), web, http.MethodGet, url+sinkState, &state); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestTheSinkCountsCommandsAndThoseThatComeAgain(t *testing.T) {
	t.Parallel()
	url := newEffectsServer(t, EffectsSpec{Delay: time.Millisecond})
	web := &http.Client{Transport: new(http.Transport)}
	defer web.CloseIdleConnections()
	send := func(method, path, body string) (status int, text string) {
		req, err := http.NewRequestWithContext(t.Context(), method, url+sinkBase+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		all, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(all)
	}
	command := func(n int) string { return fmt.Sprintf(`{"subject": "%s%016x"}`, commandMark, n) }
	for _, n := range []int{0, 70_000, 0} {
		if status, text := send(http.MethodPost, "/users/ann/sendMail", command(n)); status != http.StatusAccepted || text != "" {
			t.Errorf("a mail is answered %d %s", status, text)
		}
	}
	if status, text := send(http.MethodPost, "/users/ann/messages", command(3)); status != http.StatusCreated || !strings.Contains(text, `"id":"AAMkAGI2`) {
		t.Errorf("a draft is answered %d %s", status, text)
	}
	if status, _ := send(http.MethodPost, "/users/ann/messages/A/send", ""); status != http.StatusAccepted {
		t.Errorf("sending it is answered %d", status)
	}
	if status, text := send(http.MethodGet, "/users/ann", ""); status != http.StatusOK || len(text) != len(`{"id":""}`)+36 {
		t.Errorf("a user is answered %d %s", status, text)
	}
	if status, text := send(http.MethodGet, "/users/ann/messages", ""); status != http.StatusOK || text != `{"value":[]}` {
		t.Errorf("a look is answered %d %s", status, text)
	}
	if got, want := effectsState(t, web, url), (EffectsState{Requests: 7, Commands: 3, Repeats: 1, MostInFlight: 1, Connections: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheSinkHoldsWhatComesUntilItIsToldToGo(t *testing.T) {
	t.Parallel()
	url := newEffectsServer(t, EffectsSpec{})
	web := &http.Client{Transport: new(http.Transport)}
	defer web.CloseIdleConnections()
	if err := askFor(t.Context(), web, http.MethodPost, url+sinkHold, nil); err != nil {
		t.Fatal(err)
	}
	const together = 3
	done := make(chan error, together)
	for range together {
		go func() { done <- post(t.Context(), web, url+sinkBase+"/users/ann/sendMail", nil) }()
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for effectsState(t, web, url).InFlight < together {
		<-ticker.C
	}
	select {
	case err := <-done:
		t.Errorf("one was answered: %v", err)
	default:
	}
	if err := askFor(t.Context(), web, http.MethodPost, url+sinkGo, nil); err != nil {
		t.Fatal(err)
	}
	for range together {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got, want := effectsState(t, web, url), (EffectsState{Requests: 3, MostInFlight: 3, Connections: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestConnectionsThatEndAreNotCountedAnyMore(t *testing.T) {
	t.Parallel()
	url := newEffectsServer(t, EffectsSpec{})
	for range 3 { // one after the other
		web := &http.Client{Transport: new(http.Transport)}
		if err := post(t.Context(), web, url+sinkBase+"/users/ann/sendMail", nil); err != nil {
			t.Fatal(err)
		}
		// The sink sees the end some time later than we do.
		e := effectsState(t, web, url)
		if e.Connections < 1 || e.Connections > 3 {
			t.Errorf("%d connections", e.Connections)
		}
		web.CloseIdleConnections()
	}
	e := newEffects(EffectsSpec{})
	c := new(markedConn)
	for range 3 {
		ctx := e.begin(t.Context(), c)
		e.came((&http.Request{}).WithContext(ctx))
		e.change(c, http.StateClosed)
		c = new(markedConn)
	}
	e.change(new(markedConn), http.StateClosed) // had no request
	e.change(new(net.TCPConn), http.StateClosed)
	if e.open != 0 || e.state.Connections != 1 {
		t.Errorf("%d are open, there were %d at most", e.open, e.state.Connections)
	}
}

func TestCommandsAreOfTheSizeThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]int{1: minCommand, 1 << 10: 1 << 10, 5000: 5000} {
		l := &line{p: Publish{Mailboxes: 2}, text: commandOf(asked)}
		seen := make(map[string]bool)
		for n := range 3 {
			text := l.next()
			var command struct {
				Mailbox string
				Payload struct {
					Message struct{ Subject string }
				}
			}
			if err := json.Unmarshal(text, &command); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if number, ok := numberIn(text); len(text) != want || !ok || number != uint64(n) {
				t.Errorf("asked for %d bytes: %d bytes with number %d", asked, len(text), number)
			}
			seen[command.Mailbox] = true
		}
		if !seen["user00000@contoso.example"] || !seen["user00001@contoso.example"] || len(seen) != 2 {
			t.Errorf("the mailboxes are %v", seen)
		}
	}
}

func TestRatiosOfCommandsAreOverTheRoundsOfOneKindAndDelay(t *testing.T) {
	t.Parallel()
	const slow = 20 * time.Millisecond
	runs := []PublishRun{
		{Delay: slow, Ratio: 0.9, CPURatio: 3},
		{Delay: slow, Ratio: 0.8, CPURatio: 2},
		{Ratio: 0.1},
		{Delay: slow, Ratio: 1, CPURatio: 1},
		{Delay: slow, SyncAlways: true, Ratio: 0.2},
	}
	want := PublishRatio{Delay: slow, Median: 0.9, Least: 0.8, Most: 1, Target: 0.95, CPU: 2, CPUTarget: 2}
	if got := publishRatio(runs, "at_least_once", false, slow); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, c := range []struct {
		delivery   string
		syncAlways bool
		delay      time.Duration
		rate, cpu  float64
	}{
		{"at_least_once", false, 0, 0.5, 0},
		{"at_least_once", false, time.Millisecond, 0, 0},
		{"at_least_once", false, 100 * time.Millisecond, 0.95, 0},
		{"at_least_once", true, slow, 0.4, 0},
		{"exactly_once", false, slow, 0.95, 0},
		{"exactly_once", true, slow, 0, 0},
		{"at_most_once", false, slow, 0, 0},
	} {
		if rate, cpu := targetsOf(c.delivery, c.syncAlways, c.delay); rate != c.rate || cpu != c.cpu {
			t.Errorf("%+v: got %v and %v", c, rate, cpu)
		}
	}
}
