package jet

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/natscontext"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// Options say which NATS to use and how. One of URL, Context and InProcess
// must be set.
type Options struct {
	// URL is one or more server addresses with commas between them.
	URL string
	// Context is the name of a context of the nats CLI, or the absolute path of
	// one.
	Context string
	// InProcess reaches an embedded server (embedded.Server.InProcess).
	InProcess nats.Option
	// Find returns the address of the server as host:port, and is asked at each
	// attempt to connect: for a server that comes back at another address. URL is
	// where it was at first. Nil: the address does not change.
	Find func() (address string, err error)
	// User and Password log in where the server wants them.
	User     string
	Password seal.Secret
	// CredentialsFile is a .creds file with a user's JWT and key.
	CredentialsFile string
	// TLSCAFile, TLSCertFile and TLSKeyFile are PEM files: the roots to trust
	// and this client's certificate. Each may be empty.
	TLSCAFile, TLSCertFile, TLSKeyFile string

	// Prefix replaces "outlook" in subjects and stream names.
	Prefix string
	// Replicas is how many copies a stream has. Zero makes new streams with one
	// and leaves existing ones as they are.
	Replicas int
	// ManageStreams lets EnsureStreams make what is missing and change what can
	// be changed without loss. Without it, streams must exist and fit.
	ManageStreams bool
	// EventsMaxBytes and PublishMaxBytes bound these two streams where they are
	// made here; zero means no bound but the account's.
	EventsMaxBytes, PublishMaxBytes int64
	// LedgerAge is how long a ledger record is kept: at least the longest
	// Not-Before, give_up_after and 7 days. Zero means 14 days.
	LedgerAge time.Duration
	// Audit has the audit record among the streams; AuditAge is how long a row of
	// it is kept, zero means for ever.
	Audit    bool
	AuditAge time.Duration
	// BlobAge is how long a large body is kept; it must outlive every reference:
	// an event's ttl, 30 days of dead letter. Zero means 45 days.
	BlobAge time.Duration

	// InboxPrefix is where answers come to; empty means "_INBOX_" and the prefix, or
	// what Context says. It is what the user of these credentials may subscribe to.
	InboxPrefix string
	// Name shows in the server's list of connections; empty means
	// "outlook-connector".
	Name string
	// FailFast makes Connect fail where no server answers, for a command that
	// somebody waits for. The default goes on trying for ever.
	FailFast bool
	// Grace is how long a command that runs when Commands.Run is told to stop
	// may go on before its context ends too. Zero ends it at once.
	Grace time.Duration
	// AckWait is after how long a feed or command of a dead worker comes to
	// another; a third of it is the pace of InProgress. Zero means 15 s; other
	// values are for tests.
	AckWait time.Duration
	// Timeout bounds each request to the server; zero means 10 s.
	Timeout time.Duration
	// Log takes connection changes, refused permissions and answers that could
	// not be given. Nil discards them.
	Log *slog.Logger
}

// DefaultAckWait is the AckWait of both queues, see contract and measurements:
// long enough for a pause of garbage collection or a leader election, short
// enough that a dead worker's feeds are late by seconds only.
const DefaultAckWait = 15 * time.Second

// Conn is a connection to NATS with the connector's streams behind it. It
// reconnects by itself for ever. Its methods may be called at the same time.
type Conn struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	names Names
	o     Options
	log   *slog.Logger

	events  *committer
	post    *post
	ledger  *committer
	results *committer

	mu         sync.Mutex
	handles    map[string]jetstream.Stream
	consumers  map[string]jetstream.Consumer
	streamsErr error // why the streams cannot be used; nil once EnsureStreams succeeded
	lastAuth   error // the last refusal of our credentials
	session    *session
	ages       ages // see KeepFor
}

