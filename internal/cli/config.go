package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"outlook-connector/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check, show and describe the configuration",
		Example: "  outlook-connector config check\n  outlook-connector config show",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "check",
			Short:   "Say all problems of the configuration at once, as file:line:column: text",
			Example: "  outlook-connector config check --config outlook-connector.yaml",
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				c, err := a.loadConfig()
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.printJSON(map[string]any{
						"ok": true, "clients": len(c.Clients), "subscriptions": len(c.Subscriptions), "publishers": len(c.Publishers),
					})
				}
				_, err = fmt.Fprintf(a.out, "%s is fine: %s, %s, %s\n", a.configFile,
					count(len(c.Clients), "client"), count(len(c.Subscriptions), "subscription"), count(len(c.Publishers), "publisher"))
				return err
			},
		},
		&cobra.Command{
			Use:     "show",
			Short:   "Print the configuration in effect, defaults included and secrets redacted",
			Example: "  outlook-connector config show",
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				c, err := a.loadConfig()
				if err != nil {
					return err
				}
				text, err := c.Show()
				if err != nil {
					return err
				}
				_, err = a.out.Write(text)
				return err
			},
		},
		&cobra.Command{
			Use:     "schema",
			Short:   "Print the JSON Schema of the configuration, for editors",
			Example: "  outlook-connector config schema > outlook-connector.schema.json",
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := a.out.Write(config.Schema())
				return err
			},
		},
	)
	return cmd
}
