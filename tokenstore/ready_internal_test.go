package tokenstore

import (
	"testing"
	"time"

	"outlook-connector/internal/seal"
)

// What is handed out without a look at the grant must be what the look would hand out.
func TestAReadyTokenIsHeldAgainstItsLife(t *testing.T) {
	t.Parallel()
	now := time.Now()
	token := Token{Access: seal.Secret("a"), Issued: now.Add(-40 * time.Minute), Expiry: now.Add(20 * time.Minute)}
	slept := token
	slept.Expiry = now.Add(20 * time.Minute).Round(0).Add(-21 * time.Minute) // by the wall clock it is over
	for name, tc := range map[string]struct {
		ready   *readyToken
		minLife time.Duration
		want    bool
	}{
		"none":                    {nil, 0, false},
		"one that lives":          {&readyToken{token, now.Add(time.Minute)}, 10 * time.Minute, true},
		"too short for this use":  {&readyToken{token, now.Add(time.Minute)}, 25 * time.Minute, false},
		"to be renewed now":       {&readyToken{token, now}, 0, false},
		"over before its renewal": {&readyToken{slept, now.Add(time.Minute)}, 0, false},
	} {
		if got, ok := tc.ready.at(now, tc.minLife); ok != tc.want || ok != (got.Access != "") {
			t.Errorf("%s: %v", name, ok)
		}
	}
}
