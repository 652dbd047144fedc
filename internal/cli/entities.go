package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

func (a *app) entitiesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "entities [PATTERN]",
		Short: "List the Outlook entities: what can be read, written and called",
		Long: `Lists the entities of the catalogue: the operations of Microsoft Graph v1.0
that touch Outlook. PATTERN is one or more words looked for in ids, titles and
paths; * stands for any text.`,
		Example: `  outlook-connector entities                # all of them
  outlook-connector entities send           # those with "send" in id, title or path
  outlook-connector entities 'mail.*'
  outlook-connector entities show mail.message.sendMail`,
		RunE: func(_ *cobra.Command, args []string) error {
			pattern := strings.Join(args, " ")
			found := catalog.Default().Search(pattern)
			if len(found) == 0 {
				return fault.New(fault.Poison, "no entity matches %q", pattern).WithHint("outlook-connector entities")
			}
			if a.output == "json" {
				return a.printJSON(found)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, op := range found {
				fmt.Fprintf(w, "%s\t%s\t%s\n", op.ID, op.Method, op.Title)
			}
			return w.Flush()
		},
	}
	cmd.AddCommand(a.entitiesShowCommand())
	return cmd
}

func (a *app) entitiesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "Show one entity: method, paths, parameters, permissions, success codes",
		Example:           "  outlook-connector entities show mail.message.sendMail\n  outlook-connector entities show \"Mail - Send mail\"",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeEntities,
		RunE: func(_ *cobra.Command, args []string) error {
			op, err := catalog.Default().Lookup(strings.Join(args, " "))
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(op)
			}
			return a.showEntity(op)
		},
	}
}

// completeEntities offers the catalogue's ids to the shell.
func completeEntities(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	for _, op := range catalog.Default().Operations() {
		if strings.HasPrefix(strings.ToLower(op.ID), strings.ToLower(toComplete)) {
			ids = append(ids, op.ID+"\t"+op.Title)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) showEntity(op *catalog.Operation) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(name string, values ...string) {
		for i, value := range values {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("id", op.ID)
	row("title", op.Title)
	row("method", op.Method)
	row("paths", op.Paths...)
	row("path parameters", op.PathParams...)
	if !op.NeedsMailbox() {
		row("mailbox", "none (-)")
	}
	row("required query", op.RequiredQuery...)
	if len(op.OptionalQuery) > 0 {
		row("optional query", strings.Join(op.OptionalQuery, ", "))
	}
	if len(op.Success) > 0 {
		row("success", strings.Trim(fmt.Sprint(op.Success), "[]"))
	}
	var traits []string
	if op.Collection {
		traits = append(traits, "a collection")
	}
	if op.Pageable {
		traits = append(traits, "in pages")
	}
	if op.Delta {
		traits = append(traits, "delta")
	}
	if len(traits) > 0 {
		row("answer", strings.Join(traits, ", "))
	}
	if class := op.Class(); class != catalog.A {
		row("class", string(class)+" (what is done when an answer is lost: docs/commands.md)")
	}
	for _, kind := range permissionKinds {
		row(kind.label, permissionText(op, kind.of))
	}
	row("reference", op.DocURL)
	return w.Flush()
}

// permissionKinds are the rows of entities show.
var permissionKinds = []struct {
	label string
	of    catalog.Kind
}{
	{"permission, work account", catalog.DelegatedWork},
	{"permission, personal account", catalog.DelegatedPersonal},
	{"permission, application", catalog.Application},
}

func permissionText(op *catalog.Operation, kind catalog.Kind) string {
	p := op.Permissions
	least := p.Least(kind)
	switch {
	case len(least) > 0:
		text := strings.Join(least, " or ")
		if more := p.AlsoAccepted.For(kind); len(more) > 0 {
			text += " (or " + strings.Join(more, ", ") + ")"
		}
		return text
	case !p.Known():
		return "not known"
	case p.DependsOn != "":
		return "depends on " + p.DependsOn
	default:
		return "not supported"
	}
}
