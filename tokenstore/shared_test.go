package tokenstore_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// exchange is the message system between the processes of a test: those who
// serve are asked in turn.
type exchange struct {
	mu      sync.Mutex
	answers map[int]tokenstore.AnswerFunc
	turn    int
	serving int
	refuse  error
}

func (x *exchange) serve(answer tokenstore.AnswerFunc) (func(), error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.refuse != nil {
		return nil, x.refuse
	}
	x.serving++
	x.turn++
	number := x.turn
	if x.answers == nil {
		x.answers = map[int]tokenstore.AnswerFunc{}
	}
	x.answers[number] = answer
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.serving--
		delete(x.answers, number)
	}, nil
}

func (x *exchange) ask(ctx context.Context, client string, request []byte) ([]byte, error) {
	x.mu.Lock()
	var answer tokenstore.AnswerFunc
	for _, one := range x.answers { // Go's order of maps is as good as a queue group's
		answer = one
		break
	}
	x.mu.Unlock()
	if answer == nil {
		return nil, errNoResponders
	}
	return answer(ctx, client, request), nil
}

// process is one of several that share a file.
func process(t *testing.T, path string, p *idp, x *exchange) *tokenstore.Shared {
	t.Helper()
	o := tokenstore.SharedOptions{
		Store:   tokenstore.Options{Path: path, Key: testKey, LockWait: 20 * time.Millisecond},
		Clients: []tokenstore.Client{testClient()}, Transport: p, Every: 10 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler),
	}
	if x != nil {
		o.Ask, o.Serve = x.ask, x.serve
	}
	s, err := tokenstore.NewShared(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func start(t *testing.T, s *tokenstore.Shared) {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func login(t *testing.T, p *idp, adopter tokenstore.Adopter) error {
	t.Helper()
	logins, err := tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: []tokenstore.Client{testClient()}, Adopter: adopter, Transport: p})
	if err != nil {
		t.Fatal(err)
	}
	flow, err := logins.Begin(clientName)
	if err != nil {
		t.Fatal(err)
	}
	_, err = logins.Callback(t.Context(), p.consent(t, flow.AuthURL), flow.State.Reveal())
	return err
}

func TestTheSurvivorOfTwoProcessesTakesOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	p, x := newIDP(), &exchange{}
	one, two := process(t, path, p, x), process(t, path, p, x)
	start(t, one)
	start(t, two)
	if one.Role() != tokenstore.RoleOwner || two.Role() != tokenstore.RoleClient || x.serving != 1 {
		t.Fatalf("roles %s and %s, %d serve", one.Role(), two.Role(), x.serving)
	}
	if _, err := two.Token(t.Context(), clientName, 0); fault.Of(err).Code != "no_grant" {
		t.Errorf("before the sign-in: %v", err)
	}
	if err := login(t, p, one); err != nil {
		t.Fatal(err)
	}
	if err := login(t, p, two); !errors.Is(err, tokenstore.ErrNotOwner) || fault.HintOf(err) == "" {
		t.Errorf("a sign-in at the client: %v", err)
	}
	if err := two.Logout(t.Context(), clientName); !errors.Is(err, tokenstore.ErrNotOwner) {
		t.Errorf("a logout at the client: %v", err)
	}
	var first tokenstore.Token
	eventually(t, "the client gets the owner's token", func() bool {
		var err error
		first, err = two.Token(t.Context(), clientName, 0)
		return err == nil
	})
	made := p.requests()

	one.Stop()
	if one.Role() != tokenstore.RoleStopped {
		t.Errorf("role %s after Stop", one.Role())
	}
	eventually(t, "the survivor is the owner", func() bool { return two.Role() == tokenstore.RoleOwner })
	eventually(t, "the survivor answers the others", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.serving == 1
	})
	got, err := two.Token(t.Context(), clientName, 0)
	if err != nil || got.Access != first.Access || p.requests() != made {
		t.Errorf("after the takeover: generation %d, %v, %d requests", got.Generation, err, p.requests()-made)
	}

	three := process(t, path, p, x)
	start(t, three)
	if got, err := three.Token(t.Context(), clientName, 0); err != nil || got.Access != first.Access || three.Role() != tokenstore.RoleClient {
		t.Errorf("a new process: role %s, %v", three.Role(), err)
	}
	three.Reject(t.Context(), clientName, got)
	if got, err := three.Token(t.Context(), clientName, 0); err != nil || got.Generation != first.Generation+1 {
		t.Errorf("after a rejection: generation %d, %v", got.Generation, err)
	}
}

func TestStatusSaysWhoIsWho(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	p, x := newIDP(), &exchange{}
	one, two := process(t, path, p, x), process(t, path, p, x)
	if got := one.Status(); got.Role != tokenstore.RoleStopped {
		t.Errorf("before Start: %+v", got)
	}
	start(t, one)
	start(t, two)
	if got := one.Status(); got.Role != tokenstore.RoleOwner || got.Problem != "" || got.Clients[0].Condition != tokenstore.ConditionNoGrant {
		t.Errorf("the owner before the sign-in: %+v", got)
	}
	if err := login(t, p, one); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Token(t.Context(), clientName, 0); err != nil {
		t.Fatal(err)
	}
	owner, client := one.Status(), two.Status()
	if c := owner.Clients[0]; c.Condition != tokenstore.ConditionOK || c.Account.UPN != "ann@contoso.example" || !c.HasToken {
		t.Errorf("the owner: %+v", c)
	}
	if c := client.Clients[0]; client.Role != tokenstore.RoleClient || c.Condition != tokenstore.ConditionOK || !c.HasToken ||
		!strings.Contains(client.Problem, path) {
		t.Errorf("the client: %+v", client)
	}
}

func TestAProcessAloneNeedsNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	p := newIDP()
	s := process(t, path, p, nil)
	start(t, s)
	if err := s.Start(t.Context()); err == nil {
		t.Error("a second Start")
	}
	if err := login(t, p, s); err != nil {
		t.Fatal(err)
	}
	before, err := s.Token(t.Context(), clientName, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	if _, err := s.Token(t.Context(), clientName, 0); fault.KindOf(err) != fault.Retry {
		t.Errorf("after Stop: %v", err)
	}
	start(t, s)
	if got, err := s.Token(t.Context(), clientName, 0); err != nil || got.Access != before.Access {
		t.Errorf("after a restart: %v", err)
	}

	other := process(t, path, p, nil) // the same file, and no way to ask
	start(t, other)
	if _, err := other.Token(t.Context(), clientName, 0); fault.KindOf(err) != fault.Retry || !errors.Is(err, tokenstore.ErrLocked) || fault.HintOf(err) == "" {
		t.Errorf("a process that can ask nobody: %v", err)
	}
}

func TestADamagedStoreStopsTheStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := process(t, path, newIDP(), &exchange{})
	if err := s.Start(t.Context()); !errors.Is(err, tokenstore.ErrDamaged) || s.Role() != tokenstore.RoleStopped {
		t.Errorf("%v, role %s: an error must be seen, not worked around", err, s.Role())
	}
}

func TestAServiceThatCannotStartIsTriedAgain(t *testing.T) {
	t.Parallel()
	x := &exchange{refuse: errNoResponders}
	s := process(t, filepath.Join(t.TempDir(), "tokens.db"), newIDP(), x)
	start(t, s)
	if s.Role() != tokenstore.RoleOwner {
		t.Fatalf("role %s", s.Role())
	}
	x.mu.Lock()
	x.refuse = nil
	x.mu.Unlock()
	eventually(t, "it serves", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.serving == 1
	})
}
