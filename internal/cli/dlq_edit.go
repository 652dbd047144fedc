package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"outlook-connector/publisher"
)

// messageMembers are the members that a command may have.
var messageMembers = []string{"mailbox", "entity", "method", "path", "query", "headers", "payload", "payload_blob"}

// edit is what is changed of a message before it is sent again.
type edit struct {
	patches []any // as in RFC 7396, in their order
	headers [][2]string
}

// readEdit reads --set and --header.
func (a *app) readEdit(sets, headers []string) (e edit, err error) {
	stdin := 0
	for _, text := range sets {
		if text == "-" || text == "@-" {
			stdin++
		}
		patch, err := a.readPatch(text)
		if err != nil {
			return edit{}, err
		}
		e.patches = append(e.patches, patch)
	}
	if stdin > 1 {
		return edit{}, usagef("--set - more than once: there is one standard input")
	}
	for _, text := range headers {
		name, value, ok := strings.Cut(text, "=")
		switch {
		case !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r > '~' }):
			return edit{}, usagef("--header %q: write NAME=VALUE, or NAME= to remove it", text)
		case strings.ContainsAny(value, "\r\n"):
			return edit{}, usagef("--header %s: a value is one line", name)
		case len(name) >= 5 && strings.EqualFold(name[:5], "Nats-"):
			return edit{}, usagef("--header %s: this header is the redrive's own", name)
		}
		e.headers = append(e.headers, [2]string{name, value})
	}
	return e, nil
}

// readPatch reads one --set: a file, - for standard input, an object, or
// member.of.a.member=value.
func (a *app) readPatch(text string) (any, error) {
	if name, value, ok := strings.Cut(text, "="); ok && isMember(name) {
		return assignment(name, value)
	}
	source := text
	switch {
	case text == "":
		return nil, usagef("--set is empty: name a file, - for standard input, or member=value")
	case text == "-":
		source = "@-"
	case !strings.HasPrefix(text, "@") && !strings.HasPrefix(strings.TrimSpace(text), "{"):
		source = "@" + text
	}
	data, err := a.readData(source)
	if err != nil {
		if name, _, ok := strings.Cut(text, "="); ok && errors.Is(err, fs.ErrNotExist) {
			return nil, usageHint(fmt.Errorf("--set %s: a message has no member %q, and there is no such file", shorten(text, 60), firstMember(name)),
				"it has %s", strings.Join(messageMembers, ", "))
		}
		return nil, usageHint(fmt.Errorf("--set: %w", err), "it takes a file, - for standard input, or member=value such as payload.message.subject=Hello")
	}
	patch, err := decodeJSON(data)
	if err != nil {
		return nil, usageHint(fmt.Errorf("--set %s: %w", shorten(text, 60), err), "it is a JSON object with the members to change; null removes one")
	}
	members, ok := patch.(map[string]any)
	if !ok {
		return nil, usagef("--set %s: it must be a JSON object with the members to change", shorten(text, 60))
	}
	for name := range members {
		if !slices.Contains(messageMembers, name) {
			return nil, usageHint(fmt.Errorf("--set %s: a message has no member %q", shorten(text, 60), name), "it has %s", strings.Join(messageMembers, ", "))
		}
	}
	return patch, nil
}

func firstMember(path string) string {
	name, _, _ := strings.Cut(path, ".")
	return name
}

// isMember reports whether a path begins with a member of messages; what does
// not is the name of a file.
func isMember(path string) bool { return slices.Contains(messageMembers, firstMember(path)) }

// assignment makes a patch of path.to.member=value. The value is JSON where it
// can be read so, else a text; a dot in a name is written \. .
func assignment(path, text string) (any, error) {
	value, err := decodeJSON([]byte(text))
	if err != nil {
		value = text
	}
	switch value.(type) {
	case json.Number, bool:
		if firstMember(path) != "payload" {
			value = text // ids and the like are texts, also where they have digits only
		}
	}
	names := strings.Split(strings.ReplaceAll(path, `\.`, "\x00"), ".")
	for _, name := range slices.Backward(names) {
		if name == "" {
			return nil, usagef("--set %s=…: a name between the dots is missing", path)
		}
		value = map[string]any{strings.ReplaceAll(name, "\x00", "."): value}
	}
	return value, nil
}

// decodeJSON reads one value and keeps numbers as they are written.
func decodeJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value")
	}
	return value, nil
}

// mergePatch applies a JSON merge patch:
// https://www.rfc-editor.org/rfc/rfc7396#section-2
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := map[string]any{}
	if members, ok := target.(map[string]any); ok {
		merged = maps.Clone(members)
	}
	for name, value := range changes {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = mergePatch(merged[name], value)
		}
	}
	return merged
}

// apply changes a message. What nothing changes stays byte for byte as it was.
func (e edit) apply(r *publisher.Redrive) error {
	for _, header := range e.headers {
		for name := range r.Header {
			if strings.EqualFold(name, header[0]) {
				delete(r.Header, name)
			}
		}
		if header[1] != "" {
			r.Header[header[0]] = []string{header[1]}
		}
	}
	if len(e.patches) == 0 {
		return nil
	}
	value, _ := decodeJSON(r.Data) // what is not JSON is replaced
	for _, patch := range e.patches {
		value = mergePatch(value, patch)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	r.Data = bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	return nil
}

// difference lists what differs between two JSON texts, a line each: - what was,
// + what is.
func difference(before, after []byte) []string {
	was, errWas := decodeJSON(before)
	is, errIs := decodeJSON(after)
	if errWas != nil || errIs != nil {
		if bytes.Equal(before, after) {
			return nil
		}
		return []string{"- " + oneLine(string(before), maxShown), "+ " + oneLine(string(after), maxShown)}
	}
	var lines []string
	compare("", was, is, &lines)
	return lines
}

// maxShown is how much of a value a line of the difference shows.
const maxShown = 200

func compare(path string, was, is any, lines *[]string) {
	a, aObject := was.(map[string]any)
	b, bObject := is.(map[string]any)
	if aObject && bObject {
		names := map[string]struct{}{}
		for name := range a {
			names[name] = struct{}{}
		}
		for name := range b {
			names[name] = struct{}{}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			member := strings.ReplaceAll(name, ".", `\.`)
			if path != "" {
				member = path + "." + member
			}
			va, inA := a[name]
			vb, inB := b[name]
			switch {
			case !inA:
				*lines = append(*lines, "+ "+member+"="+shown(vb))
			case !inB:
				*lines = append(*lines, "- "+member+"="+shown(va))
			default:
				compare(member, va, vb, lines)
			}
		}
		return
	}
	if before, after := jsonText(was), jsonText(is); before != after {
		*lines = append(*lines, "- "+path+"="+oneLine(before, maxShown), "+ "+path+"="+oneLine(after, maxShown))
	}
}

func shown(value any) string { return oneLine(jsonText(value), maxShown) }

func jsonText(value any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(value) != nil {
		return "?"
	}
	return strings.TrimSuffix(text.String(), "\n")
}
