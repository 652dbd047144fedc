package cli

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/telemetry"
)

func (a *app) sandboxCommand() *cobra.Command {
	var (
		listen, storeDir string
		mailboxes        int
		seed             uint64
		verbose          bool
	)
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run the Microsoft Graph and sign-in sandbox alone",
		Long: `Runs the emulator of Microsoft Graph's Outlook part and of the Microsoft
sign-in, to try flows without an account. It knows some made-up people; a mail
that one of them sends arrives in the others' inboxes. What it models and its
control port are described in docs/sandbox.md.`,
		Example: `  outlook-connector sandbox
  outlook-connector sandbox --listen 127.0.0.1:8481 --mailboxes 10 --store-dir ./data/sandbox
  curl -d '{"to":["ann@contoso.example"],"subject":"Hello"}' http://127.0.0.1:8481/_sandbox/deliver`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(listen); err != nil {
				return usageHint(err, "write HOST:PORT, such as 127.0.0.1:8481")
			}
			if mailboxes < 1 {
				return usagef("--mailboxes %d: a sandbox has at least one person", mailboxes)
			}
			level := "warn"
			if verbose {
				level = "debug"
			}
			log, err := telemetry.NewLogger(a.err, level, "")
			if err != nil {
				return err
			}
			options := []sandbox.Option{
				sandbox.Listen(listen), sandbox.Mailboxes(mailboxes), sandbox.Seed(seed), sandbox.Logger(log),
			}
			if storeDir != "" {
				options = append(options, sandbox.StoreDir(storeDir))
			}
			s, err := sandbox.New(options...)
			if err != nil {
				return err
			}
			if err := s.Start(cmd.Context()); err != nil {
				return err
			}
			if err := a.describeSandbox(s); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return s.Close()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8481", "`ADDRESS` to listen on; port 0 takes a free one")
	cmd.Flags().IntVar(&mailboxes, "mailboxes", 4, "number of made-up people")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "what the people are made up from")
	cmd.Flags().StringVar(&storeDir, "store-dir", "", "keep the state in this folder (default: in memory)")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log every request")
	return cmd
}

// describeSandbox prints where the sandbox is and how to use it.
func (a *app) describeSandbox(s *sandbox.Sandbox) error {
	if a.output == "json" {
		return a.printJSON(map[string]any{
			"url": s.URL(), "base_url": s.GraphURL(), "authorize_url": s.AuthorizeURL(), "token_url": s.TokenURL(),
			"client_id": sandbox.DefaultClientID, "people": peopleOf(s),
		})
	}
	_, err := io.WriteString(a.out, fmt.Sprintf(`sandbox on %s, people: %s

A client for outlook-connector.yaml:

clients:
  - name: sandbox
    authorize_url: %s
    token_url: %s
    base_url: %s
    client_id: %s
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send]

Put a mail into an inbox, as the outside world does:

curl -d '{"to":["%s"],"subject":"Hello"}' %s/_sandbox/deliver
`, s.URL(), strings.Join(peopleOf(s), ", "), s.AuthorizeURL(), s.TokenURL(), s.GraphURL(), sandbox.DefaultClientID, peopleOf(s)[0], s.URL()))
	return err
}

func peopleOf(s *sandbox.Sandbox) []string {
	var names []string
	for _, person := range s.People() {
		names = append(names, person.UPN)
	}
	return names
}
