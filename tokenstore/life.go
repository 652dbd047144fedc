package tokenstore

import (
	"math/rand/v2"
	"time"
)

// left returns how long the token lives at a moment. Two clocks are asked and
// the worse answer counts: the monotonic one stands still while the machine
// sleeps, and the wall clock can be set back.
func (t Token) left(now time.Time) time.Duration {
	if t.Access == "" {
		return 0
	}
	return min(t.Expiry.Sub(now), t.Expiry.Round(0).Sub(now.Round(0)))
}

// life returns the whole life of the token.
func (t Token) life() time.Duration { return t.Expiry.Sub(t.Issued) }

// margin is how long before its end a token is no longer good enough: requests
// take time and clocks differ. Of a short life it must not eat much.
func (t Token) margin() time.Duration { return min(5*time.Minute, t.life()/20) }

// enough returns what a token must have left to satisfy a caller who asks for
// minLife. More than half a life cannot be had without a refresh with every other
// call: who asks for that gets the quarter that the renewal in the background
// leaves, and waits for nothing.
func (t Token) enough(minLife time.Duration) time.Duration {
	if minLife > t.life()/2 {
		minLife = t.life() / 4
	}
	return max(t.margin(), minLife)
}

// renewal is when the token is renewed in the background, if somebody asks for
// it: at 50 to 75 % of its life, so that an outage of the sign-in server of a
// quarter of that life goes by unnoticed, and with jitter, so that grants that
// were made together are not refreshed together.
func (t Token) renewal() time.Time {
	share := 0.5 + rand.Float64()/4 // jitter needs no secrecy
	return t.Issued.Add(time.Duration(share * float64(t.life())))
}
