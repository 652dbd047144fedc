package sandbox

// The types of Graph's metadata that the sandbox needs, read from types/*.txt:
// what an entity is made of, what a client may write, which values an enum has.
// One table serves the check of bodies, defaults, $select, $filter and
// rendering, so that a property cannot be writable and unknown at once.
//
// The form, a line each:
//
//	enum importance low normal high
//	complex itemBody [open]
//	  contentType bodyType
//	entity contact Contact etag ids=item
//	  displayName String = ""
//	  emailAddresses [emailAddress]
//
// An entity's second name is the one that Outlook's error texts use. Types of
// members are Edm's (String, Boolean, Int32, Int64, Double, Date, TimeOfDay,
// DateTimeOffset, Duration, Guid, Binary), Any, or a name from these files; in
// brackets, a list. Marks: readonly (a body that has it is accepted and the value
// ignored, as Graph does), create (only at creation), required (at creation),
// select (shown only when $select names it), absent (left out while it has no
// value), nav (shown only with $expand). What stands after = is the value at
// creation.

import (
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed types/*.txt
var typeFiles embed.FS

// edmType is an entity, complex or enum type.
type edmType struct {
	name    string
	outlook string   // in error texts
	values  []string // of an enum
	fields  []*field
	entity  bool
	open    bool // takes members that it does not name
	etag    bool // has a change key, and If-Match counts
	ids     idStyle
}

// idStyle is how the ids of an entity look and live.
type idStyle byte

const (
	idsFixed idStyle = iota // long, made from the key, never change
	idsItem                 // as of messages: ordinary and immutable
	idsGUID                 // random
	idsLocal                // unique in its place only, such as a name
)

type field struct {
	name     string
	kind     string // the type's name
	list     bool
	readonly bool
	create   bool
	required bool
	selected bool
	nav      bool
	absent   bool
	initial  any
	has      bool // has an initial value
}

// typeTable is read once; nothing in it changes afterwards.
var typeTable = sync.OnceValue(func() map[string]*edmType {
	types := map[string]*edmType{}
	files, err := typeFiles.ReadDir("types")
	if err != nil {
		panic("sandbox: " + err.Error())
	}
	for _, f := range files {
		text, err := typeFiles.ReadFile("types/" + f.Name())
		if err == nil {
			err = readTypes(types, string(text))
		}
		if err != nil {
			panic(fmt.Sprintf("sandbox: types/%s: %v", f.Name(), err))
		}
	}
	for _, t := range types {
		for _, f := range t.fields {
			if !isPrimitive(f.kind) && types[f.kind] == nil {
				panic(fmt.Sprintf("sandbox: types: %s.%s has the unknown type %s", t.name, f.name, f.kind))
			}
		}
	}
	return types
})

// typeNamed returns a type of the table. A name that is not there is a mistake
// in this package.
func typeNamed(name string) *edmType {
	t := typeTable()[name]
	if t == nil {
		panic("sandbox: no type " + name)
	}
	return t
}

func readTypes(types map[string]*edmType, text string) error {
	var t *edmType
	for n, line := range strings.Split(text, "\n") {
		if i := strings.Index(line, "#"); i >= 0 {
			line = line[:i]
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case line[0] == ' ' && t != nil:
			f, err := readField(line)
			if err != nil {
				return fmt.Errorf("line %d: %w", n+1, err)
			}
			t.fields = append(t.fields, f)
		case len(words) > 1:
			t = &edmType{name: words[1], outlook: words[1]}
			if types[t.name] != nil {
				return fmt.Errorf("line %d: %s is there twice", n+1, t.name)
			}
			types[t.name] = t
			rest := words[2:]
			switch words[0] {
			case "enum":
				t.values, rest = rest, nil
			case "entity":
				t.entity = true
				if len(rest) > 0 {
					t.outlook, rest = rest[0], rest[1:]
				}
			case "complex":
			default:
				return fmt.Errorf("line %d: %s is no kind of type", n+1, words[0])
			}
			for _, mark := range rest {
				switch mark {
				case "open":
					t.open = true
				case "etag":
					t.etag = true
				case "ids=item":
					t.ids = idsItem
				case "ids=guid":
					t.ids = idsGUID
				case "ids=local":
					t.ids = idsLocal
				default:
					return fmt.Errorf("line %d: unknown mark %s", n+1, mark)
				}
			}
		default:
			return fmt.Errorf("line %d: cannot be read", n+1)
		}
	}
	return nil
}

func readField(line string) (*field, error) {
	head, initial, found := strings.Cut(line, " = ")
	words := strings.Fields(head)
	if len(words) < 2 {
		return nil, fmt.Errorf("%q needs a name and a type", line)
	}
	f := &field{name: words[0], kind: strings.Trim(words[1], "[]"), list: strings.HasPrefix(words[1], "["), has: found}
	for _, mark := range words[2:] {
		switch mark {
		case "readonly":
			f.readonly = true
		case "create":
			f.create = true
		case "required":
			f.required = true
		case "select":
			f.selected = true
		case "nav":
			f.nav = true
		case "absent":
			f.absent = true
		default:
			return nil, fmt.Errorf("%s: unknown mark %s", f.name, mark)
		}
	}
	if found {
		if err := json.Unmarshal([]byte(initial), &f.initial); err != nil {
			return nil, fmt.Errorf("%s: initial value: %w", f.name, err)
		}
	}
	return f, nil
}

func (t *edmType) field(name string) *field {
	if i := slices.IndexFunc(t.fields, func(f *field) bool { return f.name == name }); i >= 0 {
		return t.fields[i]
	}
	return nil
}

// fieldFold finds a field without regard to case, as query options do.
func (t *edmType) fieldFold(name string) *field {
	if i := slices.IndexFunc(t.fields, func(f *field) bool { return strings.EqualFold(f.name, name) }); i >= 0 {
		return t.fields[i]
	}
	return nil
}

// fullName is how error texts write a type.
func (f *field) fullName() string {
	name := "microsoft.graph." + f.kind
	if isPrimitive(f.kind) {
		name = "Edm." + f.kind
	}
	if f.list {
		return "Collection(" + name + ")"
	}
	return name
}

func isPrimitive(kind string) bool {
	return slices.Contains([]string{
		"String", "Boolean", "Int32", "Int64", "Double", "Date", "TimeOfDay", "DateTimeOffset", "Duration", "Guid", "Binary", "Any",
	}, kind)
}

func errUnknownProperty(name, outlook string) *graphError {
	return errBody("The property '%s' does not exist on type 'Microsoft.OutlookServices.%s'. Make sure to only use property names that are defined by the type or mark the type as open type.", name, outlook)
}

// checkValue checks a decoded value against a field's type and returns it in the
// form in which it is kept: numbers as float64, enums in their own spelling,
// times in UTC. The value given is not changed.
func (f *field) checkValue(v any) (any, error) {
	if !f.list {
		return f.checkOne(v)
	}
	list, ok := v.([]any)
	switch {
	case v == nil:
		return []any{}, nil
	case !ok:
		return nil, f.errLiteral(v)
	}
	out := make([]any, 0, len(list))
	for _, item := range list {
		one, err := f.checkOne(item)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (f *field) errLiteral(v any) error {
	return errBody("Cannot convert the literal '%s' to the expected type '%s'.", shorten(string(appendJSON(nil, v)), 40), f.fullName())
}

var (
	datePattern = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
	timePattern = regexp.MustCompile(`^\d\d:\d\d(:\d\d(\.\d+)?)?$`)
	spanPattern = regexp.MustCompile(`^-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$`)
	guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

func (f *field) checkOne(v any) (any, error) {
	if v == nil || f.kind == "Any" {
		return v, nil
	}
	if t := typeTable()[f.kind]; t != nil {
		if t.values != nil {
			return f.checkEnum(t, v)
		}
		obj, ok := v.(map[string]any)
		if !ok {
			return nil, f.errLiteral(v)
		}
		return t.checkMembers(obj)
	}
	text, isText := v.(string)
	good := false
	switch f.kind {
	case "String":
		good = isText
	case "Boolean":
		_, good = v.(bool)
	case "Int32", "Int64":
		n, ok := v.(float64)
		good = ok && n == float64(int64(n))
	case "Double":
		_, good = v.(float64)
	case "Binary":
		if isText {
			_, err := base64.StdEncoding.DecodeString(text)
			good = err == nil
		}
	case "Date":
		good = isText && datePattern.MatchString(text)
	case "TimeOfDay":
		good = isText && timePattern.MatchString(text)
	case "Duration":
		good = isText && spanPattern.MatchString(text)
	case "Guid":
		good = isText && guidPattern.MatchString(text)
	case "DateTimeOffset":
		if !isText {
			break
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil { // Outlook takes one without an offset as UTC
			at, err = time.Parse("2006-01-02T15:04:05", text)
		}
		if err == nil {
			return at.UTC().Format(time.RFC3339Nano), nil
		}
	}
	if !good {
		return nil, f.errLiteral(v)
	}
	return v, nil
}

func (f *field) checkEnum(t *edmType, v any) (any, error) {
	text, ok := v.(string)
	if ok {
		for _, value := range t.values {
			if strings.EqualFold(value, text) {
				return value, nil
			}
		}
	}
	return nil, f.errLiteral(v)
}

// checkMembers checks an object against a complex type.
func (t *edmType) checkMembers(obj map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(obj))
	for name, v := range obj {
		f := t.field(name)
		switch {
		case strings.Contains(name, "@odata."):
			if name == "@odata.type" {
				out[name] = v
			}
		case f != nil:
			value, err := f.checkValue(v)
			if err != nil {
				return nil, err
			}
			out[name] = value
		case t.open:
			out[name] = v
		default:
			return nil, errUnknownProperty(name, t.outlook)
		}
	}
	return out, nil
}
