package jet

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"outlook-connector/internal/fault"
)

// askers bounds how many requests for tokens are answered at a time. Many may
// wait for one slow refresh, each asker with a few repeats.
const askers = 512

// ServeTokens answers requests for tokens until ctx ends: give gets the
// client's name and the request and returns the answer, whatever its form. It
// is called from several goroutines. Several owners may serve at the same time;
// each request goes to one of them. A request whose answer would not go to an
// inbox is passed over: it would have this process publish where the asker
// itself must not. ServeTokens returns nil when ctx ends, after the answers that
// are on their way.
//
// Who may ask for which client is a matter of NATS permissions on the subjects.
func (c *Conn) ServeTokens(ctx context.Context, give func(ctx context.Context, client string, request []byte) []byte) error {
	all, err := c.names.Token("")
	if err != nil {
		return err
	}
	if err := c.waitConnected(ctx); err != nil {
		return nil //nolint:nilerr // told to stop
	}
	var (
		mu      sync.Mutex
		closed  bool
		running sync.WaitGroup
		slots   = make(chan struct{}, askers)
	)
	handler := micro.HandlerFunc(func(r micro.Request) {
		if !c.isInbox(r.Reply()) {
			c.log.WarnContext(ctx, "token request whose answer would go to no inbox", "subject", r.Subject(), "reply", r.Reply())
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return // the asker tries another owner after its timeout
		}
		mu.Lock()
		defer mu.Unlock()
		if closed {
			return
		}
		running.Go(func() {
			defer func() { <-slots }()
			client := r.Subject()[strings.LastIndexByte(r.Subject(), '.')+1:]
			if err := r.Respond(give(ctx, client, r.Data())); err != nil {
				c.log.WarnContext(ctx, "token request could not be answered", "client", client, "error", err)
			}
		})
	})
	service, err := micro.AddService(c.nc, micro.Config{
		Name: "outlook-tokens", Version: "1.0.0", Description: "access tokens for workers of the Outlook connector",
	})
	if err != nil {
		return mark(ctx, err, "serve tokens")
	}
	if err := service.AddEndpoint("get", handler, micro.WithEndpointSubject(all)); err != nil {
		return mark(ctx, errors.Join(err, service.Stop()), "serve tokens")
	}
	<-ctx.Done()
	after := context.WithoutCancel(ctx)
	err = service.Stop()
	// The service unsubscribes behind our back. Once the server answers, nobody
	// is led here any more: the next asker hears at once that there is no owner.
	if err == nil && c.nc.IsConnected() {
		err = c.do(after, c.nc.FlushWithContext)
	}
	mu.Lock()
	closed = true
	mu.Unlock()
	running.Wait()
	if errors.Is(err, nats.ErrConnectionClosed) {
		return nil
	}
	return mark(after, err, "stop serving tokens")
}

// isInbox reports whether a subject is where answers go: one that begins as those
// of the client libraries and of this program do ("_INBOX.", "_INBOX_ann."), or
// with the prefix that our own context sets.
func (c *Conn) isInbox(subject string) bool {
	own := c.nc.Opts.InboxPrefix
	return checkTokens(subject) == nil && (strings.HasPrefix(subject, "_INBOX.") || strings.HasPrefix(subject, "_INBOX_") ||
		own != "" && strings.HasPrefix(subject, strings.TrimSuffix(own, ".")+"."))
}

// AskToken asks the owner of a client's grant and returns its answer.
// [ErrNoOwner] (kind Retry) says that no process serves tokens.
func (c *Conn) AskToken(ctx context.Context, client string, request []byte) ([]byte, error) {
	subject, err := c.names.Token(client)
	if err != nil {
		return nil, err
	}
	if client == "" {
		return nil, badSubject("client has no name")
	}
	var answer *nats.Msg
	err = c.do(ctx, func(ctx context.Context) (err error) {
		answer, err = c.nc.RequestWithContext(ctx, subject, request)
		return err
	})
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fault.New(fault.Retry, "%w of client %s", ErrNoOwner, client).WithCode("no_owner").
			WithHint("start the process with the token store: outlook-connector run --roles tokens")
	}
	if err != nil {
		return nil, mark(ctx, err, "ask for a token of client %s", client)
	}
	return answer.Data, nil
}
