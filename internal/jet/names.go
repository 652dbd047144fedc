package jet

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"outlook-connector/internal/fault"
)

// DefaultPrefix is the first token of every subject and, in capitals, the start
// of every stream name where the configuration names no other.
const DefaultPrefix = "outlook"

// Names builds every subject and stream name. The zero value uses
// [DefaultPrefix]. Builders refuse a part that would change the meaning of the
// subject (a wildcard, white space, an empty token), with kind Poison and code
// "bad_subject".
type Names struct {
	// Prefix replaces "outlook", so that several connectors can share an
	// account: "sales" gives outlook → sales and OUTLOOK_EVENTS → SALES_EVENTS.
	Prefix string
}

// wordPattern is what the names of clients, subscriptions, publishers and
// prefixes look like.
var wordPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// partPattern is what [Part] returns, and the parts of feeds that follow which
// folders and which members there are.
var partPattern = regexp.MustCompile(`^(-|[0-9a-f]{16}|folders|members)$`)

// movedPart stands where indexes have their part: no feed has that one.
const movedPart = "moved"

const (
	maxMailbox = 320 // 64 before the @, 255 after it: https://www.rfc-editor.org/rfc/rfc3696#section-3
	maxID      = 256 // of a command, its publisher's name and a redrive mark included
)

// Validate says whether the prefix can be used.
func (n Names) Validate() error {
	if n.Prefix != "" && !wordPattern.MatchString(n.Prefix) {
		return fault.New(fault.Fatal, "nats prefix %q is not of the form %s", n.Prefix, wordPattern).WithHint("set nats.prefix to one lower-case word")
	}
	return nil
}

func (n Names) subject(tokens ...string) string {
	prefix := n.Prefix
	if prefix == "" {
		prefix = DefaultPrefix
	}
	size := len(prefix)
	for _, token := range tokens {
		size += len(".") + len(token)
	}
	var b strings.Builder
	b.Grow(size) // one object: these are made for each message
	b.WriteString(prefix)
	for _, token := range tokens {
		b.WriteByte('.')
		b.WriteString(token)
	}
	return b.String()
}

func (n Names) stream(name string) string {
	prefix := n.Prefix
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return strings.ToUpper(prefix) + "_" + name
}

// EventsStream holds events, cursors and indexes.
func (n Names) EventsStream() string { return n.stream("EVENTS") }

// FeedsStream holds one message for each feed.
func (n Names) FeedsStream() string { return n.stream("FEEDS") }

// PublishStream holds commands that wait.
func (n Names) PublishStream() string { return n.stream("PUBLISH") }

// LedgerStream holds how far each command came.
func (n Names) LedgerStream() string { return n.stream("LEDGER") }

// ResultStream holds the outcome of each command.
func (n Names) ResultStream() string { return n.stream("RESULT") }

// DeadStream holds dead letters.
func (n Names) DeadStream() string { return n.stream("DLQ") }

// SlotsStream holds the slots of mailboxes, and what workers tell each other
// about them.
func (n Names) SlotsStream() string { return n.stream("SEM") }

// TokenStream holds the lease of the token owner.
func (n Names) TokenStream() string { return n.stream("TOKEN") }

// AuditStream holds the record of who had what done.
func (n Names) AuditStream() string { return n.stream("AUDIT") }

// BlobBucket is the object store of bodies that are too large for a message.
func (n Names) BlobBucket() string { return n.stream("BLOB") }

// Event is the subject of a subscription's events in a mailbox.
func (n Names) Event(subscription, mailbox string) (string, error) {
	return n.withMailbox(mailbox, word{"event", true}, word{subscription, false})
}

// Events is the filter for a subscription's events in a mailbox. An empty
// subscription means all of them, an empty mailbox all mailboxes.
func (n Names) Events(subscription, mailbox string) (string, error) {
	if subscription == "" {
		if mailbox == "" {
			return n.subject("event", ">"), nil
		}
		tail, err := Mailbox(mailbox)
		if err != nil {
			return "", err
		}
		return n.subject("event", "*", tail), nil
	}
	if mailbox != "" {
		return n.Event(subscription, mailbox)
	}
	if err := checkWord(subscription); err != nil {
		return "", err
	}
	return n.subject("event", subscription, ">"), nil
}

// Cursor is the subject of the place a feed has reached.
func (n Names) Cursor(subscription, part, mailbox string) (string, error) {
	return n.ofFeed("cursor", subscription, part, mailbox)
}

// Index is the subject of a piece of a feed's index. The segment is the piece's
// id; "*" gives the filter for all of them.
func (n Names) Index(subscription, part, segment, mailbox string) (string, error) {
	if !partPattern.MatchString(part) {
		return "", badSubject("part %q is not what Part returns", part)
	}
	return n.withMailbox(mailbox, word{"index", true}, word{subscription, false}, word{part, true}, word{segment, segment == "*"})
}

// Moved is the subject of the marker of items that moved between the folders of
// a subscription in a mailbox.
func (n Names) Moved(subscription, mailbox string) (string, error) {
	return n.withMailbox(mailbox, word{"index", true}, word{subscription, false}, word{movedPart, true}, word{"0", true})
}

// segmentOf returns the id in a subject that Index built.
func (n Names) segmentOf(subject string) string {
	tokens := strings.SplitN(strings.TrimPrefix(subject, n.subject("index")+"."), ".", 4)
	if len(tokens) < 4 {
		return ""
	}
	return tokens[2]
}

// Feed is the subject of a feed's message in the queue of polls.
func (n Names) Feed(subscription, part, mailbox string) (string, error) {
	return n.ofFeed("feed", subscription, part, mailbox)
}

func (n Names) ofFeed(kind, subscription, part, mailbox string) (string, error) {
	if !partPattern.MatchString(part) {
		return "", badSubject("part %q is not what Part returns", part)
	}
	return n.withMailbox(mailbox, word{kind, true}, word{subscription, false}, word{part, true})
}

// FeedName is what the subject of a feed or a cursor says.
type FeedName struct{ Subscription, Part, Mailbox string }

// ParseFeed reads a subject that [Names.Feed] or [Names.Cursor] built.
func (n Names) ParseFeed(subject string) (FeedName, error) {
	for _, kind := range []string{"feed", "cursor"} {
		rest, ok := strings.CutPrefix(subject, n.subject(kind)+".")
		if !ok {
			continue
		}
		if tokens := strings.SplitN(rest, ".", 3); len(tokens) == 3 {
			return FeedName{Subscription: tokens[0], Part: tokens[1], Mailbox: tokens[2]}, nil
		}
	}
	return FeedName{}, badSubject("%q is no subject of a feed", subject)
}

// Publish is the subject of commands for a publisher, in no order.
func (n Names) Publish(publisher string) (string, error) {
	if err := checkWord(publisher); err != nil {
		return "", err
	}
	return n.subject("publish", publisher), nil
}

// PublishTo is the subject of commands for a publisher and a mailbox, in order.
func (n Names) PublishTo(publisher, mailbox string) (string, error) {
	return n.withMailbox(mailbox, word{"publish", true}, word{publisher, false})
}

// ParsePublish reads a subject that [Names.Publish] or [Names.PublishTo] built.
// The mailbox is empty where the subject has none.
func (n Names) ParsePublish(subject string) (publisher, mailbox string, err error) {
	rest, ok := strings.CutPrefix(subject, n.subject("publish")+".")
	publisher, mailbox, _ = strings.Cut(rest, ".")
	if !ok || checkWord(publisher) != nil {
		return "", "", badSubject("%q is no subject of a command", subject)
	}
	return publisher, mailbox, nil
}

// Ledger is the subject of a command's ledger record. The id may have several
// tokens, such as "<publisher>.<id>".
func (n Names) Ledger(id string) (string, error) { return n.withID("ledger", id) }

// Result is the subject of a command's outcome.
func (n Names) Result(id string) (string, error) { return n.withID("result", id) }

// DeadCommand is the subject of a publisher's dead letters.
func (n Names) DeadCommand(publisher string) (string, error) {
	if err := checkWord(publisher); err != nil {
		return "", err
	}
	return n.subject("dlq", "publish", publisher), nil
}

// DeadEvent is the subject of a subscription's dead letters in a mailbox.
func (n Names) DeadEvent(subscription, mailbox string) (string, error) {
	return n.withMailbox(mailbox, word{"dlq", true}, word{"event", true}, word{subscription, false})
}

// Dead is the filter for all dead letters.
func (n Names) Dead() string { return n.subject("dlq", ">") }

// Token is the subject on which the owner of a client's grant gives access
// tokens. An empty client gives the subject for all of them.
func (n Names) Token(client string) (string, error) {
	if client == "" {
		return n.subject("token", "v1", "get", "*"), nil
	}
	if err := checkWord(client); err != nil {
		return "", err
	}
	return n.subject("token", "v1", "get", client), nil
}

// Audit is the subject of a chain of the audit record. An empty chain gives the
// filter for all of them.
func (n Names) Audit(chain string) (string, error) {
	if chain == "" {
		return n.subject("audit", ">"), nil
	}
	return n.withID("audit", chain)
}

// chainOf returns the chain in a subject that Audit built.
func (n Names) chainOf(subject string) string {
	return strings.TrimPrefix(subject, n.subject("audit")+".")
}

// tokenOwner is the subject of the lease of the token owner.
func (n Names) tokenOwner() string { return n.subject("token", "v1", "owner") }

// word is one token of a subject; fixed ones are ours and need no check.
type word struct {
	text  string
	fixed bool
}

func (n Names) withMailbox(mailbox string, words ...word) (string, error) {
	tokens := make([]string, 0, len(words)+1)
	for _, w := range words {
		if !w.fixed {
			if err := checkWord(w.text); err != nil {
				return "", err
			}
		}
		tokens = append(tokens, w.text)
	}
	tail, err := Mailbox(mailbox)
	if err != nil {
		return "", err
	}
	return n.subject(append(tokens, tail)...), nil
}

func (n Names) withID(kind, id string) (string, error) {
	if len(id) > maxID {
		return "", badSubject("id of %d bytes is longer than %d", len(id), maxID)
	}
	if err := checkTokens(id); err != nil {
		return "", err
	}
	return n.subject(kind, id), nil
}

func checkWord(name string) error {
	if !isWord(name) {
		return badSubject("name %q is not of the form %s", name, wordPattern)
	}
	return nil
}

// isWord reports whether wordPattern matches: it is asked of each message.
func isWord(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Mailbox returns the form of a mailbox that stands in subjects: its ASCII
// letters in lower case, the rest as it is. "me" and "-" stay. It refuses what
// NATS would read as something else, and letters outside ASCII that have a
// lower-case form, because those forms can meet (the Kelvin sign and k): two
// mailboxes that differ by more than ASCII case never get one subject.
func Mailbox(mailbox string) (string, error) {
	if len(mailbox) > maxMailbox {
		return "", badSubject("mailbox of %d bytes is longer than %d", len(mailbox), maxMailbox)
	}
	if err := checkTokens(mailbox); err != nil {
		return "", err
	}
	for _, r := range mailbox {
		if r >= utf8.RuneSelf && unicode.ToLower(r) != r {
			return "", badSubject("mailbox %q: write the letter %q in lower case", mailbox, r)
		}
	}
	return strings.ToLower(mailbox), nil
}

// checkTokens refuses text that would not stand in a subject as it is:
// https://docs.nats.io/nats-concepts/subjects#characters-allowed-and-recommended-for-subject-names
func checkTokens(text string) error {
	if !utf8.ValidString(text) {
		return badSubject("%q is not UTF-8", text)
	}
	for token := range strings.SplitSeq(text, ".") {
		if token == "" {
			return badSubject("%q is empty, or begins or ends with a dot, or has two in a row", text)
		}
	}
	for _, r := range text {
		if r == '*' || r == '>' || r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return badSubject("%q has the character %q", text, r)
		}
	}
	return nil
}

func badSubject(format string, args ...any) error {
	return fault.New(fault.Poison, format, args...).WithCode("bad_subject")
}

// Part is the token of a feed's container (a folder, a list, a calendar window)
// in subjects: "-" for none, else 16 hexadecimal digits of the SHA-256 of its
// id, because Graph's ids are long, and differ by case alone.
func Part(containerID string) string {
	if containerID == "" {
		return "-"
	}
	sum := sha256.Sum256([]byte(containerID))
	return hex.EncodeToString(sum[:8])
}
