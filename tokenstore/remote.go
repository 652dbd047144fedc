package tokenstore

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"outlook-connector/internal/fault"
)

const (
	// askTimeout bounds one question: the owner may need a refresh to answer.
	askTimeout = tokenTimeout + 5*time.Second
	// askPause is the least time between questions that gave no token. It is
	// short, so that a new sign-in or a new owner is noticed soon.
	askPause = 2 * time.Second
)

func x25519() ecdh.Curve { return ecdh.X25519() }

// AskFunc carries a question about a client to whoever holds the token store,
// and returns the answer. An error means that none came.
type AskFunc func(ctx context.Context, client string, request []byte) ([]byte, error)

// RemoteOptions are what a [Remote] works with.
type RemoteOptions struct {
	// Ask carries the questions.
	Ask AskFunc
	// Clients are the names of the configuration's clients.
	Clients []string
	// Metrics and Log may be nil.
	Metrics *Metrics
	Log     *slog.Logger
}

// Remote is a source of tokens for a process that does not hold the file: it
// asks the owner and keeps the answers in memory. From half of a token's life
// on it asks in the background whether there is a newer one, so that an owner
// that is away for a fifth of a token's life is not missed. It starts a
// goroutine only for a question.
type Remote struct {
	ask      AskFunc
	metrics  *Metrics
	log      *slog.Logger
	borrowed map[string]*borrowed
	names    []string

	life   context.Context // ends when running questions must stop
	cancel context.CancelFunc

	mu      sync.Mutex // guards closed, and closed against flights
	closed  bool
	flights sync.WaitGroup
}

var _ Source = (*Remote)(nil)

// errRemoteClosed is what a closed remote answers.
var errRemoteClosed = errors.New("the connection to the token owner is closed")

// borrowed is what is known of one client.
type borrowed struct {
	name string

	mu       sync.Mutex
	token    Token
	rejected uint64 // the generation to which Graph answered 401
	got      time.Time
	askAt    time.Time // from then on the owner is asked in the background
	quiet    time.Time // before this it is not asked, because of failure
	failure  error
	flight   *flight
}

// NewRemote returns a source that asks the owner.
func NewRemote(o RemoteOptions) *Remote {
	r := &Remote{
		ask: o.Ask, metrics: cmp.Or(o.Metrics, NewMetrics(nil)), log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		borrowed: make(map[string]*borrowed, len(o.Clients)), names: o.Clients,
	}
	r.life, r.cancel = context.WithCancel(context.Background())
	for _, name := range o.Clients {
		r.borrowed[name] = &borrowed{name: name}
	}
	return r
}

// Close cancels questions under way and returns when nothing runs any more.
func (r *Remote) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.flights.Wait()
}

// Token returns an access token as [Source] says.
func (r *Remote) Token(ctx context.Context, client string, minLife time.Duration) (Token, error) {
	b := r.borrowed[client]
	if b == nil {
		return Token{}, fault.New(fault.Poison, "no client is called %q", client).WithCode("unknown_client").
			WithHint("Name a client of the configuration.")
	}
	for range 3 { // as in Keeper.Token
		token, wait, err := r.look(ctx, b, minLife)
		if wait == nil {
			return token, err
		}
		err = wait.wait(ctx, token.Access != "")
		if token := b.living(time.Now()); token.Access != "" {
			return token, nil
		}
		if err != nil && !errors.Is(err, errImpatient) {
			return Token{}, err
		}
	}
	return Token{}, fault.New(fault.Retry, "token of %s: it is rejected as fast as it is refreshed", client).WithCode("token_rejected")
}

// look is like that of the keeper, with the owner in the place of the server.
func (r *Remote) look(ctx context.Context, b *borrowed, minLife time.Duration) (Token, *flight, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	token := b.usable(now)
	good := token.Access != "" && token.left(now) >= token.enough(minLife)
	if good && now.Before(b.askAt) {
		return token, nil, nil
	}
	if now.Before(b.quiet) {
		if token.Access != "" {
			return token, nil, nil
		}
		waiting := *fault.Of(b.failure)
		waiting.After = max(waiting.After, b.quiet.Sub(now))
		if waiting.Kind == fault.Reauth {
			// What the owner said a moment ago. Somebody may have signed in since,
			// and a caller that hears Reauth stays away for long.
			waiting.Kind = fault.Retry
		}
		return Token{}, nil, &waiting
	}
	if b.flight == nil {
		flight, err := r.launch(ctx, b, minLife)
		if err != nil {
			return Token{}, nil, err
		}
		b.flight = flight
	}
	if good {
		return token, nil, nil
	}
	return token, b.flight, nil
}

