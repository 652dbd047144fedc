package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/internal/fault"
)

const (
	// patience is how long a caller waits for a better token while the old one
	// still lives.
	patience = 2 * time.Second
	// secondRefusal is the least time between two refusals that end a grant:
	// a single one has been seen from servers that had a bad moment.
	secondRefusal = time.Minute
	// rejectGap is the least time between two refreshes because of a 401. A
	// mailbox that answers 401 to every token would else cost one refresh for
	// each request.
	rejectGap = time.Minute
	// closeGrace is how long Close waits for refreshes under way: what a server
	// that rotates strictly has answered, and nobody has saved, is lost.
	closeGrace = 5 * time.Second
)

// Vault is where a [Keeper] keeps its grants. [Store] is one. Put returns nil
// only when the grant will be there after a power cut, and changes nothing when
// it returns an error.
type Vault interface {
	List() ([]Grant, error)
	Put(Grant) error
	Delete(client string) error
}

// KeeperOptions are what a [Keeper] works with.
type KeeperOptions struct {
	// Vault holds the grants; the keeper is the only one that writes to it and
	// does not close it.
	Vault Vault
	// Clients are the clients of the configuration.
	Clients []Client
	// Transport carries the token requests; nil means a transport with the
	// system's roots, the proxy of the environment and TLS 1.2 or newer.
	Transport http.RoundTripper
	// Epoch returns the epoch of the owner's lease, which each record is saved
	// with, and an error while refresh tokens must not be used. Nil where there
	// is no lease: records keep the newest epoch in the vault.
	Epoch func() (uint64, error)
	// Tracer makes a span of each token request; nil is off.
	Tracer trace.Tracer
	// Changed is told of what happened to a grant, by whoever caused it: it must
	// return at once. Nil: nobody is told.
	Changed func(ctx context.Context, change GrantChange)
	// Metrics and Log may be nil.
	Metrics *Metrics
	Log     *slog.Logger
}

// Keeper owns the grants of a process: the only user of their refresh tokens.
// It starts a goroutine only for a refresh that somebody asked for.
type Keeper struct {
	vault    Vault
	epoch    func() (uint64, error)
	newest   uint64 // the newest epoch in the vault at the beginning
	changed  func(ctx context.Context, change GrantChange)
	metrics  *Metrics
	log      *slog.Logger
	holdings map[string]*holding
	names    []string // of the clients, in the order of the configuration

	life   context.Context // ends when running refreshes must stop
	cancel context.CancelFunc

	mu      sync.Mutex // guards closed, and closed against flights
	closed  bool
	flights sync.WaitGroup
}

var _ Source = (*Keeper)(nil)

// errImpatient ends the wait of a caller who has a token that still lives.
var errImpatient = errors.New("the refresh takes long")

// errKeeperClosed is what a closed keeper answers.
var errKeeperClosed = errors.New("the token keeper is closed")

// holding is what the keeper holds for one client.
type holding struct {
	client   *Client
	host     string // that its tokens come from; see tokenHost
	endpoint *endpoint
	epoch    func() (uint64, error) // the keeper's

	// saving serialises the writers of the grant: a refresh, a sign-in, a
	// logout. It is taken before mu and held during the write.
	saving sync.Mutex

	// ready is the token in use where a look at it found nothing to decide; nil
	// where that is to be found out. It is stored under mu, and emptied whenever
	// the grant or what is rejected changes, so that who reads it is told what he
	// would have been told under mu at that moment.
	ready atomic.Pointer[readyToken]

	mu        sync.Mutex
	grant     *Grant    // what is saved; nil where nobody signed in. Replaced, never changed
	unsaved   *Grant    // what the server gave and the disk did not take
	renewAt   time.Time // when grant's token is renewed in the background
	rejected  uint64    // the generation to which Graph answered 401
	claims    string    // what Graph asked the next token to hold
	highest   uint64    // the highest generation that was ever used
	forcedAt  time.Time // when a token was last replaced because of a 401
	quiet     time.Time // before this no token request is made, because of failure
	failure   *fault.Error
	pause     *backoff.ExponentialBackOff
	flight    *flight // the refresh under way
	refreshed time.Time
}

// flight is one refresh, shared by all who wait for it. err is set before done
// is closed.
type flight struct {
	began time.Time
	done  chan struct{}
	err   error
}

// readyToken is a token that is handed out without a second thought until it is to
// be renewed. It is never changed.
type readyToken struct {
	token   Token
	renewAt time.Time
}

