// Package jet is the connector's one way to NATS JetStream: subjects and
// streams, the atomic commit of a page with its cursor, the queue of feeds, the
// queue of commands, the ledger, outcomes, dead letters and large bodies.
//
// It promises that a page is stored once or not at all, whoever else works on
// the same feed ([Conn.Commit]); that a feed or a command which was delivered
// comes again until it was answered ([Feeds.Run], [Commands.Run]); and that
// every error carries its remedy (package fault). It knows nothing of Graph: what
// a page, a command or a ledger record says is left to the rooms that use it.
//
// Facts about the server that shape this code have their source beside them;
// the design documents are https://github.com/nats-io/nats-architecture-and-design.
package jet
