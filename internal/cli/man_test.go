package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outlook-connector/internal/cli"
)

// Packages ship what this command writes, so a command without a page, or with one
// that hides a flag, would be noticed by nobody else.
func TestEveryCommandHasAManualPage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	var out, errOut bytes.Buffer
	if code := cli.Main(t.Context(), []string{"man", dir}, strings.NewReader(""), &out, &errOut); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	pages := make(map[string]string)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages[f.Name()] = string(text)
	}
	for _, cmd := range commands(cli.Root()) {
		if cmd.Hidden {
			continue
		}
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		page, ok := pages[name]
		delete(pages, name)
		if !ok {
			t.Errorf("%s has no page %s", cmd.CommandPath(), name)
			continue
		}
		for _, want := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXAMPLES\n", ".SH EXIT STATUS\n", `\-\-config`, `\-\-output`} {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		for line := range strings.Lines(cmd.LocalNonPersistentFlags().FlagUsages()) {
			_, flag, ok := strings.Cut(line, "--")
			if !ok {
				continue
			}
			flag = strings.Fields(flag)[0]
			if !strings.Contains(page, `\-\-`+strings.ReplaceAll(flag, "-", `\-`)+`\fR`) {
				t.Errorf("%s does not tell of --%s", name, flag)
			}
		}
		for line := range strings.Lines(page) {
			// A line that begins with a dot must be one of the requests used here.
			if request, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(request, ".") &&
				!strings.Contains(" .TH .SH .TP .PP .B .BR .nf .fi ", " "+request+" ") {
				t.Errorf("%s: a request of roff by accident: %q", name, line)
			}
		}
	}
	for name := range pages { // what cobra adds by itself
		if !strings.HasPrefix(name, "outlook-connector-completion") && name != "outlook-connector-help.1" {
			t.Errorf("the page %s is of no command", name)
		}
	}
}

func TestAManualPageEscapesWhatRoffWouldTakeForItself(t *testing.T) {
	t.Parallel()
	root := cli.Root()
	root.Long = ".hidden\n'quoted\na \\n b -- c\n\n  .kept as it is\nfilled"
	page := cli.ManualPage(root)
	for _, want := range []string{"\n\\&.hidden\n", "\n\\&'quoted\n", "\na \\en b \\-\\- c\n", "\n.nf\n  .kept as it is\n.fi\nfilled\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}
