package sandbox_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/sandbox"
)

var update = flag.Bool("update", false, "rewrite the table of operations in docs/sandbox.md")

const (
	sandboxPage    = "../../docs/sandbox.md"
	tableBegin     = "<!-- operations: begin -->\n"
	tableEnd       = "<!-- operations: end -->\n"
	fewestModelled = 150
)

// TestTheDocumentationTellsOfEachOperationHowItIsAnswered compares the table at the
// end of docs/sandbox.md with the routes, and writes it with -update.
func TestTheDocumentationTellsOfEachOperationHowItIsAnswered(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(sandboxPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableBegin)
	have, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok && *update {
		before, ok, ok2 = strings.TrimRight(before, "\n")+"\n\n", true, true
	}
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table; -update makes one", sandboxPage)
	}
	want, modelled := operationTable()
	if modelled < fewestModelled {
		t.Errorf("%d operations are modelled, want at least %d", modelled, fewestModelled)
	}
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("the table is stale; go test ./internal/sandbox -run Documentation -update rewrites it (-want +got):\n%s", cmp.Diff(want, have))
	}
	if err := os.WriteFile(sandboxPage, []byte(before+tableBegin+want+tableEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// operationTable is the table, and how many operations are modelled.
func operationTable() (string, int) {
	var b strings.Builder
	modelled, n := 0, 0
	for _, op := range sandbox.Operations() {
		how := "generic"
		if sandbox.Modelled(op) {
			how = "modelled"
			modelled++
		}
		status := make([]string, 0, len(op.Success))
		for _, code := range op.Success {
			status = append(status, fmt.Sprint(code))
		}
		slices.Sort(status)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", op.ID, op.Method, how, strings.Join(status, ", "))
		n++
	}
	head := fmt.Sprintf(`## Operations

All %d operations of the catalogue are answered: %d are modelled by hand, %d by a generic store that creates, reads, lists, changes and deletes as the
documentation says, without more meaning. A status that is not there is not documented.

| Operation | Method | How | Documented status |
| --- | --- | --- | --- |
`, n, modelled, n-modelled)
	return head + b.String(), modelled
}
