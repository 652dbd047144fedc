package sandbox_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// BenchmarkSendMail sends within one process, without a network: the cost of
// the sandbox itself, one delivered mail and one copy each.
func BenchmarkSendMail(b *testing.B) {
	for _, stored := range []bool{false, true} {
		b.Run(fmt.Sprint("store=", stored), func(b *testing.B) {
			opts := []sandbox.Option{sandbox.MailboxConcurrency(1000)}
			if stored {
				opts = append(opts, sandbox.StoreDir(b.TempDir()))
			}
			w := start(b, opts...)
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
		})
	}
}

// BenchmarkIdleDelta asks for changes where there are none, in a folder of
// 20,000 messages: the cost must not depend on what the folder holds.
func BenchmarkIdleDelta(b *testing.B) {
	w := start(b)
	for range 20_000 {
		w.deliver(ann, "x")
	}
	r := newReader(w.with("Prefer", "odata.maxpagesize=1000"), "inbox", "?$select=id").round()
	for b.Loop() {
		r.round()
	}
}
