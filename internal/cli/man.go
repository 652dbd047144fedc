package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write a manual page for every command",
		Long: `Writes a manual page for every command into a folder, which is made where it is
not there. Packages are built with it; read one with man ./FOLDER/NAME.1.`,
		Example: "  outlook-connector man ./man",
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manual pages are for everybody
				return err
			}
			return writeManual(cmd.Root(), args[0])
		},
	}
}

// writeManual writes the pages of a command and of those below it. What is hidden
// has none.
func writeManual(cmd *cobra.Command, dir string) error {
	if cmd.Hidden || cmd.IsAdditionalHelpTopicCommand() {
		return nil
	}
	cmd.InitDefaultHelpFlag()
	file := filepath.Join(dir, pageName(cmd)+".1")
	if err := os.WriteFile(file, manualPage(cmd), 0o644); err != nil { //nolint:gosec // manual pages are for everybody
		return err
	}
	for _, child := range cmd.Commands() {
		if err := writeManual(child, dir); err != nil {
			return err
		}
	}
	return nil
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manualPage is the page of one command in the language of man(7). It names no
// date, so that two builds of one version are the same.
func manualPage(cmd *cobra.Command) []byte {
	p := &page{}
	p.line(`.TH "%s" "1" "" "outlook\-connector %s" "User Commands"`, strings.ToUpper(escape(pageName(cmd))), escape(buildVersion()))
	p.line(".SH NAME")
	p.line(`%s \- %s`, escape(pageName(cmd)), escape(cmd.Short))
	p.line(".SH SYNOPSIS")
	p.line(`.B %s`, escape(cmd.UseLine()))
	p.line(".SH DESCRIPTION")
	p.text(cmp.Or(cmd.Long, cmd.Short+"."))
	p.commands(cmd)
	p.flags("OPTIONS", cmd.NonInheritedFlags())
	p.flags("GLOBAL OPTIONS", cmd.InheritedFlags())
	if cmd.Example != "" {
		p.line(".SH EXAMPLES")
		p.verbatim(strings.Split(strings.TrimRight(cmd.Example, "\n"), "\n"))
	}
	p.line(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage or configuration.")
	p.line(".SH ENVIRONMENT\n.TP\n.B OUTLOOK_CONNECTOR_CONFIG\nThe configuration file, where \\fB\\-\\-config\\fR names none.")
	p.seeAlso(cmd)
	return p.Bytes()
}

// page collects lines of roff.
type page struct{ bytes.Buffer }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// text writes paragraphs; lines that are indented, and lists, stay as they are.
func (p *page) text(s string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			p.line(".PP")
		}
		lines := strings.Split(paragraph, "\n")
		for len(lines) > 0 {
			n := 0
			for n < len(lines) && strings.IndexAny(lines[n], " \t") == 0 {
				n++
			}
			if n > 0 {
				p.verbatim(lines[:n])
				lines = lines[n:]
				continue
			}
			p.line("%s", escape(lines[0]))
			lines = lines[1:]
		}
	}
}

// verbatim writes lines that are not filled.
func (p *page) verbatim(lines []string) {
	p.line(".nf")
	for _, line := range lines {
		p.line("%s", escape(line))
	}
	p.line(".fi")
}

func (p *page) commands(cmd *cobra.Command) {
	titled := false
	for _, child := range cmd.Commands() {
		if !child.IsAvailableCommand() {
			continue
		}
		if !titled {
			p.line(".SH COMMANDS")
			titled = true
		}
		p.line(".TP\n.B %s\n%s.", escape(child.Name()), escape(child.Short))
	}
}

func (p *page) flags(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.line(".SH %s", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		p.line(".TP")
		if value == "" {
			p.line(`\fB%s\fR`, escape(name))
		} else {
			p.line(`\fB%s\fR \fI%s\fR`, escape(name), escape(value))
		}
		switch f.DefValue {
		case "", "false", "0", "[]", "0s":
			p.line("%s", escape(usage))
		default:
			p.line("%s (default %s)", escape(usage), escape(f.DefValue))
		}
	})
}

func (p *page) seeAlso(cmd *cobra.Command) {
	var names []string
	if cmd.HasParent() {
		names = append(names, pageName(cmd.Parent()))
	}
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() {
			names = append(names, pageName(child))
		}
	}
	if len(names) == 0 {
		return
	}
	p.line(".SH SEE ALSO")
	for i, name := range names {
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		p.line(".BR %s (1)%s", escape(name), comma)
	}
}

// escape makes text mean itself in roff, wherever on a line it stands.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}
