package graph_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

func TestDoSendsNothingAfterItsDeadline(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		rw.WriteHeader(http.StatusAccepted)
	}, nil)
	past := func() time.Time { return time.Now().Add(-time.Millisecond) }
	req := sendMail(t)
	req.Deadline = past
	_, err := w.Do(t.Context(), req)
	if mark := wantFault(t, err, fault.Retry, false); mark.Code != "deadline_passed" || calls.Load() != 0 {
		t.Errorf("code %s, %d calls", mark.Code, calls.Load())
	}
	req.Deadline = func() time.Time { return time.Now().Add(time.Hour) }
	if _, err := w.Do(t.Context(), req); err != nil || calls.Load() != 1 {
		t.Errorf("in time: %v, %d calls", err, calls.Load())
	}
	// Who reads late does no harm.
	read := readMail(t)
	read.Deadline = past
	if _, _ = w.Do(t.Context(), read); calls.Load() != 2 {
		t.Errorf("%d calls, want the read too", calls.Load())
	}
}

// The deadline is asked when the token is there, and once more before the
// repetition after a 401: both may have taken long.
func TestDoDoesNotRepeatAfterItsDeadline(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		writeError(rw, http.StatusUnauthorized, "InvalidAuthenticationToken")
	}, nil)
	req := sendMail(t)
	req.Deadline = func() time.Time {
		if calls.Load() > 0 {
			return time.Now().Add(-time.Second)
		}
		return time.Now().Add(time.Hour)
	}
	_, err := w.Do(t.Context(), req)
	mark := wantFault(t, err, fault.Retry, false)
	if mark.Code != "deadline_passed" || calls.Load() != 1 || strings.Contains(fault.HintOf(err), "auth login") {
		t.Errorf("code %s, %d calls, hint %q", mark.Code, calls.Load(), fault.HintOf(err))
	}
	if answered, ok := errors.AsType[*graph.Error](err); !ok || answered.Status != http.StatusUnauthorized {
		t.Errorf("the answer to the first is lost in %v", err)
	}
}
