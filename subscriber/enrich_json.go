package subscriber

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// member is one member of a JSON object, with its value as it stands.
type member struct {
	name  string
	value []byte
}

// eachMember hands out the members of an object in their order. The value is
// valid until visit returns. It takes what Graph sends: half a surrogate pair in
// a preview, and duplicate names.
func eachMember(raw []byte, visit func(name string, value []byte) error) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '{' {
		return errors.New("this is no JSON object")
	}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return early(err)
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return early(err)
		}
		if err := visit(name, value); err != nil {
			return err
		}
	}
	_, err = dec.ReadToken()
	return early(err)
}

// eachElement hands out the elements of an array.
func eachElement(raw []byte, visit func(value []byte) error) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '[' {
		return errors.New("this is no JSON array")
	}
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return early(err)
		}
		if err := visit(value); err != nil {
			return err
		}
	}
	_, err = dec.ReadToken()
	return early(err)
}

// early says that an end in the middle is no end.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// splice writes the object anew without the members that are dropped or added
// again, and with the added ones at the end. Every other value stays byte for
// byte.
func splice(raw []byte, drop []string, add ...member) ([]byte, error) {
	size := len(raw) + 8
	for i := range add {
		size += len(add[i].name) + len(add[i].value) + 8
	}
	out := append(make([]byte, 0, size), '{')
	err := eachMember(raw, func(name string, value []byte) error {
		if slices.Contains(drop, name) || slices.ContainsFunc(add, func(m member) bool { return m.name == name }) {
			return nil
		}
		out = appendMember(out, name, value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range add {
		out = appendMember(out, add[i].name, add[i].value)
	}
	return append(out, '}'), nil
}

func appendMember(out []byte, name string, value []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(quoteJSON(out, name), ':')
	return append(out, value...)
}

// quoteJSON appends a text as a JSON string. What is no UTF-8 becomes U+FFFD.
func quoteJSON(out []byte, text string) []byte {
	out, err := jsontext.AppendQuote(out, strings.ToValidUTF8(text, "\ufffd"))
	if err != nil {
		panic(err) // every valid text has a JSON form
	}
	return out
}

// textOf returns what a JSON string says, "" for any other value.
func textOf(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil && len(text) == 0 {
		return ""
	}
	return string(text)
}
