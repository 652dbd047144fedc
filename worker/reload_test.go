package worker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
)

// files are the configurations of one worker, one after the other.
type files struct {
	w    *world
	http string
	nats string
}

// file makes a configuration: base, and what change makes of it.
func (f *files) file(s setting, change ...func(*config.Config)) *config.Config {
	f.w.t.Helper()
	if f.http == "" {
		f.http = freeAddress(f.w.t)
	}
	s.http, s.nats = f.http, f.nats
	c := f.w.config(s)
	for _, make := range change {
		make(c)
	}
	return c
}

// another adds a subscription like the first one.
func another(name string) func(*config.Config) {
	return func(c *config.Config) {
		s := c.Subscriptions[0]
		s.Name, s.Query = name, maps.Clone(s.Query)
		c.Subscriptions = append(c.Subscriptions, s)
	}
}

// reload has the worker take a configuration.
func (r *running) reload(c *config.Config) {
	r.w.t.Helper()
	if err := r.Reload(r.w.t.Context(), func() (*config.Config, error) { return c, nil }); err != nil {
		r.w.t.Fatalf("reload: %v", err)
	}
}

// traffic delivers mails and publishes commands until stop, which returns their
// subjects and the ids of the commands.
func (r *running) traffic(every time.Duration) (stop func() (mails, commands, ids []string)) {
	ctx, cancel := context.WithCancel(r.w.t.Context())
	var mails, commands, ids []string
	var busy sync.WaitGroup
	busy.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			subject := fmt.Sprintf("mail %d", n)
			if _, err := r.w.Deliver(sandbox.Mail{To: []string{ann}, Subject: subject, Body: "From outside."}); err != nil {
				r.w.t.Errorf("deliver: %v", err)
				return
			}
			mails = append(mails, subject)
			command := fmt.Sprintf("command %d", n)
			at, err := r.Conn().Commands().Publish(context.WithoutCancel(ctx), "outlook.publish.send-mail", nil, []byte(mail(command)))
			if err != nil {
				r.w.t.Errorf("publish: %v", err)
				return
			}
			commands, ids = append(commands, command), append(ids, fmt.Sprintf("%s-%d", at.Stream, at.Sequence))
		}
	})
	return func() ([]string, []string, []string) {
		cancel()
		busy.Wait()
		return mails, commands, ids
	}
}

// eventsOf returns the subjects of the mails that a subscription has told by now.
func (r *running) eventsOf(subscription string) []string {
	r.w.t.Helper()
	filter, err := r.Conn().Names().Events(subscription, "")
	if err != nil {
		r.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.w.t.Context())
	defer cancel()
	quiet := time.AfterFunc(time.Second, cancel)
	var list []jet.Event
	if err := r.Conn().Events(ctx, filter, time.Unix(1, 0), func(e jet.Event) bool {
		quiet.Reset(time.Second)
		list = append(list, e)
		return true
	}); err != nil && ctx.Err() == nil {
		r.w.t.Fatal(err)
	}
	return subjectsOf(list)
}

// ledgerAge is how long the server keeps the ledger.
func (n *natsServer) ledgerAge() time.Duration {
	n.w.t.Helper()
	js := operator(n.w.t, n.address)
	stream, err := js.Stream(n.w.t.Context(), "OUTLOOK_LEDGER")
	if err != nil {
		n.w.t.Fatal(err)
	}
	return stream.CachedInfo().Config.MaxAge
}

// eventSubjects returns where events were published.
func eventSubjects(events []jet.Event) (subjects []string) {
	for _, e := range events {
		subjects = append(subjects, e.Subject)
	}
	return subjects
}

