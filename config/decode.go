package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"outlook-connector/internal/seal"
)

// The decoder is our own, from the parser's nodes to the types of this package.
// The library's would stop at types that read themselves, keeps a field as it
// is where the file says null, takes "off" for false, and describes mistakes in
// terms of Go types. Here every value is looked at once, strictly, and told
// about in the words of the file.

const (
	// maxDepth is how deeply values may be nested: a payload is the only thing
	// that may be deep at all.
	maxDepth = 64
	// maxThroughAlias is how many values may be there by an alias. Ten lines of
	// aliases to aliases stand for a billion values.
	maxThroughAlias = 10_000
)

// defaulter is a struct that has defaults other than zero.
type defaulter interface{ setDefaults() }

// decode fills out from a node. Its problems are added to the document.
func (d *document) decode(node *yaml.Node, out reflect.Value, path string) {
	if inner, ok := shorter(node, out); ok {
		d.decode(node, inner, path)
		return
	}
	node, leave, ok := d.enter(node, path)
	defer leave()
	if !ok {
		return
	}
	if out.Kind() == reflect.Pointer {
		if isNull(node) {
			return
		}
		out.Set(reflect.New(out.Type().Elem()))
		out = out.Elem()
		if s, ok := reflect.TypeAssert[defaulter](out.Addr()); ok {
			s.setDefaults()
		}
	}
	if text, ok := reflect.TypeAssert[encoding.TextUnmarshaler](out.Addr()); ok {
		d.decodeText(node, text, path)
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		d.decodeStruct(node, out, path)
	case reflect.Slice:
		d.decodeSlice(node, out, path)
	case reflect.Map:
		d.decodeMap(node, out, path)
	case reflect.Interface:
		if value, ok := d.decodeAny(node, path); ok && value != nil {
			out.Set(reflect.ValueOf(value))
		}
	default:
		d.decodeScalar(node, out, path)
	}
}

// enter records where a path stands and follows an alias. The caller must call
// leave when it is done with the node.
func (d *document) enter(node *yaml.Node, path string) (inner *yaml.Node, leave func(), ok bool) {
	d.nodes[path] = node
	leave = func() {}
	if node.Kind == yaml.AliasNode {
		d.aliasDepth++
		leave = func() { d.aliasDepth-- }
		node = node.Alias
	}
	if d.aliasDepth > 0 {
		d.throughAlias++
	}
	switch {
	case d.throughAlias > maxThroughAlias:
		if d.throughAlias == maxThroughAlias+1 {
			d.add(path, "write the values out", "aliases stand for more than %d values", maxThroughAlias)
		}
		return node, leave, false
	case d.aliasDepth > maxDepth || strings.Count(path, ".")+strings.Count(path, "[") > maxDepth:
		d.add(path, "write it flatter; an alias must not contain itself", "nested more than %d deep", maxDepth)
		return node, leave, false
	case node.Style&yaml.TaggedStyle != 0:
		d.add(path, "remove the tag", "the tag %s has no meaning here", clip(node.Tag))
		return node, leave, false
	}
	return node, leave, true
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// kindName says in words what a node is.
func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// pair is a key of a mapping with its value.
type pair struct{ key, value *yaml.Node }

// pairs returns the keys of a mapping with those merged in by <<, the mapping's
// own first.
func (d *document) pairs(node *yaml.Node, path string) []pair {
	var own, merged []pair
	taken := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			merged = append(merged, d.mergedPairs(value, path)...)
		case key.Kind != yaml.ScalarNode:
			d.addAt(key.Line, key.Column, path, "use a plain word", "%s cannot be a key", kindName(key))
		case taken[key.Value] != nil:
			d.addAt(key.Line, key.Column, join(path, key.Value), "keep one of them",
				"the key %q is here twice, first on line %d", clip(key.Value), taken[key.Value].Line)
		default:
			taken[key.Value] = key
			own = append(own, pair{key, value})
		}
	}
	for _, p := range merged {
		if taken[p.key.Value] == nil {
			taken[p.key.Value] = p.key
			own = append(own, p)
		}
	}
	return own
}