// launch begins a question. The caller holds b.mu.
func (r *Remote) launch(ctx context.Context, b *borrowed, minLife time.Duration) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fault.New(fault.Retry, "token of %s: %w", b.name, errRemoteClosed)
	}
	f := &flight{done: make(chan struct{})}
	rejected := b.rejected
	r.flights.Go(func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		defer context.AfterFunc(r.life, cancel)() //nolint:contextcheck // the life of the service, not of a caller
		token, err := r.fetch(ctx, b.name, minLife, rejected)
		f.err = r.settle(ctx, b, token, err)
	})
	return f, nil
}

// fetch asks the owner once.
func (r *Remote) fetch(ctx context.Context, client string, minLife time.Duration, rejected uint64) (Token, error) {
	asker, request, err := ask(client, minLife, rejected)
	if err != nil {
		return Token{}, err
	}
	// The life of the token is counted from before the question, as the owner
	// does with the server's answer.
	asked := time.Now()
	data, err := r.ask(ctx, client, request)
	if err == nil {
		var token Token
		if token, err = asker.open(data, asked); err == nil {
			return token, nil
		}
		if !errors.Is(err, errReply) {
			return Token{}, err // the owner's own error
		}
	}
	hint := "No process that holds the token store answers; start one: outlook-connector run --roles tokens,…"
	if known := fault.HintOf(err); known != "" {
		hint = known
	}
	return Token{}, fault.New(fault.Retry, "ask the owner of the tokens for %s: %w", client, err).WithCode("token_owner").WithHint("%s", hint)
}

// settle keeps what came of a question.
func (r *Remote) settle(ctx context.Context, b *borrowed, token Token, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flight = nil
	now := time.Now()
	if err == nil && token.Generation == b.rejected {
		err = fault.New(fault.Retry, "token of %s: the owner still has the one that Graph rejected", b.name).WithCode("token_rejected")
	}
	if err != nil {
		b.quiet, b.failure = now.Add(askPause), err
		if r.life.Err() == nil {
			r.log.WarnContext(ctx, "no token from the owner", "client", b.name, "error", err, "hint", fault.HintOf(err),
				"has_token", b.usable(now).Access != "")
		}
		return err
	}
	b.quiet, b.failure = time.Time{}, nil
	if token.Generation == b.token.Generation {
		// No newer one yet; the owner now knows that it is wanted. Ask again soon.
		b.askAt = now.Add(max(token.life()/20, time.Second))
	} else {
		b.askAt = token.Issued.Add(token.life() / 2)
		b.got = now
		r.log.DebugContext(ctx, "token received", "client", b.name, "generation", token.Generation)
	}
	b.token = token
	r.metrics.expires(b.name, token.Expiry)
	return nil
}

func (b *borrowed) usable(now time.Time) Token {
	if b.token.Generation == b.rejected || b.token.left(now) <= 0 {
		return Token{}
	}
	return b.token
}

func (b *borrowed) living(now time.Time) Token {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usable(now)
}

// Reject drops a token to which Graph answered 401, as [Source] says. The owner
// hears of it with the next question.
func (r *Remote) Reject(ctx context.Context, client string, rejected Token) {
	b := r.borrowed[client]
	if b == nil || rejected.Generation == 0 {
		return
	}
	b.mu.Lock()
	dropped := b.token.Generation == rejected.Generation && b.rejected != rejected.Generation
	if dropped {
		b.rejected = rejected.Generation
	}
	b.mu.Unlock()
	if dropped {
		r.log.WarnContext(ctx, "access token rejected", "client", client, "generation", rejected.Generation)
	}
}

// Status returns what is known of every client.
func (r *Remote) Status() []ClientStatus {
	all := make([]ClientStatus, 0, len(r.names))
	for _, name := range r.names {
		all = append(all, r.borrowed[name].status(time.Now()))
	}
	return all
}

func (b *borrowed) status(now time.Time) ClientStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := ClientStatus{
		Client: b.name, Condition: ConditionOK, HasToken: b.usable(now).Access != "", Refreshed: b.got,
		Expiry: b.token.Expiry, Generation: b.token.Generation,
	}
	switch {
	case b.failure != nil:
		c = c.explained(b.failure)
		c.NextTry = b.quiet
	case b.token.Generation == 0:
		c.Condition = ConditionUnknown
		c.Text = fmt.Sprintf("no token of %s was needed yet", b.name)
	}
	return c
}
