package publisher

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// defaultsOf reads a publisher's defaults as a request.
func defaultsOf(p Publisher) (request, error) {
	// Nobody changes these maps: requests have them as they are.
	base := request{path: pointers(p.Path), query: pointers(p.Query), headers: pointers(p.Headers)}
	if _, err := checkHeaders(base.headers); err != nil {
		return request{}, err
	}
	if len(bytes.TrimSpace(p.Payload)) > 0 {
		if err := checkText("the default payload", p.Payload); err != nil {
			return request{}, err
		}
		base.payload = jsontext.Value(bytes.TrimSpace(p.Payload)).Clone()
	}
	return base, nil
}

func pointers(values map[string]string) map[string]*string {
	out := make(map[string]*string, len(values))
	for name, value := range values {
		out[name] = &value
	}
	return out
}

// over puts a message's request over a publisher's defaults.
//
// path, query and headers are merged name by name, and null takes a default
// away. Payloads are merged by their top-level members only, of which the
// message's win as they are: a merge that goes deeper would mix the sender's
// message with the publisher's, and a list of recipients has no sensible merge
// at all. null in a payload stays, because it clears a property in Graph.
func (r request) over(base request) (request, error) {
	out := r
	out.path = mergeTexts(base.path, r.path, foldParam)
	out.query = mergeTexts(base.query, r.query, strings.ToLower)
	out.headers = mergeTexts(base.headers, r.headers, strings.ToLower)
	if r.raw != nil {
		return out, nil // it has no members that a default could lie under
	}
	var err error
	out.payload, err = mergePayload(base.payload, r.payload)
	return out, err
}

// foldParam makes the spellings of a path parameter equal: message-id of the
// catalogue and MessageId of the reference.
func foldParam(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "-", ""))
}

// mergeTexts drops the defaults that have a name of the message's, in whatever
// spelling, and then what the message takes away. Where there is nothing to merge it
// returns one of the two as it is.
func mergeTexts(base, top map[string]*string, fold func(string) string) map[string]*string {
	if len(top) == 0 { // null is only in messages
		return base
	}
	if len(base) == 0 && !hasNull(top) {
		return top
	}
	named := make(map[string]bool, len(top))
	out := make(map[string]*string, len(base)+len(top))
	for name, value := range top {
		named[fold(name)] = true
		if value != nil {
			out[name] = value
		}
	}
	for name, value := range base {
		if value != nil && !named[fold(name)] {
			out[name] = value
		}
	}
	return out
}

func hasNull(values map[string]*string) bool {
	for _, value := range values {
		if value == nil {
			return true
		}
	}
	return false
}

// mergePayload returns the message's members, behind them the defaults that it
// does not have. Without defaults the message's bytes go through unchanged.
func mergePayload(base, top jsontext.Value) (jsontext.Value, error) {
	if len(base) == 0 {
		return top, nil
	}
	if len(top) == 0 {
		return base, nil
	}
	var out bytes.Buffer
	out.Grow(len(base) + len(top))
	out.WriteByte('{')
	seen := make(map[string]bool)
	for i, object := range []jsontext.Value{top, base} {
		dec := jsontext.NewDecoder(bytes.NewReader(object))
		if _, err := dec.ReadToken(); err != nil {
			return nil, fmt.Errorf("merge payload: %w", err)
		}
		for dec.PeekKind() != '}' {
			name, err := dec.ReadValue()
			if err != nil {
				return nil, fmt.Errorf("merge payload: %w", err)
			}
			plain, err := jsontext.AppendUnquote(nil, name)
			if err != nil {
				return nil, fmt.Errorf("merge payload: %w", err)
			}
			quoted := name.Clone()
			value, err := dec.ReadValue()
			if err != nil {
				return nil, fmt.Errorf("merge payload: %w", err)
			}
			if i == 1 && seen[string(plain)] {
				continue
			}
			seen[string(plain)] = true
			if out.Len() > 1 {
				out.WriteByte(',')
			}
			out.Write(quoted)
			out.WriteByte(':')
			out.Write(value)
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// value is the request as a transform sees it: plain JSON values, numbers kept
// exact.
func (r request) value() (map[string]any, error) {
	object := map[string]any{
		"mailbox": textOrNil(r.mailbox), "entity": textOrNil(r.entity),
		"path": plain(r.path), "query": plain(r.query), "headers": plain(r.headers), "payload": nil,
	}
	if r.raw != nil {
		object["payload"] = base64.StdEncoding.EncodeToString(r.raw)
	}
	if len(r.payload) > 0 {
		dec := json.NewDecoder(bytes.NewReader(r.payload))
		dec.UseNumber()
		var payload any
		if err := dec.Decode(&payload); err != nil {
			return nil, fmt.Errorf("decode payload: %w", err)
		}
		object["payload"] = payload
	}
	return object, nil
}

func textOrNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func plain(values map[string]*string) map[string]any {
	out := make(map[string]any, len(values))
	for name, value := range values {
		if value != nil {
			out[name] = *value
		}
	}
	return out
}

// encode writes JSON without turning <, > and & into escapes: bodies are mostly
// HTML, and would grow by half for nothing.
func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
