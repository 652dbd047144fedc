package telemetry_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/log_keys.txt")

const (
	keysFile = "testdata/log_keys.txt"
	logsPage = "../../docs/operate/logs.md"
)

// logLines are the constant parts of what the program logs.
type logLines struct {
	keys   map[string]bool
	levels map[string]map[string]bool // by message
}

// readLogLines reads them out of the source: calls of methods of loggers, and of the
// functions of slog that make attributes.
func readLogLines(t *testing.T) logLines {
	t.Helper()
	lines := logLines{keys: map[string]bool{}, levels: map[string]map[string]bool{}}
	for _, folder := range []string{"../../worker", "../../subscriber", "../../publisher", "../../tokenstore", "../../internal", "../../config"} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && slices.Contains([]string{"sandbox", "bench", "proof", "testdata", "tools"}, d.Name()) {
				return fs.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					lines.take(call)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

var attribute = regexp.MustCompile(`^(String|Int|Int64|Uint64|Bool|Duration|Time|Any|Float64|Group)$`)

func (l logLines) take(call *ast.CallExpr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	if of, ok := method.X.(*ast.Ident); ok && of.Name == "slog" {
		if key, ok := literal(call.Args, 0); ok && attribute.MatchString(method.Sel.Name) {
			l.keys[key] = true
		}
		return
	}
	if !strings.Contains(strings.ToLower(name(method.X)), "log") {
		return
	}
	level := strings.TrimSuffix(method.Sel.Name, "Context")
	first := 0
	switch level {
	case "Debug", "Info", "Warn", "Error":
		if level != method.Sel.Name {
			first = 1
		}
	case "Log", "LogAttrs":
		first = 2
	case "With":
		first = -1
	default:
		return
	}
	if message, ok := literal(call.Args, first); ok {
		if l.levels[message] == nil {
			l.levels[message] = map[string]bool{}
		}
		l.levels[message][strings.ToLower(level)] = true
	}
	for i := first + 1; i < len(call.Args); i++ {
		if key, ok := literal(call.Args, i); ok {
			l.keys[key] = true
			i++ // its value
		}
	}
}

// name is the last part of an expression: "log" of w.o.log.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	default:
		return ""
	}
}

func literal(args []ast.Expr, i int) (string, bool) {
	if i < 0 || i >= len(args) {
		return "", false
	}
	lit, ok := args[i].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// TestTheKeysOfLogLinesAreThoseOfTheList: searches and alerts rely on them. A change
// here is a change that users must be told of.
func TestTheKeysOfLogLinesAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	lines := readLogLines(t)
	got := strings.Join(slices.Sorted(maps.Keys(lines.keys)), "\n") + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(keysFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(keysFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(text(t, keysFile), got); diff != "" {
		t.Errorf("keys (-want +got); -update rewrites the list:\n%s", diff)
	}
	for key := range lines.keys {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(key) {
			t.Errorf("key %q is not snake_case", key)
		}
	}
}

// TestThePageOfTheLogNamesLinesThatThereAre reads the rows of its tables: a message
// in back quotes, then the level, then keys.
func TestThePageOfTheLogNamesLinesThatThereAre(t *testing.T) {
	t.Parallel()
	lines := readLogLines(t)
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (debug|info|warn|error) \\| ([^|]*) \\|").FindAllStringSubmatch(text(t, logsPage), -1)
	if len(rows) < 20 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		levels := lines.levels[row[1]]
		if levels == nil || !levels[row[2]] && !levels["log"] && !levels["logattrs"] {
			t.Errorf("nothing logs %q at %s (%v)", row[1], row[2], levels)
		}
		for _, key := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[3], -1) {
			if !lines.keys[key[1]] {
				t.Errorf("%q: no key %s", row[1], key[1])
			}
		}
	}
}

// TestRunBooksNameLinesThatThereAre: those in “…” of the log.
func TestRunBooksNameLinesThatThereAre(t *testing.T) {
	t.Parallel()
	lines := readLogLines(t)
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		for _, m := range regexp.MustCompile("the log: “([^”]+)”").FindAllStringSubmatch(text(t, file), -1) {
			if lines.levels[m[1]] == nil {
				t.Errorf("%s: nothing logs %q", file, m[1])
			}
		}
	}
}
