package sandbox

// The ways in which Graph and what stands before it were seen to say "later".
// https://learn.microsoft.com/graph/throttling,
// https://learn.microsoft.com/graph/errors

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// RetryShape is how a Retry-After is written.
type RetryShape string

// The shapes.
const (
	// RetrySeconds is a whole number, as Graph documents it.
	RetrySeconds RetryShape = "seconds"
	// RetryFraction has a fraction, such as 2.5.
	RetryFraction RetryShape = "fraction"
	// RetryDate is an HTTP date, as RFC 9110 allows.
	RetryDate RetryShape = "date"
	// RetryAbsent is no header at all.
	RetryAbsent RetryShape = "absent"
	// RetryEndless is a number of seconds that is three years.
	RetryEndless RetryShape = "endless"
	// RetryNegative is -1.
	RetryNegative RetryShape = "negative"
	// RetryWord is no time at all: soon.
	RetryWord RetryShape = "word"
)

var retryShapes = []RetryShape{RetrySeconds, RetryFraction, RetryDate, RetryAbsent, RetryEndless, RetryNegative, RetryWord}

func (s RetryShape) text(wait time.Duration, now time.Time) string {
	switch s {
	case RetryFraction:
		return strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)
	case RetryDate:
		// Dates have whole seconds; rounded up, so that the wait is not cut short.
		return now.Add(wait + time.Second - 1).UTC().Format(http.TimeFormat)
	case RetryAbsent:
		return ""
	case RetryEndless:
		return "99999999"
	case RetryNegative:
		return "-1"
	case RetryWord:
		return "soon"
	}
	return wholeSeconds(wait)
}

// Throttle refuses a request, without an effect: 429, 503, 504 or 509, with a
// Retry-After of the shape. wait is what the shapes of a time say. Those who come
// back too early are counted as offenders, if the time can be read and is not
// longer than a day.
func Throttle(status int, shape RetryShape, wait time.Duration) ControlFunc {
	code := map[int]string{
		http.StatusTooManyRequests: "TooManyRequests", http.StatusServiceUnavailable: "ServiceUnavailable",
		http.StatusGatewayTimeout: "UnknownError", 509: "BandwidthLimitExceeded",
	}[status]
	if code == "" {
		code = "UnknownError"
	}
	return func(r *Request) bool {
		r.Fail(status, code, shape.text(wait, time.Now()))
		return true
	}
}

func (f FaultSpec) throttle() (ControlFunc, error) {
	shape := RetryShape(f.Shape)
	known := shape == ""
	for _, s := range retryShapes {
		known = known || s == shape
	}
	if !known {
		return nil, fmt.Errorf("shape %q is none of %s", f.Shape, joined(retryShapes))
	}
	wait := time.Second
	if f.Wait != "" {
		var err error
		if wait, err = readDuration("wait", f.Wait); err != nil {
			return nil, err
		}
	}
	return Throttle(f.statusOr(http.StatusTooManyRequests), shape, wait), nil
}
