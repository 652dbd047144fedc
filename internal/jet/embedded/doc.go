// Package embedded runs a NATS server with JetStream inside this process, for
// people who have none.
//
// It promises that an acknowledged message survives a power cut (every write is
// synced), that one data folder is used by one server only (it holds a lock on
// it), and that nobody but the owner of the folder can talk to the listener
// (loopback only, with a generated password, unless Open is set). What flows
// through the server is left to package jet: this package is the only one that
// imports nats-server, and it knows no stream.
package embedded
