package tokenstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/tokenstore"
)

// board is the lease's record, as the message system keeps it.
type board struct {
	mu       sync.Mutex
	record   []byte
	revision uint64
	stored   time.Time
	watchers map[int]func([]byte)
	next     int
	writes   int
}

func newBoard() *board { return &board{watchers: map[int]func([]byte){}} }

// seat is one process's way to the board; it can be cut, and lose answers.
type seat struct {
	*board
	mu   sync.Mutex
	cut  bool
	deaf bool // what is stored is stored, and the answer is lost
}

var errBoard = errors.New("the board cannot be reached")

func (s *seat) set(cut, deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut, s.deaf = cut, deaf
}

func (s *seat) is() (cut, deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut, s.deaf
}

func (s *seat) Load(context.Context) ([]byte, uint64, time.Duration, error) {
	if cut, _ := s.is(); cut {
		return nil, 0, 0, errBoard
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	return s.record, s.revision, time.Since(s.stored), nil
}

func (s *seat) Store(_ context.Context, record []byte, after uint64) (uint64, error) {
	cut, deaf := s.is()
	if cut {
		return 0, errBoard
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if after != s.revision {
		return 0, errors.New("there is another record")
	}
	s.record, s.stored = record, time.Now()
	s.revision++
	s.writes++
	for _, changed := range s.watchers {
		changed(record)
	}
	if deaf {
		return 0, errBoard
	}
	return s.revision, nil
}

func (s *seat) Watch(changed func([]byte)) (func(), error) {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	s.next++
	n := s.next
	s.watchers[n] = changed
	return func() {
		s.board.mu.Lock()
		defer s.board.mu.Unlock()
		delete(s.watchers, n)
	}, nil
}

// owner returns the record.
func (b *board) owner(t *testing.T) (o tokenstore.Owner) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := json.Unmarshal(b.record, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func (b *board) written() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes
}

// serves returns how many processes answer questions.
func (x *exchange) serves() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.serving
}

// fleet is several processes of one deployment, each with a file of its own
// unless it names another's.
type fleet struct {
	idp   *idp
	board *board
	x     *exchange
	dir   string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	return &fleet{idp: newIDP(), board: newBoard(), x: &exchange{}, dir: t.TempDir()}
}

func (f *fleet) process(t *testing.T, file string) (*tokenstore.Shared, *seat) {
	t.Helper()
	seat := &seat{board: f.board}
	s, err := tokenstore.NewShared(tokenstore.SharedOptions{
		Store:   tokenstore.Options{Path: filepath.Join(f.dir, file), Key: testKey, LockWait: 20 * time.Millisecond},
		Clients: []tokenstore.Client{testClient()}, Transport: f.idp, Every: time.Second,
		Ask: f.x.ask, Serve: f.x.serve, Leases: seat,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, seat
}

// startAlone starts a process that is to have its file. A test beside this one that
// starts a process hands it every open file for the blink before it becomes
// another program, and with that the lock; a wait for it would be over at once by
// the clock of the bubble.
func startAlone(t *testing.T, s *tokenstore.Shared) {
	t.Helper()
	for range 10_000 {
		start(t, s)
		if !strings.HasPrefix(s.Status().Problem, "open token store") {
			return
		}
		s.Stop()
	}
	t.Fatal("the file stays locked")
}

// granted leaves a file with a grant behind.
func (f *fleet) granted(t *testing.T, file string) {
	t.Helper()
	s, err := tokenstore.NewShared(tokenstore.SharedOptions{
		Store:   tokenstore.Options{Path: filepath.Join(f.dir, file), Key: testKey},
		Clients: []tokenstore.Client{testClient()}, Transport: f.idp,
	})
	if err != nil {
		t.Fatal(err)
	}
	startAlone(t, s)
	if err := login(t, f.idp, s); err != nil {
		t.Fatal(err)
	}
	s.Stop()
}

func wantRoles(t *testing.T, want tokenstore.Role, processes ...*tokenstore.Shared) {
	t.Helper()
	for i, s := range processes {
		if got := s.Role(); got != want {
			t.Errorf("process %d is %s, want %s; %+v", i+1, got, want, s.Status())
		}
	}
}

func tokenOf(t *testing.T, s *tokenstore.Shared) tokenstore.Token {
	t.Helper()
	token, err := s.Token(t.Context(), clientName, 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
