package graph_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/retry"
)

// idle returns a client that is only asked for slots.
func idle(t *testing.T, limits graph.Limits) *graph.Client {
	t.Helper()
	c, err := graph.New(graph.Options{Name: "x", BaseURL: "https://graph.microsoft.com", Tokens: &tokens{}, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAMailboxHasFourSlots(t *testing.T) {
	t.Parallel()
	c := idle(t, graph.Limits{})
	var releases []func()
	for range 4 {
		release, wait, ok := c.TakeSlot(t.Context(), "Ann@contoso.com")
		if !ok || wait != 0 {
			t.Fatalf("slot refused for %v", wait)
		}
		releases = append(releases, release)
	}
	if _, wait, ok := c.TakeSlot(t.Context(), "ann@CONTOSO.com"); ok || wait <= 0 {
		t.Errorf("a fifth slot was given (wait %v)", wait)
	}
	if release, _, ok := c.TakeSlot(t.Context(), "bob@contoso.com"); !ok {
		t.Error("another mailbox has to wait")
	} else {
		release()
	}
	releases[0]()
	releases[0]() // harmless
	if _, _, ok := c.TakeSlot(t.Context(), "ann@contoso.com"); !ok {
		t.Error("the slot did not come back")
	}
	if _, _, ok := c.TakeSlot(t.Context(), "ann@contoso.com"); ok {
		t.Error("a release that was called twice gave two slots back")
	}
}

func TestWaitsAreSpreadAsTheQueueIsServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const service = 100 * time.Millisecond
		c := idle(t, graph.Limits{})
		// 400 jobs of one mailbox; each comes back when it is told to.
		var turns, running, most atomic.Int64
		var wait sync.WaitGroup
		started := time.Now()
		for range 400 {
			wait.Go(func() {
				for {
					turns.Add(1)
					release, pause, ok := c.TakeSlot(t.Context(), "me")
					if !ok {
						_ = retry.Sleep(t.Context(), pause)
						continue
					}
					most.Store(max(most.Load(), running.Add(1)))
					_ = retry.Sleep(t.Context(), service)
					running.Add(-1)
					release()
					return
				}
			})
		}
		wait.Wait()
		ideal := 400 / 4 * service
		if took := time.Since(started); most.Load() > 4 || took > 3*ideal || turns.Load() > 8*400 {
			t.Errorf("%d at once, %v for what ideally takes %v, %d turns", most.Load(), took, ideal, turns.Load())
		}
	})
}

func TestAcquireWaitsForItsTurnAndGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := idle(t, graph.Limits{Concurrency: 1})
		hold, err := c.Acquire(t.Context(), "me")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan time.Time)
		started := time.Now()
		go func() {
			release, err := c.Acquire(t.Context(), "me")
			if err != nil {
				t.Error(err)
				return
			}
			got <- time.Now()
			release()
		}()
		synctest.Wait()
		_ = retry.Sleep(t.Context(), time.Second)
		hold()
		if _, _, ok := c.TakeSlot(t.Context(), "me"); ok {
			t.Error("TakeSlot went before who was waiting")
		}
		if at := <-got; at.Sub(started) != time.Second {
			t.Errorf("the slot came after %v", at.Sub(started))
		}
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.Park("me", time.Now().Add(time.Minute))
		if _, err := c.Acquire(ctx, "me"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire under an ending context: %v", err)
		}
		release, err := c.Acquire(t.Context(), "me")
		if since := time.Since(started); err != nil || since != time.Second+time.Minute {
			t.Errorf("parked for a minute, given after %v (%v)", since, err)
			return
		}
		release()
	})
}

func TestAParkedMailboxIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := idle(t, graph.Limits{})
		c.Park("me", time.Now().Add(30*time.Second))
		c.Park("me", time.Now().Add(10*time.Second)) // earlier: changes nothing
		var last time.Duration
		for n := range 3 {
			_, wait, ok := c.TakeSlot(t.Context(), "ME")
			if ok || wait < 30*time.Second || wait <= last {
				t.Errorf("turn %d: given %v, wait %v after %v", n, ok, wait, last)
			}
			last = wait
		}
		_ = retry.Sleep(t.Context(), 30*time.Second)
		if _, _, ok := c.TakeSlot(t.Context(), "me"); !ok {
			t.Error("still parked after its time")
		}
		c.Park("bob", time.Now().Add(24*time.Hour))
		if _, wait, _ := c.TakeSlot(t.Context(), "bob"); wait > 15*time.Minute {
			t.Errorf("parked for %v, over the bound", wait)
		}
	})
}

// pipeServer answers requests over net.Pipe, so that client and server share
// the fake time of a bubble.
func pipeServer(t *testing.T, handler http.HandlerFunc, change func(*graph.Options)) *graph.Client {
	t.Helper()
	o := graph.Options{Name: "x", BaseURL: "http://127.0.0.1", Tokens: &tokens{}}
	o.HTTP.DialContext = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			in := bufio.NewReader(server)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				answer := &answerWriter{header: http.Header{}, status: 200}
				handler(answer, req)
				resp := http.Response{StatusCode: answer.status, ProtoMajor: 1, ProtoMinor: 1, Header: answer.header, Request: req}
				if resp.Write(server) != nil {
					return
				}
			}
		}()
		return client, nil
	}
	if change != nil {
		change(&o)
	}
	c, err := graph.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type answerWriter struct {
	header http.Header
	status int
}

func (a *answerWriter) Header() http.Header         { return a.header }
func (a *answerWriter) WriteHeader(status int)      { a.status = status }
func (a *answerWriter) Write(p []byte) (int, error) { return len(p), nil }

