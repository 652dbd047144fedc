package sandbox

// The directory's own limit: users, groups and profiles are not Outlook's, and
// are counted in resource units by application and tenant, in a bucket of ten
// seconds whose size goes with the tenant's. Modelled: 3,500, 5,000 or 8,000
// units, a list costs 2, anything else 1, $select and $top below 20 take one off,
// $expand puts one on, at least 1; x-ms-resource-unit on each answer,
// x-ms-throttle-limit-percentage from 0.8 on, and the scope and reason of a 429.
// https://learn.microsoft.com/graph/throttling-limits
//
// Left out: the separate bucket of writes, x-ms-throttle-priority, the 455
// requests of open and schema extensions.

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const directorySpan = 10 * time.Second

// directoryUnits are the units of a tenant with so many users.
func directoryUnits(users int) int64 {
	switch {
	case users < 50:
		return 3_500
	case users <= 500:
		return 5_000
	}
	return 8_000
}

// units are what a request to the directory costs; 0 for one to something else.
func (c *call) units(method, route string) int64 {
	if !c.route.directory {
		return 0
	}
	n := int64(1)
	if method == http.MethodGet && !strings.HasSuffix(route, "}") && !strings.EqualFold(route, "/me") {
		n = 2 // a list
	}
	q := strings.ToLower(strings.ReplaceAll(c.request.URL.RawQuery, "%24", "$"))
	if strings.Contains(q, "$select=") {
		n--
	}
	if strings.Contains(q, "$expand=") {
		n++
	}
	if c.query.top > 0 && c.query.top < 20 {
		n--
	}
	return max(n, 1)
}

// spend takes units from the bucket; used is how full it is then.
func (b *limitBook) spend(app string, units int64, now time.Time) (used float64, wait time.Duration) {
	r := b.rules.directory
	if !r.on() || units == 0 {
		return 0, 0
	}
	w := b.units[app]
	if w == nil {
		w = &slidingCount{}
		b.units[app] = w
	}
	full := w.wait(r, units, now) > 0
	w.count(r, units, now)
	if full {
		wait = max(w.wait(r, units, now), 1)
	}
	return float64(w.sum) / float64(r.n), wait
}

// tellUnits puts what a request to the directory cost on its answer.
func (c *call) tellUnits(a *Answer) {
	if c.spent == 0 {
		return
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set("x-ms-resource-unit", strconv.FormatInt(c.spent, 10))
	if c.used >= 0.8 {
		a.Header.Set("x-ms-throttle-limit-percentage", strconv.FormatFloat(min(c.used, 1.8), 'f', 2, 64))
	}
}