// mergedPairs returns the keys that a << brings in.
func (d *document) mergedPairs(value *yaml.Node, path string) []pair {
	target := value
	if target.Kind == yaml.AliasNode {
		target = target.Alias
	}
	if target.Kind != yaml.MappingNode || d.aliasDepth > maxDepth || d.throughAlias > maxThroughAlias {
		d.addAt(value.Line, value.Column, path, "<<: *name, where &name marks a mapping", "<< takes one mapping")
		return nil
	}
	d.aliasDepth++
	defer func() { d.aliasDepth-- }()
	pairs := d.pairs(target, path)
	d.throughAlias += len(pairs) + 1
	return pairs
}

// join returns the path of a key.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// field is a key of a struct.
type field struct {
	key   string
	index int
}

// fields returns the keys of a struct in the order of the file.
func fields(t reflect.Type) []field {
	var list []field
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key != "" {
			list = append(list, field{key, i})
		}
	}
	return list
}

func (d *document) decodeStruct(node *yaml.Node, out reflect.Value, path string) {
	if isNull(node) {
		return // a heading of which everything is commented out
	}
	if node.Kind != yaml.MappingNode {
		d.add(path, "write key: value lines below it", "%s is %s; it takes keys with values", subject(path), kindName(node))
		return
	}
	known := fields(out.Type())
	names := make([]string, len(known))
	index := make(map[string]int, len(known))
	for i, f := range known {
		names[i] = f.key
		index[f.key] = f.index
	}
	for _, p := range d.pairs(node, path) {
		i, ok := index[p.key.Value]
		if !ok {
			d.unknownKey(p.key, path, names)
			continue
		}
		child := join(path, p.key.Value)
		d.decode(p.value, out.Field(i), child)
	}
}

func (d *document) unknownKey(key *yaml.Node, path string, names []string) {
	place := ""
	if path != "" {
		place = " in " + path
	}
	if len(d.problems) > maxProblems {
		return // enough is known of this file
	}
	if near := nearest(key.Value, names); near != "" {
		// What is missing because of the slip is not worth a second problem.
		d.failed[join(path, near)] = true
		d.addAt(key.Line, key.Column, join(path, key.Value), "write "+near+", or remove it",
			"unknown key %q%s: did you mean %q?", clip(key.Value), place, near)
		return
	}
	d.addAt(key.Line, key.Column, join(path, key.Value), "remove it; the keys here are "+strings.Join(names, ", "),
		"unknown key %q%s", clip(key.Value), place)
}

func (d *document) decodeSlice(node *yaml.Node, out reflect.Value, path string) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.SequenceNode {
		d.add(path, "write a list: [a, b], or lines that start with a dash", "%s is %s; it takes a list", subject(path), kindName(node))
		return
	}
	list := reflect.MakeSlice(out.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		element := list.Index(i)
		if s, ok := reflect.TypeAssert[defaulter](element.Addr()); ok {
			s.setDefaults()
		}
		child := fmt.Sprintf("%s[%d]", path, i)
		if element.Kind() == reflect.Struct && isNull(item) {
			d.nodes[child] = item
			d.add(child, "remove the dash", "an item of %s is empty", path)
			continue
		}
		d.decode(item, element, child)
	}
	out.Set(list)
}

func (d *document) decodeMap(node *yaml.Node, out reflect.Value, path string) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		d.add(path, "write {key: value}", "%s is %s; it takes keys with values", subject(path), kindName(node))
		return
	}
	pairs := d.pairs(node, path)
	result := reflect.MakeMapWithSize(out.Type(), len(pairs))
	for _, p := range pairs {
		value := reflect.New(out.Type().Elem()).Elem()
		d.decode(p.value, value, join(path, p.key.Value))
		result.SetMapIndex(reflect.ValueOf(p.key.Value), value)
	}
	out.Set(result)
}