func TestNoRequestBeforeRetryAfterIsOver(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][2]time.Duration{ // the bounds of the wait
		"120":                           {120 * time.Second, 120 * time.Second},
		"2.128":                         {2128 * time.Millisecond, 2128 * time.Millisecond},
		"0.249":                         {249 * time.Millisecond, 2 * time.Second},
		"":                              {time.Second, 2 * time.Second},
		"-5":                            {time.Second, 2 * time.Second},
		"abc":                           {time.Second, 2 * time.Second},
		"1e9":                           {15 * time.Minute, 15 * time.Minute},
		"Sat, 01 Jan 2000 00:01:30 GMT": {90 * time.Second, 90 * time.Second}, // by the server's clock
		"Fri, 31 Dec 1999 00:00:00 GMT": {time.Second, 2 * time.Second},
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				c := pipeServer(t, func(w http.ResponseWriter, _ *http.Request) {
					at = append(at, time.Now())
					if len(at) > 1 {
						return
					}
					w.Header().Set("Date", "Sat, 01 Jan 2000 00:00:00 GMT")
					if value != "" {
						w.Header().Set("Retry-After", value)
					}
					w.WriteHeader(http.StatusTooManyRequests)
				}, nil)
				_, err := c.Do(t.Context(), sendMail(t))
				mark := wantFault(t, err, fault.Retry, false)
				if mark.After < want[0] || mark.After > want[1] {
					t.Errorf("After = %v, want %v to %v", mark.After, want[0], want[1])
				}
				// Who asks too early is told so; nothing is sent.
				_, err = c.Do(t.Context(), readMail(t))
				if early := wantFault(t, err, fault.Retry, false); early.Code != "mailbox_parked" || early.After <= 0 || early.After > mark.After {
					t.Errorf("early request: code %q, After %v", early.Code, early.After)
				}
				other := readMail(t)
				other.Mailbox = "bob@contoso.com"
				if _, err := c.Do(t.Context(), other); err != nil {
					t.Errorf("another mailbox: %v", err)
				}
				release, err := c.Acquire(t.Context(), "me")
				if err != nil {
					t.Fatal(err)
				}
				defer release()
				if _, err := c.Do(t.Context(), sendMail(t)); err != nil {
					t.Error(err)
				}
				if len(at) != 3 || at[2].Sub(at[0]) < want[0] {
					t.Errorf("%d requests, the repeat after %v; want 3 and at least %v", len(at), at[len(at)-1].Sub(at[0]), want[0])
				}
			})
		})
	}
}

func TestWaitsGrowWhileAMailboxStaysThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests, throttled := 0, true
		c := pipeServer(t, func(w http.ResponseWriter, _ *http.Request) {
			requests++
			if throttled {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}, nil)
		minute := func() int {
			before, end := requests, time.Now().Add(5*time.Minute)
			for time.Now().Before(end) {
				_, err := c.Do(t.Context(), readMail(t))
				if err == nil {
					return 0
				}
				_ = retry.Sleep(t.Context(), fault.Of(err).After)
			}
			return requests - before
		}
		first, later := minute(), minute()
		if first > 30 || later > 12 || later < 4 {
			t.Errorf("%d requests in the first 5 minutes and %d in the next; want about 15 and 5 to 10", first, later)
		}
		throttled = false
		minute()
		throttled = true
		if _, err := c.Do(t.Context(), readMail(t)); fault.Of(err).After > 2*time.Second {
			t.Errorf("after a success the waits start at %v", fault.Of(err).After)
		}
	})
}

func TestAfter503WithRetryAfterTheMailboxRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, nil)
		_, err := c.Do(t.Context(), sendMail(t))
		wantFault(t, err, fault.Retry, true)
		if _, wait, ok := c.TakeSlot(t.Context(), "me"); ok || wait < 7*time.Second {
			t.Errorf("slot given %v, wait %v", ok, wait)
		}
	})
}

func TestWindowsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := pipeServer(t, func(http.ResponseWriter, *http.Request) { requests++ },
			func(o *graph.Options) {
				o.Limits = graph.Limits{Requests: 10, RequestWindow: time.Minute, UploadBytes: 100, UploadWindow: time.Minute}
			})
		for range 10 {
			if _, err := c.Do(t.Context(), readMail(t)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := c.Do(t.Context(), readMail(t))
		mark := wantFault(t, err, fault.Retry, false)
		if mark.Code != "request_window" || mark.After < 55*time.Second || mark.After > 63*time.Second || requests != 10 {
			t.Errorf("code %q, After %v, %d requests", mark.Code, mark.After, requests)
		}
		if _, wait, ok := c.TakeSlot(t.Context(), "me"); ok || wait < mark.After {
			t.Errorf("slot given %v, wait %v", ok, wait)
		}
		_ = retry.Sleep(t.Context(), mark.After)
		if release, _, ok := c.TakeSlot(t.Context(), "me"); !ok {
			t.Error("no slot though the window has room again")
		} else {
			release()
		}
		big := sendMail(t)
		big.Body = make([]byte, 60)
		if _, err := c.Do(t.Context(), big); err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), big)
		if mark := wantFault(t, err, fault.Retry, false); mark.Code != "upload_window" || requests != 11 {
			t.Errorf("code %q, %d requests", mark.Code, requests)
		}
		if _, err := c.Do(t.Context(), readMail(t)); err != nil {
			t.Errorf("a read is held up by the uploads: %v", err)
		}
	})
}
