//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestProofOnce publishes mails for many mailboxes while workers are killed and
// frozen, the NATS server is killed and Graph loses answers, and then counts in the
// sandbox's ledger how often each mail went out.
func TestProofOnce(t *testing.T) {
	together(t)
	o := startOnce(t, "exactly_once", pick(10, 50))
	f := o.run(pick(300, 10_000))
	if f.lost+f.twice+f.wrong > 0 {
		t.Errorf("%d commands without an outcome, %d mails twice, %d outcomes that are not what happened", f.lost, f.twice, f.wrong)
	}
	if f.failed > 0 {
		t.Errorf("%d commands failed that Outlook would have taken", f.failed)
	}
}

// TestProofAtLeastOnceRepeats shows that the same trouble is seen where it is not
// kept from having its way.
func TestProofAtLeastOnceRepeats(t *testing.T) {
	together(t)
	o := startOnce(t, "at_least_once", pick(10, 50))
	f := o.run(pick(300, 10_000))
	if f.twice == 0 {
		t.Error("no mail went out twice: the proof sees nothing")
	}
	if f.lost > 0 {
		t.Errorf("%d commands without an outcome", f.lost)
	}
}

// onceCrew are workers that send mails.
type onceCrew struct {
	*crew
	js jetstream.JetStream
}

