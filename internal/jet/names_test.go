package jet_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestSubjectsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	n := jet.Names{}
	part := jet.Part("AAMkAGI2")
	for _, row := range []struct{ got, want string }{
		{must(n.Event("inbox", "Ann@Contoso.com")), "outlook.event.inbox.ann@contoso.com"},
		{must(n.Events("inbox", "")), "outlook.event.inbox.>"},
		{must(n.Events("", "")), "outlook.event.>"},
		{must(n.Events("", "me")), "outlook.event.*.me"},
		{must(n.Cursor("inbox", part, "me")), "outlook.cursor.inbox." + part + ".me"},
		{must(n.Feed("inbox", "-", "me")), "outlook.feed.inbox.-.me"},
		{must(n.Publish("send-mail")), "outlook.publish.send-mail"},
		{must(n.PublishTo("send-mail", "ann@contoso.com")), "outlook.publish.send-mail.ann@contoso.com"},
		{must(n.Ledger("send-mail.4711")), "outlook.ledger.send-mail.4711"},
		{must(n.Result("OUTLOOK_PUBLISH-17")), "outlook.result.OUTLOOK_PUBLISH-17"},
		{must(n.DeadCommand("send-mail")), "outlook.dlq.publish.send-mail"},
		{must(n.DeadEvent("inbox", "me")), "outlook.dlq.event.inbox.me"},
		{must(n.Token("contoso")), "outlook.token.v1.get.contoso"},
		{n.EventsStream(), "OUTLOOK_EVENTS"},
		{n.BlobBucket(), "OUTLOOK_BLOB"},
		{jet.Names{Prefix: "sales"}.EventsStream(), "SALES_EVENTS"},
		{must(jet.Names{Prefix: "sales"}.Publish("x")), "sales.publish.x"},
	} {
		if row.got != row.want {
			t.Errorf("got %s, want %s", row.got, row.want)
		}
	}
}

func TestWhatWouldChangeASubjectIsRefused(t *testing.T) {
	t.Parallel()
	n := jet.Names{}
	for _, mailbox := range []string{
		"", "*", ">", "a*b", "ann@contoso.com.>", "ann contoso", ".ann", "ann.", "a..b", "a\tb", "a\x00b", "a\r\nPUB x 1",
		"\xff", "a\u2028b", "\u212a@contoso.com" /* the Kelvin sign */, "É@contoso.com", strings.Repeat("a", 321),
	} {
		subject, err := n.Event("inbox", mailbox)
		if err == nil {
			t.Errorf("mailbox %q gave %q", mailbox, subject)
		} else if fault.KindOf(err) != fault.Poison {
			t.Errorf("mailbox %q: kind %s, want poison", mailbox, fault.KindOf(err))
		}
	}
	for _, name := range []string{"", "Inbox", "a.b", "*", "-a", "a b", strings.Repeat("a", 64)} {
		if subject, err := n.Publish(name); err == nil {
			t.Errorf("publisher %q gave %q", name, subject)
		}
		if _, err := n.Cursor(name, "-", "me"); err == nil {
			t.Errorf("subscription %q was taken", name)
		}
		if err := (jet.Names{Prefix: name}).Validate(); err == nil && name != "" {
			t.Errorf("prefix %q was taken", name)
		}
	}
	if _, err := n.Feed("inbox", "some folder", "me"); err == nil {
		t.Error("a part that is no hash was taken")
	}
	for _, id := range []string{"", "a b", "a.*", ">", strings.Repeat("a", 257)} {
		if _, err := n.Ledger(id); err == nil {
			t.Errorf("id %q was taken", id)
		}
	}
}

