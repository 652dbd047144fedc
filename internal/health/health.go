// Package health keeps the process's state as a list of named conditions:
// what is checked, whether it holds, why not and what a person can do. The
// same list stands behind /readyz, the status command and the page.
package health

import (
	"context"
	"slices"
	"strings"
	"sync"

	"outlook-connector/internal/fault"
)

// Severity says what a failing condition means for the process.
type Severity string

// The severities.
const (
	// High means that the process cannot do its work: it is not ready.
	High Severity = "high"
	// Degraded means that a part stands still (one grant, one feed) while the
	// rest works. It does not make the process unready: an orchestrator that
	// restarts it would only make things worse.
	Degraded Severity = "degraded"
)

// Condition is the state of one check at one moment.
type Condition struct {
	// Code names the check: "nats", "streams", "grant/contoso".
	Code string `json:"code"`
	// OK is true while the condition holds.
	OK bool `json:"ok"`
	// Severity is what it means when it does not hold.
	Severity Severity `json:"severity"`
	// Cause says what is wrong; empty while OK.
	Cause string `json:"cause,omitempty"`
	// Hint says what to do; empty while OK or where nothing can be done.
	Hint string `json:"hint,omitempty"`
}

// CheckFunc returns nil while the condition holds. It must be quick (it runs
// on every probe), honour ctx and be safe for concurrent use. A hint comes
// from [fault.HintOf].
type CheckFunc func(ctx context.Context) error

// Checks is a set of named checks. The zero value is empty and ready to use;
// it is safe for concurrent use.
type Checks struct {
	mu     sync.Mutex
	checks map[string]check
}

type check struct {
	severity Severity
	fn       CheckFunc
}

// Add adds a check, or replaces the one of the same code.
func (c *Checks) Add(code string, severity Severity, fn CheckFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checks == nil {
		c.checks = make(map[string]check)
	}
	c.checks[code] = check{severity, fn}
}

// List runs every check and returns the conditions sorted by code.
func (c *Checks) List(ctx context.Context) []Condition {
	c.mu.Lock()
	codes := make([]string, 0, len(c.checks))
	checks := make([]check, 0, len(c.checks))
	for code := range c.checks {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	for _, code := range codes {
		checks = append(checks, c.checks[code])
	}
	c.mu.Unlock()

	list := make([]Condition, len(codes))
	for i, check := range checks {
		list[i] = Condition{Code: codes[i], OK: true, Severity: check.severity}
		if err := check.fn(ctx); err != nil {
			list[i].OK = false
			list[i].Cause = err.Error()
			list[i].Hint = fault.HintOf(err)
		}
	}
	return list
}

// Ready reports whether no condition of severity high fails.
func Ready(list []Condition) bool {
	return !slices.ContainsFunc(list, func(c Condition) bool { return !c.OK && c.Severity == High })
}

// Summary returns one line: "ready", or the codes of the conditions that
// fail.
func Summary(list []Condition) string {
	var failing []string
	for _, c := range list {
		if !c.OK {
			failing = append(failing, c.Code)
		}
	}
	switch {
	case len(failing) == 0:
		return "ready"
	case Ready(list):
		return "ready, degraded: " + strings.Join(failing, ", ")
	default:
		return "not ready: " + strings.Join(failing, ", ")
	}
}
