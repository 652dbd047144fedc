package health_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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

func fails(text string) health.CheckFunc {
	return func(context.Context) error { return errors.New(text) }
}

func holds(context.Context) error { return nil }

// byCode returns the conditions of checks.
func byCode(t *testing.T, checks *health.Checks) map[string]health.Condition {
	t.Helper()
	all := make(map[string]health.Condition)
	for _, c := range checks.List(t.Context()) {
		all[c.Code] = c
	}
	return all
}

func TestARootCauseSilencesItsConsequences(t *testing.T) {
	t.Parallel()
	var checks health.Checks
	checks.Add("feeds/contoso", health.Degraded, fails("3 feeds fail"), "streams", "grant/contoso")
	checks.Add("streams", health.Degraded, fails("not seen"), "nats")
	checks.Add("nats", health.High, fails("no connection"), "nats-server")
	checks.Add("nats-server", health.High, holds)
	checks.Add("grant/contoso", health.Degraded, fails("no grant"))
	checks.Add("disk", health.Warning, fails("10 % left"))

	all := byCode(t, &checks)
	for code, because := range map[string]string{"feeds/contoso": "nats", "streams": "nats", "nats": "", "nats-server": "", "grant/contoso": "", "disk": ""} {
		if all[code].Because != because {
			t.Errorf("%s fails because of %q, want %q", code, all[code].Because, because)
		}
	}
	list := checks.List(t.Context())
	if got := health.Summary(list); got != "not ready: grant/contoso, nats; to be looked at: disk" {
		t.Errorf("summary: %s", got)
	}
	if roots := health.Roots(list); len(roots) != 3 || roots[0].Code != "nats" || roots[2].Code != "disk" {
		t.Errorf("roots, the worst first: %+v", roots)
	}
	if got := health.Because(list, "nats"); len(got) != 2 || got[0] != "feeds/contoso" || got[1] != "streams" {
		t.Errorf("consequences: %v", got)
	}

	checks.Add("nats", health.High, holds, "nats-server") // the root ends, and the next one shows
	all = byCode(t, &checks)
	if all["streams"].Because != "" || all["feeds/contoso"].Because != "streams" || !all["nats"].OK {
		t.Errorf("after the root: %+v", all)
	}
}

func TestAConsequenceOfHighSeverityStaysOne(t *testing.T) {
	t.Parallel()
	var checks health.Checks
	checks.Add("disk", health.Degraded, fails("full"))
	checks.Add("nats", health.High, fails("stopped"), "disk")
	if list := checks.List(t.Context()); health.Ready(list) || health.Summary(list) != "not ready: disk" {
		t.Errorf("%s", health.Summary(list))
	}
}

func TestAWarningAloneIsReady(t *testing.T) {
	t.Parallel()
	var checks health.Checks
	checks.Add("disk", health.Warning, fails("10 % left"))
	if list := checks.List(t.Context()); !health.Ready(list) || health.Summary(list) != "ready; to be looked at: disk" {
		t.Errorf("%s", health.Summary(list))
	}
}

func TestACircleOfCausesEndsAndHidesNothing(t *testing.T) {
	t.Parallel()
	var checks health.Checks
	checks.Add("a", health.Degraded, fails("x"), "b")
	checks.Add("b", health.Degraded, fails("y"), "a")
	checks.Add("c", health.Degraded, fails("z"), "c", "nobody")
	all := byCode(t, &checks)
	if len(all) != 3 || len(health.Roots(checks.List(t.Context()))) != 3 {
		t.Errorf("%+v", all)
	}
}

func TestSinceIsWhenItBeganToFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var checks health.Checks
		checks.Add("a", health.Degraded, fails("x"))
		began := byCode(t, &checks)["a"].Since
		if began.IsZero() {
			t.Fatal("no time")
		}
		pause(t, time.Minute)
		if got := byCode(t, &checks)["a"].Since; !got.Equal(began) {
			t.Errorf("since %v, want %v", got, began)
		}
		checks.Add("a", health.Degraded, holds)
		if got := byCode(t, &checks)["a"].Since; !got.IsZero() {
			t.Errorf("holds since %v", got)
		}
		checks.Add("a", health.Degraded, fails("again"))
		if got := byCode(t, &checks)["a"].Since; got.Sub(began) != time.Minute {
			t.Errorf("again since %v", got)
		}
		checks.Remove("a")
		if list := checks.List(t.Context()); len(list) != 0 {
			t.Errorf("removed: %+v", list)
		}
	})
}

// pause lets time pass in a bubble of synctest.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func TestACodeHasAFamilyAndWhatItIsAbout(t *testing.T) {
	t.Parallel()
	for code, want := range map[string][2]string{"nats": {"nats", ""}, "grant/contoso": {"grant", "contoso"}} {
		if c := (health.Condition{Code: code}); c.Family() != want[0] || c.About() != want[1] {
			t.Errorf("%s: %q, %q", code, c.Family(), c.About())
		}
	}
}
