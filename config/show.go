package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Show returns the effective configuration as YAML: everything that is in
// force, defaults included. Secrets are shown as «redacted», and so are user
// and password in addresses of NATS. In parts that may hold anything (path,
// query, headers, payload and jq programs) a value with a ${…} is shown as it
// was written.
func (c *Config) Show() ([]byte, error) {
	node, err := c.show(reflect.ValueOf(c).Elem(), "", false)
	if err != nil {
		return nil, fmt.Errorf("show configuration: %w", err)
	}
	out, err := yaml.Dump(node)
	if err != nil {
		return nil, fmt.Errorf("show configuration: %w", err)
	}
	return out, nil
}

// show returns the node of a value, or nil for one that is not there.
func (c *Config) show(value reflect.Value, path string, asWritten bool) (*yaml.Node, error) {
	if asWritten {
		if written, ok := c.written[path]; ok {
			return textNode(written), nil
		}
	}
	if value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return nil, nil //nolint:nilnil // nothing to show is no error
		}
		value = value.Elem()
	}
	if number, ok := reflect.TypeAssert[json.Number](value); ok {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: number.String()}, nil
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](value); ok {
		text, err := m.MarshalText()
		return textNode(string(text)), err
	}
	if value.CanAddr() {
		if s, ok := reflect.TypeAssert[shorthand](value.Addr()); ok {
			if inner := s.shown(); inner != nil {
				return c.show(reflect.ValueOf(inner).Elem(), path, asWritten)
			}
		}
	}
	switch value.Kind() {
	case reflect.Struct:
		return c.showStruct(value, path, asWritten)
	case reflect.Map:
		return c.showMap(value, path, asWritten)
	case reflect.Slice:
		return c.showSlice(value, path, asWritten)
	case reflect.Interface:
		if value.IsNil() {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
		}
		return c.show(value.Elem(), path, asWritten)
	case reflect.String:
		return textNode(value.String()), nil
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(value.Bool())}, nil
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(value.Int(), 10)}, nil
	default:
		return nil, fmt.Errorf("%s: no form for %s", path, value.Type())
	}
}

// textNode returns a node that reads back as this text, whatever it looks like.
func textNode(text string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if strings.Contains(text, "\n") {
		node.Style = yaml.LiteralStyle
	}
	return node
}

func (c *Config) showStruct(value reflect.Value, path string, asWritten bool) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields(value.Type()) {
		inner := value.Field(f.index)
		tag := value.Type().Field(f.index).Tag
		if strings.HasSuffix(tag.Get("yaml"), ",omitempty") && isEmptyValue(inner) {
			continue
		}
		child, err := c.show(inner, join(path, f.key), asWritten || tag.Get("show") == "written")
		if err != nil {
			return nil, err
		}
		if child != nil {
			node.Content = append(node.Content, textNode(f.key), child)
		}
	}
	return node, nil
}

// isEmptyValue reports whether nothing was given for an optional key.
func isEmptyValue(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Slice, reflect.Map:
		return value.Len() == 0
	default:
		return value.IsZero()
	}
}

func (c *Config) showMap(value reflect.Value, path string, asWritten bool) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	inner := make(map[string]reflect.Value, value.Len())
	for key, member := range value.Seq2() {
		inner[key.String()] = member
	}
	for _, key := range slices.Sorted(maps.Keys(inner)) {
		child, err := c.show(inner[key], join(path, key), asWritten)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, textNode(key), child)
	}
	return node, nil
}

func (c *Config) showSlice(value reflect.Value, path string, asWritten bool) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range value.Len() {
		child, err := c.show(value.Index(i), fmt.Sprintf("%s[%d]", path, i), asWritten)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, child)
	}
	if value.Len() == 0 || value.Index(0).Kind() == reflect.String {
		node.Style = yaml.FlowStyle
	}
	return node, nil
}