// at returns the token if it is still good then for a caller who asks for minLife.
func (r *readyToken) at(now time.Time, minLife time.Duration) (Token, bool) {
	if r == nil || !now.Before(r.renewAt) || r.token.left(now) < r.token.enough(minLife) {
		return Token{}, false
	}
	return r.token, true
}

// NewKeeper reads the grants and returns their keeper. Close it before the
// vault is closed.
func NewKeeper(o KeeperOptions) (*Keeper, error) {
	clients, err := index(o.Clients)
	if err != nil {
		return nil, fault.New(fault.Fatal, "token keeper: %w", err).WithHint("Correct the clients in the configuration.")
	}
	grants, err := o.Vault.List()
	if err != nil {
		return nil, fmt.Errorf("token keeper: %w", err)
	}
	k := &Keeper{
		vault: o.Vault, metrics: cmp.Or(o.Metrics, NewMetrics(nil)), log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		holdings: make(map[string]*holding, len(clients)),
	}
	if k.changed = o.Changed; k.changed == nil {
		k.changed = func(context.Context, GrantChange) {}
	}
	for _, grant := range grants {
		k.newest = max(k.newest, grant.Epoch)
	}
	if k.epoch = o.Epoch; k.epoch == nil {
		k.epoch = func() (uint64, error) { return k.newest, nil }
	}
	k.life, k.cancel = context.WithCancel(context.Background())
	for _, c := range o.Clients {
		client := clients[c.Name]
		k.names = append(k.names, c.Name)
		k.holdings[c.Name] = &holding{
			client: client, host: client.tokenHost(), endpoint: newEndpoint(client, o.Transport, k.log, o.Tracer), epoch: k.epoch,
			pause: backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
				backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0)),
		}
	}
	for _, grant := range grants {
		h := k.holdings[grant.Client]
		if h == nil {
			continue // of a client that is no longer configured; it stays in the store
		}
		h.install(&grant)
		k.metrics.expires(grant.Client, grant.Expiry)
		if now := time.Now(); !grant.RefusedAt.IsZero() && grant.State == StateOK {
			// The refusal before the restart counts, and so does the wait after it.
			h.hush(earlier(grant.RefusedAt, now).Add(secondRefusal), refusedOnce(grant.Client))
		}
	}
	return k, nil
}

// Close ends the keeper: refreshes under way get a moment to end and to be
// saved, then they are cancelled. It returns when nothing runs any more.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	late := time.AfterFunc(closeGrace, k.cancel)
	k.flights.Wait()
	late.Stop()
	k.cancel()
}

// Token returns an access token as [Source] says.
func (k *Keeper) Token(ctx context.Context, client string, minLife time.Duration) (Token, error) {
	h, err := k.holding(client)
	if err != nil {
		return Token{}, err
	}
	if token, ok := h.ready.Load().at(time.Now(), minLife); ok {
		return token, nil
	}
	// More than one turn is needed only if the new token is rejected, or the
	// account signs out, between the end of the refresh and the look at it.
	for range 3 {
		token, wait, err := k.look(ctx, h, minLife)
		if wait == nil {
			return token, err
		}
		err = wait.wait(ctx, token.Access != "")
		// After a failure the old token is better than an error, while it lives.
		if token := h.living(time.Now()); token.Access != "" {
			return token, nil
		}
		if err != nil && !errors.Is(err, errImpatient) {
			return Token{}, err
		}
	}
	return Token{}, fault.New(fault.Retry, "token of %s: it is rejected as fast as it is refreshed", client).WithCode("token_rejected")
}

// look returns the token at hand, or a refresh to wait for with the token that
// will do until then, or the reason why neither can be had.
func (k *Keeper) look(ctx context.Context, h *holding, minLife time.Duration) (Token, *flight, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	token := h.usable(now)
	good := token.Access != "" && token.left(now) >= token.enough(minLife)
	if good && now.Before(h.renewAt) {
		h.ready.Store(&readyToken{token, h.renewAt})
		return token, nil, nil
	}
	if err := h.obstacle(now); err != nil {
		if token.Access != "" {
			return token, nil, nil
		}
		return Token{}, nil, err
	}
	if h.flight == nil {
		flight, err := k.launch(ctx, h)
		if err != nil {
			return Token{}, nil, err
		}
		h.flight = flight
	}
	if good {
		return token, nil, nil // the refresh goes on in the background
	}
	return token, h.flight, nil
}

// wait waits for the refresh: to its end, or until ctx ends, or for a moment
// only where the caller has a token that still lives.
func (f *flight) wait(ctx context.Context, briefly bool) error {
	var enough <-chan time.Time
	if briefly {
		// Those who come later do not wait once more for what others waited for.
		timer := time.NewTimer(max(0, patience-time.Since(f.began)))
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-f.done:
		return f.err
	case <-enough:
		return errImpatient
	case <-ctx.Done():
		return fmt.Errorf("wait for a token: %w", context.Cause(ctx))
	}
}

