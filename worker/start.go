package worker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/retry"
	"outlook-connector/tokenstore"
)

func (w *Worker) startNATS(ctx context.Context) error {
	server, conn, joined, err := openNATS(ctx, w.o, w.log)
	if err != nil {
		return err
	}
	w.server, w.conn, w.joined = server, conn, joined
	if server != nil {
		w.onStop("embedded nats", server.Stop)
	}
	w.onStop("nats connection", conn.Close)
	return nil
}

// TokenClients returns the configured clients as the token store wants them.
func TokenClients(c *config.Config) []tokenstore.Client {
	clients := make([]tokenstore.Client, 0, len(c.Clients))
	for _, client := range c.Clients {
		clients = append(clients, tokenstore.Client{
			Name: client.Name, Grant: tokenstore.GrantType(client.Grant), ClientID: client.ClientID, ClientSecret: client.ClientSecret,
			Certificate: certificate(client.Certificate), AssertionFile: client.AssertionFile,
			AuthorizeURL: client.AuthorizeURL, TokenURL: client.TokenURL, DeviceURL: client.DeviceURL,
			RedirectURL: client.RedirectURL, Scopes: client.Scopes, LogRequests: client.LogRequests,
		})
	}
	return clients
}

func certificate(c *config.Certificate) *tokenstore.Certificate {
	if c == nil {
		return nil
	}
	return &tokenstore.Certificate{CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// startTokens opens the token store, or becomes a client of the process that
// has it.
func (w *Worker) startTokens(ctx context.Context) error {
	log := w.log.With("room", "tokens")
	metrics := tokenstore.NewMetrics(w.o.registerer())
	options := tokenstore.SharedOptions{
		Store:   tokenstore.Options{Path: w.o.Config.TokenStore.Path, Key: w.o.Config.TokenStore.Key, PreviousKeys: w.o.Config.TokenStore.PreviousKeys, Log: log},
		Clients: TokenClients(w.o.Config),
		AskOnly: !w.o.has(RoleTokens),
		Ask:     w.conn.AskToken,
		Serve:   w.serveTokens,
		Leases:  w.conn.TokenLease(),
		Tracer:  w.o.tracer,
		Changed: w.grantChanged,
		Metrics: metrics,
		Log:     log,
	}
	shared, err := tokenstore.NewShared(options)
	if err != nil {
		return err
	}
	if err := shared.Start(ctx); err != nil {
		return err
	}
	w.tokens = shared
	w.onStop("token store", func(context.Context) error { shared.Stop(); return nil })
	w.recordGrants(ctx)
	return nil
}

// serveTokens answers other workers' requests for tokens until stop.
func (w *Worker) serveTokens(answer tokenstore.AnswerFunc) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for ctx.Err() == nil {
			if err := w.conn.ServeTokens(ctx, answer); err != nil {
				w.log.ErrorContext(ctx, "token service ended, it is started again", "error", err)
			}
			if retry.Sleep(ctx, time.Second) != nil {
				return
			}
		}
	})
	return func() { cancel(); serving.Wait() }, nil
}

func (w *Worker) startOutlook(ctx context.Context) error {
	out, err := newOutlook(ctx, w.conn, w.tokens, w.o)
	if err != nil {
		return err
	}
	out.clock = &w.clock
	w.outlook = out
	w.onStop("graph clients", func(context.Context) error { out.close(); return nil }) //nolint:contextcheck // it bounds itself
	return nil
}

// prepareRoles makes the cores of the roles.
func (w *Worker) prepareRoles(context.Context) error {
	g, err := w.newGeneration(w.o.Config)
	if err != nil {
		return err
	}
	w.now.Store(g)
	return nil
}

func (w *Worker) startHTTP(ctx context.Context) error {
	if !w.o.has(RoleHTTP) {
		return nil
	}
	c := w.o.Config.HTTP
	logins, err := newLogins(w.o.Config, w.tokens, w.o, w.granted)
	if err != nil {
		return err
	}
	options := httpd.Options{
		Listen: c.Listen, Credential: c.Credential, Version: w.o.Version, Instance: Instance(w.o.Config), HolderFile: w.o.Config.TokenStore.Path + ".http",
		// A second worker on this machine has the same file and so the same
		// address; it has nothing to say there that the first has not.
		FreePortIfTaken: w.joined || w.tokens.Role() == tokenstore.RoleClient,
		Checks:          &w.checks, Status: w.Status, Logins: logins, Terminal: logins,
		Metrics: promhttp.HandlerFor(w.o.registry, promhttp.HandlerOpts{}),
		Log:     w.log.With("room", "http"),
	}
	if c.TLS != nil {
		certificate, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return fault.New(fault.Fatal, "http certificate: %w", err).WithHint("check http.tls.cert_file and http.tls.key_file")
		}
		options.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	server, err := httpd.Listen(ctx, options)
	if err != nil {
		return err
	}
	w.http = server
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(); err != nil {
			w.fail(err)
		}
	})
	w.onStop("http", func(ctx context.Context) error {
		defer serving.Wait()
		return ignoreClosed(server.Stop(ctx))
	})
	return nil
}

// granted notes that somebody signed in, without making that person wait for
// NATS. Where too many are noted already, feeds come due by themselves.
func (w *Worker) granted(_ context.Context, client string) {
	select {
	case w.signIns <- client:
	default:
	}
}

// wakeFeeds makes the feeds of a client due at once when somebody signed in:
// they have been waiting for it.
func (w *Worker) wakeFeeds(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case client := <-w.signIns:
			if err := w.wakeFeedsOf(ctx, client); err != nil && ctx.Err() == nil {
				w.log.WarnContext(ctx, "feeds not woken, they come due by themselves", "client", client, "error", err)
			}
		}
	}
}

func (w *Worker) wakeFeedsOf(ctx context.Context, client string) error {
	feeds, err := w.conn.Feeds().List(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, feed := range feeds {
		name, err := w.conn.Names().ParseFeed(feed.Subject)
		if err != nil || !w.isFeedOf(name.Subscription, client) {
			continue
		}
		problems = append(problems, w.conn.Feeds().Wake(ctx, feed.Subject))
	}
	return errors.Join(problems...)
}

func (w *Worker) isFeedOf(subscription, client string) bool {
	for _, s := range w.Config().Subscriptions {
		if s.Name == subscription {
			return s.Client == client
		}
	}
	return false
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// startEngine runs the roles once NATS and the streams are there.
func (w *Worker) startEngine(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.runRoles(ctx); err != nil {
			w.log.ErrorContext(ctx, "worker failed", "error", err, "hint", fault.HintOf(err))
			w.fail(err)
		}
	})
	w.onStop("roles", func(ctx context.Context) error {
		cancel()
		done := make(chan struct{})
		go func() { running.Wait(); close(done) }()
		return awaitWork(ctx, done)
	})
}

// streamsEvery is how often the streams are looked at while the worker runs.
const streamsEvery = 30 * time.Second

// watchStreams looks at the streams from time to time: one that was deleted, or
// lost with its server's disk, is made again or shows in the conditions.
func (w *Worker) watchStreams(ctx context.Context) error {
	var last string
	for retry.Sleep(ctx, cmp.Or(w.o.streamsEvery, streamsEvery)) == nil {
		err := w.conn.EnsureStreams(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != last {
			w.log.ErrorContext(ctx, "streams are not as they should be", "error", err, "hint", fault.HintOf(err))
		}
		if last = ""; err != nil {
			last = err.Error()
		}
	}
	return nil
}
