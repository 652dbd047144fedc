package worker_test

import (
	"os"
	"path/filepath"
	"testing"

	"outlook-connector/internal/jet"
	"outlook-connector/worker"
)

// TestAWorkerWithoutTheRoleTokensOpensNoStore starts it first, with a path of
// its own that is free, so that nothing but its roles keeps it from the file.
func TestAWorkerWithoutTheRoleTokensOpensNoStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	config := func(tokens string) setting {
		return setting{nats: external(server.address), tokens: tokens}
	}
	only := func(roles ...worker.Role) func(*worker.Options) {
		return func(o *worker.Options) { o.Roles = roles }
	}
	hand := w.start(w.config(config("./never.db")), only(worker.RoleSubscriber, worker.RolePublisher)).ready()
	if c := hand.condition("grant/contoso"); c.Code == "" {
		t.Error("it does not look after the grant that it asks for")
	}
	keeper := w.start(w.config(config("./kept.db")), only(worker.RoleTokens, worker.RoleHTTP)).signedIn()

	hand.primed().told(1, "asked for")
	hand.done(hand.publish("send-mail", nil, mail("asked for")))
	until(t, "it to know the grant", func() bool { return hand.condition("grant/contoso").OK })
	for want, r := range map[string]*running{"client": hand, "owner": keeper} {
		if role := r.Status(t.Context()).TokenRole; role != want {
			t.Errorf("token role %s, want %s", role, want)
		}
	}
	if hand.HTTPURL() != "" {
		t.Errorf("it serves %s without the role http", hand.HTTPURL())
	}
	if n := keeper.counted(mailsAsked); n != 0 {
		t.Errorf("the keeper of the tokens sent %d mails", n)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "kept.db")); err != nil {
		t.Errorf("token store of the keeper: %v", err)
	}
	if files, err := filepath.Glob(filepath.Join(w.dir, "never.db*")); err != nil || len(files) != 0 {
		t.Errorf("the asker made %q: %v", files, err)
	}
}

// TestAWorkerWithoutSubscriptionsLeavesTheFeedsAlone: it would take them out of
// the queue only to give them back half a minute later.
func TestAWorkerWithoutSubscriptionsLeavesTheFeedsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	c := w.config(setting{nats: external(server.address)})
	c.Subscriptions = nil
	sender := w.start(c).signedIn()
	// A feed is due while nobody but this worker is there.
	subject, err := sender.Conn().Names().Feed("elsewhere", "-", ann)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Conn().Feeds().Register(t.Context(), subject, []byte(`{"v":1}`)); err != nil {
		t.Fatal(err)
	}
	sender.done(sender.publish("send-mail", nil, mail("by a sender"))) // its roles run
	if q := sender.polls(); q.Pending != 1 || q.Held != 0 || q.Waiting != 0 {
		t.Errorf("it reads the queue of feeds: %+v", q)
	}
	// One that has subscriptions polls as if it were alone.
	poller := w.start(w.config(setting{nats: external(server.address)})).ready().primed()
	poller.told(1, "not disturbed")
	w.quietRounds(2)
}

// polls returns the consumer of the queue of feeds.
func (r *running) polls() jet.ConsumerStatus {
	r.w.t.Helper()
	streams, err := r.Conn().Status(r.w.t.Context())
	if err != nil {
		r.w.t.Fatal(err)
	}
	for _, s := range streams {
		for _, c := range s.Consumers {
			if c.Name == jet.PollConsumer {
				return c
			}
		}
	}
	r.w.t.Fatal("no consumer of feeds")
	return jet.ConsumerStatus{}
}
