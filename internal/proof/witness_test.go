//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// witness is a NATS client that the connector knows nothing of. It listens to
// what passes by, and reads what is stored, with the public API alone and by
// the names of the contract.
type witness struct {
	t  *testing.T
	nc *nats.Conn
	js jetstream.JetStream

	mu       sync.Mutex
	sighters []*sighter
	said     map[string][]string // command → the different outcomes that were announced
}

// sighter waits for the nth message that it recognises.
type sighter struct {
	is   func(*nats.Msg) bool
	left int
	seen chan time.Time // takes one
}

// listener is the file in the data folder that says how to reach the embedded
// server.
type listener struct {
	URL      string `json:"url"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// openWitness connects to the embedded server of a world, which must have run
// once.
func (w *world) openWitness() *witness {
	w.t.Helper()
	path := filepath.Join(w.dir, "data", "nats", "listener.json")
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		w.t.Errorf("the listener's credential has mode %v (%v), want 0600", info.Mode(), err)
	}
	var l listener
	if err := json.Unmarshal(text, &l); err != nil {
		w.t.Fatal(err)
	}
	if !strings.HasSuffix(l.URL, w.nats) || l.User == "" || len(l.Password) < 32 {
		w.t.Fatalf("the listener is at %q, user %q, want %s and a credential", l.URL, l.User, w.nats)
	}
	return newWitness(w.t, l)
}

func newWitness(t *testing.T, l listener) *witness {
	t.Helper()
	w := &witness{t: t, said: map[string][]string{}}
	var err error
	w.nc, err = nats.Connect(l.URL, nats.UserInfo(l.User, l.Password), nats.Name("witness"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1), // what cannot be sent now is an error now
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	if w.js, err = jetstream.New(w.nc); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"outlook.event.>", "outlook.cursor.>", "outlook.ledger.>", "outlook.result.>"} {
		if _, err := w.nc.Subscribe(subject, w.saw); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// saw gets every message as it is published, whether or not it is then stored.
func (w *witness) saw(m *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := strings.CutPrefix(m.Subject, "outlook.result."); ok {
		var o outcome
		if err := json.Unmarshal(m.Data, &o); err != nil {
			o.Outcome = "unreadable: " + err.Error()
		}
		if !slices.Contains(w.said[id], o.Outcome) {
			w.said[id] = append(w.said[id], o.Outcome)
		}
	}
	w.sighters = slices.DeleteFunc(w.sighters, func(s *sighter) bool {
		if !s.is(m) {
			return false
		}
		if s.left--; s.left > 0 {
			return false
		}
		s.seen <- time.Now()
		return true
	})
}

// sight returns a channel that gets the moment of the nth message from now on
// that is recognised.
func (w *witness) sight(nth int, is func(*nats.Msg) bool) <-chan time.Time {
	s := &sighter{is: is, left: nth, seen: make(chan time.Time, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sighters = append(w.sighters, s)
	return s.seen
}

// What can be recognised.
func isEvent(m *nats.Msg) bool  { return strings.HasPrefix(m.Subject, "outlook.event.") }
func isCursor(m *nats.Msg) bool { return strings.HasPrefix(m.Subject, "outlook.cursor.") }
func isResult(m *nats.Msg) bool { return strings.HasPrefix(m.Subject, "outlook.result.") }
func isSending(m *nats.Msg) bool {
	return strings.HasPrefix(m.Subject, "outlook.ledger.") && strings.Contains(string(m.Data), `"sending"`)
}

// each calls f with every stored message of a stream on a subject, oldest
// first. It asks for one at a time, which needs no consumer that could miss one.
func (w *witness) each(ctx context.Context, stream, filter string, f func(*jetstream.RawStreamMsg)) error {
	s, err := w.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	for seq := uint64(1); ; {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		f(m)
		seq = m.Sequence + 1
	}
}

// count returns how many messages of a stream are stored on a subject.
func (w *witness) count(ctx context.Context, stream, filter string) (n uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return 0, err
	}
	for _, messages := range info.State.Subjects {
		n += messages
	}
	return n, nil
}

// publish publishes a command until the server says that it is stored, as a
// sender does who wants it done: under the same Nats-Msg-Id each time. It
// returns how often that took.
func (w *witness) publish(ctx context.Context, subject, id string, data []byte) (tries int, err error) {
	for tries = 1; ; tries++ {
		m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
		if id != "" {
			m.Header.Set(jetstream.MsgIDHeader, id)
		}
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = w.js.PublishMsg(attempt, m, jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil || ctx.Err() != nil {
			return tries, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}