// pause waits.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func TestSubscriptionsAndPublishersComeGoAndChangeUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := files{w: w}
	r := w.start(f.file(setting{})).signedIn().primed()
	stop := r.traffic(40 * time.Millisecond)
	more := setting{publishers: "  - {name: send-two, client: contoso, entity: mail.message.sendMail, delivery: at_most_once}\n"}

	// They come …
	r.reload(f.file(more, another("second")))
	r.primed()
	w.deliver("for both")
	two := r.publish("send-two", nil, mail("by the second"))
	r.done(two)
	until(t, "the new subscription to tell", func() bool { return slices.Contains(r.eventsOf("second"), "for both") })

	// … change, all of them and several times …
	for _, selected := range []string{"subject,from,receivedDateTime,isRead", "subject,receivedDateTime", "subject,from,receivedDateTime"} {
		changed := more
		changed.selected = selected
		r.reload(f.file(changed, another("second"), func(c *config.Config) {
			for i := range c.Publishers {
				c.Publishers[i].InFlight = 3 + len(selected)%5
			}
		}))
		r.primed()
		w.quietRounds(3)
	}

	// … and go.
	r.reload(f.file(setting{}))
	told := r.eventsOf("second")
	if n := len(r.Status(t.Context()).Feeds); n != 1 {
		t.Errorf("%d feeds are left, want 1", n)
	}
	w.quietRounds(4)
	mails, commands, ids := stop()
	if len(mails) < 40 {
		t.Errorf("only %d mails while it was reloaded: that shows little", len(mails))
	}
	for _, id := range ids {
		if got := r.done(id); got.Attempts != 1 {
			t.Errorf("outcome %+v, want one attempt", got)
		}
	}
	w.quietRounds(3)
	once(t, "mails sent", append(commands, "by the second"), w.sent())
	once(t, "events of inbox", append(mails, "for both"), r.eventsOf("inbox"))
	second := r.eventsOf("second")
	counts := map[string]int{}
	for _, subject := range second {
		if counts[subject]++; counts[subject] > 1 {
			t.Errorf("%q was told twice by the subscription that came and went", subject)
		}
	}
	if len(second)-len(told) > 2 {
		t.Errorf("%d events after the subscription went, %d before", len(second)-len(told), len(told))
	}
	if letters, held := r.dead(), r.held(); len(letters) != 0 || held != 0 {
		t.Errorf("%d commands in the queue, dead letters %+v", held, letters)
	}
	if n := r.counted(`outlook_config_reloads_total{result="taken"}`); n != 5 {
		t.Errorf("%v reloads counted, want 5", n)
	}
	// The counters go on from one configuration to the next.
	if n, m := r.counted(`outlook_commands_total{outcome="done",publisher="send-mail"}`), len(commands); n != m {
		t.Errorf("%v commands counted, want %v", n, m)
	}
	t.Logf("%d mails, %d commands, %d events of the subscription that came and went", len(mails), len(commands), len(second))
}

func TestAConfigurationWithMistakesChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := files{w: w}
	good := f.file(setting{})
	r := w.start(good).signedIn().primed()
	if r.counted(`outlook_config_last_reload_success_timestamp_seconds`) == 0 {
		t.Error("the start is not counted as a success")
	}
	err := r.Reload(t.Context(), func() (*config.Config, error) {
		return config.Parse(config.Source{File: filepath.Join(w.dir, "new.yaml"), Data: []byte("nats: {}\nsubscription: []\nlog: {level: loud}\n")})
	})
	if err == nil || !strings.Contains(err.Error(), "new.yaml:2:1: ") || !strings.Contains(err.Error(), "new.yaml:3:") {
		t.Errorf("reload: %v", err)
	}
	c := r.condition("configuration")
	if c.OK || c.Severity != "degraded" || !strings.Contains(c.Cause, "new.yaml:2:1: ") || !strings.Contains(c.Hint, "config check") {
		t.Errorf("condition %+v", c)
	}
	if _, ready, _ := r.readyz(); !ready {
		t.Error("it is not ready, because of a file that it did not take")
	}
	if r.Config() != good {
		t.Error("it follows another configuration")
	}
	r.told(1, "as before")
	r.done(r.publish("send-mail", nil, mail("as before")))
	r.reload(good) // mended
	if c := r.condition("configuration"); !c.OK {
		t.Errorf("condition %+v after the file was mended", c)
	}
	for result, want := range map[string]int{"invalid": 1, "unchanged": 1, "taken": 0} {
		if n := r.counted(`outlook_config_reloads_total{result="` + result + `"}`); n != want {
			t.Errorf("%v reloads %s, want %v", n, result, want)
		}
	}
}

func TestAConfigurationThatNeedsARestartIsNotTakenInPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := files{w: w}
	r := w.start(f.file(setting{})).signedIn().primed()
	next := f.file(setting{}, another("second"), func(c *config.Config) {
		c.HTTP.Listen = "127.0.0.1:1"
		c.NATS.Prefix = "other"
		c.Clients[0].Scopes = append(slices.Clone(c.Clients[0].Scopes), "User.Read.All")
	})
	err := r.Reload(t.Context(), func() (*config.Config, error) { return next, nil })
	want := "nats.prefix, clients[contoso].scopes, http.listen are different in the configuration file and cannot change in a running process, so nothing of the file was taken"
	if err == nil || err.Error() != want || !strings.HasPrefix(fault.HintOf(err), "restart the process") {
		t.Errorf("reload: %v (%s)\nwant %s", err, fault.HintOf(err), want)
	}
	if c := r.condition("configuration"); c.OK || c.Cause != want {
		t.Errorf("condition %+v", c)
	}
	w.quietRounds(2)
	if feeds := r.Status(t.Context()).Feeds; len(feeds) != 1 {
		t.Errorf("feeds %+v", feeds)
	}
	if n := r.counted(`outlook_config_reloads_total{result="refused"}`); n != 1 {
		t.Errorf("%v refused", n)
	}
}

