package deploytest_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"outlook-connector/internal/cli"
	"outlook-connector/worker"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// load reads a YAML file.
func load[T any](t *testing.T, path string) T {
	t.Helper()
	var value T
	if err := yaml.Unmarshal([]byte(read(t, path)), &value); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return value
}

// files returns the files below a folder of the repository, links followed.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(root, path)
			found = append(found, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// runs demands that the program takes a command line: its commands and flags exist.
func runs(t *testing.T, args ...string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := cli.Main(t.Context(), append(slices.Clone(args), "--help"), strings.NewReader(""), &out, &errOut); code != 0 {
		t.Errorf("outlook-connector %s: %s", strings.Join(args, " "), &errOut)
		return
	}
	command := ""
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			break
		}
		command += " " + arg
		if !strings.Contains(out.String(), "Usage:\n  outlook-connector"+command) {
			return // an argument, and no command any more
		}
	}
	for i, arg := range args {
		if arg != "--roles" {
			continue
		}
		for role := range strings.SplitSeq(args[i+1], ",") {
			if !slices.Contains(worker.Roles(), worker.Role(role)) {
				t.Errorf("outlook-connector %s: there is no role %q", strings.Join(args, " "), role)
			}
		}
	}
}

func TestEveryFileParses(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, file := range append(files(t, "deploy"), ".goreleaser.yaml") {
		text := read(t, file)
		switch {
		case strings.Contains(file, "/templates/"): // helm's language; make check-deploy renders them
			continue
		case strings.HasSuffix(file, ".yaml"), strings.HasSuffix(file, ".yml"):
			decoder := yaml.NewDecoder(strings.NewReader(text))
			for n := 0; ; n++ {
				var document any
				if err := decoder.Decode(&document); err != nil {
					if n == 0 || err.Error() != "EOF" {
						t.Errorf("%s: %v", file, err)
					}
					break
				}
			}
		case strings.HasSuffix(file, ".json"):
			if !json.Valid([]byte(text)) {
				t.Errorf("%s is no JSON", file)
			}
		default:
			continue
		}
		seen++
	}
	if seen < 10 {
		t.Errorf("only %d files were looked at", seen)
	}
}

func TestScriptsCanBeRun(t *testing.T) {
	t.Parallel()
	for _, file := range files(t, "deploy") {
		if !strings.HasSuffix(file, ".sh") {
			continue
		}
		info, err := os.Stat(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 || !strings.HasPrefix(read(t, file), "#!/") {
			t.Errorf("%s cannot be run: mode %v", file, info.Mode())
		}
	}
}
