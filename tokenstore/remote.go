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
	// askTimeout bounds one question with all its repeats. It is short, because an
	// owner that is frozen holds its subscription: whoever waits for it would wait
	// for nothing.
	askTimeout = 5 * time.Second
	// askWait is within what time the owner is asked to answer. A refresh that
	// takes longer goes on behind, and the next question gets its token.
	askWait = 4 * time.Second
	// askPause is the least time between questions that gave no token. It is
	// short, so that a new sign-in or a new owner is noticed soon.
	askPause = 2 * time.Second
)

// askRepeats are the moments at which a question is asked. A repeat may reach
// another owner than the first, which may be frozen, or be gone without the
// server having noticed; for the owner all of them are one refresh.
func askRepeats() []time.Duration {
	return []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second}
}

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
// that is away for a fifth of a token's life is not missed. It starts
// goroutines only for a question.
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
	store    string // that the token is from, with its generation
	rejected uint64 // the generation to which Graph answered 401
	claims   string // what Graph asked for with that
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
	if good || token.Access != "" && b.failure != nil {
		return token, nil, nil // nobody waits twice for an owner that does not answer
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
	f := &flight{began: time.Now(), done: make(chan struct{})}
	q := question{MinLife: minLife.Milliseconds(), Rejected: b.rejected, Claims: b.claims, Store: b.store, Wait: askWait.Milliseconds()}
	r.flights.Go(func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		defer context.AfterFunc(r.life, cancel)() //nolint:contextcheck // the life of the service, not of a caller
		token, store, err := r.fetch(ctx, b.name, q)
		f.err = r.settle(ctx, b, token, store, err)
	})
	return f, nil
}

// fetched is what came of one question.
type fetched struct {
	token Token
	store string
	err   error
}

// fetch asks the owner, and again while no answer comes. The first answer
// counts.
func (r *Remote) fetch(ctx context.Context, client string, q question) (Token, string, error) {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	began := time.Now()
	answers := make(chan fetched, len(askRepeats()))
	for _, at := range askRepeats() {
		timer := time.NewTimer(at - time.Since(began))
		select {
		case first := <-answers:
			timer.Stop()
			return first.token, first.store, first.err
		case <-timer.C:
			asking.Go(func() { answers <- r.fetchOnce(ctx, client, q) })
		}
	}
	first := <-answers
	return first.token, first.store, first.err
}

func (r *Remote) fetchOnce(ctx context.Context, client string, q question) fetched {
	asker, request, err := ask(client, q)
	if err != nil {
		return fetched{err: err}
	}
	// The life of the token is counted from before the question, as the owner
	// does with the server's answer.
	asked := time.Now()
	data, err := r.ask(ctx, client, request)
	if err == nil {
		token, store, err := asker.open(data, asked)
		if !errors.Is(err, errReply) {
			return fetched{token, store, err} // an error is the owner's own
		}
		return fetched{err: unanswered(client, err)}
	}
	return fetched{err: unanswered(client, err)}
}

// unanswered is the error of a question that got no proper answer.
func unanswered(client string, err error) error {
	hint := "No process that owns the tokens answers; start one: outlook-connector run --roles tokens,…"
	if known := fault.HintOf(err); known != "" {
		hint = known
	}
	return fault.New(fault.Retry, "ask the owner of the tokens for %s: %w", client, err).WithCode("token_owner").WithHint("%s", hint)
}

// settle keeps what came of a question.
func (r *Remote) settle(ctx context.Context, b *borrowed, token Token, store string, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flight = nil
	now := time.Now()
	if err == nil && store != b.store {
		b.store, b.rejected, b.claims = store, 0, "" // another owner, who counts otherwise
		b.token = Token{}
	}
	if err == nil && token.Generation == b.rejected {
		err = fault.New(fault.Retry, "token of %s: the owner still has the one that Graph rejected", b.name).WithCode("token_rejected")
	}
	if err != nil {
		pause := askPause
		if life := b.token.life(); b.usable(now).Access != "" {
			pause = min(pause, max(life/50, askPause/20))
		}
		level := slog.LevelWarn
		if b.failure != nil && b.failure.Error() == err.Error() {
			level = slog.LevelDebug // it was said, and is the same for as long as it lasts
		}
		b.quiet, b.failure = now.Add(pause), err
		if r.life.Err() == nil {
			r.log.Log(ctx, level, "no token from the owner", "client", b.name, "error", err, "hint", fault.HintOf(err),
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

// askAgain forgets what the last owner could not do: there is another one.
func (r *Remote) askAgain() {
	for _, b := range r.borrowed {
		b.mu.Lock()
		b.quiet, b.failure = time.Time{}, nil
		b.mu.Unlock()
	}
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
	current := b.token.Generation == rejected.Generation
	dropped := current && b.rejected != rejected.Generation
	claims := validClaims(rejected.Claims)
	if dropped {
		b.rejected, b.claims = rejected.Generation, claims
	} else if current && claims != "" {
		b.claims = claims
	}
	b.mu.Unlock()
	if dropped {
		r.log.WarnContext(ctx, "access token rejected", "client", client, "generation", rejected.Generation, "claims_asked", claims != "")
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
