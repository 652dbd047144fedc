package permtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/cli"
	"outlook-connector/internal/health"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
	"outlook-connector/worker"
)

const (
	subscriptions = `
subscriptions:
  - {name: inbox, client: contoso, entity: mail.message.delta, every: 1s, start: now, folders: [inbox, "Team/**"],
     query: {$select: "subject,from,body,receivedDateTime"}, transform: 'if .subject == "poison" then error("no") else . end'}
%s`
	second = `  - {name: drafts, client: contoso, entity: mail.message.delta, every: 1s, start: now, path: {mailFolder-id: drafts}, query: {$select: "subject"}}
`
	publishers = `
publishers:
  - {name: send-mail, client: contoso, entity: mail.message.sendMail, delivery: at_most_once, in_flight: 8, mailboxes: [me, "ann@contoso.example"]}
`
)

// scenario has every role do all of its work.
func scenario(p *plant) {
	admin, err := nats.Connect(p.admin)
	if err != nil {
		p.fail("admin: %v", err)
	}
	defer admin.Close()
	js, err := jetstream.New(admin)
	if err != nil {
		p.fail("admin: %v", err)
	}

	// The streams are made, and changed where somebody changed them.
	setup := p.config("setup", "")
	p.run(0, "--config", setup, "setup")
	p.change(js)
	p.run(0, "--config", setup, "setup")
	p.mustBeAsBefore(js)

	// Every process looks at the dead letters when there are some.
	p.send(admin, "outlook.dlq.publish.send-mail", nil, `{"id":"old","publisher":"send-mail","reason":"uncertain_effect","outcome":{"outcome":"uncertain"}}`)

	// A page alone, which is the first to look at the slots; and then they are lost,
	// as a restarted server loses them.
	page, stopPage := p.start(p.config("http", fmt.Sprintf(subscriptions, second)+publishers), worker.RoleHTTP)
	p.ready(page)
	p.look(page.HTTPURL() + "/")
	p.look(page.HTTPURL() + "/metrics")
	p.wait("http", "outlook.sem.epoch")
	p.wait("http", "$JS.API.CONSUMER.MSG.NEXT.")
	stopPage()
	p.forget(js, "OUTLOOK_SEM")

	// The owner of the tokens, where somebody signs in, and who only asks.
	owner, stopOwner := p.start(p.config("tokens", fmt.Sprintf(subscriptions, second)+publishers), worker.RoleTokens, worker.RoleHTTP)
	p.ready(owner)
	p.signIn(owner)
	p.wait("tokens", "outlook.sem.epoch")

	// Feeds: one comes, one goes, mails of all kinds.
	subscriberFile := p.config("subscriber", fmt.Sprintf(subscriptions, second))
	sub, stopSub := p.start(subscriberFile, worker.RoleSubscriber)
	p.ready(sub)
	p.until("feeds in the cursor's phase", func() bool { return primed(sub, 3) })
	stopSub()
	p.config("subscriber", fmt.Sprintf(subscriptions, ""))
	sub, stopSub = p.start(subscriberFile, worker.RoleSubscriber)
	p.ready(sub)
	p.until("feeds after one is gone", func() bool { return primed(sub, 2) && feeds(js) == 2 })
	p.signIn(owner) // which wakes the feeds
	listener := p.config("listener", fmt.Sprintf(subscriptions, ""))
	heard, stopListening := p.listen(listener)
	p.deliver("small", "A mail.")
	p.deliver("large", strings.Repeat("A large mail. ", 24<<10))
	p.deliver("poison", "A mail that cannot become an event.")
	p.until("events", func() bool { return strings.Count(heard(), `"subject"`) >= 2 })
	p.until("a dead letter of an item", func() bool { return messages(js, "OUTLOOK_DLQ") == 2 })
	p.Control(sandbox.Match{Method: "GET", Route: "/me/mailFolders/{mailFolder-id}/messages/delta"}, sandbox.FailBefore(429, "TooManyRequests", "2"))
	p.wait("subscriber", "outlook.park.")
	p.deliver("after a pause", "A mail.")
	p.until("an event after the pause", func() bool { return strings.Count(heard(), `"subject"`) >= 3 })
	stopListening()

	// Commands: alone, in order, large, refused, of unknown end, throttled.
	pub, stopPub := p.start(p.config("publisher", publishers), worker.RolePublisher)
	p.ready(pub)
	sender := p.config("sender", publishers)
	p.run(0, "--config", sender, "publish", "send-mail", "--wait", "--key", "one", "--data", mail("One", ""))
	p.send(admin, "outlook.publish.send-mail."+ann, nats.Header{"Nats-Msg-Id": {"two"}, "Outlook-Reply-To": {"_INBOX.answers.two"}}, mail("Two", ""))
	p.send(admin, "outlook.publish.send-mail."+ann, nil, mail("Without a key", ""))
	blob := p.putFile(4 << 20)
	p.send(admin, "outlook.publish.send-mail", nats.Header{"Nats-Msg-Id": {"three"}}, mail("Three", fmt.Sprintf(`,"attachments":[{"name":"file.bin","blob":%q}]`, blob)))
	p.send(admin, "outlook.publish.send-mail", nats.Header{"Nats-Msg-Id": {"four"}}, `{"payload":{"message":{"subject":"To nobody"}}}`)
	p.Control(sandbox.Match{Method: "POST", Route: "/me/sendMail"}, sandbox.FailBefore(429, "TooManyRequests", "1"))
	p.send(admin, "outlook.publish.send-mail", nats.Header{"Nats-Msg-Id": {"five"}}, mail("Five", ""))
	for i := range 200 {
		p.send(admin, "outlook.publish.send-mail", nats.Header{"Nats-Msg-Id": {fmt.Sprintf("many-%d", i)}}, mail("Many", ""))
	}
	p.until("outcomes", func() bool { return messages(js, "OUTLOOK_RESULT") >= 206 && messages(js, "OUTLOOK_PUBLISH") == 0 })
	if n := messages(js, "OUTLOOK_DLQ"); n != 3 {
		p.fail("%d dead letters, want 3:\n%s", n, p.run(0, "--config", p.config("operator", publishers), "dlq", "list"))
	}

	for _, subject := range []string{"outlook.sem.", "outlook.park.", "outlook.use.", "outlook.want.", "$JS.API.CONSUMER.MSG.NEXT.OUTLOOK_DLQ."} {
		p.wait("publisher", subject)
	}

	p.operate(p.config("operator", fmt.Sprintf(subscriptions, "")+publishers))

	// On the way down everybody gives back what they hold.
	stopPub()
	stopSub()
	stopOwner()
	p.run(0, "--config", p.file("operator"), "audit", "verify")
}