func TestSubjectsReadBack(t *testing.T) {
	t.Parallel()
	n := jet.Names{Prefix: "sales"}
	feed := jet.FeedName{Subscription: "inbox", Part: jet.Part("x"), Mailbox: "ann.b@contoso.co.uk"}
	if got := must(n.ParseFeed(must(n.Feed(feed.Subscription, feed.Part, feed.Mailbox)))); got != feed {
		t.Errorf("got %+v", got)
	}
	if got := must(n.ParseFeed(must(n.Cursor(feed.Subscription, feed.Part, feed.Mailbox)))); got != feed {
		t.Errorf("got %+v", got)
	}
	for _, subject := range []string{"outlook.feed.a.-.me", "sales.feed.a.-", "sales.event.a.me", ""} {
		if _, err := n.ParseFeed(subject); err == nil {
			t.Errorf("%q was read as a feed", subject)
		}
	}
	publisher, mailbox, err := n.ParsePublish("sales.publish.send-mail.ann@contoso.com")
	if publisher != "send-mail" || mailbox != "ann@contoso.com" || err != nil {
		t.Errorf("got %q, %q, %v", publisher, mailbox, err)
	}
	if _, _, err := n.ParsePublish("sales.publish."); err == nil {
		t.Error("a subject without a publisher was read")
	}
}

func TestTwoMailboxesNeverShareASubject(t *testing.T) {
	t.Parallel()
	n := jet.Names{}
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]rune("aAbBkK\u212a.@-_*> é\u0130ı'#"))
		a := rapid.StringOf(alphabet).Draw(t, "a")
		b := rapid.StringOf(alphabet).Draw(t, "b")
		subjectA, errA := n.Event("inbox", a)
		subjectB, errB := n.Event("inbox", b)
		if errA != nil || errB != nil {
			return
		}
		if (subjectA == subjectB) != (asciiLower(a) == asciiLower(b)) {
			t.Fatalf("%q and %q give %q and %q", a, b, subjectA, subjectB)
		}
	})
}

func TestPartTellsIDsApartByCase(t *testing.T) {
	t.Parallel()
	if jet.Part("AAMk") == jet.Part("aamk") {
		t.Error("ids that differ by case share a part")
	}
	if jet.Part("") != "-" || len(jet.Part("x")) != 16 {
		t.Errorf("got %q and %q", jet.Part(""), jet.Part("x"))
	}
}

// FuzzMailbox: whatever is taken is one literal subject that the server
// understands as such, and taking it again changes nothing.
func FuzzMailbox(f *testing.F) {
	for _, seed := range []string{"me", "-", "Ann@Contoso.com", "a..b", "*", ">", "a b", "\xff", "\u212a", "x#EXT#@y.onmicrosoft.com", "\u0085"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, mailbox string) {
		got, err := jet.Mailbox(mailbox)
		if err != nil {
			return
		}
		if strings.ContainsAny(got, "*> \t\r\n\x00") || strings.HasPrefix(got, ".") || strings.HasSuffix(got, ".") || strings.Contains(got, "..") || got == "" {
			t.Fatalf("%q became %q", mailbox, got)
		}
		if got != asciiLower(mailbox) {
			t.Fatalf("%q became %q: more than its ASCII letters changed", mailbox, got)
		}
		again, err := jet.Mailbox(got)
		if err != nil || again != got {
			t.Fatalf("%q became %q, then %q (%v)", mailbox, got, again, err)
		}
		feed := must(jet.Names{}.ParseFeed(must(jet.Names{}.Feed("s", "-", mailbox))))
		if feed.Mailbox != got {
			t.Fatalf("%q reads back as %q", got, feed.Mailbox)
		}
	})
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func TestTheServerTakesOddMailboxes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	for _, mailbox := range []string{"-", "me", "o'brien@contoso.com", "x_y#ext#@contoso.com", "a^b~c!@d", "jürgen@contoso.com", "$js.api@x"} {
		subject := must(c.Names().Cursor("inbox", "-", mailbox))
		if _, err := c.Commit(t.Context(), jet.Page{CursorSubject: subject, Cursor: []byte(mailbox)}); err != nil {
			t.Errorf("%s: %v", mailbox, err)
			continue
		}
		if got, _, err := c.Cursor(t.Context(), subject); err != nil || string(got) != mailbox {
			t.Errorf("%s reads back as %q (%v)", mailbox, got, err)
		}
	}
	js := must(jetstream.New(w.raw()))
	info := must(must(js.Stream(t.Context(), "OUTLOOK_EVENTS")).Info(t.Context()))
	if info.State.NumSubjects != 7 {
		t.Errorf("%d subjects stored, want 7", info.State.NumSubjects)
	}
}