// Connect makes a connection. Unless FailFast is set it returns at once, also
// where no server answers yet: [Conn.Ready] says so, and [Conn.EnsureStreams]
// waits. ctx bounds Connect only. The caller must call [Conn.Close].
func Connect(ctx context.Context, o Options) (*Conn, error) {
	names := Names{Prefix: o.Prefix}
	if err := names.Validate(); err != nil {
		return nil, err
	}
	o.Name = cmp.Or(o.Name, "outlook-connector")
	o.AckWait = cmp.Or(o.AckWait, DefaultAckWait)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.LedgerAge = cmp.Or(o.LedgerAge, 14*day)
	o.BlobAge = cmp.Or(o.BlobAge, 45*day)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Conn{
		names: names, o: o, log: o.Log, handles: map[string]jetstream.Stream{}, consumers: map[string]jetstream.Consumer{},
		streamsErr: fault.New(fault.Retry, "streams are not checked yet"), ages: ages{o.LedgerAge, o.BlobAge},
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	if err := c.dial(); err != nil {
		return nil, err
	}
	c.post = newPost(c)
	c.events = newCommitter(c, names.EventsStream(), true, nil)
	c.ledger = newCommitter(c, names.LedgerStream(), false, newPace())
	c.results = newCommitter(c, names.ResultStream(), false, newPace())
	return c, nil
}

// dial opens the connection and picks the JetStream API it leads to.
func (c *Conn) dial() error {
	options, err := c.natsOptions()
	if err != nil {
		return err
	}
	var settings natscontext.Settings
	switch {
	case c.o.Context != "":
		c.nc, settings, err = natscontext.Connect(c.o.Context, options...)
	default:
		c.nc, err = nats.Connect(c.o.URL, options...)
	}
	if err != nil {
		e := fault.New(fault.Fatal, "connect to nats %s: %w", c.target(), err).WithCode("not_connected").
			WithHint("is the NATS server running, and are the address and credentials in the nats section right?")
		if errors.Is(err, nats.ErrAuthorization) {
			e.Code, e.Hint = "nats_auth", "check the user, credentials_file or context in the nats section"
		}
		return e
	}
	jsOptions := []jetstream.JetStreamOpt{jetstream.WithDefaultTimeout(c.o.Timeout), jetstream.WithPublishAsyncTimeout(c.o.Timeout)}
	switch {
	case settings.JSAPIPrefix != "":
		c.js, err = jetstream.NewWithAPIPrefix(c.nc, settings.JSAPIPrefix, jsOptions...)
	case settings.JSDomain != "":
		c.js, err = jetstream.NewWithDomain(c.nc, settings.JSDomain, jsOptions...)
	default:
		c.js, err = jetstream.New(c.nc, jsOptions...)
	}
	if err != nil {
		c.nc.Close()
		return fault.New(fault.Fatal, "open jetstream: %w", err)
	}
	return nil
}

func (c *Conn) natsOptions() ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name(c.o.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		// Two refused logins in a row end a connection for good, by default;
		// a restarted server or a renewed credentials file would never be seen.
		nats.IgnoreAuthErrorAbort(),
		nats.RetryOnFailedConnect(!c.o.FailFast),
		nats.PingInterval(20 * time.Second),
		nats.ErrorHandler(c.asyncError),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
		nats.ReconnectErrHandler(c.reconnectFailed),
		nats.DisconnectErrHandler(c.disconnected),
		c.inboxPrefix,
	}
	switch {
	case c.o.InProcess != nil:
		options = append(options, c.o.InProcess)
	case c.o.Context == "" && c.o.URL == "":
		return nil, fault.New(fault.Fatal, "no nats server given").WithHint("set nats.url, nats.context or nats.embedded")
	}
	if c.o.Find != nil {
		options = append(options, nats.SetCustomDialer(finder{c.o.Find, nats.DefaultTimeout}))
	}
	if c.o.User != "" {
		options = append(options, nats.UserInfo(c.o.User, c.o.Password.Reveal()))
	}
	if c.o.CredentialsFile != "" {
		if _, err := os.Stat(c.o.CredentialsFile); err != nil {
			return nil, fault.New(fault.Fatal, "nats credentials file: %w", err).WithHint("check nats.credentials_file")
		}
		options = append(options, nats.UserCredentials(c.o.CredentialsFile))
	}
	return c.tlsOptions(options)
}

func (c *Conn) tlsOptions(options []nats.Option) ([]nats.Option, error) {
	if c.o.TLSCAFile != "" {
		if _, err := os.Stat(c.o.TLSCAFile); err != nil {
			return nil, fault.New(fault.Fatal, "nats ca file: %w", err).WithHint("check nats.tls.ca_file")
		}
		options = append(options, nats.RootCAs(c.o.TLSCAFile))
	}
	if c.o.TLSCertFile == "" && c.o.TLSKeyFile == "" {
		return options, nil
	}
	if _, err := tls.LoadX509KeyPair(c.o.TLSCertFile, c.o.TLSKeyFile); err != nil {
		return nil, fault.New(fault.Fatal, "nats client certificate: %w", err).WithHint("check nats.tls.cert_file and nats.tls.key_file")
	}
	return append(options, nats.ClientCert(c.o.TLSCertFile, c.o.TLSKeyFile)), nil
}

