package publisher

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/fault"
)

// The headers of a command.
const (
	headerMsgID     = "Nats-Msg-Id"
	headerReplyTo   = "Outlook-Reply-To"
	headerDelivery  = "Outlook-Delivery"
	headerNotBefore = "Outlook-Not-Before"
	headerExpires   = "Outlook-Expires"
)

// Message is one delivery of a command.
type Message struct {
	// Publisher is the token of the subject behind "publish".
	Publisher string
	// Mailbox is the tail of the subject behind the publisher, or "".
	Mailbox string
	// Subject is the whole subject, for the dead letter.
	Subject string
	// Stream and Sequence say where it is stored: the same in every delivery.
	Stream   string
	Sequence uint64
	// Header are its headers; Data is its body. Neither is changed.
	Header map[string][]string
	Data   []byte
	// Received is when the stream stored it: the same in every delivery.
	Received time.Time
	// Fresh says that the message was not delivered before, as far as the caller
	// knows. Then the ledger is not asked for a record first: the first write
	// fails where there is one. A wrong hint costs a command of [AtLeastOnce] without
	// a key one effect more, or a Retry-After that was written down; others nothing.
	Fresh bool
	// Deadline returns the moment from which somebody else may be given the
	// message, as far as the caller knows (it moves with each heartbeat). It is
	// asked right before a request that cannot be taken back. Nil means never.
	Deadline func() time.Time

	said *said // nil: nobody has read it yet
}

// said is what a message says, or what is wrong with it.
type said struct {
	request request
	err     error
}

// read returns what the message says. It is read once, but for a payload in base64: what
// is put into the request later must leave its maps as they are.
func (m *Message) read() (request, error) {
	if m.said == nil {
		r, err := decode("the message", m.Data)
		if r.raw != nil { // a copy, which would be held while the command waits
			return r, err
		}
		m.said = &said{r, err}
	}
	return m.said.request, m.said.err
}

// Verdict is what is to be done with a delivery. The zero value gives it back
// at once.
type Verdict struct {
	// Ack says that the command has ended and everybody was told: it may leave
	// the queue.
	Ack bool
	// After is when it is to be delivered again, where Ack is false.
	After time.Duration
}

// Ack lets the message leave the queue.
func Ack() Verdict { return Verdict{Ack: true} }

// Again gives the message back, to be delivered after a delay.
func Again(after time.Duration) Verdict { return Verdict{After: max(after, 0)} }

// identity is who a command is, in every delivery and every process.
type identity struct {
	// id names the command for its sender: the subject of its result.
	id string
	// key names its ledger record.
	key string
	// hash tells its text from another under the same key.
	hash string
	// source tells the stored message from another with the same text.
	source string
	// given says that the key is the sender's: another message may have it, too.
	given bool
}

// identify works out a message's identity.
//
// A key made from stream and sequence also holds the time of arrival: a stream
// that was deleted and made again counts from one, and its commands must not
// be taken for those of the old one.
func identify(m *Message, publisher string) identity {
	// publisher.stream-sequence-time: the parts of one text.
	key := make([]byte, 0, 128)
	key = append(append(key, publisher...), '.')
	key = strconv.AppendUint(append(append(key, m.Stream...), '-'), m.Sequence, 10)
	place := len(key)
	key = strconv.AppendInt(append(key, '-'), m.Received.UnixMilli(), 36)
	who := identity{hash: digest(m.Data), key: string(key)}
	who.source = who.key[len(publisher)+1:]
	if given := first(m.Header, headerMsgID); given != "" {
		who.id, who.given = ResultID(given), true
		who.key = publisher + "." + who.id
		return who
	}
	who.id = who.key[len(publisher)+1 : place]
	return who
}

// digest is the SHA-256 of a text, in letters that fit a subject.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	var letters [(sha256.Size*8 + 5) / 6]byte
	base64.RawURLEncoding.Encode(letters[:], sum[:])
	return string(letters[:])
}

// ResultID returns the id under which the outcome of a command with this
// Nats-Msg-Id is told: the key itself where it fits a subject, else its hash.
func ResultID(key string) string {
	if plainID(key) {
		return key
	}
	return digest([]byte(key))
}

// plainID reports whether a caller's id matches [A-Za-z0-9_-]{1,64}.
func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return consistsOf(id, func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	})
}

// consistsOf reports whether every letter is one of those wanted.
func consistsOf(text string, wanted func(rune) bool) bool {
	for _, r := range text {
		if !wanted(r) {
			return false
		}
	}
	return true
}

