package sandbox

// $search over messages: a part of Keyword Query Language. Modelled: words,
// "phrases", word*, AND, OR, NOT, parentheses; attachment, bcc, body, cc, from,
// hasAttachments, importance, kind, participants, received, recipients, sent,
// size, subject and to, with : and for dates and sizes also = < <= > >= and a..b.
// Words next to each other are joined by AND. The newest by sentDateTime come
// first, and no more than 250 (SearchLimit) are found.
// https://learn.microsoft.com/graph/search-query-parameter
//
// Left out: NEAR, ONEAR, XRANK, synonyms, word stems, ranking, the contents of
// attachments.

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// SearchLimit sets how many messages a $search finds at most. Default 250; newer
// texts of Graph say 1,000
// (https://learn.microsoft.com/graph/search-query-parameter).
func SearchLimit(n int) Option { return func(o *options) { o.searchLimit = n } }

func (c *call) searchMessages(v *view) (*Answer, error) {
	for _, with := range []struct {
		given      bool
		code, name string
	}{
		{c.query.filter != "", "SearchWithFilter", "$filter"},
		{len(c.query.orderby) > 0, "SearchWithOrderBy", "$orderBy"},
		{c.query.count, "SearchWithCount", "$count"},
	} {
		if with.given {
			return nil, newError(http.StatusBadRequest, with.code, "The query parameter '%s' is not supported with '$search'.", with.name)
		}
	}
	test, err := parseSearch(c.query.search)
	if err != nil {
		return nil, err
	}
	skip := c.query.skip
	if c.query.skiptoken != "" {
		raw, err := base64.RawURLEncoding.DecodeString(c.query.skiptoken)
		n, nerr := strconv.Atoi(strings.TrimPrefix(string(raw), "s:"))
		if err != nil || nerr != nil || n < 0 {
			return nil, newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The value of $skiptoken is not valid.")
		}
		skip = n
	}
	what := "messages"
	var found []*message
	c.read(func(*state) {
		all := c.box.byTime
		if len(c.chain) > 0 {
			var in *folder
			if in, err = c.folderAt(); err != nil {
				return
			}
			all, what = c.box.messagesIn(in), "mailFolders('"+c.folderID(in.Key)+"')/messages"
		}
		for _, m := range all {
			if test(m) {
				found = append(found, m)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b *message) int { return cmp.Or(cmp.Compare(b.Sent, a.Sent), cmp.Compare(b.Key, a.Key)) })
	found = found[:min(len(found), c.opts.searchLimit)]
	from := min(skip, len(found))
	to := min(from+c.pageSize(), len(found))
	b := appendString([]byte(`{"@odata.context":`), c.metadata(what))
	b = append(b, `,"value":[`...)
	for i, m := range found[from:to] {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.append(b, m, "")
	}
	b = append(b, ']')
	if to < len(found) {
		b = appendString(append(b, `,"@odata.nextLink":`...), c.searchLink(to))
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

// searchLink is the asked-for address with a $skiptoken: a search is not paged by
// counting.
func (c *call) searchLink(skip int) string {
	var parts []string
	for part := range strings.SplitSeq(c.query.raw, "&") {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = strings.ToLower(plain)
		}
		if part != "" && name != "$skip" && name != "$skiptoken" {
			parts = append(parts, part)
		}
	}
	token := base64.RawURLEncoding.EncodeToString([]byte("s:" + strconv.Itoa(skip)))
	return c.base + c.path + "?" + strings.Join(append(parts, "$skiptoken="+token), "&")
}

// refuseSearch is the answer of resources that cannot be searched:
// https://learn.microsoft.com/graph/search-query-parameter names messages and
// people alone.
func (c *call) refuseSearch(r *resource) error {
	if c.query.search == "" || !slices.Contains([]string{"contact", "event", "contactFolder", "calendar", "todoTask", "todoTaskList"}, r.kind) {
		return nil
	}
	return newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The query parameter '$search' is not supported for this resource.")
}

// parseSearch reads the value of $search. As a rule it is in double quotes, with
// those inside escaped; without them it may hold words alone.
func parseSearch(text string) (condition[*message], error) {
	text = strings.TrimSpace(text)
	if inner, ok := outerQuotes(text); ok {
		text = inner
	} else if i := strings.IndexAny(text, `:<>=&%`); i >= 0 {
		return nil, newError(http.StatusBadRequest, "BadRequest",
			"Syntax error: character '%c' is not valid at position %d in '%s'.", text[i], i, text)
	}
	toks, err := searchTokens(text)
	if err != nil {
		return nil, err
	}
	r := &searchReader{toks: toks}
	if len(toks) == 0 {
		return nil, r.bad("an empty search")
	}
	test, err := r.or()
	if err == nil && r.pos != len(toks) {
		err = r.bad("'" + toks[r.pos].text + "' is not expected")
	}
	return test, err
}

// outerQuotes takes away the quotes around the whole. Quotes inside that are not
// escaped are a phrase's, so that "a" OR "b" is left alone.
func outerQuotes(text string) (string, bool) {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return text, false
	}
	inner := text[1 : len(text)-1]
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '\\':
			i++
		case '"':
			return text, false
		}
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(inner), true
}

// searchToken is a word, a phrase, or a parenthesis. A word may have a property
// in front, with its operator.
type searchToken struct {
	property, op, text string
	phrase             bool
}

func searchTokens(text string) ([]searchToken, error) {
	var toks []searchToken
	for i := 0; i < len(text); {
		switch ch := text[i]; {
		case unicode.IsSpace(rune(ch)):
			i++
			continue
		case ch == '(' || ch == ')':
			toks = append(toks, searchToken{text: string(ch)})
			i++
			continue
		}
		var t searchToken
		start := i
		for i < len(text) && text[i] != '"' && !strings.ContainsRune(" \t()", rune(text[i])) {
			if t.property == "" && strings.IndexByte(":<>=", text[i]) >= 0 {
				t.property = strings.ToLower(text[start:i])
				op := i
				for i < len(text) && strings.IndexByte(":<>=", text[i]) >= 0 {
					i++
				}
				t.op, start = text[op:i], i
				continue
			}
			i++
		}
		t.text = text[start:i]
		if t.text == "" && i < len(text) && text[i] == '"' {
			end := strings.IndexByte(text[i+1:], '"')
			if end < 0 {
				return nil, newError(http.StatusBadRequest, "BadRequest", "Syntax error: unterminated string literal at position %d in '%s'.", i, text)
			}
			t.text, t.phrase = text[i+1:i+1+end], true
			i += end + 2
		}
		toks = append(toks, t)
	}
	return toks, nil
}

type searchReader struct {
	toks []searchToken
	pos  int
}

func (r *searchReader) bad(what string) error {
	return newError(http.StatusBadRequest, "BadRequest", "Syntax error in $search: %s.", what)
}

func (r *searchReader) is(text string) bool {
	return r.pos < len(r.toks) && !r.toks[r.pos].phrase && r.toks[r.pos].property == "" && r.toks[r.pos].text == text
}

func (r *searchReader) accept(text string) bool {
	if r.is(text) {
		r.pos++
		return true
	}
	return false
}

func (r *searchReader) or() (condition[*message], error) {
	left, err := r.and()
	for err == nil && r.accept("OR") {
		var right condition[*message]
		if right, err = r.and(); err == nil {
			l := left
			left = func(m *message) bool { return l(m) || right(m) }
		}
	}
	return left, err
}

func (r *searchReader) and() (condition[*message], error) {
	left, err := r.not()
	for err == nil && r.pos < len(r.toks) && !r.is("OR") && !r.is(")") {
		r.accept("AND")
		var right condition[*message]
		if right, err = r.not(); err == nil {
			l := left
			left = func(m *message) bool { return l(m) && right(m) }
		}
	}
	return left, err
}

func (r *searchReader) not() (condition[*message], error) {
	switch {
	case r.pos >= len(r.toks) || r.is("AND") || r.is("OR") || r.is(")"):
		return nil, r.bad("a word is missing")
	case r.accept("NOT"):
		inner, err := r.not()
		return func(m *message) bool { return !inner(m) }, err
	case r.accept("("):
		inner, err := r.or()
		if err == nil && !r.accept(")") {
			err = r.bad("a parenthesis is not closed")
		}
		return inner, err
	}
	t := r.toks[r.pos]
	r.pos++
	return r.term(t)
}
