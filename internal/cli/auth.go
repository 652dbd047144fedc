package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

func (a *app) authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "auth",
		Short:   "Grant access to Outlook, see grants, remove them",
		Example: "  outlook-connector auth login contoso\n  outlook-connector auth status",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var how loginFlags
	login := &cobra.Command{
		Use:   "login CLIENT",
		Short: "Grant a client access to Outlook, or check the credential of an application",
		Long: `Opens the sign-in page of Microsoft in the browser and waits until access is
granted. The running process takes the grant; with none running, this command
opens the token store and the http.listen port itself.

On a machine without a browser, such as over SSH: --no-browser prints the
address and takes the one at which a browser anywhere ends, pasted into this
terminal; --device prints a code to type in a browser anywhere, and is what a
client with grant: device_code does by itself. A client with grant:
client_credentials has nobody who signs in: its credential is checked.`,
		Example: `  outlook-connector auth login contoso
  outlook-connector auth login contoso --no-browser   # prints the address and waits
  outlook-connector auth login contoso --device       # a code for a browser anywhere`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeClients,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.login(cmd.Context(), args[0], how) },
	}
	login.Flags().BoolVar(&how.noBrowser, "no-browser", false, "print the address instead of opening a browser")
	login.Flags().BoolVar(&how.device, "device", false, "sign in with a code that is typed in a browser on any machine")
	login.MarkFlagsMutuallyExclusive("no-browser", "device")
	cmd.AddCommand(
		login,
		&cobra.Command{
			Use:     "status",
			Short:   "Show the grant of each client, and what it lacks",
			Example: "  outlook-connector auth status",
			Args:    cobra.NoArgs,
			RunE:    func(cmd *cobra.Command, _ []string) error { return a.authStatus(cmd.Context()) },
		},
		&cobra.Command{
			Use:               "logout CLIENT",
			Short:             "Remove the grant of a client from the token store",
			Example:           "  outlook-connector auth logout contoso",
			Args:              cobra.ExactArgs(1),
			ValidArgsFunction: a.completeClients,
			RunE:              func(cmd *cobra.Command, args []string) error { return a.logout(cmd.Context(), args[0]) },
		},
	)
	cmd.AddCommand(a.storeCommands()...)
	return cmd
}

// completeClients offers the configured clients to the shell.
func (a *app) completeClients(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.loadConfig()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, client := range c.Clients {
		names = append(names, client.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// clientNamed returns an error that lists the clients where there is none of
// that name.
func clientNamed(c *config.Config, name string) error {
	if c.Client(name) != nil {
		return nil
	}
	var names []string
	for _, client := range c.Clients {
		names = append(names, client.Name)
	}
	return unknownName("client", name, names)
}

// unknownName says that the configuration has nothing of that name.
func unknownName(kind, name string, names []string) error {
	err := fmt.Errorf("no %s named %q in the configuration", kind, name)
	if len(names) == 0 {
		return usageHint(err, "add one to the configuration; outlook-connector config show prints what there is")
	}
	return usageHint(err, "one of: %s", strings.Join(names, ", "))
}

// usageHint is a usage error with something to try.
func usageHint(err error, format string, args ...any) error {
	return &usageError{fault.New(fault.Fatal, "%w", err).WithHint(format, args...)}
}

// ownsTokens returns an error where the process cannot take a grant, because
// another one owns the tokens.
func (p *process) ownsTokens(ctx context.Context) error {
	var status httpd.Status
	if err := p.get(ctx, "/status", &status); err != nil {
		return err
	}
	if status.TokenRole == string(tokenstore.RoleClient) {
		if status.TokenOwner != "" {
			return fault.New(fault.Fatal, "the process at %s cannot take the grant: another process owns the tokens (%s)", p.base, status.TokenOwner).
				WithHint("sign in at that process; where it does not serve http, stop it, sign in, and start it again")
		}
		return fault.New(fault.Fatal, "the process at %s cannot take the grant: another process of this machine holds the token store", p.base).
			WithHint("stop that process (it joined this one as a worker), sign in, and start it again")
	}
	return nil
}

func (p *process) clients(ctx context.Context) ([]httpd.ClientStatus, error) {
	var status httpd.Status
	err := p.get(ctx, "/status", &status)
	return status.Clients, err
}

func (a *app) authStatus(ctx context.Context) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	var clients []httpd.ClientStatus
	if p, findErr := findProcess(ctx, c); findErr == nil {
		if clients, err = p.clients(ctx); err != nil {
			return err
		}
	} else {
		tokens, err := openTokens(ctx, c, nil)
		if err != nil {
			return err
		}
		defer tokens.Stop()
		clients = worker.ClientStatuses(c, tokens.Status())
	}
	if a.output == "json" {
		return a.printJSON(clients)
	}
	return a.printClients(clients)
}

func (a *app) printClients(clients []httpd.ClientStatus) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tGRANT\tACCOUNT\tSCOPES")
	for _, c := range clients {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, c.State, accountText(c), orDash(strings.Join(c.Scopes, " ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range clients {
		a.printNeeds(c)
		if c.Error == "" {
			continue
		}
		fmt.Fprintf(a.out, "\n%s: %s\n", c.Name, c.Error)
		if c.Hint != "" {
			fmt.Fprintf(a.out, "    Try: %s\n", c.Hint)
		}
	}
	return nil
}

// accountText is who a client acts as.
func accountText(c httpd.ClientStatus) string {
	if c.Grant != string(tokenstore.GrantCredentials) {
		return orDash(c.Account)
	}
	text := "the application itself"
	if c.Credential != "" {
		text += ", " + c.Credential
	}
	if !c.CredentialEnds.IsZero() {
		text += " until " + c.CredentialEnds.UTC().Format(time.DateOnly)
	}
	return text
}

// printNeeds compares what the configuration needs with what was granted.
func (a *app) printNeeds(c httpd.ClientStatus) {
	if len(c.Needed) == 0 {
		return
	}
	state := "all granted"
	switch {
	case len(c.Missing) > 0:
		state = "missing " + strings.Join(c.Missing, ", ")
	case c.Grant == string(tokenstore.GrantCredentials):
		state = "granted or not is unknown until Graph answers 403: an administrator sees it in the app registration"
	case c.MissingUnknown:
		state = "not known to be granted"
	}
	fmt.Fprintf(a.out, "\n%s needs %s: %s\n", c.Name, strings.Join(c.Needed, ", "), state)
}

func (a *app) logout(ctx context.Context, name string) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := clientNamed(c, name); err != nil {
		return err
	}
	if p, findErr := findProcess(ctx, c); findErr == nil {
		err = p.do(ctx, http.MethodPost, "/oauth/logout/"+name, nil)
	} else {
		var tokens *tokenstore.Shared
		if tokens, err = openTokens(ctx, c, nil); err != nil {
			return err
		}
		defer tokens.Stop()
		err = tokens.Logout(ctx, name)
	}
	if err != nil {
		return err
	}
	if c.Client(name).AppOnly() {
		_, err = fmt.Fprintf(a.out, "token of %s removed; the next one is asked for when it is needed: take the client out of the configuration, or its credential out of the app registration, to end its access\n", name)
		return err
	}
	_, err = fmt.Fprintf(a.out, "grant of %s removed; revoke the app at https://myapps.microsoft.com to end its access at Microsoft too\n", name)
	return err
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
