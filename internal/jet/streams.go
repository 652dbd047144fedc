package jet

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	day = 24 * time.Hour

	// resultAge, deadAge and dedupe are fixed: callers and operators count on
	// them.
	resultAge = 72 * time.Hour
	deadAge   = 30 * day
	dedupe    = 10 * time.Minute
	// deadDedupe is longer: a letter is written before the cursor moves, and again
	// for as long as that fails.
	deadDedupe = 3 * day

	// maxConsumers leaves room for one consumer per ordered mailbox. A server
	// from 2.15 on stops at 1,000 where the stream names no number, and the
	// number cannot be changed later.
	maxConsumers = 10_000
)

// The shared consumers of the queues of feeds and commands.
const (
	PollConsumer    = "poll"
	PublishConsumer = "publish"
)

// streamConfigs are the streams as they must be, for this prefix and these
// options. The reasons behind the settings:
//
//   - EVENTS has no MaxAge: events carry their own TTL. A MaxAge beside
//     messages that never expire loses those at the next server restart, and
//     they are the cursors. Discard new, because discard old would evict the
//     oldest messages first, the cursors of quiet feeds again.
//   - AllowDirect is off wherever a stale read would cost something: with it,
//     2 to 11 % of reads under load on three replicas were stale.
//   - FEEDS and PUBLISH are work queues: their acks delete the message, the
//     only ack that survives a killed server at once.
//   - FEEDS has one message of each subject, and a new one takes the place of
//     the old: the bound is the only way to do that which leaves the consumer's
//     ack floor alone, see [Feeds.Replace]. Nothing else is discarded as
//     long as nobody sets another bound (max_bytes).
//   - SEM is in memory: nothing in it is worth more than the lease of a slot,
//     and a write costs 0.1 ms instead of a sync of the disk. A restart of the
//     server empties it; see [Slots].
//   - TOKEN has one message, without an age: with it the epoch would go.
//   - AUDIT denies what takes single messages out, which no later setting can
//     allow again; only age does. Rows are much alike, so it is compressed.
//   - LEDGER and RESULT allow atomic batches so that those of many commands can share
//     one sync of the disk.
func (c *Conn) streamConfigs() []jetstream.StreamConfig {
	n := c.names
	common := func(name, description string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: description, Subjects: subjects,
			Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxMsgSize: -1,
			Replicas: max(c.o.Replicas, 1),
		}
	}
	events := common(n.EventsStream(), "Outlook events, and how far each feed came",
		n.subject("event", ">"), n.subject("cursor", ">"), n.subject("index", ">"))
	events.AllowAtomicPublish, events.AllowRollup, events.AllowMsgTTL = true, true, true
	events.MaxBytes = orUnlimited(c.o.EventsMaxBytes)

	feeds := common(n.FeedsStream(), "one message for each feed: the queue of polls", n.subject("feed", ">"))
	feeds.Retention, feeds.Discard, feeds.MaxMsgsPerSubject = jetstream.WorkQueuePolicy, jetstream.DiscardOld, 1

	publish := common(n.PublishStream(), "commands that wait to be done in Outlook", n.subject("publish", ">"))
	publish.Retention, publish.Duplicates, publish.MaxConsumers = jetstream.WorkQueuePolicy, dedupe, maxConsumers
	publish.MaxBytes = orUnlimited(c.o.PublishMaxBytes)

	ledger := common(n.LedgerStream(), "how far each command came", n.subject("ledger", ">"))
	ledger.MaxMsgsPerSubject, ledger.MaxAge = 1, c.keptFor().ledger
	ledger.AllowAtomicPublish = true

	result := common(n.ResultStream(), "outcomes of commands", n.subject("result", ">"))
	result.MaxMsgsPerSubject, result.MaxAge, result.Discard = 1, resultAge, jetstream.DiscardOld
	result.AllowAtomicPublish = true

	dead := common(n.DeadStream(), "dead letters with their cause", n.subject("dlq", ">"))
	dead.MaxAge, dead.Duplicates = deadAge, deadDedupe

	slots := common(n.SlotsStream(), "slots of mailboxes, and mailboxes to be left alone",
		n.subject("sem", ">"), n.subject("park", ">"), n.subject("use", ">"), n.subject("who", ">"))
	slots.Storage = jetstream.MemoryStorage
	slots.MaxMsgsPerSubject, slots.DiscardNewPerSubject = 1, true
	slots.AllowRollup, slots.AllowMsgTTL = true, true

	token := common(n.TokenStream(), "who owns the tokens", n.tokenOwner())
	token.MaxMsgsPerSubject, token.Discard = 1, jetstream.DiscardOld

	all := []jetstream.StreamConfig{events, feeds, publish, ledger, result, dead, slots, token}
	if c.o.Audit {
		audit := common(n.AuditStream(), "who had what done: chains of rows that are only added to", n.subject("audit", ">"))
		audit.DenyDelete, audit.DenyPurge, audit.MaxAge, audit.Compression = true, true, c.o.AuditAge, jetstream.S2Compression
		all = append(all, audit)
	}
	return all
}

// orUnlimited turns an unset bound into the server's word for none.
func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// consumerConfigs are the shared consumers, by stream.
//
// MaxAckPending is unlimited because messages that were given back with a
// delay count as pending: with the default of 1,000, one throttled mailbox
// stops everybody. BackOff is unset because it adds to the delay of a nak.
// MaxDeliver is unlimited because a work queue keeps a message that reached it
// for ever, without a word.
//
// That of commands takes subjects without a mailbox. Those with one have
// consumers of their own, see [lanes].
func (c *Conn) consumerConfigs() map[string]jetstream.ConsumerConfig {
	queue := func(name, filter string) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{
			Durable: name, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
			AckWait: c.o.AckWait, MaxAckPending: -1, MaxDeliver: -1,
		}
	}
	return map[string]jetstream.ConsumerConfig{
		c.names.FeedsStream():   queue(PollConsumer, c.names.subject("feed", ">")),
		c.names.PublishStream(): queue(PublishConsumer, c.names.subject("publish", "*")),
	}
}

// blobConfig is the object store for large bodies. Its age only clears what
// nobody deleted.
func (c *Conn) blobConfig() jetstream.ObjectStoreConfig {
	return jetstream.ObjectStoreConfig{
		Bucket: c.names.BlobBucket(), Description: "bodies that are too large for a message",
		TTL: c.keptFor().blobs, Storage: jetstream.FileStorage, Replicas: max(c.o.Replicas, 1),
	}
}
