package worker

import (
	"context"
	"strconv"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/slots"
	"outlook-connector/publisher"
	"outlook-connector/subscriber"
	"outlook-connector/tokenstore"
)

// outlook is Microsoft Graph as the two cores see it: one client for each
// entry of the configuration, with the limits that polls and commands share.
type outlook struct {
	clients map[string]*graph.Client
	apps    []*slots.App // the limits, one for each app id
	// coalescers make one request of several commands', by client; nil: none does
	coalescers map[string]*coalescer
	tokens     tokenstore.Source
	clock      *clock // is told what time it is there; nil: nobody
}

var (
	_ subscriber.Source = outlook{}
	_ subscriber.Slots  = pollSlots{}
	_ publisher.Outlook = outlook{}
	_ publisher.Slots   = commandSlots{}
)

// NewGraphClient makes the Graph client of a configured client, with tokens
// from the given source and limits of its own. The caller closes it.
func NewGraphClient(c *config.Client, tokens tokenstore.Source, o Options) (*graph.Client, error) {
	return graph.New(graphOptions(c, tokens, o))
}

func graphOptions(c *config.Client, tokens tokenstore.Source, o Options) graph.Options {
	return graph.Options{
		Name:        c.Name,
		BaseURL:     c.BaseURL,
		Tokens:      clientTokens{source: tokens, client: c.Name},
		Limits:      limitsOf(c),
		Application: c.AppOnly(),
		LogRequests: c.LogRequests,
		HTTP:        graph.HTTP{MaxConns: connections(o.Config, c.Name)},
		Tracer:      o.tracer,
		Log:         o.Log.With("room", "graph"),
		Registerer:  o.registerer(),
	}
}

// connections is how many connections to Graph a client may have: one for each
// request that its publishers and its feeds make at a time. Zero is the default.
func connections(c *config.Config, client string) (n int) {
	if c == nil {
		return 0
	}
	for _, p := range c.Publishers {
		if p.Client == client {
			n += p.InFlight
		}
	}
	for _, s := range c.Subscriptions {
		if s.Client == client {
			return n + feedParallel
		}
	}
	return n
}

func (o outlook) close() {
	for _, c := range o.coalescers {
		c.flights.Wait()
	}
	for _, client := range o.clients {
		client.Close()
	}
	for _, app := range o.apps {
		app.Close()
	}
}

// Read reads a page for the subscriber.
func (o outlook) Read(ctx context.Context, r subscriber.Request, emit func(item []byte) error) (subscriber.Page, error) {
	client, err := o.client(r.Client)
	if err != nil {
		return subscriber.Page{}, err
	}
	page, err := client.Page(ctx, graphRequest(r), emit)
	if err != nil {
		return subscriber.Page{}, err
	}
	o.clock.note(page.Date)
	return subscriber.Page{Next: page.Next, Delta: page.Delta, Date: page.Date}, nil
}

// Do makes the publisher's request.
func (o outlook) Do(ctx context.Context, call publisher.Call) (publisher.Answer, error) {
	client, err := o.client(call.Client)
	if err != nil {
		return publisher.Answer{}, err
	}
	request := graph.Request{
		Operation: call.Operation, Mailbox: call.Mailbox, Path: call.Params.Path, Query: call.Params.Query, Target: call.Target,
		Headers: call.Header, ClientRequestID: call.RequestID, Deadline: call.Deadline,
	}
	if len(call.Body) > 0 {
		request.Body, request.ContentType = call.Body, call.ContentType
	}
	response, err := o.send(ctx, client, call, request)
	if err != nil {
		return answerOf(err), err
	}
	return publisher.Answer{
		Status: response.Status, Body: response.Body,
		RequestID: response.RequestID, ClientRequestID: response.ClientRequestID,
	}, nil
}

// Ready reports whether there is a token for a client now.
func (o outlook) Ready(ctx context.Context, client string) error {
	if _, err := o.client(client); err != nil {
		return err
	}
	_, err := o.tokens.Token(ctx, client, minLife)
	return err
}

func (o outlook) client(name string) (*graph.Client, error) {
	client := o.clients[name]
	if client == nil {
		return nil, fault.New(fault.Poison, "no client named %q", name).WithCode("client_unknown")
	}
	return client, nil
}

// clientTokens are the tokens of one client.
type clientTokens struct {
	source tokenstore.Source
	client string
}

// minLife is how long a token must still live to be used for a request: longer
// than the request may take.
const minLife = 2 * time.Minute

func (t clientTokens) Token(ctx context.Context) (graph.Token, error) {
	token, err := t.source.Token(ctx, t.client, minLife)
	if err != nil {
		return graph.Token{}, err
	}
	return graph.Token{Access: token.Access, ID: strconv.FormatUint(token.Generation, 10)}, nil
}

func (t clientTokens) Reject(ctx context.Context, token graph.Token) {
	generation, err := strconv.ParseUint(token.ID, 10, 64)
	if err != nil {
		return // not one of ours
	}
	t.source.Reject(ctx, t.client, tokenstore.Token{Access: token.Access, Generation: generation, Claims: token.Claims})
}