// TestAReloadLeavesCommandsInHandToTheirEnd has one that takes longer than the
// reload, which must neither break it off nor make the others wait for it.
func TestAReloadLeavesCommandsInHandToTheirEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := files{w: w}
	r := w.start(f.file(setting{})).signedIn().primed()
	begun := make(chan struct{})
	var first atomic.Bool
	slow := w.KeepControl(sendMail, func(q *sandbox.Request) bool {
		if first.CompareAndSwap(false, true) {
			close(begun)
			q.Delay(6 * time.Second)
		}
		return true
	})
	defer slow.Remove()
	old := r.publish("send-mail", nil, mail("in hand"))
	<-begun
	r.reload(f.file(setting{}, func(c *config.Config) { c.Publishers[0].InFlight = 7 }))
	began := time.Now()
	r.done(r.publish("send-mail", nil, mail("after it")))
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("a command waited %s for one of the configuration before", took)
	}
	if got := r.done(old); got.Attempts != 1 {
		t.Errorf("outcome %+v, want one attempt", got)
	}
	once(t, "mails", []string{"in hand", "after it"}, w.sent())
}

// TestAReloadTakesWhatARoleHadNothingOfBefore has a worker with nothing to poll
// get its first subscription, and lose it again.
func TestAReloadTakesWhatARoleHadNothingOfBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := files{w: w}
	nothing := func(c *config.Config) { c.Subscriptions, c.Publishers = nil, nil }
	r := w.start(f.file(setting{}, nothing)).signedIn()
	r.reload(f.file(setting{}))
	r.primed().told(1, "the first")
	r.done(r.publish("send-mail", nil, mail("the first")))
	r.reload(f.file(setting{}, nothing))
	w.deliver("told by nobody")
	before := len(w.calls("GET", routeDelta))
	late, subjects := make([]string, 8), numbered("later", 8)
	for i, subject := range subjects {
		late[i] = r.publish("send-mail", nil, mail(subject))
	}
	r.reload(f.file(setting{}, nothing)) // and nothing changes
	pause(t, 3*time.Second)
	once(t, "mails", []string{"the first"}, w.sent())
	if n := len(w.calls("GET", routeDelta)); n != before {
		t.Errorf("%d polls of a subscription that went", n-before)
	}
	r.reload(f.file(setting{}))
	// What came meanwhile is told: the cursor stayed. And commands wait for a while
	// for somebody who knows their publisher.
	if got := subjectsOf(r.events(2)); got[1] != "told by nobody" {
		t.Errorf("events %q", got)
	}
	for _, id := range late {
		r.done(id)
	}
	once(t, "mails", append(subjects, "the first"), w.sent())
}

// TestAReloadDoesNotNeedNATS has one while NATS is away at the start.
func TestAReloadDoesNotNeedNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	f := files{w: w, nats: external(address)}
	r := w.start(f.file(setting{}))
	began := time.Now()
	r.reload(f.file(setting{}, another("second"), longer))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	server := w.startNATS(address)
	r.signedIn().primed()
	w.deliver("at last")
	once(t, "subjects", []string{"outlook.event.inbox.me", "outlook.event.second.me"}, eventSubjects(r.events(2)))
	if got := server.ledgerAge(); got < 50*24*time.Hour {
		t.Errorf("the ledger is kept for %s", got)
	}
}

// longer has commands tried for so long that the ledger must be kept for longer.
func longer(c *config.Config) { c.Publishers[0].GiveUpAfter = config.Duration(20 * 24 * time.Hour) }

func TestAReloadKeepsTheLedgerForAsLongAsItsPublishersNeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	f := files{w: w, nats: external(server.address)}
	r := w.start(f.file(setting{})).ready()
	before := server.ledgerAge()
	r.reload(f.file(setting{}, longer))
	if after := server.ledgerAge(); after != before+19*24*time.Hour {
		t.Errorf("the ledger is kept for %s, before for %s", after, before)
	}
}

// TestAReloadThatTheStreamsDoNotAllowIsUndone has somebody else in charge of the
// streams, who has not made them keep the ledger for as long.
func TestAReloadThatTheStreamsDoNotAllowIsUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	w.startNATS(address)
	w.start(w.config(setting{nats: external(address)})).ready().stop()
	f := files{w: w, nats: `{url: "nats://` + address + `", manage_streams: false}`}
	r := w.start(f.file(setting{})).ready()
	next := f.file(setting{}, longer, another("second"))
	err := r.Reload(t.Context(), func() (*config.Config, error) { return next, nil })
	if err == nil || !strings.Contains(err.Error(), "OUTLOOK_LEDGER.max_age") {
		t.Errorf("reload: %v", err)
	}
	if r.Config() == next {
		t.Error("it was taken")
	}
	if err := r.Conn().Ready(); err != nil {
		t.Errorf("the streams fit the configuration that is followed: %v", err)
	}
}

func TestAReloadWithoutAConfigurationIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := files{w: w}
	r := w.start(f.file(setting{}))
	gone := errors.New("the disk is gone")
	if err := r.Reload(t.Context(), func() (*config.Config, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("reload: %v", err)
	}
	if c := r.condition("configuration"); c.OK {
		t.Errorf("condition %+v", c)
	}
}
