package slots_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/retry"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
	"outlook-connector/internal/slots"
)

func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction(server+".(*msgBlock).flushLoop"),
		goleak.IgnoreTopFunction(server+"/ats.Register.func1"),
	)
}

const (
	lease  = 3 * time.Second
	scopes = "Mail.ReadWrite Mail.ReadWrite.Shared Mail.Send User.Read.All"
)

// world is Outlook, and a NATS server that can be stopped and started again at
// its address.
type world struct {
	*sandbox.Sandbox
	t       *testing.T
	dir     string
	address string
	server  *embedded.Server
	ann     sandbox.Person
	ben     sandbox.Person
}

func newWorld(t *testing.T, options ...sandbox.Option) *world {
	t.Helper()
	box, err := sandbox.New(append([]sandbox.Option{sandbox.Mailboxes(3)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	w := &world{Sandbox: box, t: t, dir: t.TempDir(), address: "127.0.0.1:0", ann: box.People()[0], ben: box.People()[1]}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	server, err := embedded.Start(context.WithoutCancel(w.t.Context()), embedded.Options{StoreDir: w.dir, Listen: w.address, Open: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.server, w.address = server, strings.TrimPrefix(server.URL(), "nats://")
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 20*time.Second)
	defer cancel()
	if err := w.server.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}

// slow makes every request to a mailbox take a time.
func (w *world) slow(d time.Duration) {
	w.ControlAim(sandbox.Match{Method: "GET"}, sandbox.Aim{Count: -1}, sandbox.Delay(d))
}

// member is one worker: a connection of its own and clients of one app.
type member struct {
	*slots.App
	conn    *jet.Conn
	clients map[string]*graph.Client
}

// bearer is a token source of one person.
type bearer string

func (b bearer) Token(context.Context) (graph.Token, error) {
	return graph.Token{Access: seal.Secret(b)}, nil
}
func (bearer) Reject(context.Context, graph.Token) {}

// join adds a worker with a client for ann and another one, of the same app, for
// ben. owner says that it holds the grants, so that it knows the accounts.
func (w *world) join(owner bool, change ...func(*slots.Options)) *member {
	w.t.Helper()
	conn, err := jet.Connect(w.t.Context(), jet.Options{URL: "nats://" + w.address, ManageStreams: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	if err := conn.EnsureStreams(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	o := slots.Options{App: sandbox.DefaultClientID, Name: "contoso", Conn: conn, Lease: lease}
	if owner {
		o.Accounts = func() map[string]slots.Account {
			return map[string]slots.Account{
				"ann": {ObjectID: w.ann.ID, UPN: w.ann.UPN}, "ben": {ObjectID: w.ben.ID, UPN: w.ben.UPN},
			}
		}
	}
	for _, f := range change {
		f(&o)
	}
	app, err := slots.New(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(app.Close)
	m := &member{App: app, conn: conn, clients: map[string]*graph.Client{}}
	for name, person := range map[string]sandbox.Person{"ann": w.ann, "ben": w.ben} {
		token, err := w.Token(person.UPN, scopes)
		if err != nil {
			w.t.Fatal(err)
		}
		var client *graph.Client
		client, err = graph.New(graph.Options{
			Name: name, BaseURL: w.GraphURL(), Tokens: bearer(token), Limiter: app.Limiter(),
			Resolve: app.Resolver(name, func(ctx context.Context, upn string) (string, error) { return client.ObjectID(ctx, upn) }),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(client.Close)
		m.clients[name] = client
	}
	return m
}

// use is one client with one name of ann's mailbox.
type use struct{ client, mailbox string }

// names are all ways to ann's mailbox.
func (w *world) names() []use {
	return []use{
		{"ann", "me"},
		{"ann", strings.ToUpper(w.ann.UPN)},
		{"ann", w.ann.ID},
		{"ben", w.ann.UPN},
		{"ben", strings.ToUpper(w.ann.ID)},
	}
}

// tally counts what came of requests.
type tally struct{ done, put, failed atomic.Int64 }

// read makes one request as a poll does: a slot, the request, and the slot back.
func (m *member) read(ctx context.Context, u use, n *tally) error {
	client := m.clients[u.client]
	release, wait, ok := client.QueueSlot(ctx, u.mailbox)
	if !ok {
		n.put.Add(1)
		return retry.Sleep(ctx, min(wait, 300*time.Millisecond))
	}
	defer release()
	op, err := catalog.Default().Lookup("mail.message.list")
	if err != nil {
		return err
	}
	_, err = client.Do(ctx, graph.Request{Operation: op, Mailbox: u.mailbox, Query: map[string]string{"$top": "1", "$select": "id"}})
	switch {
	case err == nil:
		n.done.Add(1)
	case ctx.Err() == nil && fault.KindOf(err) != fault.Retry:
		return err
	default:
		n.failed.Add(1)
	}
	return nil
}

// load has each member use ann's mailbox from several goroutines for a time.
func (w *world) load(members []*member, parallel int, d time.Duration) *tally {
	w.t.Helper()
	var n tally
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	names := w.names()
	var all sync.WaitGroup
	for i, m := range members {
		for j := range parallel {
			u := names[(i+j)%len(names)]
			all.Go(func() {
				for ctx.Err() == nil {
					if err := m.read(ctx, u, &n); err != nil && ctx.Err() == nil {
						w.t.Errorf("%s as %s: %v", u.mailbox, u.client, err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	return &n
}

// judge asks the sandbox how ann's mailbox was treated.
func (w *world) judge(most int) (requests int64) {
	w.t.Helper()
	found := false
	for _, s := range w.Stats().Mailboxes {
		if !strings.EqualFold(s.Mailbox, w.ann.ID) && !strings.EqualFold(s.Mailbox, w.ann.UPN) {
			continue
		}
		found = true
		requests += s.Requests
		if s.MaxConcurrency > most || s.Refused > 0 || s.Throttled > 0 {
			w.t.Errorf("at most %d at once, %d refused, %d throttled; want %d, 0, 0", s.MaxConcurrency, s.Refused, s.Throttled, most)
		}
	}
	if !found {
		w.t.Error("no request was counted")
	}
	return requests
}

func TestFourAtOnceWhateverTheMailboxIsCalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slow(100 * time.Millisecond)
	members := []*member{w.join(true), w.join(false), w.join(false)}
	const d = 4 * time.Second
	n := w.load(members, 6, d)
	w.judge(4)
	ideal := 4 * float64(d) / float64(100*time.Millisecond)
	t.Logf("%d requests, %.0f %% of what is allowed; put off %d, failed %d", n.done.Load(), 100*float64(n.done.Load())/ideal, n.put.Load(), n.failed.Load())
	if float64(n.done.Load()) < ideal/2 { // the machine may be busy; the proof is stricter
		t.Errorf("%d requests in %v, of %.0f that are allowed", n.done.Load(), d, ideal)
	}
}

func TestAnotherNumberOfSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.MailboxConcurrency(2))
	w.slow(50 * time.Millisecond)
	two := func(o *slots.Options) { o.Limits.Concurrency = 2 }
	w.load([]*member{w.join(true, two), w.join(false, two)}, 4, 2*time.Second)
	if n := w.judge(2); n < 20 {
		t.Errorf("%d requests in 2 s", n)
	}
}

func TestARequestLongerThanTheLeaseKeepsItsSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slow(2 * lease)
	n := w.load([]*member{w.join(true), w.join(false)}, 5, 5*lease)
	w.judge(4)
	if n.done.Load() < 4 {
		t.Errorf("%d requests done", n.done.Load())
	}
}

func TestSlotsAreHandedOverWhileOthersWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slow(50 * time.Millisecond)
	a, b := w.join(true), w.join(false)
	ctx, cancel := context.WithCancel(t.Context())
	var hog tally
	var busy sync.WaitGroup
	for range 8 {
		busy.Go(func() {
			for ctx.Err() == nil {
				_ = a.read(ctx, use{"ann", "me"}, &hog)
			}
		})
	}
	until(t, "the first to have all slots", func() bool { return hog.done.Load() > 8 && a.Held() == 4 })
	began := time.Now()
	waiting, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	release, err := b.clients["ben"].Acquire(waiting, w.ann.UPN)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the other one waited %v", took)
	}
	release()
	cancel()
	busy.Wait()
	until(t, "idle slots to come back", func() bool { return a.Held()+b.Held() == 0 })
}

func TestRetryAfterOfOneIsKeptByAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.join(true), w.join(false)
	var n tally
	until(t, "one to work", func() bool { _ = a.read(t.Context(), use{"ann", "me"}, &n); return n.done.Load() == 1 })
	until(t, "the other to work", func() bool { _ = b.read(t.Context(), use{"ben", w.ann.UPN}, &n); return n.done.Load() > 1 })
	w.Control(sandbox.Match{Method: "GET"}, sandbox.FailBefore(429, "ApplicationThrottled", "30"))
	until(t, "a refusal", func() bool { _ = a.read(t.Context(), use{"ann", "me"}, &n); return n.failed.Load() == 1 })
	until(t, "the other one to know", func() bool {
		release, wait, ok := b.clients["ben"].TakeSlot(t.Context(), w.ann.UPN)
		if ok {
			release()
		}
		return !ok && wait > 25*time.Second
	})
	late := w.join(false)
	until(t, "one that came later to know", func() bool {
		release, wait, ok := late.clients["ann"].TakeSlot(t.Context(), w.ann.ID)
		if ok {
			release()
		}
		return !ok && wait > 20*time.Second
	})
	for _, s := range w.Stats().Mailboxes {
		if s.Offences > 0 {
			t.Errorf("%d requests before the Retry-After was over", s.Offences)
		}
	}
}

func TestTheWindowIsSharedByAllWorkers(t *testing.T) {
	t.Parallel()
	const limit, span = 400, 20 * time.Second
	w := newWorld(t, sandbox.RequestWindow(limit, span))
	small := func(o *slots.Options) { o.Limits = graph.Limits{Requests: limit, RequestWindow: span} }
	n := w.load([]*member{w.join(true, small), w.join(false, small), w.join(false, small)}, 4, 12*time.Second)
	got := w.judge(4)
	t.Logf("%d requests of %d; %d were refused here", got, limit, n.failed.Load())
	if got < limit*90/100 || got > limit {
		t.Errorf("%d requests in less than the window, limit %d", got, limit)
	}
}

func TestNATSIsStartedAgainUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slow(150 * time.Millisecond)
	members := []*member{w.join(true), w.join(false), w.join(false)}
	done := make(chan *tally)
	go func() { done <- w.load(members, 5, 9*time.Second) }()
	for range 2 {
		_ = retry.Sleep(t.Context(), 2*time.Second)
		w.stop()
		w.start()
	}
	n := <-done
	w.judge(4)
	t.Logf("%d done, %d put off, %d failed", n.done.Load(), n.put.Load(), n.failed.Load())
	if n.done.Load() < 40 {
		t.Errorf("%d requests in 9 s", n.done.Load())
	}
}

func TestNoDirectoryNoMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.join(true)
	resolve := m.Resolver("ben", nil)
	var got string
	until(t, "an answer", func() bool {
		var wait time.Duration
		got, _, wait = resolve(t.Context(), "cleo@contoso.example")
		return wait <= 0
	})
	if got != "cleo@contoso.example" {
		t.Errorf("a name that cannot be looked up became %q", got)
	}
	want := map[string]string{"me": w.ben.ID, w.ann.UPN: w.ann.ID, w.ben.UPN: w.ben.ID, w.ann.ID: w.ann.ID}
	// What the other process says of its own account may still be on its way.
	until(t, "every name to be known", func() bool {
		all := map[string]string{}
		for name := range want {
			all[name], _, _ = resolve(t.Context(), name)
		}
		return maps.Equal(all, want)
	})
	// Who is "me" may change, and of a name without an object id one may be told.
	for name, want := range map[string]bool{"me": false, "cleo@contoso.example": false, w.ann.UPN: true, w.ann.ID: true} {
		if _, keep, _ := resolve(t.Context(), name); keep > 0 != want {
			t.Errorf("the answer for %s is kept for %v", name, keep)
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// TestNoNameStandsForItselfBeforeAllAccountsAreTold: a process that knows its own
// mailbox must not take the name of another account's, which is being told at
// that moment, for a mailbox of its own.
func TestNoNameStandsForItselfBeforeAllAccountsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accounts := map[string]slots.Account{}
	for i := range 8 {
		accounts[fmt.Sprint("client", i)] = slots.Account{
			ObjectID: fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i), UPN: fmt.Sprintf("Person%d@contoso.example", i),
		}
	}
	for round := range 10 {
		conn, err := jet.Connect(t.Context(), jet.Options{URL: "nats://" + w.address, ManageStreams: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.EnsureStreams(t.Context()); err != nil {
			t.Fatal(err)
		}
		app, err := slots.New(t.Context(), slots.Options{
			App: fmt.Sprint("app", round), Name: "it", Conn: conn, Accounts: func() map[string]slots.Account { return accounts },
		})
		if err != nil {
			t.Fatal(err)
		}
		resolve := app.Resolver("client0", nil)
		for {
			if _, _, wait := resolve(t.Context(), "me"); wait == 0 {
				break
			}
			_ = retry.Sleep(t.Context(), 50*time.Microsecond)
		}
		for client, account := range accounts {
			if got, _, _ := resolve(t.Context(), strings.ToLower(account.UPN)); got != account.ObjectID {
				t.Errorf("the name of %s's account stands for %q, want %q", client, got, account.ObjectID)
			}
		}
		app.Close()
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
