package worker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/retry"
)

// ConnectOptions returns how another process of this machine reaches the NATS
// of a configuration: the configured server, or the listener of the process
// that runs the embedded one. Its error says that none has run where none has.
func ConnectOptions(c *config.Config) (jet.Options, error) {
	o := streamOptions(c)
	if c.NATS.Embedded == nil {
		o.URL, o.Context, o.CredentialsFile = c.NATS.URL.Reveal(), c.NATS.Context, c.NATS.CredentialsFile
		if tls := c.NATS.TLS; tls != nil {
			o.TLSCAFile, o.TLSCertFile, o.TLSKeyFile = tls.CAFile, tls.CertFile, tls.KeyFile
		}
		return o, nil
	}
	listener, err := embedded.ReadContext(c.NATS.Embedded.StoreDir)
	if err != nil {
		return jet.Options{}, err
	}
	o.URL, o.User, o.Password = listener.URL, listener.User, listener.Password
	return o, nil
}

// streamOptions are what the streams should be like, wherever NATS is.
func streamOptions(c *config.Config) jet.Options {
	return jet.Options{
		Prefix: c.NATS.Prefix, Replicas: c.NATS.Replicas, ManageStreams: c.NATS.ManageStreams,
		LedgerAge: ledgerAge(c), BlobAge: blobAge(c), Audit: c.Audit.Enabled, AuditAge: c.Audit.Keep.Std(), InboxPrefix: c.NATS.InboxPrefix,
	}
}

// joinWait is how long a process waits for the one that it joins to come so far
// that its address is known: the two may have been started at the same moment.
const joinWait = 10 * time.Second

// connectOptions is [ConnectOptions], which for a process that joins another may
// take a moment.
func connectOptions(ctx context.Context, c *config.Config, joined bool) (o jet.Options, err error) {
	deadline := time.Now().Add(joinWait)
	for o, err = ConnectOptions(c); joined && errors.Is(err, fs.ErrNotExist) && time.Now().Before(deadline); o, err = ConnectOptions(c) {
		if retry.Sleep(ctx, 50*time.Millisecond) != nil {
			break
		}
	}
	return o, err
}

// openNATS starts the embedded server, or joins the process that has it, or
// connects to the configured one. server is nil where this process runs none.
func openNATS(ctx context.Context, o Options, log *slog.Logger) (server *embedded.Server, conn *jet.Conn, joined bool, err error) {
	c := o.Config
	if c.NATS.Embedded != nil {
		server, err = embedded.Start(ctx, embedded.Options{
			StoreDir: c.NATS.Embedded.StoreDir, Listen: c.NATS.Embedded.Listen,
			Open: o.OpenListener, Log: log.With("room", "nats-server"),
		})
		switch {
		case errors.Is(err, embedded.ErrLocked):
			// Another process of this machine has the data folder: this one
			// becomes one more worker over its listener.
			joined = true
		case err != nil:
			return nil, nil, false, err
		}
	}
	options := streamOptions(c)
	if server != nil {
		options.InProcess = server.InProcess()
	} else if options, err = connectOptions(ctx, c, joined); err != nil {
		return nil, nil, false, err
	}
	if joined {
		// Its port is another after a restart where the configuration leaves the
		// choice to the system; the credential stays.
		options.Find = func() (string, error) { return listenerAddress(c.NATS.Embedded.StoreDir) }
	}
	options.Log, options.Grace = log.With("room", "jet"), drainGrace
	conn, err = jet.Connect(ctx, options)
	if err != nil && server != nil {
		// ctx may be what ended the attempt; the folder must be free all the same.
		err = errors.Join(err, server.Stop(context.WithoutCancel(ctx)))
		server = nil
	}
	return server, conn, joined, err
}

// listenerAddress returns where the process that runs the embedded server, or
// ran it last, listens.
func listenerAddress(dir string) (string, error) {
	listener, err := embedded.ReadContext(dir)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(listener.URL)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}
