package health_test

import (
	"context"
	"errors"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
)

func TestOnlyHighConditionsMakeTheProcessUnready(t *testing.T) {
	t.Parallel()
	var checks health.Checks
	var nats, grant error
	checks.Add("nats", health.High, func(context.Context) error { return nats })
	checks.Add("grant/contoso", health.Degraded, func(context.Context) error { return grant })

	if list := checks.List(t.Context()); !health.Ready(list) || health.Summary(list) != "ready" {
		t.Errorf("all well: %+v", list)
	}

	grant = fault.New(fault.Reauth, "no grant").WithHint("outlook-connector auth login contoso")
	list := checks.List(t.Context())
	if !health.Ready(list) || health.Summary(list) != "ready, degraded: grant/contoso" {
		t.Errorf("one grant missing: %s", health.Summary(list))
	}
	if got := list[0]; got.Code != "grant/contoso" || got.OK || got.Cause != "no grant" || got.Hint != "outlook-connector auth login contoso" {
		t.Errorf("condition: %+v", got)
	}

	nats = errors.New("not connected")
	if list := checks.List(t.Context()); health.Ready(list) || health.Summary(list) != "not ready: grant/contoso, nats" {
		t.Errorf("NATS away: %s", health.Summary(list))
	}
}

func TestAddReplacesByCode(t *testing.T) {
	t.Parallel()
	var checks health.Checks
	checks.Add("a", health.High, func(context.Context) error { return errors.New("old") })
	checks.Add("a", health.High, func(context.Context) error { return nil })
	if list := checks.List(t.Context()); len(list) != 1 || !list[0].OK {
		t.Errorf("list: %+v", list)
	}
}
