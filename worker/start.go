package worker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/retry"
	"outlook-connector/publisher"
	"outlook-connector/subscriber"
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
		w.checks.Add("nats-server", health.High, func(context.Context) error { return server.Healthy() })
	}
	w.onStop("nats connection", conn.Close)
	w.checks.Add("nats", health.High, func(context.Context) error { return w.natsProblem() })
	return nil
}

// natsProblem is the condition of NATS. A process that joined another says that
// nobody takes the place of that one: this one has neither the data folder nor
// the port.
func (w *Worker) natsProblem() error {
	err := w.conn.Ready()
	if err == nil || !w.joined || fault.Of(err).Code != "not_connected" {
		return err
	}
	return fault.New(fault.Retry, "the process that this one joined is gone, and with it the embedded NATS and the page: %w", err).
		WithCode("host_gone").WithHint("start it again: outlook-connector run; or restart this process, which then takes its place")
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
	w.checks.Add("token-owner", health.Degraded, func(context.Context) error { return shared.Problem() })
	for _, client := range w.o.Config.Clients {
		w.checks.Add("grant/"+client.Name, health.Degraded, func(context.Context) error { return w.grantProblem(client.Name) })
		w.checks.Add("permissions/"+client.Name, health.Degraded, func(context.Context) error { return w.permissionProblem(client.Name) })
	}
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

func (w *Worker) grantProblem(client string) error {
	for _, c := range w.tokens.Status().Clients {
		if c.Client == client && c.Condition != tokenstore.ConditionOK && c.Condition != tokenstore.ConditionUnknown {
			return fault.New(fault.Reauth, "%s", c.Text).WithHint("%s", c.Hint)
		}
	}
	return nil
}

func (w *Worker) startOutlook(ctx context.Context) error {
	out, err := newOutlook(ctx, w.conn, w.tokens, w.o)
	if err != nil {
		return err
	}
	w.outlook = out
	w.onStop("graph clients", func(context.Context) error { out.close(); return nil }) //nolint:contextcheck // it bounds itself
	return nil
}

// prepareRoles makes the two cores, so that what is wrong with them is said
// before anything runs.
func (w *Worker) prepareRoles(context.Context) error {
	c := w.o.Config
	if w.o.has(RoleSubscriber) {
		subs, err := subscriptions(c)
		if err != nil {
			return configError(err)
		}
		stream := feedStream{w.conn, w.o.tracer}
		w.subscriber, err = subscriber.New(subscriber.Options{
			Subscriptions: subs, Source: w.outlook, Stream: stream, Queue: stream, DeadLetters: stream, Slots: pollSlots{w.outlook},
			Items: items{w.outlook}, Blobs: blobs{w.conn}, Parallel: feedParallel, Log: w.log.With("room", "subscriber"), Registerer: w.o.registerer(),
		})
		if err != nil {
			return configError(err)
		}
		w.checks.Add("feeds", health.Degraded, w.feedsProblem)
	}
	if w.o.has(RolePublisher) {
		pubs, parallel, err := publishers(c)
		if err != nil {
			return configError(err)
		}
		stream := commandStream{w.conn}
		w.publisher, err = publisher.New(publisher.Options{
			Publishers: pubs, Outlook: w.outlook, Journal: stream, Outcomes: stream, Slots: commandSlots{w.outlook},
			Blobs: bodies{w.conn}, Files: blobStore{w.conn}, Uploads: outlookUploads{w.outlook}, Log: w.log.With("room", "publisher"), Registerer: w.o.registerer(),
		})
		if err != nil {
			return configError(err)
		}
		w.parallel = parallel
	}
	return nil
}

func configError(err error) error {
	return fault.New(fault.Fatal, "%w", err).WithHint("outlook-connector config check")
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
	for _, s := range w.o.Config.Subscriptions {
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
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("work in hand did not end in time: %w", context.Cause(ctx))
		}
	})
}

func (w *Worker) runRoles(ctx context.Context) error {
	if err := w.conn.EnsureStreams(ctx); err != nil {
		if fault.Stopped(ctx, err) {
			return nil
		}
		return err
	}
	roles := map[string]func(context.Context) error{
		"dead letters": w.countDeadLetters, "streams": w.watchStreams, "sign-ins": w.wakeFeeds,
	}
	// A worker without subscriptions would take other workers' feeds out of the
	// queue only to give them back.
	if w.subscriber != nil && len(w.o.Config.Subscriptions) > 0 {
		roles["subscriber"] = w.subscriber.Run
	}
	if w.publisher != nil {
		roles["publisher"] = func(ctx context.Context) error { return w.runCommands(ctx) }
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	problems := make(chan error, len(roles))
	for name, run := range roles {
		wait.Go(func() {
			if err := run(ctx); err != nil && !fault.Stopped(ctx, err) {
				problems <- fmt.Errorf("%s: %w", name, err)
				cancel() // a worker that does half of its work hides it from everybody
			}
		})
	}
	wait.Wait()
	close(problems)
	var all []error
	for err := range problems {
		all = append(all, err)
	}
	return errors.Join(all...)
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

// countDeadLetters keeps the gauge of stored dead letters up to date.
func (w *Worker) countDeadLetters(ctx context.Context) error {
	gauge := newDeadLetterGauge(w.o.registry)
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for {
		if counts, err := w.deadLetters(ctx); err == nil {
			for _, kind := range []string{"publish", "event"} {
				gauge.WithLabelValues(kind).Set(float64(counts[kind]))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// deadLetters counts the stored dead letters by kind.
func (w *Worker) deadLetters(ctx context.Context) (map[string]uint64, error) {
	bySubject, err := w.conn.DeadLetters().Count(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[string]uint64{"publish": 0, "event": 0}
	for subject, n := range bySubject {
		if tokens := strings.SplitN(subject, ".", 4); len(tokens) == 4 {
			counts[tokens[2]] += n
		}
	}
	return counts, nil
}
