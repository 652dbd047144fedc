package worker_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counted returns the value of a sample of a worker's metrics; 0 where there is
// none.
func (r *running) counted(sample string) int {
	r.w.t.Helper()
	_, text := r.get("/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(sample) + ` (\d+)`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		r.w.t.Fatal(err)
	}
	return n
}

const (
	commandsDone = `outlook_commands_total{outcome="done",publisher="send-mail"}`
	mailsAsked   = `outlook_graph_requests_total{client="contoso",code="202",method="POST"}`
)

// sendAll publishes mails and waits until all are done.
func (r *running) sendAll(subjects []string) {
	r.w.t.Helper()
	ids := make([]string, len(subjects))
	for i, subject := range subjects {
		ids[i] = r.publish("send-mail", nil, mail(subject))
	}
	for _, id := range ids {
		r.done(id)
	}
}

func numbered(what string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s %02d", what, i)
	}
	return list
}

// once checks that the mails were sent and told, each once.
func once(t *testing.T, what string, want, got []string) {
	t.Helper()
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestTwoWorkersOnOneNATSShareTheWork has one token store, whose owner answers
// the other; when the owner goes, the other takes its place.
func TestTwoWorkersOnOneNATSShareTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t))
	c := w.config(setting{nats: external(server.address)})
	one := w.start(c).ready()
	two := w.start(c).ready() // the same file: the port of its HTTP is another
	if a, b := one.status().TokenRole, two.status().TokenRole; a != "owner" || b != "client" {
		t.Errorf("token roles %s and %s", a, b)
	}
	if one.HTTPURL() == two.HTTPURL() {
		t.Errorf("both at %s", one.HTTPURL())
	}
	// Grant access at the one that does not hold the store: it leads to the other.
	two.grants()
	for i, r := range []*running{one, two} {
		until(t, fmt.Sprintf("worker %d to know the grant", i+1), func() bool { return r.condition("grant/contoso").OK })
	}
	events := append(two.told(1, "primer"), "a mail")
	w.deliver(events[len(events)-1])

	mails := numbered("shared", 24)
	one.sendAll(mails)
	for i, r := range []*running{one, two} {
		if r.counted(commandsDone) == 0 || r.counted(mailsAsked) == 0 {
			t.Errorf("worker %d did nothing of the work", i+1)
		}
	}
	if a, b := one.counted(commandsDone), two.counted(commandsDone); a+b != len(mails) {
		t.Errorf("%d and %d commands done, want %d", a, b, len(mails))
	}
	if n := len(w.calls(http.MethodPost, routeToken)); n != 1 {
		t.Errorf("%d token requests, want the one of the sign-in", n)
	}

	one.stop()
	until(t, "the other to become the owner", func() bool { return two.status().TokenRole == "owner" })
	w.ExpireAccessTokens() // so that it needs what is in the store
	more := numbered("after the owner went", 8)
	two.sendAll(more)
	w.deliver("another mail")
	events = append(events, "another mail")
	once(t, "events", events, subjectsOf(two.events(len(events))))
	w.quietRounds(2)
	once(t, "mails", append(mails, more...), w.sent())
	if n := two.stored(); n != len(events) {
		t.Errorf("%d events, want %d", n, len(events))
	}
	if letters := two.dead(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

// told delivers mails until one of them is an event: by then the first read is
// over, whichever worker did it. It returns the subjects that were delivered.
func (r *running) told(n int, prefix string) []string {
	r.w.t.Helper()
	subjects := numbered(prefix, n)
	r.w.deliver(subjects...)
	r.events(n)
	return subjects
}

// TestASecondWorkerOnTheFolderJoins goes over the listener of the first, with
// the credential in the folder.
func TestASecondWorkerOnTheFolderJoins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{nats: `{embedded: {store_dir: ./nats, listen: "` + freeAddress(t) + `"}}`})
	host := w.start(c).signedIn().primed()
	guest := w.start(c).ready()
	if guest.NATSURL() != "" || host.NATSURL() == "" {
		t.Errorf("listeners %q and %q, want the first one's only", host.NATSURL(), guest.NATSURL())
	}
	if s := guest.status(); s.TokenRole != "client" || !strings.Contains(host.NATSURL(), s.NATS) && !strings.Contains(s.NATS, host.NATSURL()) {
		t.Errorf("status of the guest: token role %q, nats %q; the host's is at %s", s.TokenRole, s.NATS, host.NATSURL())
	}
	mails := numbered("joined", 16)
	guest.sendAll(mails)
	if a, b := host.counted(commandsDone), guest.counted(commandsDone); a == 0 || b == 0 || a+b != len(mails) {
		t.Errorf("commands done: %d and %d, want both some and together %d", a, b, len(mails))
	}
	// The host goes away for a while.
	host.stop()
	until(t, "the guest to notice", func() bool { return !guest.condition("nats").OK })
	again := w.start(c).ready()
	guest.ready()
	more := numbered("joined again", 8)
	again.sendAll(more)
	guest.stop()
	last := numbered("alone", 2)
	again.sendAll(last)
	once(t, "mails", slices.Concat(mails, more, last), w.sent())
}

// TestTwoWorkersMayStartAtTheSameMoment is what a machine does after a power
// cut; the folder is a new one, so neither finds the other's address yet.
func TestTwoWorkersMayStartAtTheSameMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{})
	two := []*running{w.make(c), w.make(c)}
	errs := make([]error, len(two))
	var both sync.WaitGroup
	for i, r := range two {
		both.Go(func() { errs[i] = r.Start(t.Context()) })
	}
	both.Wait()
	for i, r := range two {
		if errs[i] != nil {
			t.Errorf("worker %d: %v", i+1, errs[i])
			continue
		}
		r.ready()
	}
	// The guest first: it needs the host's NATS to stop in peace.
	slices.SortFunc(two, func(a, b *running) int { return strings.Compare(a.NATSURL(), b.NATSURL()) })
	for _, r := range two {
		r.stop()
	}
}
