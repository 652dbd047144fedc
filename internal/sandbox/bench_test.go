package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"outlook-connector/internal/sandbox"
)

// unlimited is a sandbox that throttles nobody.
func unlimited(more ...sandbox.Option) []sandbox.Option {
	return append([]sandbox.Option{
		sandbox.MailboxConcurrency(1000), sandbox.RequestWindow(0, 0), sandbox.UploadWindow(0, 0), sandbox.AppWindow(0, 0),
	}, more...)
}

// BenchmarkSendMail sends within one process, without a network: the cost of
// the sandbox itself, one delivered mail and one copy each.
func BenchmarkSendMail(b *testing.B) {
	for name, opts := range map[string][]sandbox.Option{
		"memory": nil, "keep=1000": {sandbox.Keep(1000)}, "store": {sandbox.StoreDir(b.TempDir())},
		"store,keep=1000": {sandbox.StoreDir(b.TempDir()), sandbox.Keep(1000)},
	} {
		b.Run(name, func(b *testing.B) {
			w := start(b, unlimited(opts...)...)
			h, body := w.Handler(), sendMail("x", ben)
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1.0/me/sendMail", strings.NewReader(body))
				req.Header.Set("Authorization", "Bearer "+w.token)
				req.Header.Set("Content-Type", "application/json")
				rec := httptest.NewRecorder()
				if h.ServeHTTP(rec, req); rec.Code != http.StatusAccepted {
					b.Fatal(rec.Code)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}

// BenchmarkSendMailHTTP sends over connections on loopback, eight clients in the
// process of the sandbox, from eight mailboxes to the next one each.
func BenchmarkSendMailHTTP(b *testing.B) {
	const clients = 8
	w := start(b, unlimited(sandbox.Mailboxes(clients), sandbox.Keep(10_000))...)
	people := w.People()
	tr := &http.Transport{MaxIdleConnsPerHost: clients}
	b.Cleanup(tr.CloseIdleConnections)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wait sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for n := range clients {
		me := w.as(people[n].UPN, allMail)
		body := []byte(sendMail("x", people[(n+1)%clients].UPN))
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := sendOne(b.Context(), tr, me, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}

func sendOne(ctx context.Context, tr *http.Transport, me *world, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, me.GraphURL()+"/me/sendMail", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+me.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}

// BenchmarkMemory stores small mails and measures what the heap has grown by:
// B/mail is proportional to what is stored, with a bound it goes towards zero.
func BenchmarkMemory(b *testing.B) {
	for _, row := range []struct {
		name string
		n    int
		opts []sandbox.Option
	}{
		{"mails=10000", 10_000, nil},
		{"mails=40000", 40_000, nil},
		{"mails=40000,keep=1000", 40_000, []sandbox.Option{sandbox.Keep(1000)}},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				w := start(b, row.opts...)
				before := heap()
				for n := range row.n {
					w.deliver(ann, fmt.Sprint("Order ", n))
				}
				b.ReportMetric((heap()-before)/float64(row.n), "B/mail")
				runtime.KeepAlive(w)
			}
		})
	}
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // what has finalizers is gone with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkIdleDelta asks for changes where there are none, in a folder of
// 20,000 messages: the cost must not depend on what the folder holds.
func BenchmarkIdleDelta(b *testing.B) {
	w := start(b, unlimited()...)
	for range 20_000 {
		w.deliver(ann, "x")
	}
	r := newReader(w.with("Prefer", "odata.maxpagesize=1000"), "inbox", "?$select=id").round()
	for b.Loop() {
		r.round()
	}
}
