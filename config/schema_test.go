package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	generator "github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"outlook-connector/internal/seal"
)

// These tests are inside the package because schema and reference are made from
// what only it knows: tags and defaults.

// referencePattern fits a value that is not known before it is read.
const referencePattern = `\$\{(env|file):`

func TestTheSchemaIsThatOfTheTypes(t *testing.T) {
	t.Parallel()
	rewriteOrCompare(t, "schema.json", generateSchema(t))
}

// rewriteOrCompare compares a generated file with what it must be, or writes it
// with -update.
func rewriteOrCompare(t *testing.T, path string, want []byte) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale; go test ./config -update rewrites it (-want +got):\n%s", path, diff)
	}
}

// generateSchema makes the schema from the types, their comments and their
// defaults.
func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := &generator.Reflector{
		FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Anonymous: true, ExpandedStruct: true, Mapper: scalarSchema,
	}
	if err := r.AddGoComments("outlook-connector/config", "./"); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(r.Reflect(&Config{}))
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(encoded, &root); err != nil {
		t.Fatal(err)
	}
	root["title"] = "The configuration of outlook-connector"
	definitions, _ := root["$defs"].(map[string]any)
	for _, structType := range structTypes(reflect.TypeFor[Config]()) {
		schema := root
		if structType != reflect.TypeFor[Config]() {
			schema, _ = definitions[structType.Name()].(map[string]any)
		}
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			t.Fatalf("no properties for %s", structType)
		}
		for _, f := range fields(structType) {
			property, _ := properties[f.key].(map[string]any)
			if text, ok := defaultOf(t, structType, f); ok {
				property["default"] = text
			}
			properties[f.key] = widen(property)
		}
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.ReplaceAll(out, []byte(`\u003c`), []byte("<")), '\n')
}

// structTypes returns a struct and those within it, each once, in the order of
// the file.
func structTypes(t reflect.Type) []reflect.Type {
	list := []reflect.Type{t}
	for _, f := range fields(t) {
		inner := t.Field(f.index).Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if isSection(inner) {
			for _, found := range structTypes(inner) {
				if !slices.Contains(list, found) {
					list = append(list, found)
				}
			}
		}
	}
	return list
}

// isSection reports whether a type is a mapping with keys of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) &&
		!reflect.PointerTo(t).Implements(reflect.TypeFor[shorthand]())
}

// scalarSchema is the schema of the types that read themselves.
func scalarSchema(t reflect.Type) *generator.Schema {
	text := func(pattern string) *generator.Schema {
		return &generator.Schema{Type: "string", Pattern: pattern + "|" + referencePattern}
	}
	const duration = `([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*`
	switch t {
	case reflect.TypeFor[Duration]():
		return text("^" + duration + "$")
	case reflect.TypeFor[Every]():
		return &generator.Schema{AnyOf: []*generator.Schema{
			text("^" + duration + "$"), object(map[string]*generator.Schema{"min": text("^" + duration + "$"), "max": text("^" + duration + "$")}, "min", "max"),
		}}
	case reflect.TypeFor[Mailboxes]():
		one := &generator.Schema{Type: "string"}
		return &generator.Schema{AnyOf: []*generator.Schema{
			{Type: "array", Items: one},
			object(map[string]*generator.Schema{"group": one}, "group"),
			object(map[string]*generator.Schema{"users": one}, "users"),
			{Type: "null"},
		}}
	case reflect.TypeFor[Rate]():
		return text("^[0-9]+/" + duration + "$")
	case reflect.TypeFor[ByteRate]():
		return text("^[0-9]+([KMG]i?)?B?/" + duration + "$")
	case reflect.TypeFor[Start]():
		return text("^now$|^all$|^[0-9]{4}-[0-9]{2}-[0-9]{2}T")
	case reflect.TypeFor[Servers](), reflect.TypeFor[seal.Secret]():
		return &generator.Schema{Type: "string"}
	default:
		return nil
	}
}

// object is the schema of a mapping with these keys and no other.
func object(keys map[string]*generator.Schema, required ...string) *generator.Schema {
	properties := generator.NewProperties()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		properties.Set(key, keys[key])
	}
	return &generator.Schema{Type: "object", Properties: properties, Required: required, AdditionalProperties: generator.FalseSchema}
}

