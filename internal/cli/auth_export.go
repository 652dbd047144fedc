package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

// lockFlags say what an export is sealed with. There is no flag for a secret
// itself: other users of the machine read the arguments of every process.
type lockFlags struct{ keyFile, passphraseFile string }

func (f *lockFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "`FILE` with the key of the export: 64 hex digits")
	cmd.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "`FILE` with the passphrase; without it, and without --key-file, the terminal is asked")
	cmd.MarkFlagsMutuallyExclusive("key-file", "passphrase-file")
}

// exportLimit bounds the file of a key or a passphrase.
const exportLimit = 4 << 10

// lock reads the secret, or asks for it; twice where it is to seal something.
func (a *app) lock(f lockFlags, twice bool) (lock tokenstore.Lock, err error) {
	switch {
	case f.keyFile != "":
		lock.Key, err = readSecret(f.keyFile)
	case f.passphraseFile != "":
		lock.Passphrase, err = readSecret(f.passphraseFile)
	default:
		lock.Passphrase, err = a.askPassphrase(twice)
	}
	return lock, err
}

// readSecret reads a file with one secret, which a line break may end.
func readSecret(path string) (seal.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", usageHint(err, "name a file that you can read")
	}
	data, err := io.ReadAll(io.LimitReader(file, exportLimit+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" || len(data) > exportLimit {
		return "", usageHint(fmt.Errorf("%s is empty or longer than %d bytes", path, exportLimit), "name a file with the key or the passphrase and nothing else")
	}
	return seal.Secret(text), nil
}

func (a *app) askPassphrase(twice bool) (seal.Secret, error) {
	terminal, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usageHint(errors.New("there is no terminal to ask for the passphrase"), "--passphrase-file FILE, or --key-file FILE with 64 hex digits (openssl rand -hex 32 makes them)")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.err, prompt)
		text, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(a.err)
		return string(text), err
	}
	first, err := ask("Passphrase of the export: ")
	if err != nil || !twice {
		return seal.Secret(first), err
	}
	second, err := ask("Once more: ")
	if err == nil && first != second {
		err = usageHint(errors.New("the two passphrases differ"), "run it again")
	}
	return seal.Secret(first), err
}

func (a *app) exportCommand() *cobra.Command {
	var out string
	var force bool
	var flags lockFlags
	cmd := &cobra.Command{
		Use:   "export [CLIENT…]",
		Short: "Write grants to a sealed file, to move them to another machine",
		Long: `Writes the grants of the named clients, or all, to a file that only its
passphrase or key opens. It needs the token store for itself: stop the process
that holds it first.

A grant has one owner. Once it is imported elsewhere, this store must not go on
using it: a sign-in server that takes each refresh token once ends the grant of
both when the second one shows up. Remove it here with auth logout, or do not
start this connector again.`,
		Example: `  outlook-connector auth export --out grants.sealed
  outlook-connector auth export contoso --out grants.sealed --key-file export.key`,
		ValidArgsFunction: a.completeClients,
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usageHint(errors.New("no file to write to"), "--out FILE")
			}
			return a.export(args, out, flags, force)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write; it must not be there yet")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it is there")
	flags.add(cmd)
	return cmd
}

func (a *app) export(clients []string, out string, flags lockFlags, force bool) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	// Before anybody types a passphrase.
	if _, err := os.Lstat(out); err == nil && !force {
		return existsAlready(out)
	}
	store, err := openStore(c, true)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // only read from
	grants, err := chosen(store, clients)
	if err != nil {
		return err
	}
	lock, err := a.lock(flags, true)
	if err != nil {
		return err
	}
	data, err := store.Export(grants, lock)
	if err != nil {
		return err
	}
	if err := writeSealed(out, data, force); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return existsAlready(out)
		}
		return fmt.Errorf("write the export: %w", err)
	}
	if a.output == "json" {
		names := make([]string, len(grants))
		for i, g := range grants {
			names[i] = g.Client
		}
		return a.printJSON(map[string]any{"file": out, "clients": names})
	}
	for _, g := range grants {
		fmt.Fprintf(a.out, "exported: client %s, account %s\n", g.Client, orDash(accountOf(g)))
	}
	_, err = fmt.Fprintf(a.out, "wrote %s; once it is imported elsewhere, this store must not use these grants any more: outlook-connector auth logout CLIENT\n", out)
	return err
}

func existsAlready(path string) error {
	return fault.New(fault.Fatal, "%s is there already", path).WithHint("name another file, or add --force to replace it")
}

// chosen returns the grants of the named clients, or all.
func chosen(store *tokenstore.Store, clients []string) ([]tokenstore.Grant, error) {
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, g := range all {
		names[i] = g.Client
	}
	for _, name := range clients {
		if !slices.Contains(names, name) {
			hint := "the token store has none; sign in with outlook-connector auth login CLIENT"
			if len(names) > 0 {
				hint = "one of: " + strings.Join(names, ", ")
			}
			return nil, usageHint(fmt.Errorf("the token store has no grant of a client %q", name), "%s", hint)
		}
	}
	if len(clients) > 0 {
		all = slices.DeleteFunc(all, func(g tokenstore.Grant) bool { return !slices.Contains(clients, g.Client) })
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Fatal, "the token store has no grants").WithHint("sign in with outlook-connector auth login CLIENT")
	}
	return all, nil
}

// accountOf is a grant's account for people.
func accountOf(g tokenstore.Grant) string {
	switch {
	case g.Account.UPN != "":
		return g.Account.UPN
	case g.Account.ObjectID != "":
		return g.Account.ObjectID
	case g.Grant == tokenstore.GrantCredentials:
		return "the application itself"
	default:
		return ""
	}
}

// writeSealed writes a file for this user only. One that is to be replaced is
// replaced as a whole, whatever mode it had and wherever it leads.
func writeSealed(path string, data []byte, force bool) error {
	target := path
	if force {
		temporary, err := os.CreateTemp(filepath.Dir(path), ".export-*.new") // mode 0600
		if err != nil {
			return err
		}
		target = temporary.Name()
		if err := errors.Join(temporary.Close(), os.Remove(target)); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(target))
	}
	if target != path {
		return os.Rename(target, path)
	}
	return nil
}
