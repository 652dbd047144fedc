package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "outlook-connector"

// rule forbids what a package reaches. Paths ending in "/" stand for
// everything below them.
type rule struct {
	room string
	// deny is not to be reached, not even through another package.
	deny []string
	// denyDirect is not to be imported by the room itself; others may bring it.
	denyDirect []string
	because    string
}

var rules = []rule{
	{
		room: "publisher", deny: []string{
			"github.com/nats-io/", module + "/internal/graph", module + "/internal/jet", module + "/subscriber",
			module + "/worker", module + "/config", module + "/tokenstore",
		}, denyDirect: []string{"net/http"},
		because: "the core decides about effects; it must be drivable by a test through its own small interfaces, with no HTTP and no NATS in sight",
	},
	{
		room: "subscriber", deny: []string{
			"github.com/nats-io/", module + "/internal/graph", module + "/internal/jet", module + "/publisher",
			module + "/worker", module + "/config", module + "/tokenstore",
		}, denyDirect: []string{"net/http"},
		because: "the core decides what is told and when the cursor moves; it must be drivable by a test through its own small interfaces",
	},
	{
		room: "internal/graph", deny: []string{
			"github.com/nats-io/", "go.etcd.io/bbolt", module + "/internal/jet", module + "/tokenstore", module + "/config",
		},
		because: "the Graph client knows neither queue nor store: it is given a token source",
	},
	{
		room: "internal/jet", deny: []string{
			"github.com/nats-io/nats-server/", module + "/internal/graph", module + "/config", module + "/tokenstore",
			module + "/publisher", module + "/subscriber",
		},
		because: "a worker on an external NATS must not depend on the server; and the queue does not know what it carries",
	},
	{
		room: "internal/jet/embedded", deny: []string{module + "/config", module + "/worker"},
		because: "the embedded server is given its options and knows no configuration file",
	},
	{
		room: "tokenstore", deny: []string{"github.com/nats-io/", module + "/internal/jet", module + "/internal/graph", module + "/config"},
		because: "secrets have few neighbours; the transport between processes is handed in as a function",
	},
	{
		room: "config", deny: []string{
			"github.com/nats-io/", module + "/worker", module + "/internal/graph", module + "/internal/jet", module + "/tokenstore",
			module + "/publisher", module + "/subscriber",
		}, denyDirect: []string{"net/http"},
		because: "configuration is data: reading it opens and dials nothing",
	},
	{
		room: "internal/sandbox", deny: []string{
			module + "/config", module + "/worker", module + "/publisher", module + "/subscriber", module + "/tokenstore",
			module + "/internal/graph", module + "/internal/jet", module + "/internal/catalog", module + "/internal/fault",
			module + "/internal/retry", module + "/internal/seal", module + "/internal/xform", module + "/internal/httpd",
		},
		because: "the sandbox must be able to disagree with the product, so it shares no code with it",
	},
	{
		room: "internal/catalog", deny: []string{"github.com/nats-io/", module + "/internal/graph", module + "/config"},
		denyDirect: []string{"net/http"},
		because:    "the catalogue is a leaf: data and the look-ups on it",
	},
	{
		room: "internal/httpd", deny: []string{
			"github.com/nats-io/", module + "/internal/graph", module + "/internal/jet", module + "/config", module + "/tokenstore",
		},
		because: "pages show what they are given and decide nothing",
	},
	{
		room: "internal/audit", deny: []string{
			"github.com/nats-io/", module + "/internal/jet", module + "/publisher", module + "/tokenstore", module + "/worker", module + "/config",
		}, denyDirect: []string{"net/http"},
		because: "a record is checked by what it says, wherever it is stored and whoever wrote it",
	},
	{
		room: "cmd/outlook-connector", denyDirect: []string{module + "/worker", module + "/config", module + "/internal/jet"},
		because: "main is signals and the exit code; everything else is in internal/cli",
	},
}

// everywhere holds for every package of the program.
var everywhere = []rule{
	{deny: []string{"testing"}, because: "testing brings its flags and its weight into the binary"},
	{deny: []string{"github.com/pkg/errors"}, because: "the standard errors package wraps well enough"},
	{deny: []string{"github.com/microsoftgraph/"}, because: "Microsoft's SDK repeats a POST on 504 by itself, which sends mails twice"},
}

type listed struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Doc,Imports,Deps,Module", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func denied(path string, deny []string) bool {
	return slices.ContainsFunc(deny, func(d string) bool {
		return path == strings.TrimSuffix(d, "/") || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/")
	})
}

func TestRoomsKnowOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	packages := list(t)
	byPath := make(map[string]listed, len(packages))
	for _, p := range packages {
		byPath[p.ImportPath] = p
	}
	for _, r := range rules {
		p, ok := byPath[module+"/"+r.room]
		if !ok {
			t.Errorf("rule for %s, but there is no such room", r.room)
			continue
		}
		for _, dep := range p.Deps {
			// The embedded server lies below internal/jet but is a room of its own.
			if denied(dep, r.deny) && dep != p.ImportPath {
				t.Errorf("%s reaches %s, but %s", r.room, dep, r.because)
			}
		}
		for _, imported := range p.Imports {
			if denied(imported, r.denyDirect) {
				t.Errorf("%s imports %s, but %s", r.room, imported, r.because)
			}
		}
	}
	for _, p := range packages {
		for _, r := range everywhere {
			for _, dep := range p.Deps {
				if denied(dep, r.deny) && strings.HasPrefix(p.ImportPath, module+"/cmd/") {
					t.Errorf("%s reaches %s, but %s", p.ImportPath, dep, r.because)
				}
			}
		}
	}
}

func TestOnlyOneRoomKnowsTheServer(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "github.com/nats-io/nats-server/") && p.ImportPath != module+"/internal/jet/embedded" {
				t.Errorf("%s imports %s: only internal/jet/embedded may, so that the server stays replaceable", p.ImportPath, imported)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("only %d packages seen: the test looks at the wrong place", len(packages))
	}
	for _, p := range packages {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		last := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]
		if slices.Contains([]string{"util", "utils", "common", "types", "models", "helpers", "pkg"}, last) {
			t.Errorf("%s: a room is named for what it is for", p.ImportPath)
		}
	}
}
