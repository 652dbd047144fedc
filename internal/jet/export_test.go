package jet

// ReportAsync is what the client library calls for errors of no request.
func (c *Conn) ReportAsync(err error) { c.asyncError(c.nc, nil, err) }

// NewInbox returns a subject on which answers would come.
func (c *Conn) NewInbox() string { return c.nc.NewInbox() }
