package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestTheReferencePageIsThatOfTheTypes(t *testing.T) {
	t.Parallel()
	rewriteOrCompare(t, "../docs/configuration.md", []byte(reference(t)))
}

// referenceHead is the part of docs/configuration.md that no field's comment
// can say.
const referenceHead = `# Configuration

<!-- Made from the comments in the package config by "go test ./config -update". Change them, not this page. -->

The file is YAML, one document of at most 1 MiB, by default ` + "`outlook-connector.yaml`" + `; ` + "`--config FILE`" + ` or
` + "`OUTLOOK_CONNECTOR_CONFIG`" + ` names another. ` + "`outlook-connector init`" + ` writes the sample below,
` + "`outlook-connector config check`" + ` tells every mistake at once as ` + "`file:line:column: text`" + `,
` + "`outlook-connector config show`" + ` prints what is in force with its secrets redacted, and
` + "`outlook-connector config schema`" + ` prints a JSON Schema for editors.

It is read strictly: an unknown key, a key that is there twice, a wrong type, a reference to something that is not
there are mistakes, and a key whose feature is not available yet is refused rather than ignored. Anchors, aliases and
` + "`<<: *name`" + ` work; tags do not.

**Values from outside.** These work inside any value, and are filled in after the file was parsed, so that they can
never be more than one value:

| written | stands for |
| --- | --- |
| ` + "`${env:NAME}`" + ` | the environment variable; a mistake where it is not set |
| ` + "`${env:NAME:-default}`" + ` | the same, or the default where it is not set or empty |
| ` + "`${file:PATH}`" + ` | the content of a text file of at most 64 KiB, without the line break at its end |
| ` + "`$${`" + ` | the two characters ` + "`${`" + ` themselves |

Within ` + "`{ }` and `[ ]`" + ` such a value needs quotes. In a payload it is always text. Secrets are best kept in files or
variables; they are never accepted on the command line and never printed.

**Paths** that are not absolute start at the folder of the configuration file, in ` + "`${file:…}`" + ` too.

**Addresses** are https; http is accepted for loopback addresses only.

**Durations** are numbers with units: ` + "`30s`, `10m`, `24h`, `7d`, `1h30m`" + `. **Sizes**: ` + "`150MB`" + ` (powers of 1,000),
` + "`64MiB`" + ` (powers of 1,024). **Rates**: ` + "`10000/10m`, `150MB/5m`" + `.
`

// reference renders the page.
func reference(t *testing.T) string {
	t.Helper()
	comments := comments(t)
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## The sample\n\n```yaml\n" + string(Sample()) + "```\n")
	var section func(path string, s reflect.Type)
	section = func(path string, s reflect.Type) {
		if path == "" {
			b.WriteString("\n## The top of the file\n")
		} else {
			fmt.Fprintf(&b, "\n## `%s`\n", path)
		}
		b.WriteString("\n| key | value | meaning |\n| --- | --- | --- |\n")
		type inner struct {
			path string
			t    reflect.Type
		}
		var below []inner
		for _, f := range fields(s) {
			kind, list := s.Field(f.index).Type, ""
			for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
				if kind.Kind() == reflect.Slice {
					list = "[]"
				}
				kind = kind.Elem()
			}
			if isSection(kind) {
				below = append(below, inner{join(path, f.key) + list, kind})
			}
			required := ""
			if strings.Contains(s.Field(f.index).Tag.Get("jsonschema"), "required") {
				required = ", required"
			}
			fmt.Fprintf(&b, "| `%s` | %s%s | %s |\n", f.key, valueName(kind, list != ""), required, cell(comments[s.Name()+"."+f.key]))
		}
		for _, i := range below {
			section(i.path, i.t)
		}
	}
	section("", reflect.TypeFor[Config]())
	return b.String()
}

// comments returns the descriptions of the schema by type and key.
func comments(t *testing.T) map[string]string {
	t.Helper()
	type properties map[string]struct{ Description string }
	var schema struct {
		Properties  properties
		Definitions map[string]struct{ Properties properties } `json:"$defs"`
	}
	if err := json.Unmarshal(generateSchema(t), &schema); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for key, property := range schema.Properties {
		found["Config."+key] = property.Description
	}
	for name, definition := range schema.Definitions {
		for key, property := range definition.Properties {
			found[name+"."+key] = property.Description
		}
	}
	return found
}

func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}

// valueName says what kind of value a key takes.
func valueName(t reflect.Type, list bool) string {
	name := map[string]string{
		"Duration": "duration", "Rate": "rate", "ByteRate": "rate of bytes", "Start": "start", "Servers": "addresses", "Secret": "secret",
		"Every": "duration, or {min, max}", "Mailboxes": "list of texts, or {group} or {users}",
	}[t.Name()]
	if name == "" {
		switch t.Kind() {
		case reflect.String:
			name = "text"
		case reflect.Int:
			name = "number"
		case reflect.Bool:
			name = "true or false"
		default:
			name = "keys"
		}
	}
	if list {
		return "list of " + strings.TrimSuffix(name, "s") + "s"
	}
	return name
}
