package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"outlook-connector/internal/fault"
)

func TestOfFindsTheOutermostMark(t *testing.T) {
	t.Parallel()
	inner := fault.New(fault.Retry, "503").WithHint("wait")
	outer := &fault.Error{Kind: fault.Poison, Err: fmt.Errorf("gave up: %w", inner)}
	err := fmt.Errorf("send: %w", outer)

	if got := fault.KindOf(err); got != fault.Poison {
		t.Errorf("KindOf = %v, want poison", got)
	}
	if got := fault.HintOf(err); got != "wait" {
		t.Errorf("HintOf = %q, want the inner hint", got)
	}
	if !errors.Is(err, inner) {
		t.Error("the cause is not reachable with errors.Is")
	}
}

func TestUnmarkedErrors(t *testing.T) {
	t.Parallel()
	err := errors.New("plain")
	if got := fault.Of(err); got.Kind != fault.Unknown || !errors.Is(got, err) {
		t.Errorf("Of(plain) = %+v", got)
	}
	if fault.Of(nil) != nil || fault.HintOf(err) != "" {
		t.Error("nil and unmarked errors must have no mark and no hint")
	}
}

func TestStoppedIsOnlyTheOwnersCancellation(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	timed, stop := context.WithTimeout(ctx, time.Nanosecond)
	defer stop()
	<-timed.Done()
	if fault.Stopped(ctx, timed.Err()) {
		t.Error("a timeout of one call is not the owner stopping")
	}
	cancel()
	if !fault.Stopped(ctx, fmt.Errorf("poll: %w", context.Canceled)) {
		t.Error("the owner's cancellation was not recognised")
	}
}