// scalarText returns the text of a single value with its references filled in.
func (d *document) scalarText(node *yaml.Node, path, takes string) (string, bool) {
	switch {
	case node.Kind != yaml.ScalarNode:
		d.add(path, "write one value", "%s is %s; it takes %s", subject(path), kindName(node), takes)
		return "", false
	case isNull(node):
		d.add(path, `remove the key, or write "" for an empty text`, "%s has no value", subject(path))
		return "", false
	case !strings.Contains(node.Value, "${"):
		return node.Value, true
	}
	d.written[path] = node.Value
	text, err := d.interpolate(node.Value)
	if err != nil {
		d.addReference(node, path, err)
		return "", false
	}
	return text, true
}

// addReference reports a ${…} at its own place, where that can be told.
func (d *document) addReference(node *yaml.Node, path string, err *referenceError) {
	d.failed[path] = true
	line, column, _ := d.placeWithin(node, err.offset)
	d.push(Problem{Line: line, Column: column, Path: path, Text: err.text, Hint: err.hint, cause: err.cause})
}

func (d *document) decodeText(node *yaml.Node, out encoding.TextUnmarshaler, path string) {
	text, ok := d.scalarText(node, path, "one value")
	switch out.(type) {
	case *seal.Secret, *Servers:
		// Not even the text as it was written is kept: ${env:NAME:-default} may
		// have the secret in it.
		delete(d.written, path)
	}
	if !ok {
		return
	}
	err := out.UnmarshalText([]byte(text))
	if err == nil {
		return
	}
	reason, hint := "is not valid", "see outlook-connector config schema"
	if value, ok := errors.AsType[*valueError](err); ok {
		reason, hint = value.reason, value.hint
	}
	d.add(path, hint, "%s: %s %s", subject(path), d.quote(path, text), reason)
}

// decodeScalar reads a string, a bool or an int.
func (d *document) decodeScalar(node *yaml.Node, out reflect.Value, path string) {
	takes := map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number"}[out.Kind()]
	text, ok := d.scalarText(node, path, takes)
	if !ok {
		return
	}
	switch out.Kind() {
	case reflect.String:
		out.SetString(text)
		return
	case reflect.Bool:
		if text == "true" || text == "false" {
			out.SetBool(text == "true")
			return
		}
	case reflect.Int:
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			out.SetInt(n)
			return
		}
	default:
		panic("config: no decoder for " + out.Type().String())
	}
	d.add(path, "write "+takes, "%s: %s is not %s", subject(path), d.quote(path, text), takes)
}

// decodeAny reads a JSON value: a payload. Numbers are kept digit by digit.
func (d *document) decodeAny(node *yaml.Node, path string) (any, bool) {
	switch node.Kind {
	case yaml.MappingNode:
		object := make(map[string]any)
		for _, p := range d.pairs(node, path) {
			var value any
			d.decode(p.value, reflect.ValueOf(&value).Elem(), join(path, p.key.Value))
			object[p.key.Value] = value
		}
		return object, true
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, item := range node.Content {
			d.decode(item, reflect.ValueOf(&list[i]).Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
		return list, true
	}
	if isNull(node) {
		return nil, true
	}
	text, ok := d.scalarText(node, path, "a value")
	if !ok {
		return nil, false
	}
	switch node.ShortTag() {
	case "!!bool":
		return strings.EqualFold(text, "true"), true
	case "!!int", "!!float":
		return d.number(node, text, path)
	default:
		return text, true
	}
}

// number returns a number as JSON writes it.
func (d *document) number(node *yaml.Node, text, path string) (any, bool) {
	if json.Valid([]byte(text)) {
		return json.Number(text), true
	}
	// YAML's other forms: 0x1F, 1_000, +1, .5
	var value any
	if err := node.Decode(&value); err == nil {
		if f, isFloat := value.(float64); isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
			d.add(path, "write a number, or quote it", "JSON has no number %s", clip(text))
			return nil, false
		}
		if encoded, err := json.Marshal(value); err == nil {
			return json.Number(encoded), true
		}
	}
	d.add(path, "write a decimal number, or quote it", "%s is not a number", d.quote(path, text))
	return nil, false
}

// subject returns the key of a path for a sentence: subscriptions[0].every is
// every.
func subject(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 && i < len(path)-1 {
		return path[i+1:]
	}
	if path == "" {
		return "the file"
	}
	return path
}
