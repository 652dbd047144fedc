package worker_test

import (
	"fmt"
	"testing"
	"time"
)

// TestACommandThatHasEndedIsNotMadeAgain: what a worker leaves that dies between the
// result and the acknowledgment is the message and its result, and no record. Here the
// message has waited for its time meanwhile, and comes for the second time.
func TestACommandThatHasEndedIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	w.startNATS(address)
	r := w.start(w.config(setting{nats: external(address), delivery: "at_least_once"})).signedIn()
	js := operator(t, address)
	commands, err := js.Stream(t.Context(), "OUTLOOK_PUBLISH")
	if err != nil {
		t.Fatal(err)
	}
	due := map[string][]string{"Outlook-Not-Before": {time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)}}
	ended, other := r.publish("send-mail", due, mail("has gone out")), r.publish("send-mail", due, mail("has not"))
	for i, id := range []string{ended, other} {
		stored, err := commands.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		// The other's is of an older stream.
		received := stored.Time.Add(-time.Duration(i) * time.Nanosecond).UTC().Format(time.RFC3339Nano)
		text := fmt.Sprintf(`{"id":%q,"publisher":"send-mail","outcome":"done","request_id":"before","attempts":1,"received_at":%q,"finished_at":%[2]q}`, id, received)
		if err := r.Conn().Results().Put(t.Context(), id, nil, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the queue to be empty", func() bool {
		info, err := commands.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	once(t, "mails", []string{"has not"}, w.sent())
	if o := r.done(ended); o.RequestID != "before" {
		t.Errorf("told otherwise: %+v", o)
	}
	if o := r.done(other); o.RequestID == "before" {
		t.Errorf("not told: %+v", o)
	}
}
