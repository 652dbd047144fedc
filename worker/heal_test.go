package worker_test

import (
	"slices"
	"testing"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/worker"
)

// TestAStreamThatIsDeletedIsMadeAgain deletes both queues under a worker that
// runs: commands and feeds go on without a restart.
func TestAStreamThatIsDeletedIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	r := w.start(w.config(setting{nats: external(server.address)}), func(o *worker.Options) {
		worker.LookAtStreamsEvery(o, 200*time.Millisecond)
	}).signedIn().primed()
	told := r.told(1, "before")
	r.done(r.publish("send-mail", jet.Header{"Nats-Msg-Id": {"before"}}, mail("before")))
	feeds, err := r.Conn().Feeds().List(t.Context())
	if err != nil || len(feeds) != 1 {
		t.Fatalf("feeds %+v: %v", feeds, err)
	}

	names := r.Conn().Names()
	deleteStreams(t, server, names.PublishStream(), names.FeedsStream())
	until(t, "both queues to be there again", func() bool {
		streams, err := r.Conn().Status(t.Context())
		return err == nil && !slices.ContainsFunc(streams, func(s jet.StreamStatus) bool { return s.Missing })
	})
	if err := r.Conn().Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}

	r.done(r.publish("send-mail", jet.Header{"Nats-Msg-Id": {"after"}}, mail("after")))
	once(t, "mails", []string{"before", "after"}, w.sent())
	// Every worker registers its feeds from time to time; here it is done at once.
	for _, feed := range feeds {
		if err := r.Conn().Feeds().Register(t.Context(), feed.Subject, feed.Data); err != nil {
			t.Fatal(err)
		}
	}
	w.deliver("after")
	told = append(told, "after")
	once(t, "events", told, subjectsOf(r.events(len(told))))
}

// deleteStreams is an operator with the nats CLI and a heavy hand.
func deleteStreams(t *testing.T, server *natsServer, names ...string) {
	t.Helper()
	js := operator(t, server.address)
	for _, name := range names {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatalf("delete %s: %v", name, err)
		}
	}
}
