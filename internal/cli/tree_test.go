package cli_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"outlook-connector/internal/cli"
)

// commands returns every command of the program, groups included. What cobra
// adds by itself (help, completion) is its own and explains itself.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		all = append(all, commands(child)...)
	}
	return all
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	for _, cmd := range commands(cli.Root()) {
		words := strings.Fields(cmd.CommandPath())[1:]
		t.Run(strings.Join(append(words, "--help"), " "), func(t *testing.T) {
			t.Parallel()
			if !cmd.Runnable() {
				t.Error("it does nothing")
			}
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("Short is %q; say in a phrase without a full stop what it does", cmd.Short)
			}
			if !strings.Contains(cmd.Example, cmd.CommandPath()) {
				t.Errorf("no example shows %q:\n%s", cmd.CommandPath(), cmd.Example)
			}
			cmd.Flags().VisitAll(func(f *pflag.Flag) {
				if f.Usage == "" {
					t.Errorf("--%s does not say what it is for", f.Name)
				}
			})

			var out, errOut bytes.Buffer
			if code := cli.Main(t.Context(), append(words, "--help"), strings.NewReader(""), &out, &errOut); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if errOut.Len() > 0 {
				t.Errorf("on standard error: %s", &errOut)
			}
			for _, want := range []string{cmd.Example, "Usage:\n  " + cmd.CommandPath(), "--config FILE", "--output"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the help lacks %q:\n%s", want, &out)
				}
			}
		})
	}
}

func TestExamplesUseOnlyCommandsAndFlagsThatExist(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, cmd := range commands(cli.Root()) {
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(line, " # ")
			if _, after, piped := strings.Cut(line, " | "); piped {
				line = after
			}
			words := strings.Fields(line)
			if len(words) == 0 || words[0] != "outlook-connector" {
				continue // curl, or the second line of a long one
			}
			seen++
			root := cli.Root()
			target, _, err := root.Find(words[1:])
			if err != nil || target == root {
				t.Errorf("%s: %q is no command: %v", cmd.CommandPath(), line, err)
				continue
			}
			for _, word := range words {
				name, isFlag := strings.CutPrefix(word, "--")
				if isFlag && target.Flag(name) == nil {
					t.Errorf("%s: %q: %s has no flag --%s", cmd.CommandPath(), line, target.CommandPath(), name)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d examples were looked at", seen)
	}
}

// The commands that are promised. Those of later releases are added here when
// they are built.
func TestTheCommandsAreThere(t *testing.T) {
	t.Parallel()
	var got []string
	for _, cmd := range commands(cli.Root()) {
		if path := strings.TrimPrefix(cmd.CommandPath(), "outlook-connector"); path != "" {
			got = append(got, strings.TrimSpace(path))
		}
	}
	for _, want := range []string{
		"demo", "init", "setup", "run", "auth login", "auth status", "auth logout", "auth rekey", "auth export", "auth import", "entities", "entities show", "publish", "listen", "call",
		"dlq list", "dlq show", "dlq redrive", "dlq discard", "dlq resolve", "feeds list", "feeds resync", "feeds pause", "feeds resume", "audit list", "audit verify", "status", "health", "config check", "config schema", "config show", "sandbox", "bench ingest", "bench publish", "bench feeds", "version",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("outlook-connector %s is missing", want)
		}
	}
}