func (p *plant) file(role string) string { return p.dir + "/" + role + ".yaml" }

// forget empties a stream.
func (p *plant) forget(js jetstream.JetStream, stream string) {
	s, err := js.Stream(p.ctx, stream)
	if err == nil {
		err = s.Purge(p.ctx)
	}
	if err != nil {
		p.fail("empty %s: %v", stream, err)
	}
}

func (p *plant) signIn(owner *worker.Worker) {
	if _, err := sandbox.SignIn(p.ctx, p.http, owner.HTTPURL()+"/oauth/start/contoso", ann); err != nil {
		p.fail("sign-in: %v", err)
	}
}

// operate does what an operator does.
func (p *plant) operate(file string) {
	run := func(args ...string) string { return p.run(0, append([]string{"--config", file}, args...)...) }
	run("feeds", "list")
	run("feeds", "pause", "inbox")
	run("feeds", "resync", "inbox")
	run("feeds", "resume", "inbox")
	var letters []struct {
		ID      int    `json:"dlq_id"`
		Kind    string `json:"kind"`
		Outcome string `json:"outcome"`
	}
	if err := json.Unmarshal([]byte(run("dlq", "list", "--output", "json")), &letters); err != nil || len(letters) != 3 {
		p.fail("dead letters %v: %v", letters, err)
	}
	for _, letter := range letters {
		id := fmt.Sprint(letter.ID)
		run("dlq", "show", id)
		if letter.Kind == "publish" && letter.Outcome == "failed" {
			run("dlq", "redrive", id, "--set", `payload.message.toRecipients=[{"emailAddress":{"address":"`+ben+`"}}]`)
		} else {
			run("dlq", "discard", id)
		}
	}
	run("audit", "list")
	run("audit", "verify")
	run("config", "check")
}

// wait waits until a role has published to a subject that begins so.
func (p *plant) wait(role, prefix string) {
	p.until(role+" to publish to "+prefix, func() bool {
		published, _ := p.wires[role].used()
		return slices.ContainsFunc(published, func(s string) bool { return strings.HasPrefix(s, prefix) })
	})
}

