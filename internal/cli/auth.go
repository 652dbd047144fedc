package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

// loginTimeout is how long a sign-in may take: as long as its state lives.
const loginTimeout = 10 * time.Minute

func (a *app) authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "auth",
		Short:   "Grant access to Outlook, see grants, remove them",
		Example: "  outlook-connector auth login contoso\n  outlook-connector auth status",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var noBrowser bool
	login := &cobra.Command{
		Use:   "login CLIENT",
		Short: "Grant a client access to Outlook, in the browser",
		Long: `Opens the sign-in page of Microsoft in the browser and waits until access is
granted. The running process takes the grant; with none running, this command
opens the token store and the http.listen port itself.`,
		Example: `  outlook-connector auth login contoso
  outlook-connector auth login contoso --no-browser   # prints the address and waits`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeClients,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.login(cmd.Context(), args[0], noBrowser) },
	}
	login.Flags().BoolVar(&noBrowser, "no-browser", false, "print the address instead of opening a browser")
	cmd.AddCommand(
		login,
		&cobra.Command{
			Use:     "status",
			Short:   "Show the grant of each client",
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

func (a *app) login(ctx context.Context, name string, noBrowser bool) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := clientNamed(c, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loginTimeout, errors.New("nobody signed in within ten minutes"))
	defer cancel()

	var status func(context.Context) ([]httpd.ClientStatus, error)
	p, err := findProcess(ctx, c)
	switch {
	case err == nil:
		if err := p.ownsTokens(ctx); err != nil {
			return err
		}
		status = p.clients
	case errors.Is(err, errNoProcess):
		var stop func()
		if p, status, stop, err = a.serveLogin(ctx, c); err != nil {
			return err
		}
		defer stop()
	default:
		return err
	}
	before, err := statusOf(ctx, status, name)
	if err != nil {
		return err
	}
	a.sendToBrowser(ctx, p.base+"/oauth/start/"+name, noBrowser)
	granted, err := waitForGrant(ctx, status, name, before.Granted)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "access granted: client %s, account %s\n", name, granted.Account)
	return err
}

// serveLogin serves the sign-in from this command, where no process runs.
func (a *app) serveLogin(ctx context.Context, c *config.Config) (*process, func(context.Context) ([]httpd.ClientStatus, error), func(), error) {
	tokens, err := openTokens(ctx, c, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	if tokens.Role() != tokenstore.RoleOwner {
		tokens.Stop()
		return nil, nil, nil, fault.New(fault.Fatal, "another process holds %s but does not serve http at %s", c.TokenStore.Path, c.HTTP.Listen).
			WithHint("start it with the roles tokens and http, or stop it")
	}
	log := slog.New(slog.DiscardHandler)
	logins, err := worker.NewLogins(c, tokens, log, nil)
	if err != nil {
		tokens.Stop()
		return nil, nil, nil, err
	}
	status := func(context.Context) ([]httpd.ClientStatus, error) {
		return worker.ClientStatuses(tokens.Status()), nil
	}
	server, err := httpd.Listen(ctx, httpd.Options{
		Listen: c.HTTP.Listen, Version: buildVersion(), Instance: worker.Instance(c), Checks: &health.Checks{}, Metrics: noMetrics(), Log: log, Logins: logins,
		Status: func(context.Context) httpd.Status {
			return httpd.Status{Version: buildVersion(), Clients: worker.ClientStatuses(tokens.Status())}
		},
	})
	if err != nil {
		tokens.Stop()
		return nil, nil, nil, err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Stop(ctx) // the end page may still be on its way; nothing else is lost
		if err := <-served; err != nil {
			a.complain(err)
		}
		tokens.Stop()
	}
	return &process{base: server.URL()}, status, stop, nil
}

// ownsTokens returns an error where the process cannot take a grant, because
// another one of this machine holds the token store.
func (p *process) ownsTokens(ctx context.Context) error {
	var status httpd.Status
	if err := p.get(ctx, "/status", &status); err != nil {
		return err
	}
	if status.TokenRole != string(tokenstore.RoleOwner) {
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

func statusOf(ctx context.Context, status func(context.Context) ([]httpd.ClientStatus, error), name string) (httpd.ClientStatus, error) {
	clients, err := status(ctx)
	if err != nil {
		return httpd.ClientStatus{}, err
	}
	for _, client := range clients {
		if client.Name == name {
			return client, nil
		}
	}
	return httpd.ClientStatus{}, fault.New(fault.Fatal, "the running process knows no client %q", name).
		WithHint("restart it with this configuration")
}

// waitForGrant waits for a grant that is newer than the one before.
func waitForGrant(ctx context.Context, status func(context.Context) ([]httpd.ClientStatus, error), name string, before time.Time) (httpd.ClientStatus, error) {
	ticker := time.NewTicker(300 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return httpd.ClientStatus{}, fault.New(fault.Reauth, "no access granted: %w", context.Cause(ctx)).
				WithHint("outlook-connector auth login %s", name)
		case <-ticker.C:
		}
		client, err := statusOf(ctx, status, name)
		if err != nil && ctx.Err() == nil {
			return client, err
		}
		if client.Granted.After(before) {
			return client, nil
		}
	}
}

// sendToBrowser opens an address, or asks the person to.
func (a *app) sendToBrowser(ctx context.Context, address string, noBrowser bool) {
	if !noBrowser && openBrowser(ctx, address) == nil {
		fmt.Fprintf(a.err, "The browser opens to sign in. If it does not, visit:\n\n  %s\n\nWaiting…\n", address)
		return
	}
	fmt.Fprintf(a.err, "Visit this address on this machine to sign in:\n\n  %s\n\nWaiting…\n", address)
}

func openBrowser(ctx context.Context, address string) error {
	var cmd *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		cmd = exec.CommandContext(ctx, "open", address)
	case "windows":
		cmd = exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", address)
	default:
		cmd = exec.CommandContext(ctx, "xdg-open", address)
	}
	return cmd.Run()
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
		clients = worker.ClientStatuses(tokens.Status())
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, c.State, orDash(c.Account), orDash(strings.Join(c.Scopes, " ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range clients {
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
	_, err = fmt.Fprintf(a.out, "grant of %s removed; revoke the app at https://myapps.microsoft.com to end its access at Microsoft too\n", name)
	return err
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
