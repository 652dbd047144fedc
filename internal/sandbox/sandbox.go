package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Sandbox is a Graph with its sign-in server and its people. Make one with
// [New]. All methods are safe for concurrent use.
type Sandbox struct {
	opts    options
	log     *slog.Logger
	table   *routeTable
	keys    signingKey
	stop    chan struct{} // closed by Close: whoever waits in a request gives up
	stopOne sync.Once

	mu      sync.Mutex // guards state, journal, broken
	state   *state
	journal *journal // nil without a store folder
	broken  error    // set when the journal could not be written
	odd     deltaBook

	codes   codeBook
	limits  limitBook
	faults  faultBook
	calls   requestLog
	tokens  tokenCache
	uploads uploadBook
	post    transport
	notes   *noteBook

	server *http.Server
	url    string
	wait   sync.WaitGroup
}

// New makes a sandbox, or opens the one in [StoreDir]. Call Close when done
// with it.
func New(opts ...Option) (*Sandbox, error) {
	o := defaultOptions()
	for _, opt := range opts {
		opt(&o)
	}
	s := &Sandbox{opts: o, log: o.log, table: graphTable(), keys: theSigningKey(), stop: make(chan struct{}), state: newState()}
	s.notes = newNoteBook(&s.wait)
	s.codes.codes = map[string]*authCode{}
	s.limits = newLimitBook(o.limitRules())
	s.calls.keep = o.keepRequests
	s.state.keepEffects = o.limits.keep
	if o.storeDir != "" {
		j, err := openJournal(o.storeDir, o.limits.journalOver, s.state)
		if err != nil {
			return nil, fmt.Errorf("sandbox: open store: %w", err)
		}
		s.journal = j
		s.state.contents = nil
	}
	if err := s.update(s.populate); err != nil {
		return nil, fmt.Errorf("sandbox: make people: %w", err)
	}
	s.SetDeltaOddities(o.odd)
	s.resumeWaiting()
	return s, nil
}

// populate makes the instance on a first start, and the people and groups that
// are missing, with what everybody has from the beginning.
func (s *Sandbox) populate(t *tx) error {
	if t.Secret == nil {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
		t.do(record{Instance: &instance{Seed: s.opts.seed, Tenant: seededGUID(s.opts.seed, "tenant"), Secret: secret}})
	}
	if t.directory == nil {
		t.do(record{Directory: &Person{ID: t.Tenant, Given: "Contoso"}})
	}
	for n := len(t.boxes); n < s.opts.mailboxes; n++ {
		p := person(t.Seed, n)
		t.do(record{Person: &p})
		t.makeFolders(t.byName[p.ID])
	}
	for n := len(t.groups); n < numberOfGroups; n++ {
		g := group(t.Seed, n)
		t.do(record{Group: &g})
	}
	for _, box := range t.everyBox() {
		if box.gone {
			continue
		}
		for _, furnish := range furnishings() {
			furnish(t, box)
		}
	}
	return nil
}

// furnishings give a mailbox what it has from the beginning. Each must do nothing
// where it is there already: they run at every start.
func furnishings() []func(t *tx, box *mailbox) {
	return []func(t *tx, box *mailbox){
		furnishUsers,
		furnishPlaces,
		furnishFolders,
		furnishSettings,
		furnishCalendars,
		furnishContacts,
		furnishTodo,
	}
}

// makeFolders makes the well-known mail folders.
func (t *tx) makeFolders(box *mailbox) {
	var root uint64
	for spec := range strings.SplitSeq(wellKnownFolders, ",") {
		known, name, _ := strings.Cut(spec, ":")
		f := folderRecord{Key: t.newKey(), Parent: root, Name: name, WellKnown: known, Seq: t.nextSeq()}
		t.do(record{Box: box.ID, Folder: &f})
		if root == 0 {
			root = f.Key
		}
	}
}

// Handler serves everything: sign-in, Graph and control port. It can be used
// with or without [Sandbox.Start].
func (s *Sandbox) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Start listens ([Listen]) and serves until [Sandbox.Close]. ctx bounds the
// start only.
func (s *Sandbox) Start(ctx context.Context) error {
	if s.server != nil {
		return errors.New("sandbox: started twice")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.opts.listen)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	s.url = "http://" + l.Addr().String()
	s.server = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.wait.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.ErrorContext(ctx, "sandbox server ended", "error", err.Error())
		}
	})
	s.log.InfoContext(ctx, "sandbox listening", "url", s.url, "mailboxes", len(s.People()), "store_dir", s.opts.storeDir)
	return nil
}

