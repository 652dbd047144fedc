// Package health keeps the process's state as a list of named conditions:
// what is checked, whether it holds, why not, what a person can do, and which
// other condition it fails because of. The same list stands behind /readyz, the
// status command, the page and the metrics.
package health

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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
	// Warning means that all works, and will not for ever if nobody does anything.
	Warning Severity = "warning"
)

// Severities returns all of them, the worst first.
func Severities() []Severity { return []Severity{High, Degraded, Warning} }

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
	// Because is the code of the failing condition of which this one is a
	// consequence: that is the one to look at. Empty where it stands for itself.
	Because string `json:"because,omitempty"`
	// Since is when the list first showed it failing; zero while OK.
	Since time.Time `json:"since,omitzero"`
}

// Family is the code without the name of what it is about: "grant" of
// "grant/contoso".
func (c Condition) Family() string {
	family, _, _ := strings.Cut(c.Code, "/")
	return family
}

// About is the rest of the code: "contoso" of "grant/contoso", or "".
func (c Condition) About() string {
	_, about, _ := strings.Cut(c.Code, "/")
	return about
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
	since  map[string]time.Time // of those that failed when last looked at
}

type check struct {
	code     string
	severity Severity
	fn       CheckFunc
	after    []string
}

// Add adds a check, or replaces the one of the same code. After are the codes
// of the checks that this one cannot hold without: while one of them fails, this
// one is its consequence. Codes that nobody added are as good as OK.
func (c *Checks) Add(code string, severity Severity, fn CheckFunc, after ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checks == nil {
		c.checks = make(map[string]check)
	}
	c.checks[code] = check{code, severity, fn, after}
}

// Remove takes a check out, such as that of a client that left the
// configuration.
func (c *Checks) Remove(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.checks, code)
	delete(c.since, code)
}

// List runs every check and returns the conditions sorted by code.
func (c *Checks) List(ctx context.Context) []Condition {
	c.mu.Lock()
	checks := slices.SortedFunc(maps.Values(c.checks), func(a, b check) int { return cmp.Compare(a.code, b.code) })
	c.mu.Unlock()

	list := make([]Condition, len(checks))
	failing := make(map[string]check)
	for i, check := range checks {
		list[i] = Condition{Code: check.code, OK: true, Severity: check.severity}
		if err := check.fn(ctx); err != nil {
			list[i].OK = false
			list[i].Cause = err.Error()
			list[i].Hint = fault.HintOf(err)
			failing[check.code] = check
		}
	}
	for i := range list {
		if !list[i].OK {
			cause := root(failing, list[i].Code, map[string]bool{})
			// In a circle everybody has a cause, and nobody would be shown.
			if cause != "" && root(failing, cause, map[string]bool{}) == "" {
				list[i].Because = cause
			}
		}
	}
	c.date(list)
	return list
}

// root is the code of the failing check that others are consequences of, and ""
// for one that stands for itself.
func root(failing map[string]check, code string, seen map[string]bool) string {
	seen[code] = true
	for _, cause := range failing[code].after {
		if _, fails := failing[cause]; fails && !seen[cause] {
			return cmp.Or(root(failing, cause, seen), cause)
		}
	}
	return ""
}

// date fills in since when conditions fail.
func (c *Checks) date(list []Condition) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since == nil {
		c.since = make(map[string]time.Time)
	}
	for i, condition := range list {
		if condition.OK {
			delete(c.since, condition.Code)
			continue
		}
		if c.since[condition.Code].IsZero() {
			c.since[condition.Code] = now
		}
		list[i].Since = c.since[condition.Code]
	}
}

// Ready reports whether no condition of severity high fails, consequences
// included.
func Ready(list []Condition) bool {
	return !slices.ContainsFunc(list, func(c Condition) bool { return !c.OK && c.Severity == High })
}

// Roots returns the failing conditions that are no consequences of others, the
// worst first.
func Roots(list []Condition) []Condition {
	roots := slices.DeleteFunc(slices.Clone(list), func(c Condition) bool { return c.OK || c.Because != "" })
	slices.SortStableFunc(roots, func(a, b Condition) int {
		return cmp.Compare(slices.Index(Severities(), a.Severity), slices.Index(Severities(), b.Severity))
	})
	return roots
}

// Because returns the codes of the conditions that fail because of another one.
func Because(list []Condition, code string) (codes []string) {
	for _, c := range list {
		if !c.OK && c.Because == code {
			codes = append(codes, c.Code)
		}
	}
	return codes
}

// Summary returns one line: "ready", or the codes of the conditions that
// fail, without those that fail because of others.
func Summary(list []Condition) string {
	var failing, warnings []string
	for _, c := range Roots(list) {
		if c.Severity == Warning {
			warnings = append(warnings, c.Code)
			continue
		}
		failing = append(failing, c.Code)
	}
	slices.Sort(failing)
	text := "ready"
	switch {
	case !Ready(list):
		text = "not ready: " + strings.Join(failing, ", ")
	case len(failing) > 0:
		text = "ready, degraded: " + strings.Join(failing, ", ")
	}
	if len(warnings) > 0 {
		text += "; to be looked at: " + strings.Join(warnings, ", ")
	}
	return text
}
