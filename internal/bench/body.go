package bench

import (
	"bytes"
	"fmt"
	"strings"
)

// minItem is the smallest item in bytes: the members that every message has.
const minItem = 1 << 10

// mark stands where an item's number belongs, in 16 hexadecimal digits.
const mark = "0123456789abcdef"

// items makes messages of one size that differ in their number only. One
// goroutine uses it.
type items struct {
	one   []byte
	marks []int // where the number stands
}

// newItems makes messages of about size bytes each, at least 1 KiB. They look
// like Graph's: members in its order, long ids, and a body of HTML with what
// JSON must escape.
func newItems(size int) *items {
	head := fmt.Sprintf(`{"@odata.etag":"W/\"CQAAABYAAAB%[1]s\"","id":"AAMkAGI2%[2]s%[1]s","createdDateTime":"2026-03-01T10:00:00Z",`+
		`"lastModifiedDateTime":"2026-03-01T10:00:00Z","changeKey":"CQAAABYAAAB%[1]s","categories":[],"receivedDateTime":"2026-03-01T10:00:00Z",`+
		`"sentDateTime":"2026-03-01T09:59:58Z","hasAttachments":false,"internetMessageId":"<%[1]s@mail.contoso.example>",`+
		`"subject":"Minutes of the meeting","bodyPreview":"Dear all, here are the minutes.","importance":"normal","parentFolderId":"AQMkAGI2",`+
		`"isRead":false,"isDraft":false,"body":{"contentType":"html","content":"`, mark, strings.Repeat("TG9uZ0lk", 12))
	const tail = `"},"sender":{"emailAddress":{"name":"Ann","address":"ann@contoso.example"}},` +
		`"from":{"emailAddress":{"name":"Ann","address":"ann@contoso.example"}},` +
		`"toRecipients":[{"emailAddress":{"name":"Bob","address":"bob@contoso.example"}}]}`
	const line = `<p class=\"MsoNormal\">The quick brown fox jumps over the lazy dog; caf\u00e9, na\u00efve.</p>\r\n`
	room := max(size, minItem) - len(head) - len(tail)
	body := strings.Repeat(line, room/len(line))
	body += strings.Repeat("x", room-len(body))
	it := &items{one: []byte(head + body + tail)}
	for from := 0; ; {
		at := bytes.Index(it.one[from:], []byte(mark))
		if at < 0 {
			return it
		}
		it.marks = append(it.marks, from+at)
		from += at + len(mark)
	}
}

// appendTo appends the item with the number.
func (it *items) appendTo(to []byte, number uint64) []byte {
	start := len(to)
	to = append(to, it.one...)
	for _, at := range it.marks {
		putHex(to[start+at:], number)
	}
	return to
}

// putHex writes 16 hexadecimal digits.
func putHex(to []byte, number uint64) {
	const digits = "0123456789abcdef"
	for i := len(mark) - 1; i >= 0; i-- {
		to[i], number = digits[number&15], number>>4
	}
}
