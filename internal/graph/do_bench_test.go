package graph

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/seal"
)

// stubServer answers in the place of the network.
type stubServer struct {
	header http.Header
	status int
	body   string
}

// RoundTrip implements http.RoundTripper.
func (s stubServer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: s.status, Header: s.header, Body: http.NoBody, Request: req}
	if s.body != "" {
		resp.Body = io.NopCloser(strings.NewReader(s.body))
	}
	return resp, nil
}

// sameToken is a token that never ends.
type sameToken struct{ token Token }

func (s sameToken) Token(context.Context) (Token, error) { return s.token, nil }
func (s sameToken) Reject(context.Context, Token)        {}

// BenchmarkDo is what this room itself costs for a request: from the parameters
// to the answer, without the connection.
func BenchmarkDo(b *testing.B) {
	date := http.Header{
		"Date": {"Tue, 24 Nov 2026 02:27:29 GMT"}, "Request-Id": {"0f9b5c8e-0000-4000-8000-000000000000"},
		"Client-Request-Id": {"0f9b5c8e-0000-4000-8000-000000000001"}, "Content-Length": {"0"},
	}
	item := date.Clone()
	item.Set("Content-Type", "application/json")
	item.Del("Content-Length")
	for name, bench := range map[string]struct {
		server  stubServer
		request Request
	}{
		"send a mail": {
			stubServer{header: date, status: http.StatusAccepted},
			Request{Operation: benchOperation(b, "mail.message.sendMail"), Mailbox: "user-0042@contoso.com", Body: bytes.Repeat([]byte("x"), 1000)},
		},
		"read a mail": {
			stubServer{header: item, status: http.StatusOK, body: `{"id":"AAMkAGI2","subject":"hi"}`},
			Request{
				Operation: benchOperation(b, "mail.message.get"), Mailbox: "user-0042@contoso.com",
				Path: map[string]string{"message-id": "AAMkAGI2TG93AAA="}, Query: map[string]string{"$select": "id,subject"},
			},
		},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := New(Options{
				Name: "contoso", BaseURL: "http://127.0.0.1:1/v1.0", Limits: Limits{Requests: 1 << 40, UploadBytes: 1 << 60},
				Tokens: sameToken{Token{Access: seal.Secret(strings.Repeat("t", 1500)), ID: "1"}},
			})
			if err != nil {
				b.Fatal(err)
			}
			c.transport.current.RegisterProtocol("http", bench.server)
			request := bench.request
			request.ClientRequestID = newGUID()
			request.Deadline = func() time.Time { return time.Now().Add(time.Minute) }
			target, err := request.Operation.Build(catalog.Params{Mailbox: request.Mailbox, Path: request.Path, Query: request.Query})
			if err != nil {
				b.Fatal(err)
			}
			request.Target = &target // as who holds the address against a policy before
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Do(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchOperation(b *testing.B, id string) *catalog.Operation {
	b.Helper()
	op, err := catalog.Default().Lookup(id)
	if err != nil {
		b.Fatal(err)
	}
	return op
}
