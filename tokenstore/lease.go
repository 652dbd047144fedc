package tokenstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"outlook-connector/internal/fault"
)

// DefaultLease is how long the owner's lease lasts after it was last renewed. It
// is renewed three times in that time, and used for two thirds of it.
const DefaultLease = 15 * time.Second

// Leases is where the processes of one deployment agree on who owns the tokens:
// one record, which survives restarts and is replaced by compare-and-set. All
// methods return soon with an error where nobody can be reached.
type Leases interface {
	// Load returns the record with its revision, and how long ago it was stored
	// by the clock of whoever keeps it. Revision zero: there is none.
	Load(ctx context.Context) (record []byte, revision uint64, age time.Duration, err error)
	// Store replaces the record with that revision; zero: where there is none.
	// After an error it is open whether it was stored.
	Store(ctx context.Context, record []byte, after uint64) (revision uint64, err error)
	// Watch calls changed with each new record until stop is called. It may miss
	// some.
	Watch(changed func(record []byte)) (stop func(), err error)
}

// Owner says who owns the tokens: the record of the lease. It holds no secret.
type Owner struct {
	// Instance is the random name of one life of a process.
	Instance string `json:"instance"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	// Path and Store are the file and the random name that it got when it was
	// made.
	Path  string `json:"path"`
	Store string `json:"store"`
	// Epoch grows with every owner. Each grant is saved with the epoch of who
	// saved it, and a write of an earlier epoch is refused.
	Epoch uint64 `json:"epoch"`
	// Grants are the clients that somebody signed in for.
	Grants []string `json:"grants,omitempty"`
	// Released says that the owner stopped in an orderly way.
	Released bool `json:"released,omitempty"`
}

// String names the owner for people.
func (o Owner) String() string {
	return "host " + printable(o.Host) + ", pid " + strconv.Itoa(o.PID) + ", store " + printable(o.Store)
}

// samePlace reports whether both are the same file of the same machine. Whoever
// holds its lock then knows that the other is gone.
func (o Owner) samePlace(other Owner) bool {
	return o.Host == other.Host && o.Path == other.Path && o.Store == other.Store
}

// leaseState is what a process knows of the lease.
type leaseState int32

const (
	leaseUnknown leaseState = iota // could not be looked at yet
	leaseHeld                      // ours
	leaseOther                     // a living owner has it
	leaseAway                      // its owner is gone and has the grants that we have not
	leaseFree                      // nobody has it, and this process cannot
)

// lease is one process's view of the lease.
type lease struct {
	board  Leases
	length time.Duration

	op sync.Mutex // one look or renewal at a time

	shown atomic.Int32 // state, for who must not wait

	mu       sync.Mutex
	me       Owner
	state    leaseState // changed by become alone
	owner    Owner      // the newest record that was seen
	revision uint64
	renewed  time.Time // when the renewal that was confirmed last was sent
	looked   time.Time
	epoch    uint64 // the highest that was seen
	conflict []string
	err      error // of the last look or renewal
}

// stale is the share of the lease after which its holder no longer relies on it.
func (l *lease) stale() time.Duration { return l.length * 2 / 3 }

// elapsed is the time since a moment. As with tokens, the clock counts that says
// more: the monotonic one stands still while the machine sleeps.
func elapsed(since time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// errNoLease says that refresh tokens must not be used now.
var errNoLease = errors.New("the lease of the token owner is not confirmed")

// unconfirmed is errNoLease with its cause, if one is known, on one line: it is
// shown in tables.
func unconfirmed(cause error) error {
	if cause == nil {
		return errNoLease
	}
	return fmt.Errorf("%w: %w", errNoLease, cause)
}

// Epoch returns the epoch to save grants under, and an error while refresh
// tokens must not be used: another process may have become the owner unseen.
func (l *lease) Epoch() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == leaseHeld && elapsed(l.renewed) < l.stale() {
		return l.epoch, nil
	}
	failure := fault.New(fault.Retry, "no token is refreshed: %w", unconfirmed(l.err)).WithCode("no_lease").
		WithHint("Look at the connection to NATS: the processes agree there on the owner of the tokens. Tokens that live are handed out meanwhile.")
	failure.After = l.length / 15
	return l.epoch, failure
}

// open says which file this process holds, and the highest epoch in it.
func (l *lease) open(path, store string, epoch uint64) {
	host, _ := os.Hostname() // it is for people, and to know our own place again
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.me.Host, l.me.PID, l.me.Path, l.me.Store = host, os.Getpid(), path, store
	l.epoch = max(l.epoch, epoch)
}

// step looks at the lease and takes or renews it. grants are the clients with a
// grant in the file; able says that this process holds a file, and wanted that a
// person wants it to be the owner.
func (l *lease) step(ctx context.Context, grants []string, able, wanted bool) leaseState {
	l.op.Lock()
	defer l.op.Unlock()
	l.mu.Lock()
	state, revision := l.state, l.revision
	l.mu.Unlock()
	if state == leaseHeld && l.store(ctx, grants, revision, false) == nil {
		return leaseHeld
	}
	// More than one turn is needed only if somebody else moves at the same time.
	for range 3 {
		record, revision, age, err := l.board.Load(ctx)
		if err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.err, l.looked = err, time.Now()
			if able && l.state == leaseOther && l.owner.samePlace(l.me) {
				l.become(leaseUnknown) // it is gone: we have its file
				l.owner = Owner{}
			}
			return l.state
		}
		next := l.note(record, revision, age, grants, able, wanted)
		if next != leaseHeld || l.store(ctx, grants, revision, true) == nil {
			return next
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// note takes a record to notice and returns what follows: leaseHeld means that
// the lease is ours or ours to take.
func (l *lease) note(record []byte, revision uint64, age time.Duration, grants []string, able, wanted bool) leaseState {
	var owner Owner
	found := revision != 0 && json.Unmarshal(record, &owner) == nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner, l.revision, l.looked, l.err = owner, revision, time.Now(), nil
	l.epoch = max(l.epoch, owner.Epoch)
	l.conflict = nil
	next := l.decide(found, age, grants, able, wanted)
	if next != leaseHeld {
		l.become(next)
	}
	if next == leaseOther && len(grants) > 0 && len(owner.Grants) > 0 {
		l.conflict = slices.Clone(grants)
	}
	return next
}

// decide is the rule by which processes that were started alike agree on one
// owner, and on the one that somebody signed in at. The caller holds mu.
func (l *lease) decide(found bool, age time.Duration, grants []string, able, wanted bool) leaseState {
	mine, theirs := len(grants) > 0, len(l.owner.Grants) > 0
	living := found && !l.owner.Released && age <= l.length
	switch {
	case found && l.owner.Instance == l.me.Instance:
		return leaseHeld
	case able && (!found || l.owner.samePlace(l.me)):
		return leaseHeld
	case living && able && mine && !theirs:
		// It has nothing to refresh, so it need not be waited for.
		return leaseHeld
	case living:
		return leaseOther
	case able && (mine || !theirs || wanted):
		return leaseHeld
	case found && theirs:
		// Owning an empty store would tell everybody to sign in, while the one
		// with the grants may only be restarting.
		return leaseAway
	default:
		return leaseFree
	}
}

// store takes or renews the lease.
func (l *lease) store(ctx context.Context, grants []string, after uint64, taking bool) error {
	l.mu.Lock()
	claim := l.me
	claim.Grants, claim.Epoch = grants, l.epoch
	if taking && (l.state != leaseHeld || l.owner.Instance != l.me.Instance) {
		claim.Epoch++
	}
	l.mu.Unlock()
	record, err := json.Marshal(claim)
	if err != nil {
		return err
	}
	sent := time.Now()
	revision, err := l.board.Store(ctx, record, after)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = err; err != nil {
		return err
	}
	l.become(leaseHeld)
	l.owner, l.revision, l.renewed, l.looked = claim, revision, sent, sent
	l.epoch, l.conflict = claim.Epoch, nil
	return nil
}

// release lets others take the lease at once.
func (l *lease) release(ctx context.Context, grants []string) error {
	l.op.Lock()
	defer l.op.Unlock()
	l.mu.Lock()
	held, revision := l.state == leaseHeld, l.revision
	claim := l.me
	claim.Grants, claim.Epoch, claim.Released = grants, l.epoch, true
	l.become(leaseUnknown)
	l.owner, l.renewed = Owner{}, time.Time{}
	l.mu.Unlock()
	if !held {
		return nil
	}
	record, err := json.Marshal(claim)
	if err != nil {
		return err
	}
	_, err = l.board.Store(ctx, record, revision)
	return err
}

// news reports whether a record says something that this process did not know.
func (l *lease) news(record []byte) bool {
	var owner Owner
	if json.Unmarshal(record, &owner) != nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return owner.Instance != l.me.Instance && (l.state != leaseOther || owner.Instance != l.owner.Instance ||
		owner.Released != l.owner.Released || !slices.Equal(owner.Grants, l.owner.Grants))
}

// leaseView is a snapshot.
type leaseView struct {
	state    leaseState
	owner    Owner
	me       Owner
	conflict []string
	late     bool // ours, but not confirmed for too long
	err      error
}

// known is the state alone, for whoever asks for every token.
func (l *lease) known() leaseState { return leaseState(l.shown.Load()) }

// become changes the state. The caller holds mu.
func (l *lease) become(state leaseState) {
	l.state = state
	l.shown.Store(int32(state))
}

func (l *lease) view() leaseView {
	l.mu.Lock()
	defer l.mu.Unlock()
	return leaseView{
		state: l.state, owner: l.owner, me: l.me, conflict: l.conflict, err: l.err,
		late: l.state == leaseHeld && elapsed(l.renewed) >= l.stale(),
	}
}

// problem returns what a person should know of the lease, or nil.
func (v leaseView) problem() error {
	switch {
	case len(v.conflict) > 0:
		names := strings.Join(v.conflict, ", ")
		return fault.New(fault.Fatal, "two token stores hold grants: %s of the owner (%s), and %s of this process with grants of %s, which are not used",
			printable(v.owner.Path), v.owner, v.me.Path, names).WithCode("two_stores").
			WithHint("Keep one of them: remove the grants of this process (outlook-connector auth logout %s, for each client), or stop the owner, and this process takes over. Deployments that have nothing to do with each other need different values of nats.prefix.", v.conflict[0])
	case v.state == leaseAway:
		return fault.New(fault.Retry, "the owner of the tokens is away (%s), and this process has no grants of its own", v.owner).WithCode("owner_away").
			WithHint("Start the process on %s again; or sign in here: outlook-connector auth login CLIENT", printable(v.owner.Host))
	case v.state == leaseOther:
		return fault.New(fault.Retry, "%w: %s", ErrNotOwner, v.owner).WithCode("not_owner").
			WithHint("Sign in and out at the process on %s.", printable(v.owner.Host))
	case v.late, v.state == leaseUnknown:
		return fault.New(fault.Retry, "%w", unconfirmed(v.err)).WithCode("no_lease").
			WithHint("Look at the connection to NATS: the processes agree there on the owner of the tokens.")
	default:
		return nil
	}
}