func startOnce(t *testing.T, delivery string, boxes int) *onceCrew {
	t.Helper()
	c := newCrew(t, boxes, func(*graph) string {
		return fmt.Sprintf(`  []
publishers:
  - {name: send, client: contoso, entity: mail.message.sendMail, mailboxes: ["*"], delivery: %s, settle: 5s}`, delivery)
	})
	nc, err := nats.Connect("nats://"+c.natsAddress, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &onceCrew{crew: c, js: js}
}

// onceFigures count what became of the commands.
type onceFigures struct {
	done, failed, uncertain, found int
	lost, twice, wrong             int
}

// run publishes commands through a crisis and judges what came of them.
func (o *onceCrew) run(mails int) (f onceFigures) {
	t := o.t
	t.Helper()
	began := time.Now()
	for range 4 {
		o.hire()
	}
	o.storm()
	troubling, calm := context.WithCancel(t.Context())
	defer calm()
	troubled := make(chan struct{})
	is := crisis{strike: time.Second, restart: 8 * time.Second, restarts: 1}
	if *long {
		is = crisis{strike: time.Second, restart: 30 * time.Second, frozen: 2*ackWait + time.Second}
	}
	go func() { defer close(troubled); o.trouble(troubling, *seed, is) }()
	for n := range mails {
		o.publish(n)
	}
	least := time.Duration(pick(15, 60)) * time.Second
	outcomes := map[string]onceOutcome{}
	ended := func() bool {
		if err := o.outcomes(t.Context(), outcomes); err != nil {
			return false
		}
		return len(outcomes) >= mails
	}
	waited(t.Context(), time.Duration(pick(60, 900))*time.Second, time.Second, func() bool {
		return time.Since(began) > least && (ended() || len(outcomes) >= mails*9/10) // the last ones are left in peace
	})
	calm()
	<-troubled
	hits := o.clear()
	waited(t.Context(), time.Duration(pick(120, 600))*time.Second, time.Second, ended)
	f = o.judge(mails, outcomes)
	t.Logf("%d mails, %d done (%d found after a lost answer), %d uncertain, %d failed; twice %d, lost %d, told wrong %d; kills of workers %d, of NATS %d, freezes %d, faults %d; %.0f s, seed %d",
		mails, f.done, f.found, f.uncertain, f.failed, f.twice, f.lost, f.wrong, o.kills, o.restarts, o.freezes, hits, time.Since(began).Seconds(), *seed)
	if o.kills < 5 || o.restarts == 0 || hits < 10 {
		t.Errorf("%d kills, %d restarts and %d faults are too few: the run proves nothing", o.kills, o.restarts, hits)
	}
	for _, p := range o.working {
		p.stop()
	}
	for _, p := range o.workers {
		report(t, p.stumbles())
	}
	o.audit(outcomes)
	return f
}

// audit holds the record of who had what done against the outcomes: each has its
// row, and the chains of the killed workers are whole.
func (o *onceCrew) audit(outcomes map[string]onceOutcome) {
	o.t.Helper()
	if stdout, stderr, code := call(o.t, o.dir, "audit", "verify"); code != 0 {
		o.t.Errorf("audit verify: exit code %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code := call(o.t, o.dir, "audit", "list", "--kind", "command", "--limit", "0", "--output", "json")
	if code != 0 {
		o.t.Errorf("audit list: exit code %d\n%s", code, stderr)
	}
	var list []struct {
		Command struct {
			ID, Outcome string
			Again       bool
		}
	}
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		o.t.Errorf("audit list: %v", err)
	}
	rows, again := map[string]string{}, 0
	for _, row := range list {
		rows[row.Command.ID] = row.Command.Outcome
		if row.Command.Again {
			again++
		}
	}
	missing := 0
	for id, is := range outcomes {
		if rows[id] != is.Outcome {
			missing++
		}
	}
	o.t.Logf("the audit record has rows of %d commands, %d of them written once more after a kill", len(rows), again)
	if missing > 0 {
		o.t.Errorf("%d of %d outcomes have no row that says the same", missing, len(outcomes))
	}
}

// storm are the faults that Graph has for requests that change something.
func (o *onceCrew) storm() {
	o.t.Helper()
	type spec = map[string]any
	for _, f := range []struct {
		odds  float64
		fault spec
	}{
		{0.050, spec{"kind": "fail_after", "status": 504, "code": "UnknownError"}},
		{0.020, spec{"kind": "fail_before", "status": 504, "code": "UnknownError"}},
		{0.010, spec{"kind": "fail_before", "status": 503, "code": "ServiceUnavailable", "retry_after": "1"}},
		{0.010, spec{"kind": "reset_after"}},
		{0.010, spec{"kind": "reset_before"}},
		{0.010, spec{"kind": "throttle", "shape": "seconds", "wait": "1s"}},
		{0.005, spec{"kind": "fail_before", "status": 401, "code": "InvalidAuthenticationToken"}},
		{0.030, spec{"kind": "delay", "delay": "300ms"}},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			o.graph.must(http.MethodPost, "faults", map[string]any{
				"match": map[string]string{"method": method, "app": o.graph.ClientID}, "fault": f.fault,
				"count": -1, "probability": f.odds, "seed": o.dice.Uint64() >> 12,
			}, nil)
		}
	}
}

func onceID(n int) string { return fmt.Sprintf("mail-%d", n) }

// publish stores a command, whatever becomes of the server meanwhile: the same id
// again is harmless.
func (o *onceCrew) publish(n int) {
	box := "me"
	if i := n % len(o.graph.People); i > 0 {
		box = o.graph.People[i]
	}
	text := fmt.Sprintf(`{"mailbox": %q, "payload": {"message": {"subject": %q, "body": {"contentType": "Text", "content": "x"}, "toRecipients": [{"emailAddress": {"address": %q}}]}}}`,
		box, onceID(n), o.graph.People[0])
	msg := nats.NewMsg("outlook.publish.send")
	msg.Header.Set("Nats-Msg-Id", onceID(n))
	msg.Data = []byte(text)
	if !waited(o.t.Context(), time.Minute, 200*time.Millisecond, func() bool {
		ctx, cancel := context.WithTimeout(o.t.Context(), 5*time.Second)
		defer cancel()
		_, err := o.js.PublishMsg(ctx, msg)
		return err == nil
	}) {
		o.t.Fatalf("command %d cannot be published", n)
	}
}

// onceOutcome is what a sender is told.
type onceOutcome struct {
	ID, Outcome string
	Found       bool
	Status      int
	Error       *struct{ Code, Message string }
}

// outcomes reads all stored outcomes.
func (o *onceCrew) outcomes(ctx context.Context, into map[string]onceOutcome) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := o.js.CreateConsumer(ctx, "OUTLOOK_RESULT", jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 30 * time.Second, MemoryStorage: true,
	})
	if err != nil {
		return err
	}
	for left := c.CachedInfo().NumPending; left > 0; {
		batch, err := c.Fetch(int(min(left, 1000)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return err
		}
		got := uint64(0)
		for m := range batch.Messages() {
			got++
			var is onceOutcome
			if err := json.Unmarshal(m.Data(), &is); err != nil {
				return err
			}
			into[is.ID] = is
		}
		if got == 0 {
			return errors.Join(batch.Error(), errors.New("outcomes are missing"))
		}
		left -= min(got, left)
	}
	return nil
}

// judge compares the outcomes with the mails that went out.
func (o *onceCrew) judge(mails int, outcomes map[string]onceOutcome) (f onceFigures) {
	sent := map[string]int{}
	for _, e := range o.graph.effects() {
		if e.Kind == "sent" && strings.HasPrefix(e.Subject, "mail-") {
			sent[e.Subject]++
		}
	}
	for n := range mails {
		id := onceID(n)
		is, told := outcomes[id]
		if sent[id] > 1 {
			f.twice++
			o.t.Logf("%s went out %d times and is %s", id, sent[id], is.Outcome)
		}
		switch {
		case !told:
			f.lost++
		case is.Outcome == "done":
			f.done++
			if is.Found {
				f.found++
			}
			if sent[id] == 0 {
				f.wrong++
				o.t.Logf("%s is done and did not go out", id)
			}
		case is.Outcome == "failed":
			f.failed++
			o.t.Logf("%s failed: %+v", id, is.Error)
			if sent[id] > 0 {
				f.wrong++
			}
		default:
			f.uncertain++
			o.t.Logf("%s is uncertain (went out %d times): %+v", id, sent[id], is.Error)
		}
	}
	return f
}
