package retry

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxAfter is the longest wait that a Retry-After header can ask for. More is
// taken as this much: a wrong header must not silence a mailbox for a year.
const MaxAfter = 15 * time.Minute

// dateForms are the three ways to write a date in HTTP:
// https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
var dateForms = [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 MST", time.ANSIC}

// After reads the value of a Retry-After header: a number of seconds or an
// HTTP date, which is compared with now (give the answer's own Date where it
// has one, so that a wrong clock here does not matter). The wait is never
// shorter than asked for, up to [MaxAfter]. Zero means that the header asks
// for no wait: it is absent, in the past, negative or not readable.
//
// Graph sends fractions too ("2.128", "0.249"); cutting them to whole seconds
// would turn the second one into no wait at all.
func After(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return fromSeconds(seconds)
	}
	for _, form := range dateForms {
		if at, err := time.Parse(form, value); err == nil {
			return min(max(at.Sub(now), 0), MaxAfter)
		}
	}
	return 0
}

// fromSeconds rounds up, so that the wait is not a nanosecond too short.
func fromSeconds(seconds float64) time.Duration {
	switch {
	case !(seconds > 0): // NaN too
		return 0
	case seconds >= MaxAfter.Seconds():
		return MaxAfter
	default:
		return min(time.Duration(math.Ceil(seconds*float64(time.Second))), MaxAfter)
	}
}
