package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// storeCommands are the subcommands of auth that work on the file of the token
// store itself, and so while no process holds it.
func (a *app) storeCommands() []*cobra.Command {
	return []*cobra.Command{a.rekeyCommand(), a.exportCommand(), a.importCommand()}
}

// storeOptions are the options of the configured token store.
func storeOptions(c *config.Config, wait time.Duration) tokenstore.Options {
	return tokenstore.Options{
		Path: c.TokenStore.Path, Key: c.TokenStore.Key, PreviousKeys: c.TokenStore.PreviousKeys, LockWait: wait,
	}
}

// openStore opens the file of the configuration. With mustExist a missing one
// is an error; else it is made.
func openStore(c *config.Config, mustExist bool) (*tokenstore.Store, error) {
	if _, err := os.Lstat(c.TokenStore.Path); mustExist && errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Fatal, "there is no token store at %s", c.TokenStore.Path).
			WithHint("nobody has signed in yet: outlook-connector auth login CLIENT; or set token_store.path")
	}
	o := storeOptions(c, 0)
	o.Log = slog.New(slog.DiscardHandler)
	store, err := tokenstore.Open(o)
	if errors.Is(err, tokenstore.ErrLocked) {
		return nil, fault.New(fault.Fatal, "%w", err).
			WithHint("stop the process that holds %s, run this again, and start the process again", c.TokenStore.Path)
	}
	return store, err
}

func (a *app) rekeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rekey",
		Short: "Seal the token store with the present key, so that previous_keys can go",
		Long: `Seals every grant in the token store with token_store.key, and wipes what was
sealed with earlier keys out of the file. It needs the store for itself: stop
the process that holds it first. It is all or nothing: after a crash, run it
again.

To replace the key: write a new one, set it as token_store.key, list the old
one under token_store.previous_keys, run this, and take previous_keys out of
the configuration again. Backups of the store open with the old key still.`,
		Example: "  outlook-connector auth rekey",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.rekey() },
	}
}

func (a *app) rekey() error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	store, err := openStore(c, true)
	if err != nil {
		return err
	}
	grants, renewed, err := store.Rekey()
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(map[string]any{"path": c.TokenStore.Path, "grants": grants, "renewed": renewed})
	}
	if _, err := fmt.Fprintf(a.out, "%s sealed with token_store.key; %d had an earlier key\n", count(grants, "grant"), renewed); err != nil {
		return err
	}
	if len(c.TokenStore.PreviousKeys) > 0 {
		_, err = fmt.Fprintf(a.out, "now take token_store.previous_keys out of %s, and delete the earlier keys once no backup needs them\n", a.configFile)
	}
	return err
}
