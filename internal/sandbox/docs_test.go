package sandbox_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheExamplesOfTheDocumentationWork sends each curl line of
// docs/sandbox.md to a sandbox.
func TestTheExamplesOfTheDocumentationWork(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	w := start(t)
	command := regexp.MustCompile(`(?m)^curl (?:-X (\w+) )?(?:-d '([^']*)' )?'?localhost:8499/([^\s']*)'?$`)
	found := command.FindAllStringSubmatch(string(text), -1)
	if lines := strings.Count(string(text), "\ncurl "); len(found) != lines || lines < 10 {
		t.Fatalf("%d of %d curl lines are understood", len(found), lines)
	}
	for _, m := range found {
		method, body, path := m[1], m[2], m[3]
		if method == "" && body != "" {
			method = http.MethodPost
		}
		if r := w.do(method, w.URL()+"/"+path, body); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", m[0], r.status, r.raw)
		}
	}
}
