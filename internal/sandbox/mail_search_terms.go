package sandbox

// What one term of a $search means: a word anywhere, or a property with a value.

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

func (r *searchReader) term(t searchToken) (condition[*message], error) {
	people := func(get func(m *message) []recipient) (condition[*message], error) {
		return matchText(t, func(m *message) []string {
			var list []string
			for _, p := range get(m) {
				list = append(list, p.EmailAddress.Name, p.EmailAddress.Address)
			}
			return list
		}), nil
	}
	to := func(m *message) []recipient { return m.To }
	switch t.property {
	case "":
		return matchText(t, searchedText), nil
	case "subject":
		return matchText(t, func(m *message) []string { return []string{m.Subject} }), nil
	case "body":
		return matchText(t, func(m *message) []string { return []string{plainBody(m)} }), nil
	case "attachment":
		return matchText(t, attachmentNames), nil
	case "from":
		return people(senders)
	case "to":
		return people(to)
	case "cc":
		return people(func(m *message) []recipient { return m.Cc })
	case "bcc":
		return people(func(m *message) []recipient { return m.Bcc })
	case "recipients":
		return people(func(m *message) []recipient { return slices.Concat(m.To, m.Cc, m.Bcc) })
	case "participants":
		return people(func(m *message) []recipient { return slices.Concat(senders(m), m.To, m.Cc, m.Bcc) })
	case "hasattachments", "hasattachment":
		want, err := strconv.ParseBool(strings.ToLower(t.text))
		if err != nil {
			return nil, r.bad("'" + t.text + "' is neither true nor false")
		}
		return func(m *message) bool { return m.hasAttachments() == want }, nil
	case "importance":
		want := strings.ToLower(t.text)
		if want == "medium" { // KQL's word for it
			want = "normal"
		}
		return func(m *message) bool { return m.Importance == want }, nil
	case "kind":
		kind := strings.ToLower(t.text)
		return func(m *message) bool {
			return kind == "email" && m.Kind == "" || kind == "meetings" && m.Kind != ""
		}, nil
	case "received":
		return r.day(t, func(m *message) int64 { return m.Received })
	case "sent":
		return r.day(t, func(m *message) int64 { return m.Sent })
	case "size":
		return r.number(t, func(m *message) int64 { return messageSize(m) })
	}
	// Not a property of messages: it is text like any other.
	return matchText(searchToken{text: t.property + " " + t.text, phrase: true}, searchedText), nil
}

func senders(m *message) []recipient {
	var list []recipient
	for _, p := range []*recipient{m.From, m.Sender} {
		if p != nil {
			list = append(list, *p)
		}
	}
	return list
}

// searchedText is where a word without a property is looked for.
func searchedText(m *message) []string {
	list := []string{m.Subject, plainBody(m)}
	for _, p := range slices.Concat(senders(m), m.To, m.Cc, m.Bcc) {
		list = append(list, p.EmailAddress.Name, p.EmailAddress.Address)
	}
	return append(list, attachmentNames(m)...)
}

func plainBody(m *message) string {
	if m.Body.ContentType == "html" {
		return textOf(m.Body.Content)
	}
	return m.Body.Content
}

func attachmentNames(m *message) []string {
	var list []string
	for _, a := range m.Attachments {
		if a.Name != "" {
			list = append(list, a.Name)
		}
	}
	return list
}

// messageSize is about what a message takes.
func messageSize(m *message) int64 {
	n := int64(len(m.Subject) + len(m.Body.Content))
	for _, a := range m.Attachments {
		n += int64(a.Size)
	}
	return n
}

// searchWords cuts a text into words in lower case.
func searchWords(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// matchText looks for a word or a phrase; word* is the beginning of one.
func matchText(t searchToken, get func(*message) []string) condition[*message] {
	want := searchWords(t.text)
	prefix := strings.HasSuffix(t.text, "*")
	if len(want) == 0 {
		return func(*message) bool { return prefix } // a lone star
	}
	return func(m *message) bool {
		for _, text := range get(m) {
			have := searchWords(text)
			for i := 0; i+len(want) <= len(have); i++ {
				last := i + len(want) - 1
				if slices.Equal(have[i:last], want[:len(want)-1]) &&
					(have[last] == want[len(want)-1] || prefix && strings.HasPrefix(have[last], want[len(want)-1])) {
					return true
				}
			}
		}
		return false
	}
}

// day compares a time with a day, a time, a range a..b, today or yesterday.
func (r *searchReader) day(t searchToken, get func(*message) int64) (condition[*message], error) {
	from, to, err := r.span(t.text)
	if err != nil {
		return nil, err
	}
	return r.within(t.op, from, to, get)
}

// span is the first second of what a text names, and the first after it.
func (r *searchReader) span(text string) (from, to int64, err error) {
	if a, b, ok := strings.Cut(text, ".."); ok {
		if from, _, err = r.span(a); err == nil {
			_, to, err = r.span(b)
		}
		return from, to, err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	switch strings.ToLower(text) {
	case "today":
		return today.Unix(), today.AddDate(0, 0, 1).Unix(), nil
	case "yesterday":
		return today.AddDate(0, 0, -1).Unix(), today.Unix(), nil
	}
	for _, layout := range []string{"2006-01-02", "1/2/2006"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.Unix(), at.AddDate(0, 0, 1).Unix(), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.Unix(), at.Unix() + 1, nil
		}
	}
	return 0, 0, r.bad("'" + text + "' is no date")
}

// number compares a size in bytes, or a range of sizes.
func (r *searchReader) number(t searchToken, get func(*message) int64) (condition[*message], error) {
	low, high, ranged := strings.Cut(t.text, "..")
	if !ranged {
		high = low
	}
	from, err := strconv.ParseInt(low, 10, 64)
	to, herr := strconv.ParseInt(high, 10, 64)
	if err != nil || herr != nil {
		return nil, r.bad("'" + t.text + "' is no number")
	}
	return r.within(t.op, from, to+1, get)
}

// within holds an operator against from <= x < to.
func (r *searchReader) within(op string, from, to int64, get func(*message) int64) (condition[*message], error) {
	switch op {
	case ":", "=":
		return func(m *message) bool { x := get(m); return x >= from && x < to }, nil
	case "<>":
		return func(m *message) bool { x := get(m); return x < from || x >= to }, nil
	case "<":
		return func(m *message) bool { return get(m) < from }, nil
	case "<=":
		return func(m *message) bool { return get(m) < to }, nil
	case ">":
		return func(m *message) bool { return get(m) >= to }, nil
	case ">=":
		return func(m *message) bool { return get(m) >= from }, nil
	}
	return nil, r.bad("'" + op + "' is no operator")
}
