package worker

import (
	"context"
	"slices"
	"strings"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/slots"
	"outlook-connector/tokenstore"
)

// newOutlook makes the clients, those of one app id with one count of what they
// use of each mailbox, which they share with all other workers.
func newOutlook(ctx context.Context, conn *jet.Conn, tokens *tokenstore.Shared, o Options) (outlook, error) {
	out := outlook{clients: make(map[string]*graph.Client, len(o.Config.Clients)), tokens: tokens}
	apps := make(map[string]*slots.App)
	for i := range o.Config.Clients {
		c := &o.Config.Clients[i]
		id := strings.ToLower(c.ClientID)
		if apps[id] == nil {
			app, err := newApp(ctx, conn, tokens, o, id)
			if err != nil {
				out.close() //nolint:contextcheck // slots are given back whatever becomes of the caller
				return outlook{}, err
			}
			apps[id] = app
			out.apps = append(out.apps, app)
		}
		client, err := newSharedClient(c, tokens, o, apps[id])
		if err != nil {
			out.close() //nolint:contextcheck // slots are given back whatever becomes of the caller
			return outlook{}, fault.New(fault.Fatal, "%w", err).WithHint("outlook-connector config check")
		}
		out.clients[c.Name] = client
	}
	out.coalescers = newCoalescers(out.clients)
	return out, nil
}

// newApp keeps the limits of the clients with an app id: the strictest ones that
// are configured, since Outlook counts them together.
func newApp(ctx context.Context, conn *jet.Conn, tokens *tokenstore.Shared, o Options, id string) (*slots.App, error) {
	var (
		limits graph.Limits
		names  []string
	)
	for i := range o.Config.Clients {
		c := &o.Config.Clients[i]
		if strings.ToLower(c.ClientID) != id {
			continue
		}
		if names = append(names, c.Name); len(names) == 1 {
			limits = limitsOf(c)
		} else {
			limits = slots.Stricter(limits, limitsOf(c))
		}
	}
	return slots.New(context.WithoutCancel(ctx), slots.Options{
		App: id, Name: names[0], Limits: limits, Conn: conn,
		Accounts: func() map[string]slots.Account { return accountsOf(tokens, names) },
		Log:      o.Log.With("room", "slots"), Registerer: o.registerer(),
	})
}

// accountsOf returns who signed in at these clients, where this process has
// their grants.
func accountsOf(tokens *tokenstore.Shared, names []string) map[string]slots.Account {
	accounts := make(map[string]slots.Account)
	for client, account := range tokens.Accounts() {
		if slices.Contains(names, client) {
			accounts[client] = slots.Account{ObjectID: account.ObjectID, UPN: account.UPN}
		}
	}
	return accounts
}

func newSharedClient(c *config.Client, tokens tokenstore.Source, o Options, app *slots.App) (*graph.Client, error) {
	var client *graph.Client
	var lookUp slots.LookUp
	if mayLookUp(c) {
		lookUp = func(ctx context.Context, upn string) (string, error) { return client.ObjectID(ctx, upn) }
	}
	options := graphOptions(c, tokens, o)
	options.Limiter = app.Limiter()
	options.Resolve = app.Resolver(c.Name, lookUp)
	if c.AppOnly() {
		options.Resolve = app.NamesOf(lookUp)
	}
	var err error
	client, err = graph.New(options)
	return client, err
}

// mayLookUp reports whether a client's permissions may allow to look up users.
// An application's are not in its scopes, so it is tried.
// https://learn.microsoft.com/graph/api/user-get#permissions
func mayLookUp(c *config.Client) bool {
	return c.AppOnly() || slices.ContainsFunc(c.Scopes, func(scope string) bool {
		name := strings.ToLower(scope[strings.LastIndexByte(scope, '/')+1:])
		return strings.HasPrefix(name, "user.read") && name != "user.read" || strings.HasPrefix(name, "directory.")
	})
}

func limitsOf(c *config.Client) graph.Limits {
	return graph.Limits{
		Concurrency: c.Limits.Concurrency,
		Requests:    int(c.Limits.Requests.Count), RequestWindow: c.Limits.Requests.Per.Std(),
		UploadBytes: int64(c.Limits.Upload.Bytes), UploadWindow: c.Limits.Upload.Per.Std(),
	}
}

// pollSlots give slots to polls, which come back later where there is none. Where
// commands wait for a mailbox's slots here, a poll comes before the next of them.
type pollSlots struct{ outlook }

// Take takes a slot of a mailbox for a poll.
func (s pollSlots) Take(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool) {
	return s.take(ctx, client, mailbox, (*graph.Client).InsistSlot)
}

// commandSlots give slots to commands: that of the turn with which a command came
// out of the [lobby], and else one for which it waits here for a moment.
type commandSlots struct{ outlook }

// Take takes a slot of a mailbox for a command.
func (s commandSlots) Take(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool) {
	if p, t := takeReserved(ctx, client, mailbox); t != nil {
		free, wait, ok := t.Take(ctx)
		if !ok {
			return nil, wait, false
		}
		// What is still to be written of the command needs no place.
		return func() {
			free()
			p.leave()
		}, 0, true
	}
	return s.take(ctx, client, mailbox, (*graph.Client).QueueSlot)
}

// take takes a slot. Where there is none because nobody signed in, so that not
// even the mailbox is known, the caller goes on without: it cannot send anything
// and tells what is wrong, where to wait for a slot would tell nothing. (If
// there is a token by then, the client still sends nothing without a slot.)
func (o outlook) take(
	ctx context.Context, client, mailbox string, take func(*graph.Client, context.Context, string) (func(), time.Duration, bool),
) (release func(), wait time.Duration, ok bool) {
	c, err := o.client(client)
	if err != nil {
		return nil, time.Minute, false
	}
	release, wait, ok = take(c, ctx, mailbox)
	if !ok && o.Ready(ctx, client) != nil {
		return func() {}, 0, true
	}
	return release, wait, ok
}