// Reject drops a token to which Graph answered 401, as [Source] says.
func (k *Keeper) Reject(ctx context.Context, client string, rejected Token) {
	h := k.holdings[client]
	if h == nil || rejected.Generation == 0 {
		return
	}
	h.mu.Lock()
	current := h.grant != nil && h.grant.Generation == rejected.Generation
	dropped := current && h.rejected != rejected.Generation
	if dropped {
		h.rejected = rejected.Generation
		h.ready.Store(nil)
	}
	claims := validClaims(rejected.Claims)
	if current && claims != "" {
		h.claims = claims
	}
	h.mu.Unlock()
	if dropped {
		k.log.WarnContext(ctx, "access token rejected", "client", client, "generation", rejected.Generation, "claims_asked", claims != "")
	}
}

// Adopt saves the grant of a new sign-in in the place of the client's earlier
// one. It is on disk when Adopt returns nil.
func (k *Keeper) Adopt(ctx context.Context, grant Grant) error {
	h, err := k.holding(grant.Client)
	if err != nil {
		return err
	}
	h.saving.Lock()
	defer h.saving.Unlock()
	h.mu.Lock()
	earlier := h.grant
	grant.Generation = h.nextGeneration()
	h.mu.Unlock()
	if err := k.put(&grant); err != nil {
		return err
	}
	h.mu.Lock()
	h.install(&grant)
	h.mu.Unlock()
	k.metrics.expires(grant.Client, grant.Expiry)
	k.changed(ctx, grant.change(GrantSignedIn))
	k.log.InfoContext(ctx, "grant saved", "client", grant.Client, "account", grant.Account.UPN, "tenant", grant.Account.Tenant,
		"replaces", earlier != nil, "refreshable", grant.Refresh != "")
	if grant.Refresh == "" && !h.client.appOnly() {
		k.log.WarnContext(ctx, "the grant ends with its token", "client", grant.Client, "expires_in", time.Until(grant.Expiry).Round(time.Second).String(),
			"hint", h.client.noRefreshHint())
	}
	return nil
}

// nextGeneration returns a generation that was never used, not for an unsaved
// token and not before a logout: a worker may have rejected it. The caller holds
// mu.
func (h *holding) nextGeneration() uint64 {
	h.highest = max(h.highest, h.rejected)
	for _, g := range []*Grant{h.grant, h.unsaved} {
		if g != nil {
			h.highest = max(h.highest, g.Generation)
		}
	}
	h.highest++
	return h.highest
}

// Logout removes the grant of a client from the store. The sign-in server is
// not told: Entra has no address for that. A client with [GrantCredentials] gets
// a new token when the next one is asked for.
func (k *Keeper) Logout(ctx context.Context, client string) error {
	h, err := k.holding(client)
	if err != nil {
		return err
	}
	h.saving.Lock()
	defer h.saving.Unlock()
	if err := k.vault.Delete(client); err != nil {
		return err
	}
	h.mu.Lock()
	_ = h.nextGeneration() // what it was is noted
	earlier := h.grant
	h.install(nil)
	h.mu.Unlock()
	if earlier != nil {
		k.changed(ctx, earlier.change(GrantSignedOut))
	}
	k.metrics.expires(client, time.Time{})
	k.log.InfoContext(ctx, "grant removed", "client", client)
	return nil
}

// put saves a grant under the epoch of this owner. A record of an earlier one is
// not left behind: the vault refuses the write where a later owner was at it.
func (k *Keeper) put(grant *Grant) error {
	// Whether refresh tokens may be used is another question: what a server has
	// answered is saved all the same.
	grant.Epoch, _ = k.epoch()
	return k.vault.Put(*grant)
}

// granted returns the clients that somebody signed in for, whose grants work as
// far as is known.
func (k *Keeper) granted() []string {
	var names []string
	for _, name := range k.names {
		h := k.holdings[name]
		h.mu.Lock()
		if !h.client.appOnly() && h.grant != nil && h.grant.State == StateOK && h.sameApp() {
			names = append(names, name)
		}
		h.mu.Unlock()
	}
	return names
}

func (k *Keeper) holding(client string) (*holding, error) {
	h := k.holdings[client]
	if h == nil {
		return nil, fault.New(fault.Poison, "no client is called %q", client).WithCode("unknown_client").
			WithHint("Name a client of the configuration.")
	}
	return h, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
