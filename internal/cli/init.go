package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

func (a *app) initCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented sample configuration and a token key",
		Long: `Writes a commented sample configuration (outlook-connector.yaml, or the file of
--config) and, beside it, ./data/token.key: the key that seals the stored
tokens, readable by you only. Existing files are left alone unless --force is
given; an existing key is never replaced, because the tokens that it seals
would be lost with it.`,
		Example: "  outlook-connector init\n  outlook-connector init --config /etc/outlook-connector/outlook-connector.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.runInit(force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace an existing configuration file")
	return cmd
}

func (a *app) runInit(force bool) error {
	key := filepath.Join(filepath.Dir(a.configFile), "data", "token.key")
	named := "" // what the commands to try need, so that they act on this file and no other
	if a.configFile != defaultConfigFile {
		named = " --config " + a.configFile
	}
	if err := writeNew(a.configFile, config.Sample(), 0o644, force); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fault.New(fault.Fatal, "%s is there already", a.configFile).
				WithHint("outlook-connector init --force%s   (replaces it; a token key is never replaced)", named)
		}
		return fmt.Errorf("write configuration: %w", err)
	}
	fmt.Fprintf(a.out, "wrote %s\n", a.configFile)
	if err := os.MkdirAll(filepath.Dir(key), 0o700); err != nil {
		return fmt.Errorf("write token key: %w", err)
	}
	switch err := writeNew(key, []byte(seal.NewKeyText().Reveal()+"\n"), 0o600, false); {
	case errors.Is(err, fs.ErrExist):
		fmt.Fprintf(a.out, "kept  %s\n", key)
	case err != nil:
		return fmt.Errorf("write token key: %w", err)
	default:
		fmt.Fprintf(a.out, "wrote %s (keep a copy: without it the stored tokens cannot be opened)\n", key)
	}
	fmt.Fprintf(a.out, `
Next:
  1. register an app in Microsoft Entra, and put its client id, tenant and secret into %[1]s
  2. outlook-connector config check%[2]s
  3. outlook-connector run%[2]s
  4. outlook-connector auth login outlook%[2]s
`, a.configFile, named)
	return nil
}

// writeNew writes a file that must not be there yet, unless force is set.
func writeNew(path string, data []byte, mode fs.FileMode, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the folder of a configuration file, which holds no secrets
		return err
	}
	f, err := os.OpenFile(path, flags, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
