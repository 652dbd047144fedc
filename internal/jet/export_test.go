package jet

import "github.com/nats-io/nats.go"

// ReportAsync is what the client library calls for errors of no request.
func (c *Conn) ReportAsync(err error) { c.asyncError(c.nc, nil, err) }

// NewInbox returns a subject on which answers would come.
func (c *Conn) NewInbox() string { return c.nc.NewInbox() }

// Escape and Unescape are how mailboxes stand in the subjects of slots.
func Escape(text string) string { return escape(text, true) }

// Unescape is the way back.
func Unescape(text string) (string, bool) { return unescape(text) }

// NATS returns the connection itself.
func (c *Conn) NATS() *nats.Conn { return c.nc }