// ready waits until a process is ready.
func (p *plant) ready(w *worker.Worker) {
	p.until("a process that is ready", func() bool { return health.Ready(w.Conditions(p.ctx)) })
}

func primed(w *worker.Worker, n int) bool {
	count := 0
	for _, f := range w.Status(context.Background()).Feeds {
		if f.Phase == "changes" {
			count++
		}
	}
	return count >= n
}

func feeds(js jetstream.JetStream) int {
	n := 0
	s, err := js.Stream(context.Background(), "OUTLOOK_FEEDS")
	if err != nil {
		return 0
	}
	info, err := s.Info(context.Background(), jetstream.WithSubjectFilter("outlook.feed.>"))
	if err != nil {
		return 0
	}
	for range info.State.Subjects {
		n++
	}
	return n - 1 // one looks for folders
}

func messages(js jetstream.JetStream, stream string) uint64 {
	s, err := js.Stream(context.Background(), stream)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}

// change brings every stream and consumer into a state that setup changes back.
func (p *plant) change(js jetstream.JetStream) {
	for s := range js.ListStreams(p.ctx).Info() {
		c := s.Config
		c.MaxMsgs = 1 << 30
		if strings.HasPrefix(c.Name, "OBJ_") {
			c.MaxMsgs, c.MaxAge = -1, time.Hour
		}
		if _, err := js.UpdateStream(p.ctx, c); err != nil {
			p.fail("change %s: %v", c.Name, err)
		}
	}
	for stream, name := range map[string]string{"OUTLOOK_FEEDS": "poll", "OUTLOOK_PUBLISH": "publish"} {
		consumer, err := js.Consumer(p.ctx, stream, name)
		if err != nil {
			p.fail("change %s: %v", name, err)
		}
		c := consumer.CachedInfo().Config
		c.MaxAckPending = 7
		if _, err := js.UpdateConsumer(p.ctx, stream, c); err != nil {
			p.fail("change %s: %v", name, err)
		}
	}
}

func (p *plant) mustBeAsBefore(js jetstream.JetStream) {
	for s := range js.ListStreams(p.ctx).Info() {
		if s.Config.MaxMsgs != -1 || strings.HasPrefix(s.Config.Name, "OBJ_") && s.Config.MaxAge == time.Hour {
			p.fail("%s was not changed back", s.Config.Name)
		}
	}
}

func (p *plant) deliver(subject, body string) {
	if _, err := p.Deliver(sandbox.Mail{To: []string{ann}, Subject: subject, Body: body}); err != nil {
		p.fail("deliver: %v", err)
	}
}

// putFile puts a file into the object store, as a program that wants it sent does.
func (p *plant) putFile(size int) (ref string) {
	conn, err := jet.Connect(p.ctx, jet.Options{URL: p.admin, FailFast: true})
	if err != nil {
		p.fail("connect: %v", err)
	}
	defer func() { _ = conn.Close(p.ctx) }()
	ref, _, _, err = conn.PutBlobFrom(p.ctx, "file", bytes.NewReader(bytes.Repeat([]byte("x"), size)))
	if err != nil {
		p.fail("put a file: %v", err)
	}
	return ref
}

func (p *plant) look(url string) {
	resp, err := p.http.Get(url)
	if err != nil {
		p.fail("%s: %v", url, err)
	}
	_ = resp.Body.Close()
}

func (p *plant) send(nc *nats.Conn, subject string, header nats.Header, body string) {
	m := &nats.Msg{Subject: subject, Header: header, Data: []byte(body)}
	if _, err := nc.RequestMsgWithContext(p.ctx, m); err != nil {
		p.fail("send to %s: %v", subject, err)
	}
}

func mail(subject, more string) string {
	return fmt.Sprintf(`{"payload":{"message":{"subject":%q,"body":{"content":"It works."},"toRecipients":[{"emailAddress":{"address":%q}}]%s}}}`, subject, ben, more)
}

// listen runs outlook-connector listen beside the rest.
func (p *plant) listen(file string) (heard func() string, stop func()) {
	out := &buffer{}
	ctx, cancel := context.WithCancel(p.ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		_ = cli.Main(ctx, []string{"--config", file, "listen", "inbox", "--output", "json"}, strings.NewReader(""), out, out)
	})
	stop = func() { cancel(); listening.Wait() }
	p.t.Cleanup(stop)
	p.wait("listener", "$JS.API.CONSUMER.MSG.NEXT.")
	return out.String, stop
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }

func (b *buffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }
