package jet

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// Subjects of slots have the app id and the mailbox in them. Neither is checked
// by whoever configures or sends them as strictly as NATS wants it, and a slot
// must not be refused for a name, so what NATS would not take is escaped.

// slotSubject is the subject of slot n, from 1 on, of an app and a mailbox.
func (n Names) slotSubject(app string, number int, mailbox string) string {
	return n.subject("sem", escape(app, false), strconv.Itoa(number), escape(mailbox, true))
}

// slotEpoch is the subject of the message by which workers see that the server
// has lost the slots. No slot has so few tokens.
func (n Names) slotEpoch() string { return n.subject("sem", "epoch") }

// park is the subject of a mailbox that is to be left alone.
func (n Names) park(app, mailbox string) string {
	return n.subject("park", escape(app, false), escape(mailbox, true))
}

// use is the subject of what was used of a mailbox's windows.
func (n Names) use(app, mailbox string) string {
	return n.subject("use", escape(app, false), escape(mailbox, true))
}

// who is the subject under which it stands which mailbox a name means.
func (n Names) who(app, name string) string {
	return n.subject("who", escape(app, false), escape(name, true))
}

// want is the subject on which workers say that they wait for a slot, or that
// they gave one back. It is in no stream.
func (n Names) want(app, mailbox string) string {
	return n.subject("want", escape(app, false), escape(mailbox, true))
}

// ofApp is the filter for all subjects of a kind and an app.
func (n Names) ofApp(kind, app string) string { return n.subject(kind, escape(app, false), ">") }

// tail returns the mailbox of a subject of a kind and an app.
func (n Names) tail(kind, app, subject string) (string, bool) {
	text, ok := strings.CutPrefix(subject, n.subject(kind, escape(app, false))+".")
	if !ok {
		return "", false
	}
	return unescape(text)
}

// escape writes text as a subject token, or with dots as tokens: everything but
// letters, digits and a few marks as = and two hexadecimal digits. Different
// texts stay different.
func escape(text string, dots bool) string {
	if text == "" {
		return "=" // nothing else is a lone =
	}
	n := 0
	for n < len(text) && stands(text, n, dots) {
		n++
	}
	if n == len(text) {
		return text // as nearly all do
	}
	var b strings.Builder
	b.WriteString(text[:n])
	for i := n; i < len(text); i++ {
		if stands(text, i, dots) {
			b.WriteByte(text[i])
			continue
		}
		b.WriteByte('=')
		b.WriteString(hex.EncodeToString([]byte{text[i]}))
	}
	return b.String()
}

// stands reports whether a byte of a text may stand for itself.
func stands(text string, i int, dots bool) bool {
	switch c := text[i]; {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '@', c == '+':
		return true
	default:
		return c == '.' && dots && i > 0 && i < len(text)-1 && text[i-1] != '.'
	}
}

// unescape reads what escape wrote.
func unescape(text string) (string, bool) {
	if text == "=" {
		return "", true
	}
	if !strings.Contains(text, "=") {
		return text, true
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '=' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		c, err := hex.DecodeString(text[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.Write(c)
		i += 2
	}
	return b.String(), true
}
