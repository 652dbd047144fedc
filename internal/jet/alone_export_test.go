package jet

import "time"

// PreferBatches has outcomes and ledger records go in batches wherever two of
// them come together, as if a single message cost much.
func (c *Conn) PreferBatches() {
	for _, k := range []*committer{c.ledger, c.results} {
		k.pace.mu.Lock()
		k.pace.single, k.pace.batch = time.Hour, time.Nanosecond
		k.pace.mu.Unlock()
	}
}