// widen lets a property also be what the decoder takes: a reference for a
// number, a switch or a word, nothing at all for a list or a mapping, numbers
// for texts in path and query.
func widen(property map[string]any) map[string]any {
	reference := map[string]any{"type": "string", "pattern": referencePattern}
	kind, _ := property["type"].(string)
	if text, ok := property["description"].(string); ok {
		property["description"] = strings.Join(strings.Fields(text), " ")
	}
	split := func(keys ...string) map[string]any {
		inner := make(map[string]any)
		for _, key := range keys {
			if value, ok := property[key]; ok {
				inner[key] = value
				delete(property, key)
			}
		}
		return inner
	}
	switch {
	case property["$ref"] != nil:
		property["anyOf"] = []any{split("$ref"), map[string]any{"type": "null"}}
	case kind == "array":
		property["type"] = []any{"array", "null"}
	case kind == "object":
		property["type"] = []any{"object", "null"}
		if extra, ok := property["additionalProperties"].(map[string]any); ok && extra["type"] == "string" {
			extra["type"] = []any{"string", "number", "boolean"}
		}
	case kind == "integer" || kind == "boolean":
		property["anyOf"] = []any{split("type", "minimum", "maximum", "enum"), reference}
	case property["enum"] != nil:
		property["anyOf"] = []any{split("type", "enum"), reference}
	}
	return property
}

// defaultOf returns the default of a key that has one, as the file writes it.
func defaultOf(t *testing.T, structType reflect.Type, f field) (any, bool) {
	t.Helper()
	tag := structType.Field(f.index).Tag
	if strings.HasSuffix(tag.Get("yaml"), ",omitempty") || strings.Contains(tag.Get("jsonschema"), "required") {
		return nil, false
	}
	value := reflect.New(structType)
	if s, ok := reflect.TypeAssert[defaulter](value); ok {
		s.setDefaults()
	}
	value = value.Elem()
	if structType != reflect.TypeFor[Config]() { // parts of it have no defaults of their own
		c := new(Config)
		c.setDefaults()
		for _, top := range fields(reflect.TypeFor[Config]()) {
			if part := reflect.ValueOf(c).Elem().Field(top.index); part.Type() == structType {
				value = part
			}
		}
	}
	inner := value.Field(f.index)
	if inner.Type() == reflect.TypeFor[seal.Secret]() || isSection(inner.Type()) || inner.Kind() == reflect.Pointer ||
		inner.Kind() == reflect.Slice && inner.Len() == 0 {
		return nil, false
	}
	node, err := new(Config).show(inner, "", false)
	if err != nil {
		t.Fatal(err)
	}
	var decoded any
	if err := node.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	return decoded, true
}

func TestEveryDefaultIsInItsComment(t *testing.T) {
	t.Parallel()
	var schema struct {
		Definitions map[string]struct {
			Properties map[string]struct {
				Description string
				Default     any
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, definition := range schema.Definitions {
		for key, property := range definition.Properties {
			if property.Description == "" {
				t.Errorf("%s.%s has no comment", name, key)
			}
			if property.Default == nil {
				continue
			}
			seen++
			text := fmt.Sprint(property.Default)
			if list, ok := property.Default.([]any); ok {
				text = strings.ReplaceAll(fmt.Sprint(list), " ", ", ")
			}
			if want := "Default " + text + "."; !strings.Contains(property.Description, want) {
				t.Errorf("the comment of %s.%s does not say %q", name, key, want)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d defaults found", seen)
	}
}

func TestGoodFilesAndTheSampleFitTheSchema(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range append(files, "sample.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(plainJSON(t, data)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	// What an editor can find out, it must.
	for _, name := range []string{"unknown-key", "bad-duration", "list-for-a-value", "missing-client-id", "unknown-grant", "log-level", "unknown-delivery"} {
		data, err := os.ReadFile(filepath.Join("testdata", "bad", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(plainJSON(t, data)) == nil {
			t.Errorf("the schema accepts %s", name)
		}
	}
}

func compileSchema(t *testing.T) *validator.Schema {
	t.Helper()
	document, err := validator.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// plainJSON returns YAML as an editor's validator sees it.
func plainJSON(t *testing.T, data []byte) any {
	t.Helper()
	var decoded any
	if err := yaml.Load(data, &decoded); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(decoded)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := validator.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