// values returns the values of a header. Names are compared without regard to
// case, because some client libraries rewrite them.
func values(header map[string][]string, name string) []string {
	if found, ok := header[name]; ok {
		return found
	}
	for key, found := range header {
		if strings.EqualFold(key, name) {
			return found
		}
	}
	return nil
}

func first(header map[string][]string, name string) string {
	if found := values(header, name); len(found) > 0 {
		return found[0]
	}
	return ""
}

// terms are what a message's headers ask for.
type terms struct {
	delivery  Delivery
	notBefore time.Time // zero: now
	expires   time.Time // zero: never
}

// asks reports whether a message has any header that changes how its command is
// carried out. Most have none, and are not searched for each of them.
func asks(header map[string][]string) bool {
	const ours = "Outlook-"
	for name := range header {
		if len(name) > len(ours) && strings.EqualFold(name[:len(ours)], ours) {
			return true
		}
	}
	return false
}

// readTerms reads the headers that change how a command is carried out.
func readTerms(m *Message, def *definition) (terms, error) {
	t := terms{delivery: def.Delivery}
	if !asks(m.Header) {
		return t, nil
	}
	for _, name := range []string{headerReplyTo, headerDelivery, headerNotBefore, headerExpires} {
		if len(values(m.Header, name)) > 1 {
			return t, refuse("bad_header", "the header %s is there more than once", name)
		}
	}
	if asked := Delivery(first(m.Header, headerDelivery)); asked != "" {
		switch {
		case asked.strictness() < 0:
			return t, refuse("bad_header", "the header %s is %q", headerDelivery, clip(string(asked))).
				WithHint("it may be at_least_once, exactly_once or at_most_once")
		case asked.strictness() < def.Delivery.strictness():
			return t, refuse("delivery_not_allowed", "the header %s asks for %s, which is looser than the publisher's %s",
				headerDelivery, asked, def.Delivery).
				WithHint("a message may only tighten the delivery: at_least_once, exactly_once, at_most_once")
		}
		t.delivery = asked
	}
	var err error
	if t.notBefore, err = readTime(m.Header, headerNotBefore); err != nil {
		return t, err
	}
	if t.expires, err = readTime(m.Header, headerExpires); err != nil {
		return t, err
	}
	if t.notBefore.Sub(m.Received) > MaxNotBefore {
		return t, refuse("bad_header", "the header %s puts the command off by more than %d days", headerNotBefore, int(MaxNotBefore.Hours()/24)).
			WithHint("send it again nearer to its time")
	}
	if !t.expires.IsZero() && !t.notBefore.Before(t.expires) {
		return t, refuse("expired", "the command expires at %s, before it may begin at %s",
			t.expires.Format(time.RFC3339), t.notBefore.Format(time.RFC3339))
	}
	return t, nil
}

func readTime(header map[string][]string, name string) (time.Time, error) {
	text := first(header, name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, refuse("bad_header", "the header %s is %q", name, clip(text)).
			WithHint("write the time as in 2026-01-31T09:00:00Z (RFC 3339)")
	}
	return at, nil
}

// replyTo returns the subject that wants a copy of the outcome, or an error
// where the message may not choose it: an outcome holds what Outlook answered,
// and must not be sent wherever a stranger points.
func (w *Worker) replyTo(m *Message) (string, error) {
	if !asks(m.Header) {
		return "", nil
	}
	subject := first(m.Header, headerReplyTo)
	if subject == "" {
		return "", nil
	}
	allowed := false
	for _, prefix := range w.replyPrefixes {
		allowed = allowed || strings.HasPrefix(subject, prefix) && len(subject) > len(prefix)
	}
	if !allowed || !plainSubject(subject) {
		return "", refuse("reply_to_not_allowed", "the header %s names %q, which is no allowed subject", headerReplyTo, clip(subject)).
			WithHint("a reply subject begins with %s", strings.Join(w.replyPrefixes, " or "))
	}
	return subject, nil
}

// plainSubject reports whether a subject can be published to: no wildcards, no
// white space, no empty tokens.
func plainSubject(subject string) bool {
	if len(subject) > 512 || strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }) {
		return false
	}
	return !strings.HasPrefix(subject, ".") && !strings.HasSuffix(subject, ".") && !strings.Contains(subject, "..")
}

// refuse is the error of a command that will never succeed.
func refuse(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Poison, format, args...).WithCode(code)
}

// clip keeps a stranger's text from filling a sentence.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// list joins items for a sentence: a, b and c.
func list(items []string) string {
	switch len(items) {
	case 0:
		return "none"
	case 1:
		return items[0]
	default:
		return fmt.Sprintf("%s and %s", strings.Join(items[:len(items)-1], ", "), items[len(items)-1])
	}
}
