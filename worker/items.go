package worker

import (
	"context"
	"io"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/subscriber"
)

// items reads single things for the subscriber. Whoever asks holds the slots:
// one for an object or a stream (until it is closed), one for each part of a
// batch, of which four are enough for all.
type items struct{ outlook }

// blobs keeps large bodies in the object store.
type blobs struct{ conn *jet.Conn }

var (
	_ subscriber.Items = items{}
	_ subscriber.Blobs = blobs{}
)

// Object reads one object whole.
func (i items) Object(ctx context.Context, r subscriber.Request, limit int64) ([]byte, subscriber.Page, error) {
	client, err := i.client(r.Client)
	if err != nil {
		return nil, subscriber.Page{}, err
	}
	answer, err := client.Object(ctx, graphRequest(r), limit)
	if err != nil {
		return nil, subscriber.Page{}, err
	}
	return answer.Body, subscriber.Page{Date: answer.Date()}, nil
}

// Batch makes several requests in one.
func (i items) Batch(ctx context.Context, name, mailbox string, gets []subscriber.Get) ([]subscriber.Got, error) {
	client, err := i.client(name)
	if err != nil {
		return nil, err
	}
	parts := make([]graph.Get, len(gets))
	for n, get := range gets {
		parts[n] = graph.Get(get)
	}
	answers, err := client.Batch(ctx, mailbox, parts)
	if err != nil {
		return nil, err
	}
	got := make([]subscriber.Got, len(answers))
	for n, answer := range answers {
		got[n] = subscriber.Got(answer)
	}
	return got, nil
}

// Open reads a large body as a stream.
func (i items) Open(ctx context.Context, name, mailbox string, get subscriber.Get) (io.ReadCloser, int64, error) {
	client, err := i.client(name)
	if err != nil {
		return nil, 0, err
	}
	body, err := client.OpenGet(ctx, mailbox, graph.Get(get))
	if err != nil {
		return nil, 0, err
	}
	return body, body.Size, nil
}

// Put stores what it reads, unless what the name stands for is there already.
func (b blobs) Put(ctx context.Context, name string, body io.Reader) (ref string, size int64, sum string, err error) {
	return b.conn.PutBlobFrom(ctx, name, body)
}

// graphRequest is the subscriber's request as the client takes it.
func graphRequest(r subscriber.Request) graph.Request {
	return graph.Request{
		Operation: r.Operation, Mailbox: r.Mailbox, Path: r.Path, Query: r.Query, Headers: r.Headers, Link: r.Link, Body: r.Body,
	}
}
