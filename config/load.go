package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxFile is the largest configuration file that is read.
const maxFile = 1 << 20

// Source is a configuration and the surroundings that it is read in.
type Source struct {
	// File is the name of the file for problems; its folder is where relative
	// paths start.
	File string
	// Data is the content.
	Data []byte
	// LookupEnv finds environment variables; nil is os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// ReadFile reads the files of ${file:…}; nil reads regular files of at most
	// 64 KiB.
	ReadFile func(path string) ([]byte, error)
}

// Load reads and checks a configuration file of at most 1 MiB. The error is
// always [Problems].
func Load(path string) (*Config, error) {
	data, err := readSmallFile(path, maxFile)
	if err != nil {
		return nil, Problems{unreadable(path, err)}
	}
	return Parse(Source{File: path, Data: data})
}

// unreadable says why there is no configuration to check.
func unreadable(path string, err error) Problem {
	if errors.Is(err, fs.ErrNotExist) {
		return Problem{
			File: path, Text: "there is no configuration file", cause: err,
			Hint: "outlook-connector init writes one, or --config FILE",
		}
	}
	return Problem{
		File: path, Text: "cannot be read: " + plainCause(err), cause: err,
		Hint: "--config FILE, with a file that the user that runs outlook-connector can read",
	}
}

// Parse checks a configuration that is already in memory. The error is always
// [Problems].
func Parse(src Source) (*Config, error) {
	d := newDocument(src)
	root := d.parse()
	if root == nil {
		return nil, d.problems.sorted()
	}
	config := new(Config)
	config.setDefaults()
	d.decode(root, reflect.ValueOf(config).Elem(), "")
	d.decoded = true
	config.written = d.written
	d.complete(config)
	d.check(config)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return config, nil
}

// document is a file on its way to a Config.
type document struct {
	file, dir string
	lines     []string
	lookupEnv func(string) (string, bool)
	readFile  func(string) ([]byte, error)

	// nodes holds the value of each path, written the text of those with a ${…}.
	nodes   map[string]*yaml.Node
	written map[string]string
	// failed are the paths that have a problem from decoding: what is said about
	// their value later would only follow from it.
	failed  map[string]bool
	decoded bool
	// throughAlias counts values that are there by an alias, aliasDepth says
	// whether we are within one.
	throughAlias, aliasDepth int

	problems Problems
}

func newDocument(src Source) *document {
	d := &document{
		file:      src.File,
		dir:       filepath.Dir(src.File),
		lines:     strings.Split(string(src.Data), "\n"),
		lookupEnv: src.LookupEnv,
		readFile:  src.ReadFile,
		nodes:     make(map[string]*yaml.Node),
		written:   make(map[string]string),
		failed:    make(map[string]bool),
	}
	if d.lookupEnv == nil {
		d.lookupEnv = os.LookupEnv
	}
	if d.readFile == nil {
		d.readFile = func(path string) ([]byte, error) { return readSmallFile(path, maxReferencedFile) }
	}
	return d
}

// parse returns the top of the file, or nil after adding the problem.
func (d *document) parse() *yaml.Node {
	data := []byte(strings.Join(d.lines, "\n"))
	if len(data) > maxFile {
		d.addAt(0, 0, "", "make it smaller", "the file is larger than %d KiB", maxFile>>10)
		return nil
	}
	if !d.checkBytes() {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.addAt(0, 0, "", "report this", "%v", err)
		return nil
	}
	var first, second yaml.Node
	err = loader.Load(&first)
	if errors.Is(err, io.EOF) || err == nil && isEmpty(&first) {
		d.addAt(1, 1, "", "outlook-connector init writes a sample", "the file is empty")
		return nil
	}
	if err != nil {
		d.addSyntax(err)
		return nil
	}
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		// A mistake after the first document is reported as what it is only where
		// the parser says so; both mean that there is a second one.
		if err != nil {
			d.addSyntax(err)
		} else {
			d.addAt(second.Line, second.Column, "", "keep one document; a second file is a second process",
				"a second document starts here")
		}
		return nil
	}
	return first.Content[0]
}

func isEmpty(document *yaml.Node) bool {
	return len(document.Content) == 0 || document.Content[0].Kind == yaml.ScalarNode && document.Content[0].Value == ""
}

