package worker_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"outlook-connector/worker"
)

// TestTwoWorkersWithTheirOwnFoldersHaveOneOwner starts them alike, at the same
// moment, on one NATS. Somebody signed in at one of them before.
func TestTwoWorkersWithTheirOwnFoldersHaveOneOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	config := func(tokens string) setting { return setting{nats: external(server.address), tokens: tokens} }
	first := w.start(w.config(config("./a/tokens.db"))).signedIn()
	first.stop()

	two := []*running{w.make(w.config(config("./a/tokens.db"))), w.make(w.config(config("./b/tokens.db")))}
	var both sync.WaitGroup
	for i, r := range two {
		both.Go(func() {
			if err := r.Start(t.Context()); err != nil {
				t.Errorf("worker %d: %v", i+1, err)
			}
		})
		t.Cleanup(r.stop)
	}
	both.Wait()
	rich, empty := two[0], two[1]
	until(t, "the one with the grant to own, and the other to ask", func() bool {
		return rich.status().TokenRole == "owner" && empty.status().TokenRole == "client"
	})
	for i, r := range two {
		until(t, "the grant to be known", func() bool { return r.condition("grant/contoso").OK && r.condition("token-owner").OK })
		r.ready()
		if c := r.condition("grant/contoso"); !c.OK {
			t.Errorf("worker %d: %+v", i+1, c)
		}
	}
	if a, b := rich.status().TokenOwner, empty.status().TokenOwner; a == "" || a != b {
		t.Errorf("the owner is %q and %q", a, b)
	}
	empty.sendAll(numbered("with the other's token", 8))
	if n := len(w.calls(http.MethodPost, routeToken)); n != 1 {
		t.Errorf("%d token requests, want the one of the sign-in", n)
	}

	// The owner goes and comes back: nobody is asked to sign in meanwhile.
	rich.stop()
	until(t, "the owner's absence to be seen", func() bool { return empty.condition("token-owner").Cause != "" })
	if c := empty.condition("token-owner"); !strings.Contains(c.Cause, "away") || c.Hint == "" {
		t.Errorf("%+v", c)
	}
	empty.done(empty.publish("send-mail", nil, mail("while the owner is away")))
	again := w.start(w.config(config("./a/tokens.db"))).ready()
	until(t, "the owner to be back", func() bool {
		return again.status().TokenRole == "owner" && empty.status().TokenRole == "client" && empty.condition("token-owner").OK
	})
}

// TestASecondStoreWithGrantsSaysSo: it works with the tokens of the first.
func TestASecondStoreWithGrantsSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	config := func(tokens string) setting { return setting{nats: external(server.address), tokens: tokens} }
	// A grant in each store, made while it was alone.
	w.start(w.config(setting{tokens: "./b/tokens.db"})).signedIn().stop()
	one := w.start(w.config(config("./a/tokens.db"))).signedIn()
	two := w.start(w.config(config("./b/tokens.db"))).ready()
	until(t, "the second to say that its grants are not used", func() bool { return two.condition("token-owner").Cause != "" })
	c, s := two.condition("token-owner"), two.status()
	for _, part := range []string{"a/tokens.db", "b/tokens.db", "contoso"} {
		if !strings.Contains(c.Cause, part) {
			t.Errorf("the cause has no %s: %s", part, c.Cause)
		}
	}
	if !strings.Contains(c.Hint, "auth logout contoso") || s.TokenRole != "client" || s.TokenHint != c.Hint || s.TokenProblem != c.Cause {
		t.Errorf("condition %+v, status %q %q %q", c, s.TokenRole, s.TokenProblem, s.TokenHint)
	}
	until(t, "the second to work with the owner's token", func() bool { return two.condition("grant/contoso").OK })
	two.done(two.publish("send-mail", nil, mail("with the first one's token")))
	if c := one.condition("token-owner"); !c.OK {
		t.Errorf("the first: %+v", c)
	}
	one.stop()
	until(t, "the second to take over", func() bool { return two.status().TokenRole == "owner" && two.condition("token-owner").OK })
}

// TestAJoinedWorkerFindsTheHostAgain though its port is another after a restart;
// meanwhile it says what is missing.
func TestAJoinedWorkerFindsTheHostAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{nats: `{embedded: {store_dir: ./nats, listen: "127.0.0.1:0"}}`})
	host := w.start(c).signedIn()
	guest := w.start(c, func(o *worker.Options) { o.Roles = []worker.Role{worker.RoleSubscriber, worker.RolePublisher} }).ready()
	before := host.NATSURL()
	host.stop()
	until(t, "the guest to say that its host is gone", func() bool {
		c := guest.condition("nats")
		return strings.Contains(c.Cause, "joined is gone") && strings.Contains(c.Hint, "run")
	})
	again := w.start(c).ready()
	if again.NATSURL() == before {
		t.Logf("the system gave the same port again")
	}
	guest.ready()
	guest.stop() // before its host
}
