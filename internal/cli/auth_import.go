package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

func (a *app) importCommand() *cobra.Command {
	var yes, force bool
	var flags lockFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take grants from a file that auth export wrote",
		Long: `Shows what an export holds and what taking it would replace, asks, and puts its
grants into the token store, all or none. It needs the store for itself: stop
the process that holds it first.

A grant that is older than the store's own is refused unless --force is given:
its refresh token may be used up. The connector that the export comes from must
not go on using the grants; see auth export.`,
		Example: `  outlook-connector auth import grants.sealed
  outlook-connector auth import grants.sealed --key-file export.key --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.importGrants(args[0], flags, yes, force) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "replace newer grants by older ones, too")
	flags.add(cmd)
	return cmd
}

func (a *app) importGrants(path string, flags lockFlags, yes, force bool) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	data, err := readExport(path)
	if err != nil {
		return err
	}
	phrase, err := tokenstore.TakesPassphrase(data)
	switch {
	case err != nil:
		return err
	case !phrase && flags.keyFile == "":
		return usageHint(fmt.Errorf("%s was sealed with a key", path), "--key-file FILE")
	case phrase && flags.keyFile != "":
		return usageHint(fmt.Errorf("%s was sealed with a passphrase", path), "leave --key-file out, or --passphrase-file FILE")
	}
	lock, err := a.lock(flags, false)
	if err != nil {
		return err
	}
	content, err := tokenstore.ReadExport(data, lock)
	if err != nil {
		return err
	}
	store, err := openStore(c, false)
	if err != nil {
		return err
	}
	err = a.importInto(store, c, content, yes, force)
	return errors.Join(err, store.Close())
}

func (a *app) importInto(store *tokenstore.Store, c *config.Config, content tokenstore.Exported, yes, force bool) error {
	list, err := store.Compare(content.Grants)
	if err != nil {
		return err
	}
	if a.output != "json" {
		if err := a.printIncoming(list, c, content); err != nil {
			return err
		}
	}
	older := slices.ContainsFunc(list, func(in tokenstore.Incoming) bool { return in.Effect == tokenstore.EffectOlder })
	if !yes && (force || !older) { // what is refused anyway needs no answer
		if err := a.confirm("Import? [y/N] "); err != nil {
			return err
		}
	}
	if list, err = store.Import(content.Grants, force); err != nil {
		return err
	}
	if a.output == "json" {
		type row struct {
			Client string            `json:"client"`
			Effect tokenstore.Effect `json:"effect"`
		}
		rows := make([]row, len(list))
		for i, in := range list {
			rows[i] = row{in.Grant.Client, in.Effect}
		}
		return a.printJSON(rows)
	}
	_, err = fmt.Fprintf(a.out, "%s imported; the connector that exported them must not use them any more\n", count(len(list), "grant"))
	return err
}

// readExport reads the file of an export.
func readExport(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		return nil, usageHint(err, "name a file that outlook-connector auth export wrote")
	}
	if info.Size() > tokenstore.MaxExport {
		return nil, fault.New(fault.Fatal, "%s is too large to be an export of grants", path).WithHint("name a file that outlook-connector auth export wrote")
	}
	return os.ReadFile(path)
}

func (a *app) printIncoming(list []tokenstore.Incoming, c *config.Config, content tokenstore.Exported) error {
	fmt.Fprintf(a.out, "exported %s\n\n", content.Created.Local().Format("2006-01-02 15:04"))
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tACCOUNT\tSIGNED IN\tEFFECT")
	for _, in := range list {
		effect := string(in.Effect)
		switch in.Effect {
		case tokenstore.EffectNew:
			if c.Client(in.Grant.Client) == nil {
				effect = "new; the configuration has no such client"
			}
		case tokenstore.EffectNewer:
			effect = fmt.Sprintf("newer: replaces that of %s, signed in %s", orDash(accountOf(in.Present)), in.Present.Granted.Local().Format("2006-01-02 15:04"))
		case tokenstore.EffectOlder:
			effect = fmt.Sprintf("OLDER than that of %s, signed in %s", orDash(accountOf(in.Present)), in.Present.Granted.Local().Format("2006-01-02 15:04"))
		case tokenstore.EffectSame:
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", in.Grant.Client, orDash(accountOf(in.Grant)), in.Grant.Granted.Local().Format("2006-01-02 15:04"), effect)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// confirm asks a person; where there is none, it says how to do without.
func (a *app) confirm(question string) error {
	terminal, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return usageHint(errors.New("there is no terminal to ask"), "add --yes")
	}
	fmt.Fprint(a.err, question)
	line, err := bufio.NewReader(terminal).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return fault.New(fault.Fatal, "nothing was imported")
	}
	return nil
}
