package jet

import "time"

// ages are how long things must be kept.
type ages struct{ ledger, blobs time.Duration }

// KeepFor replaces [Options] LedgerAge and BlobAge, from the next
// [Conn.EnsureStreams] on: it makes the streams keep things for longer, never for
// a shorter time.
func (c *Conn) KeepFor(ledger, blobs time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ages = ages{ledger, blobs}
}

func (c *Conn) keptFor() ages {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ages
}
