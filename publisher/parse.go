package publisher

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// parser is a reader of a JSON text, which is not copied.
type parser struct {
	jsontext.Decoder

	text bytes.Buffer
}

// parsers are those that nobody uses: of a short command, a new one costs more than
// the reading.
var parsers = sync.Pool{New: func() any { return new(parser) }}

// parsing returns a reader of a text; [parsed] takes it back.
func parsing(text []byte, opts ...jsontext.Options) *parser {
	p := parsers.Get().(*parser) //nolint:forcetypeassert // nothing else is in there
	p.text = *bytes.NewBuffer(text)
	p.Reset(&p.text, opts...)
	return p
}

// reparsing is parsing for a text that was checked before, names that are there
// twice and letters that are none included.
func reparsing(text []byte) *parser {
	return parsing(text, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func parsed(p *parser) { parsers.Put(p) }

// unquoted is what a JSON string says: the very bytes of the text where it has no
// escapes, as nearly all names and most values.
func unquoted(value jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], nil
	}
	return jsontext.AppendUnquote(nil, value)
}

// eachMember reads a value whose text was checked before, and has do read the value
// of each of its members. What is no object has none.
func (p *parser) eachMember(do func(name []byte) error) error {
	if p.PeekKind() != '{' {
		return p.SkipValue()
	}
	if _, err := p.ReadToken(); err != nil {
		return err
	}
	for p.PeekKind() != '}' {
		quoted, err := p.ReadValue()
		if err != nil {
			return err
		}
		name, err := unquoted(quoted)
		if err != nil {
			return err
		}
		if err := do(name); err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// eachItem reads a value as eachMember does, and has do read each of its items. What
// is no array has none.
func (p *parser) eachItem(do func() error) error {
	if p.PeekKind() != '[' {
		return p.SkipValue()
	}
	if _, err := p.ReadToken(); err != nil {
		return err
	}
	for p.PeekKind() != ']' {
		if err := do(); err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// string reads a value; without ok it is no text.
func (p *parser) string() (text string, ok bool, err error) {
	value, err := p.ReadValue()
	if err != nil || value.Kind() != '"' {
		return "", false, err
	}
	plain, err := unquoted(value)
	return string(plain), err == nil, err
}
