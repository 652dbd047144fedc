package graph_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

func TestAnAnswerThatTakesTooLongSaysSo(t *testing.T) {
	t.Parallel()
	const whole, head = "no complete answer within", "no answer within"
	for name, tc := range map[string]struct {
		change func(*graph.HTTP)
		want   string
	}{
		// The handshake is part of the attempt.
		"in all":                  {func(h *graph.HTTP) { h.Timeout = 300 * time.Millisecond }, whole},
		"the head":                {func(h *graph.HTTP) { h.HeaderTimeout = 30 * time.Millisecond }, head},
		"in all before the head":  {func(h *graph.HTTP) { h.Timeout, h.HeaderTimeout = 300*time.Millisecond, 400*time.Millisecond }, whole},
		"the head before the end": {func(h *graph.HTTP) { h.Timeout, h.HeaderTimeout = 10*time.Second, 30*time.Millisecond }, head},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent := make(chan struct{})
			one := serve(t, func(http.ResponseWriter, *http.Request) { <-silent }, func(o *graph.Options) { tc.change(&o.HTTP) })
			defer close(silent)
			base, roots := h2Serve(t, func(int, *http2.Framer, uint32) {})
			two := connect(t, base, func(o *graph.Options) { roots(o); tc.change(&o.HTTP) })
			for proto, w := range map[string]*world{"HTTP/1": one, "HTTP/2": two} {
				_, err := w.Do(t.Context(), sendMail(t))
				mark := wantFault(t, err, fault.Retry, true)
				if mark.Code != "no_answer" || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %s: %v", proto, mark.Code, err)
				}
			}
		})
	}
}

func TestOnlyTheWaitForTheHeadCountsForIt(t *testing.T) {
	t.Parallel()
	const head = 150 * time.Millisecond
	pause := func() { <-time.After(2 * head) }
	for name, handler := range map[string]http.HandlerFunc{
		"a request that takes long to write": func(w http.ResponseWriter, r *http.Request) {
			pause()
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusAccepted)
		},
		"a body that takes long to come": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			pause()
			_, _ = io.WriteString(w, "{}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, handler, func(o *graph.Options) { o.HTTP.HeaderTimeout = head })
			request := sendMail(t)
			request.Body = append(bytes.Repeat([]byte(" "), 16<<20), request.Body...) // more than the sockets hold
			if resp, err := w.Do(t.Context(), request); err != nil || resp.BodyBroken {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	}
}