// checkBytes finds what the parser would refuse without a place.
func (d *document) checkBytes() bool {
	for i, line := range d.lines {
		column := 0
		for at := 0; at < len(line); {
			r, size := utf8.DecodeRuneInString(line[at:])
			column++
			switch {
			case r == utf8.RuneError && size == 1:
				d.addAt(i+1, column, "", "save the file as UTF-8", "a byte that is not UTF-8")
				return false
			case r == '\r' && at+size == len(line) && i+1 < len(d.lines):
			case r < ' ' && r != '\t', r >= 0x7f && r <= 0x9f, r == '\u2028', r == '\u2029':
				// Among them are line breaks that YAML counts and editors do not.
				d.addAt(i+1, column, "", "remove it", "a control character, %U", r)
				return false
			}
			at += size
		}
	}
	return true
}

// addSyntax reports what is not YAML.
func (d *document) addSyntax(err error) {
	loadError, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		d.addAt(1, 1, "", "mend the YAML", "%v", err)
		return
	}
	line, column := loadError.Mark.Line, loadError.Mark.Column
	text := loadError.Message
	if context := loadError.ContextMsg; context != "" {
		text += " " + context
		if mark := loadError.ContextMark; mark.Line > 0 && mark.Line != line {
			text += fmt.Sprintf(" that starts on line %d", mark.Line)
		}
	}
	hint := "mend the YAML here or in the line before: indentation, a colon, a quote"
	if line > 0 && line <= len(d.lines) {
		source := d.lines[line-1]
		inFlow := strings.ContainsAny(source, "{[")
		switch {
		case strings.HasPrefix(strings.TrimLeft(source, " "), "\t"):
			hint = "indent with spaces; YAML does not take tabs"
		case inFlow && strings.Contains(source, "${"):
			hint = `put quotes around a reference within { } or [ ]: "${…}"`
		case strings.Contains(text, "cannot start any token"):
			hint = "put quotes around the value"
		}
	}
	d.addAt(max(line, 1), max(column, 1), "", hint, "this is not YAML: %s", text)
}

// addAt adds a problem at a place of its own.
func (d *document) addAt(line, column int, path, hint, format string, args ...any) {
	d.push(Problem{Line: line, Column: column, Path: path, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// push adds a problem. Of a file that is nothing but mistakes only so many are
// kept.
func (d *document) push(p Problem) {
	if len(d.problems) < 10*maxProblems {
		p.File = d.file
		d.problems = append(d.problems, p)
	}
}

// add adds a problem at a path: where its value stands, or where the nearest
// thing around it begins if it is not in the file.
func (d *document) add(path, hint, format string, args ...any) {
	if d.decoded && d.hasFailed(path) {
		return
	}
	if !d.decoded {
		d.failed[path] = true
	}
	line, column := d.place(path)
	d.addAt(line, column, path, hint, format, args...)
}

// hasFailed reports whether a path, or something around it, could not be
// decoded.
func (d *document) hasFailed(path string) bool {
	for {
		if d.failed[path] {
			return true
		}
		if path == "" {
			return false
		}
		path = parent(path)
	}
}

// place returns where a path stands in the file.
func (d *document) place(path string) (line, column int) {
	for {
		if node := d.nodes[path]; node != nil {
			return node.Line, node.Column
		}
		if path == "" {
			return 1, 1
		}
		path = parent(path)
	}
}

// parent returns the path of what is around a path: clients[0].name,
// clients[0], clients, "". A key with a dot in it leads to a path that is not
// in the file, and its parent's parent is found instead.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// quote returns a value for a message, in quotes: as it stands in the file, so
// with its ${…} and not with what that stands for.
func (d *document) quote(path, value string) string {
	node := d.nodes[path]
	if node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node != nil && node.Kind == yaml.ScalarNode {
		value = node.Value
	}
	return fmt.Sprintf("%q", clip(value))
}

// filledIn reports whether a value, or one within it, has a ${…}. What other
// packages say about such a value is not shown, since they repeat it.
func (d *document) filledIn(path string) bool {
	for at := range d.written {
		if at == path || strings.HasPrefix(at, path+".") || strings.HasPrefix(at, path+"[") {
			return true
		}
	}
	return false
}