// finder dials wherever the server is now.
type finder struct {
	find    func() (string, error)
	timeout time.Duration
}

// Dial implements [nats.CustomDialer].
func (f finder) Dial(network, address string) (net.Conn, error) {
	// Where it cannot be told, the last address may still be good.
	if now, err := f.find(); err == nil {
		address = now
	}
	dialer := net.Dialer{Timeout: f.timeout}
	return dialer.Dial(network, address) // the library gives no context
}

// inboxPrefix keeps answers apart from the shared _INBOX, which every user of
// an account may read by default. A context's own prefix wins where none is set
// here, because it is what that user is permitted.
func (c *Conn) inboxPrefix(o *nats.Options) error {
	if c.o.InboxPrefix != "" {
		return nats.CustomInboxPrefix(c.o.InboxPrefix)(o)
	}
	if o.InboxPrefix == "" {
		o.InboxPrefix = "_INBOX_" + cmp.Or(c.o.Prefix, DefaultPrefix)
	}
	return nil
}

// target names the server for people, without a password in its address.
func (c *Conn) target() string {
	switch {
	case c.o.InProcess != nil:
		return "(embedded)"
	case c.o.Context != "":
		return "context " + c.o.Context
	}
	addresses := strings.Split(c.o.URL, ",")
	for i, address := range addresses {
		if scheme, rest, ok := strings.Cut(address, "://"); ok {
			if _, host, ok := strings.Cut(rest, "@"); ok {
				addresses[i] = scheme + "://" + host
			}
		} else if _, host, ok := strings.Cut(address, "@"); ok {
			addresses[i] = host
		}
	}
	return strings.Join(addresses, ",")
}

// Names returns the builder of subjects and stream names.
func (c *Conn) Names() Names { return c.names }

// Ready returns nil while the server is connected and the streams were found
// good; else the reason, with a hint.
func (c *Conn) Ready() error {
	if !c.nc.IsConnected() {
		c.mu.Lock()
		auth := c.lastAuth
		c.mu.Unlock()
		if auth != nil {
			return fault.New(fault.Retry, "nats %s refuses the login: %w", c.target(), auth).WithCode("nats_auth").
				WithHint("check the user, credentials_file or context in the nats section")
		}
		return fault.New(fault.Retry, "no connection to nats %s", c.target()).WithCode("not_connected").
			WithHint("start the NATS server or correct its address; the program connects by itself")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streamsErr
}

// Close stops the committers, sends what is still in the buffers and closes
// the connection. Runs of feeds and commands must have ended before: they
// still answer the server. It may be called twice.
func (c *Conn) Close(ctx context.Context) error {
	c.events.stop()
	c.ledger.stop()
	c.results.stop()
	c.post.close()
	if c.nc.IsClosed() {
		return nil
	}
	closed := c.nc.StatusChanged(nats.CLOSED)
	if !c.nc.IsConnected() {
		c.nc.Close() // nothing can be drained into nowhere
		return nil
	}
	if err := c.nc.Drain(); err != nil {
		c.nc.Close()
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionReconnecting) {
			return nil
		}
		return mark(ctx, err, "drain nats connection")
	}
	for !c.nc.IsClosed() {
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			c.nc.Close()
			return fmt.Errorf("drain nats connection: %w", context.Cause(ctx))
		}
	}
	return nil
}

func (c *Conn) connected(nc *nats.Conn) {
	c.mu.Lock()
	c.lastAuth = nil
	c.mu.Unlock()
	c.current(nc) // ends the requests of the connection before
	c.log.Info("nats connected", "server", nc.ConnectedServerName(), "version", nc.ConnectedServerVersion())
}

func (c *Conn) disconnected(_ *nats.Conn, err error) {
	if err != nil {
		c.log.Warn("nats disconnected", "error", err)
	}
}

func (c *Conn) reconnectFailed(_ *nats.Conn, err error) {
	c.mu.Lock()
	c.lastAuth = nil
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		c.lastAuth = err
	}
	c.mu.Unlock()
	c.log.Debug("nats connection attempt failed", "server", c.target(), "error", err)
}

// asyncError logs what no call returns: above all a refused permission, which
// the call itself only sees as a timeout.
func (c *Conn) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.log.Error("nats permission refused", "error", err, "hint", "allow this NATS user the subject that the error names")
		return
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	c.log.Warn("nats error", "subject", subject, "error", err)
}