// Close ends all requests, stops serving and closes the store. It is safe to
// call twice, and without Start.
func (s *Sandbox) Close() error {
	var err error
	s.stopOne.Do(func() {
		close(s.stop)
		s.notes.close()
		if s.server != nil {
			// Give running requests the moment that they need to notice.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if e := s.server.Shutdown(ctx); e != nil {
				err = s.server.Close()
			}
		}
		s.post.close()
		s.wait.Wait()
		s.notes.client.CloseIdleConnections()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.journal != nil {
			err = errors.Join(err, s.journal.close())
			s.broken = errors.New("sandbox: closed")
		}
	})
	return err
}

// URL is the address of the started sandbox, without a path: http://host:port.
// It is empty before Start.
func (s *Sandbox) URL() string { return s.url }

// GraphURL is the root of the Graph API: what https://graph.microsoft.com/v1.0
// is for the real one.
func (s *Sandbox) GraphURL() string { return s.url + "/v1.0" }

// AuthorizeURL is where a browser is sent to sign in.
func (s *Sandbox) AuthorizeURL() string {
	return s.url + "/" + DefaultDomain + "/oauth2/v2.0/authorize"
}

// TokenURL is where codes and refresh tokens are turned into access tokens.
func (s *Sandbox) TokenURL() string { return s.url + "/" + DefaultDomain + "/oauth2/v2.0/token" }

// People lists the accounts in their order.
func (s *Sandbox) People() []Person {
	var list []Person
	s.read(func(st *state) {
		for _, b := range st.boxes {
			if b.gone {
				continue
			}
			list = append(list, b.Person)
		}
	})
	return list
}

// TenantID is the GUID of the tenant, as in the tid claim.
func (s *Sandbox) TenantID() string {
	var id string
	s.read(func(st *state) { id = st.Tenant })
	return id
}

// serve sends a request to its part: control port, Graph or sign-in.
func (s *Sandbox) serve(w http.ResponseWriter, r *http.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	defer finishReading(r)
	switch {
	case strings.EqualFold(first, "v1.0"):
		s.serveGraph(w, r)
	case first == uploadPath:
		s.serveUpload(w, r)
	case first == "_sandbox":
		s.serveControl(w, r, rest) //nolint:contextcheck // what it causes outlives it
	case strings.EqualFold(first, "devicelogin") && rest == "":
		s.serveSignin(w, r, "common", "oauth2/deviceauth") // the short address for people
	case rest != "":
		s.serveSignin(w, r, first, rest)
	case first == "":
		s.welcome(w, r)
	default:
		http.NotFound(w, r)
	}
}

// finishReading takes in what is left of a body that was refused unread. A client
// that is still writing would else see a broken connection and not the refusal.
func finishReading(r *http.Request) {
	if r.Body != nil && r.Header.Get("Expect") == "" { // who expects waits before it writes
		_, _ = io.CopyN(io.Discard, r.Body, 16*maxBody)
	}
}

// welcome tells a person with a browser where they are.
func (s *Sandbox) welcome(w http.ResponseWriter, r *http.Request) {
	root := s.root(r)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "A sandbox of Microsoft Graph's Outlook part. Nothing here is real.\n\nGraph      %s/v1.0\nauthorize  %s/%s/oauth2/v2.0/authorize\ntoken      %s/%s/oauth2/v2.0/token\nclient id  %s (public, any redirect to loopback)\ncontrols   %s/_sandbox/\n", //nolint:gosec // plain text
		root, root, DefaultDomain, root, DefaultDomain, DefaultClientID, root)
	for _, p := range s.People() {
		_, _ = fmt.Fprintln(w, "mailbox   ", p.UPN)
	}
}

// root is where the requester reaches this sandbox: scheme and host.
func (s *Sandbox) root(r *http.Request) string {
	switch {
	case s.opts.baseURL != "":
		return s.opts.baseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// pause waits, unless the sandbox is closed first. It does not end when the
// client goes away: a real server works on as well, and an effect after the
// client's timeout is just what a test of timeouts wants.
func (s *Sandbox) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	}
}
