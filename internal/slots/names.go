package slots

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/fault"
)

const (
	// whoLife is how long an answer stands in the stream, and tellEvery how
	// often the process with the grants repeats its own.
	whoLife, tellEvery = 24 * time.Hour, 30 * time.Second
	// sureFor is how long an object id is believed without asking again, and
	// unsureFor a name that stands for itself, because somebody may learn better.
	sureFor, unsureFor = time.Hour, time.Minute
	// whoAgain is when to ask again for what is not known yet.
	whoAgain = 500 * time.Millisecond
	// lookUpAgain is when to ask the directory again after it did not answer.
	lookUpAgain = 5 * time.Second
)

// isObjectID reports whether a name is one as the directory writes ids of users
// and groups.
func isObjectID(name string) bool {
	if len(name) != len("00000000-0000-0000-0000-000000000000") {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		default:
			return false
		}
	}
	return true
}

// names finds out which names mean one mailbox. What one worker found counts for
// all of them, because two workers that answer differently would count apart.
type names struct {
	end     context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	known map[string]known
	told  map[string]Account // by client, as last told to the others
	at    time.Time          // when that was
}

// known is an answer with the time until which it is believed.
type known struct {
	mailbox string
	until   time.Time
	sure    bool // it is the object id of a principal name
}

// LookUp asks the directory for the object id of a principal name. An error of
// kind Retry says to ask again later; any other one that it will not say.
type LookUp func(ctx context.Context, upn string) (id string, err error)

// Resolver returns [graph.Options].Resolve for a client of the app. lookUp is
// nil where its permissions do not allow that.
//
// "me" is the account that signed in, which the process with the grants tells
// the others. Its principal name is the same mailbox. Other principal names are
// looked up in the directory once; where that is not allowed the name in lower
// case stands for itself, so that such a mailbox under its name and under its
// object id would be counted apart.
func (a *App) Resolver(client string, lookUp LookUp) func(ctx context.Context, mailbox string) (key string, keep, wait time.Duration) {
	if lookUp == nil {
		lookUp = func(context.Context, string) (string, error) { return "", errors.ErrUnsupported }
	}
	return func(ctx context.Context, mailbox string) (key string, keep, wait time.Duration) {
		if isObjectID(mailbox) {
			return mailbox, sureFor, 0
		}
		me, _, wait := a.who(ctx, ofClient(client), nil)
		if mailbox == "me" || wait > 0 {
			return me, 0, wait
		}
		return a.who(ctx, mailbox, lookUp)
	}
}

// NamesOf is [App.Resolver] for an application that acts for itself: there is no
// "me", and nobody has to sign in before a name is looked up.
func (a *App) NamesOf(lookUp LookUp) func(ctx context.Context, mailbox string) (key string, keep, wait time.Duration) {
	return func(ctx context.Context, mailbox string) (key string, keep, wait time.Duration) {
		if isObjectID(mailbox) {
			return mailbox, sureFor, 0
		}
		return a.who(ctx, mailbox, lookUp)
	}
}

// ofClient is the name of "me" at a client.
func ofClient(client string) string { return "me/" + client }

// who returns what a name means: as believed, as a worker has said, or as the
// directory says. Without lookUp it waits until a worker has said it. keep is how
// long a principal name's object id need not be asked for again: nobody will learn
// better, where anything else may be told anew at any time.
func (a *App) who(ctx context.Context, name string, lookUp LookUp) (mailbox string, keep, wait time.Duration) {
	a.names.mu.Lock()
	was, ok := a.names.known[name]
	a.names.mu.Unlock()
	if left := time.Until(was.until); ok && left > 0 {
		if was.sure {
			keep = left
		}
		return was.mailbox, keep, 0
	}
	mailbox, err := a.slots.Who(ctx, name)
	if err == nil && mailbox == "" {
		if lookUp == nil && !ok {
			return "", 0, whoAgain
		}
		mailbox, err = a.decide(ctx, name, was.mailbox, lookUp) // what was known needs no look-up
	}
	switch {
	case err != nil && ok: // rather what was true a moment ago than nothing
		return was.mailbox, 0, 0
	case err != nil:
		a.o.Log.DebugContext(ctx, "mailbox not resolved yet", "error", err)
		return "", 0, max(fault.Of(err).After, lookUpAgain)
	}
	a.believe(name, mailbox)
	return mailbox, 0, 0
}

// decide answers for all workers what nobody has answered, or what the server
// has lost.
func (a *App) decide(ctx context.Context, name, was string, lookUp LookUp) (string, error) {
	mailbox := was
	if mailbox == "" {
		id, err := lookUp(ctx, name)
		switch {
		case err == nil && isObjectID(strings.ToLower(id)):
			mailbox = strings.ToLower(id)
		case err != nil && fault.KindOf(err) == fault.Retry || ctx.Err() != nil:
			return "", err
		default:
			mailbox = name
		}
	}
	return a.slots.Meet(ctx, name, mailbox, whoLife, false)
}

func (a *App) believe(name, mailbox string) {
	life, sure := unsureFor, isObjectID(mailbox) && !strings.HasPrefix(name, "me/")
	if sure {
		life = sureFor
	}
	a.names.mu.Lock()
	defer a.names.mu.Unlock()
	a.names.known[name] = known{mailbox, time.Now().Add(life), sure}
}

// begin tells the other workers whose accounts are here, until stop.
func (n *names) begin(ctx context.Context, a *App) {
	ctx, n.end = context.WithCancel(ctx)
	if a.o.Accounts == nil {
		return
	}
	n.running.Go(func() {
		ticker := time.NewTicker(whoAgain)
		defer ticker.Stop()
		for {
			a.tell(ctx)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
}

func (n *names) stop() {
	n.end()
	n.running.Wait()
}

// tell tells what is new about the accounts, and all of it from time to time.
func (a *App) tell(ctx context.Context) {
	accounts := a.o.Accounts()
	n := &a.names
	if maps.Equal(accounts, n.told) && time.Since(n.at) < tellEvery {
		return
	}
	// Principal names first, those of all accounts: who knows what "me" is at one
	// client goes on to resolve names, and would take that of another client's
	// account, not told yet, to stand for itself.
	for _, me := range []bool{false, true} {
		for client, account := range accounts {
			upn := strings.ToLower(account.UPN)
			mailbox := cmp.Or(strings.ToLower(account.ObjectID), upn, ofClient(client))
			name := upn
			if me {
				name = ofClient(client)
			}
			if name == "" {
				continue
			}
			if _, err := a.slots.Meet(ctx, name, mailbox, whoLife, true); err != nil {
				return // the next round tells it
			}
			a.believe(name, mailbox)
		}
	}
	n.told, n.at = accounts, time.Now()
}
